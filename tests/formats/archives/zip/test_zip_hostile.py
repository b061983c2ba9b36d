"""Zip archives that say two things, ask for too much, or are damaged."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zipfile
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from formats.archives.zip.directory import Directory
from formats.archives.zip.ending import find_ending
from formats.core.errors import ConvertError, CorruptError, LimitError, UnsupportedError
from formats.core.limits import DEFAULT_LIMITS, GIB, KIB, MIB, Limits
from formats.core.origin import Origin
from formats.core.source import BytesLike, MemorySource
from formats.core.tree import OpenableTree
from tests.formats.archives.support import files, listing, opened_tree, problem
from tests.images.volumes import patch

CONTENT = b"content" * 50
OWN, DIRECTORY, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
"""What the headers begin with: a member's own, that in the directory, and that at the end."""


def _archive(path: Path, *names: str, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as target:
        for name in names:
            target.writestr(name, CONTENT)
    return path


def _patch_both(path: Path, own: int, directory: int, data: bytes) -> None:
    """Change a field of the first member in both of its headers."""
    patch(path, own, data)
    patch(path, path.read_bytes().index(DIRECTORY) + directory, data)


@pytest.mark.parametrize(
    ("header", "offset", "data", "reason"),
    [
        (OWN, 8, b"\0\0", "is compressed differently by its own header"),
        (OWN, 14, b"\0\0\0\0", "has other sizes in its own header"),
        (OWN, 22, b"\1\0\0\0", "has other sizes in its own header"),
        (OWN, 26, b"\x03", "is named 'fil' in its own header"),
        (OWN, 28, b"\x05", "overlaps with what follows"),
        (OWN, 30, b"evil", "is named 'evil' in its own header"),
        (OWN, 34, b"\xff", "its deflate stream is damaged"),
        (DIRECTORY, 0, b"PK\x01\x03", "no header"),
        (DIRECTORY, 16, b"\0\0\0\0", "other sizes in its own header"),
        (DIRECTORY, 20, b"\xff\xff\0\0", "overlaps with the directory"),
        (DIRECTORY, 20, b"\xff\xff\xff\x7f", "overlaps with the directory"),
        (DIRECTORY, 24, b"\xff\xff\xff\x0f", "other sizes in its own header"),
        (DIRECTORY, 28, b"\xff\xff", "cut short"),
        (DIRECTORY, 30, b"\xff\xff", "cut short"),
        (DIRECTORY, 42, b"\xff\0\0\0", "overlaps with the directory"),
        (DIRECTORY, 42, b"\xff\xff\xff\x7f", "overlaps with the directory"),
        (END, 8, b"\2\0\2\0", "says that it has 2 members, and its directory has 1"),
        (END, 12, b"\xff\xff\xff\x7f", "which is not before its end"),
        (END, 16, b"\xff\xff\xff\x7f", "which is not before its end"),
        (END, 4, b"\1\0", "one part of a zip archive in several"),
    ],
)
def test_what_each_header_says_is_checked(
    tmp_path: Path, header: bytes, offset: int, data: bytes, reason: str
) -> None:
    path = _archive(tmp_path / "x.zip", "file")
    patch(path, path.read_bytes().index(header) + offset, data)
    error = problem(path, replace(DEFAULT_LIMITS, expansion_grace_bytes=GIB))
    assert isinstance(error, UnsupportedError if "several" in reason else CorruptError)
    assert reason in error.message
    assert error.offset is not None


def test_a_member_must_be_where_the_directory_says(tmp_path: Path) -> None:
    path = _archive(tmp_path / "x.zip", "a", "b")
    patch(path, path.read_bytes().index(OWN, 4), b"PK\x03\x05")
    assert "has no header where the directory says" in problem(path).message


def test_what_is_stored_as_it_is_has_one_size(tmp_path: Path) -> None:
    path = _archive(tmp_path / "x.zip", "file", method=zipfile.ZIP_STORED)
    _patch_both(path, 22, 24, struct.pack("<L", len(CONTENT) + 1))
    with opened_tree(path) as (tree, _):
        (entry,) = [entry for entry in tree.entries() if entry.size]
        assert isinstance(tree, OpenableTree)
        with pytest.raises(CorruptError, match="is stored as it is, and has two sizes"):
            tree.open(entry)


def test_a_wrong_checksum_is_an_error_even_where_both_headers_have_it(tmp_path: Path) -> None:
    path = _archive(tmp_path / "x.zip", "file")
    _patch_both(path, 14, 16, b"\1\2\3\4")
    error = problem(path)
    assert "'file': has a wrong checksum (CRC-32)" in error.message
    assert error.offset == 0


@pytest.mark.parametrize(
    ("size", "reason"),
    [(10, "has more than the 10 bytes it says"), (1000, "has 350 bytes and not 1,000 as it says")],
)
def test_a_member_with_other_content_than_it_says_is_an_error(
    tmp_path: Path, size: int, reason: str
) -> None:
    path = _archive(tmp_path / "x.zip", "file")
    _patch_both(path, 22, 24, struct.pack("<L", size))
    assert reason in problem(path).message


def test_a_symlink_whose_target_is_shorter_than_it_says_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    info = zipfile.ZipInfo("link")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(path, "w") as target:
        target.writestr(info, "etc/target", zipfile.ZIP_DEFLATED)
    assert listing(path)[b"link"].target == b"etc/target"
    _patch_both(path, 22, 24, struct.pack("<L", 11))
    assert "has 10 bytes and not 11 as it says" in problem(path).message


def test_bytes_behind_the_stream_of_a_member_are_an_error(tmp_path: Path) -> None:
    packed = zlib.compressobj(wbits=-15)
    data = packed.compress(CONTENT) + packed.flush() + b"hidden"
    path = _member(tmp_path / "x.zip", 8, data, CONTENT)
    assert "has bytes behind its deflate stream" in problem(path).message


def _member(
    path: Path, method: int, packed: bytes, content: bytes, size: int | None = None
) -> Path:
    """Write an archive of one member, as it is given."""
    size = len(content) if size is None else size
    numbers = (20, 0, method, 0, 0, zlib.crc32(content), len(packed), size, 4)
    local = struct.pack("<4s5H3L2H", b"PK\3\4", *numbers, 0) + b"file" + packed
    central = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, *numbers, 0, 0, 0, 0, 0, 0) + b"file"
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(central), len(local), 0)
    path.write_bytes(local + central + end)
    return path


