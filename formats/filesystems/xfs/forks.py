"""Forks: from blocks of a file, a folder or its attributes to blocks of the volume.

"XFS Algorithms & Data Structures", "Data Extents": a list of extents in the inode, or the root of
a B+tree whose leaves hold them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from formats.core.errors import CorruptError
from formats.core.source import ByteSource
from formats.filesystems.runs import Run
from formats.filesystems.xfs.blocks import BTREE_HEADER, Blocks
from formats.filesystems.xfs.inode import FORMAT_BTREE, FORMAT_EXTENTS, Inode
from formats.filesystems.xfs.superblock import REPAIR_HINT, Superblock

_EXTENT = struct.Struct(">QQ")
_UNWRITTEN = 1 << 63
_OFFSET_SHIFT = 9
_OFFSET_MASK = (1 << 54) - 1
_START_HIGH_MASK = (1 << 9) - 1
_START_HIGH_SHIFT = 43
_START_LOW_SHIFT = 21
_COUNT_MASK = (1 << 21) - 1

_ROOT_HEADER = struct.Struct(">HH")  # level, records
_NODE_HEADER = struct.Struct(">4sHH")  # magic, level, records
_NODE_HEADER_BYTES = {4: 24, 5: 72}
_NODE_MAGIC = {4: b"BMAP", 5: b"BMA3"}
_MAX_LEVEL = 16
"""more than the largest file needs with the smallest blocks"""
_KEY_BYTES = _POINTER_BYTES = 8
_NODE = "a node of an extent tree"


class Forks:
    """Where the forks of a filesystem's inodes are."""

    def __init__(self, source: ByteSource, superblock: Superblock) -> None:
        self._origin = source.origin
        self._superblock = superblock
        self._blocks = Blocks(source, superblock)

    def data_runs(self, inode: Inode) -> list[Run]:
        """Return the written extents of the data fork, in file order.

        What is missing between them is a hole, or preallocated and never written: zeros.

        :raises CorruptError: if the fork is damaged, or has not as many extents as it claims.
        """
        return self._runs(inode, inode.data_fork, inode.format, inode.data_extents)

    def attribute_runs(self, inode: Inode) -> list[Run]:
        """Return the same of the attribute fork."""
        return self._runs(
            inode, inode.attribute_fork, inode.attribute_format, inode.attributes_extents
        )

    def _runs(self, inode: Inode, fork: bytes, form: int, count: int) -> list[Run]:
        decoder = _Decoder(self._superblock, self._blocks, inode)
        if form == FORMAT_EXTENTS:
            end = count * _EXTENT.size
            if end > len(fork):
                raise decoder.damaged(f"{count:,} extents are not in {len(fork)} bytes")
            return list(decoder.leaf(fork[:end]))
        if form != FORMAT_BTREE:
            raise decoder.damaged(f"its form is {form}")
        runs = list(decoder.tree(fork))
        if decoder.count != count:
            raise decoder.damaged(f"there are {decoder.count:,} extents, not {count:,}")
        return runs


class _Decoder:
    """Decodes one fork. Extents that come in order keep a tree from visiting a node twice.

    :ivar count: extents so far, those that were never written included.
    """

    def __init__(self, superblock: Superblock, blocks: Blocks, inode: Inode) -> None:
        self._superblock = superblock
        self._blocks = blocks
        self._inode = inode
        self._covered = 0
        self.count = 0

    def leaf(self, records: bytes) -> Iterator[Run]:
        superblock, covered = self._superblock, self._covered
        for high, low in _EXTENT.iter_unpack(records):
            first = high >> _OFFSET_SHIFT & _OFFSET_MASK
            count = low & _COUNT_MASK
            packed = (high & _START_HIGH_MASK) << _START_HIGH_SHIFT | low >> _START_LOW_SHIFT
            start = superblock.linear_block(packed, count)
            if start is None or not start or first < covered or not count:
                raise self.damaged(f"an extent maps {count:,} blocks from {first:,} to {packed:,}")
            covered = first + count
            if not high & _UNWRITTEN:
                yield Run(first, count, start)
        self._covered = covered
        self.count += len(records) // _EXTENT.size

    def tree(self, fork: bytes) -> Iterator[Run]:
        level, records = _ROOT_HEADER.unpack_from(fork)
        room = (len(fork) - _ROOT_HEADER.size) // (_KEY_BYTES + _POINTER_BYTES)
        if not 0 < level <= _MAX_LEVEL or not 0 < records <= room:
            raise self.damaged(f"its root has level {level}, {records} of {room} records")
        yield from self._children(fork, _ROOT_HEADER.size + room * _KEY_BYTES, records, level)

    def _children(self, node: bytes, start: int, records: int, level: int) -> Iterator[Run]:
        for (pointer,) in struct.iter_unpack(">Q", node[start : start + records * _POINTER_BYTES]):
            block = self._superblock.linear_block(pointer)
            if not block:
                raise self.damaged(f"a node leads to block {pointer:,}")
            # The level falls with each step: the recursion ends.
            yield from self._node(block, level - 1)

    def _node(self, block: int, level: int) -> Iterator[Run]:
        superblock, number = self._superblock, self._inode.number
        data = self._blocks.read(block, superblock.block_bytes, _NODE)
        header_bytes = _NODE_HEADER_BYTES[superblock.version]
        magic, own_level, records = _NODE_HEADER.unpack_from(data)
        room = (len(data) - header_bytes) // _EXTENT.size
        is_node = magic == _NODE_MAGIC[superblock.version]
        if not is_node or own_level != level or not 0 < records <= room:
            raise self._blocks.damaged(
                f"a node of inode {number:,}'s extent tree has magic {magic!r}, level {own_level}"
                f" below {level + 1}, {records} of {room} records",
                block,
            )
        self._blocks.verify(data, block, number, BTREE_HEADER, _NODE)
        if level == 0:
            yield from self.leaf(data[header_bytes : header_bytes + records * _EXTENT.size])
        else:
            yield from self._children(data, header_bytes + room * _KEY_BYTES, records, level)

    def damaged(self, what: str) -> CorruptError:
        return CorruptError(
            f"the extents of inode {self._inode.number:,} are damaged: {what}",
            origin=self._blocks.origin,
            hint=REPAIR_HINT,
        )
