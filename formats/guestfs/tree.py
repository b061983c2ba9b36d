"""The tree of a filesystem that is mounted in the appliance."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from formats.core.entry import MODE_KINDS, Entry, Kind, check_name, join
from formats.core.errors import ConvertError, CorruptError, InputReadError, LimitError, quoted
from formats.core.finding import Action, Finding
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.core.tree import TreeInfo
from formats.filesystems.walk import naming
from formats.guestfs.content import ReadAhead
from formats.guestfs.guest import Guest, Status, Xattrs
from formats.guestfs.worker import CallError

_BATCH_NAMES = 1000
_FOREIGN_XATTRS = (b"osx.", b"system.ntfs_", b"trusted.SGI_ACL_")
"""What no other Linux filesystem takes: HFS+'s and NTFS's own, and XFS's second names of ACLs."""

_UNKNOWN_REPARSE_POINT = b"unsupported reparse tag "
"""What ntfs-3g gives as the target of a symlink that is none."""


class GuestTree:
    """See :class:`formats.core.tree.Tree`.

    :param point: where it is mounted.
    :param note: told what the user should know, once the whole tree was walked.
    """

    def __init__(
        self,
        guest: Guest,
        point: str,
        info: TreeInfo,
        origin: Origin,
        limits: Limits,
        note: Callable[[Finding], None],
    ) -> None:
        self._guest = guest
        self._point = point.encode()
        self._info = info
        self._origin = origin
        self._limits = limits
        self._note = note
        self._content = ReadAhead(guest)

    @property
    def origin(self) -> Origin:
        """See :attr:`formats.core.tree.Tree.origin`."""
        return self._origin

    @property
    def info(self) -> TreeInfo:
        """See :attr:`formats.core.tree.Tree.info`."""
        return self._info

    def entries(self) -> Iterator[Entry]:
        """See :meth:`formats.core.tree.Tree.entries`.

        :raises LimitError: for too many or too long paths.
        """
        walk = _Walk(self._guest, self._point, self._origin, self._limits)
        unknown_reparse_points = 0
        for entry in walk.entries():
            if entry.target is not None and entry.target.startswith(_UNKNOWN_REPARSE_POINT):
                unknown_reparse_points += 1
            yield entry
        self._note_files(
            unknown_reparse_points,
            "reparse-points-unread",
            "are stored in a way that ntfs-3g does not know (compressed by the system, in a cloud,"
            " deduplicated): they are links to nowhere",
        )
        self._note_files(
            walk.without_xattrs,
            "streams-unread",
            "have a named stream of more than 64 KiB, which Linux cannot read: they are without"
            " their streams, which else are extended attributes",
        )

    def _note_files(self, count: int, rule: str, what: str) -> None:
        if count:
            place = str(self._origin).encode("utf-8", "surrogateescape")
            self._note(Finding(rule, place, Action.REPORTED, f"{count:,} files {what}"))

    def read(self, entry: Entry) -> Iterator[bytes]:
        """See :meth:`formats.core.tree.Tree.read`."""
        if entry.size > self._limits.file_bytes:
            raise LimitError(
                f"{quoted(entry.path)} has {entry.size:,} bytes, holes included, more than the"
                f" {self._limits.file_bytes:,} that a file may have",
                origin=self._origin,
            )
        try:
            yield from self._content.read(self._path(entry), entry.size)
        except ConvertError as error:
            raise naming(entry.path, error) from error

    def will_read(self, entries: Sequence[Entry]) -> None:
        """See :meth:`formats.core.tree.Tree.will_read`."""
        self._content.announce((self._path(entry), entry.size) for entry in entries)

    def _path(self, entry: Entry) -> bytes:
        return self._point + b"/" + entry.path


