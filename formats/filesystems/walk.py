"""Walking a filesystem: from folders and inodes to entries, in the order that trees promise.

What is the same for every filesystem with inodes is here: the order of paths, hard links, the
limits on untrusted input, and that a folder has one name and comes once.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple, Protocol

from formats.core.entry import Entry, Kind, join
from formats.core.errors import ConvertError, CorruptError, LimitError, quoted
from formats.core.limits import Limits
from formats.core.origin import Origin

Names = list[tuple[bytes, int]]
"""Name and inode number of what is in a folder."""


class Node(NamedTuple):
    """What an inode says of itself; see :class:`~formats.core.entry.Entry` for the units.

    A named tuple, as one is made for each path.

    :ivar size: bytes of content of a file; 0 for all else.
    :ivar links: how many names it has; with more than one, the later ones are hard links.
    """

    kind: Kind
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    links: int
    target: bytes | None = None
    device: tuple[int, int] | None = None
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


class Walkable(Protocol):
    """A filesystem that knows inodes, by number, and not paths."""

    @property
    def origin(self) -> Origin:
        """Breadcrumb for messages."""
        ...

    @property
    def limits(self) -> Limits:
        """Limits to hold to."""
        ...

    @property
    def root(self) -> int:
        """Number of the root folder's inode."""
        ...

    @property
    def size_bytes(self) -> int:
        """Size of the filesystem."""
        ...

    def node(self, number: int) -> Node:
        """Return what an inode says of itself.

        :raises CorruptError: also if the inode cannot have a name.
        """
        ...

    def names(self, number: int) -> Names:
        """Return what is in a folder, in any order, without ``.`` and ``..``.

        :raises CorruptError: also for a name that no system allows.
        :raises LimitError: for more than ``limits.folder_entries`` names.
        """
        ...

    def folder_bytes(self, number: int) -> int:
        """Return what a folder takes on the volume; 0 where another rule bounds all folders.

        Folders that claim the same blocks would be read again and again: together they must not
        take more than the filesystem has.
        """
        ...

    def damaged(self, what: str, number: int) -> CorruptError:
        """Return the error that says what is wrong with an inode."""
        ...


def walk(filesystem: Walkable) -> Iterator[Entry]:
    """Yield every path; see :meth:`formats.core.tree.Tree.entries`.

    :raises CorruptError: where an inode or folder is damaged; the message begins with the path.
    :raises LimitError: for too many or too long paths.
    """
    return _Walk(filesystem).entries()


class _Walk:
    """One pass over all paths, and what it has to remember."""

    def __init__(self, filesystem: Walkable) -> None:
        self._filesystem = filesystem
        self._limits = filesystem.limits
        self._count = 0
        self._folders: set[int] = set()
        self._folder_bytes = 0
        self._first_names: dict[int, bytes] = {}

    def entries(self) -> Iterator[Entry]:
        root = self._entry(b"", self._filesystem.root)
        if root.kind is not Kind.FOLDER:
            raise CorruptError("its root is no folder", origin=self._filesystem.origin)
        yield root
        pending = [self._below(root)]
        while pending:
            entry = next(pending[-1], None)
            if entry is None:
                pending.pop()
                continue
            yield entry
            if entry.kind is Kind.FOLDER:
                if len(pending) >= self._limits.depth:
                    raise self._too_much("is nested too deep", entry.path)
                pending.append(self._below(entry))

    def _below(self, folder: Entry) -> Iterator[Entry]:
        """Yield what is directly in a folder."""
        for name, number in self._sorted_names(folder):
            yield self._entry(join(folder.path, name), number)

    def _sorted_names(self, folder: Entry) -> Names:
        filesystem, number = self._filesystem, folder.node
        try:
            self._folder_bytes += filesystem.folder_bytes(number)
            if self._folder_bytes > filesystem.size_bytes:
                raise filesystem.damaged("shares its blocks with another folder", number)
            names = filesystem.names(number)
            names.sort()
            for (first, _), (second, _) in pairwise(names):
                if first == second:
                    raise filesystem.damaged(f"has two entries {quoted(first)}", number)
        except ConvertError as error:
            raise naming(folder.path, error) from error
        return names

    def _entry(self, path: bytes, number: int) -> Entry:
        limits = self._limits
        self._count += 1
        if self._count > limits.entries:
            raise self._too_much(f"is one more than {limits.entries:,} paths", path)
        if len(path) > limits.path_bytes:
            raise self._too_much(f"is a path of more than {limits.path_bytes:,} bytes", path)
        try:
            node = self._filesystem.node(number)
            kind, mode, uid, gid, mtime_ns, size, links, target, device, xattrs = node
            if kind is Kind.FOLDER:
                if number in self._folders:
                    raise self._filesystem.damaged("is a folder with two names", number)
                self._folders.add(number)
            elif links > 1:
                first = self._first_names.setdefault(number, path)
                if first is not path:
                    kind, target = Kind.HARDLINK, first
        except ConvertError as error:
            raise naming(path, error) from error
        return Entry(path, kind, mode, uid, gid, mtime_ns, size, target, device, xattrs, number)

    def _too_much(self, what: str, path: bytes) -> LimitError:
        return LimitError(f"{quoted(path)} {what}", origin=self._filesystem.origin)


def naming(path: bytes, error: ConvertError) -> ConvertError:
    """Return the same error with the path that it is about in front."""
    message = f"{quoted(path or b'/')}: {error.message}"
    return type(error)(message, origin=error.origin, offset=error.offset, hint=error.hint)


def check_size(entry: Entry, limits: Limits, origin: Origin) -> None:
    """Refuse a file that is larger than a file may be.

    :raises LimitError: if it is.
    """
    if entry.size > limits.file_bytes:
        raise LimitError(
            f"{quoted(entry.path)} has {entry.size:,} bytes, holes included, more than the"
            f" {limits.file_bytes:,} that a file may have",
            origin=origin,
        )
