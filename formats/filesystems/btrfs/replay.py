"""Replaying the log of a subvolume in memory: what it would have after the kernel's own replay.

The kernel does this when it mounts, in three passes over a log tree, and so does this module. A
folder's names and an inode's references say the same: of both, only names are kept here.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from formats.core.limits import Limits
from formats.filesystems.btrfs.extents import FileExtent, overlaid
from formats.filesystems.btrfs.index import Attributes, InodeIndex, checked_attributes
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

    def __init__(
        self, below: InodeIndex, log: SubvolumeLog, sector_bytes: int, limits: Limits
    ) -> None:
        self._below = below
        self._log = {number: one for number, one in log.items() if one.inode.links}
        """Without inodes that had no name any more."""
        self._sector_bytes = sector_bytes
        self._changed: dict[int, Inode] = {}
        self._attributes: dict[int, Attributes] = {}
        self._folders: dict[int, _Folder] = {}
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
        names = sum(len(folder.names) for folder in self._folders.values())
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
        return self._below.names(number) if known is None else iter(known.names.values())

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
        if inode.mode & _TYPE_MASK == _FOLDER and logged.ranges:
            folder = self._folder(number)
            for named in list(folder.names.values()):
                kept = logged.names.get(named.position)
                if (kept is None or kept.name != named.name) and logged.covers(named.position):
                    folder.remove(named.name)
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
        names = self._folder(folder)
        known = names.names.get(name)
        if known is not None and known[:3] == logged[:3]:
            names.add(logged)
            return
        if self.inode(number) is None:
            return
        referred = self._log.get(number)
        if referred is None or (folder, name) not in referred.refs:
            self._add(folder, logged)

    # Third pass.

    def _replay_refs(self, number: int, logged: LoggedInode) -> None:
        """Give an inode the names that it has in the log, in place of those in the same item."""
        if number == FIRST_FREE:  # its reference is to itself, with the name ".."
            return
        wanted: dict[int, dict[bytes, int]] = {}
        for (folder, name), position in logged.refs.items():
            wanted.setdefault(folder, {})[name] = position
        for folder, positions in wanted.items():
            if self.inode(folder) is None:
                continue
            if folder in logged.ref_folders:
                self._remove_names(folder, number, positions)
            for name, position in positions.items():
                self._add(folder, Named(name, number, INODE_ITEM, position))

    def _remove_names(self, folder: int, number: int, kept: Container[bytes]) -> None:
        """Remove the names of an inode that the log does not have in its item for a folder.

        Names for which there was no room in that are in items of their own. Those are only in the
        log where they changed, and the folder is if one of them was removed.
        """
        names = self._folder(folder)
        gone = [name for name in names.names_of(number) if name not in kept]
        if gone:
            elsewhere = {ref.name for ref in self._below.more_refs(number) if ref.folder == folder}
            for name in gone:
                if name not in elsewhere:
                    names.remove(name)

    def _folder(self, number: int) -> _Folder:
        known = self._folders.get(number)
        if known is None:
            known = self._folders[number] = _Folder(self._below.names(number))
        return known

    def _add(self, folder: int, named: Named) -> None:
        self._folder(folder).add(named)
        self.moved[named.number] = (folder, named.name)
        inode = self.inode(named.number)
        if inode is not None:
            self._changed[named.number] = inode._replace(links=_SEVERAL)


class _Folder:
    """The names of a folder while they change, and which of them lead to an inode."""

    def __init__(self, names: Iterable[Named]) -> None:
        self.names: dict[bytes, Named] = {}
        self._of: dict[int, set[bytes]] = {}
        for named in names:
            self.add(named)

    def add(self, named: Named) -> None:
        """Add a name, in place of what it led to before."""
        self.remove(named.name)
        self.names[named.name] = named
        if named.kind == INODE_ITEM:
            self._of.setdefault(named.number, set()).add(named.name)

    def remove(self, name: bytes) -> None:
        """Remove a name, if it is there."""
        named = self.names.pop(name, None)
        if named is not None and named.kind == INODE_ITEM:
            self._of[named.number].discard(name)

    def names_of(self, number: int) -> list[bytes]:
        """Return the names that lead to an inode, sorted."""
        return sorted(self._of.get(number, ()))
