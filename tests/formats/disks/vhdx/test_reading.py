"""VHDX disks against qemu-img, which wrote every image here and says what is in it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from formats.core.limits import Limits
from formats.disks.vhdx.reader import READER
from tests.images.vhdx import CONTENT, FULL, HEADERS, UNDEFINED, UNMAPPED, ZERO
from tests.images.vhdx import header as new_header
from tests.support.disk_images import KIB, MIB, patch, problem, qemu_io, scattered
from tests.support.disks import check_any_order, check_extents, inside, opened, qemu_content, whole
from tests.support.programs import run

pytestmark = pytest.mark.usefixtures("qemu")

TIB = 1 << 40


@pytest.mark.parametrize("block_size", ["1M", "2M", "32M", "256M"])
@pytest.mark.parametrize("options", ["subformat=dynamic", "log_size=3M", "block_state_zero=off"])
def test_reads_what_qemu_wrote(raw: Path, tmp_path: Path, block_size: str, options: str) -> None:
    image = tmp_path / "disk.vhdx"
    arguments = f"block_size={block_size},{options}"
    run("qemu-img", "convert", "-f", "raw", "-O", "vhdx", "-o", arguments, raw, image)
    with opened(image, READER) as artifact:
        disk = inside(artifact)
        content = whole(disk)
        assert content == raw.read_bytes()
        assert content == whole(disk, 100_001), "in odd steps"
        holes = check_extents(disk)
        assert artifact.nodes[0].facts["type"] == "dynamic"
        assert not artifact.findings
    if block_size in {"1M", "2M"}:
        assert holes >= 2 * MIB


def test_reads_a_fixed_disk(raw: Path, tmp_path: Path) -> None:
    image = tmp_path / "disk.vhdx"
    run("qemu-img", "convert", "-O", "vhdx", "-o", "subformat=fixed", raw, image)
    with opened(image, READER) as artifact:
        assert whole(inside(artifact)) == raw.read_bytes()


def test_blocks_in_any_order(tmp_path: Path) -> None:
    image = scattered(tmp_path / "disk.vhdx", "vhdx", "-o", "block_size=1M")
    with opened(image, READER) as artifact:
        check_any_order(inside(artifact), qemu_content(image, "vhdx", tmp_path))


@pytest.mark.parametrize("state", [0, UNDEFINED, ZERO, UNMAPPED])
def test_blocks_that_are_not_present_are_zeros_whatever_they_point_to(
    raw: Path, tmp_path: Path, state: int
) -> None:
    image = tmp_path / "disk.vhdx"
    run("qemu-img", "convert", "-O", "vhdx", "-o", "block_size=1M", raw, image)
    place = _bat_offset(image) + 18 * 8
    (entry,) = struct.unpack("<Q", image.read_bytes()[place : place + 8])
    assert entry & 7 == FULL
    patch(image, place, struct.pack("<Q", entry ^ FULL | state))
    with opened(image, READER) as artifact:
        disk = inside(artifact)
        content = whole(disk)
        assert content == qemu_content(image, "vhdx", tmp_path)
        assert content[18 * MIB : 19 * MIB] == bytes(MIB) != raw.read_bytes()[18 * MIB : 19 * MIB]
        check_extents(disk)


def _bat_offset(image: Path) -> int:
    table = image.read_bytes()[192 * KIB :][:100]
    assert table[16:20] == bytes.fromhex("6677c22d")
    (place,) = struct.unpack_from("<Q", table, 32)
    return int(place)


@pytest.mark.parametrize("number", [0, 1])
def test_a_header_that_was_half_written_is_passed_over(
    raw: Path, tmp_path: Path, number: int
) -> None:
    image = tmp_path / "disk.vhdx"
    run("qemu-img", "convert", "-O", "vhdx", raw, image)
    patch(image, HEADERS[number] + 40, b"torn")
    with opened(image, READER) as artifact:
        assert whole(inside(artifact)) == raw.read_bytes()
    assert qemu_content(image, "vhdx", tmp_path) == raw.read_bytes()


def test_the_header_with_the_higher_number_counts(raw: Path, tmp_path: Path) -> None:
    image = tmp_path / "disk.vhdx"
    run("qemu-img", "convert", "-O", "vhdx", raw, image)
    for place, sequence, version in [(0, 1000, 1), (1, 999, 7)]:
        patch(image, HEADERS[place], new_header(sequence, content=CONTENT, version=version))
    with opened(image, READER) as artifact:
        assert artifact.nodes[0].facts["content uuid"] == str(CONTENT)
        assert whole(inside(artifact)) == raw.read_bytes()
    patch(image, HEADERS[1], new_header(1001, content=CONTENT, version=7))
    assert "VHDX version 7" in problem(image, READER)


def test_the_second_region_table_serves_where_the_first_is_damaged(
    raw: Path, tmp_path: Path
) -> None:
    image = tmp_path / "disk.vhdx"
    run("qemu-img", "convert", "-O", "vhdx", raw, image)
    patch(image, 192 * KIB + 20, b"damage")
    with opened(image, READER) as artifact:
        assert whole(inside(artifact)) == raw.read_bytes()


def test_a_disk_of_terabytes_opens_at_once_and_is_one_hole(tmp_path: Path) -> None:
    image = tmp_path / "disk.vhdx"
    run("qemu-img", "create", "-f", "vhdx", "-o", "block_size=1M", image, "4T")
    qemu_io(image, "vhdx", "write -P 0x11 3T 64k")
    with opened(image, READER) as artifact:
        disk = inside(artifact)
        data = [extent for extent in disk.extents() if not extent.is_hole]
        assert [(extent.offset, extent.length) for extent in data] == [(3 * TIB, MIB)]
        assert bytes(disk.read_at(3 * TIB - 2, 4)) == b"\0\0\x11\x11"


def test_a_disk_larger_than_the_limit_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "disk.vhdx"
    run("qemu-img", "create", "-f", "vhdx", image, "64T")
    assert problem(image, READER).startswith("limit-exceeded:")
    limits = Limits(disk_virtual_bytes=64 * TIB)
    with opened(image, READER, limits=limits) as artifact:
        disk = inside(artifact)
        assert disk.size == 64 * TIB
        assert bytes(disk.read_at(63 * TIB, 100)) == bytes(100)


def test_facts_say_what_it_is(tmp_path: Path) -> None:
    image = tmp_path / "disk.vhdx"
    run("qemu-img", "create", "-f", "vhdx", "-o", "block_size=2M", image, "3M")
    with opened(image, READER) as artifact:
        facts = dict(artifact.nodes[0].facts)
    assert facts.pop("creator").startswith("QEMU")
    assert len(facts.pop("disk uuid")) == len(facts.pop("content uuid")) == 36
    assert facts == {
        "type": "dynamic",
        "virtual size": "3,145,728 bytes",
        "block size": "2,097,152 bytes",
        "sector size": "512 bytes (512 physical)",
    }
