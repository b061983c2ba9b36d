"""The space of logical addresses: reading through chunks, from whichever copy is right."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from formats.core.errors import ConvertError, CorruptError, UnsupportedError
from formats.core.finding import Action, Finding
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource
from formats.filesystems.btrfs.chunks import Chunk, ChunkMap, Place
from formats.filesystems.btrfs.superblock import Superblock

_MOST_COPIES = 8


class Device(NamedTuple):
    """One device of a filesystem, and what its superblock says."""

    source: ByteSource
    superblock: Superblock


class Space:
    """Logical addresses of one filesystem.

    :param devices: by number.
    :param note: told of copies that could not be used, once for each device.
    """

    def __init__(
        self,
        devices: dict[int, Device],
        chunks: Sequence[Chunk],
        origin: Origin,
        note: Callable[[Finding], None],
    ) -> None:
        self.origin = origin
        self.chunk_map = ChunkMap(list(chunks), origin)
        self._sources = {number: device.source for number, device in devices.items()}
        newest = max(device.superblock.generation for device in devices.values())
        self._behind = {
            number for number, device in devices.items() if device.superblock.generation != newest
        }
        """Devices that missed something; what is on them is asked for last."""
        self._note = note
        self._noted: set[int] = set()
        self._lock = threading.Lock()

    def read(
        self, logical: int, length: int, fault: str, is_right: Callable[[BytesLike], bool]
    ) -> BytesLike:
        """Return the first copy of a range that is right.

        :param fault: what is said if it is not right.
        :raises UnsupportedError: if it is on a device that is not there.
        :raises CorruptError: if no copy is right.
        """
        failure: ConvertError | None = None
        for copy in range(_MOST_COPIES):
            try:
                data = self._read_copy(logical, length, copy)
            except ConvertError as error:
                failure = failure or error
                continue
            if data is None:
                break
            if is_right(data):
                if failure is not None:
                    self._note_copy(logical, failure)
                return data
            failure = failure or self.damaged(logical, fault)
        raise failure or self.damaged(logical, fault)

    def _read_copy(self, logical: int, length: int, copy: int) -> BytesLike | None:
        """Return one copy of a range; None if nothing in it has so many."""
        parts: list[BytesLike] = []
        has_copy = copy == 0
        for place in self.chunk_map.places(logical, length):
            copies = self._in_order(place)
            has_copy = has_copy or copy < len(copies)
            number, offset = copies[copy % len(copies)]
            source = self._sources.get(number)
            if source is None:
                raise UnsupportedError(
                    f"needs the device with number {number}, which is not among the disks given",
                    origin=self.origin,
                    hint="give all disks of the filesystem together",
                )
            data = source.read_at(offset, place.length)
            if len(data) != place.length:
                raise CorruptError(
                    f"logical address {logical:,} is beyond the end of its device",
                    origin=source.origin,
                    offset=offset,
                    hint="the file may be truncated: compare its size with the original",
                )
            parts.append(data)
        if not has_copy:
            return None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _in_order(self, place: Place) -> Sequence[tuple[int, int]]:
        """Return the copies of a place: those on devices that are there and up to date first."""
        if len(place.copies) == 1:
            return place.copies
        sources, behind = self._sources, self._behind
        return sorted(place.copies, key=lambda copy: (copy[0] not in sources, copy[0] in behind))

    def _note_copy(self, logical: int, failure: ConvertError) -> None:
        """Say that another copy had to be used."""
        number = next(iter(self.chunk_map.places(logical, 1))).copies[0][0]
        with self._lock:
            if number in self._noted:
                return
            self._noted.add(number)
        place = str(self.origin).encode("utf-8", "surrogateescape")
        evidence = f"{failure.message}; the other copy is used, here and wherever it is needed"
        self._note(Finding("btrfs-copy", place, Action.REPORTED, evidence))

    def will_need(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Pass a hint on to the devices: logical addresses and lengths."""
        by_device: dict[int, list[tuple[int, int]]] = {}
        try:
            for logical, length in ranges:
                for place in self.chunk_map.places(logical, length):
                    number, offset = self._in_order(place)[0]
                    by_device.setdefault(number, []).append((offset, place.length))
        except ConvertError:  # a hint never fails: read() says what is wrong
            pass
        for number, wanted in by_device.items():
            if number in self._sources:
                self._sources[number].will_need(wanted)

    def damaged(self, logical: int, what: str) -> CorruptError:
        """Return the error about something at a logical address; its offset is on the device."""
        try:
            number, offset = next(iter(self.chunk_map.places(logical, 1))).copies[0]
        except ConvertError:
            return CorruptError(f"{what}, at logical address {logical:,}", origin=self.origin)
        source = self._sources.get(number)
        return CorruptError(
            what,
            origin=source.origin if source is not None else self.origin,
            offset=offset,
            hint="run 'btrfs check' on a copy",
        )
