"""Replaying changes of buffers: parts of blocks, as they are to be on the disk.

"XFS Algorithms & Data Structures", "Buffer Log Item" and "Metadata Integrity". A block of version 5
says which sequence number it was written with last, and a change that is not newer is in it
already. As its checksum is set when a block is written, and never logged, all are computed anew.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntFlag

from formats.core.source import BytesLike
from formats.filesystems.xfs.checksums import set_checksum
from formats.filesystems.xfs.log_record import Log
from formats.filesystems.xfs.log_transactions import Item
from formats.filesystems.xfs.replay_overlay import Data, Overlay
from formats.filesystems.xfs.superblock import DADDR_BYTES, Superblock

CHUNK_BYTES = 128
"""What a bit of a buffer's map stands for; the book's formula gives it only for full maps."""
NEXT_UNLINKED_OFFSET = 96
INODE_CHECKSUM_OFFSET = 100

_FORMAT = struct.Struct("<4xHHqI")
_WORD_BYTES = 4
_NEVER = (1 << 64) - 1


class BufferFlag(IntFlag):
    """``XFS_BLF_*``."""

    INODES = 0x1
    CANCEL = 0x2
    USER_QUOTA = 0x4
    PROJECT_QUOTA = 0x8
    GROUP_QUOTA = 0x10


QUOTA = BufferFlag.USER_QUOTA | BufferFlag.PROJECT_QUOTA | BufferFlag.GROUP_QUOTA


@dataclass(frozen=True, slots=True)
class BufferFormat:
    """What of a buffer was changed.

    :ivar address: where it is, in 512 bytes from the volume's start.
    :ivar length: how long it is, in 512 bytes.
    :ivar dirty: a bit for each 128 bytes that were changed.
    """

    flags: int
    address: int
    length: int
    dirty: int

    @property
    def offset(self) -> int:
        """Where on the volume it is, in bytes."""
        return self.address * DADDR_BYTES

    @property
    def bytes(self) -> int:
        """How long it is, in bytes."""
        return self.length * DADDR_BYTES


def parse_buffer(log: Log, item: Item) -> BufferFormat:
    """Return the format structure of an item of a buffer.

    :raises CorruptError: if it is cut short or has an impossible place.
    """
    raw = item.regions[0]
    if len(raw) < _FORMAT.size:
        raise log.damaged("a buffer's item is cut short", item.block)
    flags, length, address, words = _FORMAT.unpack_from(raw)
    end = _FORMAT.size + words * _WORD_BYTES
    if end > len(raw) or address < 0 or length == 0:
        raise log.damaged(f"a buffer of {length:,} sectors is at {address:,}", item.block)
    return BufferFormat(flags, address, length, int.from_bytes(raw[_FORMAT.size : end], "little"))


@dataclass(frozen=True, slots=True)
class _Header:
    """Where in a kind of block the fields of version 5 are, as byte offsets."""

    checksum: int
    lsn: int
    uuid: int | None


_SHORT_TREE = _Header(52, 24, 32)
_FOLDER = _Header(4, 16, 24)
_HEADERS = {
    b"AB3B": _SHORT_TREE,
    b"AB3C": _SHORT_TREE,
    b"IAB3": _SHORT_TREE,
    b"FIB3": _SHORT_TREE,
    b"RMB3": _SHORT_TREE,
    b"R3FC": _SHORT_TREE,
    b"BMA3": _Header(64, 32, 40),
    b"XAGF": _Header(216, 208, 64),
    b"XAFL": _Header(32, 24, 8),
    b"XAGI": _Header(312, 320, 296),
    b"XSLM": _Header(12, 48, 16),
    b"XARM": _Header(12, 48, 16),
    b"XDB3": _FOLDER,
    b"XDD3": _FOLDER,
    b"XDF3": _FOLDER,
    b"XFSB": _Header(224, 240, None),
}
_TREE_OF_NAMES = _Header(12, 24, 32)
_TREE_OF_NAMES_MAGICS = frozenset({b"\x3d\xf1", b"\x3d\xff", b"\x3e\xbe", b"\x3b\xee"})
"""leaves and nodes of folders and attributes: their magic is 8 bytes from the start"""


def _header(data: Data, superblock: Superblock) -> _Header | None:
    """Return where the fields of a block are; None if it is none that has them."""
    header = _HEADERS.get(bytes(data[:4]))
    if header is None and bytes(data[8:10]) in _TREE_OF_NAMES_MAGICS:
        header = _TREE_OF_NAMES
    if header is None or header.uuid is None:
        return header
    # Without the filesystem's UUID it is something else, or was left over by another filesystem.
    is_ours = data[header.uuid : header.uuid + 16] == superblock.metadata_uuid
    return header if is_ours else None


class BufferReplay:
    """Buffers, replayed into ``overlay``.

    :ivar replayed: how many changes were.
    """

    def __init__(self, log: Log, superblock: Superblock, overlay: Overlay) -> None:
        self._log = log
        self._superblock = superblock
        self._overlay = overlay
        self._written: dict[int, int] = {}
        self.replayed = 0

    def replay(self, buffer: BufferFormat, item: Item, lsn: int) -> None:
        """Carry out the changes of one buffer, unless they are on the disk already."""
        if buffer.flags & QUOTA:
            return  # who may use how much is of no interest: quota files are in no folder
        data = self._overlay.read(buffer.offset, buffer.bytes)
        if buffer.flags & BufferFlag.INODES:
            self._replay_unlinked(buffer, item, data)
        elif self._is_older(data, lsn):
            for start, content in self._changes(buffer, item):
                data[start : start + len(content)] = content
            self._written[buffer.offset] = buffer.bytes
        else:
            return
        self._overlay.write(buffer.offset, data)
        self.replayed += 1

    def write(self, offset: int, block: bytearray) -> None:
        """Write a block that gets its checksum at the end, like those from the log."""
        self._overlay.write(offset, block)
        self._written[offset] = len(block)

    def _is_older(self, data: Data, lsn: int) -> bool:
        if not self._superblock.has_checksums:
            return True
        header = _header(data, self._superblock)
        if header is None:
            return True
        written = int.from_bytes(data[header.lsn : header.lsn + 8], "big")
        return written < lsn or written == _NEVER

    def _changes(self, buffer: BufferFormat, item: Item) -> Iterator[tuple[int, BytesLike]]:
        """Yield where in the buffer something changed, and what is there now.

        A row of bits may have several regions: buffers are not always in one piece in memory.
        """
        dirty = buffer.dirty
        for region in item.regions[1:]:
            first = (dirty & -dirty).bit_length() - 1
            row = dirty >> first if dirty else 0
            count = min((~row & (row + 1)).bit_length() - 1, len(region) // CHUNK_BYTES)
            start, length = first * CHUNK_BYTES, count * CHUNK_BYTES
            if not length or start + length > buffer.bytes:
                raise self._log.damaged("a buffer's regions do not fit its map", item.block)
            dirty &= ~(((1 << count) - 1) << first)
            yield start, region[:length]
        if dirty:
            raise self._log.damaged("a buffer's regions do not fit its map", item.block)

    def _replay_unlinked(self, buffer: BufferFormat, item: Item, data: bytearray) -> None:
        """Carry out changes of inodes that are deleted but open: only what links them is logged."""
        size = self._superblock.inode_bytes
        for start, content in self._changes(buffer, item):
            first = start // size * size + NEXT_UNLINKED_OFFSET
            for field in range(first, start + len(content) - _WORD_BYTES + 1, size):
                if field < start or field - NEXT_UNLINKED_OFFSET + size > len(data):
                    continue
                data[field : field + _WORD_BYTES] = content[field - start :][:_WORD_BYTES]
                if self._superblock.has_checksums:
                    inode = slice(field - NEXT_UNLINKED_OFFSET, field - NEXT_UNLINKED_OFFSET + size)
                    record = data[inode]
                    set_checksum(record, INODE_CHECKSUM_OFFSET)
                    data[inode] = record

    def finish(self) -> None:
        """Set the checksums of all buffers that were written."""
        if not self._superblock.has_checksums:
            return
        for offset, length in self._written.items():
            data = self._overlay.read(offset, length)
            header = _header(data, self._superblock)
            if header is not None:
                set_checksum(data, header.checksum)
                self._overlay.write(offset, data)
