"""Volumes whose chunks lie on several members by some rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource, Extent
from formats.volumes.raid.layouts import Placement

_HINT_CHUNKS = 1024
"""How many chunks of one hint are passed on."""


class ChunkedSource:
    """``chunks`` chunks, each read from the first of its copies that is there.

    :param members: None for those that are missing or must not be read.
    :raises CorruptError: on reading, where a member is too small for the chunks on it.
    """

    def __init__(
        self,
        members: Sequence[ByteSource | None],
        placement: Placement,
        *,
        chunk_bytes: int,
        chunks: int,
        origin: Origin,
    ) -> None:
        self.origin = origin
        self.size = chunks * chunk_bytes
        self._members = tuple(members)
        self._placement = placement
        self._chunk = chunk_bytes

    def _place(self, chunk: int) -> tuple[ByteSource, int]:
        """Return the member of a chunk and the byte that it starts at."""
        for member, row in self._placement(chunk):
            source = self._members[member]
            if source is not None:
                return source, row * self._chunk
        raise UnsupportedError(
            "has a chunk that is on none of the members that can be read",
            origin=self.origin,
            offset=chunk * self._chunk,
        )

    def read_at(self, offset: int, length: int) -> BytesLike:
        """See :meth:`ByteSource.read_at`."""
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        parts = [self._piece(*piece) for piece in self._pieces(offset, length)]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _pieces(self, offset: int, length: int) -> Iterator[tuple[int, int, int]]:
        """Yield chunk, offset in it, and length."""
        while length > 0:
            chunk, skip = divmod(offset, self._chunk)
            count = min(length, self._chunk - skip)
            yield chunk, skip, count
            offset += count
            length -= count

    def _piece(self, chunk: int, skip: int, count: int) -> BytesLike:
        source, start = self._place(chunk)
        data = source.read_at(start + skip, count)
        if len(data) != count:
            raise CorruptError("a chunk is cut short", origin=source.origin, offset=start)
        return data

    def extents(self) -> Iterator[Extent]:
        """Yield one extent of data: holes of members are not looked for."""
        if self.size:
            yield Extent(0, self.size, is_hole=False)

    def will_need(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Pass the hint on to the members, as far as it is short."""
        left = _HINT_CHUNKS
        for offset, length in ranges:
            for chunk, skip, count in self._pieces(offset, min(length, self.size - offset)):
                if left == 0:
                    return
                left -= 1
                source, start = self._place(chunk)
                source.will_need([(start + skip, count)])
