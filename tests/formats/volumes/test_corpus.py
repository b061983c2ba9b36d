"""Third-party artifacts with volumes, and volumes that are not read, against what others saw."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.opener import Node
from tests.images.volumes import opened
from tests.support.programs import corpus
from tests.support.survey import unpacked

_MEMORY_BYTES = 512 << 20
_SECONDS = 20


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("dfvfs__apfs.raw.gz", "apfs"),
        ("util-linux__exfat.img.xz", "exfat"),
        ("util-linux__hfsplus.img.xz", "hfsplus"),
        ("util-linux__jfs.img.xz", "jfs"),
        ("util-linux__ntfs.img.xz", "ntfs"),
        ("util-linux__reiser3.img.xz", "reiserfs"),
        ("util-linux__sgi.img.xz", "sgi-label"),
        ("util-linux__sun.img.xz", "sun-label"),
        ("util-linux__vmfs.img.xz", "vmfs"),
        ("util-linux__zfs.img.xz", "zfs"),
    ],
)
def test_what_is_not_read_is_refused_by_name(tmp_path: Path, name: str, reader: str) -> None:
    with opened(unpacked(f"raw/{name}", tmp_path)) as artifact:
        node = artifact.nodes[0]
    assert node.reader is not None
    assert node.reader.name == reader
    assert isinstance(node.problem, UnsupportedError)
    assert node.problem.hint


def test_a_swap_area_alone_holds_nothing_and_is_no_error(tmp_path: Path) -> None:
    with opened(unpacked("raw/util-linux__swap1.img.xz", tmp_path)) as artifact:
        node = artifact.nodes[0]
    assert (_name(node), node.children, node.problem) == ("swap", [], None)


def test_an_old_filesystem_under_a_partition_table_gives_way(tmp_path: Path) -> None:
    """MBR, two slices with BSD disklabels, and an ext3 superblock that blkid falls for."""
    with opened(unpacked("raw/util-linux__dos+bsd.img.xz", tmp_path)) as artifact:
        node = artifact.nodes[0]
    assert node.facts["partitions"] == "1 Linux, 2 FreeBSD"
    assert [_name(child) for child in node.children] == ["bsd-disklabel", "bsd-disklabel"]


def _name(node: Node) -> str | None:
    return node.reader.name if node.reader is not None else None


def test_a_linear_volume_without_a_filesystem_is_nothing_known(tmp_path: Path) -> None:
    with opened(unpacked("raw/dissect__lvm.bin.gz", tmp_path)) as artifact:
        (volume,) = artifact.nodes[-1].children
    assert (volume.volume.label, volume.reader, volume.problem) == ("vg_test/lv_test", None, None)
    assert volume.volume.source.size > 0


def test_a_physical_volume_in_no_group_has_no_volumes(tmp_path: Path) -> None:
    with opened(unpacked("raw/util-linux__lvm2.img.xz", tmp_path)) as artifact:
        assert [node.children for node in artifact.nodes] == [[], []]


@pytest.mark.parametrize(
    ("name", "sector_bytes", "count"),
    [("gpt", 512, 2), ("gpt_4k", 4096, 3), ("gpt_hybrid", 512, 3)],
)
def test_a_bare_gpt_lists_partitions_past_the_end(
    tmp_path: Path, name: str, sector_bytes: int, count: int
) -> None:
    with opened(unpacked(f"raw/dissect__{name}.bin", tmp_path)) as artifact:
        node = artifact.nodes[0]
        problems = [child.problem for child in node.children]
    assert node.facts["sector-bytes"] == str(sector_bytes)
    assert [type(problem) for problem in problems] == [CorruptError] * count


def test_a_bare_boot_sector_lists_partitions_past_the_end(tmp_path: Path) -> None:
    with opened(unpacked("raw/qemu__grub_mbr.raw", tmp_path)) as artifact:
        problems = [child.problem for child in artifact.nodes[0].children]
    assert [type(problem) for problem in problems] == [CorruptError] * 2


def test_no_hostile_disk_takes_more_than_its_limits(tmp_path: Path) -> None:
    """Each as a process of its own, with bounded memory and time."""
    manifest = corpus("MANIFEST.tsv")
    rows = [line.split("\t") for line in manifest.read_text().splitlines()[1:]]
    hostile = [row[0] for row in rows if row[3] == "raw" and row[7] == "yes"]
    assert len(hostile) > 20
    disks = [unpacked(name, tmp_path) for name in hostile]
    script = (
        "import sys; from pathlib import Path; from formats.core.opener import open_artifact\n"
        "for name in sys.argv[1:]:\n"
        "    with open_artifact([Path(name)]) as artifact:\n"
        "        for node in artifact.walk(): node.problem and str(node.problem)\n"
    )
    limits = (_MEMORY_BYTES, _MEMORY_BYTES)
    done = subprocess.run(
        [sys.executable, "-c", script, *disks],
        cwd=Path(__file__).parents[3],
        timeout=_SECONDS,
        check=False,
        capture_output=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limits),
    )
    assert done.returncode == 0, done.stderr.decode()
