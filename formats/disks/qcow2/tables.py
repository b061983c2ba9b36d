"""Where the guest's clusters are: L1 and L2 tables of a qcow2 image.

Specification: QEMU, docs/interop/qcow2.txt, sections "Cluster mapping" and "Extended L2 Entries".
Tables are read when they are first needed, and kept as arrays of 64-bit words, a bounded number of
them: a fragmented disk of terabytes must not need gigabytes of tables.
"""

from __future__ import annotations

import sys
import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from formats.codecs.units import UnitDecoder, decode_zstd, inflate_raw
from formats.core.errors import CorruptError
from formats.core.source import BytesLike, ByteSource, read_exact
from formats.disks.clusters import Run
from formats.disks.qcow2.header import Compression, Header
from formats.disks.runs import join_run

_OFFSET_MASK = 0x00FF_FFFF_FFFF_FE00
_COMPRESSED = 1 << 62
_DESCRIPTOR_MASK = _COMPRESSED - 1
_READS_AS_ZEROS = 1
_SECTOR_BYTES = 512

_SUBCLUSTERS = 32
_ALL_SUBCLUSTERS = (1 << _SUBCLUSTERS) - 1

_TABLE_CACHE_BYTES = 8 << 20
_MIN_TABLES = 4

_DECODERS: dict[Compression, UnitDecoder] = {
    Compression.ZLIB: inflate_raw,
    Compression.ZSTD: decode_zstd,
}


class _Piece(NamedTuple):
    """A part of one cluster: plain bytes at ``host``, or a unit, or (``host`` < 0) none of them."""

    length: int
    host: int
    is_zero: bool = False
    unit: int = -1


