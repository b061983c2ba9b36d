"""A folder of this machine as a tree: ``dir:PATH``.

It is walked once, when it is opened, and by handles of folders (``openat(2)`` and kin): no symlink
in it is ever followed, whoever puts one there meanwhile. Hard links are found by device and inode
number. Filesystems that are mounted inside are read with it, but the kernel's own (``/proc``,
``/sys``, …) are not: their folders stay empty, with a finding.

Holes are read as holes. Times of access and change are no part of a tree.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from convert.images.mounts import kernels_own
from convert.oci.layout import LAYOUT_FILE
from formats.archives.tally import Tally
from formats.core.entry import MODE_KINDS, Entry, Kind, join
from formats.core.errors import AmbiguousError, InputReadError, LimitError, quoted
from formats.core.finding import Action, Finding
from formats.core.limits import DEFAULT_LIMITS, MIB, Limits
from formats.core.origin import Origin
from formats.core.source import BytesLike, FileSource, zeros
from formats.core.tree import TreeInfo

_BLOCK_BYTES: Final = MIB
_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PROC_NAME: Final = b"/proc/self/fd/%d/%b"
"""For the calls that take no handle of a folder (xattrs)."""
_DEVICES: Final = frozenset({Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE})


def open_folder(folder: Path, limits: Limits, *, is_stated: bool) -> FolderTree:
    """Return what is below a folder.

    :param is_stated: whether the user said that its files are meant, and not what they may be.
    :raises AmbiguousError: if that was not said, and they are an image.
    :raises InputReadError: if it is no folder, or something in it cannot be read.
    :raises LimitError: if it holds more than ``limits`` allow.
    """
    if not is_stated and os.path.lexists(folder / LAYOUT_FILE):
        raise AmbiguousError(
            "is a folder with an image layout in it",
            origin=Origin((str(folder),)),
            hint=f"oci:{folder} is the image, dir:{folder} the files that it is made of",
        )
    return FolderTree(folder, limits)


class FolderTree:
    """What is below a folder; see :class:`formats.core.tree.OpenableTree`. Close it at the end.

    :ivar findings: what is left out.
    :raises InputReadError: if it is no folder, or something in it cannot be read.
    :raises LimitError: if it holds more than ``limits`` allow.
    """

    def __init__(self, folder: Path, limits: Limits = DEFAULT_LIMITS) -> None:
        self.origin = Origin((str(folder),))
        self.info = TreeInfo("folder")
        self._resources = ExitStack()
        try:
            # whoever names a symlink to a folder means the folder
            self._root = os.open(folder, _FOLDER_FLAGS & ~os.O_NOFOLLOW)
        except OSError as error:
            raise _failed(self.origin, b"", error) from error
        self._resources.callback(os.close, self._root)
        walk = _Walk(self.origin, limits)
        try:
            self._entries = walk.entries(self._root)
        except BaseException:
            self.close()
            raise
        self.findings: tuple[Finding, ...] = walk.findings()

    def close(self) -> None:
        """Close the folder and the files that were opened."""
        self._resources.close()

    def entries(self) -> Iterator[Entry]:
        """See :class:`~formats.core.tree.Tree`."""
        return iter(self._entries)

    def read(self, entry: Entry) -> Iterator[BytesLike]:
        """See :class:`~formats.core.tree.Tree`."""
        source = self._source(entry)
        try:
            for extent in source.extents():
                end = extent.offset + extent.length
                for offset in range(extent.offset, end, _BLOCK_BYTES):
                    length = min(_BLOCK_BYTES, end - offset)
                    yield zeros(length) if extent.is_hole else source.read_at(offset, length)
        finally:
            source.close()

    def open(self, entry: Entry) -> FileSource:
        """See :class:`~formats.core.tree.OpenableTree`; it is open until the tree is closed."""
        source = self._source(entry)
        self._resources.callback(source.close)
        return source

    def will_read(self, entries: Sequence[Entry]) -> None:
        """Do nothing: the kernel reads ahead by itself, and opening files costs more."""

    def _source(self, entry: Entry) -> FileSource:
        origin = self.origin.child(entry.path.decode("utf-8", "surrogateescape"))
        with self._entered(entry.parent) as folder:
            name = Path(os.fsdecode(entry.name))
            return FileSource(name, origin, follow=False, folder=folder)

    @contextmanager
    def _entered(self, path: bytes) -> Iterator[int]:
        """Give the handle of a folder, one name after the other."""
        handle = self._root
        with ExitStack() as stack:
            for name in path.split(b"/") if path else ():
                try:
                    handle = os.open(name, _FOLDER_FLAGS, dir_fd=handle)
                except OSError as error:
                    raise _failed(self.origin, path, error) from error
                stack.callback(os.close, handle)
            yield handle


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder on the way to the present path.

    :ivar names: what is left to be looked at in it, last first.
    """

    path: bytes
    handle: int
    device: int
    names: list[bytes]


