"""What GPT and MBR share: a partition as a volume, overlaps, and which sector size a table is in.

The tables count in sectors and MBR does not say how large one is. A disk image that was copied
from a 4K-native disk is told by where its volumes really start (:func:`has_known_start`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from formats.core.errors import CorruptError, LimitError
from formats.core.finding import Action, Finding
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.core.reader import OpenContext, Role, Volume
from formats.core.source import ByteSource, MemorySource, slice_source

SECTOR_SIZES = (512, 4096)

_EXT_MAGIC_OFFSET = 1080
_EXT_GROUP_OFFSET = 1114  # the block group that a superblock is in: not 0 in the backups
_KNOWN_STARTS: tuple[tuple[int, bytes], ...] = (
    (0, b"XFSB"),
    (0, b"LUKS\xba\xbe"),
    (3, b"NTFS    "),
    (3, b"EXFAT   "),
    (3, b"-FVE-FS-"),
    (32, b"NXSB"),
    (54, b"FAT1"),
    (82, b"FAT32   "),
    (424, bytes.fromhex("3bd66749292ed84a8399f6a339e3d001")),  # BitLocker To Go
    (512, b"LABELONE"),
    (512, bytes.fromhex("57455682")),  # BSD disklabel
    (1024, b"\x10\x20\xf5\xf2"),  # f2fs
    (1024, b"\xe2\xe1\xf5\xe0"),  # erofs
    (1024, b"BD"),  # HFS
    (1024, b"H+\0\4"),
    (1024, b"HX\0\5"),
    (1024, b"\2\0\0\0\0\0\x34\x34"),  # NILFS2
    (1040, b"\x7f\x13"),  # Minix 1, 30-byte names
    (1040, b"\x8f\x13"),
    (1040, b"\x68\x24"),  # Minix 2
    (1040, b"\x78\x24"),
    (1048, b"\x5a\x4d"),  # Minix 3
    (_EXT_MAGIC_OFFSET, b"\x53\xef"),  # ext2, ext3, ext4
    (2048, b"OCFSV2"),
    (4086, b"SWAPSPACE2"),
    (4086, b"S1SUSPEND"),
    (4096, b"OCFSV2"),
    (4096, b"\xfc\x4e\x2b\xa9"),  # md 1.2
    (4120, bytes.fromhex("c68573f6")),  # bcache, bcachefs
    (9564, bytes.fromhex("54190100")),  # UFS1
    (0x4000, b"SKUL\xba\xbe"),  # LUKS2, the second header
    (0x4018, b"version\0"),  # ZFS
    (0x8000, b"JFS1"),
    (0x8001, b"CD001"),
    (0x8001, b"BEA01"),  # UDF
    (0xFFF6, b"SWAPSPACE2"),
    (0x10000, b"ReIsEr4"),
    (0x10000, bytes.fromhex("01161970")),  # GFS2
    (0x10034, b"ReIsEr"),
    (0x10040, b"_BHRfS_M"),
    (0x1055C, bytes.fromhex("19015419")),  # UFS2
    (0x1055C, bytes.fromhex("19540119")),
    (0x100000, struct.pack("<I", 0xC001D00D)),  # VMFS
)
"""Offset inside a volume, and what is there when it holds the common thing of that magic."""

_OUTLIVED = """
apfs bcachefs bfs bitlocker bluestore bsd-disklabel btrfs cramfs dm-integrity dm-snapshot dm-verity
erofs exfat ext f2fs fat gfs2 hfs hfsplus jfs luks1 luks2 lvm lvm1 minix nilfs2 ntfs ocfs2 refs
reiser4 reiserfs romfs squashfs swap swsuspend ubi ubifs udf ufs1 ufs2 vdo vmfs xfs zfs
"""
OUTLIVED_BY_TABLES = frozenset(_OUTLIVED.split())
"""Readers of what gives way to a partition table with partitions in it.

Whoever makes one of these on a whole disk clears the table, or puts boot code in its place (mkswap
keeps a table, and then the table is meant). Whoever writes a table clears only the table's own
sectors. So where both are seen, the table was written later, and the marks are stale.
ISO 9660 is not among them: hybrid images have both, and its reader asks the table.
"""

BIOS_PARAMETER_BLOCK = struct.Struct("<3s8sHBHBHHBH")
"""Jump, OEM name, bytes a sector, sectors a cluster, reserved sectors, FATs, root entries, sectors,
media, sectors a FAT (Microsoft FAT specification 1.03, BPB); NTFS has the same."""
_FAT_SECTOR_BYTES = frozenset({512, 1024, 2048, 4096})
_FAT_MEDIA = frozenset({0xF0, *range(0xF8, 0x100)})


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition as its table has it, in bytes.

    :ivar number: as in ``/dev/sda3``.
    :ivar uuid: PARTUUID, lower case.
    :ivar title: its type, in words.
    """

    number: int
    offset: int
    length: int
    role: Role
    title: str
    uuid: str | None = None
    name: str | None = None


