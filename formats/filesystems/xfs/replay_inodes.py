"""Replaying changes of inodes, and their creation.

"XFS Algorithms & Data Structures", "Inode Updates", "Inode Data Log Item", "Inode Creation Log
Item". An inode is logged in the byte order of the machine, and written in big-endian order; what
follows it, the forks, is in disk order already, but the root of a fork's B+tree: the log has it
with the header of a block, the inode without.
"""

from __future__ import annotations

import struct
from collections.abc import Container, Iterator
from dataclasses import dataclass
from enum import IntFlag

from formats.core.errors import CorruptError
from formats.core.source import BytesLike
from formats.filesystems.xfs.checksums import set_checksum
from formats.filesystems.xfs.inode import FORMAT_BTREE
from formats.filesystems.xfs.log_record import Log
from formats.filesystems.xfs.log_transactions import Item
from formats.filesystems.xfs.replay_buffers import INODE_CHECKSUM_OFFSET, NEXT_UNLINKED_OFFSET
from formats.filesystems.xfs.replay_forks import CORE_V3_BYTES, Fork, forks
from formats.filesystems.xfs.replay_overlay import Overlay
from formats.filesystems.xfs.replay_trees import ExtentTrees
from formats.filesystems.xfs.superblock import DADDR_BYTES, Superblock

_MAGIC = b"IN"
_VERSION_OFFSET = 4
_VERSION_WITH_CHECKSUM = 3
_LOGGED_BYTES = 96
"""what the log has of an inode of version 2; what links deleted inodes comes behind it"""
_LOGGED_V3_OFFSET = 104
"""where it goes on in version 3, behind that and the checksum"""
_FLUSHES = slice(30, 32)
_MOST_FLUSHES = 0xFFFF
_GENERATION = slice(92, 96)
_NUMBER_AND_UUID = slice(152, 176)
_LSN = slice(112, 120)
_FLAGS2 = slice(120, 128)
_FLAG2_BIGTIME = 0x8
_FLAG2_NREXT64 = 0x10
_NEVER = (1 << 64) - 1
_TREE_HEADER_BYTES = 24
_TREE_HEADER_V5_BYTES = 72
_ROOT_HEADER = slice(4, 8)
"""level and number of records, in the header of a block"""
_POINTER_BYTES = 8
_CHUNK_INODES = 64


class Field(IntFlag):
    """``XFS_ILOG_*``: which parts of an inode an item has. The book gives no values."""

    CORE = 0x001
    DATA_LOCAL = 0x002
    DATA_EXTENTS = 0x004
    DATA_TREE = 0x008
    DEVICE = 0x010
    UUID = 0x020
    ATTRIBUTES_LOCAL = 0x040
    ATTRIBUTES_EXTENTS = 0x080
    ATTRIBUTES_TREE = 0x100
    DATA_OWNER = 0x200
    ATTRIBUTES_OWNER = 0x400


# Plain numbers: they are asked for with each inode, and flags are slow.
_DATA_TREE = int(Field.DATA_TREE)
_DATA = int(Field.DATA_LOCAL | Field.DATA_EXTENTS) | _DATA_TREE
_ATTRIBUTES_TREE = int(Field.ATTRIBUTES_TREE)
_ATTRIBUTES = int(Field.ATTRIBUTES_LOCAL | Field.ATTRIBUTES_EXTENTS) | _ATTRIBUTES_TREE
_DEVICE = int(Field.DEVICE)

_OWNERS = (int(Field.DATA_OWNER), int(Field.ATTRIBUTES_OWNER))
_ANY_OWNER = sum(_OWNERS)

_FORMAT = struct.Struct("<4xI4x4xQI12xqii")
_FORMAT_32 = struct.Struct("<4xI4xQI12xqii")
"""without padding, as 32-bit kernels wrote it"""
_CREATION = struct.Struct(">4x6I")
"""of inodes: the one structure in the log that is big-endian"""


@dataclass(frozen=True, slots=True)
class InodeFormat:
    """Which inode was changed, and what of it.

    :ivar device: major and minor number as the data fork has them.
    :ivar address: of the buffer that the inode is in, in 512 bytes from the volume's start.
    :ivar length: of that buffer, in 512 bytes.
    :ivar offset: where on the volume the inode is, in bytes.
    """

    fields: int
    number: int
    device: int
    address: int
    length: int
    offset: int


