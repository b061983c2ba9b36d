"""VHDX disks that contradict themselves, end too early, or were changed."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from formats.core.errors import CorruptError
from formats.disks.vhdx.reader import READER
from tests.images.vhdx import (
    BAT,
    BAT_OFFSET,
    CONTENT,
    DISK_SIZE,
    FILE_PARAMETERS,
    FULL,
    HEADERS,
    LOGICAL_SECTOR,
    METADATA,
    METADATA_OFFSET,
    PARENT_LOCATOR,
    PARTIAL,
    REGIONS,
    TABLES,
    ZERO,
    Block,
    Disk,
    header,
    metadata,
    parent_locator,
    region_table,
    with_checksum,
    write_vhdx,
)
from tests.support.disk_damage import check_changed, check_truncated
from tests.support.disk_images import MIB, patch, problem
from tests.support.disks import inside, opened, whole

UNKNOWN = "00000000-1111-2222-3333-444444444444"
DISK = Disk(
    4 * MIB,
    {0: Block(FULL, b"\x11" * MIB), 1: Block(ZERO), 2: Block(FULL, b"\x22" * MIB)},
)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write_vhdx(tmp_path / "disk.vhdx", DISK)


def put_metadata(
    image: Path, items: Mapping[str, bytes], flags: Mapping[str, int] | None = None
) -> None:
    patch(image, METADATA_OFFSET, metadata(items, flags))


def test_the_disk_that_is_damaged_here_is_sound(image: Path) -> None:
    with opened(image, READER) as artifact:
        expected = b"\x11" * MIB + bytes(MIB) + b"\x22" * MIB + bytes(MIB)
        assert whole(inside(artifact)) == expected


def test_an_unknown_region_is_refused_only_if_it_must_be_understood(image: Path) -> None:
    for required, words in ((0, ""), (1, f"has a region {UNKNOWN} that must be understood")):
        table = region_table((*REGIONS, (UNKNOWN, 8 * MIB, MIB, required)))
        for place in TABLES:
            patch(image, place, table)
        with opened(image, READER) as artifact:
            text = str(artifact.nodes[0].problem or "")
        assert words in text
        assert bool(words) == bool(text)


def test_unknown_metadata_is_refused_only_if_it_must_be_understood(image: Path) -> None:
    items = {**DISK.items(), UNKNOWN: b"text"}
    for flags in (0, 1, 2):
        put_metadata(image, items, {UNKNOWN: flags})
        with opened(image, READER) as artifact:
            assert artifact.nodes[0].problem is None
    for flags in (4, 5):
        put_metadata(image, items, {UNKNOWN: flags})
        text = problem(image, READER)
        assert text.startswith("unsupported:")
        assert f"has metadata {UNKNOWN} that must be understood" in text


@pytest.mark.parametrize("name", list(DISK.items()))
def test_missing_metadata_is_an_error(image: Path, name: str) -> None:
    items = DISK.items()
    del items[name]
    put_metadata(image, items)
    assert f"has no metadata {name}" in problem(image, READER)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        (FILE_PARAMETERS, struct.pack("<II", 0, 0), "corrupt"),
        (FILE_PARAMETERS, struct.pack("<II", 3 * MIB, 0), "corrupt"),
        (FILE_PARAMETERS, struct.pack("<II", 1 << 29, 0), "corrupt"),
        (FILE_PARAMETERS, struct.pack("<II", MIB, 2), "corrupt"),
        (FILE_PARAMETERS, b"abc", "corrupt"),
        (DISK_SIZE, struct.pack("<Q", 1 << 62), "limit-exceeded"),
        (DISK_SIZE, struct.pack("<Q", 1 << 40), "corrupt"),
        (DISK_SIZE, struct.pack("<Q", 1000), "corrupt"),
        (LOGICAL_SECTOR, struct.pack("<I", 0), "corrupt"),
        (LOGICAL_SECTOR, struct.pack("<I", 2048), "corrupt"),
    ],
)
def test_metadata_that_cannot_be_true_is_refused(
    image: Path, name: str, value: bytes, code: str
) -> None:
    put_metadata(image, {**DISK.items(), name: value})
    assert problem(image, READER).startswith(f"{code}:")


@pytest.mark.parametrize(
    ("field", "value"), [(16, 0), (16, 65535), (16, MIB), (16, 0xFFFFFFF0), (20, MIB), (20, 3)]
)
def test_metadata_outside_of_its_region_is_refused(image: Path, field: int, value: int) -> None:
    patch(image, METADATA_OFFSET + 32 + field, struct.pack("<I", value))
    assert problem(image, READER).startswith("corrupt:")


@pytest.mark.parametrize(
    ("pairs", "kind", "code"),
    [
        ({"parent_linkage": "x"}, UNKNOWN, "unsupported"),
        ({f"key{number}": "x" for number in range(65)}, None, "corrupt"),
    ],
)
def test_a_parent_locator_that_is_not_known_is_refused(
    image: Path, pairs: dict[str, str], kind: str | None, code: str
) -> None:
    locator = parent_locator(pairs, kind) if kind else parent_locator(pairs)
    items = {**DISK.items(), FILE_PARAMETERS: struct.pack("<II", MIB, 2), PARENT_LOCATOR: locator}
    put_metadata(image, items)
    assert problem(image, READER).startswith(f"{code}:")


@pytest.mark.parametrize(
    "damage",
    [
        lambda locator: locator[:10],
        lambda locator: locator[:20] + struct.pack("<I", 1 << 31) + locator[24:],
        lambda locator: locator[:24] + struct.pack("<I", 1 << 31) + locator[28:],
        lambda locator: locator[:28] + b"\xff\xff" + locator[30:],
    ],
)
def test_a_damaged_parent_locator_is_refused(image: Path, damage: Callable[[bytes], bytes]) -> None:
    locator = damage(parent_locator({"parent_linkage": "x"}))
    items = {**DISK.items(), FILE_PARAMETERS: struct.pack("<II", MIB, 2), PARENT_LOCATOR: locator}
    put_metadata(image, items)
    assert problem(image, READER).startswith("corrupt:")


def test_two_headers_that_are_both_current_are_refused(image: Path) -> None:
    patch(image, HEADERS[0], header(5, content=CONTENT))
    patch(image, HEADERS[1], header(5, content=CONTENT, log_version=1))
    assert "both claim to be current" in problem(image, READER)
    patch(image, HEADERS[1], header(5, content=CONTENT))
    with opened(image, READER) as artifact:
        assert artifact.nodes[0].problem is None


def test_without_any_valid_header_or_table_it_is_refused(image: Path) -> None:
    complete = image.read_bytes()
    for places, words in ((HEADERS, "no header that is valid"), (TABLES, "no region table")):
        image.write_bytes(complete)
        for place in places:
            patch(image, place + 8, b"\xff")
        assert words in problem(image, READER)


@pytest.mark.parametrize(
    "regions",
    [
        REGIONS[:1],
        REGIONS[1:],
        (*REGIONS, REGIONS[0]),
        ((BAT, 1000, MIB, 1), REGIONS[1]),
        ((BAT, 0, MIB, 1), REGIONS[1]),
        ((BAT, BAT_OFFSET, 0, 1), REGIONS[1]),
        ((BAT, 1 << 62, MIB, 1), REGIONS[1]),
        (REGIONS[0], (METADATA, 1 << 40, MIB, 1)),
        (REGIONS[0], (METADATA, METADATA_OFFSET, 0, 1)),
        (REGIONS[0], (METADATA, BAT_OFFSET, MIB, 1)),
    ],
)
def test_regions_that_cannot_be_are_refused(
    image: Path, regions: tuple[tuple[str, int, int, int], ...]
) -> None:
    for place in TABLES:
        patch(image, place, region_table(regions))
    assert problem(image, READER).startswith("corrupt:")


def test_a_table_of_too_many_regions_is_refused(image: Path) -> None:
    table = bytearray(region_table(REGIONS))
    table[8:12] = struct.pack("<I", 2048)
    for place in TABLES:
        patch(image, place, with_checksum(bytes(table)))
    assert "2,048 regions" in problem(image, READER)


@pytest.mark.parametrize(
    "entry",
    [FULL, FULL | 1 << 62, FULL | 900 * MIB, PARTIAL | 4 * MIB, 4 | 4 * MIB, 5],
)
def test_a_block_that_cannot_be_there_is_an_error_when_read(image: Path, entry: int) -> None:
    patch(image, BAT_OFFSET, struct.pack("<Q", entry))
    with opened(image, READER) as artifact:
        disk = inside(artifact)
        with pytest.raises(CorruptError) as caught:
            disk.read_at(0, 512)
        assert caught.value.offset is not None
        assert bytes(disk.read_at(2 * MIB, 2)) == b"\x22\x22", "the rest is still read"


def test_a_block_that_is_here_in_part_needs_its_bitmap(tmp_path: Path) -> None:
    write_vhdx(tmp_path / "base.vhdx", DISK)
    parent = {"parent_linkage": str(CONTENT), "relative_path": "base.vhdx"}
    blocks = {0: Block(PARTIAL, b"\x33" * MIB, frozenset({1}))}
    child = Disk(4 * MIB, blocks, parent=parent)
    image = write_vhdx(tmp_path / "top.vhdx", child)
    for entry in (0, 6, 6 | 1 << 50):
        patch(image, BAT_OFFSET + child.ratio * 8, struct.pack("<Q", entry))
        with opened(image, READER) as artifact, pytest.raises(CorruptError):
            inside(artifact).read_at(0, 512)


def test_a_truncated_disk_never_gives_wrong_bytes(image: Path) -> None:
    with opened(image, READER) as artifact:
        content = whole(inside(artifact))
    sizes = range(8, image.stat().st_size, 77_777)
    assert check_truncated(image, READER, content, sizes) > 50


def test_any_changed_byte_gives_bytes_or_a_typed_error(tmp_path: Path) -> None:
    write_vhdx(tmp_path / "base.vhdx", DISK)
    parent = {"parent_linkage": str(CONTENT), "relative_path": "base.vhdx"}
    blocks = {0: Block(PARTIAL, b"\x33" * MIB, frozenset({1, 2})), 3: Block(FULL, b"\x44" * MIB)}
    child = Disk(4 * MIB, blocks, parent=parent)
    image = write_vhdx(tmp_path / "top.vhdx", child)
    start = METADATA_OFFSET
    tables = [*range(start, start + 250), *range(start + 65536, start + 65536 + 300)]
    tables += [*range(BAT_OFFSET, BAT_OFFSET + 40)] * 3
    tables += [*range(BAT_OFFSET + child.ratio * 8, BAT_OFFSET + child.ratio * 8 + 8)]
    summed = [*range(TABLES[0], TABLES[0] + 80), *range(HEADERS[1], HEADERS[1] + 80)]
    assert check_changed(image, READER, [*tables, *summed], rounds=150, mend=resum) > 30


def resum(image: Path) -> None:
    """Put the checksums right, so that a change gets further than to them."""
    data = image.read_bytes()
    for place, length in ((TABLES[0], 65536), (HEADERS[1], 4096)):
        patch(image, place, with_checksum(data[place : place + length]))
