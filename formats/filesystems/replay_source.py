"""A volume with the blocks of its journal laid over it."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from formats.core.source import BytesLike, ByteSource, Extent


class ReplayedSource:
    """``source``, where some blocks are read from elsewhere in it, or from memory.

    Costs 16 bytes for each such block. A read that touches none of them goes straight through.

    :param numbers: the blocks, rising.
    :param places: for each, the byte where its content begins in ``source`` followed by
        ``content``; the lowest bit set where the content is escaped.
    :param content: blocks that are in memory.
    :param escape: what the content of escaped blocks begins with; zeros stand for it.
    """

    def __init__(
        self,
        source: ByteSource,
        block_bytes: int,
        numbers: array[int],
        places: array[int],
        content: BytesLike = b"",
        escape: bytes = b"",
    ) -> None:
        self.origin = source.origin
        self.size = source.size
        self._source = source
        self._block_bytes = block_bytes
        self._numbers = numbers
        self._places = places
        self._content = content
        self._escape = escape

    def _pieces(self, offset: int, length: int) -> Iterator[tuple[int, int, int | None]]:
        """Yield (offset, length, place's index or None) for a range inside the source."""
        size = self._block_bytes
        end = offset + length
        index = bisect_left(self._numbers, offset // size)
        while offset < end:
            start = self._numbers[index] * size if index < len(self._numbers) else end
            if start > offset:
                stop = min(start, end)
                yield offset, stop - offset, None
            else:
                stop = min(start + size, end)
                yield offset, stop - offset, index
                index += 1
            offset = stop

    def _moved(self, offset: int, index: int) -> int:
        """Return where in the source the byte at ``offset``, in replayed block, really is."""
        return (self._places[index] & ~1) + offset % self._block_bytes

    def read_at(self, offset: int, length: int) -> BytesLike:
        """See :meth:`formats.core.source.ByteSource.read_at`."""
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        parts = [self._read_piece(*piece) for piece in self._pieces(offset, length)]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read_piece(self, offset: int, length: int, index: int | None) -> BytesLike:
        if index is None:
            return self._source.read_at(offset, length)
        place = self._moved(offset, index)
        if place >= self.size:
            return self._content[place - self.size : place - self.size + length]
        data = self._source.read_at(place, length)
        skip = offset % self._block_bytes
        if self._places[index] & 1 and skip < len(self._escape):
            begin = self._escape[skip : skip + length]
            return b"".join((begin, data[len(begin) :]))
        return data

    def extents(self) -> Iterator[Extent]:
        """Yield the source's extents; a hole under replayed blocks is none there."""
        for extent in self._source.extents():
            if not extent.is_hole:
                yield extent
                continue
            for offset, length, index in self._pieces(extent.offset, extent.length):
                yield Extent(offset, length, is_hole=index is None)

    def will_need(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Pass the hint on, with replayed blocks where they really are."""
        moved: list[tuple[int, int]] = []
        for offset, length in ranges:
            for start, count, index in self._pieces(offset, min(length, self.size - offset)):
                place = start if index is None else self._moved(start, index)
                if place < self.size:
                    moved.append((place, count))
        self._source.will_need(moved)
