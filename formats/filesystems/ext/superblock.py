"""The superblock: geometry, identity and features (kernel documentation, "Super Block").

Everything that later code divides by, shifts by or multiplies with is checked here, once.
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass
from enum import IntFlag

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.origin import Origin, printable
from formats.core.source import BytesLike, ByteSource, read_exact
from formats.filesystems.ext.checksums import ALL_ONES, crc32c

SUPERBLOCK_OFFSET = 1024
SUPERBLOCK_BYTES = 1024
MAGIC = 0xEF53
ROOT_INODE = 2

_CHECKSUM_OFFSET = 0x3FC
_CHECKSUM_CRC32C = 1
_GOOD_OLD_INODE_BYTES = 128
_GOOD_OLD_FIRST_INODE = 11
_SMALL_DESCRIPTOR_BYTES = 32
_LARGE_DESCRIPTOR_BYTES = 64
_MAX_LOG_BLOCK = 6
_MAX_LOG_CLUSTER = 20
"""a cluster of 1 GiB, the most that mke2fs(8) makes"""


class Compat(IntFlag):
    """Compatible features; unknown bits do no harm to who reads."""

    DIR_PREALLOC = 0x1
    IMAGIC_INODES = 0x2
    HAS_JOURNAL = 0x4
    EXT_ATTR = 0x8
    RESIZE_INODE = 0x10
    DIR_INDEX = 0x20
    SPARSE_SUPER2 = 0x200
    FAST_COMMIT = 0x400
    STABLE_INODES = 0x800
    ORPHAN_FILE = 0x1000


class State(IntFlag):
    """``s_state``."""

    CLEAN = 0x1
    ERRORS = 0x2


class Incompat(IntFlag):
    """Incompatible features: who does not know one must not read."""

    COMPRESSION = 0x1
    FILETYPE = 0x2
    NEEDS_RECOVERY = 0x4
    JOURNAL_DEV = 0x8
    META_BG = 0x10
    EXTENTS = 0x40
    BIT64 = 0x80
    MMP = 0x100
    FLEX_BG = 0x200
    EA_INODE = 0x400
    DIRDATA = 0x1000
    CSUM_SEED = 0x2000
    LARGE_DIR = 0x4000
    INLINE_DATA = 0x8000
    ENCRYPT = 0x10000
    CASEFOLD = 0x20000


class RoCompat(IntFlag):
    """Features that only who writes has to know."""

    SPARSE_SUPER = 0x1
    LARGE_FILE = 0x2
    BTREE_DIR = 0x4
    HUGE_FILE = 0x8
    GDT_CSUM = 0x10
    DIR_NLINK = 0x20
    EXTRA_ISIZE = 0x40
    QUOTA = 0x100
    BIGALLOC = 0x200
    METADATA_CSUM = 0x400
    READONLY = 0x1000
    PROJECT = 0x2000
    SHARED_BLOCKS = 0x4000
    VERITY = 0x8000
    ORPHAN_PRESENT = 0x10000


READABLE = (
    Incompat.FILETYPE
    | Incompat.NEEDS_RECOVERY
    | Incompat.META_BG
    | Incompat.EXTENTS
    | Incompat.BIT64
    | Incompat.MMP
    | Incompat.FLEX_BG
    | Incompat.EA_INODE
    | Incompat.CSUM_SEED
    | Incompat.LARGE_DIR
    | Incompat.INLINE_DATA
    | Incompat.ENCRYPT
    | Incompat.CASEFOLD
)
"""Encrypted inodes are refused where they are met: a filesystem with the feature may have none."""

_EXT3_INCOMPAT = Incompat.FILETYPE | Incompat.NEEDS_RECOVERY | Incompat.META_BG
_EXT3_RO_COMPAT = RoCompat.SPARSE_SUPER | RoCompat.LARGE_FILE | RoCompat.BTREE_DIR

_FEATURE_HINTS = {
    Incompat.COMPRESSION: "it was made by a kernel with the e2compr patch: only that one reads it",
    Incompat.DIRDATA: "it is a Lustre server's: copy the files out there",
}
_NEWER = "a newer kernel reads it: copy the files from there into a new filesystem"


INODE_IDENTITY = struct.Struct("<II")
"""An inode's number and generation: what checksums of it and of its blocks begin with."""


