"""The log of a VHDX, replayed in memory.

Specification: [MS-VHDX], 2.3 "Log". All that a program changes in the tables of a disk goes to the
log first; a file that was not closed must not be read without what is in it. The log is a ring of
4 KiB sectors; an entry is a header, descriptors, and a sector of data for each data descriptor.

What is replayed is not copied: the file appears with pieces of its log in their final places.
"""

from __future__ import annotations

import struct
import uuid
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from formats.core.errors import CorruptError, LimitError, UnsupportedError
from formats.core.origin import Origin
from formats.core.source import ByteSource, MappedSource, MemorySource, Segment, slice_source
from formats.disks.vhdx.structures import CHECKSUM, MIB, SECTOR_BYTES, Header, crc32c

_ENTRY = struct.Struct("<4sIIIQI4x16sQQ")
_DESCRIPTOR = struct.Struct("<4s4s8sQQ")
_LEADING_BYTES = 8
_TRAILING_BYTES = 4
_KEPT_BYTES = _LEADING_BYTES + _TRAILING_BYTES
_DATA_BYTES = SECTOR_BYTES - _KEPT_BYTES

_LARGEST_LOG = 128 << 20
_LARGEST_FILE = 1 << 62
_MOST_DESCRIPTORS = 1 << 16
_MOST_ZERO_RANGES = 1 << 16
_PIECE_BYTES = 1 << 20
_CHECKED_LOGS = 8
"""How many times the size of the log is summed up at the most. Entries do not overlap: reading each
once is enough, and what claims otherwise would cost the square of it."""

_HINT = "attach the disk to a Windows machine once, or repair a copy: qemu-img check -r all"


@dataclass(frozen=True, slots=True)
class Replayed:
    """A file as it is once its log is replayed.

    :ivar entries: how many entries were replayed.
    :ivar sectors: how many sectors of 4 KiB they write.
    """

    file: ByteSource
    entries: int
    sectors: int


class _Entry(NamedTuple):
    """The header of a valid entry, in bytes from the start of the log."""

    offset: int
    length: int
    tail: int
    sequence: int
    descriptors: int
    flushed_file_bytes: int
    last_file_bytes: int


class _Descriptor(NamedTuple):
    """One write.

    :ivar data_offset: where in the log its sector is; -1 for zeros.
    :ivar kept: leading and trailing bytes, which the sector in the log does not have.
    """

    file_offset: int
    length: int
    data_offset: int
    kept: bytes = b""


def replay(file: ByteSource, header: Header) -> Replayed | None:
    """Return the file with its log replayed; None if there is nothing to replay.

    :raises CorruptError: if there is no complete sequence of entries, or the file was truncated.
    :raises UnsupportedError: for versions of the log that are not known.
    :raises LimitError: for logs that are too large.
    """
    if not header.log_uuid.int:
        return None
    if header.log_version:
        raise UnsupportedError(
            f"has a pending log of version {header.log_version}, which is not known",
            origin=file.origin,
            hint=_HINT,
        )
    log = _Log(file, header)
    sequence = log.active_sequence()
    if not sequence:
        raise CorruptError(
            "was not closed, and its log has no complete sequence of entries to replay",
            origin=file.origin,
            offset=header.log_offset,
            hint=_HINT,
        )
    head = sequence[-1]
    if file.size < head.flushed_file_bytes:
        raise CorruptError(
            f"has {file.size:,} bytes, and had {head.flushed_file_bytes:,} when its log was"
            " written",
            origin=file.origin,
            hint="the file may be truncated: compare its size with the original",
        )
    writes = _Writes(file.origin)
    for entry in reversed(sequence):
        for descriptor in reversed(list(log.descriptors(entry))):
            writes.add_older(descriptor)
    replayed = writes.over(file, log.ring, head.last_file_bytes)
    return Replayed(replayed, len(sequence), len(writes.sectors))


