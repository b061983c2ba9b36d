"""Parallels disks against qemu-img, and what it cannot make from its documentation."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from formats.core.errors import CorruptError
from formats.core.limits import Limits
from formats.disks.parallels import READER
from tests.support.disk_damage import check_changed, check_truncated
from tests.support.disk_images import MIB, patch, problem, qemu_io
from tests.support.disks import check_extents, inside, opened, qemu_content, whole
from tests.support.programs import corpus, run

pytestmark = pytest.mark.usefixtures("qemu")

SECTOR = 512


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.hds"
    run("qemu-img", "create", "-f", "parallels", path, "5M")
    qemu_io(path, "parallels", "write -P 1 0 100k", "write -P 2 3M 100k")
    return path


def old_disk(path: Path, clusters: dict[int, bytes], *, size: int, cluster_sectors: int) -> Path:
    """Write an image of the first kind, whose table counts in sectors."""
    count = -(-size // SECTOR // cluster_sectors)
    start = -(-(64 + 4 * count) // SECTOR)
    table, body = [0] * count, b""
    for index, data in clusters.items():
        table[index] = start + len(body) // SECTOR
        body += data.ljust(cluster_sectors * SECTOR, b"\0")
    head = struct.pack(
        "<16sIIIIIQIIIQ",
        b"WithoutFreeSpace",
        2,
        16,
        10,
        cluster_sectors,
        count,
        size // SECTOR,
        0x312E3276,
        0,
        0,
        0,
    )
    path.write_bytes((head + struct.pack(f"<{count}I", *table)).ljust(start * SECTOR, b"\0") + body)
    return path


@pytest.mark.parametrize("cluster_size", ["64k", "1M", "2M"])
def test_reads_what_qemu_wrote(raw: Path, tmp_path: Path, cluster_size: str) -> None:
    image = tmp_path / "disk.hds"
    options = f"cluster_size={cluster_size}"
    run("qemu-img", "convert", "-f", "raw", "-O", "parallels", "-o", options, raw, image)
    with opened(image, READER) as artifact:
        disk = inside(artifact)
        content = whole(disk)
        assert content == qemu_content(image, "parallels", tmp_path)
        assert content == raw.read_bytes()
        assert content == whole(disk, 100_001), "in odd steps"
        assert check_extents(disk) > 2 * MIB
        assert not artifact.findings


@pytest.mark.parametrize("cluster_sectors", [63, 504, 512])
def test_reads_images_of_the_first_kind(tmp_path: Path, cluster_sectors: int) -> None:
    dice = random.Random(cluster_sectors)
    cluster_bytes = cluster_sectors * SECTOR
    clusters = {index: dice.randbytes(cluster_bytes) for index in (3, 0, 1, 6)}
    image = old_disk(
        tmp_path / "disk.hdd", clusters, size=7 * cluster_bytes, cluster_sectors=cluster_sectors
    )
    expected = b"".join(clusters.get(index, bytes(cluster_bytes)) for index in range(7))
    with opened(image, READER) as artifact:
        disk = inside(artifact)
        assert whole(disk) == expected == qemu_content(image, "parallels", tmp_path)
        check_extents(disk)


def test_only_half_of_the_size_counts_in_images_of_the_first_kind(tmp_path: Path) -> None:
    image = old_disk(tmp_path / "disk.hdd", {0: b"x"}, size=MIB, cluster_sectors=128)
    patch(image, 40, b"\xff\xff\xff\xff")
    with opened(image, READER) as artifact:
        content = whole(inside(artifact))
    assert len(content) == MIB
    assert content == qemu_content(image, "parallels", tmp_path)


def test_reads_the_image_of_others(tmp_path: Path) -> None:
    image = corpus("other/qemu__parallels-v1")
    target = tmp_path / "oracle"
    run("qemu-img", "convert", "-f", "parallels", "-O", "raw", image, target)
    with opened(image, READER) as artifact:
        content = whole(inside(artifact))
    assert content == target.read_bytes()
    assert content.strip(b"\0")


def test_a_disk_that_was_not_closed_is_a_finding(image: Path) -> None:
    patch(image, 44, struct.pack("<I", 0x746F6E59))
    with opened(image, READER) as artifact:
        assert bytes(inside(artifact).read_at(0, 2)) == b"\1\1"
        assert [finding.rule for finding in artifact.findings] == ["parallels-unclean"]


def test_a_disk_marked_as_empty_is_one_hole(image: Path) -> None:
    patch(image, 52, b"\1")
    with opened(image, READER) as artifact:
        disk = inside(artifact)
        assert whole(disk) == bytes(5 * MIB)
        assert [extent.is_hole for extent in disk.extents()] == [True]


@pytest.mark.parametrize(
    ("place", "value", "code"),
    [
        (16, struct.pack("<I", 3), "unsupported"),
        (28, struct.pack("<I", 0), "corrupt"),
        (28, struct.pack("<I", 0xFFFFFFFF), "corrupt"),
        (32, struct.pack("<I", 2), "corrupt"),
        (32, struct.pack("<I", 0xFFFFFFFF), "corrupt"),
        (36, struct.pack("<Q", 1 << 31), "corrupt"),
        (36, struct.pack("<Q", 1 << 60), "corrupt"),
    ],
)
def test_a_header_that_cannot_be_true_is_refused(
    image: Path, place: int, value: bytes, code: str
) -> None:
    patch(image, place, value)
    assert problem(image, READER).startswith(f"{code}:")


def test_a_disk_larger_than_the_limit_is_refused(image: Path) -> None:
    assert problem(image, READER, limits=Limits(disk_virtual_bytes=MIB)).startswith("limit-")


@pytest.mark.parametrize("entry", [1 << 20, 0xFFFFFFFF])
def test_a_cluster_that_cannot_be_there_is_an_error_when_read(image: Path, entry: int) -> None:
    patch(image, 64, struct.pack("<I", entry))
    with opened(image, READER) as artifact:
        disk = inside(artifact)
        with pytest.raises(CorruptError):
            disk.read_at(0, 512)
        assert bytes(disk.read_at(3 * MIB, 2)) == b"\2\2", "the rest is still read"


def test_a_cluster_in_front_of_the_data_is_an_error(tmp_path: Path) -> None:
    image = old_disk(tmp_path / "disk.hdd", {0: b"x"}, size=MIB, cluster_sectors=128)
    patch(image, 48, struct.pack("<I", 8))
    with opened(image, READER) as artifact, pytest.raises(CorruptError, match="in front of"):
        inside(artifact).read_at(0, 512)


def test_a_truncated_disk_never_gives_wrong_bytes(image: Path) -> None:
    with opened(image, READER) as artifact:
        content = whole(inside(artifact))
    sizes = [*range(16, 200, 7), *range(200, image.stat().st_size, 100_003)]
    assert check_truncated(image, READER, content, sizes) > 50


def test_any_changed_byte_gives_bytes_or_a_typed_error(image: Path) -> None:
    assert check_changed(image, READER, range(16, 90), rounds=150) > 30
