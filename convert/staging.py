"""Where output lies until it is whole: a private folder beside it, on the same filesystem.

What is made here appears at its destination by one ``rename``, after ``fsync`` of the file and
followed by ``fsync`` of the folder, so that a crash leaves the old or the new and nothing between.

The folder is 0700, so files in it can have their final mode (0666 less the umask) from the start.
It is removed in all cases but one: a process that is killed cannot clean up. Therefore its owner
holds a lock (``flock``) on a file inside; a later run that gets this lock knows that the owner is
gone, and removes the folder.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import secrets
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

from formats.core.errors import OutputError, OutputExistsError
from formats.core.origin import Origin

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

PREFIX = ".oci-convert-"
_OWNER_FILE = "owner.lock"
_PIPE_BYTES = 1 << 20
"""What pipe(7) lets anyone ask for."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def output_error(error: OSError, path: Path) -> OutputError:
    """Return the error for a failed operation on an output."""
    return OutputError(error.strerror or str(error), origin=Origin((str(path),)))


class Staging:
    """A private folder on the filesystem of the output; use as a context manager.

    :param beside: the folder to make it in.
    :param output: path of the output, for messages.
    :ivar folder: the private folder, from the ``with`` on.
    :raises OutputError: from the ``with``, if the folder cannot be made.
    """

    def __init__(self, beside: Path, output: Path) -> None:
        self.output = output
        self.folder = beside
        self._beside = beside
        self._owner = -1
        self._written_bytes = 0

    def __enter__(self) -> Self:
        try:
            _remove_abandoned(self._beside)
            self.folder, self._owner = _make(self._beside)
        except OSError as error:
            raise output_error(error, self.output) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _remove(self.folder)
        os.close(self._owner)

    def new_file(self, path: Path) -> OutputFile:
        """Open a new file below :attr:`folder`.

        :raises OutputError: if that fails.
        """
        try:
            return OutputFile(path, self)
        except OSError as error:
            raise self.failure(error) from error

    def publish(self, staged: Path) -> None:
        """Let a file appear at :attr:`output` for good. Its content is on the disk already.

        :raises OutputExistsError: if something is there by now.
        :raises OutputError: if it cannot appear.
        """
        free_place(self.output)
        try:
            staged.replace(self.output)
            sync_folder(self.output.parent)
        except OSError as error:
            raise self.failure(error) from error

    def count(self, length: int) -> None:
        """Add to the bytes written so far."""
        self._written_bytes += length

    def failure(self, error: OSError, pending: int = 0) -> OutputError:
        """Return the error for an operation that failed with ``pending`` bytes still to write."""
        if error.errno not in _FULL:
            return output_error(error, self.output)
        needed = self._written_bytes + pending
        with suppress(OSError):
            status = os.statvfs(self.folder)
            # What lies in the staging folder is given back when this error is raised.
            free = status.f_bavail * status.f_frsize + self._written_bytes
            return OutputError(
                f"{error.strerror}: at least {needed:,} bytes are needed, {free:,} are free",
                origin=Origin((str(self.output),)),
                hint="free some space or write to another disk; nothing was left behind",
            )
        return output_error(error, self.output)


class OutputFile(io.FileIO):
    """A new file of a :class:`Staging`.

    Where it cannot be written, the error is an :class:`OutputError`; for a full disk, quota or size
    limit its message has the bytes that were needed at the least, and those that are free.
    """

    def __init__(self, path: Path, staging: Staging) -> None:
        self._staging = staging
        super().__init__(path, "xb+", opener=_open_new)

    def sync(self) -> None:
        """Put what was written on the disk.

        :raises OutputError: if that fails.
        """
        try:
            os.fsync(self.fileno())
        except OSError as error:
            raise self._staging.failure(error) from error

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of ``data``.

        :raises OutputError: if that is not possible.
        """
        rest = memoryview(data).cast("B")
        length = len(rest)
        try:
            while rest:
                rest = rest[super().write(rest) or 0 :]
        except OSError as error:
            raise self._staging.failure(error, len(rest)) from error
        self._staging.count(length)
        return length


def _open_new(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)


def sync_folder(folder: Path) -> None:
    """Put what was renamed in a folder on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_staging(name: str) -> bool:
    """Tell whether a name in a folder is one of ours, in use or abandoned."""
    return name.startswith(PREFIX)


def _make(beside: Path) -> tuple[Path, int]:
    """Make a folder and lock it as ours.

    Between the two steps another process may take it for abandoned and remove it; then the lock is
    on a file that is gone, and a new folder is made.
    """
    while True:
        folder = beside / f"{PREFIX}{secrets.token_hex(6)}"
        try:
            folder.mkdir(0o700)
            owner = os.open(folder / _OWNER_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            # Some network filesystems have no locks. Then nothing is ever taken for abandoned.
            with suppress(OSError):
                fcntl.flock(owner, fcntl.LOCK_EX)
            if os.fstat(owner).st_nlink:
                return folder, owner
            os.close(owner)
        except (FileExistsError, FileNotFoundError):
            if not beside.is_dir():
                raise
        except BaseException:  # a signal must not leave it either; its name was known before it was
            shutil.rmtree(folder, ignore_errors=True)
            raise


def _remove_abandoned(beside: Path) -> None:
    """Remove the folders of processes that were killed; what cannot be removed stays."""
    with suppress(OSError), os.scandir(beside) as entries:
        for entry in entries:
            if is_staging(entry.name) and entry.is_dir(follow_symlinks=False):
                with suppress(OSError):
                    _remove_if_abandoned(Path(entry.path))


def _remove_if_abandoned(folder: Path) -> None:
    if os.lstat(folder).st_uid != os.geteuid():
        return
    try:
        owner = os.open(folder / _OWNER_FILE, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        # Killed before it had a lock. If it lives after all, _make() notices and tries again.
        folder.rmdir()
        return
    try:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(folder)
    finally:
        os.close(owner)


def _remove(folder: Path) -> None:
    """Remove a staging folder, the owner's file last: whoever is killed here stays recognisable."""
    with suppress(OSError):
        for path in folder.iterdir():
            if is_real_folder(path):
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != _OWNER_FILE:
                path.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def is_real_folder(path: Path) -> bool:
    """Tell whether there is a folder at this path that is not a symlink to one."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:  # not there, behind what is no folder, or not ours to see
        return False


def free_place(file: Path) -> Path:
    """Return the folder that a new file goes to.

    :raises OutputExistsError: if something is there already, be it a symlink to nothing.
    """
    if os.path.lexists(file):
        raise OutputExistsError(
            "is a folder" if is_real_folder(file) else "there is a file of this name",
            origin=Origin((str(file),)),
            hint="remove it or choose another name",
        )
    if not os.path.isdir(file.parent):  # noqa: PTH112 - pathlib's raises what it may not see
        raise OutputError(
            "the folder to make it in does not exist",
            origin=Origin((str(file),)),
            hint=f"mkdir -p {file.parent}",
        )
    return file.parent


def opened_stream(path: Path) -> BinaryIO | None:
    """Open what is there already and is no file: a pipe, ``/dev/stdout``, ``/dev/null``."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - one call with its error
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode):
            stream = path.open("wb", buffering=0)
            widen(stream)
            return stream
    except FileNotFoundError:
        return None
    except OSError as error:
        raise output_error(error, path) from error
    return None


def widen(output: BinaryIO) -> None:
    """Let a pipe hold more at a time: with 64 KiB, writer and reader wait for each other."""
    with suppress(OSError):  # no pipe, or not allowed: as good as before
        fcntl.fcntl(output.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
