"""Decoding lzip files from front to back.

Specification: lzip manual, "File format"; draft-diaz-lzip. A member is an LZMA stream with fixed
properties and an end mark, between a header of six bytes and a trailer with checksum and sizes.
"""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Iterator

from formats.bundles.streams import BLOCK_BYTES, Compressed
from formats.core.errors import LimitError
from formats.core.limits import KIB, MIB, Limits
from formats.core.source import read_exact

MAGIC = b"LZIP\x01"

_HEADER_BYTES = 6
_TRAILER = struct.Struct("<LQQ")  # CRC-32 of the data, its size, the member's size
_SMALLEST, _LARGEST = 4 * KIB, 512 * MIB


def unlzip(file: Compressed, limits: Limits) -> Iterator[bytes]:
    """Decode lzip members; their checksums are verified.

    :raises CorruptError: if one is damaged or cut short.
    :raises LimitError: if the dictionary is larger than ``limits.window_bytes``.
    """
    while True:
        start = file.position
        yield from _member(file, limits)
        if file.position == start or not file.has_member(MAGIC):
            return


def _member(file: Compressed, limits: Limits) -> Iterator[bytes]:
    source, start = file.source, file.position
    coded = bytes(read_exact(source, start, _HEADER_BYTES, "an lzip header"))[-1]
    base = 1 << (coded & 0x1F)
    dictionary = base - base // 16 * (coded >> 5)
    if not _SMALLEST <= dictionary <= _LARGEST:
        raise file.damaged(f"the lzip stream has a dictionary of {dictionary:,} bytes")
    if dictionary > limits.window_bytes:
        raise LimitError(
            f"asks for a dictionary of {dictionary:,} bytes, more than the"
            f" {limits.window_bytes:,} that a decompressor may take",
            origin=source.origin,
            offset=start,
        )
    chain = [{"id": lzma.FILTER_LZMA1, "dict_size": dictionary, "lc": 3, "lp": 0, "pb": 2}]
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=chain)
    file.position += _HEADER_BYTES
    size, checksum = 0, 0
    while not decoder.eof:
        data = file.next_input() if decoder.needs_input else b""
        if decoder.needs_input and not len(data):
            raise file.cut_short("lzip")
        try:
            block = decoder.decompress(data, BLOCK_BYTES)
        except (lzma.LZMAError, EOFError) as error:
            raise file.damaged(f"the lzip stream is damaged ({error})") from error
        if len(data):
            file.leave(b"")
        if block:
            size += len(block)
            checksum = zlib.crc32(block, checksum)
            yield block
    file.position -= len(decoder.unused_data)
    trailer = bytes(read_exact(source, file.position, _TRAILER.size, "an lzip trailer"))
    file.position += _TRAILER.size
    if _TRAILER.unpack(trailer) != (checksum, size, file.position - start):
        raise file.damaged("the lzip stream has other contents than its trailer says")
