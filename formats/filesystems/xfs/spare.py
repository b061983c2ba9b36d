"""Spare superblocks: what there is when the first one is damaged.

Each allocation group begins with a copy of the superblock. The copies are written when the
filesystem is made or grown: geometry, identity, features and the log's place are right in them,
what is free is not. mkfs.xfs(8) puts the root folder into the copies of the last group and of the
one in the middle, so that xfs_repair(8) can find it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from formats.core.errors import ConvertError
from formats.core.source import ByteSource, MappedSource, MemorySource, Segment, read_exact
from formats.filesystems.xfs.checksums import set_checksum
from formats.filesystems.xfs.superblock import (
    CHECKSUM_OFFSET,
    IN_PROGRESS_OFFSET,
    NO_INODE,
    parse_superblock,
    read_sector,
)

_GEOMETRY = struct.Struct(">4xI76xII")  # block size; group blocks, groups
_MOST_GROUPS = 1 << 20
_BLOCK_SIZES = frozenset(1 << bits for bits in range(9, 17))


@dataclass(frozen=True, slots=True)
class Spare:
    """A volume with a spare superblock in place of the first.

    :ivar group: the allocation group that it comes from.
    """

    source: ByteSource
    group: int


def find_spare(source: ByteSource) -> Spare | None:
    """Return the volume with a sound spare superblock; None if the damaged one leads to none.

    Where groups begin is taken from the damaged superblock: a spare one that is found by it, and
    says the same, proves that this part of it is not damaged.
    """
    geometry = _GEOMETRY.unpack(read_exact(source, 0, _GEOMETRY.size, "the superblock"))
    block_bytes, group_blocks, groups = geometry
    if block_bytes not in _BLOCK_SIZES or not 1 < groups <= _MOST_GROUPS:
        return None
    for group in dict.fromkeys((groups - 1, (groups - 1) // 2, 1)):
        offset = group * group_blocks * block_bytes
        try:
            raw = read_sector(source, offset)
            spare = parse_superblock(raw, source.origin, offset)
        except ConvertError:
            continue
        same = geometry == (spare.block_bytes, spare.group_blocks, spare.group_count)
        if offset and same and spare.root_inode not in {0, NO_INODE}:
            return Spare(_in_front(source, raw, has_checksum=spare.has_checksums), group)
    return None


def _in_front(source: ByteSource, raw: bytes, *, has_checksum: bool) -> ByteSource:
    """Return the volume as xfs_repair(8) would leave it: spare ones are marked as unfinished."""
    first = bytearray(raw)
    first[IN_PROGRESS_OFFSET] = 0
    if has_checksum:
        set_checksum(first, CHECKSUM_OFFSET)
    length = len(first)
    segments = (
        Segment(0, length, MemorySource(bytes(first), source.origin)),
        Segment(length, source.size - length, source, length),
    )
    return MappedSource(segments, source.origin)
