"""VHD, VHDX and VDI disks of others: read as qemu-img reads them, or as they say themselves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from formats.core.origin import Origin
from formats.core.reader import Reader
from formats.core.source import ByteSource, FileSource
from formats.disks.vdi import READER as VDI
from formats.disks.vhd.reader import READER as VHD
from formats.disks.vhdx.reader import READER as VHDX
from tests.images.vhd import CHECKSUM_OF_FOOTER, CHECKSUM_OF_HEADER, with_checksum
from tests.support.disk_images import patch
from tests.support.disks import inside, opened, whole
from tests.support.programs import corpus, need, run
from tests.support.survey import Row, Seen, rows, survey, unpacked

_KINDS = ("vhd", "vhdx", "vdi")
_EXT4 = re.compile(r"ext4 f=(\d+) d=(\d+) l=(\d+) o=(\d+)")


@pytest.fixture(scope="module")
def artifacts() -> dict[Row, list[Seen]]:
    found = rows(*_KINDS)
    seen = survey([row.path for row in found])
    return {row: seen[row.path] for row in found}


def test_every_disk_is_opened_and_what_is_in_it_is_found(
    artifacts: dict[Row, list[Seen]],
) -> None:
    for row, nodes in artifacts.items():
        disk = next(node for node in nodes if node.reader in _KINDS)
        assert disk.reader == row.kind, row.name
        assert not disk.error, row.name
        if row.expected.startswith("Linux root tree"):
            expected = [tuple(map(int, found)) for found in _EXT4.findall(row.oracle)]
            assert expected == [tuple(node.counts) for node in nodes if node.counts], row.name
        if "ntfs" in row.oracle:
            assert [node.reader for node in nodes if node.code] == ["ntfs"], row.name
        if "no filesystem signature" in row.oracle:
            assert nodes[-1].reader is None, row.name


READ_BY_QEMU: tuple[tuple[str, Reader, str], ...] = (
    ("vdi/derived__alpine-dynamic.vdi.gz", VDI, "vdi"),
    ("vhd/derived__alpine-dynamic.vhd.gz", VHD, "vpc"),
    ("vhd/dissect__fixed.vhd.gz", VHD, "vpc"),
    ("vhd/qemu__virtualpc-dynamic.vhd", VHD, "vpc"),
    ("vhdx/derived__alpine-dynamic.vhdx.gz", VHDX, "vhdx"),
    ("vhdx/dissect__fixed.vhdx.gz", VHDX, "vhdx"),
    ("vhdx/qemu__iotest-dynamic-1G.vhdx.bz2", VHDX, "vhdx"),
)


@pytest.fixture(autouse=True)
def _programs() -> None:
    need("qemu-img")


@pytest.mark.parametrize(("name", "reader", "image_format"), READ_BY_QEMU)
def test_disks_of_others_are_read_as_qemu_reads_them(
    name: str, reader: Reader, image_format: str, tmp_path: Path
) -> None:
    image = unpacked(name, tmp_path)
    with opened(image, reader) as artifact:
        same_as_qemu(inside(artifact), image, image_format, tmp_path)
        assert not artifact.findings


def same_as_qemu(disk: ByteSource, image: Path, image_format: str, folder: Path) -> int:
    """Compare all that is data in one of the two; return how many bytes that was."""
    target = folder / "oracle"
    run("qemu-img", "convert", "-f", image_format, "-O", "raw", image, target)
    theirs = FileSource(target, Origin(("oracle",)))
    try:
        assert disk.size == theirs.size
        total = 0
        for source in (theirs, disk):
            for extent in source.extents():
                if extent.is_hole:
                    continue
                for offset in range(extent.offset, extent.offset + extent.length, 1 << 20):
                    length = min(1 << 20, extent.offset + extent.length - offset)
                    assert disk.read_at(offset, length) == theirs.read_at(offset, length)
                    total += length
        return total
    finally:
        theirs.close()


def test_a_log_of_others_is_replayed_as_qemu_does(tmp_path: Path) -> None:
    image = unpacked("vhdx/qemu__iotest-dirtylog-10G-4M.vhdx.bz2", tmp_path)
    repaired = tmp_path / "repaired.vhdx"
    run("cp", "--sparse=always", image, repaired)
    run("qemu-img", "check", "-f", "vhdx", "-r", "all", repaired)
    with opened(image, VHDX) as artifact:
        assert same_as_qemu(inside(artifact), repaired, "vhdx", tmp_path) > 1 << 20
        assert [finding.rule for finding in artifact.findings] == ["journal-replayed"]


def test_a_disk_of_virtualbox_has_the_end_that_qemu_cuts_off(tmp_path: Path) -> None:
    image = unpacked("vhd/patool__t.vhd.gz", tmp_path)
    target = tmp_path / "oracle"
    run("qemu-img", "convert", "-f", "vpc", "-O", "raw", image, target)
    theirs = target.read_bytes()
    with opened(image, VHD) as artifact:
        ours = whole(inside(artifact))
    assert len(theirs) < len(ours) == image.stat().st_size - 512
    assert ours == image.read_bytes()[:-512]
    assert ours.startswith(theirs)


def test_wrong_checksums_of_others_change_nothing(tmp_path: Path) -> None:
    """QEMU refuses these; with the sums put right it reads the same from the parent."""
    base = tmp_path / "image.vhd"
    base.write_bytes(corpus("vhd/dfvfs_image-diff/image.vhd").read_bytes())
    with opened(base, VHD) as artifact:
        ours = whole(inside(artifact))
        assert [finding.rule for finding in artifact.findings] == ["vhd-footer"]
    data = base.read_bytes()
    tail = len(data) - 512
    for start, end, place in (
        (0, 512, CHECKSUM_OF_FOOTER),
        (512, 1536, CHECKSUM_OF_HEADER),
        (tail, len(data), CHECKSUM_OF_FOOTER),
    ):
        patch(base, start, with_checksum(data[start:end], place))
    target = tmp_path / "oracle"
    run("qemu-img", "convert", "-f", "vpc", "-O", "raw", base, target)
    assert ours == target.read_bytes()


def test_a_differencing_disk_of_others_stands_on_the_one_beside_it() -> None:
    path = corpus("vhd/dfvfs_image-diff/image-differential.vhd")
    with opened(path, VHD) as artifact:
        ours = whole(inside(artifact))
        assert artifact.nodes[0].facts["parent"] == "image.vhd"
    with opened(path.with_name("image.vhd"), VHD) as artifact:
        parent = whole(inside(artifact))
    file = path.read_bytes()
    bitmap, data = file[2048:2560], file[2560:]
    for sector in range(len(ours) // 512):
        is_here = bitmap[sector // 8] >> (7 - sector % 8) & 1
        place = slice(sector * 512, sector * 512 + 512)
        assert ours[place] == (data[place] if is_here else parent[place])
