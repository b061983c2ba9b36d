from __future__ import annotations

import random

import lz4.block
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.codecs.lz4 import lz4_decompress, lz4_decompress_start
from formats.core.errors import CorruptError

_contents = st.lists(
    st.one_of(
        st.binary(max_size=300),
        st.builds(lambda unit, count: unit * count, st.binary(max_size=9), st.integers(0, 3000)),
    ),
    max_size=9,
).map(b"".join)


def packed(data: bytes) -> bytes:
    return bytes(lz4.block.compress(data, store_size=False))


@given(_contents)
def test_gives_the_bytes_back(data: bytes) -> None:
    assert lz4_decompress(memoryview(packed(data)), len(data) + 1) == data


def test_what_is_one_byte_too_long_is_refused() -> None:
    block = packed(bytes(4097))
    assert len(lz4_decompress(block, 4097)) == 4097
    with pytest.raises(CorruptError, match="more than 4,096 bytes"):
        lz4_decompress(block, 4096)


def test_a_damaged_block_is_an_error() -> None:
    for block in (b"", b"\xf0", packed(random.Random(0).randbytes(500))[:-1]):
        with pytest.raises(CorruptError, match="an LZ4 block is damaged"):
            lz4_decompress(block, 1000)


@given(_contents, st.integers(0, 70), st.data())
def test_the_start_of_a_padded_block_is_decoded(
    data: bytes, padding: int, draw: st.DataObject
) -> None:
    size = draw.draw(st.integers(0, len(data)))
    assert lz4_decompress_start(packed(data) + bytes(padding), size) == data[:size]


def test_a_block_that_gives_too_little_is_an_error() -> None:
    block = packed(b"line\n" * 3000)
    for padding in (b"", bytes(100), b"\xff" * 100):
        with pytest.raises(CorruptError, match="an LZ4 block"):
            lz4_decompress_start(block + padding, 1 << 20)


def test_a_start_that_is_damaged_is_an_error() -> None:
    for block in (b"", b"\xf0", b"\x40abc", b"\x10a\0\0", b"\x1fa\x09\0\xff\xff"):
        with pytest.raises(CorruptError, match="an LZ4 block"):
            lz4_decompress_start(block, 100)


def test_a_start_that_goes_on_for_ever_is_an_error_and_not_decoded() -> None:
    block = b"\x1fa\x01\x00" + b"\xff" * (1 << 20) + b"\x00"
    with pytest.raises(CorruptError, match="goes on for 267,386,900 bytes"):
        lz4_decompress_start(block, 100)
