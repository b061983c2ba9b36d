"""The bytes of a block device in the appliance: a thin volume, an opened LUKS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from formats.codecs.ahead import UnitCache
from formats.core.errors import CorruptError, InputReadError
from formats.core.limits import KIB, MIB
from formats.core.origin import Origin
from formats.core.source import BytesLike, Extent
from formats.guestfs.guest import READ_BYTES, Guest
from formats.guestfs.worker import CallError

_UNIT_BYTES = 256 * KIB
_CACHE_BYTES = 16 * MIB


class BlockSource:
    """See :class:`formats.core.source.ByteSource`. Small reads are served from a cache."""

    def __init__(self, guest: Guest, name: str, size: int, origin: Origin) -> None:
        self.size = size
        self.origin = origin
        self._guest = guest
        self._name = name
        self._cache = UnitCache(self._unit, unit_bytes=_UNIT_BYTES, capacity_bytes=_CACHE_BYTES)

    def read_at(self, offset: int, length: int) -> BytesLike:
        """See :meth:`ByteSource.read_at`."""
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        unit, start = divmod(offset, _UNIT_BYTES)
        if start + length <= _UNIT_BYTES:
            return memoryview(self._cache.get(unit))[start : start + length]
        parts: list[BytesLike] = []
        while length:
            count = min(length, READ_BYTES)
            parts.append(self._read(offset, count))
            offset += count
            length -= count
        return b"".join(parts)

    def _unit(self, number: int) -> bytes:
        offset = number * _UNIT_BYTES
        return self._read(offset, min(_UNIT_BYTES, self.size - offset))

    def _read(self, offset: int, length: int) -> bytes:
        try:
            data = self._guest.read_device(self._name, offset, length)
        except CallError as error:
            otherwise = InputReadError(
                f"libguestfs cannot read it: {error.reason}", origin=self.origin, offset=offset
            )
            raise self._guest.explain(error, otherwise) from error
        if len(data) != length:
            raise CorruptError("ends before its size", origin=self.origin, offset=offset)
        return data

    def extents(self) -> Iterator[Extent]:
        """Yield one extent of data: where the holes are is not known."""
        if self.size:
            yield Extent(0, self.size, is_hole=False)

    def will_need(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Do nothing: the appliance answers one request at a time."""
