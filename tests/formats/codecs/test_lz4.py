from __future__ import annotations

import random

import lz4.block
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.codecs.lz4 import lz4_block_end, lz4_decompress
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


@given(_contents, st.integers(0, 70))
def test_the_end_of_a_padded_block_is_found(data: bytes, padding: int) -> None:
    block = packed(data)
    assert lz4_block_end(block + bytes(padding), len(data)) == len(block)


def test_a_padded_block_of_another_size_has_no_end() -> None:
    block = packed(b"line\n" * 3000) + bytes(100)
    for size in (14_999, 15_001, 1 << 20):
        with pytest.raises(CorruptError, match="an LZ4 block"):
            lz4_block_end(block, size)
