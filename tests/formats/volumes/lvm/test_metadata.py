from __future__ import annotations

import random
import re
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from formats.core.errors import ConvertError, CorruptError, LimitError, UnsupportedError
from formats.core.limits import DEFAULT_LIMITS
from formats.core.opener import Node
from formats.core.origin import Origin
from formats.volumes.lvm.label import dashed_uuid, lvm_crc
from formats.volumes.lvm.metadata import parse_group
from tests.images.lvm import Lvm, blank_disks, lvm_on
from tests.images.volumes import MIB, opened, patch
from tests.support.programs import run

_ORIGIN = Origin(("disk.raw",))
_AREA_OFFSET = 4096


def _group(*disks: Path) -> Node:
    with opened(*disks) as artifact:
        (group,) = [node for node in artifact.nodes if node.members]
        return group


def _findings(*disks: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    with opened(*disks) as artifact:
        for finding in artifact.findings:
            found.setdefault(finding.rule, []).append(finding.evidence)
    return found


def _pvck(disk: Path) -> dict[str, str]:
    """Return the numbers that ``pvck --dump headers`` prints; the last of a name counts."""
    text = run("lvm", "pvck", "--dump", "headers", disk, check=False).stdout.decode()
    return dict(re.findall(r"^\s*(\S+) (\S+)$", text, re.MULTILINE))


def _make(lvm: Lvm, *, copies: int = 1) -> None:
    """Make a group with one volume, and metadata areas so small that they soon wrap."""
    areas = ("--metadatasize", "64k", "--metadatacopies", str(copies))
    lvm("pvcreate", "-y", *areas, *lvm.devices)
    lvm("vgcreate", "-s", "64k", "vg", *lvm.devices)
    lvm.create("vg/root", "-L", "1M")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    (image,) = blank_disks(tmp_path, 1, 4 * MIB)
    with lvm_on(tmp_path, image) as lvm:
        _make(lvm)
    return image


def test_metadata_that_wraps_round_its_ring_is_read(disk: Path, tmp_path: Path) -> None:
    size = int(_pvck(disk)["mda_header_1.size"])
    with lvm_on(tmp_path, disk) as lvm:
        for number in range(40):
            tags = (f"--addtag={'t' * 1000}{number}.{index}" for index in range(5))
            lvm("lvchange", *tags, "vg/root")
            header = _pvck(disk)
            start = int(header["mda_header_1.raw_locn[0].offset"])
            length = int(header["mda_header_1.raw_locn[0].size"])
            if start + length > size:
                break
        else:
            pytest.fail("the metadata never wrapped")
        seqno = lvm("vgs", "--noheadings", "-o", "vg_seqno").strip()
    group = _group(disk)
    assert group.facts["vg"] == f"1 of 1 disks, metadata {seqno}"
    assert [child.volume.label for child in group.children] == ["vg/root"]


def test_the_newest_metadata_of_all_disks_wins(tmp_path: Path) -> None:
    disks = blank_disks(tmp_path, 2, 4 * MIB)
    with lvm_on(tmp_path, *disks) as lvm:
        _make(lvm)
    stale = tmp_path / "stale.raw"
    shutil.copy(disks[1], stale)
    with lvm_on(tmp_path, *disks) as lvm:
        lvm("lvrename", "vg", "root", "renamed")
    for given in ((disks[0], stale), (stale, disks[0])):
        assert [child.volume.label for child in _group(*given).children] == ["vg/renamed"]


def test_a_disk_without_metadata_of_its_own_is_told_its_group_by_the_others(
    tmp_path: Path,
) -> None:
    disks = blank_disks(tmp_path, 2, 4 * MIB)
    with lvm_on(tmp_path, *disks) as lvm:
        lvm("pvcreate", "-y", "--metadatacopies", "0", lvm.devices[0])
        lvm("pvcreate", "-y", lvm.devices[1])
        lvm("vgcreate", "-s", "64k", "vg", *lvm.devices)
        lvm.create("vg/root", "-l", "100%FREE")
    group = _group(*disks)
    assert [child.problem for child in group.children] == [None]
    with opened(disks[0]) as artifact:
        assert artifact.nodes[0].facts["volume-group"] == "not stated here"


def test_the_second_copy_is_read_where_the_first_is_damaged(tmp_path: Path) -> None:
    (disk,) = blank_disks(tmp_path, 1, 4 * MIB)
    with lvm_on(tmp_path, disk) as lvm:
        _make(lvm, copies=2)
    offset = int(_pvck(disk)["mda_header_1.raw_locn[0].offset"])
    patch(disk, _AREA_OFFSET + offset + 10, b"\xff")
    assert [child.volume.label for child in _group(disk).children] == ["vg/root"]
    (evidence,) = _findings(disk)["lvm-metadata-copy"]
    assert "the LVM metadata has a wrong checksum (at byte " in evidence


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("text", "the LVM metadata has a wrong checksum"),
        ("header", "the header of an LVM metadata area is damaged"),
    ],
)
def test_damaged_metadata_without_a_copy_is_the_disks_problem(
    disk: Path, place: str, message: str
) -> None:
    text = int(_pvck(disk)["mda_header_1.raw_locn[0].offset"])
    patch(disk, _AREA_OFFSET + (text + 10 if place == "text" else 60), b"\xff")
    (child,) = _group(disk).children
    assert isinstance(child.problem, CorruptError)
    assert child.problem.message == f"no copy of the LVM metadata can be used: {message}"
    assert "vgcfgrestore" in (child.problem.hint or "")


