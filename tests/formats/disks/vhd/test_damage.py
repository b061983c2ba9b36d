"""VHDs that contradict themselves, end too early, or were changed."""

from __future__ import annotations

import struct
import uuid
from pathlib import Path

import pytest

from formats.core.errors import CorruptError
from formats.disks.vhd.reader import READER
from tests.images.vhd import (
    CHECKSUM_OF_FOOTER,
    CHECKSUM_OF_HEADER,
    Parent,
    footer,
    with_checksum,
    write_vhd,
)
from tests.support.disk_damage import check_changed, check_truncated
from tests.support.disk_images import MIB, patch, problem
from tests.support.disks import inside, opened, whole

ID = uuid.UUID(int=1)
SIZE = 5 * MIB
SECTORS = {0: b"\x11" * 512, 5000: b"\x22" * 512, SIZE // 512 - 1: b"\x33" * 512}
HEADER = 512


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write_vhd(tmp_path / "disk.vhd", SIZE, SECTORS, identity=ID)


@pytest.fixture
def content(image: Path) -> bytes:
    with opened(image, READER) as artifact:
        return whole(inside(artifact))


def change(image: Path, place: int, data: bytes, *, start: int, length: int, checksum: int) -> None:
    """Change a structure, and put its checksum right."""
    patch(image, start + place, data)
    structure = image.read_bytes()[start : start + length]
    patch(image, start, with_checksum(structure, checksum))


def change_header(image: Path, place: int, data: bytes) -> None:
    change(image, place, data, start=HEADER, length=1024, checksum=CHECKSUM_OF_HEADER)


def change_footers(image: Path, place: int, data: bytes) -> None:
    for start in (0, image.stat().st_size - 512):
        change(image, place, data, start=start, length=512, checksum=CHECKSUM_OF_FOOTER)


def test_a_missing_footer_is_replaced_by_its_copy(image: Path, content: bytes) -> None:
    with image.open("r+b") as file:
        file.truncate(image.stat().st_size - 512)
    with opened(image, READER) as artifact:
        assert whole(inside(artifact)) == content
        (finding,) = artifact.findings
    assert finding.rule == "vhd-footer"
    assert "missing" in finding.evidence


@pytest.mark.parametrize("place", [0, 8, 12, 40, 60, 67, 100])
def test_a_damaged_footer_is_replaced_by_its_copy(image: Path, content: bytes, place: int) -> None:
    patch(image, place - 512, b"\xff")
    with opened(image, READER) as artifact:
        assert whole(inside(artifact)) == content
        assert [finding.rule for finding in artifact.findings] == ["vhd-footer"]


@pytest.mark.parametrize("place", [8, 40, 67, 100])
def test_a_damaged_copy_does_no_harm(image: Path, content: bytes, place: int) -> None:
    patch(image, place, b"\xff")
    with opened(image, READER) as artifact:
        assert whole(inside(artifact)) == content
        assert not artifact.findings


def test_wrong_checksums_everywhere_are_findings(image: Path, content: bytes) -> None:
    for place in (100, HEADER + 900, image.stat().st_size - 400):
        patch(image, place, b"\xff")
    with opened(image, READER) as artifact:
        assert whole(inside(artifact)) == content
        assert [finding.rule for finding in artifact.findings] == ["vhd-footer", "vhd-header"]


def test_a_fixed_disk_with_a_wrong_checksum_must_fit_its_file(tmp_path: Path) -> None:
    image = tmp_path / "disk.vhd"
    image.write_bytes(b"\x44" * MIB + footer(size=MIB, kind=2, identity=ID))
    patch(image, -100, b"\xff")
    with opened(image, READER) as artifact:
        assert whole(inside(artifact)) == b"\x44" * MIB
        assert [finding.rule for finding in artifact.findings] == ["vhd-footer"]
    patch(image, 48 - 512, struct.pack(">Q", MIB + 512))
    assert problem(image, READER).startswith("corrupt:")


def test_a_raw_disk_that_ends_like_a_dynamic_one_is_not_read_as_one(image: Path) -> None:
    patch(image, 0, b"\xeb\x63\x90" + bytes(509))
    text = problem(image, READER)
    assert text.startswith("corrupt:")
    assert "does not start with the copy" in text
    assert "ends with the footer of a dynamic disk" in text


def test_what_only_starts_like_a_footer_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "disk.vhd"
    image.write_bytes(footer(size=MIB, kind=2, identity=ID).ljust(MIB, b"\0"))
    assert "has no footer that can be read" in problem(image, READER)


@pytest.mark.parametrize(
    ("place", "value", "code"),
    [
        (12, struct.pack(">I", 0x20000), "unsupported"),
        (16, struct.pack(">Q", 1 << 62), "corrupt"),
        (16, struct.pack(">Q", 0), "corrupt"),
        (48, struct.pack(">Q", 1 << 62), "limit-exceeded"),
        (48, struct.pack(">Q", 7 * MIB), "corrupt"),
        (60, struct.pack(">I", 0), "unsupported"),
        (60, struct.pack(">I", 6), "unsupported"),
        (60, struct.pack(">I", 4), "corrupt"),
    ],
)
def test_a_footer_that_cannot_be_true_is_refused(
    image: Path, place: int, value: bytes, code: str
) -> None:
    change_footers(image, place, value)
    assert problem(image, READER).startswith(f"{code}:")


@pytest.mark.parametrize(
    ("place", "value", "code"),
    [
        (0, b"cxsparsf", "corrupt"),
        (16, struct.pack(">Q", 1 << 62), "corrupt"),
        (16, struct.pack(">Q", (1 << 64) - 1), "corrupt"),
        (24, struct.pack(">I", 0x20000), "unsupported"),
        (28, struct.pack(">I", 0), "corrupt"),
        (28, struct.pack(">I", 0xFFFFFFFF), "corrupt"),
        (32, struct.pack(">I", 0), "corrupt"),
        (32, struct.pack(">I", 256), "corrupt"),
        (32, struct.pack(">I", 3 * MIB), "corrupt"),
        (32, struct.pack(">I", 1 << 31), "corrupt"),
    ],
)
def test_a_header_that_cannot_be_true_is_refused(
    image: Path, place: int, value: bytes, code: str
) -> None:
    change_header(image, place, value)
    assert problem(image, READER).startswith(f"{code}:")


@pytest.mark.parametrize("sector", [0xFFFFFFFE, 1 << 24, 1 << 14])
def test_a_block_that_cannot_be_there_is_an_error_when_read(image: Path, sector: int) -> None:
    patch(image, HEADER + 1024, struct.pack(">I", sector))
    with opened(image, READER) as artifact:
        disk = inside(artifact)
        with pytest.raises(CorruptError) as caught:
            disk.read_at(0, 512)
        assert caught.value.origin is not None
        assert bytes(disk.read_at(5000 * 512, 512)) == SECTORS[5000], "the rest is still read"


def test_a_locator_outside_of_the_file_is_an_error(tmp_path: Path) -> None:
    image = write_vhd(
        tmp_path / "disk.vhd", SIZE, SECTORS, identity=ID, parent=Parent(ID, "base.vhd")
    )
    change_header(image, 576, struct.pack(">4sIIIQ", b"W2ru", 1, 1 << 15, 0, 1 << 60))
    text = problem(image, READER)
    assert text.startswith("corrupt:")
    assert "locator of the parent lies outside" in text


def test_a_truncated_disk_never_gives_wrong_bytes(image: Path, content: bytes) -> None:
    sizes = [*range(0, 2048, 61), *range(2048, image.stat().st_size, 100_003)]
    assert check_truncated(image, READER, content, sizes) > 100


def test_a_disk_in_several_files_is_refused_by_name(image: Path) -> None:
    with image.open("r+b") as file:
        file.truncate(image.stat().st_size - 512)
    image.with_suffix(".v01").write_bytes(b"the rest")
    text = problem(image, READER)
    assert text.startswith("unsupported:")
    assert "split into several files" in text


@pytest.mark.parametrize("is_child", [False, True])
def test_any_changed_byte_gives_bytes_or_a_typed_error(tmp_path: Path, is_child: bool) -> None:
    image = tmp_path / "disk.vhd"
    write_vhd(tmp_path / "base.vhd", SIZE, SECTORS, identity=ID)
    parent = Parent(ID, "base.vhd") if is_child else None
    write_vhd(image, SIZE, SECTORS, identity=uuid.UUID(int=2), parent=parent, block_bytes=1 << 19)
    size = image.stat().st_size
    tables = [*range(90), *range(512, 1300), *range(1536, 1600), *range(2048, 2600)]
    tables += range(size - 512, size - 420)
    assert check_changed(image, READER, tables, rounds=200) > 30
