"""What stands for a running appliance: it answers from a table, and can be made to fail."""

from __future__ import annotations

import errno
import stat
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias, cast

from formats.core.errors import ConvertError
from formats.core.origin import Origin
from formats.guestfs.guest import Guest
from formats.guestfs.worker import CallError, Json, Reply, Ticket, Worker

POINT = b"/oci0"
_MESSAGE_BYTES_MAX = 4 << 20
_XATTR_BYTES_MAX = 64 << 10


@dataclass(frozen=True)
class File:
    """A path below the mount point.

    :ivar mode: with the type bits, as in st_mode.
    :ivar inode: -1 for what cannot be looked at.
    :ivar xattrs: None where the filesystem knows no such thing.
    """

    mode: int
    inode: int
    content: bytes = b""
    links: int = 1
    device: int = 7
    xattrs: tuple[tuple[bytes, bytes], ...] | None = ()


ROOT = File(stat.S_IFDIR | 0o755, 1)


class Double:
    """Answers as a worker does.

    :param unreadable: folders that cannot be listed and files that cannot be read; with the root
        among them, nothing can be looked at.
    :ivar requests: operations in the order in which they came.
    :ivar most_waiting: the most requests that were sent and not waited for, at any time.
    """

    def __init__(self, files: Mapping[bytes, File], *, unreadable: frozenset[bytes]) -> None:
        self.origin = Origin(("disk.img",))
        self.requests: list[str] = []
        self.most_waiting = 0
        self._waiting = 0
        self._files = {POINT + b"/" + path if path else POINT: file for path, file in files.items()}
        self._unreadable = {POINT + b"/" + path if path else POINT for path in unreadable}
        self._ops: dict[str, Callable[[bytes, Mapping[str, Json]], bytes]] = {
            "readdir": self._readdir,
            "stats": self._stats,
            "xattrs": self._xattrs,
            "xattrs_of": self._xattrs_of,
            "links": self._links,
            "read": self._read,
        }

    def call(
        self, op: str, arguments: Mapping[str, Json], body: bytes = b"", *, seconds: float
    ) -> Reply:
        return self.wait(self.submit(op, arguments, body), seconds)

    def submit(self, op: str, arguments: Mapping[str, Json], body: bytes = b"") -> Ticket:
        self.requests.append(op)
        self._waiting += 1
        self.most_waiting = max(self.most_waiting, self._waiting)
        ticket = Ticket(op)
        try:
            ticket.reply = Reply(None, self._ops[op](body, arguments))
        except CallError as error:
            ticket.reply = error
        return ticket

    def wait(self, ticket: Ticket, seconds: float) -> Reply:
        del seconds
        self._waiting -= 1
        if isinstance(ticket.reply, CallError):
            raise ticket.reply
        assert ticket.reply is not None
        return ticket.reply

    def _readdir(self, folder: bytes, arguments: Mapping[str, Json]) -> bytes:
        del arguments
        if folder in self._unreadable:
            raise CallError("readdir: Structure needs cleaning", 117)
        names = [b".", b".."]
        names += [path[len(folder) + 1 :] for path in self._files if _is_in(path, folder)]
        return b"".join(struct.pack("=qcH", 1, b"u", len(name)) + name for name in names[::-1])

    def _looked_at(self, body: bytes) -> list[File]:
        folder, *names = body.split(b"\0")
        if POINT in self._unreadable:
            raise CallError("lstatnslist: qemu was killed\nTo see full error messages", 0)
        return [self._files[folder.rstrip(b"/") + b"/" + name] for name in names]

    def _stats(self, body: bytes, arguments: Mapping[str, Json]) -> bytes:
        del arguments
        rows = []
        for file in self._looked_at(body):
            fields = [file.device, file.inode, file.mode, file.links, 0, 0, 0, len(file.content)]
            rows.append(struct.pack("=22q", *fields, *([0] * 14)))
        return b"".join(rows)

    def _xattrs(self, body: bytes, arguments: Mapping[str, Json]) -> bytes:
        del arguments
        rows = []
        for file in self._looked_at(body):
            _check_size(file)
            count = b"%d\0" % len(file.xattrs) if file.xattrs is not None else b""
            for name, value in ((b"", count), *(file.xattrs or ())):
                rows.append(struct.pack("=HI", len(name), len(value)) + name + value)
        if sum(map(len, rows)) > _MESSAGE_BYTES_MAX:
            raise CallError("lxattrlist: message too large", 0)
        return b"".join(rows)

    def _xattrs_of(self, path: bytes, arguments: Mapping[str, Json]) -> bytes:
        del arguments
        _check_size(self._files[path])
        if path in self._unreadable:
            raise CallError("lgetxattrs: Input/output error", errno.EIO)
        raise CallError("lgetxattrs: Operation not supported", errno.EOPNOTSUPP)

    def _links(self, body: bytes, arguments: Mapping[str, Json]) -> bytes:
        del arguments
        return b"".join(file.content + b"\0" for file in self._looked_at(body))

    def _read(self, path: bytes, arguments: Mapping[str, Json]) -> bytes:
        if path in self._unreadable:
            raise CallError("pread: Input/output error", 5)
        offset, length = arguments["offset"], arguments["length"]
        assert isinstance(offset, int)
        assert isinstance(length, int)
        return self._files[path].content[offset : offset + length]