def test_a_damaged_label_is_refused_with_its_place(disk: Path) -> None:
    patch(disk, 512 + 40, b"\xff")
    with opened(disk) as artifact:
        problem = artifact.nodes[0].problem
    assert isinstance(problem, CorruptError)
    assert (problem.message, problem.offset) == ("the LVM2 label has a wrong checksum", 512)


def test_a_label_in_any_of_the_first_four_sectors_is_found(tmp_path: Path) -> None:
    for sector in range(4):
        (disk,) = blank_disks(tmp_path, 1, 4 * MIB)
        with lvm_on(tmp_path, disk) as lvm:
            lvm("pvcreate", "-y", "--labelsector", str(sector), *lvm.devices)
            lvm("vgcreate", "-s", "64k", "vg", *lvm.devices)
            lvm.create("vg/root", "-L", "1M")
        assert [child.problem for child in _group(disk).children] == [None]


def test_a_disk_that_was_taken_out_of_its_group_is_reported(tmp_path: Path) -> None:
    disks = blank_disks(tmp_path, 2, 4 * MIB)
    with lvm_on(tmp_path, *disks) as lvm:
        _make(lvm)
    away = tmp_path / "away.raw"
    shutil.copy(disks[1], away)
    with lvm_on(tmp_path, *disks) as lvm:
        lvm("vgreduce", "vg", lvm.devices[1])
    (evidence,) = _findings(disks[0], away)["lvm-stale-disk"]
    assert evidence.startswith("the volume group no longer has the physical volume ")


def test_an_exported_group_is_read_and_said_to_be_one(disk: Path, tmp_path: Path) -> None:
    with lvm_on(tmp_path, disk) as lvm:
        lvm("vgexport", "vg")
    group = _group(disk)
    assert group.facts["vg"].endswith(", exported")
    assert [child.problem for child in group.children] == [None]


def test_a_disk_in_no_group_gives_nothing_and_no_error(tmp_path: Path) -> None:
    (disk,) = blank_disks(tmp_path, 1, 4 * MIB)
    with lvm_on(tmp_path, disk) as lvm:
        lvm("pvcreate", "-y", *lvm.devices)
    group = _group(disk)
    assert (group.children, group.problem) == ([], None)


def test_a_truncated_disk_gives_the_volumes_that_are_whole(tmp_path: Path) -> None:
    (disk,) = blank_disks(tmp_path, 1, 4 * MIB)
    with lvm_on(tmp_path, disk) as lvm:
        _make(lvm)
        lvm.create("vg/late", "-L", "1M")
    with disk.open("r+b") as file:
        file.truncate(int(2.5 * MIB))
    problems = {child.volume.label: child.problem for child in _group(disk).children}
    assert problems["vg/root"] is None
    assert isinstance(problems["vg/late"], CorruptError)


