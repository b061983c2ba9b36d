"""The parent's end of the child process: requests with deadlines, and no process left behind."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import struct
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from formats.core.errors import CorruptError, LimitError, MissingDependencyError
from formats.core.limits import MIB
from formats.core.origin import Origin, printable
from formats.guestfs.binding import INSTALL_BINDING, Binding
from formats.guestfs.settings import EngineSettings

CHILD = Path(__file__).with_name("child.py")

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"

_FRAME = struct.Struct(">II")
_HEADER_BYTES_MAX = 16 * MIB
_BODY_BYTES_MAX = 256 * MIB
_READ_BYTES = 1 << 20
_CLOSE_SECONDS = 12
"""The child gives the library ten to clean up after itself."""
_EVIDENCE_BYTES = 4096
_POLL_SECONDS = 0.02


class CallError(Exception):
    """The library refused a call; the caller knows what that means for the user.

    :ivar message: the library's own words; its log may follow, a line each.
    :ivar errno: of the appliance's kernel; 0 where it is not known.
    """

    def __init__(self, message: str, errno: int) -> None:
        super().__init__(message)
        self.message = message
        self.errno = errno

    @property
    def reason(self) -> str:
        """The first line, without what the library advises its developers to do."""
        return self.message.partition("\n")[0]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a request gave."""

    value: Json
    body: bytes


class Ticket:
    """A request whose reply is not there yet; ``name`` is for messages."""

    __slots__ = ("name", "reply")

    def __init__(self, name: str) -> None:
        self.name = name
        self.reply: Reply | CallError | None = None


