"""Mirrored and RAID volumes in groups that lvm and the kernel made: what was written is read.

They were made with Linux 6.1 and LVM 2.03.16: ``lvcreate --type`` as the volumes' names say, and
filled through ``/dev/vg/…``. ``stale`` ones were written again while the first disk was away
(``lvchange --activate y --activationmode degraded``), origins after a snapshot was taken.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from formats.core.errors import AmbiguousError, ConvertError, CorruptError, UnsupportedError
from formats.core.opener import Artifact, Node, open_artifact
from formats.core.registry import Registry
from formats.volumes.lvm import READER
from tests.images.kernel_made import kept, numbered, unpacked
from tests.images.volumes import patch
from tests.support.disks import check_extents, whole
from tests.support.survey import unpacked as from_corpus

_CONTENTS = {
    "raid1-to-5": {
        **dict.fromkeys(["r1", "r1_3", "mirc", "mird", "r0", "r0m", "r10", "r4", "r5"], "A"),
        **dict.fromkeys(["r5la", "r5ra", "r5ls", "r5rs", "r5n", "stripy"], "A"),
        **dict.fromkeys(["r1s", "orig"], "B"),
    },
    "raid6-and-others": {
        **dict.fromkeys(["r6", "r6_zr", "r6_nr", "r6_nc", "r6_n_6", "r6_ls_6", "r6_la_6"], "A"),
        **dict.fromkeys(["r6_rs_6", "r6_ra_6", "r10_6", "mirst"], "A"),
        **dict.fromkeys(["stale", "st10", "sorig", "r1orig", "mover"], "B"),
    },
}
_REFUSED = {
    "raid1-to-5": {"snap": "is a snapshot of 'orig'"},
    "raid6-and-others": {
        "st5": "lacks images that it cannot be read without: 'st5_rimage_0' failed",
        "r1int": "'r1int_rimage_0' is a volume with dm-integrity, which is not read",
        "pool": "is a thin pool",
        "thin": "is a thin volume of the pool 'pool'",
        "wc": "is a volume with a write cache",
        "cc": "is a cached volume (cache 'ccfast_cvol')",
        "ssnap": "is a snapshot of 'sorig'",
        "rsnap": "is a snapshot of 'r1orig'",
    },
}
_ALL = [(group, name) for group in _CONTENTS for name in _CONTENTS[group]]
_WITHOUT_A_DISK = ["r1", "r1_3", "r1s", "r10"]
"""Of ``raid1-to-5``, what can be read without its first disk; all have an image there."""

_EXTENT = 64 << 10
_FIRST_EXTENT = 64 << 10


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    return {
        name: unpacked("lvm_groups", name, tmp_path_factory.mktemp(name))
        for name in kept("lvm_groups")
    }


@contextmanager
def _opened(disks: Sequence[Path]) -> Iterator[tuple[Artifact, dict[str, Node]]]:
    """Open disks with nothing but LVM's reader; give the volumes by name."""
    with open_artifact(list(disks), registry=Registry([READER])) as artifact:
        (group,) = [node for node in artifact.nodes if node.members]
        assert group.problem is None
        volumes = {child.volume.label.removeprefix("vg/"): child for child in group.children}
        yield artifact, volumes


def test_every_volume_of_the_groups_has_a_test(groups: dict[str, list[Path]]) -> None:
    for name, disks in groups.items():
        with _opened(disks) as (_, volumes):
            assert volumes.keys() == {*_CONTENTS[name], *_REFUSED[name]}


@pytest.mark.parametrize(("group", "name"), _ALL)
def test_what_the_kernel_wrote_is_read(
    groups: dict[str, list[Path]], group: str, name: str
) -> None:
    with _opened(groups[group]) as (_, volumes):
        problem, source = volumes[name].problem, volumes[name].volume.source
        assert problem is None
        assert source.size >= 4 * _EXTENT
        assert whole(source, 30_000) == numbered(source.size, _CONTENTS[group][name])
        check_extents(source)


@pytest.mark.parametrize("group", _REFUSED)
def test_what_is_not_read_is_refused_by_name(groups: dict[str, list[Path]], group: str) -> None:
    with _opened(groups[group]) as (_, volumes):
        for name, message in _REFUSED[group].items():
            problem = volumes[name].problem
            assert isinstance(problem, UnsupportedError)
            assert message in problem.message
            assert volumes[name].volume.source.size == 0


@pytest.mark.parametrize("name", _WITHOUT_A_DISK)
def test_mirrors_are_read_without_one_of_their_disks(
    groups: dict[str, list[Path]], name: str
) -> None:
    with _opened(groups["raid1-to-5"][1:]) as (artifact, volumes):
        source = volumes[name].volume.source
        assert whole(source) == numbered(source.size, _CONTENTS["raid1-to-5"][name])
        evidence = [
            finding.evidence
            for finding in artifact.findings
            if finding.path.endswith(f"lvm:vg/{name}".encode())
        ]
    assert len(evidence) == 1
    assert evidence[0].startswith(
        f"read without some of its images: '{name}_rimage_0' needs the physical volume "
    )


def test_what_needs_a_missing_disk_is_refused_and_names_it(groups: dict[str, list[Path]]) -> None:
    with _opened(groups["raid1-to-5"][1:]) as (_, volumes):
        unreadable = {name: node.problem for name, node in volumes.items() if node.problem}
    assert unreadable.keys() == {*_CONTENTS["raid1-to-5"], "snap"} - set(_WITHOUT_A_DISK)
    for name, problem in unreadable.items():
        assert isinstance(problem, UnsupportedError)
        assert name == "snap" or "needs the physical volume" in problem.message