def parse_inode(log: Log, item: Item) -> InodeFormat:
    """Return the format structure of an item of an inode.

    :raises CorruptError: if it has another size, or an impossible place.
    """
    raw = item.regions[0]
    layout = {each.size: each for each in (_FORMAT, _FORMAT_32)}.get(len(raw))
    if layout is None:
        raise log.damaged("an inode's item has an impossible size", item.block)
    fields, number, device, address, length, inside = layout.unpack(raw)
    if address < 0 or not 0 <= inside < length * DADDR_BYTES:
        raise log.damaged(f"inode {number:,} is in an impossible place", item.block)
    return InodeFormat(fields, number, device, address, length, address * DADDR_BYTES + inside)


# Fields of the core by their sizes. What depends on features is put in between.
_CORE = "2HBBH3I2H{extents}{times}2QIIHBbI2HI"
_CORE_V3 = "3QI12s{time}Q16s"


def _disk_order(core: BytesLike) -> tuple[bytes, bytes]:
    """Return what the log has of an inode's core in the byte order of the disk.

    :return: what comes before the fields that the log has not, and what comes behind (version 3).
    """
    has_more = core[_VERSION_OFFSET] >= _VERSION_WITH_CHECKSUM
    flags2 = int.from_bytes(core[_FLAGS2], "little") if has_more else 0
    # A time is a count of nanoseconds, or seconds and nanoseconds; a number of extents took the
    # place of padding and of how often the inode was written.
    time = "Q" if flags2 & _FLAG2_BIGTIME else "2I"
    extents = "Q" if flags2 & _FLAG2_NREXT64 else "6sH"
    first = _swapped(core, 0, _CORE.format(extents=extents, times=3 * time))
    return first, _swapped(core, _LOGGED_V3_OFFSET, _CORE_V3.format(time=time)) if has_more else b""


def _swapped(data: BytesLike, offset: int, fields: str) -> bytes:
    return struct.pack(f">{fields}", *struct.unpack_from(f"<{fields}", data, offset))


