from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.core.errors import ConvertError, CorruptError, InputReadError, UnsupportedError
from formats.core.origin import Origin
from formats.core.source import (
    Extent,
    FileSource,
    MappedSource,
    MemorySource,
    Segment,
    read_exact,
    slice_source,
)

ORIGIN = Origin(("test",))


def test_a_file_reads_short_only_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    path.write_bytes(b"0123456789")
    source = FileSource(path)
    assert (source.size, source.read_at(8, 5), source.read_at(20, 5)) == (10, b"89", b"")
    source.close()


def test_a_file_names_its_holes(tmp_path: Path) -> None:
    path = tmp_path / "sparse.raw"
    with path.open("wb") as file:
        file.write(b"x" * 65536)
        file.truncate(1 << 20)
    source = FileSource(path)
    extents = list(source.extents())
    assert sum(extent.length for extent in extents) == 1 << 20
    assert extents[-1].is_hole
    assert not extents[0].is_hole
    source.close()


def test_a_file_that_shrinks_while_it_is_read_is_an_error_with_an_offset(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    path.write_bytes(bytes(8192))
    source = FileSource(path)
    os.truncate(path, 4096)
    with pytest.raises(CorruptError) as caught:
        source.read_at(0, 8192)
    assert caught.value.offset == 4096
    source.close()


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputReadError, match="No such file"):
        FileSource(tmp_path / "none")
    with pytest.raises(ConvertError, match="is not a file or block device"):
        FileSource(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises((InputReadError, UnsupportedError)):
        FileSource(tmp_path / "fifo")


def test_a_slice_beyond_its_source_is_refused() -> None:
    with pytest.raises(CorruptError, match="ends at byte 12"):
        slice_source(MemorySource(b"0123456789", ORIGIN), 8, 4, ORIGIN)


def test_read_exact_names_what_is_cut_short() -> None:
    with pytest.raises(CorruptError, match="the header lies outside"):
        read_exact(MemorySource(b"abc", ORIGIN), 1, 4, "the header")


@given(
    st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=8),
    st.integers(0, 200),
    st.integers(0, 200),
)
def test_mapped_pieces_read_like_their_concatenation(
    pieces: list[tuple[int, bool]], offset: int, length: int
) -> None:
    backing = MemorySource(bytes(range(256)), ORIGIN)
    segments, expected, position = [], b"", 0
    for size, is_zero in pieces:
        segments.append(Segment(position, size, None if is_zero else backing, position % 200))
        start = position % 200
        expected += bytes(size) if is_zero else bytes(range(start, start + size))
        position += size
    source = MappedSource(segments, ORIGIN)
    source.will_need([(offset, length)] if offset < source.size else [])
    assert bytes(source.read_at(offset, length)) == expected[offset : offset + length]
    assert sum(extent.length for extent in source.extents()) == source.size
    starts = [extent.offset for extent in source.extents()]
    assert starts == sorted(starts)


def test_extents_of_a_slice_are_those_of_the_file_moved(tmp_path: Path) -> None:
    path = tmp_path / "sparse.raw"
    with path.open("wb") as file:
        file.truncate(1 << 20)
        file.seek(512 << 10)
        file.write(b"x" * 4096)
    source = FileSource(path)
    part = slice_source(source, 256 << 10, 512 << 10, ORIGIN)
    assert Extent(0, 256 << 10, is_hole=True) == next(iter(part.extents()))
    source.close()
