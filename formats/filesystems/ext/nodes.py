"""An ext filesystem as what can be walked and read, inode by inode."""

from __future__ import annotations

from collections.abc import Iterator

from formats.core.entry import MODE_KINDS, Kind
from formats.core.errors import CorruptError, EncryptedError
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource
from formats.filesystems.ext.attributes import AttributeReader
from formats.filesystems.ext.filesystem import ExtFilesystem
from formats.filesystems.ext.inode import COMPRESSED, EA_INODE, ENCRYPTED, TYPE_MASK, Inode
from formats.filesystems.ext.superblock import ROOT_INODE
from formats.filesystems.runs import Run
from formats.filesystems.walk import Names, Node

_DEVICES = frozenset({Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE})
_ENCRYPTED_HINT = "decrypt or remove it on the running machine, then take the image again"


class ExtNodes:
    """See :class:`formats.filesystems.run_tree.RunFilesystem`."""

    root = ROOT_INODE

    def __init__(self, filesystem: ExtFilesystem) -> None:
        self._filesystem = filesystem
        self._inodes = filesystem.inodes
        self._attributes = AttributeReader(filesystem)
        self._first_inode = filesystem.superblock.first_inode

    @property
    def source(self) -> ByteSource:
        """The volume."""
        return self._filesystem.source

    @property
    def origin(self) -> Origin:
        """Breadcrumb for messages."""
        return self._filesystem.source.origin

    @property
    def limits(self) -> Limits:
        """Limits to hold to."""
        return self._filesystem.limits

    @property
    def size_bytes(self) -> int:
        """Size of the filesystem."""
        return self._filesystem.superblock.size_bytes

    @property
    def block_bytes(self) -> int:
        """Size of blocks."""
        return self._filesystem.superblock.block_bytes

    def node(self, number: int) -> Node:
        """See :meth:`formats.filesystems.walk.Walkable.node`.

        :raises EncryptedError: if it is encrypted.
        """
        filesystem = self._filesystem
        inode = self._inodes.in_use(number)
        kind = MODE_KINDS.get(inode.mode & TYPE_MASK)
        is_reserved = number < self._first_inode and number != ROOT_INODE
        if kind is None or inode.flags & EA_INODE or is_reserved:
            raise filesystem.damaged("is not one that can have a name", inode)
        self._refuse_unreadable(inode)
        return Node(
            kind,
            inode.mode & 0o7777,
            inode.uid_low | inode.uid_high << 16,
            inode.gid_low | inode.gid_high << 16,
            inode.mtime_ns,
            inode.file_bytes if kind is Kind.FILE else 0,
            inode.links,
            filesystem.symlink_target(inode) if kind is Kind.SYMLINK else None,
            inode.device if kind in _DEVICES else None,
            self._attributes.of(inode),
        )

    def _refuse_unreadable(self, inode: Inode) -> None:
        if inode.flags & ENCRYPTED:
            raise EncryptedError("is encrypted", origin=self.origin, hint=_ENCRYPTED_HINT)
        if inode.flags & COMPRESSED:
            raise self._filesystem.damaged("is compressed, which this filesystem cannot be", inode)

    def names(self, number: int) -> Names:
        """See :meth:`formats.filesystems.walk.Walkable.names`."""
        return self._filesystem.names(self._inodes.in_use(number))

    def folder_bytes(self, number: int) -> int:
        """See :meth:`formats.filesystems.walk.Walkable.folder_bytes`."""
        return self._filesystem.folder_bytes(self._inodes.in_use(number))

    def runs(self, number: int, size: int) -> list[Run]:
        """See :meth:`formats.filesystems.run_tree.RunFilesystem.runs`."""
        return self._filesystem.runs(self._inodes.in_use(number), size)

    def content(self, number: int, size: int) -> Iterator[BytesLike]:
        """See :meth:`formats.filesystems.run_tree.RunFilesystem.content`."""
        return self._filesystem.content(self._inodes.in_use(number), size)

    def damaged(self, what: str, number: int) -> CorruptError:
        """See :meth:`formats.filesystems.walk.Walkable.damaged`."""
        return self._filesystem.damaged(what, self._inodes.get(number))