def _forged(disk: Path, text: str) -> Path:
    """Replace the metadata by a text of the same area, with checksums that are right."""
    data = text.encode() + b"\0"
    patch(disk, _AREA_OFFSET + 512, data)
    with disk.open("rb") as file:
        file.seek(_AREA_OFFSET)
        header = bytearray(file.read(512))
    struct.pack_into("<QQII", header, 40, 512, len(data), lvm_crc(data), 0)
    struct.pack_into("<I", header, 0, lvm_crc(bytes(header[4:])))
    return patch(disk, _AREA_OFFSET, bytes(header))


def _pv_uuid(disk: Path) -> str:
    return dashed_uuid(_pvck(disk)["pv_header.pv_uuid"])


_PV_ID = "aaaaaa-bbbb-cccc-dddd-eeee-ffff-gggggg"
_GROUP = """\
vg {{
id = "{id}"
seqno = 3
extent_size = {extent_size}
physical_volumes {{ pv0 {{ id = "{pv}" pe_start = 2048 pe_count = {pe_count} }} }}
logical_volumes {{ root {{ id = "{id}" status = ["VISIBLE"] segment_count = {segments}
segment1 {{ start_extent = {start} extent_count = {count} type = "striped"
stripe_count = {stripes} {stripe_size} stripes = {areas} }} }} }} }}
"""
_SOUND = {
    "id": _PV_ID,
    "pv": _PV_ID,
    "extent_size": "128",
    "pe_count": "16",
    "segments": "1",
    "start": "0",
    "count": "4",
    "stripes": "1",
    "stripe_size": "",
    "areas": '["pv0", 0]',
}


def test_the_forged_text_itself_is_sound(disk: Path) -> None:
    _forged(disk, _GROUP.format(**{**_SOUND, "pv": _pv_uuid(disk)}))
    (child,) = _group(disk).children
    assert child.problem is None
    assert child.volume.source.size == 4 * 128 * 512


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"extent_size": "0"}, "'extent_size' of '0'"),
        ({"extent_size": "99999999999999999999"}, "'extent_size' of '99999999999999999999'"),
        ({"extent_size": '"128"'}, "'extent_size' of '128'"),
        ({"segments": "2"}, "no segment 2 of 'root'"),
        ({"segments": "1000000000000"}, "no segment 2 of 'root'"),
        ({"start": "1"}, "a gap before segment 1 of 'root'"),
        ({"count": "0"}, "'extent_count' of '0'"),
        ({"count": "-4"}, "'extent_count' of '-4'"),
        ({"stripes": "2"}, "2 words for 2 stripes"),
        ({"stripes": "0"}, "'stripe_count' of '0'"),
        ({"stripes": "2", "areas": '["pv0", 0, "pv0", 4]'}, "'stripe_size' of nothing"),
        ({"areas": '["pv0", -1]'}, "stripes that are not pairs"),
        ({"areas": '[0, "pv0"]'}, "stripes that are not pairs"),
        ({"areas": "[]"}, "'stripe_count' of '1'"),
        ({"id": "../../etc"}, "'id' of '../../etc'"),
        ({"areas": '["\x1b[2J", 0]'}, r"LVM metadata has the name '\x1b[2J'"),
    ],
)
def test_metadata_that_contradicts_itself_is_refused(changes: dict[str, str], message: str) -> None:
    with pytest.raises(CorruptError, match=re.escape(message)):
        parse_group(_GROUP.format(**{**_SOUND, **changes}), _ORIGIN)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": "17"}, "ends at extent 17 of a physical volume of 16"),
        ({"areas": '["pv0", 13]'}, "ends at extent 17 of a physical volume of 16"),
        ({"pe_count": "1000", "count": "1000"}, "which has 4,194,304"),
        (
            {
                "stripes": "3",
                "areas": '["pv0", 0, "pv0", 4, "pv0", 8]',
                "stripe_size": "stripe_size=8",
            },
            "4 extents cannot be dealt out to 3 stripes",
        ),
        (
            {"stripes": "2", "areas": '["pv0", 0, "pv0", 4]', "stripe_size": "stripe_size=300"},
            "its stripes do not fill their extents",
        ),
        ({"areas": '["root", 0]'}, "made of the volume 'root'"),
    ],
)
def test_volumes_that_lie_outside_of_their_disks_have_a_problem(
    disk: Path, changes: dict[str, str], message: str
) -> None:
    _forged(disk, _GROUP.format(**{**_SOUND, "pv": _pv_uuid(disk), **changes}))
    (child,) = _group(disk).children
    assert child.problem is not None
    assert message in child.problem.message


