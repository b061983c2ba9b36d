"""One squashfs image: inodes, their content and names.

The level between on-disk structures and the tree: it knows inodes, by their references, and not
paths; see :class:`formats.filesystems.content_tree.ContentFilesystem`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from formats.core.entry import Kind
from formats.core.errors import CorruptError
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource
from formats.filesystems.pieces import PieceSource
from formats.filesystems.squashfs.content import ContentReader
from formats.filesystems.squashfs.directory import read_names
from formats.filesystems.squashfs.inode import NONE, InodeTable
from formats.filesystems.squashfs.metadata import Metadata
from formats.filesystems.squashfs.pieces import FileBlocks
from formats.filesystems.squashfs.superblock import Superblock
from formats.filesystems.squashfs.xattrs import XattrTable
from formats.filesystems.walk import Names, Node

_ID = struct.Struct("<I")
_SECOND_NS = 10**9


class SquashFilesystem:
    """An image; to be closed.

    :raises CorruptError: if the tables of owners or attributes are damaged.
    """

    def __init__(self, source: ByteSource, superblock: Superblock, limits: Limits) -> None:
        metadata = Metadata(source, superblock.compression.decompress, superblock.size_bytes)
        self.origin: Origin = source.origin
        self.limits = limits
        self.root = superblock.root
        self.size_bytes = superblock.size_bytes
        self._superblock = superblock
        self._metadata = metadata
        self._inodes = InodeTable(metadata, superblock, limits)
        self._content = ContentReader(metadata, self._inodes, superblock, limits)
        self._ids = [
            _ID.unpack(metadata.lookup(superblock.id_table, index, _ID.size))[0]
            for index in range(superblock.id_count)
        ]
        self._xattrs = (
            XattrTable(metadata, superblock.xattr_table, limits)
            if superblock.xattr_table is not None
            else None
        )

    def close(self) -> None:
        """End the threads that decode ahead."""
        self._content.close()

    def node(self, number: int) -> Node:
        """See :meth:`formats.filesystems.walk.Walkable.node`."""
        inode = self._inodes.read(number)
        try:
            uid, gid = self._ids[inode.owner], self._ids[inode.group]
        except IndexError:
            raise self.damaged("belongs to nobody that is in the id table", number) from None
        # like the kernel, which does without attributes where there is no table of them
        has_xattrs = inode.xattrs != NONE and self._xattrs is not None
        return Node(
            inode.kind,
            inode.mode,
            uid,
            gid,
            inode.mtime * _SECOND_NS,
            inode.size if inode.kind is Kind.FILE else 0,
            inode.links,
            inode.target,
            inode.device,
            self._xattrs.get(inode.xattrs) if has_xattrs and self._xattrs else (),
        )

    def names(self, number: int) -> Names:
        """See :meth:`formats.filesystems.walk.Walkable.names`."""
        inode = self._inodes.read(number)
        return read_names(self._metadata, self._superblock.directory_table, inode, self.limits)

    def folder_bytes(self, number: int) -> int:
        """Return 0: every name in a listing counts as a path, and of those there is a limit."""
        del number
        return 0

    def damaged(self, what: str, number: int) -> CorruptError:
        """See :meth:`formats.filesystems.walk.Walkable.damaged`."""
        return self._inodes.damaged(what, number)

    def content(self, number: int) -> Iterator[BytesLike]:
        """See :meth:`formats.filesystems.content_tree.ContentFilesystem.content`."""
        return self._content.read(self._inodes.read(number))

    def open(self, number: int, origin: Origin) -> ByteSource:
        """See :meth:`formats.filesystems.content_tree.ContentFilesystem.open`."""
        inode = self._inodes.read(number)
        blocks = FileBlocks(self._content, inode, self._superblock.block_bytes)
        return PieceSource(blocks, inode.size, origin)

    def will_read(self, numbers: Sequence[int]) -> None:
        """See :meth:`formats.filesystems.content_tree.ContentFilesystem.will_read`."""
        self._content.will_read(numbers)
