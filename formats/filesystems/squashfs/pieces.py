"""The blocks of one file, for reading it at any place."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

from formats.core.source import BytesLike
from formats.filesystems.squashfs.content import Block, ContentReader
from formats.filesystems.squashfs.inode import Inode


class FileBlocks:
    """See :class:`formats.filesystems.pieces.Pieces`.

    Twelve bytes are kept for each block: a disk of 32 GiB may be of eight million.

    :raises CorruptError: if the list of blocks is damaged.
    """

    def __init__(self, content: ContentReader, inode: Inode, block_bytes: int) -> None:
        self._content = content
        self._inode = inode
        self._block_bytes = block_bytes
        self._places = array("Q")
        self._stored = array("I")
        for block in content.blocks(inode):
            self._places.append(block.place)
            self._stored.append(block.stored)
        self.starts: Sequence[int] = range(0, inode.size, block_bytes)

    def _size(self, index: int) -> int:
        return min(self._block_bytes, self._inode.size - index * self._block_bytes)

    def _block(self, index: int) -> Block | None:
        """Return a data block; None for the tail, which is in a fragment."""
        if index == len(self._places):
            return None
        return Block(self._places[index], self._stored[index], self._size(index))

    def read(self, index: int, skip: int, length: int) -> BytesLike:
        """See :meth:`formats.filesystems.pieces.Pieces.read`."""
        block, size = self._block(index), self._size(index)
        if block is None:
            whole = self._content.tail(self._inode, size)
        else:
            is_last = index + 1 == len(self.starts)
            first, *rest = self._content.block_content(block, size, is_last=is_last)
            whole = b"".join((first, *rest)) if rest else first
        return memoryview(whole)[skip : skip + length]

    def is_hole(self, index: int) -> bool:
        """See :meth:`formats.filesystems.pieces.Pieces.is_hole`."""
        return index < len(self._stored) and not self._stored[index]

    def will_need(self, indexes: Iterator[int]) -> None:
        """See :meth:`formats.filesystems.pieces.Pieces.will_need`."""
        self._content.will_need(self._inode, map(self._block, indexes))
