"""Decoding one compressed unit (a cluster, a grain, a block) into a size that is known before.

The size bounds the output, so a unit cannot expand into more than its image says it has.
All decoders release the interpreter's lock, and may be called from several threads.

Inflate is done by libdeflate where its wheel is installed, and by zlib otherwise. libdeflate wants
a complete stream that fits; where it refuses, zlib has the last word, because a unit may end before
its stream does ("decompression stops when it has produced a cluster of data", qcow2.txt).
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable
from types import ModuleType
from typing import Protocol

import zstandard

from formats.core.errors import CorruptError
from formats.core.source import BytesLike

try:
    import deflate
except ImportError:  # no wheel for this machine
    _DEFLATE: ModuleType | None = None
else:
    _DEFLATE = deflate

ZSTD_WINDOW_BYTES = 8 << 20
"""The largest window that a unit may ask for; no format has units above a few megabytes."""

_RAW_WBITS = -15
_ZLIB_WBITS = 15


class UnitDecoder(Protocol):
    """The shape of :func:`inflate_raw`, :func:`inflate_zlib` and :func:`decode_zstd`."""

    def __call__(self, data: BytesLike, size: int, *, at_least: int | None = None) -> BytesLike:
        """Return the first ``size`` bytes that ``data`` decodes to.

        :param data: the stream; bytes after its end are ignored.
        :param at_least: the fewest bytes to accept, where a stream may be short (default: size).
        :raises CorruptError: without origin and offset, which the caller knows; if the stream is
            damaged or gives less.
        """
        ...


def inflate_raw(data: BytesLike, size: int, *, at_least: int | None = None) -> BytesLike:
    """Decode raw deflate (RFC 1951); see :class:`UnitDecoder`."""
    fast = _DEFLATE.deflate_decompress if _DEFLATE is not None else None
    return _inflate(fast, _RAW_WBITS, data, size, size if at_least is None else at_least)


def inflate_zlib(data: BytesLike, size: int, *, at_least: int | None = None) -> BytesLike:
    """Decode a zlib stream (RFC 1950) and check its sum; see :class:`UnitDecoder`."""
    fast = _DEFLATE.zlib_decompress if _DEFLATE is not None else None
    return _inflate(fast, _ZLIB_WBITS, data, size, size if at_least is None else at_least)


def _inflate(
    fast: Callable[[BytesLike, int], bytearray] | None,
    window_bits: int,
    data: BytesLike,
    size: int,
    at_least: int,
) -> BytesLike:
    if fast is not None and _DEFLATE is not None:
        try:
            decoded = fast(data, size)
        except _DEFLATE.DeflateError:
            pass  # damaged, or going on beyond ``size``: zlib can tell
        else:
            return _checked(memoryview(decoded).toreadonly(), at_least, "deflate")
    inflater = zlib.decompressobj(window_bits)
    try:
        plain = inflater.decompress(data, size)
    except zlib.error as error:
        raise CorruptError(f"a deflate stream is damaged ({error})") from error
    return _checked(plain, at_least, "deflate")


class _PerThread(threading.local):
    """A decompressor for each thread: a shared one corrupts what it gives."""

    decompressor: zstandard.ZstdDecompressor | None = None


_zstd = _PerThread()


def decode_zstd(data: BytesLike, size: int, *, at_least: int | None = None) -> BytesLike:
    """Decode one Zstandard frame (RFC 8878); see :class:`UnitDecoder`."""
    if _zstd.decompressor is None:
        _zstd.decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES)
    try:
        # decompress() takes what the frame states for the size of its buffer, and no other bound.
        if 0 < zstandard.frame_content_size(data) <= size:
            decoded = _zstd.decompressor.decompress(data)
        else:
            decoded = _zstd.decompressor.stream_reader(data).read(size)
    except zstandard.ZstdError as error:
        _zstd.decompressor = None
        raise CorruptError(f"a zstd frame is damaged ({error})") from error
    return _checked(decoded, size if at_least is None else at_least, "zstd")


def _checked(decoded: BytesLike, at_least: int, codec: str) -> BytesLike:
    if len(decoded) < at_least:
        raise CorruptError(f"a {codec} stream ends after {len(decoded):,} of {at_least:,} bytes")
    return decoded