def _check_size(file: File) -> None:
    if any(len(value) > _XATTR_BYTES_MAX for _, value in file.xattrs or ()):
        raise CallError("lgetxattr: Argument list too long", errno.E2BIG)


def _is_in(path: bytes, folder: bytes) -> bool:
    return path.startswith(folder + b"/") and b"/" not in path[len(folder) + 1 :]


def guest_with(
    files: Mapping[bytes, File],
    *,
    unreadable: frozenset[bytes] = frozenset(),
    fault: ConvertError | None = None,
) -> tuple[Guest, Double]:
    """Return a guest that has these files, by path below the mount point; the root is added.

    :param fault: what a disk's server would know.
    """
    double = Double({b"": ROOT, **files}, unreadable=unreadable)
    return Guest(cast("Worker", double), 1, lambda: fault), double


Question = tuple[str | int, ...]
Answers: TypeAlias = "Mapping[Question, Json | bytes | CallError | Iterator[Json]]"
"""Answers by name and arguments of a call, or by its name alone; an iterator's come in turn."""


class Answering:
    """Answers calls of the library from a table, and refuses all others.

    :ivar asked: what was called, with its arguments.
    """

    def __init__(self, answers: Answers) -> None:
        self.origin = Origin(("disk.img",))
        self.asked: list[Question] = []
        self._answers = dict(answers)

    def call(
        self, op: str, arguments: Mapping[str, Json], body: bytes = b"", *, seconds: float
    ) -> Reply:
        del seconds
        if op == "call":
            named = (arguments["name"], *cast("list[Json]", arguments["args"]))
        elif op == "open_encrypted":
            named = (op, arguments["device"], arguments["name"], body.decode())
        else:
            named = (op, body.decode(), arguments["offset"])
        question = cast("Question", named)
        self.asked.append(question)
        refusal = CallError(f"{question[0]}: not known", errno.EINVAL)
        known = next((key for key in (question, question[:1]) if key in self._answers), None)
        answer = refusal if known is None else self._answers[known]
        if isinstance(answer, CallError):
            raise answer
        if isinstance(answer, Iterator):
            answer = next(answer)
        return Reply(None, answer) if isinstance(answer, bytes) else Reply(answer, b"")


def guest_answering(answers: Answers, fault: ConvertError | None = None) -> tuple[Guest, Answering]:
    """Return a guest that knows nothing but these answers.

    :param fault: what a disk's server would know.
    """
    worker = Answering(answers)
    return Guest(cast("Worker", worker), 1, lambda: fault), worker
