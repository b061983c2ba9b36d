"""The boot sector of a FAT filesystem, which says where everything is.

Specification: Microsoft "FAT: General Overview of On-Disk Format" 1.03, "Boot Sector and BPB",
"FAT Type Determination", "FAT32 FSInfo Sector Structure".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.source import ByteSource, read_exact
from formats.volumes.partition import BIOS_PARAMETER_BLOCK, is_fat_boot_sector

BOOT_BYTES = 512
ENTRY_BYTES = 32

_MORE_PARAMETERS = struct.Struct("<8xI")  # after the part that NTFS has too: sectors, 32 bits
_FAT32_PARAMETERS = struct.Struct("<IHHIHH12x")
_IDENTITY = struct.Struct("<BBBI11s")  # drive, state, signature, serial number, label
_WITH_LABEL = 0x29
_WITH_SERIAL = frozenset({0x28, _WITH_LABEL})

_ONE_ACTIVE_FAT = 0x80
_ACTIVE_FAT = 0x0F

_MOST_FAT12_CLUSTERS = 4084
_RESERVED_CLUSTERS = 2  # the first two entries of a FAT stand for none
_LARGEST_CLUSTER = 1 << 18

_INFO = struct.Struct("<4s480x4sII12xI")
_INFO_MARKS = (b"RRaA", b"rrAa", 0xAA550000)
_NOT_COUNTED = 0xFFFFFFFF

_DIRTY = 1
_ERRORS = 2


class FatType(IntEnum):
    """Bits of an entry of the table."""

    FAT12 = 12
    FAT16 = 16
    FAT32 = 32


@dataclass(frozen=True, slots=True)
class BootSector:
    """What the boot sector says, checked; offsets and sizes in bytes.

    :ivar table_offset: of the table that counts.
    :ivar root_offset: of the root folder of FAT12 and FAT16, which is no chain of clusters.
    :ivar root_entries: how many entries that has; 0 for FAT32.
    :ivar root_cluster: where the root folder of FAT32 starts.
    :ivar heap_offset: of cluster 2, the first.
    :ivar info_offset: of the FSInfo sector of FAT32; 0 where there is none.
    :ivar serial: None where there is none.
    :ivar label: None where there is none; the root folder may have a newer one.
    :ivar is_dirty: whether Windows NT or Linux had it mounted when the image was taken.
    """

    kind: FatType
    sector_bytes: int
    cluster_bytes: int
    clusters: int
    size: int
    table_offset: int
    table_bytes: int
    root_offset: int
    root_entries: int
    root_cluster: int
    heap_offset: int
    info_offset: int
    serial: int | None
    label: bytes | None
    is_dirty: bool
    has_errors: bool


def is_fat(source: ByteSource) -> bool:
    """Tell whether a volume starts with the parameters of a FAT filesystem."""
    return is_fat_boot_sector(bytes(source.read_at(0, BOOT_BYTES)))


def read_boot_sector(source: ByteSource) -> BootSector:
    """Read the boot sector.

    :raises CorruptError: if it cannot be true, or the volume is smaller than the filesystem.
    :raises UnsupportedError: for versions of FAT32 that are not known.
    """
    sector = bytes(read_exact(source, 0, BOOT_BYTES, "the boot sector"))
    if not is_fat_boot_sector(sector):
        raise CorruptError("has no parameters in its boot sector", origin=source.origin, offset=0)
    _, _, sector_bytes, per_cluster, reserved, tables, roots, sectors16, _, table16 = (
        BIOS_PARAMETER_BLOCK.unpack_from(sector)
    )
    place = BIOS_PARAMETER_BLOCK.size
    (sectors32,) = _MORE_PARAMETERS.unpack_from(sector, place)
    place += _MORE_PARAMETERS.size
    table_sectors, active, root_cluster, info_sector = table16, 0, 0, 0
    if not table16:
        table_sectors, flags, version, root_cluster, info_sector, _ = _FAT32_PARAMETERS.unpack_from(
            sector, place
        )
        place += _FAT32_PARAMETERS.size
        if version:
            raise UnsupportedError(
                f"is FAT32 version {version >> 8}.{version & 0xFF}, which is not known",
                origin=source.origin,
                offset=42,
            )
        active = flags & _ACTIVE_FAT if flags & _ONE_ACTIVE_FAT else 0
        roots = 0
    size = (sectors16 or sectors32) * sector_bytes
    cluster_bytes = per_cluster * sector_bytes
    table_bytes = table_sectors * sector_bytes
    table_offset = reserved * sector_bytes
    root_offset = table_offset + tables * table_bytes
    root_bytes = -(-roots * ENTRY_BYTES // sector_bytes) * sector_bytes
    heap_offset = root_offset + root_bytes
    clusters = (size - heap_offset) // cluster_bytes
    _check(source, size=size, heap_offset=heap_offset, cluster_bytes=cluster_bytes)
    if active >= tables or not table_sectors:
        raise CorruptError(
            f"goes by table {active} of {tables}, of {table_sectors:,} sectors each",
            origin=source.origin,
            offset=36,
        )
    kind = FatType.FAT32
    if table16:
        kind = FatType.FAT12 if clusters <= _MOST_FAT12_CLUSTERS else FatType.FAT16
    _, state, signature, serial, label = _IDENTITY.unpack_from(sector, place)
    return BootSector(
        kind=kind,
        sector_bytes=sector_bytes,
        cluster_bytes=cluster_bytes,
        clusters=min(clusters, table_bytes * 8 // kind - _RESERVED_CLUSTERS),
        size=size,
        table_offset=table_offset + active * table_bytes,
        table_bytes=table_bytes,
        root_offset=root_offset,
        root_entries=roots,
        root_cluster=root_cluster,
        heap_offset=heap_offset,
        info_offset=info_sector * sector_bytes if 0 < info_sector < reserved else 0,
        serial=serial if signature in _WITH_SERIAL else None,
        label=label if signature == _WITH_LABEL else None,
        is_dirty=bool(state & _DIRTY) and signature in _WITH_SERIAL,
        has_errors=bool(state & _ERRORS) and signature in _WITH_SERIAL,
    )


def _check(source: ByteSource, *, size: int, heap_offset: int, cluster_bytes: int) -> None:
    if size > source.size:
        raise CorruptError(
            f"has {size:,} bytes by its boot sector, and its volume has {source.size:,}",
            origin=source.origin,
            hint="the file may be truncated: compare its size with the original",
        )
    if size < heap_offset + cluster_bytes or cluster_bytes > _LARGEST_CLUSTER:
        raise CorruptError(
            f"has clusters of {cluster_bytes:,} bytes from byte {heap_offset:,} on, and"
            f" {size:,} bytes in all",
            origin=source.origin,
            offset=13,
        )


def free_clusters(source: ByteSource, boot: BootSector) -> int | None:
    """Return how many clusters are free by the FSInfo sector, None if it does not say.

    It is a hint, and may be out of date.
    """
    if not boot.info_offset:
        return None
    data = bytes(source.read_at(boot.info_offset, _INFO.size))
    if len(data) < _INFO.size:
        return None
    lead, middle, free, _next, trail = _INFO.unpack(data)
    if (lead, middle, trail) != _INFO_MARKS or free == _NOT_COUNTED or free > boot.clusters:
        return None
    return int(free)
