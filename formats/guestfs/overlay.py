"""What is written over a source that never changes: kept in memory, and bounded.

The appliance's kernel writes when it replays a journal, assembles RAID or checks a filesystem.
"""

from __future__ import annotations

import threading

from formats.core.source import BytesLike, ByteSource

BLOCK_BYTES = 4096
"""Unit of what is kept; kernels write whole pages nearly always."""
SECTOR_BYTES = 512


class OverlayFullError(Exception):
    """More was written than memory was set aside for."""


class Budget:
    """Memory that the overlays of one appliance share.

    :ivar is_exceeded: whether a write was refused.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.is_exceeded = False
        self._left = limit_bytes
        self._lock = threading.Lock()

    def take(self, count: int) -> None:
        """Take so many bytes.

        :raises OverlayFullError: if there are not as many left.
        """
        with self._lock:  # each disk has a thread
            if count > self._left:
                self.is_exceeded = True
                raise OverlayFullError
            self._left -= count


class Overlay:
    """A source with what was written over it. For one thread at a time.

    :ivar size: of the source, rounded up to whole sectors, as a disk has them.
    """

    def __init__(self, source: ByteSource, budget: Budget) -> None:
        self.size = -(-source.size // SECTOR_BYTES) * SECTOR_BYTES
        self._source = source
        self._budget = budget
        self._blocks: dict[int, bytearray] = {}

    def read(self, offset: int, length: int) -> BytesLike:
        """Return bytes that lie inside ``size``.

        :raises ConvertError: if the source cannot give them.
        """
        numbers = range(offset // BLOCK_BYTES, -(-(offset + length) // BLOCK_BYTES))
        written = [number for number in numbers if number in self._blocks] if self._blocks else []
        if not written:
            return self._below(offset, length)
        data = bytearray(self._below(offset, length))
        for number in written:
            place = number * BLOCK_BYTES - offset
            start, stop = max(place, 0), min(place + BLOCK_BYTES, length)
            data[start:stop] = self._blocks[number][start - place : stop - place]
        return memoryview(data)

    def _below(self, offset: int, length: int) -> BytesLike:
        data = self._source.read_at(offset, length)
        if len(data) < length:  # the last sector is not whole
            return bytes(data) + bytes(length - len(data))
        return data

    def write(self, offset: int, data: memoryview) -> None:
        """Keep bytes that lie inside ``size``.

        :raises OverlayFullError: if there is no memory left for them.
        :raises ConvertError: if the source cannot give the rest of a block.
        """
        position = 0
        while position < len(data):
            number, start = divmod(offset + position, BLOCK_BYTES)
            count = min(BLOCK_BYTES - start, len(data) - position)
            block = self._blocks.get(number)
            if block is None:
                self._budget.take(BLOCK_BYTES)
                whole = count == BLOCK_BYTES
                base = b"" if whole else self._below(number * BLOCK_BYTES, BLOCK_BYTES)
                block = self._blocks[number] = bytearray(base) or bytearray(BLOCK_BYTES)
            block[start : start + count] = data[position : position + count]
            position += count
