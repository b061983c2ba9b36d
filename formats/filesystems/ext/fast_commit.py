"""Fast commits: the tags in the area behind the log (kernel documentation, "Fast commits").

With the ``fast_commit`` feature an fsync does not write whole blocks of metadata, but what became
of single names, inodes and ranges. These tags stand for the changes since the last full commit and
are void once the next one is made: the area begins with a head that names the transaction they
belong to. Each fast commit ends with a tail that has a checksum. All numbers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from formats.core.errors import CorruptError, UnsupportedError
from formats.filesystems.ext.checksums import crc32c
from formats.filesystems.ext.journal import REPAIR_HINT, JournalFile, JournalSuperblock


class Kind(IntEnum):
    """What a tag is."""

    ADD_RANGE = 1
    DELETE_RANGE = 2
    CREATE = 3
    LINK = 4
    UNLINK = 5
    INODE = 6
    PAD = 7
    TAIL = 8
    HEAD = 9


_TAG = struct.Struct("<HH")
_PAIR = struct.Struct("<II")
_EXTENT = struct.Struct("<IIHHI")  # inode; file block, length, volume block (high, low)
_RANGE = struct.Struct("<III")
_INODE_NUMBER = struct.Struct("<I")
_MAX_WRITTEN_BLOCKS = 32768
"""a longer range was preallocated and never written, and is shorter by so much"""
_MAX_NAME_BYTES = 255
_SMALLEST_INODE_BYTES = 128

_LENGTHS = {
    Kind.ADD_RANGE: (_EXTENT.size, _EXTENT.size),
    Kind.DELETE_RANGE: (_RANGE.size, _RANGE.size),
    Kind.CREATE: (_PAIR.size + 1, _PAIR.size + _MAX_NAME_BYTES),
    Kind.LINK: (_PAIR.size + 1, _PAIR.size + _MAX_NAME_BYTES),
    Kind.UNLINK: (_PAIR.size + 1, _PAIR.size + _MAX_NAME_BYTES),
    Kind.INODE: (_INODE_NUMBER.size + _SMALLEST_INODE_BYTES, 0xFFFF),
    Kind.PAD: (0, 0xFFFF),
    Kind.TAIL: (_PAIR.size, 0xFFFF),
    Kind.HEAD: (_PAIR.size, _PAIR.size),
}
"""The shortest and the longest value of each kind, in bytes."""


@dataclass(frozen=True, slots=True)
class RangeChange:
    """``count`` blocks of a file from ``first``: at volume block ``start``, or zeros if None."""

    inode: int
    first: int
    count: int
    start: int | None


@dataclass(frozen=True, slots=True)
class NameChange:
    """A name in the folder with inode number ``folder``. ``kind``: CREATE, LINK or UNLINK."""

    kind: Kind
    folder: int
    inode: int
    name: bytes


@dataclass(frozen=True, slots=True)
class InodeImage:
    """An inode as it has to be; its block mapping is not part of it but for inline content."""

    inode: int
    record: bytes


Change: TypeAlias = RangeChange | NameChange | InodeImage


class FastCommits:
    """The fast commits that belong to one transaction.

    :param sequence: the transaction after the last full commit.
    :ivar count: how many are whole.
    :raises CorruptError: if the first one is not: the kernel does not mount that either. A later
        one that is not whole ends the area, as it did not when it was written become durable.
    :raises UnsupportedError: for an unknown feature in the head.
    """

    def __init__(self, journal: JournalFile, superblock: JournalSuperblock, sequence: int) -> None:
        self._journal = journal
        self._blocks = superblock.fast_commits
        self._sequence = sequence
        self.count = 0
        self._whole_tags = 0
        self._scan()

    def changes(self) -> Iterator[Change]:
        """Yield what all whole fast commits say, in order.

        :raises CorruptError: if a name could lead out of its folder, or a range is impossible.
        """
        for index, (kind, _, value) in enumerate(self._tags()):
            if index == self._whole_tags:
                return
            change = _parse(kind, value)
            if change is not None:
                yield change

    def _scan(self) -> None:
        checksum = 0
        is_ours = False
        for index, (kind, tag, value) in enumerate(self._tags()):
            if kind is Kind.HEAD:
                features, sequence = _PAIR.unpack(value)
                if features:
                    raise UnsupportedError(
                        f"a fast commit uses unknown features ({features:#x})",
                        origin=self._journal.origin,
                        offset=self._journal.offset(self._blocks.start),
                        hint="mount and unmount a copy with the kernel that wrote it",
                    )
                if sequence != self._sequence:
                    break
                is_ours = True
            elif not is_ours:
                break
            if kind is Kind.TAIL:
                sequence, stored = _PAIR.unpack_from(value)
                computed = crc32c(tag + value[:4], checksum)
                if (sequence, stored) != (self._sequence, computed):
                    break
                self.count += 1
                self._whole_tags = index + 1
                checksum = 0
            else:
                checksum = crc32c(tag + value, checksum)
        if is_ours and not self.count:
            raise CorruptError(
                "the first fast commit after the last full one is damaged",
                origin=self._journal.origin,
                offset=self._journal.offset(self._blocks.start),
                hint=REPAIR_HINT,
            )

    def _tags(self) -> Iterator[tuple[Kind, bytes, bytes]]:
        """Yield kind, header and value of each tag, up to the first that is none."""
        for number in self._blocks:
            block = bytes(self._journal.read(number))
            position = 0
            while position + _TAG.size <= len(block):
                code, length = _TAG.unpack_from(block, position)
                start = position + _TAG.size
                least, most = _LENGTHS.get(code, (1, 0))
                if not least <= length <= most or start + length > len(block):
                    return
                yield Kind(code), block[position:start], block[start : start + length]
                position = start + length


def _parse(kind: Kind, value: bytes) -> Change | None:
    if kind is Kind.INODE:
        (inode,) = _INODE_NUMBER.unpack_from(value)
        return InodeImage(inode, value[_INODE_NUMBER.size :])
    if kind in {Kind.CREATE, Kind.LINK, Kind.UNLINK}:
        folder, inode = _PAIR.unpack_from(value)
        return NameChange(kind, folder, inode, value[_PAIR.size :])
    if kind is Kind.ADD_RANGE:
        inode, first, count, high, low = _EXTENT.unpack(value)
        if count > _MAX_WRITTEN_BLOCKS:
            return RangeChange(inode, first, count - _MAX_WRITTEN_BLOCKS, None)
        return RangeChange(inode, first, count, low | high << 32)
    if kind is Kind.DELETE_RANGE:
        inode, first, count = _RANGE.unpack(value)
        return RangeChange(inode, first, count, None)
    return None