def _overlapping(path: Path, count: int) -> Path:
    """Write a bomb: all members share one compressed kernel, each header quoted by the last.

    After David Fifield, "A better zip bomb" (2019): here by extra fields.
    """
    kernel = zlib.compressobj(9, wbits=-15)
    content = bytes(MIB)
    packed = kernel.compress(content) + kernel.flush()
    names = [b"%04d" % number for number in range(count)]
    header_bytes = 34
    locals_, centrals = b"", b""
    for number, name in enumerate(names):
        quoted = (count - 1 - number) * (header_bytes + 4)
        numbers = (20, 0, 8, 0, 0, zlib.crc32(content), len(packed), len(content), 4)
        extra = struct.pack("<HH", 0xFADE, quoted - 4) if quoted else b""
        local = struct.pack("<4s5H3L2H", b"PK\3\4", *numbers, quoted) + name
        centrals += (
            struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, *numbers, 0, 0, 0, 0, 0, len(locals_)) + name
        )
        locals_ += local + extra
    body = locals_ + packed
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(centrals), len(body), 0)
    path.write_bytes(body + centrals + end)
    return path


def test_members_that_overlap_are_refused(tmp_path: Path) -> None:
    path = _overlapping(tmp_path / "x.zip", 200)
    error = problem(path)
    assert isinstance(error, CorruptError)
    assert "overlaps with another member" in error.message


