"""Where the frames of a zstd file end (RFC 8878, 3.1).

Decoders take a file that ends inside a frame for one that simply ends. So the frames are counted
out first: only the headers of frames and blocks are looked at, a few bytes in every 128 KiB.
"""

from __future__ import annotations

import struct

from formats.core.errors import CorruptError
from formats.core.source import ByteSource

FRAME_MAGIC = b"\x28\xb5\x2f\xfd"
SKIPPABLE_MAGICS = tuple(bytes([0x50 + number]) + b"\x2a\x4d\x18" for number in range(16))

_MAGIC_BYTES = 4
_CHECKSUM_BYTES = 4
_BLOCK_HEADER_BYTES = 3
_DICTIONARY_ID_BYTES = (0, 1, 2, 4)
_CONTENT_SIZE_BYTES = (0, 2, 4, 8)
_RLE_BLOCK = 1
_RESERVED_BLOCK = 3


def frames_end(source: ByteSource) -> int:
    """Return the offset right behind the last frame.

    :raises CorruptError: if a frame is cut short or makes no sense.
    """
    offset = 0
    while True:
        magic = bytes(source.read_at(offset, _MAGIC_BYTES))
        if magic == FRAME_MAGIC:
            offset = _frame_end(source, offset + _MAGIC_BYTES)
        elif magic in SKIPPABLE_MAGICS:
            (length,) = struct.unpack("<I", _bytes(source, offset + _MAGIC_BYTES, 4))
            offset += _MAGIC_BYTES + 4 + length
        else:
            return offset
        if offset > source.size:
            raise _cut_short(source)


def _frame_end(source: ByteSource, offset: int) -> int:
    descriptor = _bytes(source, offset, 1)[0]
    is_single_segment = bool(descriptor & 0x20)
    content_size = _CONTENT_SIZE_BYTES[descriptor >> 6]
    if is_single_segment and not content_size:
        content_size = 1
    window_descriptor = 0 if is_single_segment else 1
    offset += 1 + window_descriptor + _DICTIONARY_ID_BYTES[descriptor & 3] + content_size
    while True:
        header = int.from_bytes(_bytes(source, offset, _BLOCK_HEADER_BYTES), "little")
        kind, length = header >> 1 & 3, header >> 3
        if kind == _RESERVED_BLOCK:
            raise CorruptError(
                "the zstd stream has a block of a reserved type",
                origin=source.origin,
                offset=offset,
            )
        offset += _BLOCK_HEADER_BYTES + (1 if kind == _RLE_BLOCK else length)
        if header & 1:
            break
    return offset + (_CHECKSUM_BYTES if descriptor & 4 else 0)


def _bytes(source: ByteSource, offset: int, length: int) -> bytes:
    data = bytes(source.read_at(offset, length))
    if len(data) < length:
        raise _cut_short(source)
    return data


def _cut_short(source: ByteSource) -> CorruptError:
    return CorruptError(
        "is cut short: the zstd stream has no end",
        origin=source.origin,
        offset=source.size,
        hint="fetch it again",
    )
