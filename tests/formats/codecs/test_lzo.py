from __future__ import annotations

import random
import time

import lzallright
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.codecs import lzo
from formats.codecs.lzo import lzo1x_decompress
from formats.core.errors import CorruptError

_END = b"\x11\0\0"
_BLOCK_BYTES = 128 << 10

# few different letters, and runs: so that there is something to repeat, near and far
_pieces = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda unit, count: unit * count, st.binary(max_size=9), st.integers(0, 3000)),
)
_contents = st.lists(_pieces, max_size=12).map(b"".join)


@pytest.fixture(params=["lzallright", "own"], autouse=True)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "own":
        monkeypatch.setattr(lzo, "_LZALLRIGHT", None)
    else:
        assert lzo._LZALLRIGHT is not None


def packed(data: bytes) -> bytes:
    return lzallright.LZOCompressor().compress(data)


def far_apart() -> bytes:
    """Return repetitions at all distances that an instruction can have."""
    chance = random.Random(0)
    data = bytearray(chance.randbytes(50_000))
    for distance in (1, 2, 3, 1024, 1025, 2048, 2049, 3072, 3073, 16384, 16385, 32768, 49151):
        for length in (2, 3, 4, 5, 8, 9, 33, 34, 35, 9_000):
            start = len(data) - distance
            data += (data[start:] * (length // distance + 1))[:length]
            data += chance.randbytes(length % 5)
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"x", id="a byte"),
        pytest.param(bytes(_BLOCK_BYTES), id="zeros"),
        pytest.param(random.Random(1).randbytes(3000), id="noise"),
        pytest.param(b"".join(b"line %d\n" % number for number in range(9000)), id="text"),
        pytest.param(far_apart(), id="all distances"),
    ],
)
def test_gives_the_bytes_back(data: bytes) -> None:
    assert lzo1x_decompress(packed(data), len(data)) == data


def test_both_decoders_give_the_bytes_back_for_any_content() -> None:
    @given(_contents)
    @settings(deadline=None)
    def check(data: bytes) -> None:
        assert lzo1x_decompress(memoryview(packed(data)), len(data) + 1) == data

    check()


def test_both_decoders_agree_on_damaged_streams() -> None:
    @given(_contents, st.integers(0), st.integers(0, 7))
    @settings(deadline=None)
    def check(data: bytes, place: int, bit: int) -> None:
        stream = bytearray(packed(data))
        stream[place % len(stream)] ^= 1 << bit
        try:
            expected = lzallright.LZOCompressor.decompress(bytes(stream))
        except lzallright.LZOError:
            expected = None
        if expected is None or len(expected) > _BLOCK_BYTES:
            with pytest.raises(CorruptError, match="an LZO stream"):
                lzo1x_decompress(bytes(stream), _BLOCK_BYTES)
        else:
            assert lzo1x_decompress(bytes(stream), _BLOCK_BYTES) == expected

    check()


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x16abcde", id="no end"),
        pytest.param(b"\x16abc", id="literals cut short"),
        pytest.param(b"\x16abcde\x20\0\0", id="a length without end"),
        pytest.param(b"\x16abcde" + _END + b"x", id="more behind the end"),
        pytest.param(b"\x16abcde\x12\0\0", id="an end of another length"),
        pytest.param(b"\x16abcde\x2b\x14\0" + _END, id="a distance before the start"),
        pytest.param(b"\x11\1\0" + _END, id="a match first"),
    ],
)
def test_a_damaged_stream_is_an_error(stream: bytes) -> None:
    with pytest.raises(CorruptError, match="an LZO stream"):
        lzo1x_decompress(stream, 1000)


def test_what_is_one_byte_too_long_is_refused() -> None:
    stream = packed(bytes(4097))
    assert len(lzo1x_decompress(stream, 4097)) == 4097
    with pytest.raises(CorruptError, match="more than 4,096 bytes"):
        lzo1x_decompress(stream, 4096)


def test_a_bomb_is_not_unpacked() -> None:
    stream = b"\x12a" + b"\x20" + bytes(1 << 20) + b"\1\0\0" + _END  # 255 MiB
    start = time.monotonic()
    with pytest.raises(CorruptError, match="more than 1,048,576 bytes"):
        lzo1x_decompress(stream, 1 << 20)
    assert time.monotonic() - start < 2


def test_blocks_of_a_megabyte_are_not_taken_for_bombs() -> None:
    for data in (random.Random(1).randbytes(1 << 20), far_apart() * 10, b"it is a text " * 80_000):
        assert lzo._most(packed(data)) < lzo._UNBOUNDED_BYTES
