"""Space-efficient sparse extents (seSparse): the snapshots of ESXi 6.5 and later.

VMware has not published the format. The order of the header's fields is as an ESXi host logs them
(``hostd.log``, quoted by S. Eiderman on qemu-devel, "[PATCH] vmdk: Add read-only support for
seSparse snapshots" and its follow-up on writing); entries are 64-bit. Everything lies in sectors:

- grain directory entry: 0, or ``1 << 60`` with the number of a grain table in the low 32 bits;
- grain table entry, by its top four bits: 0 not stored, 1 unmapped by the guest and 2 zeroed (both
  read as zeros), 3 stored: the grain's number is in bits 0-47, shifted up by 12, with bits 48-59
  as its low end.

Not supported: extents whose journal was not replayed, since they read as an older state.
"""

from __future__ import annotations

import struct
from array import array

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.source import ByteSource, read_exact
from formats.disks.vmdk.descriptor import SECTOR_BYTES
from formats.disks.vmdk.tables import (
    ZEROED,
    Geometry,
    check_sectors,
    empty_table,
    little_endian,
    read_directory,
)

MAGIC = struct.pack("<Q", 0xCAFEBABE)

# magic, version, capacity, grain size, table size, flags, 4 reserved, then offset and length of:
# volatile header, journal header, journal, directory, tables, free bitmap, back map, grains.
_HEADER = struct.Struct("<26Q")
_VOLATILE = struct.Struct("<4Q")
_VOLATILE_MAGIC = 0xCAFECAFE
_VERSION = 0x2_0000_0001
_MAX_GRAIN_SECTORS = 1 << 14
_MAX_TABLE_SECTORS = 1 << 8

_TABLE_MARK = 0x1000_0000
_STORED = 3


class SeSparseTables:
    """Grain tables of a space-efficient sparse extent.

    :param directory_bytes: what the grain directory may take in memory.
    :raises UnsupportedError: for versions and flags that are not known, and a pending journal.
    :raises CorruptError: for values that contradict each other.
    """

    def __init__(self, file: ByteSource, directory_bytes: int) -> None:
        self._file = file
        fields = _HEADER.unpack(read_exact(file, 0, _HEADER.size, "the seSparse header"))
        magic, version, capacity, grain, table_sectors, flags = fields[:6]
        volatile, _, _, _, _, _, directory, directory_sectors, tables, tables_sectors = fields[
            10:20
        ]
        self._grains_start: int = fields[24]
        if magic != int.from_bytes(MAGIC, "little"):
            raise CorruptError("has no seSparse header", origin=file.origin, offset=0)
        if version != _VERSION or flags:
            raise UnsupportedError(
                f"is a seSparse extent of version {version >> 32}.{version & 0xFFFFFFFF}"
                f" with flags {flags:#x}; 2.1 without flags is read",
                origin=file.origin,
                offset=8,
            )
        if not 0 < grain <= _MAX_GRAIN_SECTORS or not 0 < table_sectors <= _MAX_TABLE_SECTORS:
            raise CorruptError(
                f"has grains of {grain:,} and grain tables of {table_sectors:,} sectors",
                origin=file.origin,
                offset=24,
            )
        self.geometry = Geometry(capacity, grain, table_sectors * SECTOR_BYTES // 8)
        self._table_bytes = table_sectors * SECTOR_BYTES
        self._tables_start = tables * SECTOR_BYTES
        self._table_count = tables_sectors // table_sectors
        self._check_journal(volatile)
        if self.geometry.tables * 8 > directory_sectors * SECTOR_BYTES:
            raise CorruptError(
                f"has a grain directory of {directory_sectors:,} sectors, too few for its"
                f" {self.geometry.tables:,} grain tables",
                origin=file.origin,
                offset=136,
            )
        self._directory_offset = directory * SECTOR_BYTES
        self._directory = read_directory(
            file, "Q", self._directory_offset, self.geometry, directory_bytes
        )

    def _check_journal(self, volatile_sector: int) -> None:
        offset = volatile_sector * SECTOR_BYTES
        raw = read_exact(self._file, offset, _VOLATILE.size, "the volatile seSparse header")
        magic, _free_table, _next_transaction, replay = _VOLATILE.unpack(raw)
        if magic != _VOLATILE_MAGIC:
            raise CorruptError(
                "has no volatile seSparse header", origin=self._file.origin, offset=offset
            )
        if replay:
            raise UnsupportedError(
                "has a journal that was not replayed, so it reads as an older state",
                origin=self._file.origin,
                offset=offset + 24,
                hint="start and stop the machine on its host, or clone the disk there",
            )

    def load(self, index: int) -> array[int]:
        """Return table ``index``; see :class:`~formats.disks.vmdk.tables.GrainTables`."""
        entry = self._directory[index]
        if entry == 0:
            return empty_table(self.geometry.table_entries)
        mark, number = entry >> 32, entry & 0xFFFF_FFFF
        if mark != _TABLE_MARK or number >= self._table_count:
            raise CorruptError(
                f"has a grain directory entry {entry:#x} that names no grain table",
                origin=self._file.origin,
                offset=self._directory_offset + index * 8,
            )
        offset = self._tables_start + number * self._table_bytes
        count = self.geometry.entries_of(index)
        raw = bytes(read_exact(self._file, offset, count * 8, "a grain table"))
        if raw == bytes(len(raw)):
            return empty_table(self.geometry.table_entries)
        table: array[int] = array("Q", bytes(8 * count))
        for position, value in enumerate(little_endian("Q", raw)):
            if value:
                table[position] = self._sector(value, offset + position * 8)
        check_sectors(table, self._file, offset, "grain table", has_zeroed=True)
        return table

    def _sector(self, entry: int, offset: int) -> int:
        """Return the first sector of a grain, or what stands for none, as in ``tables``."""
        state = entry >> 60
        if state == _STORED:
            number = (entry & 0x0000_FFFF_FFFF_FFFF) << 12 | (entry >> 48 & 0xFFF)
            sector: int = self._grains_start + number * self.geometry.grain
            if ZEROED < sector < 1 << 63:
                return sector
        elif state in {1, 2}:
            return ZEROED
        raise CorruptError(
            f"has a grain table entry {entry:#x} that means nothing",
            origin=self._file.origin,
            offset=offset,
        )
