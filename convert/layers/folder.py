"""``dir:`` output: a tree as files below a new folder, which appears when all of it is there.

A guest's tree is hostile input, and this is the one place where its names reach the host's
filesystem. So no name is ever looked up through a path: each entry is made in its own folder, by
the handle of that folder (``openat(2)`` and kin), which is at hand since it was made here. Symlinks
are made and never followed, nothing that exists is ever opened for writing, and until the end all
of it lies in a private folder that nobody else can enter.

Root gets everything: owners, devices, xattrs, set-id bits. A normal user gets what the system lets
them have, and a finding for what it does not:

===========  =====================================================================================
rule         what
===========  =====================================================================================
``device``   device nodes are left out, and hard links to them
``owner``    everything belongs to the user
``set-id``   set-id bits of files that did not get their owner are cleared: they would hand out the
             rights of another user than the guest meant
``xattr``    xattrs that need a privilege, or that the host's filesystem cannot hold
``mtime``    times that the host's filesystem cannot hold
===========  =====================================================================================

Holes stay holes. Content is not forced to the disk (as with tar(1) and cp(1)): the rename guards
against a process that ends early, not against a loss of power.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from convert.layers.stream import Meter, Progress
from convert.layers.walk import announced, content
from convert.staging import Staging, free_place, is_real_folder
from formats.core.entry import Entry, Kind, check_name, join
from formats.core.errors import CorruptError, OutputError, OutputExistsError, quoted
from formats.core.finding import Action, Finding
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.origin import Origin, printable
from formats.core.source import BytesLike
from formats.core.tree import Tree

_TREE = b"tree"
_PRIVATE = 0o700
"""What a folder's owner needs to fill it. Those that shall have less get it at the very end."""
_SET_ID = stat.S_ISUID | stat.S_ISGID
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NODE_TYPES = {
    Kind.CHARACTER_DEVICE: stat.S_IFCHR,
    Kind.BLOCK_DEVICE: stat.S_IFBLK,
    Kind.FIFO: stat.S_IFIFO,
    Kind.SOCKET: stat.S_IFSOCK,
}
_PROC_HANDLE = b"/proc/self/fd/%d/%b"
_NO_ID = 0xFFFFFFFF
"""Means "leave it as it is" to chown(2)."""
_OWNER_ERRORS = frozenset({errno.EPERM, errno.EINVAL})
"""EINVAL: an id that the user namespace has no place for."""
_XATTR_ERRORS = frozenset({errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.EINVAL}) | {
    errno.ENOSPC,  # so says ext4 of values that are too large for it
    errno.E2BIG,
    errno.ERANGE,
}
_NAME_ERRORS = frozenset({errno.EEXIST, errno.EILSEQ, errno.EINVAL, errno.ENAMETOOLONG})
_NAME_HINT = "this filesystem does not hold all names that Linux has; write to another, or a tar:"


