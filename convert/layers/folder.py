"""``dir:`` output: a tree as files below a new folder, which appears when all of it is there.

A guest's tree is hostile input, and this is the one place where its names reach the host's
filesystem. So no name is ever looked up through a path: each entry is made in its own folder, by
the handle of that folder (``openat(2)`` and kin), which is at hand since it was made here. Symlinks
are made and never followed, nothing that exists is ever opened for writing, and until the end all
of it lies in a private folder that nobody else can enter.

Root gets everything: owners, devices, xattrs, set-id bits. A normal user gets what the system lets
them have, and a finding for what it does not:

================  ================================================================================
rule              what
================  ================================================================================
``special-file``  device nodes are left out, and hard links to them
``owner``         everything belongs to the user
``set-id``        set-id bits of files that did not get their owner are cleared: they would hand out
                  the rights of another user than the guest meant
``xattr``         xattrs that need a privilege, or that the host's filesystem cannot hold
``mtime``         times that the host's filesystem cannot hold
================  ================================================================================

Holes stay holes. Content is not forced to the disk (as with tar(1) and cp(1)): the rename guards
against a process that ends early, not against a loss of power.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from convert.layers.metadata import Losses, Place, describe
from convert.layers.stream import Meter, Progress
from convert.layers.walk import announced, content
from convert.staging import Staging, free_place, is_real_folder, output_error
from formats.core.entry import Entry, Kind, check_name, join
from formats.core.errors import CorruptError, OutputError, OutputExistsError, quoted
from formats.core.finding import Action, Finding
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.origin import Origin
from formats.core.source import BytesLike
from formats.core.tree import Tree

_TREE = b"tree"
_PRIVATE = 0o700
"""What a folder's owner needs to fill it. Those that shall have less get it at the very end."""
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NODE_TYPES = {
    Kind.CHARACTER_DEVICE: stat.S_IFCHR,
    Kind.BLOCK_DEVICE: stat.S_IFBLK,
    Kind.FIFO: stat.S_IFIFO,
    Kind.SOCKET: stat.S_IFSOCK,
}
_MAJORS = range(1 << 12)
_MINORS = range(1 << 20)
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
    with Staging(place_of_folder(folder), folder) as staging:
        meter = Meter(limits.total_output_bytes, progress)
        with _Writer(tree, staging, meter) as writer:
            for entry in announced(tree, limits):
                writer.add(entry)
            writer.publish()
    return writer.losses.findings()


def place_of_folder(folder: Path) -> Path:
    """Return the folder that a new one goes to.

    :raises OutputExistsError: if something else than an empty folder is there.
    """
    if not is_real_folder(folder):
        return free_place(folder)
    try:
        is_empty = next(folder.iterdir(), None) is None
    except OSError as error:
        raise output_error(error, folder) from error
    if not is_empty:
        raise OutputExistsError(
            "is a folder that is not empty",
            origin=Origin((str(folder),)),
            hint="name a new folder",
        )
    return folder.parent


@dataclass(frozen=True, slots=True)
class _OpenFolder:
    """A folder on the way to the present path, with its handle."""

    entry: Entry
    handle: int


