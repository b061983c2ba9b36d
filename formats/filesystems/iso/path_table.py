"""The path table (ECMA-119, 9.4): every folder once more, by the place of its extent.

Nothing is read through it. What it has and the tree has not is content that a reader of the tree
would miss.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from formats.core.errors import CorruptError, LimitError
from formats.core.limits import KIB, Limits
from formats.core.source import ByteSource, read_exact
from formats.filesystems.iso.descriptors import VolumeDescriptor

_RECORD = struct.Struct("<BBIH")
_WINDOW_BYTES = 64 * KIB


def folder_places(source: ByteSource, volume: VolumeDescriptor, limits: Limits) -> Iterator[int]:
    """Yield the first block of every folder in the path table.

    :raises CorruptError: if it is damaged, or lies outside of the image.
    :raises LimitError: if it has more folders than a tree may.
    """
    start = volume.path_table * volume.block_bytes
    position, end = start, start + volume.path_table_bytes
    window, window_start, count = b"", start, 0
    while position + _RECORD.size <= end:
        at = position - window_start
        if at + _RECORD.size > len(window):
            length = min(_WINDOW_BYTES, end - position)
            window = bytes(read_exact(source, position, length, "the path table"))
            window_start, at = position, 0
        name_bytes, skip, block, _ = _RECORD.unpack_from(window, at)
        if not name_bytes:
            raise CorruptError(
                "a record of the path table has no name", origin=source.origin, offset=position
            )
        count += 1
        if count > limits.entries:
            raise LimitError(f"has more than {limits.entries:,} folders", origin=source.origin)
        yield block + skip
        position += _RECORD.size + name_bytes + (name_bytes & 1)