_MOVING = """\
vg {{ id = "{id}" seqno = 3 extent_size = 128
physical_volumes {{ pv0 {{ id = "{pv}" pe_start = 2048 pe_count = 16 }} }}
logical_volumes {{
root {{ id = "{id}" status = ["VISIBLE"] segment_count = 1
segment1 {{ start_extent = 0 extent_count = 4 type = "striped"
stripe_count = 1 stripes = ["pvmove0", 0] }} }}
pvmove0 {{ id = "{id}" status = ["PVMOVE", "LOCKED"] segment_count = 1
segment1 {{ start_extent = 0 extent_count = 4 type = "mirror"
mirror_count = 2 extents_moved = 0 mirrors = {legs} }} }} }} }}
"""


def test_a_volume_that_is_being_moved_is_read_from_where_it_was(disk: Path) -> None:
    """Until all of it is moved, writes go to both places, and only the old one has all of it."""
    legs = '["pv0", 2, "pv0", 10]'
    _forged(disk, _MOVING.format(id=_PV_ID, pv=_pv_uuid(disk), legs=legs))
    patch(disk, 2048 * 512 + 2 * 65536, b"where it was")
    patch(disk, 2048 * 512 + 10 * 65536, b"where it will be")
    with opened(disk) as artifact:
        (child,) = artifact.nodes[-1].children
        assert child.problem is None
        assert bytes(child.volume.source.read_at(0, 12)) == b"where it was"


_RAID = """\
vg {{
id = "{id}"
seqno = 3
extent_size = 128
physical_volumes {{ pv0 {{ id = "{pv}" pe_start = 2048 pe_count = 16 }} }}
logical_volumes {{
r {{ id = "{id}" status = ["VISIBLE"] segment_count = 1
segment1 {{ start_extent = 0 extent_count = {count} {kind} device_count = 2 stripe_size = 8
raid0_lvs = ["a", "b"] }} }}
a {{ id = "{id}" segment_count = 1 segment1 {{ start_extent = 0 extent_count = 2 type = "striped"
stripe_count = 1 stripes = ["pv0", 0] }} }}
b {{ id = "{id}" segment_count = 1 segment1 {{ start_extent = 0 extent_count = 2 type = "striped"
stripe_count = 1 stripes = ["pv0", 2] }} }} }} }}
"""


@pytest.mark.parametrize(
    ("count", "kind", "error", "message"),
    [
        (2, 'type = "raid1"', None, ""),
        (2, 'type = "raid10"', None, ""),
        (4, 'type = "raid0"', None, ""),
        (3, 'type = "raid1"', CorruptError, "an image of 131,072 bytes, of 196,608 that it needs"),
        (5, 'type = "raid0"', CorruptError, "an image of 131,072 bytes, of 163,840 that it needs"),
        (1, 'type = "raid10" data_copies = 3', CorruptError, "has 3 copies on 2 images"),
        (1, 'type = "raid6"', CorruptError, "1 extents cannot be dealt out to 2 images"),
        (2, 'type = "raid1" reshape_count = 1', UnsupportedError, "with 'reshape_count', as after"),
        (1 << 40, 'type = "zero"', LimitError, "has 72,057,594,037,927,936 bytes, more than the"),
    ],
)
def test_the_numbers_of_a_raid_volume_are_checked(
    disk: Path, count: int, kind: str, error: type[ConvertError] | None, message: str
) -> None:
    text = _RAID.format(id=_PV_ID, pv=_pv_uuid(disk), count=count, kind=kind)
    (child,) = _group(_forged(disk, text)).children
    if error is None:
        assert child.problem is None
        assert child.volume.source.size == count * 128 * 512
    else:
        assert type(child.problem) is error
        assert message in child.problem.message


