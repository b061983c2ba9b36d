"""Disks made of clusters: decoded once, kept for a while, decoded ahead of the reader.

A disk format brings a :class:`ClusterMap`, which says where a range of the guest's disk is; the
rest is here and the same for all formats::

    read ─► ClusterMap.runs ─┬► zeros
                             ├► a run of plain bytes ─► source underneath, in one read
                             └► a piece of a unit ─► UnitCache ─► ClusterMap.decode
    hint ─► ClusterMap.runs ─┬► source underneath (will_need)
                             └► UnitCache.will_need ─► threads ─► ClusterMap.decode

A *unit* is what has to be decoded as a whole: a compressed cluster or grain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from formats.codecs.ahead import UnitCache
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource, Extent, zeros

_URGENT_UNITS = 3
"""A single read of this many units is worth the handing over to threads."""

_SCAN_BYTES = 64 << 20
"""Step of walking a whole disk; the runs of one step are in memory at once, and extents of data do
not grow far beyond it, so that who looks for data need not wait for the end of it."""


class Run(NamedTuple):
    """A piece of the guest's disk that comes from one place.

    :ivar length: bytes.
    :ivar source: where plain bytes are; None for zeros and units.
    :ivar offset: where the piece starts in ``source`` or in the decoded unit.
    :ivar unit: number of the unit to decode, -1 if there is nothing to decode.
    """

    length: int
    source: ByteSource | None = None
    offset: int = 0
    unit: int = -1


class ClusterMap(Protocol):
    """What a disk format knows. All methods are called from several threads at once."""

    @property
    def size(self) -> int:
        """Bytes of the guest's disk."""
        ...

    @property
    def backing(self) -> ByteSource | None:
        """The disk below, whose bytes appear at the same offset; None if there is none."""
        ...

    def runs(self, offset: int, length: int) -> Sequence[Run]:
        """Return what makes up a range that lies inside the disk, in order.

        Adjoining plain bytes are one run, also over many clusters.

        :raises CorruptError: if the tables are damaged there.
        """
        ...

    def decode(self, unit: int) -> BytesLike:
        """Return the whole content of a unit, by a number that came from :meth:`runs`.

        :raises ConvertError: if it cannot be decoded.
        """
        ...


class ClusterSource:
    """A disk made of clusters, as a :class:`~formats.core.source.ByteSource`.

    :param unit_bytes: size of the largest unit.
    :param cache_bytes: what decoded units may take, as in ``limits.cache_bytes``.
    :param threads: how many decode ahead; None: as many as there are processors for.
    """

    def __init__(
        self,
        clusters: ClusterMap,
        origin: Origin,
        *,
        unit_bytes: int,
        cache_bytes: int,
        threads: int | None = None,
    ) -> None:
        self.size = clusters.size
        self.origin = origin
        self._map = clusters
        self._cache = UnitCache(
            clusters.decode, unit_bytes=unit_bytes, capacity_bytes=cache_bytes, threads=threads
        )

    def read_at(self, offset: int, length: int) -> BytesLike:
        """See :meth:`ByteSource.read_at`."""
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        runs = self._map.runs(offset, length)
        if len(runs) == 1:  # nearly every read: one piece, no copy
            return self._piece(runs[0])
        if len(runs) >= _URGENT_UNITS:
            units = [run.unit for run in runs if run.unit >= 0]
            if len(units) >= _URGENT_UNITS:
                self._cache.will_need(units[1:], urgent=True)
        return b"".join([self._piece(run) for run in runs])

    def _piece(self, run: Run) -> BytesLike:
        if run.source is not None:
            return run.source.read_at(run.offset, run.length)
        if run.unit < 0:
            return zeros(run.length)
        data = self._cache.get(run.unit)
        if run.length == len(data):
            return data
        return memoryview(data)[run.offset : run.offset + run.length]

    def extents(self) -> Iterator[Extent]:
        """Yield data and holes as the format's tables have them, and the backing disk's below."""
        pending: Extent | None = None
        for extent in self._raw_extents():
            if pending is None:
                pending = extent
            elif pending.is_hole == extent.is_hole and (
                pending.is_hole or pending.length < _SCAN_BYTES
            ):
                pending = Extent(pending.offset, pending.length + extent.length, extent.is_hole)
            else:
                yield pending
                pending = extent
        if pending is not None:
            yield pending

    def _raw_extents(self) -> Iterator[Extent]:
        """Yield extents that adjoin, alike ones not yet joined."""
        backing = self._map.backing
        below = _ExtentWindow(backing) if backing is not None else None
        position = 0
        while position < self.size:
            step = min(_SCAN_BYTES, self.size - position)
            for run in self._map.runs(position, step):
                if below is not None and run.source is backing:
                    yield from below.between(run.offset, run.offset + run.length)
                else:
                    is_hole = run.source is None and run.unit < 0
                    yield Extent(position, run.length, is_hole)
                position += run.length

    def will_need(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Decode ahead what is compressed there, and pass the hint on for what is not."""
        self._cache.will_need(self._hinted_units(tuple(ranges)))

    def _hinted_units(self, ranges: Sequence[tuple[int, int]]) -> Iterator[int]:
        for offset, length in ranges:
            stop = min(offset + length, self.size)
            position = offset
            while position < stop:
                step = min(_SCAN_BYTES, stop - position)
                for run in self._map.runs(position, step):
                    if run.source is not None:
                        run.source.will_need([(run.offset, run.length)])
                    elif run.unit >= 0:
                        yield run.unit
                position += step

    def close(self) -> None:
        """End the threads; to be given to ``context.on_close``."""
        self._cache.close()


class _ExtentWindow:
    """A source's extents, cut to windows that are asked for from front to back."""

    def __init__(self, source: ByteSource) -> None:
        self._extents = source.extents()
        self._current: Extent | None = next(self._extents, None)

    def between(self, start: int, stop: int) -> Iterator[Extent]:
        """Yield the extents from ``start`` to ``stop``; neither may be less than before."""
        while self._current is not None and start < stop:
            end = self._current.offset + self._current.length
            if end > start:
                length = min(end, stop) - start
                yield Extent(start, length, self._current.is_hole)
                start += length
            if end <= start:
                self._current = next(self._extents, None)
