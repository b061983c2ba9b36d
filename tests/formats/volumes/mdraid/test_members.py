"""Which devices are taken for members, and which of them for up to date ones."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from formats.core.errors import (
    AmbiguousError,
    ConvertError,
    CorruptError,
    LimitError,
    UnsupportedError,
)
from formats.core.limits import Limits
from formats.core.opener import Node, open_artifact
from formats.core.registry import Registry
from formats.core.source import FileSource
from formats.volumes.mdraid import READER, version0
from tests.images.kernel_made import numbered
from tests.images.lvm import lvm_on
from tests.images.md import (
    MD_MEMBER_BYTES,
    MD_VERSIONS,
    add_md_superblock,
    big_endian,
    members,
    resealed,
)
from tests.images.recognised import blkid_type
from tests.images.volumes import MIB, blank, opened, patch, reader_name, sfdisk
from tests.support.disks import whole
from tests.support.programs import corpus, need, run
from tests.support.survey import unpacked

_AT = {"1.1": 0, "1.2": 4096}


def _volume(*paths: Path) -> Node:
    with open_artifact(list(paths), registry=Registry([READER])) as artifact:
        (array,) = [node for node in artifact.nodes if node.members]
        (volume,) = array.children
    return volume


def _content(*paths: Path) -> bytes:
    with open_artifact(list(paths), registry=Registry([READER])) as artifact:
        (array,) = [node for node in artifact.nodes if node.members]
        (volume,) = array.children
        if volume.problem is not None:
            raise volume.problem
        return whole(volume.volume.source)


def _examined(path: Path, field: str) -> str:
    """Return a field that ``mdadm --examine`` prints."""
    need("mdadm")
    return run("mdadm", "--examine", path).stdout.decode().split(f"{field} : ")[1].split("\n")[0]


def test_either_member_of_a_mirror_alone_is_read(tmp_path: Path) -> None:
    for path in members("raid1-1.2", tmp_path):
        assert _content(path) == numbered(1792 * 512, "A")


def test_a_member_that_was_left_behind_is_read_only_if_it_is_all_there_is(tmp_path: Path) -> None:
    """As md itself does: alone it cannot know that there is something newer."""
    stale, *rest = members("raid1-one-removed", tmp_path)
    assert _content(stale) == numbered(1792 * 512, "A")
    assert _content(stale, *rest[:1]) == numbered(1792 * 512, "B")


def test_a_member_that_is_being_rebuilt_is_never_read(tmp_path: Path) -> None:
    _, rebuilding = members("raid1-one-rebuilding", tmp_path)
    with pytest.raises(UnsupportedError, match="needs its members 0, 1, which are missing or not"):
        _content(rebuilding)


def test_a_spare_alone_is_not_read(tmp_path: Path) -> None:
    *_, spare = members("raid1-spare", tmp_path)
    with pytest.raises(UnsupportedError, match="missing or not up to date"):
        _content(spare)


def test_two_copies_of_one_member_are_not_mixed(tmp_path: Path) -> None:
    first, _ = members("raid1-1.2", tmp_path)
    copy = tmp_path / "copy"
    shutil.copy(first, copy)
    with pytest.raises(AmbiguousError, match="0 and copy both are member 0 of the array"):
        _content(first, copy)


def test_halves_that_went_on_without_each_other_are_told_apart(tmp_path: Path) -> None:
    failed, other = members("raid1-one-failed", tmp_path)
    events = int(_examined(other, "Events"))
    end = (failed.stat().st_size // 512 - 16 & ~7) * 512
    resealed(failed, end, events=events)
    with pytest.raises(AmbiguousError, match="says that 0 failed, and both are equally new"):
        _content(failed, other)


def test_a_mirror_is_read_from_the_member_without_bad_blocks(tmp_path: Path) -> None:
    bad, good = members("raid1-bad-blocks", tmp_path)
    resealed(good, _AT["1.2"], features=0)
    assert "bad blocks present" in run("mdadm", "--examine", bad).stdout.decode()
    assert "bad blocks present" not in run("mdadm", "--examine", good).stdout.decode()
    with open_artifact([bad, good], registry=Registry([READER])) as artifact:
        volume = artifact.nodes[-1].children[0].volume
        patch(good, 256 * 512, b"from the good one")
        assert bytes(volume.source.read_at(0, 17)) == b"from the good one"


def test_linear_arrays_without_one_of_their_members_are_refused(tmp_path: Path) -> None:
    for name in ("linear-1.2", "raid0-equal"):
        first, _, third = members(name, tmp_path)
        with pytest.raises(UnsupportedError, match="needs its members 1, which are missing"):
            _content(first, third)


def test_raid10_without_both_copies_of_something_is_refused(tmp_path: Path) -> None:
    first, second, third, fourth = members("raid10-near2-of-4", tmp_path)
    assert _content(first, third) == numbered(3584 * 512, "A")
    assert _content(second, fourth) == numbered(3584 * 512, "A")
    with pytest.raises(UnsupportedError, match="needs its members 2, 3, which are missing"):
        _content(first, second)


@pytest.mark.parametrize("name", ["raid10-far2-of-4", "raid10-offset2-of-4", "raid10-far2-of-3"])
def test_far_copies_are_read_where_the_near_ones_are_missing(tmp_path: Path, name: str) -> None:
    first, *rest = members(name, tmp_path)
    data = _content(*rest)
    assert data == numbered(len(data), "A")
    del first


def test_a_member_that_missed_more_than_one_event_is_stale(tmp_path: Path) -> None:
    """Without having failed: a machine that lost its power while it wrote leaves one behind."""
    first, second = members("raid1-1.2", tmp_path)
    events = int(_examined(first, "Events"))
    patch(first, 256 * 512, b"old")
    for ahead, is_stale in ((1, False), (2, True)):
        resealed(second, _AT["1.2"], events=events + ahead)
        with open_artifact([first, second], registry=Registry([READER])) as artifact:
            evidence = [finding.evidence for finding in artifact.findings]
            start = bytes(artifact.nodes[-1].children[0].volume.source.read_at(0, 3))
        assert any(f"it is stale: {events} events of" in text for text in evidence) == is_stale
        assert (start == b"old") == (not is_stale)


def test_a_member_that_has_no_place_in_the_array_is_not_read(tmp_path: Path) -> None:
    paths = members("raid1-1.2", tmp_path)
    for path in paths:
        resealed(path, _AT["1.2"], members=1)
    with open_artifact(paths, registry=Registry([READER])) as artifact:
        (finding,) = artifact.findings
        source = artifact.nodes[-1].children[0].volume.source
        assert whole(source) == numbered(1792 * 512, "A")
    assert finding.evidence == "1 is not used: it has no place in the array"


@pytest.mark.parametrize("is_swapped", [False, True])
def test_a_superblock_is_read_in_the_byte_order_of_its_machine(
    tmp_path: Path, *, is_swapped: bool
) -> None:
    first, second = members("raid1-0.90", tmp_path)
    if is_swapped:
        big_endian(first)
        big_endian(second)
    theirs = ("--examine", *(("-e", "0.swap") if is_swapped else ()))
    printed = run("mdadm", *theirs, first).stdout.decode()
    source = FileSource(first)
    superblock = version0.read(source, version0.place(source.size))
    source.close()
    assert f"Events : {superblock.events}\n" in printed
    assert f"UUID : {superblock.uuid}\n" in printed
    assert _content(first, second) == numbered(960 * 1024, "A")


def test_an_array_larger_than_the_limit_is_refused(tmp_path: Path) -> None:
    paths = members("linear-1.2", tmp_path)
    limits = Limits(disk_virtual_bytes=MIB)
    with open_artifact(paths, registry=Registry([READER]), limits=limits) as artifact:
        assert isinstance(artifact.nodes[-1].children[0].problem, LimitError)


def test_more_copies_than_members_are_corrupt(tmp_path: Path) -> None:
    paths = members("raid10-near2-of-4", tmp_path)
    for path in paths:
        resealed(path, _AT["1.2"], layout=0x105)
    problem = _volume(*paths).problem
    assert isinstance(problem, CorruptError)
    assert problem.message == "has the raid10 layout 0x105"


@pytest.mark.parametrize(
    ("fields", "kind", "message"),
    [
        ({"features": 1 << 20}, UnsupportedError, "has features that are not known (0x100000)"),
        ({"layout": 77}, UnsupportedError, "a raid5 array with the layout 77"),
        ({"members": 1}, CorruptError, "has 1 members"),
        ({"chunk": 0}, CorruptError, "has chunks of 0 bytes"),
        ({"chunk": 0xFFFFFFFF}, CorruptError, "has chunks of 2,199,023,255,040 bytes"),
    ],
)
def test_what_a_superblock_says_is_checked(
    tmp_path: Path, fields: dict[str, int], kind: type[ConvertError], message: str
) -> None:
    paths = [
        resealed(path, _AT["1.2"], **fields) for path in members("raid5-left-symmetric", tmp_path)
    ]
    problem = _volume(*paths).problem
    assert type(problem) is kind
    assert problem is not None
    assert message in problem.message


def test_a_table_of_devices_is_as_large_as_a_superblock_has_room_for(tmp_path: Path) -> None:
    first, _ = members("raid1-1.2", tmp_path)
    assert _content(resealed(first, _AT["1.2"], rows=1920)) == numbered(1792 * 512, "A")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rows": 1921}, "the md superblock has a table of 1,921 devices"),
        ({"members": 0}, "the md superblock is of an array of 0 members"),
        ({"members": 1921}, "the md superblock is of an array of 1,921 members"),
    ],
)
def test_numbers_that_no_superblock_has_are_corrupt(
    tmp_path: Path, fields: dict[str, int], message: str
) -> None:
    first, _ = members("raid1-1.2", tmp_path)
    resealed(first, _AT["1.2"], **fields)
    with open_artifact([first], registry=Registry([READER])) as artifact:
        problem = artifact.nodes[0].problem
    assert isinstance(problem, CorruptError)
    assert problem.message == message


@pytest.mark.parametrize(
    ("name", "place"), [("raid1-1.2", 4096 + 80), ("raid1-0.90", (1 << 20) - (1 << 16) + 32)]
)
def test_a_damaged_superblock_is_corrupt(tmp_path: Path, name: str, place: int) -> None:
    first, _ = members(name, tmp_path)
    with open_artifact([patch(first, place, b"\x01")], registry=Registry([READER])) as artifact:
        problem = artifact.nodes[0].problem
    assert isinstance(problem, CorruptError)
    assert problem.message == "the md superblock has a wrong checksum"


def test_any_mutation_of_a_superblock_gives_bytes_or_a_typed_error(tmp_path: Path) -> None:
    chance = random.Random(9)
    outcomes = set()
    for name in ("raid0-original", "raid1-1.2", "raid10-far2-of-3", "raid6-left-symmetric"):
        paths = members(name, tmp_path)
        wholes = [path.read_bytes() for path in paths]
        for _ in range(15):
            changes = [
                (chance.randrange(16, 216), chance.choice([0, 1, 0x7F, 0x80, 0xFF]))
                for _ in range(chance.randint(1, 3))
            ]
            for path, data in zip(paths, wholes, strict=True):
                path.write_bytes(data)
                for place, value in changes:
                    patch(path, _AT["1.2"] + place, bytes([value]))
                resealed(path, _AT["1.2"])
            with open_artifact(paths, registry=Registry([READER])) as artifact:
                for node in artifact.walk():
                    if node.problem is None:
                        node.volume.source.read_at(0, 1 << 16)
                    assert node.problem is None or isinstance(node.problem, ConvertError)
                    outcomes.add(type(node.problem))
    assert {type(None), CorruptError, UnsupportedError} <= outcomes


@pytest.mark.parametrize("version", MD_VERSIONS)
def test_a_member_is_one_whatever_can_be_seen_on_it(tmp_path: Path, version: str) -> None:
    """RAID 1 with the superblock at the end looks like its filesystem: one stale half of it."""
    image = blank(tmp_path / "member", MD_MEMBER_BYTES)
    run("mke2fs", "-q", "-F", "-t", "ext4", image, "7M")
    assert reader_name(image) == "ext"
    add_md_superblock(image, version)
    assert blkid_type(image) == "linux_raid_member"
    assert reader_name(image) == "mdraid"


@pytest.mark.parametrize("version", ["0.90", "1.0"])
def test_what_is_inside_of_an_array_is_opened(tmp_path: Path, version: str) -> None:
    image = blank(tmp_path / "member", MD_MEMBER_BYTES)
    run("mke2fs", "-q", "-F", "-t", "ext4", "-L", "inner", image, "7M")
    add_md_superblock(image, version)
    with opened(image) as artifact:
        assert [node.tree.info.label for node in artifact.walk() if node.tree] == ["inner"]


@pytest.mark.parametrize("version", MD_VERSIONS)
def test_a_member_that_holds_a_partition_table_is_one(tmp_path: Path, version: str) -> None:
    for label in ("dos", "gpt"):
        image = sfdisk(tmp_path / label, MD_MEMBER_BYTES, f"label: {label}\nsize=4MiB\n")
        add_md_superblock(image, version)
        assert reader_name(image) == "mdraid"


@pytest.mark.parametrize("version", ["0.90", "1.0"])
def test_a_member_as_the_last_partition_does_not_make_the_disk_one(
    tmp_path: Path, version: str
) -> None:
    member = add_md_superblock(blank(tmp_path / "member", MD_MEMBER_BYTES), version)
    disk = sfdisk(tmp_path / "disk", MD_MEMBER_BYTES + MIB, "label: dos\nstart=1MiB, type=fd\n")
    patch(disk, MIB, member.read_bytes())
    with opened(disk) as artifact:
        node = artifact.nodes[0]
        names = [child.reader.name for child in node.children if child.reader]
    assert node.reader is not None
    assert (node.reader.name, names) == ("mbr", ["mdraid"])


def test_a_member_with_a_physical_volume_in_it_is_one(tmp_path: Path) -> None:
    image = blank(tmp_path / "member", MD_MEMBER_BYTES)
    with lvm_on(tmp_path, image) as lvm:
        lvm("pvcreate", "-y", *lvm.devices)
    add_md_superblock(image, "1.0")
    assert reader_name(image) == "mdraid"


def test_a_mirror_that_nobody_here_made_is_assembled(tmp_path: Path) -> None:
    folder = "raw/dissect_md-raid1"
    paths = [unpacked(f"{folder}/md-raid1-{number}.bin.gz", tmp_path) for number in (1, 2)]
    first = _content(paths[0])
    assert _content(*paths) == _content(paths[1]) == first
    assert len(first) > MIB


def test_a_member_without_its_array_is_named(tmp_path: Path) -> None:
    corpus("MANIFEST.tsv")
    with opened(unpacked("raw/util-linux__mdraid.img.xz", tmp_path)) as artifact:
        node = artifact.nodes[0]
    assert node.reader is not None
    assert node.reader.name == "mdraid"
