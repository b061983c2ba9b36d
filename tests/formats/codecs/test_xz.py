from __future__ import annotations

import contextlib
import lzma
import random
from collections.abc import Callable

import pytest

from formats.codecs.xz import (
    MEMORY_BYTES,
    lzma_decompress,
    microlzma_decompress,
    xz_decompress,
)
from formats.core.errors import CorruptError
from formats.core.source import BytesLike

Decode = Callable[[BytesLike, int], bytes]
PLAIN = b"".join(b"line %d of a block\n" % number for number in range(9000))
FORMATS = [
    pytest.param(xz_decompress, lzma.FORMAT_XZ, id="xz"),
    pytest.param(lzma_decompress, lzma.FORMAT_ALONE, id="lzma"),
]


@pytest.mark.parametrize(("decode", "form"), FORMATS)
class TestWholeStreams:
    def test_gives_the_bytes_back(self, decode: Decode, form: int) -> None:
        packed = lzma.compress(PLAIN, form)
        assert decode(memoryview(packed), len(PLAIN)) == PLAIN

    def test_one_byte_too_long_is_refused(self, decode: Decode, form: int) -> None:
        with pytest.raises(CorruptError, match=f"more than {len(PLAIN) - 1:,} bytes"):
            decode(lzma.compress(PLAIN, form), len(PLAIN) - 1)

    def test_a_stream_without_end_is_refused(self, decode: Decode, form: int) -> None:
        with pytest.raises(CorruptError, match="has no end"):
            decode(lzma.compress(PLAIN, form)[:-20], len(PLAIN))

    def test_no_stream_takes_more_memory_than_is_allowed(self, decode: Decode, form: int) -> None:
        name = lzma.FILTER_LZMA2 if form == lzma.FORMAT_XZ else lzma.FILTER_LZMA1
        filters = [{"id": name, "dict_size": 2 * MEMORY_BYTES}]
        with pytest.raises(CorruptError, match="Memory usage limit"):
            decode(lzma.compress(b"x", form, filters=filters), 1)


@pytest.mark.parametrize("bits", [(3, 0, 2), (0, 0, 0), (0, 4, 0), (1, 3, 4), (4, 0, 4)])
def test_microlzma_has_its_properties_in_front(bits: tuple[int, int, int]) -> None:
    lc, lp, pb = bits
    coder = {"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16, "lc": lc, "lp": lp, "pb": pb}
    bare = lzma.compress(PLAIN, lzma.FORMAT_RAW, filters=[coder])
    packed = bytes([0xFF - ((pb * 5 + lp) * 9 + lc)]) + bare[1:]
    assert bare[0] == 0
    for size in (1, 5000, len(PLAIN)):
        assert microlzma_decompress(packed, size) == PLAIN[:size]
    with pytest.raises(CorruptError, match="a MicroLZMA stream"):
        microlzma_decompress(packed, len(PLAIN) + 1)


def test_damaged_microlzma_is_an_error_or_other_content() -> None:
    chance = random.Random(0)
    for packed in (b"", b"\0", *(chance.randbytes(300) for _ in range(100))):
        with contextlib.suppress(CorruptError):
            assert len(microlzma_decompress(packed, 1000)) == 1000
