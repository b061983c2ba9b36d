"""Checks beyond the magic, where a magic alone is too short or lies in bytes that others use.

Each tells whether a whole structure is sound. None raises: bytes beyond the end read as nothing.
"""

from __future__ import annotations

import struct
import zlib

from formats.core.source import ByteSource
from formats.volumes.gpt import partition_owns
from formats.volumes.partition import BIOS_PARAMETER_BLOCK

_SECTOR = 512


def _at(source: ByteSource, offset: int, length: int) -> bytes:
    """Return exactly ``length`` bytes, or none at all."""
    if offset < 0 or offset + length > source.size:
        return b""
    return bytes(source.read_at(offset, length))


def is_ntfs(source: ByteSource) -> bool:
    """Check that sector and cluster sizes are powers of two, and that there are no FATs."""
    sector = _at(source, 0, _SECTOR)
    if not sector:
        return False
    _, _, sector_bytes, cluster, reserved, fats, roots, _, _, _ = BIOS_PARAMETER_BLOCK.unpack_from(
        sector
    )
    is_power_of_two = sector_bytes & (sector_bytes - 1) == 0
    return bool(
        sector_bytes >= 256 and is_power_of_two and cluster and reserved == fats == roots == 0
    )


def is_parallels_description(source: ByteSource) -> bool:
    """Look for the root element of a DiskDescriptor.xml behind the XML declaration."""
    return b"<Parallels_disk_image" in bytes(source.read_at(0, 4096))


def is_hfs_plus(source: ByteSource) -> bool:
    """Check the version and block size of the volume header (Apple TN1150)."""
    header = _at(source, 1024, 48)
    if not header:
        return False
    (version,) = struct.unpack_from(">H", header, 2)
    (block_bytes,) = struct.unpack_from(">I", header, 40)
    is_power_of_two = block_bytes & (block_bytes - 1) == 0
    return bool(version in {4, 5} and block_bytes >= 512 and is_power_of_two)


def is_hfs(source: ByteSource) -> bool:
    """Check the allocation block size and start of the master directory block."""
    header = _at(source, 1024, 32)
    if not header:
        return False
    bitmap, _, blocks, block_bytes = struct.unpack_from(">HHHI", header, 14)
    return bool(bitmap == 3 and blocks and block_bytes and block_bytes % 512 == 0)


def is_minix(source: ByteSource) -> bool:
    """Check that the counts of a Minix superblock agree with each other and with the size."""
    header = _at(source, 1024, 32)
    if not header:
        return False
    if header[24:26] == b"\x5a\x4d":  # version 3
        inodes, first_zone = struct.unpack_from("<I6xH", header)
        (zones,) = struct.unpack_from("<I", header, 20)
        (block_bytes,) = struct.unpack_from("<H", header, 28)
    else:
        inodes, old_zones, _, _, first_zone = struct.unpack_from("<HHHHH", header)
        (new_zones,) = struct.unpack_from("<I", header, 20)
        zones, block_bytes = old_zones or new_zones, 1024
    is_inside = block_bytes >= 1024 and zones * block_bytes <= source.size
    return bool(inodes and 4 < first_zone < zones and is_inside)


def is_nilfs(source: ByteSource) -> bool:
    """Check revision, superblock size and its checksum (CRC-32 seeded from the superblock)."""
    head = _at(source, 1024, 1024)
    if not head:
        return False
    revision, _, _, size, _, seed, stored = struct.unpack_from("<IHHHHII", head)
    if revision != 2 or not 20 <= size <= len(head):
        return False
    covered = head[:16] + bytes(4) + head[20:size]
    return bool(~zlib.crc32(covered, ~seed & 0xFFFFFFFF) & 0xFFFFFFFF == stored)


def is_sgi_label(source: ByteSource) -> bool:
    """Check that the label's words add up to zero."""
    label = _at(source, 0, _SECTOR)
    return bool(label) and sum(struct.unpack(">128I", label)) & 0xFFFFFFFF == 0


def is_sun_label(source: ByteSource) -> bool:
    """Check that the label's half words cancel out."""
    label = _at(source, 0, _SECTOR)
    if not label:
        return False
    total = 0
    for word in struct.unpack(">256H", label):
        total ^= word
    return total == 0


def is_bsd_label(source: ByteSource) -> bool:
    """Check the second magic of a disklabel in sector 1 and its sum of half words."""
    label = _at(source, _SECTOR, _SECTOR)
    if not label or label[132:136] != label[:4]:
        return False
    (partitions,) = struct.unpack_from("<H", label, 138)
    end = 148 + 16 * partitions
    if not 0 < partitions <= 22:
        return False
    total = 0
    for (word,) in struct.iter_unpack("<H", label[:end]):
        total ^= word
    return total == 0


def is_apple_map(source: ByteSource) -> bool:
    """Check that the first map entry counts the map's blocks and is of a sane count."""
    entry = _at(source, _SECTOR, 16)
    if not entry:
        return False
    count, start, _ = struct.unpack_from(">III", entry, 4)
    return bool(0 < count <= 256 and start > 0)


def is_cramfs(source: ByteSource) -> bool:
    """Check the second signature."""
    return _at(source, 16, 16) == b"Compressed ROMFS"


# Where a UFS superblock is (8 KiB: UFS1; 64 KiB: UFS2; and the rarer places of both), and in it the
# magic, and the block, fragment and fragments-a-block sizes.
UFS_SUPERBLOCKS = (8192, 65536, 0, 262144)
UFS_MAGIC_OFFSET = 1372
_UFS_SIZES_OFFSET = 48
UFS1_MAGIC = 0x00011954
UFS2_MAGIC = 0x19540119


def _is_ufs(source: ByteSource, magic: int) -> bool:
    for offset in UFS_SUPERBLOCKS:
        for order in "<>":
            if _at(source, offset + UFS_MAGIC_OFFSET, 4) != struct.pack(f"{order}I", magic):
                continue
            sizes = _at(source, offset + _UFS_SIZES_OFFSET, 12)
            block, fragment, fragments = struct.unpack(f"{order}3I", sizes)
            if fragment >= _SECTOR and block == fragment * fragments:
                return True
    return False


def is_ufs1(source: ByteSource) -> bool:
    """Check that block and fragment sizes agree."""
    return _is_ufs(source, UFS1_MAGIC)


def is_ufs2(source: ByteSource) -> bool:
    """Check that block and fragment sizes agree."""
    return _is_ufs(source, UFS2_MAGIC)


def is_no_partitions_trailer(source: ByteSource) -> bool:
    """Check that the last sector does not belong to a partition, whose trailer it then is."""
    return partition_owns(source, source.size - 1) is not True