def test_two_names_for_one_member_are_refused(tmp_path: Path) -> None:
    path = _archive(tmp_path / "x.zip", "a", "b")
    second = path.read_bytes().rindex(b"PK\x01\x02")
    patch(path, second + 42, bytes(4))
    assert "overlaps with another member" in problem(path).message


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_that_expands_too_far_is_refused_before_it_does(
    tmp_path: Path, method: int
) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", method) as target:
        target.writestr("bomb", bytes(8 * MIB))
    limits = replace(DEFAULT_LIMITS, expansion_grace_bytes=MIB, expansion_ratio=100)
    error = problem(path, limits)
    assert isinstance(error, LimitError)
    assert "expands to more than 100 times its size" in error.message


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_is_read_in_little_memory_however_far_it_expands(
    tmp_path: Path, method: int
) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", method) as target:
        target.writestr("zeros", bytes(64 * MIB))
    with opened_tree(path) as (tree, _):
        (entry,) = [entry for entry in tree.entries() if entry.path]
        tracemalloc.start()
        try:
            assert sum(len(block) for block in tree.read(entry)) == 64 * MIB
            assert tracemalloc.get_traced_memory()[1] < 16 * MIB  # LZMA has a dictionary of 8
        finally:
            tracemalloc.stop()


def test_a_dictionary_that_takes_too_much_memory_is_refused(tmp_path: Path) -> None:
    header = struct.pack("<HHBL", 0x0409, 5, 0x5D, 0xFFFFFFFF)
    path = _member(tmp_path / "x.zip", 14, header + bytes(20), b"x" * 100)
    error = problem(path)
    assert isinstance(error, LimitError)
    assert "asks for a dictionary of 4,294,967,295 bytes" in error.message


@pytest.mark.parametrize(
    ("method", "packed"),
    [
        (8, b""),
        (8, b"\x03"),
        (8, zlib.compress(CONTENT, wbits=-15)[:-4]),
        (12, b""),
        (12, b"BZh9"),
        (14, b"\x09\x04\x05"),
        (14, struct.pack("<HHBL", 0x0409, 4, 0x5D, 4096) + bytes(20)),
        (14, struct.pack("<HHBL", 0x0409, 5, 0xFF, 4096) + bytes(20)),
        (14, struct.pack("<HHBL", 0x0409, 5, 0x5D, 4096)),
        (93, b"\x28\xb5\x2f\xfd"),
        (93, b""),
        (95, b"\xfd7zXZ\0"),
        (95, b""),
    ],
)
def test_a_stream_that_is_cut_or_damaged_is_an_error(
    tmp_path: Path, method: int, packed: bytes
) -> None:
    assert isinstance(problem(_member(tmp_path / "x.zip", method, packed, CONTENT)), CorruptError)


def test_an_archive_that_holds_itself_is_one_file(tmp_path: Path) -> None:
    """Nothing opens what is in an archive by itself, so a quine has no second level."""
    path = tmp_path / "r.zip"
    with zipfile.ZipFile(path, "w") as target:
        target.writestr("r.zip", _archive(tmp_path / "inner.zip", "r.zip").read_bytes())
    assert list(files(path)) == [b"r.zip"]


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    path = _archive(tmp_path / "x.zip", "a", "b", "c")
    assert isinstance(problem(path, Limits(entries=2)), LimitError)


def test_the_directory_is_read_once(tmp_path: Path) -> None:
    path = _archive(tmp_path / "x.zip", *(f"file{number}" for number in range(3000)))
    source = _CountingSource(path.read_bytes(), Origin(("x.zip",)))
    ending = find_ending(source)
    source.given = 0
    assert len(Directory(source, ending, DEFAULT_LIMITS).names) == 3000
    assert source.given == ending.length


class _CountingSource(MemorySource):
    """Counts the bytes that are read."""

    given = 0

    def read_at(self, offset: int, length: int) -> BytesLike:
        data = super().read_at(offset, length)
        self.given += len(data)
        return data


def test_an_archive_cut_anywhere_is_an_error(tmp_path: Path) -> None:
    whole = _archive(tmp_path / "x.zip", "a", "b", "c").read_bytes()
    for size in range(8, len(whole), 13):
        (tmp_path / "cut.zip").write_bytes(whole[:size])
        assert isinstance(problem(tmp_path / "cut.zip"), CorruptError)


def test_any_damage_gives_a_tree_or_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as target:
        for number, method in enumerate((0, 8, 12, 14)):
            target.writestr(f"file{number}", CONTENT, method)
    whole = path.read_bytes()
    chance = random.Random(4)
    limits = replace(DEFAULT_LIMITS, window_bytes=MIB, file_bytes=64 * KIB)
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        data[:4] = whole[:4]
        path.write_bytes(data)
        with suppress(ConvertError):
            listing(path, limits)
