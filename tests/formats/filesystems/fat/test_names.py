"""Names and times in directory entries that no tool here writes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from formats.core.errors import CorruptError
from formats.filesystems.fat.directory import short_name_checksum
from tests.formats.filesystems.fat.support import opened
from tests.images.fat import Fat, fat_of, make_fat
from tests.images.volumes import patch

ROOT_ENTRIES = 512


@pytest.fixture
def empty(tmp_path: Path) -> Fat:
    return fat_of(make_fat(tmp_path / "image", 4 << 20, None, "-F", "12"), 12)


def short(
    name: bytes,
    *,
    attributes: int = 0x20,
    case: int = 0,
    date: int = 0x5821,
    time: int = 0,
    cluster: int = 0,
    size: int = 0,
) -> bytes:
    return struct.pack("<11sBB7xHHHHI", name, attributes, case, 0, time, date, cluster, size)


def long(name: str, of: bytes, *, checksum: int | None = None) -> list[bytes]:
    """Return the entries of a long name, in the order on disk."""
    units = name.encode("utf-16-le", "surrogatepass")
    if len(units) % 26:
        units = (units + b"\0\0").ljust(-(-(len(units) + 2) // 26) * 26, b"\xff")
    total = short_name_checksum(of) if checksum is None else checksum
    pieces = [units[at : at + 26] for at in range(0, len(units), 26)]
    entries = []
    for number, piece in enumerate(pieces, 1):
        order = number | (0x40 if number == len(pieces) else 0)
        entries.append(
            bytes([order])
            + piece[:10]
            + bytes([0x0F, 0, total])
            + piece[10:22]
            + bytes(2)
            + piece[22:]
        )
    return entries[::-1]


def names(fat: Fat, *entries: bytes) -> list[bytes]:
    """Return the names that a root folder of these entries has."""
    put(fat, *entries)
    with opened(fat.image) as (tree, _):
        return [entry.path for entry in tree.entries()][1:]


def put(fat: Fat, *entries: bytes) -> None:
    start = fat.heap_offset - ROOT_ENTRIES * 32
    patch(fat.image, start, b"".join(entries).ljust(ROOT_ENTRIES * 32, b"\0"))


SHORT = b"LONGNA~1TXT"


@pytest.mark.parametrize(
    ("raw", "case", "name"),
    [
        (b"README  TXT", 0, "README.TXT"),
        (b"README  TXT", 0x08, "readme.TXT"),
        (b"README  TXT", 0x10, "README.txt"),
        (b"README  TXT", 0x18, "readme.txt"),
        (b"NOEXT      ", 0x18, "noext"),
        (b"A B     C D", 0, "A B.C D"),
        (b"\x05X      DAT", 0, "\N{GREEK SMALL LETTER SIGMA}X.DAT"),
        (b"\x9a\x8e\x99     TXT", 0, "ÜÄÖ.TXT"),
        (b"\x9a\x8e\x99     TXT", 0x18, "üäö.txt"),
    ],
)
def test_short_names_look_as_in_linux(empty: Fat, raw: bytes, case: int, name: str) -> None:
    assert names(empty, short(raw, case=case)) == [name.encode()]


@pytest.mark.parametrize(
    "name",
    ["x", "thirteen char", "fourteen chars", "n" * 255, "smile😀 and 𝄞", "日本" * 60, "trailing ."],
)
def test_long_names_are_utf_8(empty: Fat, name: str) -> None:
    assert names(empty, *long(name, SHORT), short(SHORT)) == [name.encode()]


def test_half_a_surrogate_pair_is_kept_apart_from_the_other_half(empty: Fat) -> None:
    other = b"LONGNA~2TXT"
    found = names(
        empty,
        *long("a\ud83db", SHORT),
        short(SHORT),
        *long("a\ude00b", other),
        short(other),
    )
    assert found == [b"a\xed\xa0\xbdb", b"a\xed\xb8\x80b"]


def test_a_long_name_of_another_short_name_is_left_aside(empty: Fat) -> None:
    """What a program that knows only short names leaves behind when it renames a file."""
    wrong = short_name_checksum(SHORT) ^ 1
    entries = long("An old name that is long.txt", SHORT, checksum=wrong)
    assert names(empty, *entries, short(SHORT)) == [b"LONGNA~1.TXT"]


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_long_name_with_a_piece_missing_is_left_aside(empty: Fat, missing: int) -> None:
    entries = long("A name of three pieces, which is long", SHORT)
    assert len(entries) == 3
    del entries[missing]
    assert names(empty, *entries, short(SHORT)) == [b"LONGNA~1.TXT"]


def test_a_long_name_with_a_piece_of_another_is_left_aside(empty: Fat) -> None:
    entries = long("A name of three pieces, which is long", SHORT)
    entries[1] = long("A name of three pieces, but another name", b"LONGNA~2TXT")[1]
    assert names(empty, *entries, short(SHORT)) == [b"LONGNA~1.TXT"]


def test_pieces_in_the_wrong_order_and_twice_are_left_aside(empty: Fat) -> None:
    first, second, third = long("A name of three pieces, which is long", SHORT)
    for entries in ([first, third, second], [first, second, second, third], [third] * 3):
        assert names(empty, *entries, short(SHORT)) == [b"LONGNA~1.TXT"]
    assert len(names(empty, first, first, second, third, short(SHORT))) == 1


def test_deleted_entries_end_a_long_name(empty: Fat) -> None:
    deleted = b"\xe5" + short(SHORT)[1:]
    entries = long("Some long name.txt", SHORT)
    assert names(empty, *entries, deleted, short(SHORT)) == [b"LONGNA~1.TXT"]


def test_nothing_comes_after_the_end_mark(empty: Fat) -> None:
    assert names(empty, short(b"A          "), bytes(32), short(b"B          ")) == [b"A"]


def test_a_label_is_no_file(empty: Fat) -> None:
    entries = [short(b"THE LABEL  ", attributes=0x08), short(b"A          ")]
    assert names(empty, *entries) == [b"A"]
    with opened(empty.image) as (tree, _):
        assert tree.info.label == "THE LABEL"


def test_names_that_differ_in_case_only_are_all_kept(empty: Fat) -> None:
    """No driver makes them; damaged folders have them, and nothing must be lost."""
    other = b"LONGNA~2TXT"
    found = names(
        empty, *long("Name.txt", SHORT), short(SHORT), *long("NAME.TXT", other), short(other)
    )
    assert found == [b"NAME.TXT", b"Name.txt"]


def test_a_name_that_is_there_twice_is_an_error_and_not_dropped(empty: Fat) -> None:
    with pytest.raises(CorruptError, match="has two entries 'A'"):
        names(empty, short(b"A          "), short(b"A          "))


@pytest.mark.parametrize("name", ["../up", "a/b", "..", "/", ".", ""])
def test_names_that_no_system_allows_are_errors(empty: Fat, name: str) -> None:
    if name:
        with pytest.raises(CorruptError, match="no system allows"):
            names(empty, *long(name, SHORT), short(SHORT))
    else:
        with pytest.raises(CorruptError, match="no system allows"):
            names(empty, short(b"           "))


@pytest.mark.parametrize(
    ("date", "time", "expected"),
    [
        (0x5821, 0, datetime(2024, 1, 1, tzinfo=UTC)),
        (0x0021, 0, datetime(1980, 1, 1, tzinfo=UTC)),
        (0xFF9F, 0xBF7D, datetime(2107, 12, 31, 23, 59, 58, tzinfo=UTC)),
        (0x585D, 0x6000, datetime(2024, 2, 29, 12, tzinfo=UTC)),
        (0x0000, 0, datetime(1980, 1, 1, tzinfo=UTC)),
        (0x58FE, 0, datetime(2024, 7, 30, tzinfo=UTC)),
        (0x5860, 0, datetime(2024, 3, 1, tzinfo=UTC)),
        (0x5A5F, 0, datetime(2025, 3, 3, tzinfo=UTC)),
        (0x59FF, 0, datetime(2024, 12, 31, tzinfo=UTC)),
    ],
)
def test_times_are_taken_as_utc_whatever_they_say(
    empty: Fat, date: int, time: int, expected: datetime
) -> None:
    put(empty, short(b"A          ", date=date, time=time))
    with opened(empty.image) as (tree, _):
        _, entry = tree.entries()
    assert entry.mtime_ns == int(expected.timestamp()) * 10**9


def test_seconds_beyond_the_minute_are_counted_on(empty: Fat) -> None:
    put(empty, short(b"A          ", date=0x5821, time=0xFFFF))
    with opened(empty.image) as (tree, _):
        _, entry = tree.entries()
    expected = datetime(2024, 1, 2, 8, 4, 2, tzinfo=UTC)
    assert entry.mtime_ns == int(expected.timestamp()) * 10**9


def test_a_folder_may_be_marked_hidden_and_still_has_its_files(make: Callable[..., Fat]) -> None:
    fat = make(16)
    fat.set_entry("EFI        ", 11, bytes([0x16]))
    with opened(fat.image) as (tree, _):
        assert b"EFI/BOOT/BOOTX64.EFI" in {entry.path for entry in tree.entries()}
