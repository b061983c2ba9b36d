"""The superblock: where the trees of trees and of chunks are, and which features are used.

"On-disk Format", section "Superblock". It is at 64 KiB, with copies at 64 MiB and 256 GiB. The
kernel mounts by the first; the copies are for when that is damaged.
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass
from enum import IntFlag

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.limits import GIB, KIB, MIB
from formats.core.origin import Origin, printable
from formats.core.source import ByteSource, read_exact
from formats.filesystems.btrfs.checksums import CHECKSUMS, Checksum

PLACES = (64 * KIB, 64 * MIB, 256 * GIB)
"""Offsets of the superblock and its copies."""
SUPERBLOCK_BYTES = 4096
MAGIC = b"_BHRfS_M"
MAGIC_OFFSET = 0x40
ARRAY_OFFSET, ARRAY_BYTES = 0x32B, 2048
CHECKSUM_BYTES = 32

_MOST_LEVELS = 8
_SMALLEST, _LARGEST = 4 * KIB, 64 * KIB
_RESCUE = "try 'btrfs rescue super-recover' on a copy"


class Incompat(IntFlag):
    """Features that who reads has to know; names as the kernel has them in sysfs."""

    MIXED_BACKREF = 1 << 0
    DEFAULT_SUBVOL = 1 << 1
    MIXED_GROUPS = 1 << 2
    COMPRESS_LZO = 1 << 3
    COMPRESS_ZSTD = 1 << 4
    BIG_METADATA = 1 << 5
    EXTENDED_IREF = 1 << 6
    RAID56 = 1 << 7
    SKINNY_METADATA = 1 << 8
    NO_HOLES = 1 << 9
    METADATA_UUID = 1 << 10
    RAID1C34 = 1 << 11
    ZONED = 1 << 12
    EXTENT_TREE_V2 = 1 << 13
    RAID_STRIPE_TREE = 1 << 14
    ENCRYPT = 1 << 15
    SIMPLE_QUOTA = 1 << 16
    REMAP_TREE = 1 << 17


class CompatRo(IntFlag):
    """Features that only who writes has to know."""

    FREE_SPACE_TREE = 1 << 0
    FREE_SPACE_TREE_VALID = 1 << 1
    VERITY = 1 << 2
    BLOCK_GROUP_TREE = 1 << 3


class State(IntFlag):
    """Bits of the superblock's flags that say something of what can be read."""

    ERROR = 1 << 2
    SEEDING = 1 << 32
    METADUMP = 1 << 33
    METADUMP_V2 = 1 << 34
    CHANGING_FSID = 1 << 35
    CHANGING_FSID_V2 = 1 << 36
    CHANGING_BG_TREE = 1 << 38
    CHANGING_DATA_CSUM = 1 << 39
    CHANGING_META_CSUM = 1 << 40


UNREADABLE = (
    Incompat.ZONED
    | Incompat.EXTENT_TREE_V2
    | Incompat.RAID_STRIPE_TREE
    | Incompat.ENCRYPT
    | Incompat.REMAP_TREE
)
READABLE = ~UNREADABLE & sum(Incompat)
_METADUMPS = State.METADUMP | State.METADUMP_V2
_HALF_CONVERTED = (
    State.CHANGING_FSID
    | State.CHANGING_FSID_V2
    | State.CHANGING_BG_TREE
    | State.CHANGING_DATA_CSUM
    | State.CHANGING_META_CSUM
)


