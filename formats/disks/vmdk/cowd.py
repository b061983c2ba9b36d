"""ESXi sparse extents (COWD, ``vmfsSparse``): the redo logs of ESX before version 6.5.

Specification: VMware "Virtual Disk Format 5.0", section "ESXi Host Sparse Extents". As hosted
sparse, with a header of four sectors, tables of 4096 entries, and no second directory.
"""

from __future__ import annotations

import struct
from array import array

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.source import ByteSource, read_exact
from formats.disks.vmdk.descriptor import SECTOR_BYTES
from formats.disks.vmdk.tables import (
    Geometry,
    check_sectors,
    read_directory,
    read_table,
)

MAGIC = b"COWD"

_HEADER = struct.Struct("<4s7I")
_TABLE_ENTRIES = 4096
_MAX_GRAIN_SECTORS = 1 << 14


class CowdTables:
    """Grain tables of an ESXi sparse extent.

    :param directory_bytes: what the grain directory may take in memory.
    :raises UnsupportedError: for a version that is not known.
    :raises CorruptError: for values that the format does not allow.
    """

    def __init__(self, file: ByteSource, directory_bytes: int) -> None:
        raw = read_exact(file, 0, _HEADER.size, "the header of the ESXi sparse extent")
        magic, version, _flags, capacity, grain, directory, entries, _free = _HEADER.unpack(raw)
        if magic != MAGIC:
            raise CorruptError("has no COWD header", origin=file.origin, offset=0)
        if version != 1:
            raise UnsupportedError(
                f"is an ESXi sparse extent of version {version}", origin=file.origin, offset=4
            )
        if not 0 < grain <= _MAX_GRAIN_SECTORS:
            raise CorruptError(f"has grains of {grain:,} sectors", origin=file.origin, offset=16)
        self.geometry = Geometry(capacity, grain, _TABLE_ENTRIES)
        if entries < self.geometry.tables:
            raise CorruptError(
                f"has a grain directory of {entries:,} entries, where {self.geometry.tables:,}"
                " are needed",
                origin=file.origin,
                offset=24,
            )
        self._file = file
        offset = directory * SECTOR_BYTES
        self._directory = read_directory(file, "I", offset, self.geometry, directory_bytes)
        check_sectors(self._directory, file, offset, "grain directory", has_zeroed=False)

    def load(self, index: int) -> array[int]:
        """Return table ``index``; see :class:`~formats.disks.vmdk.tables.GrainTables`."""
        return read_table(
            self._file, self._directory[index], self.geometry, index, has_zeroed=False
        )
