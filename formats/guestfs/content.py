"""Reading files from the appliance, a little ahead of who consumes them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from formats.core.errors import CorruptError, InputReadError
from formats.core.limits import MIB
from formats.guestfs.guest import READ_BYTES, Guest
from formats.guestfs.worker import CallError, Ticket

_AHEAD_BYTES = 4 * MIB
_AHEAD_REQUESTS = 64
_ANNOUNCED_FILES = 16_384


class _Span(NamedTuple):
    """What is left to ask for of a file."""

    path: bytes
    offset: int
    size: int


class _Piece(NamedTuple):
    """What was asked for and has not been consumed."""

    path: bytes
    offset: int
    length: int
    ticket: Ticket


class ReadAhead:
    """Keeps a few requests on their way, in the order in which files were announced.

    The appliance answers one request after the other; it need not wait for us in between.
    """

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._lock = threading.Lock()
        self._spans: deque[_Span] = deque()
        self._pieces: deque[_Piece] = deque()
        self._bytes = 0

    def announce(self, files: Iterable[tuple[bytes, int]]) -> None:
        """Take the hint that these files, by path and size, will be read next."""
        with self._lock:
            if len(self._spans) > _ANNOUNCED_FILES:  # of a walk that was given up
                self._spans.clear()
            self._spans.extend(_Span(path, 0, size) for path, size in files if size)

    def read(self, path: bytes, size: int) -> Iterator[bytes]:
        """Yield the ``size`` bytes of a file.

        :raises CorruptError: if the appliance cannot read them.
        """
        offset = 0
        while offset < size:
            with self._lock:
                piece = self._take(path, offset, size)
            try:
                data = self._guest.finish(piece.ticket).body
            except CallError as error:
                otherwise = InputReadError(
                    f"libguestfs cannot read it: {error.reason}",
                    origin=self._guest.origin,
                    offset=offset,
                )
                raise self._guest.explain(error, otherwise) from error
            if len(data) != piece.length:
                raise CorruptError("is shorter than its size says", origin=self._guest.origin)
            yield data
            offset += len(data)

    def _take(self, path: bytes, offset: int, size: int) -> _Piece:
        """Return the request for a place in a file, and send as many as may be under way."""
        while self._pieces and self._pieces[0][:2] != (path, offset):
            self._bytes -= self._pieces.popleft().length  # of a file that nobody wanted after all
        if not self._pieces:
            self._go_to(path, offset, size)
        while self._spans and self._bytes < _AHEAD_BYTES and len(self._pieces) < _AHEAD_REQUESTS:
            self._send(self._spans.popleft())
        piece = self._pieces.popleft()
        self._bytes -= piece.length
        return piece

    def _go_to(self, path: bytes, offset: int, size: int) -> None:
        """Make a place in a file what is asked for next; later files stay announced."""
        while self._spans and self._spans[0].path != path:
            self._spans.popleft()
        if self._spans:
            self._spans.popleft()
        self._spans.appendleft(_Span(path, offset, size))

    def _send(self, span: _Span) -> None:
        length = min(READ_BYTES, span.size - span.offset)
        ticket = self._guest.start_reading(span.path, span.offset, length)
        self._pieces.append(_Piece(span.path, span.offset, length, ticket))
        self._bytes += length
        if span.offset + length < span.size:
            self._spans.appendleft(_Span(span.path, span.offset + length, span.size))
