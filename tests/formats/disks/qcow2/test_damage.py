"""Images that contradict themselves, end too early, or were changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from formats.core.errors import CorruptError
from formats.core.limits import Limits
from formats.disks.qcow2.reader import READER
from tests.formats.disks.qcow2.support import (
    KIB,
    MIB,
    l1_offset,
    l2_offset,
    patch,
    problem,
    qemu_io,
)
from tests.support.disk_damage import check_changed, check_truncated
from tests.support.disks import inside, opened, qemu_content, whole
from tests.support.programs import run

pytestmark = pytest.mark.usefixtures("qemu")


def test_a_disk_larger_than_the_limit_is_refused(image: Path) -> None:
    assert problem(image, limits=Limits(disk_virtual_bytes=MIB)).startswith("limit-exceeded:")


@pytest.mark.parametrize(
    ("offset", "value", "code"),
    [
        (20, (8).to_bytes(4, "big"), "corrupt"),
        (20, (22).to_bytes(4, "big"), "corrupt"),
        (24, (1 << 62).to_bytes(8, "big"), "limit-exceeded"),
        (36, (0).to_bytes(4, "big"), "corrupt"),
        (36, (1 << 31).to_bytes(4, "big"), "limit-exceeded"),
        (40, (1).to_bytes(8, "big"), "corrupt"),
        (40, (1 << 40).to_bytes(8, "big"), "corrupt"),
        (40, (0).to_bytes(8, "big"), "corrupt"),
        (40, (0xFFFF_FFFF_FFFF_0000).to_bytes(8, "big"), "corrupt"),
        (100, (96).to_bytes(4, "big"), "corrupt"),
        (100, (105).to_bytes(4, "big"), "corrupt"),
        (104, b"\x01", "corrupt"),
        (4, (9).to_bytes(4, "big"), "unsupported"),
        (8, (1).to_bytes(8, "big") + (4096).to_bytes(4, "big"), "corrupt"),
        (8, (1 << 63).to_bytes(8, "big") + (10).to_bytes(4, "big"), "corrupt"),
    ],
)
def test_a_header_that_cannot_be_true_is_refused(
    image: Path, offset: int, value: bytes, code: str
) -> None:
    patch(image, offset, value)
    assert problem(image).startswith(f"{code}:")


@pytest.mark.parametrize("value", [1 << 40, 0x200, (1 << 56) - 512])
def test_an_l2_table_that_cannot_be_there_is_an_error_when_read(image: Path, value: int) -> None:
    patch(image, l1_offset(image), value.to_bytes(8, "big"))
    with opened(image, READER) as artifact, pytest.raises(CorruptError):
        inside(artifact).read_at(0, 512)


@pytest.mark.parametrize(
    "value",
    [
        1 << 40,
        0x200,
        (1 << 62) | (1 << 50),
        (1 << 62) | 0,
        (1 << 62) | ((1 << 62) - 1),
    ],
)
def test_a_cluster_that_cannot_be_there_is_an_error_when_read(image: Path, value: int) -> None:
    patch(image, l2_offset(image), value.to_bytes(8, "big"))
    with opened(image, READER) as artifact:
        disk = inside(artifact)
        with pytest.raises(CorruptError) as caught:
            disk.read_at(0, 512)
        assert caught.value.origin is not None
        assert bytes(disk.read_at(2 * MIB, 2)) == b"\x33\x33", "the rest is still read"


def test_tables_that_point_at_themselves_end(image: Path) -> None:
    table = l1_offset(image)
    patch(image, table, table.to_bytes(8, "big"))
    with opened(image, READER) as artifact:
        assert len(whole(inside(artifact))) == 4 * MIB
    second = l2_offset(image)
    patch(image, second, second.to_bytes(8, "big") * 64)
    with opened(image, READER) as artifact:
        assert len(whole(inside(artifact))) == 4 * MIB


def test_parts_of_a_disk_that_share_a_table_are_refused_before_anybody_walks_them(
    tmp_path: Path,
) -> None:
    image = tmp_path / "disk.qcow2"
    run("qemu-img", "create", "-f", "qcow2", image, "16T")
    qemu_io(image, "write -P 0x11 0 64k")
    entries = 16 * 1024 * 1024 // 512
    table = image.read_bytes()[l1_offset(image) :][:8]
    patch(image, l1_offset(image), table * entries)
    assert "share an L2 table" in problem(image)


def test_parts_of_a_disk_that_share_clusters_read_as_qemu_reads_them(
    image: Path, tmp_path: Path
) -> None:
    table = image.read_bytes()[l2_offset(image) :][: 64 * 8]
    plain, compressed = table[:8], table[16 * 8 : 17 * 8]
    patch(image, l2_offset(image), (plain * 3 + compressed * 5) * 8)
    expected = qemu_content(image, "qcow2", tmp_path)
    with opened(image, READER) as artifact:
        assert whole(inside(artifact)) == expected


def test_an_empty_table_is_as_good_as_none(image: Path) -> None:
    patch(image, l2_offset(image), bytes(64 * KIB))
    with opened(image, READER) as artifact:
        disk = inside(artifact)
        assert whole(disk) == bytes(4 * MIB)
        assert [extent.is_hole for extent in disk.extents()] == [True]


def test_damage_in_a_compressed_cluster_names_the_place(image: Path) -> None:
    descriptor = int.from_bytes(image.read_bytes()[l2_offset(image) + 16 * 8 :][:8], "big")
    host = descriptor & ((1 << 54) - 1)
    patch(image, host, b"\xff" * 64)
    with opened(image, READER) as artifact:
        disk = inside(artifact)
        disk.will_need([(MIB, 64 * KIB)])
        for _ in range(2):
            with pytest.raises(CorruptError, match="compressed cluster cannot be read") as caught:
                disk.read_at(MIB, 10)
            assert caught.value.offset == host


def test_a_truncated_image_never_gives_wrong_bytes(image: Path, tmp_path: Path) -> None:
    content = qemu_content(image, "qcow2", tmp_path)
    sizes = [*range(0, 600, 13), *range(600, image.stat().st_size, 4096 - 7)]
    assert check_truncated(image, READER, content, sizes) > 50


@pytest.mark.parametrize("options", ["compression_type=zstd", "extended_l2=on", "cluster_size=512"])
def test_any_changed_byte_gives_bytes_or_a_typed_error(tmp_path: Path, options: str) -> None:
    image = tmp_path / "disk.qcow2"
    run("qemu-img", "create", "-f", "qcow2", "-o", options, image, "512k")
    qemu_io(image, "write -P 0x11 0 100k", "write -c -P 0x22 128k 64k", "write -z 256k 64k")
    tables = [*range(120), *range(l1_offset(image), l1_offset(image) + 16)]
    tables += range(l2_offset(image), l2_offset(image) + 160)
    assert check_changed(image, READER, tables, rounds=600) > 100