class _Log:
    """The entries of a log."""

    def __init__(self, file: ByteSource, header: Header) -> None:
        self._origin = file.origin
        self._base = header.log_offset
        self._uuid = header.log_uuid
        self._bytes = header.log_length
        if header.log_length > _LARGEST_LOG:
            raise LimitError(
                f"has a log of {header.log_length:,} bytes, more than the {_LARGEST_LOG:,} that"
                " are replayed",
                origin=file.origin,
                offset=header.log_offset,
                hint=_HINT,
            )
        if not header.log_length or header.log_length % MIB or header.log_offset % MIB:
            raise CorruptError(
                f"has a log of {header.log_length:,} bytes at {header.log_offset:,}",
                origin=file.origin,
                hint=_HINT,
            )
        ring = slice_source(file, header.log_offset, header.log_length, file.origin)
        # Twice, one behind the other, so that entries that wrap round need no care.
        self.ring = MappedSource(
            [
                Segment(0, header.log_length, ring),
                Segment(header.log_length, header.log_length, ring),
            ],
            file.origin,
        )
        self._left_to_check = _CHECKED_LOGS * header.log_length
        self._known: dict[int, _Entry | None] = {}

    def active_sequence(self) -> list[_Entry]:
        """Return the newest complete sequence of entries, oldest first; empty if there is none.

        The steps are those of 2.3.3, "Log Replay", but that all of an incomplete sequence is passed
        over: what starts further on in it ends with the same entry, and is no more complete.
        """
        active: list[_Entry] = []
        tail = 0
        while tail < self._bytes:
            found = self._sequence_at(tail)
            start = _index_of_tail(found)
            is_newer = found and (not active or found[-1].sequence > active[-1].sequence)
            if start is not None and is_newer:
                active = found[start:]
            tail += sum(entry.length for entry in found) or SECTOR_BYTES
        return active

    def _sequence_at(self, offset: int) -> list[_Entry]:
        """Return the valid entries that follow one another from ``offset`` on."""
        found: list[_Entry] = []
        total = 0
        while total < self._bytes:
            entry = self._entry_at((offset + total) % self._bytes)
            if entry is None or (found and entry.sequence != found[-1].sequence + 1):
                break
            total += entry.length
            if total > self._bytes:
                break
            found.append(entry)
        return found

    def _entry_at(self, offset: int) -> _Entry | None:
        if offset not in self._known:
            self._known[offset] = self._read_entry(offset)
        return self._known[offset]

    def _read_entry(self, offset: int) -> _Entry | None:
        """Return the entry at ``offset``, None if there is none that is whole and of this log."""
        (
            signature,
            stored,
            length,
            tail,
            sequence,
            descriptors,
            log_uuid,
            flushed,
            last,
        ) = _ENTRY.unpack(self.ring.read_at(offset, _ENTRY.size))
        if signature != b"loge" or uuid.UUID(bytes_le=log_uuid) != self._uuid or not sequence:
            return None
        if length % SECTOR_BYTES or not 0 < length <= self._bytes or tail % SECTOR_BYTES:
            return None
        entry = _Entry(offset, length, tail, sequence, descriptors, flushed, last)
        if _descriptor_sectors(descriptors) * SECTOR_BYTES > length:
            return None
        if descriptors > _MOST_DESCRIPTORS:
            raise LimitError(
                f"has a log entry of {descriptors:,} writes, more than {_MOST_DESCRIPTORS:,}",
                origin=self._origin,
                offset=self._base + offset,
                hint=_HINT,
            )
        if not self._has_checksum(entry, stored):
            return None
        return entry if self._is_whole(entry) else None

    def _has_checksum(self, entry: _Entry, stored: int) -> bool:
        self._left_to_check -= entry.length
        if self._left_to_check < 0:
            raise CorruptError(
                "has log entries that overlap", origin=self._origin, offset=self._base, hint=_HINT
            )
        crc = 0
        for start in range(0, entry.length, _PIECE_BYTES):
            step = min(_PIECE_BYTES, entry.length - start)
            piece = bytes(self.ring.read_at(entry.offset + start, step))
            if start == 0:
                piece = piece[: CHECKSUM.start] + bytes(4) + piece[CHECKSUM.stop :]
            crc = crc32c(piece, crc)
        return crc == stored

    def _is_whole(self, entry: _Entry) -> bool:
        """Check every descriptor, and that each data sector carries the entry's number."""
        high = struct.pack("<4sI", b"data", entry.sequence >> 32)
        low = struct.pack("<I", entry.sequence & 0xFFFFFFFF)
        end = entry.offset + entry.length
        try:
            for item in self.descriptors(entry):
                if item.data_offset < 0:
                    continue
                if item.data_offset + SECTOR_BYTES > end:
                    return False
                sector = bytes(self.ring.read_at(item.data_offset, SECTOR_BYTES))
                if not sector.startswith(high) or not sector.endswith(low):
                    return False
        except CorruptError:
            return False
        return True

    def descriptors(self, entry: _Entry) -> Iterator[_Descriptor]:
        """Yield what an entry writes.

        :raises CorruptError: if a descriptor cannot be true.
        """
        sectors = _descriptor_sectors(entry.descriptors)
        place = entry.offset + _ENTRY.size
        data_offset = entry.offset + sectors * SECTOR_BYTES
        for _ in range(entry.descriptors):
            kind, trailing, leading, file_offset, sequence = _DESCRIPTOR.unpack(
                self.ring.read_at(place, _DESCRIPTOR.size)
            )
            is_data = kind == b"desc"
            length = SECTOR_BYTES if is_data else int.from_bytes(leading, "little")
            if (
                kind not in {b"desc", b"zero"}
                or sequence != entry.sequence
                or file_offset % SECTOR_BYTES
                or length % SECTOR_BYTES
                or file_offset + length > _LARGEST_FILE
            ):
                raise CorruptError(
                    "has a log entry with a descriptor that cannot be true",
                    origin=self._origin,
                    offset=self._base + place % self._bytes,
                )
            place += _DESCRIPTOR.size
            if is_data:
                yield _Descriptor(file_offset, length, data_offset, leading + trailing)
                data_offset += SECTOR_BYTES
            else:
                yield _Descriptor(file_offset, length, -1)