def test_a_stale_image_alone_is_what_there_is(groups: dict[str, list[Path]]) -> None:
    """As LVM itself does: alone it cannot know that there is something newer."""
    with _opened(groups["raid1-to-5"][:1]) as (_, volumes):
        source = volumes["r1s"].volume.source
        assert whole(source) == numbered(source.size, "A")


def test_only_what_is_stale_is_reported(groups: dict[str, list[Path]]) -> None:
    expected = {
        "raid1-to-5": {"r1s": "'r1s_rimage_0' failed"},
        "raid6-and-others": {"stale": "'stale_rimage_0' failed", "st10": "'st10_rimage_0' failed"},
    }
    for name, disks in groups.items():
        with _opened(disks) as (artifact, _):
            found = {
                finding.path.decode().rpartition("/")[2]: finding.evidence.partition(": ")[2]
                for finding in artifact.findings
            }
        assert found == expected[name]


def _superblock(groups: dict[str, list[Path]], folder: Path) -> list[Path]:
    """Return the disks, the first two copied: their first extents are those of ``r1_rmeta_…``."""
    first, second, *rest = groups["raid1-to-5"]
    disks = [Path(shutil.copy(disk, folder)) for disk in (first, second)]
    for number, disk in enumerate(disks):
        data = disk.read_bytes()
        assert data.index(b"DmRd") == _FIRST_EXTENT
        assert struct.unpack_from("<I", data, _FIRST_EXTENT + 12) == (number,)
    return [*disks, *rest]


def _problem(disks: Sequence[Path]) -> ConvertError | None:
    """Return what keeps ``r1`` from being read."""
    with _opened(disks) as (_, volumes):
        return volumes["r1"].problem


@pytest.mark.parametrize(
    ("field", "form", "value", "reason"),
    [
        (16, "<Q", 1 << 40, "'r1_rimage_1' is stale: 12 events of 1,099,511,627,776"),
        (24, "<Q", 1 << 1, ""),
        (32, "<Q", 4096, "'r1_rimage_0' was being rebuilt"),
        (0, "<I", 0, "'r1_rimage_0' has no RAID superblock yet"),
    ],
)
def test_an_image_is_only_read_if_its_superblock_says_that_it_is_whole(
    groups: dict[str, list[Path]], tmp_path: Path, field: int, form: str, value: int, reason: str
) -> None:
    disks = _superblock(groups, tmp_path)
    patch(disks[0], _FIRST_EXTENT + field, struct.pack(form, value))
    with _opened(disks) as (artifact, volumes):
        assert volumes["r1"].problem is None
        evidence = " ".join(finding.evidence for finding in artifact.findings)
    assert (reason or "'r1_rimage_1' failed") in evidence


@pytest.mark.parametrize(
    ("field", "value", "kind", "message"),
    [
        (12, 7, CorruptError, "holds the RAID superblock of image 7, not of 1"),
        (60, 1, UnsupportedError, "is being reshaped, which is not read"),
    ],
)
def test_a_superblock_that_is_of_another_image_or_state_keeps_all_from_being_read(
    groups: dict[str, list[Path]],
    tmp_path: Path,
    field: int,
    value: int,
    kind: type[ConvertError],
    message: str,
) -> None:
    disks = _superblock(groups, tmp_path)
    patch(disks[1], _FIRST_EXTENT + field, struct.pack("<I", value))
    problem = _problem(disks)
    assert type(problem) is kind
    assert problem is not None
    assert problem.message == message


def test_halves_that_went_on_without_each_other_are_not_mixed(
    groups: dict[str, list[Path]], tmp_path: Path
) -> None:
    disks = _superblock(groups, tmp_path)
    for number, disk in enumerate(disks[:2]):
        patch(disk, _FIRST_EXTENT + 24, struct.pack("<Q", 1 << (1 - number)))
    problem = _problem(disks)
    assert isinstance(problem, AmbiguousError)
    assert "image 1 says that image 0 failed" in problem.message


def test_two_copies_of_a_disk_are_not_taken_for_a_lacking_image(
    groups: dict[str, list[Path]], tmp_path: Path
) -> None:
    copy = Path(shutil.copy(groups["raid1-to-5"][0], tmp_path / "copy"))
    assert isinstance(_problem([*groups["raid1-to-5"], copy]), AmbiguousError)


def test_any_damage_to_superblocks_gives_bytes_or_a_typed_error(
    groups: dict[str, list[Path]], tmp_path: Path
) -> None:
    disks = _superblock(groups, tmp_path)
    before = disks[0].read_bytes()[_FIRST_EXTENT : _FIRST_EXTENT + 128]
    for place in range(0, 72, 4):
        for value in (b"\0\0\0\0", b"\xff\xff\xff\xff"):
            patch(disks[0], _FIRST_EXTENT, before[:place] + value + before[place + 4 :])
            problem = _problem(disks)
            assert problem is None or isinstance(problem, ConvertError)


def test_a_mirror_that_nobody_here_made_is_read_from_its_first_leg(tmp_path: Path) -> None:
    names = [f"dissect_lvm-mirror/lvm-mirror-{number}.bin.gz" for number in (1, 2)]
    disks = [from_corpus(f"raw/{name}", tmp_path) for name in names]
    with open_artifact(disks, registry=Registry([READER])) as artifact:
        (volume,) = artifact.nodes[-1].children
        assert volume.problem is None
        data = whole(volume.volume.source)
    for disk in disks:  # both legs hold the same bytes
        assert data[:4096] in disk.read_bytes()
