"""What members of zip archives are compressed with.

Specification: APPNOTE 4.4.5 (compression method), 5.8 (LZMA). Every decoder gives blocks of a
megabyte at the most, and what a file says of memory is held to ``limits.window_bytes``.
"""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from formats.archives.stored import read_blocks
from formats.bundles.streams import (
    BLOCK_BYTES,
    Compressed,
    bunzip2,
    inflate_errors,
    inflater,
    unxz,
    unzstd,
)
from formats.core.errors import CorruptError, LimitError
from formats.core.limits import KIB, Limits
from formats.core.source import BytesLike, ByteSource, read_exact, slice_source

STORED = 0
_INPUT_BYTES = 256 * KIB
_LZMA_HEADER = struct.Struct("<HHBL")  # version, bytes of properties, lc/lp/pb, dictionary
_LZMA_PROPERTIES_BYTES = 5

Decoder: TypeAlias = Callable[[ByteSource, int, int, int, Limits], Iterator[BytesLike]]
"""Archive, offset in it, bytes there, bytes that come out, limits → what comes out.

It may give more, and then does not go on for long; who reads it counts.
"""


def _stored(
    archive: ByteSource, offset: int, length: int, size: int, limits: Limits
) -> Iterator[BytesLike]:
    del size, limits
    return read_blocks(archive, offset, length)


def _inflated(
    archive: ByteSource, offset: int, length: int, size: int, limits: Limits
) -> Iterator[BytesLike]:
    del limits  # the window of deflate is 32 KiB
    decoder = inflater(-zlib.MAX_WBITS)
    position, stop = offset, offset + length
    most = min(BLOCK_BYTES, size + 1)
    pending: BytesLike = b""
    while not decoder.eof:
        if not pending:
            pending = read_exact(
                archive, position, min(_INPUT_BYTES, stop - position), "a compressed file"
            )
            position += len(pending)
        try:
            block = decoder.decompress(pending, most)
        except inflate_errors as error:
            raise _damaged(archive, position, "deflate", error) from error
        if not block and not pending and position == stop:
            raise CorruptError("its deflate stream has no end", origin=archive.origin, offset=stop)
        pending = decoder.unconsumed_tail
        if block:
            yield block
    if decoder.unused_data or position < stop:
        raise CorruptError(
            "has bytes behind its deflate stream", origin=archive.origin, offset=position
        )


def _unlzma(
    archive: ByteSource, offset: int, length: int, size: int, limits: Limits
) -> Iterator[BytesLike]:
    head = bytes(read_exact(archive, offset, min(length, _LZMA_HEADER.size), "an LZMA header"))
    if len(head) < _LZMA_HEADER.size:
        raise CorruptError("its LZMA header is cut short", origin=archive.origin, offset=offset)
    _, properties_bytes, packed, dictionary = _LZMA_HEADER.unpack(head)
    if properties_bytes != _LZMA_PROPERTIES_BYTES or packed >= 9 * 5 * 5:
        raise CorruptError("its LZMA header makes no sense", origin=archive.origin, offset=offset)
    if dictionary > limits.window_bytes:
        raise LimitError(
            f"asks for a dictionary of {dictionary:,} bytes, more than the"
            f" {limits.window_bytes:,} that a decompressor may take",
            origin=archive.origin,
            offset=offset,
        )
    packed, lc = divmod(packed, 9)
    pb, lp = divmod(packed, 5)
    chain = [
        {"id": lzma.FILTER_LZMA1, "dict_size": max(4096, dictionary), "lc": lc, "lp": lp, "pb": pb}
    ]
    try:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=chain)
    except lzma.LZMAError as error:
        raise _damaged(archive, offset, "LZMA", error) from error
    position, stop = offset + _LZMA_HEADER.size, offset + length
    left = size
    while left > 0 and not decoder.eof:
        data: BytesLike = b""
        if decoder.needs_input:
            wanted = min(_INPUT_BYTES, stop - position)
            data = read_exact(archive, position, wanted, "a compressed file")
            position += wanted
        try:
            block = decoder.decompress(data, min(BLOCK_BYTES, left))
        except (lzma.LZMAError, EOFError) as error:
            raise _damaged(archive, position, "LZMA", error) from error
        if not block and not data and position == stop:
            raise CorruptError("its LZMA stream has no end", origin=archive.origin, offset=stop)
        left -= len(block)
        if block:
            yield block


def _by_stream(decode: Callable[[Compressed, Limits], Iterator[bytes]]) -> Decoder:
    """Return a decoder of one of the formats that files are compressed with as a whole."""

    def decoded(
        archive: ByteSource, offset: int, length: int, size: int, limits: Limits
    ) -> Iterator[BytesLike]:
        del size
        file = Compressed(slice_source(archive, offset, length, archive.origin))
        yield from decode(file, limits)
        if file.trailing_bytes:
            raise CorruptError(
                f"has {file.trailing_bytes:,} bytes behind its compressed stream",
                origin=archive.origin,
                offset=offset + length - file.trailing_bytes,
            )

    return decoded


def _damaged(archive: ByteSource, position: int, name: str, error: Exception) -> CorruptError:
    problem = f"its {name} stream is damaged ({error})"
    return CorruptError(problem, origin=archive.origin, offset=position)


DECODERS: Mapping[int, Decoder] = {
    STORED: _stored,
    8: _inflated,
    12: _by_stream(bunzip2),
    14: _unlzma,
    20: _by_stream(unzstd),  # its first number
    93: _by_stream(unzstd),
    95: _by_stream(unxz),
}

NOT_DECODED: Mapping[int, str] = {
    1: "Shrink",
    2: "Reduce",
    3: "Reduce",
    4: "Reduce",
    5: "Reduce",
    6: "Implode",
    9: "Deflate64",
    10: "PKWARE DCL Implode",
    16: "IBM CMPSC",
    18: "IBM TERSE",
    19: "IBM LZ77",
    94: "MP3",
    96: "JPEG",
    97: "WavPack",
    98: "PPMd",
}
"""Names of the methods that are refused."""
