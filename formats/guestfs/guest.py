"""What is asked of the appliance, typed: every value that comes back is checked here."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

from formats.core.errors import ConvertError, CorruptError
from formats.guestfs.worker import CallError, Json, Reply, Ticket, Worker

READ_BYTES = 1 << 20
"""Piece of content in one call; the library's messages hold less than 4 MiB."""

_STATNS = struct.Struct("=22q")
_MODE_MAX = 0xFFFF
_DIRENT = struct.Struct("=qcH")
_XATTR = struct.Struct("=HI")

Xattrs = tuple[tuple[bytes, bytes], ...]


class Name(NamedTuple):
    """What is in a folder; ``kind`` is a letter as in readdir(3), ``u`` where it is not known."""

    name: bytes
    inode: int
    kind: bytes


class Status(NamedTuple):
    """What lstat(2) says."""

    device: int
    inode: int
    mode: int
    links: int
    uid: int
    gid: int
    rdev: int
    size: int
    mtime_ns: int


class Guest:
    """An appliance that runs. Paths of files are bytes, from the appliance's root.

    :param cause: returns what a disk's server knows to have gone wrong.
    :raises CallError: all methods, if the library refuses the call.
    :raises LimitError: all methods, if there is no answer in time.
    :raises CorruptError: all methods, if the appliance went down.
    """

    def __init__(
        self, worker: Worker, seconds: float, cause: Callable[[], ConvertError | None]
    ) -> None:
        self.origin = worker.origin
        self._worker = worker
        self._seconds = seconds
        self._cause = cause

    def fault(self) -> ConvertError | None:
        """Return what went wrong with a disk so far, at our end of it; None if nothing did."""
        return self._cause()

    def explain(self, error: CallError, otherwise: ConvertError) -> ConvertError:
        """Return why a call was refused: the fault of a disk, if there was one, or ``otherwise``.

        The kernel in the appliance only learns that a disk could not be read or written.
        """
        explained = self.fault() or otherwise
        explained.__cause__ = error
        return explained

    def _call(self, name: str, *arguments: Json, **optional: Json) -> Json:
        request: dict[str, Json] = {
            "name": name,
            "args": list(arguments),
            "optional": dict(optional),
        }
        return self._worker.call("call", request, seconds=self._seconds).value

    def run(self, name: str, *arguments: Json, **optional: Json) -> None:
        """Call a function of the library for what it does."""
        self._call(name, *arguments, **optional)

    def text(self, name: str, *arguments: Json) -> str:
        """Call a function that gives a string."""
        value = self._call(name, *arguments)
        if not isinstance(value, str):
            raise self._unexpected(name)
        return value

    def number(self, name: str, *arguments: Json) -> int:
        """Call a function that gives a number, or a truth."""
        value = self._call(name, *arguments)
        if not isinstance(value, int):
            raise self._unexpected(name)
        return int(value)

    def texts(self, name: str, *arguments: Json) -> list[str]:
        """Call a function that gives strings."""
        value = self._call(name, *arguments)
        if not isinstance(value, list):
            raise self._unexpected(name)
        return [item for item in value if isinstance(item, str)]

    def mapping(self, name: str, *arguments: Json) -> dict[str, str]:
        """Call a function that gives pairs of strings."""
        value = self._call(name, *arguments)
        if not isinstance(value, dict):
            raise self._unexpected(name)
        return {key: item for key, item in value.items() if isinstance(item, str)}

    def records(self, name: str, *arguments: Json) -> list[dict[str, Json]]:
        """Call a function that gives structures."""
        value = self._call(name, *arguments)
        if not isinstance(value, list):
            raise self._unexpected(name)
        return [item for item in value if isinstance(item, dict)]

    def _unexpected(self, name: str) -> CorruptError:
        return CorruptError(f"libguestfs gave something odd for '{name}'", origin=self.origin)

    def _bytes(self, op: str, body: bytes) -> bytes:
        return self._worker.call(op, {}, body, seconds=self._seconds).body

    def readdir(self, folder: bytes) -> list[Name]:
        """Return what is in a folder, without ``.`` and ``..``, in any order."""
        data = self._bytes("readdir", folder)
        names: list[Name] = []
        position = 0
        while position < len(data):
            inode, kind, length = _DIRENT.unpack_from(data, position)
            position += _DIRENT.size
            name = data[position : position + length]
            position += length
            if name not in {b".", b".."}:
                names.append(Name(name, inode, kind))
        return names

    def status(self, folder: bytes, names: Sequence[bytes]) -> list[Status | None]:
        """Return what names in a folder are; None for those that cannot be looked at."""
        data = self._bytes("stats", b"\0".join((folder, *names)))
        if len(data) != len(names) * _STATNS.size:
            raise self._unexpected("lstatnslist")
        return [self._status(fields) for fields in _STATNS.iter_unpack(data)]

    def _status(self, fields: tuple[int, ...]) -> Status | None:
        if fields[1] == -1:
            return None
        status = Status._make((*fields[:8], fields[12] * 1_000_000_000 + fields[13]))
        if min(fields[:8]) < 0 or status.mode > _MODE_MAX:
            raise self._unexpected("lstatnslist")
        return status

    def xattrs(self, folder: bytes, names: Sequence[bytes]) -> list[Xattrs | None]:
        """Return the extended attributes of names in a folder, sorted by name.

        There is None for a name that has one of more than 64 KiB: Linux reads no such attribute,
        and named streams of NTFS are attributes for it.
        """
        try:
            flat = _xattrs(self._bytes("xattrs", b"\0".join((folder, *names))))
        except CallError:  # of one of them, or too much for a message
            if len(names) == 1:
                return [self._xattrs_of(folder, names[0])]
            middle = len(names) // 2
            return self.xattrs(folder, names[:middle]) + self.xattrs(folder, names[middle:])
        found: list[Xattrs | None] = []
        index = 0
        while index < len(flat) and len(found) < len(names):
            name, value = flat[index]
            count = value.rstrip(b"\0")
            index += 1
            if name or not (count.isdigit() or not count):
                raise self._unexpected("lxattrlist")
            if count:
                found.append(tuple(sorted(flat[index : index + int(count)])))
                index += int(count)
            else:  # the library does not say why it got none
                found.append(self._xattrs_of(folder, names[len(found)]))
        if len(found) != len(names) or index != len(flat):
            raise self._unexpected("lxattrlist")
        return found

    def _xattrs_of(self, folder: bytes, name: bytes) -> Xattrs | None:
        """Return the extended attributes of one name; none where the filesystem has no such."""
        try:
            return tuple(
                sorted(_xattrs(self._bytes("xattrs_of", folder.rstrip(b"/") + b"/" + name)))
            )
        except CallError as error:
            if error.errno == errno.E2BIG:
                return None
            if error.errno != errno.EOPNOTSUPP:
                raise
            return ()

    def links(self, folder: bytes, names: Sequence[bytes]) -> list[bytes]:
        """Return what symlinks in a folder hold."""
        targets = self._bytes("links", b"\0".join((folder, *names))).split(b"\0")[:-1]
        if len(targets) != len(names):
            raise self._unexpected("readlinklist")
        return targets

    def read(self, path: bytes, offset: int, length: int) -> bytes:
        """Return bytes of a file, fewer only at its end; up to :data:`READ_BYTES`."""
        return self.finish(self.start_reading(path, offset, length)).body

    def start_reading(self, path: bytes, offset: int, length: int) -> Ticket:
        """Ask for bytes of a file, and do not wait for them."""
        return self._worker.submit("read", {"offset": offset, "length": length}, path)

    def finish(self, ticket: Ticket) -> Reply:
        """Wait for what was asked for."""
        return self._worker.wait(ticket, self._seconds)

    def read_device(self, device: str, offset: int, length: int) -> bytes:
        """Return bytes of a block device, fewer only at its end; up to :data:`READ_BYTES`."""
        request: dict[str, Json] = {"offset": offset, "length": length}
        worker = self._worker
        return worker.call("read_device", request, device.encode(), seconds=self._seconds).body

    def open_encrypted(self, device: str, key: bytes, name: str) -> None:
        """Open an encrypted device as ``/dev/mapper/NAME``."""
        request: dict[str, Json] = {"device": device, "name": name}
        self._worker.call("open_encrypted", request, key, seconds=self._seconds)


def _xattrs(data: bytes) -> list[tuple[bytes, bytes]]:
    """Unpack names and values."""
    found: list[tuple[bytes, bytes]] = []
    position = 0
    while position < len(data):
        name_length, value_length = _XATTR.unpack_from(data, position)
        start = position + _XATTR.size
        position = start + name_length + value_length
        found.append((data[start : start + name_length], data[start + name_length : position]))
    return found