class _Writer:
    """Makes entries below the staging folder; use as a context manager, for its handles."""

    def __init__(self, tree: Tree, staging: Staging, meter: Meter) -> None:
        self.losses = Losses()
        self._tree = tree
        self._staging = staging
        self._meter = meter
        self._way: list[_OpenFolder] = []
        """From the root folder, which stays, to the one that was entered last."""
        self._left_out: set[bytes] = set()
        self._late_modes: list[tuple[bytes, int]] = []
        try:
            self._base = os.open(staging.folder, _FOLDER_FLAGS)
        except OSError as error:
            raise staging.failure(error) from error

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
                self._enter(entry, Place(self._base, _TREE))
                return
            self._check(entry)
            place = Place(self._parent(entry), entry.name)
            if entry.kind is Kind.FOLDER:
                self._enter(entry, place)
            elif entry.kind is Kind.HARDLINK:
                self._link(entry, place)
            elif self._make(entry, place):
                describe(place, entry, self.losses)
        except OSError as error:
            raise self._failure(entry.path, error) from error

    def _check(self, entry: Entry) -> None:
        """Refuse what no call of the system takes."""
        check_name(entry.name, self._tree.origin)
        texts = (entry.target or b"", *(name for name, _ in entry.xattrs))
        if any(b"\0" in text for text in texts) or min(entry.uid, entry.gid) < 0:
            raise self._corrupt(entry, "has a target, xattr or owner that cannot be")
        if entry.kind in {Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE}:
            major, minor = entry.device or (-1, -1)
            if major not in _MAJORS or minor not in _MINORS:
                raise self._corrupt(entry, "is a device without a usable number")

    def publish(self) -> None:
        """Let the tree appear."""
        folder = self._staging.output
        try:
            while len(self._way) > 1:
                self._leave()
            self._finish(self._way[0].entry, Place(self._base, _TREE))
            place_of_folder(folder)
            (self._staging.folder / os.fsdecode(_TREE)).rename(folder)
        except OSError as error:
            raise self._staging.failure(error) from error
        for path, mode in self._late_modes:  # what is inside comes first
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
            raise self._corrupt(entry, "does not follow its folder")
        return self._way[-1].handle

    def _enter(self, entry: Entry, place: Place) -> None:
        os.mkdir(place.name, _PRIVATE, dir_fd=place.folder)
        handle = os.open(place.name, _FOLDER_FLAGS, dir_fd=place.folder)
        self._way.append(_OpenFolder(entry, handle))

    def _leave(self) -> None:
        folder = self._way.pop()
        os.close(folder.handle)
        self._finish(folder.entry, Place(self._way[-1].handle, folder.entry.name))

    def _finish(self, entry: Entry, place: Place) -> None:
        """Describe a folder, now that nothing more will be made in it."""
        if entry.mode & _PRIVATE != _PRIVATE:
            self._late_modes.append((entry.path, entry.mode))
            entry = replace(entry, mode=entry.mode | _PRIVATE)
        describe(place, entry, self.losses)

    @contextmanager
    def _opened(self, path: bytes) -> Iterator[int]:
        """Give the handle of a folder that was made before, one name after the other."""
        with ExitStack() as stack:
            handle = self._way[0].handle
            for name in path.split(b"/") if path else ():
                handle = os.open(name, _FOLDER_FLAGS, dir_fd=handle)
                stack.callback(os.close, handle)
            yield handle

    def _link(self, entry: Entry, place: Place) -> None:
        target = entry.target or b""
        if target in self._left_out:
            self._leave_out(entry, "is one more name of what was left out")
            return
        path, _, name = target.rpartition(b"/")
        check_name(name, self._tree.origin)
        with self._opened(path) as folder:
            os.link(
                name,
                place.name,
                src_dir_fd=folder,
                dst_dir_fd=place.folder,
                follow_symlinks=False,
            )

    def _make(self, entry: Entry, place: Place) -> bool:
        """Make what is no folder, and tell whether it is there."""
        if entry.kind is Kind.FILE:
            handle = os.open(place.name, _FILE_FLAGS, 0o600, dir_fd=place.folder)
            with os.fdopen(handle, "wb") as file:
                self._fill(entry, file)
        elif entry.kind is Kind.SYMLINK:
            os.symlink(entry.target or b"", place.name, dir_fd=place.folder)
        else:
            mode = _NODE_TYPES[entry.kind] | 0o600
            device = os.makedev(*entry.device) if entry.device else 0
            try:
                os.mknod(place.name, mode, device, dir_fd=place.folder)
            except PermissionError:
                self._leave_out(entry, f"a {entry.kind.value} cannot be made here")
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
        self.losses.note("special-file", entry.path, Action.DROPPED, evidence)

    def _corrupt(self, entry: Entry, what: str) -> CorruptError:
        return CorruptError(f"{quoted(entry.path)} {what}", origin=self._tree.origin)

    def _failure(self, path: bytes, error: OSError) -> OutputError:
        failure = self._staging.failure(error)
        hint = _NAME_HINT if error.errno in _NAME_ERRORS else failure.hint
        return OutputError(f"{quoted(path)}: {failure.message}", origin=failure.origin, hint=hint)


def _is_hole(chunk: BytesLike) -> bool:
    """Tell whether a piece of content is all zeros; holes come in pieces of their own."""
    return bool(chunk) and not chunk[0] and bytes(chunk) == bytes(len(chunk))