class InodeReplay:
    """Inodes, replayed into ``overlay``.

    :ivar replayed: how many changes were.
    """

    def __init__(
        self, log: Log, superblock: Superblock, overlay: Overlay, trees: ExtentTrees
    ) -> None:
        self._log = log
        self._superblock = superblock
        self._overlay = overlay
        self._trees = trees
        self._has_checksums = superblock.has_checksums
        self._tree_header_bytes = (
            _TREE_HEADER_V5_BYTES if self._has_checksums else _TREE_HEADER_BYTES
        )
        self._written: set[int] = set()
        self.replayed = 0

    def replay(self, change: InodeFormat, item: Item, lsn: int) -> None:
        """Carry out a change of an inode, unless it is on the disk already."""
        record = self._overlay.read(change.offset, self._superblock.inode_bytes)
        core = item.regions[1] if len(item.regions) > 1 else b""
        is_v3 = len(core) == CORE_V3_BYTES and core[_VERSION_OFFSET] == _VERSION_WITH_CHECKSUM
        is_right = is_v3 if self._has_checksums else len(core) == _LOGGED_BYTES
        if not is_right or not record.startswith(_MAGIC) or bytes(core[:2]) != _MAGIC[::-1]:
            raise self._damaged(change, item, "is no inode")
        if self._is_older(record, core, lsn):
            self._change(change, item, record, lsn)
        if not change.fields & _ANY_OWNER:
            return
        for field, fork in zip(_OWNERS, self._both(change, item, record), strict=True):
            if change.fields & field and record[fork.form] == FORMAT_BTREE:
                self._trees.set_owner(bytes(record[fork.place]), change.number)

    def _change(self, change: InodeFormat, item: Item, record: bytearray, lsn: int) -> None:
        core = item.regions[1]
        first, rest = _disk_order(core)
        record[: len(first)] = first
        if rest:
            record[_LOGGED_V3_OFFSET:CORE_V3_BYTES] = rest
            record[_LSN] = lsn.to_bytes(8, "big")
        else:
            record[_FLUSHES] = bytes(2)
        for start, content in self._forks(change, item, record):
            record[start : start + len(content)] = content
        self._overlay.write(change.offset, record)
        self._written.add(change.offset)
        self.replayed += 1

    def _is_older(self, record: bytearray, core: BytesLike, lsn: int) -> bool:
        """Tell whether an inode on the disk is older than what the log has."""
        if self._has_checksums:
            written = int.from_bytes(record[_LSN], "big")
            return written <= lsn or written == _NEVER
        # Version 2 counts how often an inode was written, starting again after the last number.
        written = int.from_bytes(record[_FLUSHES], "big")
        logged = int.from_bytes(core[_FLUSHES], "little")
        began_again = written == _MOST_FLUSHES and logged < _MOST_FLUSHES >> 1
        return logged >= written or began_again

    def _forks(
        self, change: InodeFormat, item: Item, record: bytearray
    ) -> Iterator[tuple[int, BytesLike]]:
        """Yield where in the inode parts of its forks go, and what they are there."""
        regions = iter(item.regions[2:])
        data, attributes = self._both(change, item, record)
        for fields, tree, fork in (
            (_DATA, _DATA_TREE, data),
            (_ATTRIBUTES, _ATTRIBUTES_TREE, attributes),
        ):
            if not change.fields & fields:
                continue
            content = next(regions, None)
            if content is None:
                continue  # an empty fork: a region of no bytes is not logged
            if change.fields & tree:
                content = self._root(content, fork.bytes)
            if len(content) > fork.bytes:
                raise self._damaged(change, item, "has a fork that is too large")
            yield fork.place.start, content
        if change.fields & _DEVICE:
            yield data.place.start, change.device.to_bytes(4, "big")

    def _both(self, change: InodeFormat, item: Item, record: bytearray) -> tuple[Fork, Fork]:
        both = forks(self._superblock, record)
        if both is None:
            raise self._damaged(change, item, "has its attributes outside of itself")
        return both

    def _root(self, block: BytesLike, fork_bytes: int) -> bytes:
        """Return a B+tree's root as it is in an inode: its pointers are where the fork ends.

        :return: something too large for the fork if the root is.
        """
        level_and_count = bytes(block[_ROOT_HEADER])
        count = int.from_bytes(level_and_count[2:], "big")
        body = block[self._tree_header_bytes :]
        room = (fork_bytes - len(level_and_count)) // (2 * _POINTER_BYTES)
        logged_room = len(body) // (2 * _POINTER_BYTES)
        if count > min(room, logged_room):
            return bytes(fork_bytes + 1)
        used = count * _POINTER_BYTES
        keys = bytes(body[:used]).ljust(room * _POINTER_BYTES, b"\0")
        pointers = body[logged_room * _POINTER_BYTES :][:used]
        return b"".join((level_and_count, keys, pointers))

    def create(self, item: Item, cancelled: Container[int]) -> None:
        """Carry out the creation of a chunk of inodes, none of them in use.

        :param cancelled: addresses of the buffers that are freed later: a chunk that is freed again
            must not be written.
        """
        raw = item.regions[0]
        if len(raw) != _CREATION.size:
            raise self._log.damaged("a chunk of inodes has an impossible size", item.block)
        group, inside, count, inode_bytes, length, generation = _CREATION.unpack(raw)
        superblock = self._superblock
        packed = group << superblock.group_bits | inside
        first = None
        if inside < superblock.group_blocks and length:
            first = superblock.linear_block(packed, length)
        is_right = (
            first is not None
            and superblock.has_checksums
            and inode_bytes == superblock.inode_bytes
            and 0 < count <= _CHUNK_INODES
            and count * inode_bytes == length * superblock.block_bytes
        )
        if first is None or not is_right:
            raise self._log.damaged(f"a chunk of {count:,} inodes is impossible", item.block)
        offset = first * superblock.block_bytes
        end = offset + count * inode_bytes
        addresses = range(offset, end, superblock.block_bytes)
        if any(address // DADDR_BYTES in cancelled for address in addresses):
            return
        number = packed << superblock.inode_bits
        chunk = (self._unused(number + index, generation) for index in range(count))
        self._overlay.write(offset, b"".join(chunk))
        self._written.update(range(offset, end, inode_bytes))
        self.replayed += 1

    def _unused(self, number: int, generation: int) -> bytearray:
        """Return an inode that was never used."""
        record = bytearray(self._superblock.inode_bytes)
        record[:2] = _MAGIC
        record[_VERSION_OFFSET] = _VERSION_WITH_CHECKSUM
        record[_GENERATION] = generation.to_bytes(4, "big")
        record[NEXT_UNLINKED_OFFSET : NEXT_UNLINKED_OFFSET + 4] = b"\xff" * 4
        record[_NUMBER_AND_UUID] = number.to_bytes(8, "big") + self._superblock.metadata_uuid
        return record

    def finish(self) -> None:
        """Set the checksums of all inodes that were written."""
        if not self._has_checksums:
            return
        for offset in self._written:
            record = self._overlay.read(offset, self._superblock.inode_bytes)
            set_checksum(record, INODE_CHECKSUM_OFFSET)
            self._overlay.write(offset, record)

    def _damaged(self, change: InodeFormat, item: Item, what: str) -> CorruptError:
        return self._log.damaged(f"inode {change.number:,} {what}", item.block)
