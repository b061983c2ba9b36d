"""Extent trees: from blocks of a file to blocks of the volume.

Kernel documentation, "The Contents of inode.i_block", section "Extent Tree".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from formats.core.errors import CorruptError
from formats.core.source import ByteSource, read_exact
from formats.filesystems.ext.checksums import crc32c
from formats.filesystems.ext.superblock import Superblock
from formats.filesystems.runs import Run

_MAGIC = 0xF30A
_MAX_DEPTH = 5
_HEADER = struct.Struct("<4H4x")  # magic, entries, room for entries, depth
_LEAF = struct.Struct("<IHHI")  # file block, length, volume block (high, low)
_INDEX = struct.Struct("<IIH2x")  # file block, child's block (low, high)
_CHECKSUM = struct.Struct("<I")
_MAX_WRITTEN_BLOCKS = 32768
"""a longer extent was preallocated and never written, and is shorter by so much"""


class ExtentTree:
    """The extent tree of one inode.

    :param number: the inode's.
    :param generation: the inode's, which checksums of nodes start from; None where it is not known
        and they are not verified.
    """

    def __init__(
        self, source: ByteSource, superblock: Superblock, number: int, generation: int | None
    ) -> None:
        self._source = source
        self._superblock = superblock
        self._number = number
        self._generation = generation
        self._covered = 0

    def runs(self, root: bytes) -> Iterator[Run]:
        """Yield the written extents below ``root`` (the inode's ``i_block``) in file order.

        What is missing between them is a hole, or preallocated and never written: zeros.

        :raises CorruptError: if a node is damaged, or the tree is out of order. That every extent
            comes after those before it also keeps a tree from visiting a node twice.
        """
        self._covered = 0
        entries, depth = self._header(root, None, _MAX_DEPTH)
        yield from self._walk(root, entries, depth)

    def _walk(self, node: bytes, entries: int, depth: int) -> Iterator[Run]:
        if depth == 0:
            yield from self._leaf(node, entries)
            return
        bounds = _HEADER.size, _HEADER.size + entries * _INDEX.size
        for first, low, high in _INDEX.iter_unpack(node[slice(*bounds)]):
            block = low | high << 32
            if first < self._covered or not 0 < block < self._superblock.block_count:
                raise self._damaged(f"an index leads from block {first:,} to {block:,}", None)
            child = self._read(block)
            # The depth falls with each step: the recursion ends after five.
            child_entries, child_depth = self._header(child, block, depth - 1)
            if child_depth != depth - 1 or child_entries == 0:
                raise self._damaged(
                    f"a node of depth {child_depth} with {child_entries} entries"
                    f" is below one of depth {depth}",
                    block,
                )
            self._verify(child, block)
            yield from self._walk(child, child_entries, child_depth)

    def _leaf(self, node: bytes, entries: int) -> Iterator[Run]:
        covered, block_count = self._covered, self._superblock.block_count
        stop = _HEADER.size + entries * _LEAF.size
        for first, count, high, low in _LEAF.iter_unpack(node[_HEADER.size : stop]):
            start = low | high << 32
            is_written = count <= _MAX_WRITTEN_BLOCKS
            if not is_written:
                count -= _MAX_WRITTEN_BLOCKS  # noqa: PLW2901 - the field holds both
            if first < covered or count == 0 or not 0 < start <= block_count - count:
                raise self._damaged(
                    f"an extent maps {count:,} blocks from {first:,} to {start:,}", None
                )
            covered = first + count
            if is_written:
                yield Run(first, count, start)
        self._covered = covered

    def _header(self, node: bytes, block: int | None, most: int) -> tuple[int, int]:
        """Return the number of entries and the depth that a node claims, both possible."""
        magic, entries, room, depth = _HEADER.unpack_from(node)
        fits = entries <= room <= (len(node) - _HEADER.size) // _LEAF.size
        if magic != _MAGIC or not fits or depth > most:
            raise self._damaged(
                f"a node has magic {magic:#06x}, depth {depth}, {entries} of {room} entries", block
            )
        return entries, depth

    def _read(self, block: int) -> bytes:
        size = self._superblock.block_bytes
        return bytes(read_exact(self._source, block * size, size, "an extent tree node"))

    def _verify(self, node: bytes, block: int) -> None:
        if self._generation is None:
            return
        seed = self._superblock.inode_seed(self._number, self._generation)
        if seed is None:
            return
        room = _HEADER.unpack_from(node)[2]
        tail = _HEADER.size + room * _LEAF.size
        if tail + _CHECKSUM.size > len(node):
            raise self._damaged("a node has no room for its checksum", block)
        (stored,) = _CHECKSUM.unpack_from(node, tail)
        computed = crc32c(node[:tail], seed)
        if stored != computed:
            raise self._damaged(f"a node has checksum {stored:08x}, not {computed:08x}", block)

    def _damaged(self, what: str, block: int | None) -> CorruptError:
        return CorruptError(
            f"the extent tree of inode {self._number:,} is damaged: {what}",
            origin=self._source.origin,
            offset=block * self._superblock.block_bytes if block is not None else None,
            hint="run 'e2fsck' on a copy",
        )
