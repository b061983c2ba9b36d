"""A subvolume as what can be walked and read, inode by inode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from formats.core.entry import MODE_KINDS, Kind, check_name
from formats.core.errors import ConvertError, CorruptError, LimitError
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource
from formats.filesystems.btrfs.extents import FileExtent
from formats.filesystems.btrfs.filesystem import BtrfsFilesystem
from formats.filesystems.btrfs.index import Attributes, Inodes
from formats.filesystems.btrfs.inode import NO_DATA_SUMS, Inode
from formats.filesystems.btrfs.items import FIRST_FREE, INODE_ITEM, ROOT_ITEM
from formats.filesystems.btrfs.roots import Link
from formats.filesystems.walk import Names, Node

_TYPE_MASK, _FOLDER = 0xF000, 0x4000
_PERMISSIONS = 0o7777
_DEVICES = frozenset({Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE})
_NUMBER_BITS = 64
_EMPTY_MODE = 0o755


class SubvolumeNodes:
    """See :class:`formats.filesystems.content_tree.ContentFilesystem`.

    Folders that are roots of other subvolumes have negative numbers: see :meth:`_nested`.
    """

    root = FIRST_FREE

    def __init__(self, filesystem: BtrfsFilesystem, number: int, origin: Origin) -> None:
        self._filesystem = filesystem
        self._number = number
        self.origin = origin

    @property
    def limits(self) -> Limits:
        """Limits to hold to."""
        return self._filesystem.limits

    @property
    def size_bytes(self) -> int:
        """Size of the filesystem."""
        return self._filesystem.superblock.total_bytes

    @property
    def _inodes(self) -> Inodes:
        return self._filesystem.inodes(self._number)

    def _inode(self, number: int) -> Inode:
        inode = self._inodes.inode(number)
        if inode is None:
            raise self.damaged("is not there, and has a name", number)
        return inode

    def node(self, number: int) -> Node:
        """See :meth:`formats.filesystems.walk.Walkable.node`."""
        if number < 0:
            return self._root_of_other(number)
        inode = self._inode(number)
        kind = MODE_KINDS.get(inode.mode & _TYPE_MASK)
        if kind is None:
            raise self.damaged(f"has mode {inode.mode:#o}", number)
        return _node(
            kind,
            inode,
            self._inodes.attributes(number),
            self._target(number, inode) if kind is Kind.SYMLINK else None,
        )

    def _target(self, number: int, inode: Inode) -> bytes:
        size = inode.size
        if size > self.limits.symlink_target_bytes:
            raise LimitError(
                f"is a symlink of {size:,} bytes, more than {self.limits.symlink_target_bytes:,}",
                origin=self.origin,
            )
        target = b"".join(self._content(number, inode))
        if not target or b"\0" in target:
            raise self.damaged("is a symlink to nowhere", number)
        return target

    def names(self, number: int) -> Names:
        """See :meth:`formats.filesystems.walk.Walkable.names`."""
        if number < 0:
            return []
        found: Names = []
        append, origin, most = found.append, self.origin, self.limits.folder_entries
        try:
            for name, target, kind, _ in self._inodes.names(number):
                check_name(name, origin)
                if kind == INODE_ITEM:
                    append((name, target))
                elif kind == ROOT_ITEM:
                    append((name, self._nested(number, target, name)))
                else:
                    raise self.damaged(f"has a name that leads to an item of kind {kind}", number)
                if len(found) > most:
                    raise LimitError(f"has more than {most:,} names", origin=origin)
        except ConvertError as error:
            error.at(origin)
            raise
        return found

    def _nested(self, folder: int, subvolume: int, name: bytes) -> int:
        """Return the number of the folder that stands for another subvolume.

        That is the negative number of the subvolume. In a snapshot, a name leads to a subvolume
        that is in its origin: the kernel shows an empty folder, which here has a number made of
        both that and the folder it is in.
        """
        if self._filesystem.roots.links.get(subvolume) == Link(self._number, folder, name):
            return -subvolume
        return -(folder << _NUMBER_BITS | subvolume)

    def _root_of_other(self, number: int) -> Node:
        """Return the root folder of another subvolume, as ``lstat(2)`` shows it."""
        folder = -number >> _NUMBER_BITS
        if folder:
            inode = self._inode(folder)
            return _node(Kind.FOLDER, inode._replace(mode=_EMPTY_MODE), (), None)
        root, attributes = self._filesystem.root_folder(-number)
        if root.mode & _TYPE_MASK != _FOLDER:
            raise CorruptError(
                f"the root of subvolume {-number:,} is no folder", origin=self.origin
            )
        return _node(Kind.FOLDER, root, attributes, None)

    def folder_bytes(self, number: int) -> int:
        """Return 0: each name is an item of its own, and there are no two of one key."""
        del number
        return 0

    def content(self, number: int) -> Iterator[BytesLike]:
        """See :meth:`formats.filesystems.content_tree.ContentFilesystem.content`."""
        return self._content(number, self._inode(number))

    def _content(self, number: int, inode: Inode) -> Iterator[BytesLike]:
        has_sums = not inode.flags & NO_DATA_SUMS
        content = self._filesystem.content
        try:
            extents = self._inodes.extents(number, has_sums=has_sums)
            yield from content.read(extents, inode.size, has_sums=has_sums)
        except ConvertError as error:
            error.at(self.origin)
            raise

    def open(self, number: int, origin: Origin) -> ByteSource:
        """See :meth:`formats.filesystems.content_tree.ContentFilesystem.open`."""
        inode = self._inode(number)
        has_sums = not inode.flags & NO_DATA_SUMS
        extents = self._inodes.extents(number, has_sums=has_sums)
        try:
            return self._filesystem.content.open(extents, inode.size, origin, has_sums=has_sums)
        except ConvertError as error:
            error.at(self.origin)
            raise

    def will_read(self, numbers: Sequence[int]) -> None:
        """See :meth:`formats.filesystems.content_tree.ContentFilesystem.will_read`."""
        self._filesystem.content.will_read(self._hinted, numbers)

    def _hinted(self, number: int) -> Iterable[FileExtent]:
        inode = self._inode(number)
        return self._inodes.extents(number, has_sums=not inode.flags & NO_DATA_SUMS)

    def damaged(self, what: str, number: int) -> CorruptError:
        """See :meth:`formats.filesystems.walk.Walkable.damaged`."""
        return CorruptError(
            f"inode {number:,} {what}", origin=self.origin, hint="run 'btrfs check' on a copy"
        )


def _node(kind: Kind, inode: Inode, attributes: Attributes, target: bytes | None) -> Node:
    return Node(
        kind,
        inode.mode & _PERMISSIONS,
        inode.uid,
        inode.gid,
        inode.mtime_ns,
        inode.size if kind is Kind.FILE else 0,
        inode.links,
        target,
        inode.device if kind in _DEVICES else None,
        attributes,
    )
