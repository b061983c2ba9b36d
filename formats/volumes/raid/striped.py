"""Striped volumes: chunks of one volume dealt out in turn to several legs (RAID 0)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from formats.core.errors import CorruptError
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource, Extent


class StripedSource:
    """``len(legs)`` sources of equal size that take turns, ``stripe_bytes`` at a time.

    What a long read needs of one leg is one range of it, so that a read costs one read of each leg
    and a copy of each chunk, however small the chunks are.

    :raises CorruptError: if the legs differ in size or do not hold whole chunks.
    """

    def __init__(self, legs: Sequence[ByteSource], stripe_bytes: int, origin: Origin) -> None:
        self.origin = origin
        self._legs = tuple(legs)
        self._stripe = stripe_bytes
        sizes = {leg.size for leg in legs}
        if len(sizes) != 1 or stripe_bytes < 1 or self._legs[0].size % stripe_bytes:
            raise CorruptError("its stripes do not fill their extents", origin=origin)
        self.size = self._legs[0].size * len(self._legs)

    def read_at(self, offset: int, length: int) -> BytesLike:
        """See :meth:`ByteSource.read_at`."""
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        chunk, skip = divmod(offset, self._stripe)
        row, index = divmod(chunk, len(self._legs))
        if skip + length <= self._stripe:  # inside one chunk: no copy
            return self._legs[index].read_at(row * self._stripe + skip, length)
        result = memoryview(bytearray(length))
        for leg in range(len(self._legs)):
            start, stop = self._before(leg, offset), self._before(leg, offset + length)
            if start < stop:
                data = memoryview(self._legs[leg].read_at(start, stop - start))
                self._deal(leg, start, data, result, offset)
        return result

    def _before(self, leg: int, offset: int) -> int:
        """Return how many bytes of a leg lie before ``offset`` of the volume."""
        row, rest = divmod(offset, self._stripe * len(self._legs))
        return row * self._stripe + min(max(rest - leg * self._stripe, 0), self._stripe)

    def _deal(
        self, leg: int, start: int, data: memoryview, result: memoryview, offset: int
    ) -> None:
        """Copy bytes of a leg from ``start`` to where they belong in a read from ``offset``."""
        done = 0
        while done < len(data):
            row, skip = divmod(start + done, self._stripe)
            count = min(self._stripe - skip, len(data) - done)
            place = (row * len(self._legs) + leg) * self._stripe + skip - offset
            result[place : place + count] = data[done : done + count]
            done += count

    def extents(self) -> Iterator[Extent]:
        """Yield extents; where only some of the legs have a hole, all counts as data.

        To name holes chunk by chunk there would take time without bound: a few megabytes of
        an image can claim terabytes of data on one leg.
        """
        count = len(self._legs)
        cursors = [_Cursor(leg.extents()) for leg in self._legs]
        position = 0  # in each leg; a multiple of the stripe
        while position < self._legs[0].size:
            covering = [cursor.at(position) for cursor in cursors]
            shared = min(end for end, _ in covering) - position
            length = max(shared // self._stripe, 1) * self._stripe
            is_hole = shared >= length and all(hole for _, hole in covering)
            yield Extent(position * count, length * count, is_hole)
            position += length

    def will_need(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Pass the hint on to the legs: one range of each for every range here."""
        for leg, source in enumerate(self._legs):
            wanted = [
                (self._before(leg, offset), self._before(leg, min(offset + length, self.size)))
                for offset, length in ranges
            ]
            source.will_need([(start, stop - start) for start, stop in wanted if start < stop])


class _Cursor:
    """Finds the extent that covers a position, for positions that only grow."""

    def __init__(self, extents: Iterator[Extent]) -> None:
        self._extents = extents
        self._end = 0
        self._is_hole = False

    def at(self, position: int) -> tuple[int, bool]:
        """Return the end of the extent there and whether it is a hole."""
        while self._end <= position:
            extent = next(self._extents)
            self._end = extent.offset + extent.length
            self._is_hole = extent.is_hole
        return self._end, self._is_hole
