"""One EROFS image: inodes, their content and names.

The level between on-disk structures and the tree: it knows inodes and not paths; see
:class:`formats.filesystems.content_tree.ContentFilesystem`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from formats.core.entry import Kind
from formats.core.errors import ConvertError, CorruptError, LimitError
from formats.core.limits import KIB, Limits
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource
from formats.filesystems.erofs.content import ContentReader
from formats.filesystems.erofs.directory import add_names
from formats.filesystems.erofs.inode import Inode, InodeTable
from formats.filesystems.erofs.superblock import Superblock
from formats.filesystems.erofs.xattrs import XattrReader, long_prefixes
from formats.filesystems.walk import Names, Node

_DEVICES = frozenset({Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE})
_LONGEST_PREFIX_BYTES = KIB


class ErofsFilesystem:
    """An image.

    :raises CorruptError: if the prefixes of attribute names are damaged.
    """

    def __init__(self, source: ByteSource, superblock: Superblock, limits: Limits) -> None:
        self.origin: Origin = source.origin
        self.limits = limits
        self.root = superblock.root
        self.size_bytes = superblock.blocks << superblock.block_log
        self._source = source
        self._superblock = superblock
        self._inodes = InodeTable(source, superblock)
        self._content = ContentReader(source, superblock, self._inodes)
        self._xattrs = XattrReader(source, superblock, limits, self._long_prefixes())

    def _long_prefixes(self) -> list[bytes]:
        superblock = self._superblock
        place, count = superblock.prefixes_at, superblock.prefixes
        most = count * _LONGEST_PREFIX_BYTES
        if not count:
            return []
        if superblock.packed:
            size = self._inodes.read(superblock.packed).size
            data = b"".join(self._content.packed(place, max(0, min(most, size - place))))
        else:
            data = bytes(self._source.read_at(place, most))
        try:
            return list(long_prefixes(data, count))
        except CorruptError as error:
            raise error.at(self.origin) from None

    def node(self, number: int) -> Node:
        """See :meth:`formats.filesystems.walk.Walkable.node`."""
        inode = self._inodes.read(number)
        kind = inode.kind
        return Node(
            kind,
            inode.mode,
            inode.uid,
            inode.gid,
            inode.mtime_ns,
            inode.size if kind is Kind.FILE else 0,
            inode.links,
            self._target(inode) if kind is Kind.SYMLINK else None,
            inode.device if kind in _DEVICES else None,
            self._xattrs.of(inode),
        )

    def _target(self, inode: Inode) -> bytes:
        if inode.size > self.limits.symlink_target_bytes:
            raise LimitError(
                f"is a symlink of {inode.size:,} bytes, more than"
                f" {self.limits.symlink_target_bytes:,}",
                origin=self.origin,
            )
        target = b"".join(self._content.read(inode))
        if not target or b"\0" in target:
            raise self.damaged("is a symlink to nowhere", inode.number)
        return target

    def names(self, number: int) -> Names:
        """See :meth:`formats.filesystems.walk.Walkable.names`."""
        inode = self._inodes.read(number)
        block_bytes = self._superblock.block_bytes
        names: Names = []
        rest = b""
        for chunk in self._content.read(inode):
            data = rest + bytes(chunk)
            whole = len(data) // block_bytes * block_bytes
            for start in range(0, whole, block_bytes):
                add_names(data[start : start + block_bytes], names, self.origin, self.limits)
            rest = data[whole:]
        if rest:
            add_names(rest, names, self.origin, self.limits)
        return names

    def folder_bytes(self, number: int) -> int:
        """Return 0: every name in a folder counts as a path, and of those there is a limit."""
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
        return self._content.open(self._inodes.read(number), origin)

    def will_read(self, numbers: Sequence[int]) -> None:
        """See :meth:`formats.filesystems.content_tree.ContentFilesystem.will_read`."""
        try:
            inodes = [self._inodes.read(number) for number in numbers]
        except ConvertError:  # a hint never fails: reading says what is wrong
            return
        self._source.will_need(list(self._content.ranges(inodes)))