@dataclass(frozen=True, slots=True)
class Superblock:
    """What the superblock says, checked. Names follow the ``s_`` fields they come from.

    :ivar descriptor_bytes: size of a group descriptor: 32, or 64 and more with ``64bit``.
    :ivar checksum_seed: what every crc32c of the filesystem but the superblock's starts from.
    :ivar journal_backup: copy of the journal inode's ``i_block``, ``i_size_high`` and ``i_size``
        (17 little-endian words).
    :ivar backup_groups: the two groups with backups under ``sparse_super2``.
    """

    inode_count: int
    block_count: int
    free_block_count: int
    first_data_block: int
    block_bytes: int
    cluster_blocks: int
    blocks_per_group: int
    inodes_per_group: int
    state: State
    first_inode: int
    inode_bytes: int
    compat: Compat
    incompat: Incompat
    ro_compat: RoCompat
    uuid: uuid.UUID
    label: str
    journal_inode: int
    journal_backup_type: int
    journal_backup: bytes
    descriptor_bytes: int
    first_meta_group: int
    backup_groups: tuple[int, int]
    checksum_seed: int

    @property
    def group_count(self) -> int:
        """Number of block groups, the last of which may be short."""
        return -(-(self.block_count - self.first_data_block) // self.blocks_per_group)

    @property
    def size_bytes(self) -> int:
        """Bytes from the volume's start to the filesystem's end."""
        return self.block_count * self.block_bytes

    @property
    def has_metadata_checksums(self) -> bool:
        """Whether structures carry a crc32c (``metadata_csum``)."""
        return RoCompat.METADATA_CSUM in self.ro_compat

    def inode_seed(self, number: int, generation: int) -> int | None:
        """Return what checksums of an inode and its own blocks start from; None without them."""
        if not self.has_metadata_checksums:
            return None
        return crc32c(INODE_IDENTITY.pack(number, generation), self.checksum_seed)

    @property
    def needs_recovery(self) -> bool:
        """Whether the journal holds what the filesystem does not yet."""
        return Incompat.NEEDS_RECOVERY in self.incompat

    @property
    def format(self) -> str:
        """``ext2``, ``ext3`` or ``ext4``: the oldest driver that could have made it."""
        if self.incompat & ~int(_EXT3_INCOMPAT) or self.ro_compat & ~int(_EXT3_RO_COMPAT):
            return "ext4"
        return "ext3" if Compat.HAS_JOURNAL in self.compat else "ext2"


_STRUCT = struct.Struct(
    "<"
    "5I"  # 0x000 inodes, blocks (low), reserved, free blocks (low), free inodes
    "3I"  # 0x014 first data block, log block size, log cluster size
    "3I"  # 0x020 blocks, clusters, inodes per group
    "12x"  # 0x02C times, mount counts
    "2H12x"  # 0x038 magic, state
    "4xI4x"  # 0x048 … 0x04C revision
    "IH2x"  # 0x054 first inode, inode size
    "3I"  # 0x05C features
    "16s16s"  # 0x068 UUID, label
    "72x"  # 0x088 last mounted, compression, preallocation, reserved descriptors
    "16xI8x"  # 0x0D0 … 0x0E0 journal inode
    "17xBH"  # 0x0EC hash seed and version; journal backup type, descriptor size
    "4xI4x68s"  # 0x100 first meta group; journal backup
    "I4xI"  # 0x150 blocks (high), reserved, free blocks (high)
    "25xB"  # 0x15C … 0x175 checksum type
    "214x2I"  # 0x176 … 0x24C backup groups
    "28xI"  # 0x254 … 0x270 checksum seed
)


def read_superblock(source: ByteSource) -> Superblock:
    """Return the primary superblock of the filesystem that ``source`` holds.

    :raises UnsupportedError: for a feature that is not read, by name.
    :raises CorruptError: if a value is impossible, the checksum is wrong, or the filesystem is
        larger than ``source``.
    """
    raw = bytes(read_exact(source, SUPERBLOCK_OFFSET, SUPERBLOCK_BYTES, "the superblock"))
    superblock = parse_superblock(raw, source.origin)
    if superblock.size_bytes > source.size:
        raise CorruptError(
            f"the filesystem has {superblock.size_bytes:,} bytes, its volume {source.size:,}",
            origin=source.origin,
            offset=SUPERBLOCK_OFFSET + 4,
            hint="the image is truncated, or the partition was made smaller: get a whole copy",
        )
    return superblock


def parse_superblock(raw: bytes, origin: Origin) -> Superblock:
    """Return the superblock that 1,024 bytes hold, checked in itself but not against a volume.

    :raises UnsupportedError: for a feature that is not read, by name.
    :raises CorruptError: if a value is impossible or the checksum is wrong.
    """
    (
        inodes, blocks_low, _, free_low, _,
        first_data_block, log_block, log_cluster,
        blocks_per_group, clusters_per_group, inodes_per_group,
        magic, state,
        revision,
        first_inode, inode_bytes,
        compat, incompat, ro_compat,
        identity, label,
        journal_inode,
        backup_type, descriptor_bytes,
        first_meta_group, journal_backup,
        blocks_high, free_high,
        checksum_type,
        backup_first, backup_second,
        seed,
    ) = _STRUCT.unpack_from(raw)  # fmt: skip
    check = _Check(origin)
    check(0x38, magic == MAGIC, f"its magic is {magic:#06x}, not {MAGIC:#06x}")
    has_64bit = bool(incompat & Incompat.BIT64)
    if ro_compat & RoCompat.METADATA_CSUM:
        _verify(raw, checksum_type, origin)
    _refuse_unreadable(Incompat(incompat), origin)  # before geometry: a journal_dev has none
    check(0x18, log_block <= _MAX_LOG_BLOCK, f"the block size is 2^{log_block} KiB")
    cluster_bits = log_cluster - log_block if ro_compat & RoCompat.BIGALLOC else 0
    check(0x1C, 0 <= cluster_bits <= _MAX_LOG_CLUSTER, f"a cluster is 2^{cluster_bits} blocks")
    old = revision == 0
    superblock = Superblock(
        inode_count=inodes,
        block_count=blocks_low | (blocks_high << 32 if has_64bit else 0),
        free_block_count=free_low | (free_high << 32 if has_64bit else 0),
        first_data_block=first_data_block,
        block_bytes=1024 << log_block,
        cluster_blocks=1 << cluster_bits,
        blocks_per_group=blocks_per_group,
        inodes_per_group=inodes_per_group,
        state=State(state),
        first_inode=_GOOD_OLD_FIRST_INODE if old else first_inode,
        inode_bytes=_GOOD_OLD_INODE_BYTES if old else inode_bytes,
        compat=Compat(compat),
        incompat=Incompat(incompat),
        ro_compat=RoCompat(ro_compat),
        uuid=uuid.UUID(bytes=identity),
        label=printable(label.partition(b"\0")[0]),
        journal_inode=journal_inode,
        journal_backup_type=backup_type,
        journal_backup=journal_backup,
        descriptor_bytes=descriptor_bytes if has_64bit else _SMALL_DESCRIPTOR_BYTES,
        first_meta_group=first_meta_group,
        backup_groups=(backup_first, backup_second),
        checksum_seed=seed if incompat & Incompat.CSUM_SEED else crc32c(identity),
    )
    if superblock.cluster_blocks > 1:
        fits = blocks_per_group == clusters_per_group << cluster_bits
        check(0x24, fits, f"{clusters_per_group:,} clusters are not {blocks_per_group:,} blocks")
    _check_geometry(superblock, check)
    return superblock


class _Check:
    """Raises for a field of the superblock that is not as it must be."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin

    def __call__(self, field_offset: int, is_right: bool, what_is_wrong: str) -> None:
        if not is_right:
            raise CorruptError(
                f"the superblock is damaged: {what_is_wrong}",
                origin=self._origin,
                offset=SUPERBLOCK_OFFSET + field_offset,
                hint="run 'e2fsck' on a copy",
            )


def _verify(raw: BytesLike, checksum_type: int, origin: Origin) -> None:
    if checksum_type != _CHECKSUM_CRC32C:
        raise UnsupportedError(
            f"its checksums are of type {checksum_type}, and only crc32c is known",
            origin=origin,
            offset=SUPERBLOCK_OFFSET + 0x175,
        )
    (stored,) = struct.unpack_from("<I", raw, _CHECKSUM_OFFSET)
    computed = crc32c(raw[:_CHECKSUM_OFFSET], ALL_ONES)
    _Check(origin)(
        _CHECKSUM_OFFSET, stored == computed, f"its checksum is {stored:08x}, not {computed:08x}"
    )


def _check_geometry(superblock: Superblock, check: _Check) -> None:
    block_bytes = superblock.block_bytes
    clusters = superblock.blocks_per_group // superblock.cluster_blocks
    # One block of bitmap describes a group, so 8 × block size clusters or inodes at the most.
    check(0x20, 0 < clusters <= 8 * block_bytes, f"{superblock.blocks_per_group:,} blocks a group")
    first = superblock.first_data_block
    check(0x14, first <= (block_bytes == 1024), f"the first data block is {first:,}")
    check(0x04, first < superblock.block_count, f"there are {superblock.block_count:,} blocks")
    per_group, inode_bytes = superblock.inodes_per_group, superblock.inode_bytes
    is_power = inode_bytes & (inode_bytes - 1) == 0
    check(
        0x58,
        is_power and _GOOD_OLD_INODE_BYTES <= inode_bytes <= block_bytes,
        f"inodes have {inode_bytes:,} bytes",
    )
    check(0x28, 0 < per_group <= 8 * block_bytes, f"{per_group:,} inodes a group")
    most = per_group * superblock.group_count
    check(
        0x00,
        superblock.first_inode <= superblock.inode_count <= most,
        f"{superblock.inode_count:,} inodes",
    )
    size = superblock.descriptor_bytes
    smallest = (
        _LARGE_DESCRIPTOR_BYTES
        if Incompat.BIT64 in superblock.incompat
        else _SMALL_DESCRIPTOR_BYTES
    )
    is_power = size & (size - 1) == 0
    check(0xFE, is_power and smallest <= size <= block_bytes, f"descriptors have {size:,} bytes")
    if Incompat.META_BG in superblock.incompat:
        tables = -(-superblock.group_count * size // block_bytes)
        start = superblock.first_meta_group
        check(0x104, start <= tables, f"the first meta group is {start:,} of {tables:,}")


def _refuse_unreadable(incompat: Incompat, origin: Origin) -> None:
    if Incompat.JOURNAL_DEV in incompat:
        raise UnsupportedError(
            "is the external journal of an ext3 or ext4 filesystem, and holds no files",
            origin=origin,
            hint="convert the volume with the filesystem",
        )
    # As numbers: the complement of a flag has no bits but those that are known.
    unreadable = incompat & ~int(READABLE)
    if not unreadable:
        return
    known = [feature for feature in Incompat if feature in unreadable]
    names = [str(feature.name).lower() for feature in known]
    unknown = int(unreadable) & ~sum(known)
    if unknown:
        names.append(f"unknown ({unknown:#x})")
    hints = [hint for feature, hint in _FEATURE_HINTS.items() if feature in unreadable]
    raise UnsupportedError(
        f"uses features that are not read: {', '.join(names)}",
        origin=origin,
        offset=SUPERBLOCK_OFFSET + 0x60,
        hint=hints[0] if hints else _NEWER,
    )
