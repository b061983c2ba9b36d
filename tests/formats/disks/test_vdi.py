"""VirtualBox disks against qemu-img, and what it cannot make patched from its images."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from formats.core.errors import CorruptError
from formats.core.limits import Limits
from formats.disks.vdi import READER
from tests.support.disk_damage import check_changed, check_truncated
from tests.support.disk_images import MIB, patch, problem, qemu_io, scattered
from tests.support.disks import check_any_order, check_extents, inside, opened, qemu_content, whole
from tests.support.programs import run

pytestmark = pytest.mark.usefixtures("qemu")

MAP_OFFSET, DATA_OFFSET = 0x154, 0x158
FREE, ZERO = 0xFFFFFFFF, 0xFFFFFFFE


@pytest.fixture
def image(raw: Path, tmp_path: Path) -> Path:
    path = tmp_path / "disk.vdi"
    run("qemu-img", "convert", "-f", "raw", "-O", "vdi", raw, path)
    return path


def number(image: Path, place: int) -> int:
    return int.from_bytes(image.read_bytes()[place : place + 4], "little")


@pytest.mark.parametrize("options", ["static=off", "static=on"])
def test_reads_what_qemu_wrote(raw: Path, tmp_path: Path, options: str) -> None:
    image = tmp_path / "disk.vdi"
    run("qemu-img", "convert", "-f", "raw", "-O", "vdi", "-o", options, raw, image)
    with opened(image, READER) as artifact:
        disk = inside(artifact)
        content = whole(disk)
        assert content == qemu_content(image, "vdi", tmp_path)
        assert content.rstrip(b"\0") == raw.read_bytes().rstrip(b"\0")
        assert content == whole(disk, 100_001), "in odd steps"
        holes = check_extents(disk)
        kind = artifact.nodes[0].facts["type"]
    assert kind == ("static" if options == "static=on" else "dynamic")
    assert (holes > 2 * MIB) == (kind == "dynamic")


def test_blocks_in_any_order(tmp_path: Path) -> None:
    image = scattered(tmp_path / "disk.vdi", "vdi")
    with opened(image, READER) as artifact:
        check_any_order(inside(artifact), qemu_content(image, "vdi", tmp_path))


def test_blocks_marked_as_zero_are_zeros(image: Path, tmp_path: Path) -> None:
    place = number(image, MAP_OFFSET) + 18 * 4
    assert number(image, place) < 19
    patch(image, place, struct.pack("<I", ZERO))
    with opened(image, READER) as artifact:
        content = whole(inside(artifact))
    assert content == qemu_content(image, "vdi", tmp_path)
    assert content[18 * MIB : 19 * MIB] == bytes(MIB)


def test_extra_data_in_front_of_blocks_is_passed_over(raw: Path, image: Path) -> None:
    """VirtualBox has a field for it and leaves it zero; so does QEMU, which refuses others."""
    data_offset, extra = number(image, DATA_OFFSET), 4096
    complete = image.read_bytes()
    blocks = complete[data_offset:]
    spread = b"".join(b"\xee" * extra + blocks[at : at + MIB] for at in range(0, len(blocks), MIB))
    image.write_bytes(complete[:data_offset] + spread)
    patch(image, 0x17C, struct.pack("<I", extra))
    with opened(image, READER) as artifact:
        content = whole(inside(artifact))
    assert content.rstrip(b"\0") == raw.read_bytes().rstrip(b"\0")


def test_a_disk_of_terabytes_opens_at_once_and_is_one_hole(tmp_path: Path) -> None:
    image = tmp_path / "disk.vdi"
    run("qemu-img", "create", "-f", "vdi", image, "4T")
    qemu_io(image, "vdi", f"write -P 0x11 {3 << 40} 64k")
    with opened(image, READER) as artifact:
        disk = inside(artifact)
        data = [extent for extent in disk.extents() if not extent.is_hole]
        assert [(extent.offset, extent.length) for extent in data] == [(3 << 40, MIB)]


def test_facts_are_those_of_the_header(tmp_path: Path) -> None:
    image = tmp_path / "disk.vdi"
    run("qemu-img", "create", "-f", "vdi", image, "3M")
    identity = bytes.fromhex("33221100554477668899aabbccddeeff")
    patch(image, 0x188, identity)
    with opened(image, READER) as artifact:
        assert artifact.nodes[0].facts == {
            "type": "dynamic",
            "creator": "QEMU VM Virtual Disk Image",
            "virtual size": "3,145,728 bytes",
            "block size": "1,048,576 bytes",
            "blocks": "0 of 3 allocated",
            "uuid": "00112233-4455-6677-8899-aabbccddeeff",
        }


@pytest.mark.parametrize("kind", [1, 3, 4])
def test_a_snapshot_is_refused_by_name(image: Path, kind: int) -> None:
    patch(image, 0x4C, bytes([kind]))
    patch(image, 0x1A8, bytes(15) + b"\1")
    text = problem(image, READER)
    assert text.startswith("unsupported:")
    assert "is a snapshot of the disk 00000000-0000-0000-0000-000000000001" in text
    assert "VBoxManage clonemedium" in text


def test_a_version_that_is_not_read_is_named(image: Path) -> None:
    patch(image, 0x44, struct.pack("<HH", 2, 0))
    assert "is VDI version 0.2, which is not read" in problem(image, READER)
    patch(image, 0x44, struct.pack("<HH", 0, 2))
    assert problem(image, READER).startswith("unsupported:")


@pytest.mark.parametrize(
    ("place", "value", "code"),
    [
        (0x4C, struct.pack("<I", 7), "unsupported"),
        (0x154, struct.pack("<I", 0xFFFFFFF0), "corrupt"),
        (0x168, struct.pack("<I", 4096), "corrupt"),
        (0x170, struct.pack("<Q", 1 << 62), "corrupt"),
        (0x170, struct.pack("<Q", 1 << 40), "corrupt"),
        (0x178, struct.pack("<I", 0), "corrupt"),
        (0x178, struct.pack("<I", 1000), "corrupt"),
        (0x178, struct.pack("<I", 1 << 31), "corrupt"),
        (0x178, struct.pack("<I", 512), "corrupt"),
        (0x180, struct.pack("<I", 0), "corrupt"),
        (0x180, struct.pack("<I", 0xFFFFFFFF), "corrupt"),
    ],
)
def test_a_header_that_cannot_be_true_is_refused(
    image: Path, place: int, value: bytes, code: str
) -> None:
    patch(image, place, value)
    assert problem(image, READER).startswith(f"{code}:")


def test_a_disk_larger_than_the_limit_is_refused(image: Path) -> None:
    assert problem(image, READER, limits=Limits(disk_virtual_bytes=MIB)).startswith("limit-")


@pytest.mark.parametrize("entry", [1000, 0xFFFFFFFD])
def test_a_block_that_cannot_be_there_is_an_error_when_read(image: Path, entry: int) -> None:
    patch(image, number(image, MAP_OFFSET), struct.pack("<I", entry))
    with opened(image, READER) as artifact:
        disk = inside(artifact)
        with pytest.raises(CorruptError) as caught:
            disk.read_at(0, 512)
        assert caught.value.offset is not None
        assert len(disk.read_at(2 * MIB, 10)) == 10, "the rest is still read"


def test_a_truncated_disk_never_gives_wrong_bytes(image: Path) -> None:
    with opened(image, READER) as artifact:
        content = whole(inside(artifact))
    sizes = [*range(64, 700, 13), *range(700, image.stat().st_size, 500_003)]
    assert check_truncated(image, READER, content, sizes) > 100


def test_any_changed_byte_gives_bytes_or_a_typed_error(tmp_path: Path) -> None:
    image = tmp_path / "disk.vdi"
    run("qemu-img", "create", "-f", "vdi", image, "5M")
    qemu_io(image, "vdi", "write -P 1 0 100k", "write -P 2 3M 100k")
    tables = [*range(0x40, 0x60), *range(0x150, 0x1C8), *range(0x200, 0x214)]
    assert check_changed(image, READER, tables, rounds=200) > 30