class Worker:
    """A child process with libguestfs in it. Its methods may be called from several threads.

    :param origin: what is being read, for messages.
    :param environment: all of the child's.
    """

    def __init__(
        self,
        binding: Binding,
        settings: EngineSettings,
        environment: Mapping[str, str],
        origin: Origin,
    ) -> None:
        self.origin = origin
        self._lock = threading.RLock()
        self._waiting: deque[Ticket] = deque()
        self._buffer = bytearray()
        self._failure: str | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        child_input, requests = os.pipe()
        self._replies, child_output = os.pipe()
        self._requests = os.fdopen(requests, "wb")
        try:
            self._process = subprocess.Popen(
                [binding.interpreter, "-I", "-B", os.fspath(CHILD), str(settings.memory_mib)],
                stdin=child_input,
                stdout=child_output,
                stderr=self._log,
                env=dict(environment),
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            self._requests.close()
            os.close(self._replies)
            self._log.close()
            raise MissingDependencyError(
                f"{binding.interpreter} cannot be started: {error.strerror}", hint=INSTALL_BINDING
            ) from error
        finally:
            os.close(child_input)
            os.close(child_output)

    def call(
        self,
        op: str,
        arguments: Mapping[str, Json],
        body: bytes = b"",
        *,
        seconds: float,
        progress: Callable[[int, int], None] | None = None,
    ) -> Reply:
        """Send a request and wait for its reply.

        :param progress: told position and total while the child works on it.
        :raises CallError: if the library refuses it.
        :raises LimitError: if there is no reply in time; the worker is of no more use then.
        :raises CorruptError: if the child ended: what it read brought it or its kernel down.
        """
        with self._lock:
            return self.wait(self.submit(op, arguments, body), seconds, progress)

    def submit(self, op: str, arguments: Mapping[str, Json], body: bytes = b"") -> Ticket:
        """Send a request; :meth:`wait` has to be called for each ticket, or for a later one.

        :raises CorruptError: as :meth:`call`.
        """
        header = json.dumps({"op": op, **arguments}).encode("ascii")
        with self._lock:
            if self._failure is not None:
                raise self._ended(self._failure)
            ticket = Ticket(str(arguments["name"]) if op == "call" else op)
            try:
                self._requests.write(_FRAME.pack(len(header), len(body)) + header + body)
                self._requests.flush()
            except OSError as error:
                raise self._fail("ended", error) from error
            self._waiting.append(ticket)
            return ticket

    def wait(
        self,
        ticket: Ticket,
        seconds: float,
        progress: Callable[[int, int], None] | None = None,
    ) -> Reply:
        """Return the reply to a request that was sent; see :meth:`call`."""
        with self._lock:
            deadline = time.monotonic() + seconds
            while ticket.reply is None:
                header, body = self._receive(deadline, ticket.name, seconds)
                if "progress" in header:
                    if progress is not None:
                        progress(*_position(header["progress"]))
                    continue
                self._settle(header, body)
            if isinstance(ticket.reply, CallError):
                raise ticket.reply
            return ticket.reply

    def _settle(self, header: dict[str, Json], body: bytes) -> None:
        """Give a reply to the request that waits longest."""
        if not self._waiting:
            raise self._fail("sent a reply to nothing")
        ticket = self._waiting.popleft()
        if "error" in header:
            errno = header.get("errno")
            message = printable_lines(str(header["error"]))
            ticket.reply = CallError(message, errno if isinstance(errno, int) else 0)
        else:
            ticket.reply = Reply(header.get("value"), body)

    def _receive(self, deadline: float, name: str, seconds: float) -> tuple[dict[str, Json], bytes]:
        """Return the next frame."""
        if self._failure is not None:
            raise self._ended(self._failure)
        header_length, body_length = _FRAME.unpack(self._take(_FRAME.size, deadline, name, seconds))
        if header_length > _HEADER_BYTES_MAX or body_length > _BODY_BYTES_MAX:
            raise self._fail("sent something that is no reply")
        data = self._take(header_length, deadline, name, seconds)
        body = self._take(body_length, deadline, name, seconds)
        try:
            header = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise self._fail("sent something that is no reply", error) from error
        if not isinstance(header, dict):
            raise self._fail("sent something that is no reply")
        return header, body

    def _take(self, length: int, deadline: float, name: str, seconds: float) -> bytes:
        """Return exactly so many bytes of the child's output."""
        while len(self._buffer) < length:
            left = deadline - time.monotonic()
            if left <= 0 or not _is_readable(self._replies, left):
                self._fail("gave no answer")
                raise LimitError(
                    f"libguestfs gave no answer to '{name}' within {seconds:g} seconds",
                    origin=self.origin,
                    hint="without KVM all is slow: try again when the machine has less to do, or"
                    " where /dev/kvm can be used",
                )
            data = os.read(self._replies, _READ_BYTES)
            if not data:
                raise self._fail("ended")
            self._buffer += data
        taken = bytes(self._buffer[:length])
        del self._buffer[:length]
        return taken

    def _fail(self, what: str, cause: Exception | None = None) -> CorruptError:
        """Stop for good; return the error that says why."""
        self._failure = what
        self._stop(grace_seconds=_CLOSE_SECONDS)
        error = self._ended(what)
        error.__cause__ = cause
        return error

    def _ended(self, what: str) -> CorruptError:
        evidence = self.evidence()
        return CorruptError(
            f"libguestfs {what}" + (f": {evidence}" if evidence else ""),
            origin=self.origin,
            hint="look whether 'libguestfs-test-tool' works here; if it does, the input is damaged",
        )

    def evidence(self) -> str:
        """Return the last line that the child or qemu printed; empty if there is none."""
        if self._log.closed:
            return ""
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - _EVIDENCE_BYTES))
        lines = self._log.read().decode("utf-8", "surrogateescape").split("\n")
        return next((printable(line.strip()) for line in reversed(lines) if line.strip()), "")

    def close(self) -> None:
        """End the child, qemu and all that they started."""
        with self._lock:
            self._failure = self._failure or "was closed"
            self._stop(grace_seconds=_CLOSE_SECONDS)
            self._log.close()

    def _stop(self, grace_seconds: float) -> None:
        """Let the library clean up, and kill whatever is left in the process group."""
        process = self._process
        if self._requests.closed:
            return
        with contextlib.suppress(OSError):
            self._requests.close()
        deadline = time.monotonic() + grace_seconds
        while process.poll() is None and time.monotonic() < deadline:
            # what the child still has to say is thrown away, so that it does not wait to say it
            is_readable = _is_readable(self._replies, _POLL_SECONDS)
            if is_readable and not os.read(self._replies, _READ_BYTES):
                time.sleep(_POLL_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(self._replies)


def _is_readable(descriptor: int, seconds: float) -> bool:
    """Wait so long for bytes, or the end of them; ``select`` takes no descriptor above 1023."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _position(value: Json) -> tuple[int, int]:
    if isinstance(value, list) and len(value) == 2:
        done, total = value
        if isinstance(done, int) and isinstance(total, int):
            return done, total
    return 0, 0


def printable_lines(text: str) -> str:
    """Return text of the library or the kernel in a form that is safe in a terminal."""
    return "\n".join(printable(line) for line in text.split("\n"))
