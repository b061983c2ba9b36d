"""The bytes of a sparse extent: what :mod:`formats.disks.clusters` needs to know of its grains.

A compressed grain comes after a marker (Virtual Disk Format 5.0, "Stream-Optimized Compressed"):
64 bits with the number of its first sector in the extent, 32 bits with the length of what follows,
then a zlib stream.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from functools import lru_cache

from formats.codecs.units import inflate_zlib
from formats.core.errors import CorruptError
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource, read_exact
from formats.disks.clusters import ClusterSource, Run
from formats.disks.runs import join_run, pass_hints
from formats.disks.vmdk.descriptor import SECTOR_BYTES
from formats.disks.vmdk.tables import TRUNCATED, UNALLOCATED, ZEROED, GrainTables, empty_table

_MARKER = struct.Struct("<QI")
_TABLE_ENTRY_BYTES = 8
_HINT_GRAINS = 1024


class GrainMap:
    """Where each range of a sparse extent is; a :class:`~formats.disks.clusters.ClusterMap`.

    :param backing: the parent's bytes of the same range, as long as the extent; None for a base.
    :param table_bytes: what grain tables may take in memory.
    """

    def __init__(
        self,
        file: ByteSource,
        tables: GrainTables,
        backing: ByteSource | None,
        *,
        table_bytes: int,
        is_compressed: bool,
    ) -> None:
        self.geometry = tables.geometry
        self.size = self.geometry.size
        self.backing = backing
        self._file = file
        self.is_compressed = is_compressed
        self._grain_bytes = self.geometry.grain_bytes
        self._entries = self.geometry.table_entries
        self._empty = empty_table(self._entries)
        kept = max(2, table_bytes // (self._entries * _TABLE_ENTRY_BYTES))
        self._table = lru_cache(maxsize=kept)(tables.load)

    def runs(self, offset: int, length: int) -> Sequence[Run]:
        """See :class:`~formats.disks.clusters.ClusterMap`."""
        found: list[Run] = []
        stop = offset + length
        table_bytes = self._entries * self._grain_bytes
        while offset < stop:
            index = offset // table_bytes
            start = index * table_bytes
            table_stop = min(stop, start + table_bytes)
            table = self._table(index)
            if table is self._empty:
                self._append(found, UNALLOCATED, offset, 0, table_stop - offset)
            else:
                self._table_runs(found, table, start, offset, table_stop)
            offset = table_stop
        return found

    def _table_runs(
        self, found: list[Run], table: array[int], start: int, offset: int, stop: int
    ) -> None:
        """Append the runs from ``offset`` to ``stop``, in the table of what is at ``start``."""
        grain_bytes, grain_sectors = self._grain_bytes, self.geometry.grain
        first = (offset - start) // grain_bytes
        last = -(-(stop - start) // grain_bytes)
        while first < last:
            entry = table[first]
            following = first + 1
            if entry <= ZEROED:
                while following < last and table[following] == entry:
                    following += 1
            elif not self.is_compressed:
                expected = entry + grain_sectors
                while following < last and table[following] == expected:
                    expected += grain_sectors
                    following += 1
            run_stop = min(stop, start + following * grain_bytes)
            skip = offset - start - first * grain_bytes
            self._append(found, entry, offset, skip, run_stop - offset)
            offset, first = run_stop, following

    def _append(self, found: list[Run], entry: int, offset: int, skip: int, length: int) -> None:
        """Append a run of the disk at ``offset``, joined to the last one where they adjoin.

        :param skip: where the run starts inside its first grain.
        """
        source: ByteSource | None = None
        position = 0
        if entry == UNALLOCATED and self.backing is not None:
            source, position = self.backing, offset
        elif entry > ZEROED and self.is_compressed:
            found.append(Run(length, None, skip, offset // self._grain_bytes))
            return
        elif entry > ZEROED:
            source, position = self._file, entry * SECTOR_BYTES + skip
            if position + length > source.size:
                raise CorruptError(
                    "ends inside a grain",
                    origin=source.origin,
                    offset=source.size,
                    hint=TRUNCATED,
                )
        join_run(found, Run(length, source, position))

    def decode(self, unit: int) -> BytesLike:
        """Return grain ``unit``; shorter than a grain only at the end of the extent.

        :raises CorruptError: if its marker is wrong or its stream is damaged.
        """
        index, position = divmod(unit, self._entries)
        table = self._table(index)
        offset = table[position] * SECTOR_BYTES
        head = self._file.read_at(offset, self._likely_bytes(table, position))
        if len(head) < _MARKER.size:
            raise self._damaged("ends inside a grain's marker", offset)
        sector, length = _MARKER.unpack_from(head)
        if sector != unit * self.geometry.grain:
            raise self._damaged(
                f"has a grain for sector {sector:,} where the one for sector"
                f" {unit * self.geometry.grain:,} is expected",
                offset,
            )
        if not 0 < length <= 2 * self._grain_bytes + SECTOR_BYTES:
            raise self._damaged(f"has a compressed grain of {length:,} bytes", offset + 8)
        stop = _MARKER.size + length
        data = memoryview(head)[_MARKER.size : stop]
        if len(head) < stop:
            data = memoryview(
                read_exact(self._file, offset + _MARKER.size, length, "a compressed grain")
            )
        needed = min(self._grain_bytes, self.size - unit * self._grain_bytes)
        try:
            # One byte more than a grain has, since only a stream that ends has its sum checked.
            grain = inflate_zlib(data, self._grain_bytes + 1, at_least=needed)
        except CorruptError as error:
            raise self._damaged(error.message, offset + _MARKER.size) from error
        if len(grain) > self._grain_bytes:
            raise self._damaged("has a compressed grain that goes on beyond its end", offset)
        return grain

    def _likely_bytes(self, table: array[int], position: int) -> int:
        """Return how much to read for a grain: up to the next, as grains mostly follow another."""
        following = table[position + 1] if position + 1 < len(table) else 0
        distance = (following - table[position]) * SECTOR_BYTES
        return distance if 0 < distance <= 2 * self._grain_bytes else self._grain_bytes

    def _damaged(self, message: str, offset: int) -> CorruptError:
        return CorruptError(message, origin=self._file.origin, offset=offset)


class GrainSource(ClusterSource):
    """A sparse extent as a source."""

    def __init__(self, grains: GrainMap, origin: Origin, cache_bytes: int) -> None:
        super().__init__(
            grains, origin, unit_bytes=grains.geometry.grain_bytes, cache_bytes=cache_bytes
        )
        self._grains = grains

    def will_need(self, ranges: Sequence[tuple[int, int]]) -> None:
        """See :meth:`ByteSource.will_need`; what is not compressed needs no threads for it."""
        if self._grains.is_compressed:
            super().will_need(ranges)
            return
        step = _HINT_GRAINS * self._grains.geometry.grain_bytes
        pass_hints(self._grains, ranges, step_bytes=step)