@dataclass(frozen=True, slots=True)
class Superblock:
    """What the superblock of one device says.

    :ivar place: where on the device it was read.
    :ivar fsid: the filesystem's UUID, for people and ``blkid``.
    :ivar metadata_uuid: the UUID in the blocks of trees; the same unless it was changed since.
    :ivar root: logical address of the root tree; likewise ``chunk_root`` and ``log_root``, which
        is 0 if nothing was logged.
    :ivar device_id: of the device that it is on; ``device_uuid`` likewise.
    :ivar chunk_array: keys and chunk items of the system chunks.
    """

    place: int
    fsid: uuid.UUID
    metadata_uuid: uuid.UUID
    generation: int
    root: int
    root_level: int
    chunk_root: int
    chunk_root_level: int
    chunk_root_generation: int
    log_root: int
    log_root_level: int
    total_bytes: int
    bytes_used: int
    device_count: int
    sector_bytes: int
    node_bytes: int
    state: State
    incompat: Incompat
    compat_ro: CompatRo
    checksum: Checksum
    device_id: int
    device_uuid: uuid.UUID
    device_bytes: int
    label: str
    chunk_array: bytes


_STRUCT = struct.Struct(
    "<"
    "32x16s3Q"  # 0x000 checksum, fsid, own address, flags … 0x040 magic
    "Q3Q8x"  # 0x048 … generation; root tree, chunk tree, log tree
    "2Q8xQ"  # 0x070 bytes, bytes used, root folder, devices
    "2I8xI"  # 0x090 sector size, node size, leaf size, stripe size, size of the chunk array
    "Q8xQQ"  # 0x0A4 generation of the chunk tree, compat, compat_ro, incompat
    "HBBB"  # 0x0C4 kind of checksum, levels of the trees
    "2Q50x16s16x"  # 0x0C9 device item: id, bytes …, UUID, fsid
    "256s16x16s"  # 0x12B label, cache and UUID tree generations, metadata UUID
)


def read_superblock(source: ByteSource) -> Superblock:
    """Return the superblock of a device: the first, or the newest copy if that is damaged.

    One that is whole and says what cannot be is no damage that a copy would not have.

    :raises UnsupportedError: for a feature that is not read, by name.
    :raises CorruptError: if none can be used.
    """
    copies: list[Superblock] = []
    for place in PLACES:
        raw = bytes(source.read_at(place, SUPERBLOCK_BYTES))
        if not is_whole(raw):
            continue
        found = parse_superblock(raw, place, source.origin)
        if place == PLACES[0]:
            return found
        copies.append(found)
    if copies:
        return max(copies, key=lambda copy: copy.generation)
    raw = bytes(read_exact(source, PLACES[0], SUPERBLOCK_BYTES, "the superblock"))
    return parse_superblock(raw, PLACES[0], source.origin)


def is_whole(raw: bytes) -> bool:
    """Tell whether a superblock is as it was written, whatever it says."""
    if len(raw) != SUPERBLOCK_BYTES or raw[MAGIC_OFFSET : MAGIC_OFFSET + len(MAGIC)] != MAGIC:
        return False
    checksum = CHECKSUMS.get(int.from_bytes(raw[0xC4:0xC6], "little"))
    return checksum is None or raw[: checksum.size] == checksum.of(raw[CHECKSUM_BYTES:])


