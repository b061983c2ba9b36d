"""A decompressed copy on the host's disk that can be read anywhere; zeros take no room in it."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from formats.core.errors import LimitError, OutputError
from formats.core.limits import KIB, Limits
from formats.core.origin import Origin
from formats.core.source import FileSource

_HOLE_BYTES = 64 * KIB
"""Zeros of this size, at a multiple of it, become a hole."""
_ZEROS = bytes(_HOLE_BYTES)  # bytes are compared at once, memory views one item after the other


class Spool:
    """A file without a name, so that nothing is left of it whatever happens.

    :param origin: of what goes into it.
    :ivar size: bytes that went in.
    :ivar stored_bytes: bytes that are no holes.
    """

    def __init__(self, folder: Path, origin: Origin, limits: Limits) -> None:
        self.size = 0
        self.stored_bytes = 0
        self._origin = origin
        self._limits = limits
        self._folder = folder
        try:
            self._fd, name = tempfile.mkstemp(dir=folder)
            Path(name).unlink()
        except OSError as error:
            raise self._failed(error) from error

    def add(self, block: bytes) -> None:
        """Append bytes; zeros are left out.

        :raises LimitError: if they are more than ``limits`` allow.
        :raises OutputError: if there is no room for them.
        """
        limit = self._limits.disk_virtual_bytes
        if self.size + len(block) > limit:
            raise self._too_large("bytes", limit, "disk_virtual_bytes")
        view = memoryview(block)
        written = start = 0
        while start < len(block):
            # pieces end at multiples of the hole's size, whatever the blocks are
            stop = min(len(block), start + _HOLE_BYTES - (self.size + start) % _HOLE_BYTES)
            if block.startswith(_ZEROS[: stop - start], start):
                self._write(view[written:start], self.size + written)
                written = stop
            start = stop
        self._write(view[written:], self.size + written)
        self.size += len(block)

    def _write(self, data: memoryview, offset: int) -> None:
        if self.stored_bytes + len(data) > self._limits.spool_bytes:
            raise self._too_large("bytes of data", self._limits.spool_bytes, "spool_bytes")
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(self._fd, data[written:], offset + written)
        except OSError as error:
            raise self._failed(error) from error
        self.stored_bytes += len(data)

    def read_at(self, offset: int, length: int) -> bytes:
        """Return bytes that went in already; fewer where they end.

        :raises OutputError: if they cannot be read back.
        """
        length = min(length, self.size - offset)
        try:
            data = os.pread(self._fd, length, offset)
        except OSError as error:
            raise self._failed(error) from error
        return data.ljust(length, b"\0")  # a hole at the end is not in the file yet

    def finish(self) -> FileSource:
        """Return all that went in as a source, which the caller closes; nothing goes in any more.

        :raises OutputError: if there is no room for it.
        """
        try:
            os.ftruncate(self._fd, self.size)
        except OSError as error:
            raise self._failed(error) from error
        return FileSource(Path(f"/proc/self/fd/{self._fd}"), self._origin)

    def close(self) -> None:
        """Let go of the file; what :meth:`finish` gave can still be read."""
        os.close(self._fd)

    def _too_large(self, what: str, limit: int, name: str) -> LimitError:
        return LimitError(
            f"decompresses to more than {limit:,} {what}",
            origin=self._origin,
            hint=f"raise the limit on {name} if the input is trusted",
        )

    def _failed(self, error: OSError) -> OutputError:
        hint = "name a folder for decompressed copies with --spool DIR"
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            hint = "name one with more room: --spool DIR"
        return OutputError(
            f"the decompressed copy cannot be kept in {self._folder}: {error.strerror}"
            f" after {self.stored_bytes:,} bytes",
            origin=self._origin,
            hint=hint,
        )