def _descriptor_sectors(count: int) -> int:
    """Return how many sectors the header of an entry and its descriptors take."""
    return -(-(_ENTRY.size + count * _DESCRIPTOR.size) // SECTOR_BYTES)


def _index_of_tail(sequence: list[_Entry]) -> int | None:
    """Return which entry the newest one names as the oldest; None if that one is not there."""
    if not sequence:
        return None
    tail = sequence[-1].tail
    return next((index for index, entry in enumerate(sequence) if entry.offset == tail), None)


class _Writes:
    """What all descriptors together write; they are added from the newest to the oldest."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self.sectors: dict[int, _Descriptor] = {}
        """Data by where it goes in the file."""
        self._starts: list[int] = []
        self._ends: list[int] = []
        """Ranges that are zeros where there is no data; rising, and none touches another."""

    def add_older(self, write: _Descriptor) -> None:
        """Add a write under those that are there already."""
        if write.data_offset < 0:
            self._add_zeros(write.file_offset, write.file_offset + write.length)
        elif not self._is_zero(write.file_offset):
            self.sectors.setdefault(write.file_offset, write)

    def _is_zero(self, offset: int) -> bool:
        index = bisect_right(self._starts, offset) - 1
        return index >= 0 and offset < self._ends[index]

    def _add_zeros(self, start: int, end: int) -> None:
        first = bisect_left(self._ends, start)
        last = bisect_right(self._starts, end)
        if first < last:
            start = min(start, self._starts[first])
            end = max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]
        if len(self._starts) > _MOST_ZERO_RANGES:
            raise LimitError(
                f"has a log that zeroes more than {_MOST_ZERO_RANGES:,} places",
                origin=self._origin,
                hint=_HINT,
            )

    def over(self, file: ByteSource, ring: ByteSource, at_least: int) -> ByteSource:
        """Return ``file`` with the writes in it.

        :param ring: the log.
        :param at_least: size that the file has at the end.
        """
        kept = MemorySource(b"".join(write.kept for write in self.sectors.values()), file.origin)
        places = {offset: index for index, offset in enumerate(self.sectors)}
        size = max(file.size, at_least, *self._ends, 0)
        size = max(size, max(self.sectors, default=-SECTOR_BYTES) + SECTOR_BYTES)
        segments: list[Segment] = []
        position = 0
        for offset in (*sorted(self.sectors), size):
            segments += self._below(file, position, offset)
            if offset == size:
                break
            data = self.sectors[offset].data_offset + _LEADING_BYTES
            index = places[offset] * _KEPT_BYTES
            middle = offset + _LEADING_BYTES
            end = middle + _DATA_BYTES
            segments += [
                Segment(offset, _LEADING_BYTES, kept, index),
                Segment(middle, _DATA_BYTES, ring, data),
                Segment(end, _TRAILING_BYTES, kept, index + _LEADING_BYTES),
            ]
            position = offset + SECTOR_BYTES
        return MappedSource(segments, file.origin)

    def _below(self, file: ByteSource, start: int, stop: int) -> Iterator[Segment]:
        """Yield a range without data of the log: the file's own bytes and zeros."""
        index = bisect_right(self._ends, start)
        while start < stop:
            zero_start = zero_end = stop
            if index < len(self._starts):
                zero_start = min(stop, max(start, self._starts[index]))
                zero_end = min(stop, self._ends[index])
            own = max(0, min(zero_start, file.size) - start)
            yield Segment(start, own, file, start)
            yield Segment(start + own, max(zero_end, zero_start) - start - own, None)
            start = max(zero_end, zero_start)
            index += 1