def write_folder(
    tree: Tree,
    folder: Path,
    *,
    progress: Progress | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> tuple[Finding, ...]:
    """Write a tree below ``folder``, and return what could not be written as it is.

    The folder appears with everything in it, or not at all. Only the modes of folders that keep
    their owner out follow right after.

    :param folder: must not exist, or be empty; then it is replaced.
    :raises CorruptError: if the tree breaks a promise of :class:`~formats.core.tree.Tree`.
    :raises LimitError: if it is larger than ``limits`` allow.
    :raises OutputExistsError: if the folder holds something, or is none.
    :raises OutputError: if it cannot be written; nothing is left behind.
    """
    folder = folder.absolute()
    with Staging(_place(folder), folder) as staging:
        meter = Meter(limits.total_output_bytes, progress)
        with _Writer(tree, staging, meter) as writer:
            for entry in announced(tree, limits):
                writer.add(entry)
            writer.publish()
    return writer.losses.findings()


def _place(folder: Path) -> Path:
    """Return where a new folder goes.

    :raises OutputExistsError: if something else than an empty folder is there.
    """
    if not is_real_folder(folder):
        return free_place(folder)
    with os.scandir(folder) as found:
        if next(found, None) is not None:
            raise OutputExistsError(
                "is a folder that is not empty",
                origin=Origin((str(folder),)),
                hint="name a new folder",
            )
    return folder.parent


class _Losses:
    """What the host would not take."""

    def __init__(self) -> None:
        self._each: list[Finding] = []
        self._counted: dict[tuple[str, str], tuple[bytes, int]] = {}
        """First path and number of paths, by rule and evidence."""

    def note(self, rule: str, path: bytes, action: Action, evidence: str) -> None:
        """Add a finding for one path."""
        self._each.append(Finding(rule, path, action, evidence))

    def count(self, rule: str, path: bytes, evidence: str) -> None:
        """Add one more path to the finding for all that were changed in the same way."""
        first, count = self._counted.get((rule, evidence), (path, 0))
        self._counted[rule, evidence] = first, count + 1

    def findings(self) -> tuple[Finding, ...]:
        """Return all."""
        counted = (
            Finding(rule, path, Action.CHANGED, f"{evidence}; the first of {count:,} paths")
            for (rule, evidence), (path, count) in self._counted.items()
        )
        return (*self._each, *counted)


@dataclass(frozen=True, slots=True)
class _OpenFolder:
    """A folder on the way to the present path, with its handle."""

    entry: Entry
    handle: int


class _Writer:
    """Makes entries below the staging folder; use as a context manager, for its handles."""

    def __init__(self, tree: Tree, staging: Staging, meter: Meter) -> None:
        self.losses = _Losses()
        self._tree = tree
        self._staging = staging
        self._meter = meter
        self._way: list[_OpenFolder] = []
        """From the root folder, which stays, to the one that was entered last."""
        self._left_out: set[bytes] = set()
        self._late_modes: list[tuple[bytes, int]] = []
        self._base = os.open(staging.folder, _FOLDER_FLAGS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for folder in self._way:
            os.close(folder.handle)
        os.close(self._base)

    def add(self, entry: Entry) -> None:
        """Make one entry."""
        try:
            if not entry.path:
                self._enter(entry, self._base, _TREE)
                return
            check_name(entry.name, self._tree.origin)
            parent = self._parent(entry)
            if entry.kind is Kind.FOLDER:
                self._enter(entry, parent, entry.name)
            elif entry.kind is Kind.HARDLINK:
                self._link(entry, parent)
            elif self._make(entry, parent):
                self._describe(entry, parent, entry.name)
        except OSError as error:
            raise self._failure(entry.path, error) from error

    def publish(self) -> None:
        """Let the tree appear."""
        folder = self._staging.output
        try:
            while len(self._way) > 1:
                self._leave()
            self._describe(self._way[0].entry, self._base, _TREE)
            _place(folder)
            (self._staging.folder / os.fsdecode(_TREE)).rename(folder)
        except OSError as error:
            raise self._staging.failure(error) from error
        for path, mode in reversed(self._late_modes):
            try:
                with self._opened(path) as handle:
                    os.fchmod(handle, mode)
            except OSError as error:
                raise self._failure(path, error) from error

    def _parent(self, entry: Entry) -> int:
        """Return the handle of the folder that the entry is in, and leave those it is not in."""
        while len(self._way) > 1 and self._way[-1].entry.path != entry.parent:
            self._leave()
        if not self._way or join(self._way[-1].entry.path, entry.name) != entry.path:
            raise CorruptError(
                f"{quoted(entry.path)} does not follow its folder", origin=self._tree.origin
            )
        return self._way[-1].handle

    def _enter(self, entry: Entry, parent: int, name: bytes) -> None:
        os.mkdir(name, _PRIVATE, dir_fd=parent)
        self._way.append(_OpenFolder(entry, os.open(name, _FOLDER_FLAGS, dir_fd=parent)))

    def _leave(self) -> None:
        """Describe the last folder, now that nothing will change its time any more."""
        folder = self._way.pop()
        os.close(folder.handle)
        self._describe(folder.entry, self._way[-1].handle, folder.entry.name)

    @contextmanager
    def _opened(self, path: bytes) -> Iterator[int]:
        """Give the handle of a folder that was made before, one name after the other."""
        with ExitStack() as stack:
            handle = self._way[0].handle
            for name in path.split(b"/") if path else ():
                handle = os.open(name, _FOLDER_FLAGS, dir_fd=handle)
                stack.callback(os.close, handle)
            yield handle

    def _link(self, entry: Entry, parent: int) -> None:
        target = entry.target or b""
        if target in self._left_out:
            self._leave_out(entry, "is one more name of what was left out")
            return
        folder, _, name = target.rpartition(b"/")
        check_name(name, self._tree.origin)
        with self._opened(folder) as handle:
            os.link(name, entry.name, src_dir_fd=handle, dst_dir_fd=parent, follow_symlinks=False)

    def _make(self, entry: Entry, parent: int) -> bool:
        """Make what is no folder, and tell whether it is there."""
        if entry.kind is Kind.FILE:
            with os.fdopen(os.open(entry.name, _FILE_FLAGS, 0o600, dir_fd=parent), "wb") as file:
                self._fill(entry, file)
        elif entry.kind is Kind.SYMLINK:
            os.symlink(entry.target or b"", entry.name, dir_fd=parent)
        else:
            device = os.makedev(*entry.device) if entry.device else 0
            try:
                os.mknod(entry.name, _NODE_TYPES[entry.kind] | 0o600, device, dir_fd=parent)
            except PermissionError:
                self._leave_out(entry, f"to make a {entry.kind.value} takes root")
                return False
        return True

    def _fill(self, entry: Entry, file: BinaryIO) -> None:
        for chunk in content(self._tree, entry):
            self._meter.add(len(chunk))
            if _is_hole(chunk):
                file.seek(len(chunk), os.SEEK_CUR)
            else:
                file.write(chunk)
                self._staging.count(len(chunk))
        file.truncate(entry.size)

    def _leave_out(self, entry: Entry, evidence: str) -> None:
        self._left_out.add(entry.path)
        self.losses.note("device", entry.path, Action.DROPPED, evidence)

    def _describe(self, entry: Entry, parent: int, name: bytes) -> None:
        """Give what was made its owner, xattrs, mode and time, each of which can undo the next."""
        has_owner = self._give_owner(entry, parent, name)
        for xattr in entry.xattrs:
            self._give_xattr(entry, parent, name, xattr)
        if entry.kind is not Kind.SYMLINK:
            self._give_mode(entry, parent, name, has_owner=has_owner)
        self._give_time(entry, parent, name)

    def _give_owner(self, entry: Entry, parent: int, name: bytes) -> bool:
        try:
            if max(entry.uid, entry.gid) < _NO_ID:
                os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
                return True
        except OSError as error:
            if error.errno not in _OWNER_ERRORS:
                raise
        self.losses.count("owner", entry.path, "an owner cannot be given away here")
        return False

    def _give_xattr(
        self, entry: Entry, parent: int, name: bytes, xattr: tuple[bytes, bytes]
    ) -> None:
        key, value = xattr
        try:
            # setxattrat(2) is too new (Linux 6.13), and a handle of a symlink takes no xattr.
            os.setxattr(_PROC_HANDLE % (parent, name), key, value, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _XATTR_ERRORS:
                raise
            self.losses.count("xattr", entry.path, f"{printable(key)}: {error.strerror}")

    def _give_mode(self, entry: Entry, parent: int, name: bytes, *, has_owner: bool) -> None:
        mode = entry.mode
        if entry.kind is Kind.FOLDER:
            if mode & _PRIVATE != _PRIVATE:
                self._late_modes.append((entry.path, mode))
                mode |= _PRIVATE
        elif mode & _SET_ID and not has_owner:
            self.losses.note("set-id", entry.path, Action.CHANGED, "has another owner now")
            mode &= ~_SET_ID
        os.chmod(name, mode, dir_fd=parent)  # which is no symlink: it was made here

    def _give_time(self, entry: Entry, parent: int, name: bytes) -> None:
        try:
            times = entry.mtime_ns, entry.mtime_ns
            os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)
        except OverflowError:
            pass
        if os.stat(name, dir_fd=parent, follow_symlinks=False).st_mtime_ns != entry.mtime_ns:
            self.losses.count("mtime", entry.path, "this filesystem does not hold such a time")

    def _failure(self, path: bytes, error: OSError) -> OutputError:
        failure = self._staging.failure(error)
        hint = _NAME_HINT if error.errno in _NAME_ERRORS else failure.hint
        return OutputError(f"{quoted(path)}: {failure.message}", origin=failure.origin, hint=hint)


def _is_hole(chunk: BytesLike) -> bool:
    """Tell whether a piece of content is all zeros; holes come in pieces of their own."""
    return bool(chunk) and not chunk[0] and bytes(chunk) == bytes(len(chunk))