def test_a_part_that_is_made_of_itself_is_corrupt(disk: Path) -> None:
    legs = '["pvmove0", 0, "pv0", 10]'
    _forged(disk, _MOVING.format(id=_PV_ID, pv=_pv_uuid(disk), legs=legs))
    (child,) = _group(disk).children
    assert isinstance(child.problem, CorruptError)
    assert child.problem.message == "is made of the volume 'pvmove0', which cannot be"


@pytest.mark.parametrize("kind", ['thin" thin_pool = "\x1b[2J', "\x1b[2J"])
def test_what_a_volume_is_said_to_be_is_printable(disk: Path, kind: str) -> None:
    text = _GROUP.format(**{**_SOUND, "pv": _pv_uuid(disk)})
    _forged(disk, text.replace('type = "striped"', f'type = "{kind}"'))
    (child,) = _group(disk).children
    assert child.problem is not None
    assert r"'\x1b[2J'" in child.problem.message


def test_a_volume_that_is_its_own_physical_volume_ends(disk: Path) -> None:
    text = _GROUP.format(**{**_SOUND, "pv": _pv_uuid(disk)}).replace(
        "pe_start = 2048", "pe_start = 0"
    )
    _forged(disk, text)
    with opened(disk) as artifact:
        problems = [node.problem for node in artifact.walk() if node.problem is not None]
        assert len(list(artifact.walk())) < 40
    assert [type(problem) for problem in problems] == [LimitError]


def test_larger_metadata_than_any_machine_has_is_refused(disk: Path) -> None:
    with opened(disk, limits=replace(DEFAULT_LIMITS, descriptor_bytes=500)) as artifact:
        problem = artifact.nodes[0].problem
    assert isinstance(problem, LimitError)


def test_more_volumes_than_the_limit_are_refused(tmp_path: Path) -> None:
    (disk,) = blank_disks(tmp_path, 1, 4 * MIB)
    with lvm_on(tmp_path, disk) as lvm:
        _make(lvm)
        lvm.create("vg/second", "-L", "1M")
    for limit, kind in ((2, type(None)), (1, LimitError)):
        with opened(disk, limits=replace(DEFAULT_LIMITS, partitions=limit)) as artifact:
            problems = {type(node.problem) for node in artifact.nodes if node.members}
        assert problems == {kind}


def test_any_mutation_of_the_metadata_gives_volumes_or_a_typed_error(disk: Path) -> None:
    chance = random.Random(4)
    sound = _GROUP.format(**{**_SOUND, "pv": _pv_uuid(disk)})
    tokens = [*re.findall(r"\S+", sound), "-1", "0", "18446744073709551616", "1e9", '"', "{", "["]
    outcomes = set()
    for _ in range(400):
        words = sound.split(" ")
        for _ in range(chance.randint(1, 3)):
            words[chance.randrange(len(words))] = chance.choice(tokens)
        _forged(disk, " ".join(words))
        with opened(disk) as artifact:
            for node in artifact.walk():
                assert node.problem is None or isinstance(node.problem, ConvertError)
                outcomes.add(type(node.problem))
    assert {type(None), CorruptError} <= outcomes


def test_any_mutation_of_the_headers_gives_volumes_or_a_typed_error(disk: Path) -> None:
    chance = random.Random(5)
    whole = disk.read_bytes()
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            start = chance.choice([512, 512, _AREA_OFFSET])
            data[start + chance.randrange(160)] = chance.choice([0, 1, 0x7F, 0xFF])
        # With the checksums right, so that what they guard is reached.
        struct.pack_into("<I", data, 512 + 16, lvm_crc(bytes(data[512 + 20 : 1024])))
        area = bytes(data[_AREA_OFFSET + 4 : _AREA_OFFSET + 512])
        struct.pack_into("<I", data, _AREA_OFFSET, lvm_crc(area))
        patch(disk, 0, bytes(data[: _AREA_OFFSET + 512]))
        with opened(disk) as artifact:
            for node in artifact.walk():
                assert node.problem is None or isinstance(node.problem, ConvertError)
