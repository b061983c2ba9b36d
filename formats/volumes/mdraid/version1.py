"""Superblocks of version 1: 256 bytes, little-endian, and a table of two bytes a device.

Fields as in the Linux RAID wiki, "The version-1 superblock format on-disk layout".
"""

from __future__ import annotations

import struct

from formats.core.errors import CorruptError
from formats.core.origin import printable
from formats.core.source import ByteSource, read_exact
from formats.volumes.mdraid.superblock import (
    MAGIC,
    SECTOR_BYTES,
    MdSuperblock,
    Slot,
    State,
)

_BYTES = 256
_ROWS_MAX = (4096 - _BYTES) // 2
"""The kernel gives a superblock 4096 bytes with its table."""
# The sections of the wiki's table; that of a reshape, from byte 100 to 127, is not needed.
_ARRAY = struct.Struct("<8xI4x16s32s8xiIQIII")
"""Features; UUID, name, level, layout, sectors of each member, sectors a chunk, members; bitmap."""
_DEVICE = struct.Struct("<QQQQI")
"""Offset and size of the data, own place, recovery offset, number of the device."""
_DEVICE_OFFSET = 128
_STATE = struct.Struct("<Q8xII")
"""Events, checksum, devices in the table."""
_STATE_OFFSET = 200
_CHECKSUM_OFFSET = 216
_OWN_PLACE_OFFSET = 144
_MINORS = {0: "1.1", 8: "1.2"}
_IN_SYNC = (1 << 64) - 1

_RECOVERY = 2
_RESHAPE = 4
_BAD_BLOCKS = 8
_REPLACEMENT = 16
_JOURNAL = 512
_RAID0_LAYOUT = 4096
# Further ones that change nothing for who reads: bitmap, backwards reshape, new offset, bitmap of a
# recovery, cluster, partial parity log.
_HARMLESS = 1 | 32 | 64 | 128 | 256 | 1024 | 2048
_KNOWN = _HARMLESS | _RECOVERY | _RESHAPE | _BAD_BLOCKS | _REPLACEMENT | _JOURNAL | _RAID0_LAYOUT

_SPARE, _FAULTY, _JOURNAL_ROLE = 0xFFFF, 0xFFFE, 0xFFFD
_STATES = {_SPARE: State.SPARE, _FAULTY: State.FAULTY, _JOURNAL_ROLE: State.JOURNAL}


def places(size: int) -> tuple[int, ...]:
    """Return the bytes where a superblock of version 1.1, 1.2 or 1.0 can be."""
    from_end = (size // SECTOR_BYTES - 16) & ~7
    return (0, 8 * SECTOR_BYTES, from_end * SECTOR_BYTES)


def is_here(source: ByteSource, offset: int) -> bool:
    """Tell whether a superblock is here. It says where it is itself."""
    if offset < 0 or offset + _BYTES > source.size:
        return False
    block = bytes(source.read_at(offset, _BYTES))
    magic, major = struct.unpack_from("<II", block)
    (sector,) = struct.unpack_from("<Q", block, _OWN_PLACE_OFFSET)
    return bool(magic == MAGIC and major == 1 and sector * SECTOR_BYTES == offset)


def checksum(block: bytes) -> int:
    """Return the checksum of a superblock with its table: 32-bit words added up and folded."""
    whole = len(block) - len(block) % 4
    words: tuple[int, ...] = struct.unpack(f"<{whole // 4}I", block[:whole])
    total = sum(words) - words[_CHECKSUM_OFFSET // 4]
    if whole < len(block):
        total += int.from_bytes(block[whole:], "little")
    return (total & 0xFFFFFFFF) + (total >> 32) & 0xFFFFFFFF


def read(source: ByteSource, offset: int) -> MdSuperblock:
    """Read and check the superblock at ``offset``.

    :raises CorruptError: if it is damaged.
    """
    head = bytes(read_exact(source, offset, _BYTES, "the md superblock"))
    features, uuid, name, level, layout, size, chunk, members, _ = _ARRAY.unpack_from(head)
    data_offset, data_sectors, _, recovery, device = _DEVICE.unpack_from(head, _DEVICE_OFFSET)
    events, stored, rows = _STATE.unpack_from(head, _STATE_OFFSET)
    if rows > _ROWS_MAX:
        raise CorruptError(
            f"the md superblock has a table of {rows:,} devices",
            origin=source.origin,
            offset=offset,
        )
    table = bytes(read_exact(source, offset + _BYTES, 2 * rows, "the table of the md superblock"))
    if checksum(head + table) != stored:
        raise CorruptError(
            "the md superblock has a wrong checksum",
            origin=source.origin,
            offset=offset,
            hint="give the other members alone, if there are enough",
        )
    if not 0 < members <= _ROWS_MAX:
        raise CorruptError(
            f"the md superblock is of an array of {members:,} members",
            origin=source.origin,
            offset=offset,
        )
    if level == 0 and not features & _RAID0_LAYOUT:
        layout = 0
    return MdSuperblock(
        version=_MINORS.get(offset // SECTOR_BYTES, "1.0"),
        uuid=_uuid(uuid),
        name=printable(name.partition(b"\0")[0]),
        minor=None,
        level=level,
        layout=layout,
        chunk_bytes=chunk * SECTOR_BYTES,
        members=members,
        member_bytes=size * SECTOR_BYTES,
        data_offset=data_offset * SECTOR_BYTES,
        data_bytes=data_sectors * SECTOR_BYTES,
        events=events,
        device=device,
        slots=tuple(_slot(role) for (role,) in struct.iter_unpack("<H", table)),
        is_partial=bool(features & _RECOVERY) and recovery != _IN_SYNC,
        is_replacement=bool(features & _REPLACEMENT),
        has_bad_blocks=bool(features & _BAD_BLOCKS),
        refused=_refused(features),
    )


def _uuid(raw: bytes) -> str:
    digits = raw.hex()
    return ":".join(digits[start : start + 8] for start in range(0, 32, 8))


def _slot(role: int) -> Slot:
    state = _STATES.get(role)
    return Slot(state) if state is not None else Slot(State.ACTIVE, role)


def _refused(features: int) -> str:
    if features & _RESHAPE:
        return "is being reshaped"
    if features & _JOURNAL:
        return "has a write journal"
    unknown = features & ~_KNOWN
    return f"has features that are not known (0x{unknown:x})" if unknown else ""