def parse_superblock(raw: bytes, place: int, origin: Origin) -> Superblock:
    """Return the superblock that 4,096 bytes hold.

    :param place: where they were; they say so themselves too.
    :raises UnsupportedError: for a feature that is not read, by name.
    :raises CorruptError: if a value is impossible or the checksum is wrong.
    """
    check = _Check(place, origin)
    check(0x40, raw[MAGIC_OFFSET : MAGIC_OFFSET + 8] == MAGIC, "its magic is not there")
    (
        fsid, address, flags, _,
        generation, root, chunk_root, log_root,
        total_bytes, bytes_used, device_count,
        sector_bytes, node_bytes, array_bytes,
        chunk_root_generation, compat_ro, incompat,
        checksum_type, root_level, chunk_root_level, log_root_level,
        device_id, device_bytes, device_uuid,
        label, metadata_uuid,
    ) = _STRUCT.unpack_from(raw)  # fmt: skip
    checksum = CHECKSUMS.get(checksum_type)
    if checksum is None:
        raise UnsupportedError(
            f"its checksums are of type {checksum_type}, and only"
            f" {', '.join(known.name for known in CHECKSUMS.values())} are known",
            origin=origin,
            offset=place + 0xC4,
        )
    is_right = raw[: checksum.size] == checksum.of(raw[CHECKSUM_BYTES:])
    check(0x00, is_right, f"its {checksum.name} checksum is wrong")
    check(0x30, address == place, f"it says that it is at byte {address:,}")
    _refuse_unreadable(incompat, flags, origin, place)
    for field, size in ((0x90, sector_bytes), (0x94, node_bytes)):
        is_power = size & (size - 1) == 0
        check(field, is_power and _SMALLEST <= size <= _LARGEST, f"a block has {size:,} bytes")
    check(0x94, node_bytes >= sector_bytes, "nodes are smaller than sectors")
    check(0xA0, 0 < array_bytes <= ARRAY_BYTES, f"{array_bytes:,} bytes of system chunks")
    check(0x70, total_bytes > 0, "it has no bytes")
    check(0x88, 0 < device_count < 1 << 16, f"it has {device_count:,} devices")
    levels = (root_level, chunk_root_level, log_root_level)
    check(0xC6, max(levels) < _MOST_LEVELS, f"its trees have {max(levels)} levels")
    has_other_uuid = incompat & Incompat.METADATA_UUID
    return Superblock(
        place=place,
        fsid=uuid.UUID(bytes=fsid),
        metadata_uuid=uuid.UUID(bytes=metadata_uuid if has_other_uuid else fsid),
        generation=generation,
        root=root,
        root_level=root_level,
        chunk_root=chunk_root,
        chunk_root_level=chunk_root_level,
        chunk_root_generation=chunk_root_generation,
        log_root=log_root,
        log_root_level=log_root_level,
        total_bytes=total_bytes,
        bytes_used=bytes_used,
        device_count=device_count,
        sector_bytes=sector_bytes,
        node_bytes=node_bytes,
        state=State(flags & sum(State)),
        incompat=Incompat(incompat),
        compat_ro=CompatRo(compat_ro & sum(CompatRo)),
        checksum=checksum,
        device_id=device_id,
        device_uuid=uuid.UUID(bytes=device_uuid),
        device_bytes=device_bytes,
        label=printable(label.partition(b"\0")[0]),
        chunk_array=raw[ARRAY_OFFSET : ARRAY_OFFSET + array_bytes],
    )


class _Check:
    """Raises for a field that is not as it must be."""

    def __init__(self, place: int, origin: Origin) -> None:
        self._place = place
        self._origin = origin

    def __call__(self, field_offset: int, is_right: bool, what_is_wrong: str) -> None:
        if not is_right:
            raise CorruptError(
                f"the superblock is damaged: {what_is_wrong}",
                origin=self._origin,
                offset=self._place + field_offset,
                hint=_RESCUE,
            )


def _refuse_unreadable(incompat: int, flags: int, origin: Origin, place: int) -> None:
    # As numbers: the complement of a flag has no bits but those that are known.
    unreadable = incompat & ~int(READABLE)
    if unreadable:
        known = [feature for feature in Incompat if feature & unreadable]
        names = [str(feature.name).lower() for feature in known]
        unknown = unreadable & ~sum(known)
        if unknown:
            names.append(f"unknown ({unknown:#x})")
        raise UnsupportedError(
            f"uses features that are not read: {', '.join(names)}",
            origin=origin,
            offset=place + 0xBC,
            hint="copy the files to a filesystem without them",
        )
    if flags & _METADUMPS:
        raise UnsupportedError(
            "is a dump of metadata (btrfs-image), and has no content of files",
            origin=origin,
            offset=place + 0x38,
            hint="take an image of the device itself",
        )
    if flags & _HALF_CONVERTED:
        names = [str(state.name).lower() for state in State if state & flags & _HALF_CONVERTED]
        raise UnsupportedError(
            f"was being converted when the image was taken: {', '.join(names)}",
            origin=origin,
            offset=place + 0x38,
            hint="let 'btrfstune' finish on a copy",
        )
