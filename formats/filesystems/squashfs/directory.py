"""Directory listings (Squashfs Binary Format, "Directory Table").

A listing is made of runs: a header, then up to 256 names whose inodes are in one metadata block.
Indexes of large directories are for searching, and not needed to read all names.
"""

from __future__ import annotations

import struct

from formats.core.entry import check_name
from formats.core.errors import LimitError
from formats.core.limits import Limits
from formats.filesystems.squashfs.inode import Inode
from formats.filesystems.squashfs.metadata import Metadata, MetadataStream
from formats.filesystems.walk import Names

_HEADER = struct.Struct("<III")  # names - 1, block of their inodes, inode number to count from
_ENTRY = struct.Struct("<HhHH")  # offset in the block, inode number, kind, length of name - 1
_MOST_IN_A_RUN = 256
_LONGEST_ENTRY = _ENTRY.size + 256
_DOTS = frozenset({b".", b".."})
_SIZE_OF_DOTS = 3
"""A directory's size counts "." and "..", which are not in the listing, with three bytes."""


def read_names(metadata: Metadata, table: int, folder: Inode, limits: Limits) -> Names:
    """Return names and references of what is in a folder.

    :param table: where the directory table is.
    :raises CorruptError: if the listing is damaged, or has a name that no system allows.
    :raises LimitError: for too many, or too long names.
    """
    if folder.size <= _SIZE_OF_DOTS:
        return []
    place = table + folder.place
    stream = MetadataStream(metadata, place, folder.offset, folder.size - _SIZE_OF_DOTS)
    names: Names = []
    while stream.want(_HEADER.size):
        count, block, _ = _HEADER.unpack(stream.take(_HEADER.size))
        if count >= _MOST_IN_A_RUN:
            raise metadata.damaged(f"a directory header claims {count + 1:,} names", place)
        if len(names) + count >= limits.folder_entries:
            raise LimitError(
                f"has more than {limits.folder_entries:,} names in it",
                origin=metadata.source.origin,
            )
        _take_run(stream, count + 1, block << 16, names, limits)
    return names


def _take_run(stream: MetadataStream, count: int, block: int, names: Names, limits: Limits) -> None:
    """Add the names of a run, each with the reference of its inode.

    Names are the most numerous of all records: they are taken from the stream's buffer as they
    lie there, without a call for each.

    :param block: what is in common to the references.
    """
    stream.want(count * _LONGEST_ENTRY)
    buffer, position, unpack = stream.buffer, stream.position, _ENTRY.unpack_from
    for _ in range(count):
        start = position + _ENTRY.size
        if start >= len(buffer):
            raise stream.cut_short()
        offset, _, _, length = unpack(buffer, position)
        if length >= limits.name_bytes:
            raise LimitError(
                f"has a name of {length + 1:,} bytes, more than {limits.name_bytes}",
                origin=stream.origin,
            )
        position = start + length + 1
        name = buffer[start:position]
        if b"/" in name or b"\0" in name or name in _DOTS:
            check_name(name, stream.origin)
        names.append((name, block | offset))
    if position > len(buffer):
        raise stream.cut_short()
    stream.position = position
