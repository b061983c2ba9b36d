"""A file made of pieces that are decoded, each on its own, as a source."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Protocol

from formats.core.errors import ConvertError
from formats.core.origin import Origin
from formats.core.source import BytesLike, Extent


class Pieces(Protocol):
    """What such a file is made of.

    :ivar starts: where in the file each piece begins, ascending from 0; a piece ends where the
        next one begins. Empty for an empty file.
    """

    @property
    def starts(self) -> Sequence[int]:
        """See above."""
        ...

    def read(self, index: int, skip: int, length: int) -> BytesLike:
        """Return exactly ``length`` bytes of a piece, from its byte ``skip`` on.

        :raises CorruptError: if it cannot be decoded.
        """
        ...

    def is_hole(self, index: int) -> bool:
        """Tell whether a piece is known to be zeros."""
        ...

    def will_need(self, indexes: Iterator[int]) -> None:
        """Take the hint that pieces will be read next, in this order; never fail."""
        ...


class PieceSource:
    """Such a file; see :class:`formats.core.source.ByteSource`."""

    def __init__(self, pieces: Pieces, size: int, origin: Origin) -> None:
        self.size = size
        self.origin = origin
        self._pieces = pieces
        self._starts = pieces.starts

    def _end(self, index: int) -> int:
        return self._starts[index + 1] if index + 1 < len(self._starts) else self.size

    def read_at(self, offset: int, length: int) -> BytesLike:
        """See :meth:`formats.core.source.ByteSource.read_at`."""
        end = min(offset + length, self.size)
        if end <= offset:
            return b""
        index = bisect_right(self._starts, offset) - 1
        parts: list[BytesLike] = []
        try:
            while offset < end:
                count = min(end, self._end(index)) - offset
                parts.append(self._pieces.read(index, offset - self._starts[index], count))
                offset += count
                index += 1
        except ConvertError as error:
            raise error.at(self.origin) from None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def extents(self) -> Iterator[Extent]:
        """Yield pieces as the extents they are, those of one kind that adjoin together."""
        start, was_hole = 0, False
        for index, position in enumerate(self._starts):
            is_hole = self._pieces.is_hole(index)
            if is_hole is not was_hole and position > start:
                yield Extent(start, position - start, was_hole)
                start = position
            was_hole = is_hole
        if self.size > start:
            yield Extent(start, self.size - start, was_hole)

    def will_need(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Let the pieces of these ranges be decoded ahead."""
        self._pieces.will_need(self._indexes(tuple(ranges)))

    def _indexes(self, ranges: Sequence[tuple[int, int]]) -> Iterator[int]:
        last = -1
        for offset, length in ranges:
            end = min(offset + length, self.size)
            if not 0 <= offset < end:
                continue
            first = bisect_right(self._starts, offset) - 1
            for index in range(first, len(self._starts)):
                if self._starts[index] >= end:
                    break
                if index != last:
                    yield index
                last = index
