"""Replaying the log of a subvolume in memory: what it would have after the kernel's own replay.

The kernel does this when it mounts, in three passes over a log tree, and so does this module. A
folder's names and an inode's references say the same: of both, only names are kept here.
"""

from __future__ import annotations

from collections.abc import Iterator

from formats.core.limits import Limits
from formats.filesystems.btrfs.extents import FileExtent, overlaid
from formats.filesystems.btrfs.index import Attributes, Inodes, checked_attributes
from formats.filesystems.btrfs.inode import Inode, Named
from formats.filesystems.btrfs.items import FIRST_FREE, INODE_ITEM
from formats.filesystems.btrfs.log import LoggedInode, SubvolumeLog

_TYPE_MASK, _FOLDER, _FILE = 0xF000, 0x4000, 0x8000
_SEVERAL = 2
_BYTES_A_NAME = 200


class ReplayedInodes:
    """The inodes of a subvolume after its log was replayed; see :class:`Inodes`.

    :param below: what the last commit has.
    :raises CorruptError: if a folder that it changes is damaged, or an attribute in it.
    """

    def __init__(self, below: Inodes, log: SubvolumeLog, sector_bytes: int, limits: Limits) -> None:
        self._below = below
        self._log = {number: one for number, one in log.items() if one.inode.links}
        """Without inodes that had no name any more."""
        self._sector_bytes = sector_bytes
        self._changed: dict[int, Inode] = {}
        self._attributes: dict[int, Attributes] = {}
        self._folders: dict[int, dict[bytes, Named]] = {}
        self.moved: dict[int, tuple[int, bytes]] = {}
        """Folder and name of each inode that was given a name."""
        for number, logged in self._log.items():
            self._replay_inode(number, logged, limits)
        for number, logged in self._log.items():
            for named in logged.names.values():
                self._replay_name(number, named)
        for number, logged in self._log.items():
            self._replay_refs(number, logged)

    @property
    def bytes_kept(self) -> int:
        """See :attr:`Inodes.bytes_kept`."""
        names = sum(len(folder) for folder in self._folders.values())
        return self._below.bytes_kept + _BYTES_A_NAME * (names + len(self._log))

    def inode(self, number: int) -> Inode | None:
        """See :meth:`Inodes.inode`."""
        return self._changed.get(number) or self._below.inode(number)

    def attributes(self, number: int) -> Attributes:
        """See :meth:`Inodes.attributes`."""
        known = self._attributes.get(number)
        return self._below.attributes(number) if known is None else known

    def names(self, number: int) -> Iterator[Named]:
        """See :meth:`Inodes.names`."""
        known = self._folders.get(number)
        return self._below.names(number) if known is None else iter(known.values())

    def extents(self, number: int, *, has_sums: bool) -> Iterator[FileExtent]:
        """See :meth:`Inodes.extents`."""
        below = self._below.extents(number, has_sums=has_sums)
        logged = self._log.get(number)
        if logged is None:
            return below
        size = self._changed[number].size
        end = size + -size % self._sector_bytes
        return overlaid(below, end, logged.extents, self._sector_bytes)

    # First pass.

    def _replay_inode(self, number: int, logged: LoggedInode, limits: Limits) -> None:
        """Take an inode and its attributes over, and remove a folder's names that are gone."""
        self._attributes[number] = checked_attributes(logged.attributes, number, limits)
        inode = logged.inode
        if inode.mode & _TYPE_MASK == _FOLDER:
            for named in list(self._names(number).values()):
                if any(first <= named.position <= last for first, last in logged.ranges):
                    kept = logged.names.get(named.position)
                    if kept is None or kept.name != named.name:
                        del self._names(number)[named.name]
        known = self._below.inode(number)
        if known is not None and logged.only_exists:
            size = known.size
            if inode.mode & _TYPE_MASK == known.mode & _TYPE_MASK == _FILE:
                size = inode.size or size
            inode = known._replace(size=size)
        # How many names it has in the end does not matter; that it may have several does.
        self._changed[number] = inode._replace(links=_SEVERAL)

    # Second pass.

    def _replay_name(self, folder: int, logged: Named) -> None:
        """Add a name of a folder, unless the inode's reference will add it."""
        name, number, kind, _ = logged
        if kind != INODE_ITEM:  # subvolumes are not made, moved or deleted without a commit
            return
        names = self._names(folder)
        known = names.get(name)
        if known is not None and known[:3] == logged[:3]:
            names[name] = logged
            return
        if self.inode(number) is None:
            return
        names.pop(name, None)
        referred = self._log.get(number)
        if referred is None or not any(
            ref.folder == folder and ref.name == name for ref in referred.refs
        ):
            self._add(folder, logged)

    # Third pass.

    def _replay_refs(self, number: int, logged: LoggedInode) -> None:
        """Give an inode the names that it has in the log, and no others in the same folders."""
        if number == FIRST_FREE:  # its reference is to itself, with the name ".."
            return
        for folder in dict.fromkeys(ref.folder for ref in logged.refs):
            if self.inode(folder) is None:
                continue
            names = self._names(folder)
            wanted = {ref.name: ref.position for ref in logged.refs if ref.folder == folder}
            for named in list(names.values()):
                if named.number == number and named.kind == INODE_ITEM and named.name not in wanted:
                    del names[named.name]
            for name, position in wanted.items():
                self._add(folder, Named(name, number, INODE_ITEM, position))

    def _names(self, folder: int) -> dict[bytes, Named]:
        known = self._folders.get(folder)
        if known is None:
            known = self._folders[folder] = {
                named.name: named for named in self._below.names(folder)
            }
        return known

    def _add(self, folder: int, named: Named) -> None:
        self._names(folder)[named.name] = named
        self.moved[named.number] = (folder, named.name)
        inode = self.inode(named.number)
        if inode is not None:
            self._changed[named.number] = inode._replace(links=_SEVERAL)
