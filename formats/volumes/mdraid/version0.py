"""Superblocks of version 0.90: 4096 bytes in the byte order of the machine that wrote them.

They lie in the last whole 64 KiB block but none of a device, so that one at the end of the last
partition of a disk is at the place for the disk's own. Fields as in the Linux RAID wiki, and word
by word in the kernel's header for programs, ``linux/raid/md_p.h``.
"""

from __future__ import annotations

import struct

from formats.core.errors import CorruptError
from formats.core.source import ByteSource, read_exact
from formats.volumes.gpt import partition_owns
from formats.volumes.mdraid.superblock import MAGIC, MdSuperblock, Slot, State

_BYTES = 4096
_RESERVED = 65536
_KIB = 1024
_DEVICES = 27

# Numbers of 32-bit words.
_MINOR_VERSION, _UUID_0, _LEVEL, _SIZE_KIB, _MEMBERS, _NUMBER = 2, 5, 7, 8, 10, 11
_UUID_1 = 13
_CHECKSUM, _EVENTS = 38, 39
_LAYOUT, _CHUNK = 64, 65
_TABLE, _ROW_WORDS = 128, 32
_THIS = 992
_ROW_ROLE, _ROW_STATE = 3, 4

_VERSION, _RESHAPING = 90, 91
_DEVICE_FAULTY, _DEVICE_ACTIVE, _DEVICE_SYNC, _DEVICE_REMOVED = 1, 2, 4, 8


def place(size: int) -> int:
    """Return the byte where the superblock of a device of ``size`` bytes is; may be negative."""
    return (size & -_RESERVED) - _RESERVED


def byte_order(source: ByteSource, offset: int) -> str | None:
    """Return the byte order of the superblock here, for :mod:`struct`; None if there is none."""
    if offset < 0 or offset + _BYTES > source.size:
        return None
    head = bytes(source.read_at(offset, 64))
    for order in "<>":
        magic, major, minor = struct.unpack_from(f"{order}3I", head)
        (size_kib,) = struct.unpack_from(f"{order}I", head, 4 * _SIZE_KIB)
        is_version = major == 0 and minor in {_VERSION, _RESHAPING}
        if magic == MAGIC and is_version and size_kib <= offset // _KIB:
            return order
    return None


def is_here(source: ByteSource, offset: int) -> bool:
    """Tell whether a superblock is here, and not one of a partition that ends here too."""
    if byte_order(source, offset) is None:
        return False
    return partition_owns(source, offset) is not True


def read(source: ByteSource, offset: int) -> MdSuperblock:
    """Read and check the superblock at ``offset``.

    :raises CorruptError: if it is damaged.
    """
    data = bytes(read_exact(source, offset, _BYTES, "the md superblock"))
    order = byte_order(source, offset) or "<"
    words = struct.unpack(f"{order}{_BYTES // 4}I", data)
    total = sum(words) - words[_CHECKSUM]
    if (total & 0xFFFFFFFF) + (total >> 32) & 0xFFFFFFFF != words[_CHECKSUM]:
        raise CorruptError(
            "the md superblock has a wrong checksum",
            origin=source.origin,
            offset=offset,
            hint="give the other members alone, if there are enough",
        )
    members, chunk, device = words[_MEMBERS], words[_CHUNK], words[_THIS]
    if not 0 < members <= _DEVICES:
        raise CorruptError(
            f"the md superblock is of an array of {members:,} members",
            origin=source.origin,
            offset=offset,
        )
    (level,) = struct.unpack_from(f"{order}i", data, 4 * _LEVEL)
    first, second = words[_EVENTS : _EVENTS + 2]
    events = second << 32 | first if order == "<" else first << 32 | second
    uuid = (words[_UUID_0], *words[_UUID_1 : _UUID_1 + 3])
    return MdSuperblock(
        version="0.90",
        uuid=":".join(f"{word:08x}" for word in uuid),
        name="",
        minor=words[_NUMBER],
        level=level,
        layout=0 if level == 0 else words[_LAYOUT],
        chunk_bytes=chunk,
        members=members,
        member_bytes=words[_SIZE_KIB] * _KIB,
        data_offset=0,
        data_bytes=offset,
        events=events,
        device=device,
        slots=tuple(
            _slot(words[start : start + _ROW_WORDS])
            for start in range(_TABLE, _TABLE + _DEVICES * _ROW_WORDS, _ROW_WORDS)
        ),
        refused="is being reshaped" if words[_MINOR_VERSION] == _RESHAPING else "",
    )


def _slot(row: tuple[int, ...]) -> Slot:
    state = row[_ROW_STATE]
    if state & (_DEVICE_FAULTY | _DEVICE_REMOVED):
        return Slot(State.FAULTY)
    if state & _DEVICE_ACTIVE and state & _DEVICE_SYNC:
        return Slot(State.ACTIVE, row[_ROW_ROLE])
    return Slot(State.SPARE)