class _Walk:
    """One pass over all paths, folder by folder: what is remembered is the way to the last one."""

    def __init__(self, guest: Guest, point: bytes, origin: Origin, limits: Limits) -> None:
        self._guest = guest
        self._point = point
        self._origin = origin
        self._limits = limits
        self.without_xattrs = 0
        """How many files have more in an attribute than can be read."""
        self._count = 0
        self._first_names: dict[int, bytes] = {}
        self._device = -1
        """of the root folder; nested Btrfs subvolumes have others."""

    def entries(self) -> Iterator[Entry]:
        try:
            root, _ = next(self._looked_at(b"/", b"", [self._point.lstrip(b"/")]))
        except CallError as error:
            raise self._unreadable(b"", error) from error
        if root.kind is not Kind.FOLDER:
            raise CorruptError("its root is no folder", origin=self._origin)
        yield root
        pending = [self._below(root)]
        while pending:
            found = next(pending[-1], None)
            if found is None:
                pending.pop()
                continue
            entry, is_inside = found
            yield entry
            if entry.kind is Kind.FOLDER and is_inside:
                if len(pending) >= self._limits.depth:
                    raise self._too_much("is nested too deep", entry.path)
                pending.append(self._below(entry))

    def _below(self, folder: Entry) -> Iterator[tuple[Entry, bool]]:
        """Yield what is directly in a folder, and whether it is in the same filesystem."""
        place = self._point + b"/" + folder.path if folder.path else self._point
        try:
            names = sorted(name.name for name in self._guest.readdir(place))
            if len(names) > self._limits.folder_entries:
                raise LimitError(
                    f"has more than {self._limits.folder_entries:,} entries", origin=self._origin
                )
            for name in names:
                check_name(name, self._origin)
            for first, second in pairwise(names):
                if first == second:
                    raise CorruptError(f"has two entries {quoted(first)}", origin=self._origin)
            for start in range(0, len(names), _BATCH_NAMES):
                batch = names[start : start + _BATCH_NAMES]
                yield from self._looked_at(place, folder.path, batch)
        except CallError as error:
            raise self._unreadable(folder.path, error) from error
        except ConvertError as error:
            raise naming(folder.path, error) from error

    def _looked_at(
        self, place: bytes, parent: bytes, names: list[bytes]
    ) -> Iterator[tuple[Entry, bool]]:
        """Yield the entries of names in one folder; ``place`` is where it is in the appliance."""
        statuses = self._guest.status(place, names)
        xattrs = self._guest.xattrs(place, names)
        links = [
            name
            for name, status in zip(names, statuses, strict=True)
            if status is not None and stat.S_ISLNK(status.mode)
        ]
        targets = dict(zip(links, self._guest.links(place, links), strict=True)) if links else {}
        for name, status, attributes in zip(names, statuses, xattrs, strict=True):
            path = join(parent, name) if self._count else b""
            if status is None:
                raise InputReadError(f"{quoted(name)} cannot be looked at", origin=self._origin)
            self._device = status.device if self._device < 0 else self._device
            entry = self._entry(path, status, attributes, targets.get(name))
            yield entry, status.device == self._device

    def _entry(
        self, path: bytes, status: Status, xattrs: Xattrs | None, target: bytes | None
    ) -> Entry:
        self._count += 1
        self.without_xattrs += xattrs is None
        if self._count > self._limits.entries:
            raise self._too_much(f"is one more than {self._limits.entries:,} paths", path)
        if len(path) > self._limits.path_bytes:
            raise self._too_much(f"is longer than {self._limits.path_bytes:,} bytes", path)
        kind = MODE_KINDS.get(stat.S_IFMT(status.mode))
        if kind is None:
            raise CorruptError(f"{quoted(path)} is nothing that Linux knows", origin=self._origin)
        is_device = kind in {Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE}
        size = status.size if kind is Kind.FILE else 0
        if kind is not Kind.FOLDER and status.links > 1 and status.device == self._device:
            first = self._first_names.setdefault(status.inode, path)
            if first is not path:
                kind, target = Kind.HARDLINK, first
        return Entry(
            path,
            kind,
            stat.S_IMODE(status.mode),
            status.uid,
            status.gid,
            status.mtime_ns,
            size,
            target,
            (os.major(status.rdev), os.minor(status.rdev)) if is_device else None,
            tuple(pair for pair in xattrs or () if not pair[0].startswith(_FOREIGN_XATTRS)),
            status.inode,
        )

    def _unreadable(self, path: bytes, error: CallError) -> ConvertError:
        otherwise = InputReadError(
            f"libguestfs cannot read it: {error.reason}", origin=self._origin
        )
        return naming(path, self._guest.explain(error, otherwise))

    def _too_much(self, what: str, path: bytes) -> LimitError:
        return LimitError(f"{quoted(path)} {what}", origin=self._origin)