def has_boot_sector(sector: bytes) -> bool:
    """Tell whether a first sector is that of a filesystem or of an encrypted volume."""
    return is_fat_boot_sector(sector) or any(
        sector[place : place + len(magic)] == magic for place, magic in _KNOWN_STARTS
    )


def has_known_start(source: ByteSource, offset: int = 0) -> bool:
    """Tell whether a filesystem, swap area, PV or encrypted volume starts at ``offset``."""
    for place, magic in _KNOWN_STARTS:
        start = offset + place
        if start + len(magic) > source.size or source.read_at(start, len(magic)) != magic:
            continue
        if place != _EXT_MAGIC_OFFSET or source.read_at(offset + _EXT_GROUP_OFFSET, 2) == b"\0\0":
            return True
    return False


def is_fat_boot_sector(sector: bytes) -> bool:
    """Tell whether a sector starts with the BIOS parameter block of a FAT filesystem."""
    if len(sector) < BIOS_PARAMETER_BLOCK.size:
        return False
    jump, _, sector_bytes, cluster, reserved, fats, _, _, media, _ = (
        BIOS_PARAMETER_BLOCK.unpack_from(sector)
    )
    return (
        jump[0] in {0xEB, 0xE9}
        and sector_bytes in _FAT_SECTOR_BYTES
        and cluster != 0
        and cluster & (cluster - 1) == 0
        and reserved > 0
        and fats in {1, 2}
        and media in _FAT_MEDIA
    )


def partition_volume(source: ByteSource, table: str, partition: Partition) -> Volume:
    """Return the volume of a partition; one that does not lie on the disk has a problem instead.

    Every entry of a table is on its own: a root is read beside an entry that makes no sense.
    """
    label = f"{table}:{partition.number}"
    origin = source.origin.child(label)
    inner: ByteSource = MemorySource(b"", origin)
    problem: CorruptError | None = None
    if partition.offset <= 0 or partition.length <= 0:
        problem = CorruptError(
            f"has no place: its entry says {partition.length:,} bytes from byte"
            f" {partition.offset:,}",
            origin=origin,
        )
    elif (end := partition.offset + partition.length) > source.size:
        problem = CorruptError(
            f"lies past the end: it should end at byte {end:,} of a disk of {source.size:,}",
            origin=origin,
            hint="the disk image may be truncated: compare its size with the original",
        )
    else:
        inner = slice_source(source, partition.offset, partition.length, origin)
    return Volume(
        inner,
        label,
        role=partition.role,
        uuid=partition.uuid,
        part_label=partition.name,
        number=partition.number,
        problem=problem,
    )


def partition_types(partitions: Sequence[Partition]) -> dict[str, str]:
    """Return the fact that names every partition's type."""
    if not partitions:
        return {"partitions": "none"}
    return {"partitions": ", ".join(f"{item.number} {item.title}" for item in partitions)}


def note_overlaps(partitions: Iterable[Partition], origin: Origin, context: OpenContext) -> None:
    """Report partitions that share bytes.

    It is a finding and not an error: the kernel takes such tables, and each partition still is
    what its entry says. One of the two is stale, and the filesystem in it will show which.
    """
    latest: Partition | None = None
    placed = [item for item in partitions if item.length > 0]
    for item in sorted(placed, key=lambda item: (item.offset, item.number)):
        if latest is not None and item.offset < latest.offset + latest.length:
            context.note(
                Finding(
                    "partitions-overlap",
                    str(origin).encode(),
                    Action.REPORTED,
                    f"partition {item.number} starts inside partition {latest.number}",
                )
            )
        if latest is None or item.offset + item.length > latest.offset + latest.length:
            latest = item


def check_count(count: int, limits: Limits, origin: Origin) -> None:
    """Hold to the limit on partitions and volumes of one container.

    :raises LimitError: if there are more.
    """
    if count > limits.partitions:
        raise LimitError(
            f"has more than {limits.partitions} volumes",
            origin=origin,
            hint="raise the limit 'partitions' if that is what the disk should have",
        )