class Qcow2Map:
    """A :class:`~formats.disks.clusters.ClusterMap` over the active L1 table."""

    def __init__(self, source: ByteSource, header: Header, backing: ByteSource | None) -> None:
        self.size = header.size
        self.backing = backing
        self._source = source
        self._bits = header.cluster_bits
        self._cluster_bytes = header.cluster_bytes
        self._span = header.cluster_bytes * header.l2_entries
        self._words = 2 if header.has_extended_l2 else 1
        self._has_zero_flag = header.version >= 3 and not header.has_extended_l2
        self._inflate = _DECODERS[header.compression]
        self._l1_offset = header.l1_offset
        self._l1 = _read_l1(source, header)
        self._tables: OrderedDict[int, array[int]] = OrderedDict()
        self._max_tables = max(_MIN_TABLES, _TABLE_CACHE_BYTES // header.cluster_bytes)
        self._lock = threading.Lock()

    def runs(self, offset: int, length: int) -> list[Run]:
        """See :meth:`~formats.disks.clusters.ClusterMap.runs`."""
        found: list[Run] = []
        stop = offset + length
        while offset < stop:
            index = offset // self._span
            end = min(stop, (index + 1) * self._span)
            table = self._table(index)
            if table is None:
                self._add_unallocated(found, offset, end - offset)
            else:
                position = offset
                for piece in self._pieces(table, offset, end):
                    self._add(found, piece, position)
                    position += piece.length
            offset = end
        return found

    def decode(self, unit: int) -> BytesLike:
        """Return a compressed cluster; ``unit`` is its descriptor, which says where it lies.

        "Compressed Clusters Descriptor": the number of sectors is an upper bound, and may run past
        the end of the file.
        """
        offset_bits = 62 - (self._bits - 8)
        host = unit & ((1 << offset_bits) - 1)
        sectors = (unit >> offset_bits) + 1
        length = min(sectors * _SECTOR_BYTES - host % _SECTOR_BYTES, self._source.size - host)
        if length <= 0:
            raise self._outside(host, "a compressed cluster")
        data = self._source.read_at(host, length)
        try:
            return self._inflate(data, self._cluster_bytes)
        except CorruptError as error:
            raise CorruptError(
                f"a compressed cluster cannot be read: {error.message}",
                origin=self._source.origin,
                offset=host,
            ) from error

    def _table(self, index: int) -> array[int] | None:
        """Return the L2 table of an L1 entry, None if there is none."""
        table = self._tables.get(index)
        if table is not None:
            return table
        offset = self._l1[index] & _OFFSET_MASK
        if offset == 0:
            return None
        if offset % self._cluster_bytes:
            raise CorruptError(
                f"has an L2 table at {offset:,}, which is not aligned",
                origin=self._source.origin,
                offset=self._l1_offset + index * 8,
            )
        table = _read_words(self._source, offset, self._cluster_bytes // 8, "an L2 table")
        if not any(table):
            self._l1[index] = 0  # as good as none
            return None
        with self._lock:
            self._tables[index] = table
            if len(self._tables) > self._max_tables:
                self._tables.popitem(last=False)
        return table

    def _pieces(self, table: array[int], offset: int, stop: int) -> Iterator[_Piece]:
        """Yield what is in a range that lies inside of one L2 table."""
        cluster_bytes, words = self._cluster_bytes, self._words
        index = (offset % self._span) >> self._bits
        skip = offset % cluster_bytes
        while offset < stop:
            length = min(cluster_bytes - skip, stop - offset)
            entry = table[index * words]
            if entry & _COMPRESSED:
                yield _Piece(length, skip, unit=entry & _DESCRIPTOR_MASK)
            elif words == 1:
                yield self._standard(entry, skip, length)
            else:
                yield from self._extended(entry, table[index * 2 + 1], skip, length)
            offset += length
            index += 1
            skip = 0

    def _standard(self, entry: int, skip: int, length: int) -> _Piece:
        """Read a "Standard Cluster Descriptor"."""
        if entry & _READS_AS_ZEROS:
            if not self._has_zero_flag:
                raise CorruptError(
                    "has a zero cluster, which version 2 does not know", origin=self._source.origin
                )
            return _Piece(length, -1, is_zero=True)
        host = entry & _OFFSET_MASK
        if host == 0:
            return _Piece(length, -1)
        return _Piece(length, self._checked(host) + skip)

    def _extended(self, entry: int, bitmap: int, skip: int, length: int) -> Iterator[_Piece]:
        """Read a "Subcluster Allocation Bitmap"."""
        host = entry & _OFFSET_MASK
        allocated, zero = bitmap & _ALL_SUBCLUSTERS, bitmap >> _SUBCLUSTERS
        if allocated & zero or (allocated and not host):
            raise CorruptError(
                f"has the impossible subcluster bitmap {bitmap:#018x}", origin=self._source.origin
            )
        if host:
            host = self._checked(host)
        subcluster_bytes = self._cluster_bytes // _SUBCLUSTERS
        stop = skip + length
        while skip < stop:
            bit = skip // subcluster_bytes
            end = min(stop, (bit + 1) * subcluster_bytes)
            if allocated >> bit & 1:
                yield _Piece(end - skip, host + skip)
            else:
                yield _Piece(end - skip, -1, is_zero=bool(zero >> bit & 1))
            skip = end

    def _checked(self, host: int) -> int:
        """Return a cluster's offset if a cluster can be there."""
        if host % self._cluster_bytes:
            raise CorruptError(
                f"has a cluster at {host:,}, which is not aligned", origin=self._source.origin
            )
        return host

    def _add(self, found: list[Run], piece: _Piece, position: int) -> None:
        """Append a piece, joined with the run before where that goes on in it."""
        if piece.unit >= 0:
            found.append(Run(piece.length, None, piece.host, piece.unit))
        elif piece.host >= 0:
            if piece.host + piece.length > self._source.size:
                raise self._outside(piece.host, "a cluster")
            join_run(found, Run(piece.length, self._source, piece.host))
        elif piece.is_zero:
            join_run(found, Run(piece.length))
        else:
            self._add_unallocated(found, position, piece.length)

    def _add_unallocated(self, found: list[Run], position: int, length: int) -> None:
        """Append what the backing image has there: zeros beyond its end, and if there is none."""
        if self.backing is not None and position < self.backing.size:
            below = min(length, self.backing.size - position)
            join_run(found, Run(below, self.backing, position))
            length -= below
        if length:
            join_run(found, Run(length))

    def _outside(self, host: int, what: str) -> CorruptError:
        return CorruptError(
            f"{what} lies outside of the {self._source.size:,} bytes there are",
            origin=self._source.origin,
            offset=host,
            hint="the file may be truncated: compare its size with the original",
        )


def _read_l1(source: ByteSource, header: Header) -> array[int]:
    """Return the L1 table.

    :raises CorruptError: if two entries share an L2 table. QEMU would read that, and never writes
        it; but so a small file has more clusters than anybody can walk over.
    """
    table = _read_words(source, header.l1_offset, header.l1_entries, "the L1 table")
    used = [entry & _OFFSET_MASK for entry in table if entry & _OFFSET_MASK]
    if len(set(used)) < len(used):
        raise CorruptError(
            "has parts of the disk that share an L2 table",
            origin=source.origin,
            offset=header.l1_offset,
            hint="look at it with 'qemu-img check'",
        )
    return table


def _read_words(source: ByteSource, offset: int, count: int, what: str) -> array[int]:
    """Return ``count`` big-endian 64-bit words."""
    words = array("Q")
    words.frombytes(read_exact(source, offset, count * 8, what))
    if sys.byteorder == "little":
        words.byteswap()
    return words
