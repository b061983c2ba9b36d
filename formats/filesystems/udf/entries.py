"""File entries and what is in a folder (ECMA-167 4/14.4 and 4/14.9)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pycdlib import udf

from formats.core.entry import Kind
from formats.core.errors import CorruptError, UnsupportedError
from formats.core.source import BytesLike, ByteSource
from formats.filesystems.udf.allocation import INLINE, Allocation
from formats.filesystems.udf.names import decoded
from formats.filesystems.udf.structures import (
    EXTENDED_FILE_ENTRY,
    FILE_ENTRY,
    FILE_IDENTIFIER,
    Place,
    decoding,
    icb_place,
    read_tag,
)

KINDS = {
    0: Kind.FILE,  # "not specified": the table of a virtual partition of UDF 1.50
    4: Kind.FOLDER,
    5: Kind.FILE,
    6: Kind.BLOCK_DEVICE,
    7: Kind.CHARACTER_DEVICE,
    9: Kind.FIFO,
    10: Kind.SOCKET,
    12: Kind.SYMLINK,
    248: Kind.FILE,  # the table of a virtual partition, metadata files, real-time files
    249: Kind.FILE,
    250: Kind.FILE,
    251: Kind.FILE,
    252: Kind.FILE,
}
_FORM = 7
_STRATEGY = 4
_TABLE = 248
_SETUID, _SETGID, _STICKY = 1 << 6, 1 << 7, 1 << 8
_NO_ID = 0xFFFF_FFFF
_LOCAL_TIME = 1
_NO_ZONE = -2047
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_FIXED_BYTES = {FILE_ENTRY: 176, EXTENDED_FILE_ENTRY: 216}
_LENGTHS = struct.Struct("<II")
"""Of extended attributes and allocation descriptors, at the end of the fixed part."""

_ATTRIBUTES_HEADER_BYTES = 24
_ATTRIBUTE = struct.Struct("<IB3xI")
_DEVICE = struct.Struct("<I4x4xIII")
_DEVICE_TYPE = 12

_IDENTIFIER = struct.Struct("<16xHBB16sH")
_DELETED, _PARENT = 4, 8


class FileEntry(NamedTuple):
    """What a file entry says.

    :ivar has_streams: whether there are named streams beside the content.
    :ivar is_table: whether it is the table of a virtual partition, as UDF 2.00 marks it.
    """

    kind: Kind
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    links: int
    device: tuple[int, int] | None
    allocation: Allocation
    has_streams: bool
    is_table: bool = False


def parse_entry(block: bytes, place: Place, source: ByteSource, offset: int) -> FileEntry:
    """Return the file entry in a block.

    :param offset: where the block is in the image.
    :raises CorruptError: if it is damaged.
    :raises UnsupportedError: for kinds of files and strategies that are not known.
    """
    what = "a file entry"
    tag = read_tag(block, source, offset, what)
    if tag.tag_ident not in _FIXED_BYTES:
        raise CorruptError(
            f"{what} has the tag {tag.tag_ident}", origin=source.origin, offset=offset
        )
    is_extended = tag.tag_ident == EXTENDED_FILE_ENTRY
    entry = udf.UDFExtendedFileEntry() if is_extended else udf.UDFFileEntry()
    with decoding(source, offset, what):
        entry.parse(block, 0, None, tag)
    kind = KINDS.get(entry.icb_tag.file_type)
    if kind is None or entry.icb_tag.strategy_type != _STRATEGY:
        raise UnsupportedError(
            f"{what} is of type {entry.icb_tag.file_type} and strategy"
            f" {entry.icb_tag.strategy_type}",
            origin=source.origin,
            offset=offset,
        )
    fixed = _FIXED_BYTES[tag.tag_ident]
    attributes_bytes, allocation_bytes = _LENGTHS.unpack_from(block, fixed - _LENGTHS.size)
    start = fixed + attributes_bytes
    if start + allocation_bytes > len(block):
        raise CorruptError(f"{what} is longer than a block", origin=source.origin, offset=offset)
    allocation = Allocation(
        entry.icb_tag.flags & _FORM, block[start : start + allocation_bytes], place
    )
    if allocation.form == INLINE and entry.info_len > allocation_bytes:
        raise CorruptError(
            f"{what} holds {allocation_bytes:,} of {entry.info_len:,} bytes",
            origin=source.origin,
            offset=offset,
        )
    is_device = kind in {Kind.BLOCK_DEVICE, Kind.CHARACTER_DEVICE}
    streams = entry.stream_icb.extent_length if isinstance(entry, udf.UDFExtendedFileEntry) else 0
    return FileEntry(
        kind,
        _mode(entry.perms, entry.icb_tag.flags),
        # "not specified" is root here, as it is for FAT
        0 if entry.uid == _NO_ID else entry.uid,
        0 if entry.gid == _NO_ID else entry.gid,
        _nanoseconds(entry.mod_time),
        entry.info_len,
        entry.file_link_count,
        _device(block[fixed:start]) if is_device else None,
        allocation,
        bool(streams),
        entry.icb_tag.file_type == _TABLE,
    )


def _mode(permissions: int, flags: int) -> int:
    """Return a mode from permissions of five bits for each class, others lowest."""
    mode = permissions & 7 | permissions >> 2 & 0o70 | permissions >> 4 & 0o700
    mode |= 0o4000 if flags & _SETUID else 0
    mode |= 0o2000 if flags & _SETGID else 0
    return mode | (0o1000 if flags & _STICKY else 0)


def _nanoseconds(time: udf.UDFTimestamp) -> int:
    try:
        moment = datetime(
            time.year, time.month, time.day, time.hour, time.minute, time.second, tzinfo=UTC
        )
    except ValueError:  # the 30th of February
        return 0
    seconds = (moment - _EPOCH) // timedelta(seconds=1)
    if time.timetype == _LOCAL_TIME and time.tz != _NO_ZONE:
        seconds -= time.tz * 60
    micro = time.centiseconds * 10_000 + time.hundreds_microseconds * 100 + time.microseconds
    return (seconds * 1_000_000 + (micro if micro < 1_000_000 else 0)) * 1000


def _device(attributes: bytes) -> tuple[int, int]:
    """Return the numbers in a device specification (ECMA-167 4/14.10.7); 0, 0 without one."""
    position = _ATTRIBUTES_HEADER_BYTES
    while position + _ATTRIBUTE.size <= len(attributes):
        kind, _, length = _ATTRIBUTE.unpack_from(attributes, position)
        if kind == _DEVICE_TYPE and position + _DEVICE.size <= len(attributes):
            _, _, major, minor = _DEVICE.unpack_from(attributes, position)
            return major, minor
        if length < _ATTRIBUTE.size:
            break
        position += length
    return 0, 0


def parse_folder(chunks: Iterable[BytesLike], source: ByteSource) -> Iterator[tuple[bytes, Place]]:
    """Yield name and file entry of what is in a folder, without what was deleted.

    :param chunks: the folder's content.
    :raises CorruptError: if it is damaged.
    """
    buffer = b""
    for chunk in chunks:
        buffer += bytes(chunk)
        position = 0
        while (length := _identifier_bytes(buffer, position)) is not None:
            found = _identifier(buffer[position : position + length], source)
            if found is not None:
                yield found
            position += length
        buffer = buffer[position:]
    if buffer:
        raise CorruptError("is a folder that ends inside of a name", origin=source.origin)


def _identifier_bytes(buffer: bytes, position: int) -> int | None:
    """Return the length of the descriptor at a position; None if it is not there as a whole."""
    if len(buffer) - position < _IDENTIFIER.size:
        return None
    _, _, name_bytes, _, use_bytes = _IDENTIFIER.unpack_from(buffer, position)
    length = (_IDENTIFIER.size + use_bytes + name_bytes + 3) & ~3
    return length if position + length <= len(buffer) else None


def _identifier(data: bytes, source: ByteSource) -> tuple[bytes, Place] | None:
    what = "a file identifier"
    tag = read_tag(data, source, 0, what)
    if tag.tag_ident != FILE_IDENTIFIER:
        raise CorruptError(f"{what} has the tag {tag.tag_ident}", origin=source.origin)
    _, characteristics, name_bytes, _, use_bytes = _IDENTIFIER.unpack_from(data)
    if characteristics & (_DELETED | _PARENT):
        return None
    descriptor = udf.UDFFileIdentifierDescriptor()
    with decoding(source, 0, what):
        descriptor.parse(data, 0, tag, udf.UDFFileEntry())
    start = _IDENTIFIER.size + use_bytes
    return decoded(data[start : start + name_bytes]), icb_place(descriptor.icb)