class _Walk:
    """Goes through a folder once."""

    def __init__(self, origin: Origin, limits: Limits) -> None:
        self._origin = origin
        self._limits = limits
        self._way: list[_Folder] = []
        self._entries: list[Entry] = []
        self._first_names: dict[tuple[int, int], tuple[bytes, int]] = {}
        """Path and node of files with several names."""
        self._kernels_own = kernels_own()
        self._left_empty = Tally(
            "kernel-filesystem", Action.EMPTIED, "what is mounted there is the kernel's own"
        )

    def findings(self) -> tuple[Finding, ...]:
        found = self._left_empty.finding()
        return (found,) if found is not None else ()

    def entries(self, root: int) -> list[Entry]:
        """Return every path below a folder, in the order of a tree."""
        try:
            self._take(b"", os.dup(root), os.fstat(root))
            while self._way:
                folder = self._way[-1]
                if folder.names:
                    self._look(folder, folder.names.pop())
                else:
                    os.close(self._way.pop().handle)
        except OSError as error:  # of the root; what lies below is named where it is looked at
            raise _failed(self._origin, b"", error) from error
        finally:
            for folder in self._way:
                os.close(folder.handle)
        return self._entries

    def _look(self, folder: _Folder, name: bytes) -> None:
        path = join(folder.path, name)
        if len(path) > self._limits.path_bytes or len(self._way) > self._limits.depth:
            raise self._too_much(f"{quoted(path[:100])} is too long or too deep a path")
        try:
            status = os.stat(name, dir_fd=folder.handle, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                handle = os.open(name, _FOLDER_FLAGS, dir_fd=folder.handle)
                self._take(path, handle, os.fstat(handle))
            else:
                self._add(self._described(folder, name, path, status))
        except OSError as error:
            raise _failed(self._origin, path, error) from error

    def _take(self, path: bytes, handle: int, status: os.stat_result) -> None:
        """Add a folder and go into it."""
        self._way.append(_Folder(path, handle, status.st_dev, []))
        xattrs = self._xattrs(b"/proc/self/fd/%d" % handle, follow=True)
        self._add(_entry(path, Kind.FOLDER, status, len(self._entries), xattrs))
        if status.st_dev in self._kernels_own and len(self._way) > 1:
            self._left_empty.add(path)
            return
        names = os.listdir(handle)
        if len(names) > self._limits.folder_entries:
            raise self._too_much(
                f"{quoted(path)} has more than {self._limits.folder_entries:,} entries"
            )
        self._way[-1].names.extend(sorted(map(os.fsencode, names), reverse=True))

    def _add(self, entry: Entry) -> None:
        self._entries.append(entry)
        if len(self._entries) > self._limits.entries:
            raise self._too_much(f"has more than {self._limits.entries:,} entries")

    def _described(
        self, folder: _Folder, name: bytes, path: bytes, status: os.stat_result
    ) -> Entry:
        kind = MODE_KINDS[stat.S_IFMT(status.st_mode)]
        node = len(self._entries)
        first = path
        if status.st_nlink > 1:
            key = (status.st_dev, status.st_ino)
            first, node = self._first_names.setdefault(key, (path, node))
        xattrs = self._xattrs(_PROC_NAME % (folder.handle, name), follow=False)
        if first != path:
            return _entry(path, Kind.HARDLINK, status, node, xattrs, target=first)
        target = os.readlink(name, dir_fd=folder.handle) if kind is Kind.SYMLINK else None
        return _entry(path, kind, status, node, xattrs, target=target)

    def _xattrs(self, path: bytes, *, follow: bool) -> tuple[tuple[bytes, bytes], ...]:
        try:
            names = os.listxattr(path, follow_symlinks=follow)
        except OSError as error:
            if error.errno in {errno.EOPNOTSUPP, errno.ENOSYS}:  # a filesystem without any
                return ()
            raise
        found = []
        for name in names:
            value = os.getxattr(path, name, follow_symlinks=follow)
            found.append((os.fsencode(name), value))
        return tuple(sorted(found))

    def _too_much(self, what: str) -> LimitError:
        return LimitError(what, origin=self._origin)


def _entry(
    path: bytes,
    kind: Kind,
    status: os.stat_result,
    node: int,
    xattrs: tuple[tuple[bytes, bytes], ...],
    target: bytes | None = None,
) -> Entry:
    real = MODE_KINDS[stat.S_IFMT(status.st_mode)]
    device = (os.major(status.st_rdev), os.minor(status.st_rdev)) if real in _DEVICES else None
    return Entry(
        path=path,
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime_ns=status.st_mtime_ns,
        size=status.st_size if real is Kind.FILE else 0,
        target=target,
        device=device,
        xattrs=xattrs,
        node=node,
    )


def _failed(origin: Origin, path: bytes, error: OSError) -> InputReadError:
    what = f"{quoted(path)} cannot be read" if path else "cannot be read"
    hint = None
    if error.errno in {errno.EACCES, errno.EPERM}:
        hint = "read it as root, or with 'podman unshare' where it is a user's container"
    elif path:
        hint = "nothing should change in the folder meanwhile"
    return InputReadError(f"{what}: {error.strerror}", origin=origin, hint=hint)
