"""The superblock: geometry, identity and features.

"XFS Algorithms & Data Structures" (3rd edition), "Superblocks". All of XFS is big-endian but the
checksums. Everything that later code divides by, shifts by or multiplies with is checked here,
once.
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass
from enum import IntFlag

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.origin import Origin, printable
from formats.core.source import ByteSource, read_exact
from formats.filesystems.xfs.checksums import block_checksum

MAGIC = b"XFSB"
NO_INODE = (1 << 64) - 1
"""What a field that names no inode holds; 0 does as well."""
DADDR_BYTES = 512
"""The unit of disk addresses in the headers of blocks and in the log, whatever the sectors are."""
IN_PROGRESS_OFFSET = 126
CHECKSUM_OFFSET = 224
REPAIR_HINT = "run 'xfs_repair' on a copy"

_SMALLEST_BYTES = 512
_OLDEST_VERSION = 4
_CHECKSUM_VERSION = 5
_VERSION_MASK = 0xF
_SECTOR_BITS = range(9, 16)
_BLOCK_BITS = range(9, 17)
_INODE_BITS = range(8, 12)
_LARGEST_FOLDER_BLOCK_BITS = 16
_LEAST_GROUP_BLOCKS = 64
_LARGEST_STRIPE_UNIT = 256 << 10
_LEAST_V5_BLOCK = 1024
_LEAST_V5_INODE = 512
_LOG_SECTOR_BITS = frozenset({0, *_SECTOR_BITS})


class Version(IntFlag):
    """``sb_versionnum`` above the number itself: features of version 4."""

    ATTR = 0x0010
    NLINK = 0x0020
    QUOTA = 0x0040
    ALIGN = 0x0080
    DALIGN = 0x0100
    SHARED = 0x0200
    LOGV2 = 0x0400
    SECTOR = 0x0800
    EXTFLG = 0x1000
    DIRV2 = 0x2000
    ASCII_CI = 0x4000
    MOREBITS = 0x8000


class Features2(IntFlag):
    """``sb_features2``: more features of version 4."""

    LAZYSBCOUNT = 0x2
    ATTR2 = 0x8
    PARENT = 0x10
    PROJID32 = 0x80
    CRC = 0x100
    FTYPE = 0x200


class RoCompat(IntFlag):
    """Features that only who writes has to know."""

    FINOBT = 0x1
    RMAPBT = 0x2
    REFLINK = 0x4
    INOBTCOUNT = 0x8


class Incompat(IntFlag):
    """Incompatible features: who does not know one must not read."""

    FTYPE = 0x1
    SPINODES = 0x2
    META_UUID = 0x4
    BIGTIME = 0x8
    NEEDSREPAIR = 0x10
    NREXT64 = 0x20
    EXCHRANGE = 0x40
    PARENT = 0x80
    METADIR = 0x100
    ZONED = 0x200
    ZONE_GAPS = 0x400


READABLE = (
    Incompat.FTYPE
    | Incompat.SPINODES
    | Incompat.META_UUID
    | Incompat.BIGTIME
    | Incompat.NREXT64
    | Incompat.EXCHRANGE
    | Incompat.PARENT
)
_READABLE_VERSION = 0xFFF0 & ~int(Version.SHARED)
_READABLE_FEATURES2 = int(
    Features2.LAZYSBCOUNT | Features2.ATTR2 | Features2.PROJID32 | Features2.FTYPE
)
_NEWER = "a newer kernel reads it: copy the files from there into a new filesystem"


@dataclass(frozen=True, slots=True)
class Superblock:
    """What the superblock says, checked. Names follow the ``sb_`` fields they come from.

    :ivar version: 4, or 5 with checksums.
    :ivar block_count: blocks of the data section (``sb_dblocks``).
    :ivar log_start: first block of the log as a packed block number (allocation group above
        :attr:`group_bits` bits); 0 if the log is on another device.
    :ivar log_blocks: length of the log in blocks.
    :ivar log_sector_bytes: sector size of the log; 512 where ``sb_logsectsize`` is not used.
    :ivar log_stripe_bytes: ``sb_logsunit``: log records are padded to it; 0 or 1 for none.
    :ivar log_incompat: features of the log that must be known if it is to be replayed.
    :ivar group_blocks: blocks of an allocation group; the last may be shorter.
    :ivar group_bits: bits for a block's number inside its group (``sb_agblklog``).
    :ivar inode_bits: bits for an inode's number inside its block (``sb_inopblog``).
    :ivar folder_block_bytes: size of directory blocks: one or more blocks.
    :ivar metadata_uuid: what headers of version 5 carry: the filesystem's first UUID.
    :ivar special_inodes: numbers of the inodes that have no name: realtime bitmaps and quotas.
    """

    version: int
    block_bytes: int
    block_bits: int
    sector_bytes: int
    block_count: int
    free_block_count: int
    uuid: uuid.UUID
    metadata_uuid: bytes
    label: str
    log_start: int
    log_blocks: int
    log_sector_bytes: int
    log_stripe_bytes: int
    root_inode: int
    special_inodes: frozenset[int]
    group_blocks: int
    group_count: int
    group_bits: int
    inode_bytes: int
    inode_bits: int
    folder_block_bytes: int
    features: Version
    features2: Features2
    ro_compat: RoCompat
    incompat: Incompat
    log_incompat: int

    @property
    def size_bytes(self) -> int:
        """Bytes from the volume's start to the filesystem's end."""
        return self.block_count * self.block_bytes

    @property
    def has_checksums(self) -> bool:
        """Whether metadata describes itself and has checksums (version 5)."""
        return self.version >= _CHECKSUM_VERSION

    @property
    def has_file_types(self) -> bool:
        """Whether a name in a folder has the type of its inode beside it (``ftype``)."""
        if self.has_checksums:
            return Incompat.FTYPE in self.incompat
        return Features2.FTYPE in self.features2

    @property
    def log_is_external(self) -> bool:
        """Whether the log is on another device."""
        return self.log_start == 0

    @property
    def has_log_v2(self) -> bool:
        """Whether the log has version 2: records of more than 32 KiB, stripe units."""
        return Version.LOGV2 in self.features or self.has_checksums

    def block_offset(self, block: int) -> int | None:
        """Return where on the volume a block is; None if there is no such block.

        :param block: packed: the allocation group's number above :attr:`group_bits` bits.
        """
        linear = self.linear_block(block)
        return linear * self.block_bytes if linear is not None else None

    def linear_block(self, block: int, count: int = 1) -> int | None:
        """Return a packed block number as one that counts from the volume's start.

        :return: None unless ``count`` blocks are there, all in one group.
        """
        group, inside = block >> self.group_bits, block & ((1 << self.group_bits) - 1)
        if inside + count > self.group_blocks:
            return None
        first = group * self.group_blocks + inside
        return first if first + count <= self.block_count else None


_STRUCT = struct.Struct(
    ">"
    "4sIQ16x"  # 0 magic, block size; data blocks, … of the realtime section
    "16sQ"  # 32 UUID, log start
    "3Q"  # 56 inodes: root, realtime bitmap, realtime summary
    "4xII4xI"  # 80 … group blocks, groups, … log blocks
    "4H12s"  # 100 version, sector size, inode size, inodes per block; label
    "5BxBx"  # 120 log2 of block, sector, inode, inodes per block, group; … in progress
    "16xQ8x"  # 128 … free blocks
    "QQ4x"  # 160 inodes of quotas
    "12x"  # 180 alignments
    "BBHI"  # 192 log2 of blocks per folder block; log sector: log2, size; log stripe
    "II"  # 200 features of version 4, twice
    "4xIII"  # 208 features of version 5: read-only compatible, incompatible, of the log
    "8xQ8x"  # 224 checksum … inode of project quotas, … LSN
    "16s"  # 248 UUID in metadata
)


def read_superblock(source: ByteSource) -> Superblock:
    """Return the primary superblock of the filesystem that ``source`` holds.

    :raises UnsupportedError: for a feature that is not read, by name.
    :raises CorruptError: if a value is impossible, the checksum is wrong, or the filesystem is
        larger than ``source``.
    """
    superblock = parse_superblock(read_sector(source, 0), source.origin)
    if superblock.size_bytes > source.size:
        raise CorruptError(
            f"the filesystem has {superblock.size_bytes:,} bytes, its volume {source.size:,}",
            origin=source.origin,
            offset=8,
            hint="the image is truncated, or the partition was made smaller: get a whole copy",
        )
    return superblock


def read_sector(source: ByteSource, offset: int) -> bytes:
    """Return the sector with a superblock in it, as large as that says that sectors are.

    :raises CorruptError: if the volume ends before.
    """
    raw = bytes(read_exact(source, offset, _SMALLEST_BYTES, "the superblock"))
    sector_bytes = int.from_bytes(raw[102:104], "big")
    if sector_bytes not in {1 << bits for bits in _SECTOR_BITS}:
        return raw
    return bytes(read_exact(source, offset, sector_bytes, "the superblock"))


def parse_superblock(raw: bytes, origin: Origin, offset: int = 0) -> Superblock:
    """Return the superblock that a sector holds, checked in itself but not against a volume.

    :param raw: one whole sector of the filesystem.
    :param offset: where it is on the volume, for messages.
    :raises UnsupportedError: for a feature that is not read, by name.
    :raises CorruptError: if a value is impossible or the checksum is wrong.
    """
    (
        magic, block_bytes, blocks,
        identity, log_start,
        root, realtime_bitmap, realtime_summary,
        group_blocks, group_count, log_blocks,
        version, sector_bytes, inode_bytes, inodes_per_block, label,
        block_bits, sector_bits, inode_log, inode_bits, group_bits, in_progress,
        free_blocks,
        user_quota, group_quota,
        folder_bits, log_sector_bits, log_sector_bytes, log_stripe,
        features2, misplaced_features2,
        ro_compat, incompat, log_incompat,
        project_quota,
        metadata_uuid,
    ) = _STRUCT.unpack_from(raw)  # fmt: skip
    check = _Check(origin, offset)
    check(0, magic == MAGIC, f"its magic is {magic!r}, not {MAGIC!r}")
    number = version & _VERSION_MASK
    is_v5 = number == _CHECKSUM_VERSION
    if is_v5:
        # The checksum is of a sector, whose size is one of the things that it vouches for.
        check(102, sector_bytes == len(raw), f"sectors have {sector_bytes:,} bytes")
        wrong = block_checksum(raw, CHECKSUM_OFFSET)
        check(CHECKSUM_OFFSET, not wrong, f"it {wrong}")
    else:
        # Some platforms once padded the structure, and wrote the field one word further.
        features2 = (features2 | misplaced_features2) if version & Version.MOREBITS else 0
        ro_compat = incompat = log_incompat = 0
    _refuse_unreadable(number, version, features2, incompat, origin)
    is_whole = not in_progress or offset > 0
    check(IN_PROGRESS_OFFSET, is_whole, "mkfs.xfs or xfs_copy did not finish it")
    _check_sizes(
        check,
        sectors=(sector_bits, sector_bytes),
        blocks=(block_bits, block_bytes),
        inodes=(inode_log, inode_bytes),
    )
    is_right = inode_bits == block_bits - inode_log and inodes_per_block == 1 << inode_bits
    check(106, is_right, f"a block has {inodes_per_block:,} inodes")
    is_right = folder_bits + block_bits <= _LARGEST_FOLDER_BLOCK_BITS
    check(192, is_right, f"a directory block is 2^{folder_bits} blocks")
    special = {realtime_bitmap, realtime_summary, user_quota, group_quota}
    if is_v5:
        special.add(project_quota)
    superblock = Superblock(
        version=number,
        block_bytes=block_bytes,
        block_bits=block_bits,
        sector_bytes=sector_bytes,
        block_count=blocks,
        free_block_count=free_blocks,
        uuid=uuid.UUID(bytes=identity),
        metadata_uuid=metadata_uuid if incompat & Incompat.META_UUID else identity,
        label=printable(label.partition(b"\0")[0]),
        log_start=log_start,
        log_blocks=log_blocks,
        log_sector_bytes=log_sector_bytes or DADDR_BYTES,
        log_stripe_bytes=log_stripe if version & Version.LOGV2 or is_v5 else 0,
        root_inode=root,
        special_inodes=frozenset(special - {0, NO_INODE}),
        group_blocks=group_blocks,
        group_count=group_count,
        group_bits=group_bits,
        inode_bytes=inode_bytes,
        inode_bits=inode_bits,
        folder_block_bytes=block_bytes << folder_bits,
        features=Version(version & ~_VERSION_MASK),
        features2=Features2(features2),
        ro_compat=RoCompat(ro_compat),
        incompat=Incompat(incompat),
        log_incompat=log_incompat,
    )
    _check_geometry(superblock, check)
    check(193, log_sector_bits in _LOG_SECTOR_BITS, f"sectors of the log: 2^{log_sector_bits}")
    is_right = log_sector_bits == 0 or log_sector_bytes == 1 << log_sector_bits
    check(194, is_right, f"sectors of the log have {log_sector_bytes:,} bytes")
    return superblock


class _Check:
    """Raises for a field of the superblock that is not as it must be."""

    def __init__(self, origin: Origin, offset: int) -> None:
        self._origin = origin
        self._offset = offset

    def __call__(self, field_offset: int, is_right: bool, what_is_wrong: str) -> None:
        if not is_right:
            raise CorruptError(
                f"the superblock is damaged: {what_is_wrong}",
                origin=self._origin,
                offset=self._offset + field_offset,
                hint=f"{REPAIR_HINT}: it puts one of the spare superblocks in its place",
            )


def _check_sizes(
    check: _Check, *, sectors: tuple[int, int], blocks: tuple[int, int], inodes: tuple[int, int]
) -> None:
    """Check sizes that are there twice: as a power of two, and in bytes."""
    for at, (bits, size), allowed, what in (
        (102, sectors, _SECTOR_BITS, "sectors"),
        (4, blocks, _BLOCK_BITS, "blocks"),
        (104, inodes, _INODE_BITS, "inodes"),
    ):
        is_right = bits in allowed and size == 1 << bits
        check(at, is_right, f"{what} have {size:,} bytes and 2^{bits}")


def _check_geometry(superblock: Superblock, check: _Check) -> None:
    group_blocks, groups = superblock.group_blocks, superblock.group_count
    block_bytes = superblock.block_bytes
    if superblock.has_checksums:
        check(4, block_bytes >= _LEAST_V5_BLOCK, f"blocks have {block_bytes:,} bytes")
        inode_bytes = superblock.inode_bytes
        check(104, inode_bytes >= _LEAST_V5_INODE, f"inodes have {inode_bytes:,} bytes")
    check(102, superblock.sector_bytes <= block_bytes, "a sector is larger than a block")
    check(84, group_blocks >= _LEAST_GROUP_BLOCKS, f"groups have {group_blocks:,} blocks")
    bits = superblock.group_bits
    check(124, bits == (group_blocks - 1).bit_length(), f"groups have 2^{bits} blocks")
    least = (groups - 1) * group_blocks + _LEAST_GROUP_BLOCKS
    blocks = superblock.block_count
    fits = groups > 0 and least <= blocks <= groups * group_blocks
    check(8, fits, f"{groups:,} groups of {group_blocks:,} blocks are not {blocks:,} blocks")
    stripe = superblock.log_stripe_bytes
    check(196, stripe <= _LARGEST_STRIPE_UNIT, f"the log's stripe unit is {stripe:,} bytes")
    start, length = superblock.log_start, superblock.log_blocks
    if not superblock.log_is_external:
        fits = length > 0 and superblock.linear_block(start, length) is not None
        check(48, fits, f"the log is {length:,} blocks from {start:,}")


def _refuse_unreadable(
    number: int, version: int, features2: int, incompat: int, origin: Origin
) -> None:
    """Refuse what is not read. As numbers: the complement of a flag has known bits alone."""
    if number not in {_OLDEST_VERSION, _CHECKSUM_VERSION}:
        raise UnsupportedError(
            f"is of version {number}, and only 4 and 5 are read",
            origin=origin,
            offset=100,
            hint="copy the files into a new filesystem on a machine that mounts it",
        )
    if incompat & Incompat.NEEDSREPAIR:
        raise UnsupportedError(
            "is marked as in need of repair (needsrepair)",
            origin=origin,
            offset=216,
            hint=REPAIR_HINT,
        )
    names: list[str] = []
    if number == _OLDEST_VERSION:
        names += _named(Version, version & ~_VERSION_MASK & ~_READABLE_VERSION)
        names += _named(Features2, features2 & ~_READABLE_FEATURES2)
        if not version & Version.DIRV2:
            names.append("directories of version 1")
        if not version & Version.EXTFLG:
            names.append("extents without a flag")
    names += _named(Incompat, incompat & ~int(READABLE))
    if names:
        raise UnsupportedError(
            f"uses features that are not read: {', '.join(names)}",
            origin=origin,
            offset=216 if number == _CHECKSUM_VERSION else 100,
            hint=_NEWER,
        )


def _named(flags: type[IntFlag], bits: int) -> list[str]:
    """Return the names of bits; those without one as a number."""
    known = [flag for flag in flags if int(flag) & bits]
    unknown = bits & ~sum(int(flag) for flag in known)
    return [str(flag.name).lower() for flag in known] + (
        [f"unknown ({unknown:#x})"] * (unknown > 0)
    )
