"""The path table (ECMA-119, 9.4): every folder once more, by the place of its extent.

Nothing is read through it. What it has and the tree has not is content that a reader of the tree
would miss.
"""

from __future__ import annotations

import struct

from formats.core.errors import CorruptError
from formats.core.limits import Limits
from formats.core.source import ByteSource, read_exact
from formats.filesystems.iso.descriptors import VolumeDescriptor

_RECORD = struct.Struct("<BBIH")
_MOST_RECORD_BYTES = 264


def folder_places(source: ByteSource, volume: VolumeDescriptor, limits: Limits) -> set[int]:
    """Return the first block of every folder in the path table.

    :raises CorruptError: if it is damaged, or lies outside of the image.
    """
    size = volume.path_table_bytes
    start = volume.path_table * volume.block_bytes
    if size > limits.entries * _MOST_RECORD_BYTES:
        raise CorruptError(f"its path table claims {size:,} bytes", origin=source.origin)
    data = bytes(read_exact(source, start, size, "the path table"))
    places: set[int] = set()
    position = 0
    while position + _RECORD.size <= size:
        name_bytes, skip, block, _ = _RECORD.unpack_from(data, position)
        if not name_bytes:
            raise CorruptError(
                "a record of the path table has no name",
                origin=source.origin,
                offset=start + position,
            )
        places.add(block + skip)
        position += _RECORD.size + name_bytes + (name_bytes & 1)
    return places
