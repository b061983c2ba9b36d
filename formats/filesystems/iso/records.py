"""Directory records (ECMA-119, 9.1)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from formats.core.errors import CorruptError
from formats.core.source import ByteSource, read_exact
from formats.filesystems.iso.descriptors import SECTOR_BYTES

# Length; length of extended attribute record; place, size (both orders); date; flags; file unit,
# gap; volume number (both orders); length of the name.
_RECORD = struct.Struct("<BBI4xI4x7sBBBH2xB")
RECORD_BYTES = _RECORD.size
_MOST_CHUNK_SECTORS = 256

HIDDEN = 0x01
FOLDER = 0x02
ASSOCIATED = 0x04
MULTI_EXTENT = 0x80

SELF = b"\0"
PARENT = b"\1"
OWN_NAMES = frozenset({SELF, PARENT})
"""Of the two records that every folder begins with."""


class Record(NamedTuple):
    """One record.

    :ivar offset: where it is, in bytes.
    :ivar block: first block of its content, behind the extended attribute record.
    :ivar unit: file unit size; with ``gap``, for interleaved files; 0 for all others.
    :ivar volume: number of the disc that has the content.
    :ivar use: the system use field.
    """

    offset: int
    block: int
    size: int
    date: bytes
    flags: int
    unit: int
    gap: int
    volume: int
    name: bytes
    use: bytes


def read_records(source: ByteSource, start: int, size: int) -> Iterator[Record]:
    """Yield the records of an extent, from byte ``start`` on.

    A record does not go beyond the sector that it begins in; zeros fill what is left of it.

    :raises CorruptError: if one is damaged.
    """
    end = start + size
    position = start
    sectors = 1  # most folders have one, and who wants a single record stops there
    while position < end:
        stop = min((position // SECTOR_BYTES + sectors) * SECTOR_BYTES, end)
        sectors = min(sectors * 4, _MOST_CHUNK_SECTORS)
        chunk = bytes(read_exact(source, position, stop - position, "a folder"))
        yield from _records(source, chunk, position)
        position = stop


def _records(source: ByteSource, chunk: bytes, offset: int) -> Iterator[Record]:
    position = 0
    end = len(chunk)
    while position < end:
        length = chunk[position]
        left = SECTOR_BYTES - (offset + position) % SECTOR_BYTES
        if not length:
            position += left
            continue
        if length <= RECORD_BYTES or length > left or position + length > end:
            raise damaged_record(source, f"claims {length} bytes", offset + position)
        (_, skip, block, size, date, flags, unit, gap, volume, name_bytes) = _RECORD.unpack_from(
            chunk, position
        )
        name_end = RECORD_BYTES + name_bytes
        if not name_bytes or name_end > length:
            raise damaged_record(source, f"claims a name of {name_bytes} bytes", offset + position)
        start = position + RECORD_BYTES
        yield Record(
            offset + position,
            block + skip,
            size,
            date,
            flags,
            unit,
            gap,
            volume,
            chunk[start : position + name_end],
            # a byte of padding makes the name's length odd (9.1.12)
            chunk[position + name_end + (not name_bytes & 1) : position + length],
        )
        position += length


def first_record(source: ByteSource, start: int) -> Record:
    """Return the record that a folder begins with: its own.

    :raises CorruptError: if it is something else.
    """
    size = min(SECTOR_BYTES, source.size - start)
    record = next(read_records(source, start, size), None) if size > 0 else None
    if record is None or record.name != SELF or record.offset != start:
        raise CorruptError(
            "a folder does not begin with a record of itself", origin=source.origin, offset=start
        )
    return record


def damaged_record(source: ByteSource, what: str, offset: int) -> CorruptError:
    """Return the error that says what is wrong with a record."""
    return CorruptError(f"a directory record {what}", origin=source.origin, offset=offset)
