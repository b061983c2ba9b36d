"""Decoding what is compressed: zlib, LZO and Zstandard (btrfs(5), COMPRESSION)."""

from __future__ import annotations

import struct
from collections.abc import Callable

from formats.codecs.lzo import lzo1x_decompress
from formats.codecs.units import decode_zstd, inflate_zlib
from formats.core.errors import CorruptError
from formats.core.source import BytesLike

_LENGTH = struct.Struct("<I")

Decoder = Callable[[BytesLike, int, int], BytesLike]


def decompress(
    compression: int, stored: BytesLike, size: int, sector_bytes: int, *, slack: int = 0
) -> BytesLike:
    """Return the ``size`` bytes that ``stored`` decodes to.

    :param slack: how many bytes may be missing at the end, to be zeros: what is compressed ends
        where the file did, and an extent where a sector does.
    :raises CorruptError: without a breadcrumb; if it is damaged, or gives too few bytes.
    """
    decoded = DECODERS[compression](stored, size, sector_bytes)
    if len(decoded) < size - slack:
        raise CorruptError(f"compressed data ends after {len(decoded):,} of {size:,} bytes")
    if len(decoded) < size:
        return bytes(decoded).ljust(size, b"\0")
    return decoded


def _plain(stored: BytesLike, size: int, sector_bytes: int) -> BytesLike:
    del sector_bytes
    return stored[:size]


def _zlib(stored: BytesLike, size: int, sector_bytes: int) -> BytesLike:
    del sector_bytes
    return inflate_zlib(stored, size, at_least=0)


def _zstd(stored: BytesLike, size: int, sector_bytes: int) -> BytesLike:
    del sector_bytes
    return decode_zstd(stored, size, at_least=0)


def _lzo(stored: BytesLike, size: int, sector_bytes: int) -> BytesLike:
    """Decode segments of a sector each.

    Their length is before each of them, and before all of them that of the whole. Where less than
    that is left of a stored sector, it is filled up, so that no length lies across two.
    """
    data = bytes(stored)
    parts: list[bytes] = []
    try:
        (end,) = _LENGTH.unpack_from(data)
        position, missing = _LENGTH.size, size
        while position < end and missing > 0:
            if -position % sector_bytes < _LENGTH.size:
                position += -position % sector_bytes
                if position >= end:
                    break
            (length,) = _LENGTH.unpack_from(data, position)
            position += _LENGTH.size
            if position + length > min(end, len(data)):
                raise CorruptError("an LZO segment runs out of its extent")
            parts.append(lzo1x_decompress(data[position : position + length], sector_bytes))
            position += length
            missing -= len(parts[-1])
            if missing > 0 and len(parts[-1]) != sector_bytes:
                break
    except struct.error:
        raise CorruptError("an LZO segment has no length") from None
    return b"".join(parts)[:size]


DECODERS: dict[int, Decoder] = {0: _plain, 1: _zlib, 2: _lzo, 3: _zstd}
"""By number of the compression. Each gives at most ``size`` bytes."""
