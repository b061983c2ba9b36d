"""LZMA in its forms, one block at a time: ``.xz`` streams, ``.lzma`` files, and bare.

Specifications: "The .xz File Format" 1.1.0; "LZMA specification" (lzma-specification.txt of the
LZMA SDK) for the other two.
"""

from __future__ import annotations

import lzma

from formats.core.errors import CorruptError
from formats.core.source import BytesLike

MEMORY_BYTES = 32 << 20
"""What one decoder may take, most of it for the dictionary; blocks have a megabyte at the most."""

_PROPERTIES = 9 * 5 * 5
_SMALLEST_DICTIONARY = 4096


def xz_decompress(data: BytesLike, max_bytes: int) -> bytes:
    """Return what one ``.xz`` stream decodes to, its sum checked; filters for code are undone.

    The interpreter's lock is released meanwhile.

    :raises CorruptError: without origin and offset, which the caller knows; if the stream is
        damaged, gives more than ``max_bytes``, or asks for more than :data:`MEMORY_BYTES`.
    """
    return _whole(lzma.LZMADecompressor(lzma.FORMAT_XZ, MEMORY_BYTES), data, max_bytes, "xz")


def lzma_decompress(data: BytesLike, max_bytes: int) -> bytes:
    """Return what one ``.lzma`` file decodes to; see :func:`xz_decompress`."""
    return _whole(lzma.LZMADecompressor(lzma.FORMAT_ALONE, MEMORY_BYTES), data, max_bytes, "lzma")


def microlzma_decompress(data: BytesLike, size: int) -> bytes:
    """Return the first ``size`` bytes that a MicroLZMA stream decodes to, as EROFS has them.

    That is bare LZMA whose first byte, always zero, is the inverted properties instead.

    :raises CorruptError: as :func:`xz_decompress`; also if it gives less.
    """
    properties = 0xFF - data[0] if len(data) else 0xFF
    if properties >= _PROPERTIES:
        raise CorruptError("a MicroLZMA stream has properties of no known meaning")
    literals, positions = divmod(properties, 9 * 5)[::-1]
    coder = {
        "id": lzma.FILTER_LZMA1,
        "dict_size": max(size, _SMALLEST_DICTIONARY),
        "lc": literals % 9,
        "lp": literals // 9,
        "pb": positions,
    }
    try:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[coder])
        decoded = decoder.decompress(b"\0" + bytes(data[1:]), size)
    except lzma.LZMAError as error:
        raise CorruptError(f"a MicroLZMA stream is damaged ({error})") from error
    if len(decoded) != size:
        raise CorruptError(f"a MicroLZMA stream ends after {len(decoded):,} of {size:,} bytes")
    return decoded


def _whole(decoder: lzma.LZMADecompressor, data: BytesLike, max_bytes: int, codec: str) -> bytes:
    try:
        decoded = decoder.decompress(data, max_bytes + 1)
    except lzma.LZMAError as error:
        raise CorruptError(f"an {codec} stream is damaged ({error})") from error
    if len(decoded) > max_bytes:
        raise CorruptError(f"an {codec} stream gives more than {max_bytes:,} bytes")
    if not decoder.eof:
        raise CorruptError(f"an {codec} stream has no end")
    return decoded
