"""Byte sources: immutable, cursorless, thread-safe random access to a range of bytes.

A disk image, a partition, a logical volume and a plain file all look the same to the reader that
comes next. :class:`FileSource` uses ``pread(2)`` and not a memory map: a failing disk or a file
that shrinks must be an error with an offset, and through a map it would be a SIGBUS.
"""

from __future__ import annotations

import bisect
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from formats.core.errors import CorruptError, InputReadError, UnsupportedError
from formats.core.origin import Origin, printable

BytesLike: TypeAlias = bytes | memoryview

ZERO_CHUNK_BYTES = 1 << 20
ZEROS = memoryview(bytes(ZERO_CHUNK_BYTES))
"""A megabyte of zeros, shared by everything that reads holes."""

_ADVISE_BATCH = 4096


@dataclass(frozen=True, slots=True)
class Extent:
    """``length`` bytes at ``offset`` of a source; ``is_hole`` says that they are known zeros."""

    offset: int
    length: int
    is_hole: bool


class ByteSource(Protocol):
    """Random access to ``size`` immutable bytes."""

    @property
    def size(self) -> int:
        """Length in bytes."""
        ...

    @property
    def origin(self) -> Origin:
        """Breadcrumb for messages."""
        ...

    def read_at(self, offset: int, length: int) -> BytesLike:
        """Return ``length`` bytes from ``offset``; fewer only where the source ends.

        Thread-safe. The result is immutable in practice: callers never write into it.

        :raises CorruptError: if the format that holds the bytes is damaged there.
        """
        ...

    def extents(self) -> Iterator[Extent]:
        """Yield the whole source as adjoining extents in order; holes are named as such."""
        ...

    def will_need(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Take the hint that ``(offset, length)`` ranges will be read next, in this order.

        Never fails and never changes what is read; a source is free to ignore it.
        """
        ...


def read_exact(source: ByteSource, offset: int, length: int, what: str) -> BytesLike:
    """Return exactly ``length`` bytes.

    :param what: the structure being read, for the message: "the GPT header".
    :raises CorruptError: if the source ends before.
    """
    if offset < 0 or length < 0 or offset + length > source.size:
        raise CorruptError(
            f"{what} lies outside of the {source.size:,} bytes there are",
            origin=source.origin,
            offset=offset,
            hint="the file may be truncated: compare its size with the original",
        )
    data = source.read_at(offset, length)
    if len(data) != length:
        raise CorruptError(f"{what} is cut short", origin=source.origin, offset=offset)
    return data


def zeros(length: int) -> BytesLike:
    """Return ``length`` zero bytes, shared where that is possible."""
    return ZEROS[:length] if length <= ZERO_CHUNK_BYTES else bytes(length)


class FileSource:
    """A regular file or block device of the host, opened read-only.

    :param follow: follow a symlink at the end of the path.
    :param folder: handle of the folder that a relative path starts from; default: the present one.
    :raises InputReadError: if it cannot be opened or is neither of the two.
    """

    def __init__(
        self,
        path: Path,
        origin: Origin | None = None,
        *,
        follow: bool = True,
        folder: int | None = None,
    ) -> None:
        self.origin = origin or Origin((printable(path.name),))
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
        try:
            self._fd = os.open(path, flags, dir_fd=folder)
        except OSError as error:
            raise InputReadError(
                f"cannot open: {error.strerror}", origin=self.origin, hint=_open_hint(error)
            ) from error
        try:
            mode = os.fstat(self._fd).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
                raise UnsupportedError("is not a file or block device", origin=self.origin)
            self.size = os.lseek(self._fd, 0, os.SEEK_END)
        except BaseException:
            os.close(self._fd)
            raise
        self._lock = threading.Lock()
        self._is_open = True

    def read_at(self, offset: int, length: int) -> bytes:
        """See :meth:`ByteSource.read_at`."""
        wanted = min(length, self.size - offset)
        if wanted <= 0:
            return b""
        try:
            data = os.pread(self._fd, wanted, offset)
            while len(data) < wanted:  # pread is free to return less, at 2 GiB it always does
                more = os.pread(self._fd, wanted - len(data), offset + len(data))
                if not more:
                    raise CorruptError(
                        "the file became shorter while it was read",
                        origin=self.origin,
                        offset=offset + len(data),
                    )
                data += more
        except OSError as error:
            raise InputReadError(
                f"cannot read: {error.strerror}", origin=self.origin, offset=offset
            ) from error
        return data

    def extents(self) -> Iterator[Extent]:
        """Yield data and holes as the host's filesystem knows them (``lseek(2)`` SEEK_DATA)."""
        position = 0
        while position < self.size:
            try:
                data = os.lseek(self._fd, position, os.SEEK_DATA)
            except OSError:  # ENXIO: nothing but a hole up to the end
                data = self.size
            if data > position:
                yield Extent(position, data - position, is_hole=True)
            if data >= self.size:
                return
            try:
                position = os.lseek(self._fd, data, os.SEEK_HOLE)
            except OSError:
                position = self.size
            yield Extent(data, position - data, is_hole=False)

    def will_need(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Ask the kernel to read ahead (``posix_fadvise(2)`` WILLNEED)."""
        for offset, length in ranges[:_ADVISE_BATCH]:
            try:
                os.posix_fadvise(self._fd, offset, length, os.POSIX_FADV_WILLNEED)
            except OSError:  # a hint that cannot be taken is no error
                return

    def close(self) -> None:
        """Close the file; reading afterwards fails."""
        with self._lock:
            if self._is_open:
                self._is_open = False
                os.close(self._fd)


def _open_hint(error: OSError) -> str | None:
    if isinstance(error, PermissionError):
        return "check the file's permissions"
    if isinstance(error, FileNotFoundError):
        return "check the path"
    return None


class MemorySource:
    """Bytes that are in memory already."""

    def __init__(self, data: BytesLike, origin: Origin) -> None:
        self._data = memoryview(data).toreadonly().cast("B")
        self.size = len(self._data)
        self.origin = origin

    def read_at(self, offset: int, length: int) -> BytesLike:
        """See :meth:`ByteSource.read_at`."""
        return self._data[offset : offset + length]

    def extents(self) -> Iterator[Extent]:
        """Yield one extent of data."""
        if self.size:
            yield Extent(0, self.size, is_hole=False)

    def will_need(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Do nothing: all is here."""


@dataclass(frozen=True, slots=True)
class Segment:
    """``length`` bytes that appear at ``offset``; they come from ``source``, or are zeros."""

    offset: int
    length: int
    source: ByteSource | None
    source_offset: int = 0


class MappedSource:
    """A source put together from pieces of others: slices, linear volumes, split images.

    :param segments: adjoining, in order, starting at 0.
    :raises CorruptError: if a piece lies outside of its source.
    """

    def __init__(self, segments: Sequence[Segment], origin: Origin) -> None:
        self.origin = origin
        self._segments = tuple(segment for segment in segments if segment.length)
        position = 0
        for segment in self._segments:
            if segment.offset != position or segment.length < 0:
                raise CorruptError("its pieces do not adjoin", origin=origin, offset=position)
            inner = segment.source
            if inner is not None and not (
                0 <= segment.source_offset <= inner.size - segment.length
            ):
                raise CorruptError(
                    f"ends at byte {segment.source_offset + segment.length:,} of {inner.origin},"
                    f" which has {inner.size:,}",
                    origin=origin,
                    offset=segment.offset,
                    hint="the file may be truncated: compare its size with the original",
                )
            position += segment.length
        self.size = position
        self._starts = [segment.offset for segment in self._segments]

    def _pieces(self, offset: int, length: int) -> Iterator[tuple[Segment, int, int]]:
        """Yield (segment, offset inside it, length) for a range that lies inside the source."""
        index = bisect.bisect_right(self._starts, offset) - 1
        while length > 0:
            segment = self._segments[index]
            skip = offset - segment.offset
            count = min(length, segment.length - skip)
            yield segment, skip, count
            offset += count
            length -= count
            index += 1

    def read_at(self, offset: int, length: int) -> BytesLike:
        """See :meth:`ByteSource.read_at`."""
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        index = bisect.bisect_right(self._starts, offset) - 1
        segment = self._segments[index]
        skip = offset - segment.offset
        if skip + length <= segment.length:  # nearly every read: one piece, no copy
            if segment.source is None:
                return zeros(length)
            return segment.source.read_at(segment.source_offset + skip, length)
        parts: list[BytesLike] = []
        for piece, start, count in self._pieces(offset, length):
            if piece.source is None:
                parts.append(zeros(count))
            else:
                parts.append(piece.source.read_at(piece.source_offset + start, count))
        return b"".join(parts)

    def extents(self) -> Iterator[Extent]:
        """Yield the extents of the sources underneath, moved to where they appear here."""
        known: dict[int, list[Extent]] = {}
        for segment in self._segments:
            if segment.source is None:
                yield Extent(segment.offset, segment.length, is_hole=True)
                continue
            if id(segment.source) not in known:  # a file may be of very many pieces of one volume
                known[id(segment.source)] = list(segment.source.extents())
            inner = known[id(segment.source)]
            first, last = segment.source_offset, segment.source_offset + segment.length
            index = bisect.bisect_right(inner, first, key=lambda extent: extent.offset) - 1
            while index < len(inner) and inner[index].offset < last:
                extent = inner[index]
                start = max(first, extent.offset)
                stop = min(last, extent.offset + extent.length)
                yield Extent(segment.offset + start - first, stop - start, extent.is_hole)
                index += 1

    def will_need(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Pass the hint on to the sources underneath, in the same order."""
        batch: list[tuple[int, int]] = []
        batch_source: ByteSource | None = None
        for offset, length in ranges:
            for segment, start, count in self._pieces(offset, min(length, self.size - offset)):
                if segment.source is None:
                    continue
                if segment.source is not batch_source:
                    if batch_source is not None:
                        batch_source.will_need(batch)
                    batch, batch_source = [], segment.source
                batch.append((segment.source_offset + start, count))
        if batch_source is not None:
            batch_source.will_need(batch)


def slice_source(source: ByteSource, offset: int, length: int, origin: Origin) -> MappedSource:
    """Return ``length`` bytes of ``source`` from ``offset`` as a source of their own.

    :raises CorruptError: if they lie outside of ``source``.
    """
    return MappedSource([Segment(0, length, source, offset)], origin)
