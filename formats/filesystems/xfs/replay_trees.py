"""B+trees of extents, as replaying has to change them: their owner, or all of their extents.

"XFS Algorithms & Data Structures", "Data Extents" and "B+trees". The reader's own view of these is
in :mod:`formats.filesystems.xfs.forks`; here they are taken apart and put together as bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.source import BytesLike
from formats.filesystems.xfs.inode import FORMAT_BTREE, FORMAT_EXTENTS
from formats.filesystems.xfs.log_record import REPAIR_HINT
from formats.filesystems.xfs.replay_buffers import BufferReplay
from formats.filesystems.xfs.replay_overlay import Overlay
from formats.filesystems.xfs.superblock import DADDR_BYTES, Superblock

_ROOT = struct.Struct(">HH")
_HEADER = struct.Struct(">4sHHQQ")
_HEADER_V5 = struct.Struct(">4sHHQQQQ16sQ8x")
_OWNER = slice(56, 64)
_NOBODY = (1 << 64) - 1
_POINTER_BYTES = 8
_RECORD_BYTES = 16
_MAX_LEVEL = 16
_MOST_NODES = 1 << 20
"""visited, each time anew: more than any file that is copied on write needs"""

_EXTENT = struct.Struct(">QQ")
_START_HIGH_BITS = 9
_START_LOW_BITS = 43
_COUNT_BITS = 21
LONGEST_EXTENT = (1 << _COUNT_BITS) - 1


class Extent(NamedTuple):
    """Blocks of a file, and the first of the blocks (packed) that they are in."""

    first: int
    start: int
    blocks: int
    is_unwritten: bool

    def pack(self) -> bytes:
        """Return it as it is on the disk: 1, 54, 52 and 21 bits."""
        high = self.is_unwritten << 63 | self.first << _START_HIGH_BITS
        low = (self.start & ((1 << _START_LOW_BITS) - 1)) << _COUNT_BITS | self.blocks
        return _EXTENT.pack(high | self.start >> _START_LOW_BITS, low)


def unpack_extents(records: BytesLike) -> Iterator[Extent]:
    """Yield the extents of a leaf, or of an inode."""
    for high, low in _EXTENT.iter_unpack(records):
        start = (high & ((1 << _START_HIGH_BITS) - 1)) << _START_LOW_BITS | low >> _COUNT_BITS
        first = high >> _START_HIGH_BITS & ((1 << 54) - 1)
        yield Extent(first, start, low & LONGEST_EXTENT, bool(high >> 63))


class Node(NamedTuple):
    """A block of a tree: its number (packed), its level, and what it holds."""

    block: int
    level: int
    data: bytearray
    records: bytes


class ExtentTrees:
    """The trees of one filesystem, where replaying is going on."""

    def __init__(self, superblock: Superblock, overlay: Overlay, buffers: BufferReplay) -> None:
        self._superblock = superblock
        self._overlay = overlay
        self._buffers = buffers
        self._header_bytes = (_HEADER_V5 if superblock.has_checksums else _HEADER).size
        self._visited = 0
        self._room = (superblock.block_bytes - self._header_bytes) // _RECORD_BYTES
        # The log is not needed any more once it was replayed: its blocks are free to be used.
        start = superblock.log_start
        self._spare = iter(range(start, start + superblock.log_blocks))

    def nodes(self, fork: BytesLike) -> Iterator[Node]:
        """Yield the blocks of the tree whose root is in a fork, those with extents in order.

        :raises CorruptError: if it is none, or leads to itself.
        """
        level, count = _ROOT.unpack_from(fork) if len(fork) >= _ROOT.size else (0, 0)
        room = (len(fork) - _ROOT.size) // _RECORD_BYTES
        if not 0 < level <= _MAX_LEVEL or not 0 < count <= room:
            raise self._damaged("its root is impossible")
        begin = _ROOT.size + room * _POINTER_BYTES
        yield from self._below(fork[begin:], count, level - 1, set())

    def _below(self, pointers: BytesLike, count: int, level: int, seen: set[int]) -> Iterator[Node]:
        magic = b"BMA3" if self._superblock.has_checksums else b"BMAP"
        for (block,) in struct.iter_unpack(">Q", pointers[: count * _POINTER_BYTES]):
            self._visited += 1
            if self._visited > _MOST_NODES:
                raise UnsupportedError(
                    f"its log changes trees of extents of more than {_MOST_NODES:,} blocks",
                    origin=self._overlay.origin,
                    hint="mount a copy once, which replays the log",
                )
            linear = self._superblock.linear_block(block)
            if not linear or block in seen:
                raise self._damaged(f"it leads to block {block:,}")
            seen.add(block)
            size = self._superblock.block_bytes
            data = self._overlay.read(linear * size, size)
            own_magic, own_level, records, _, _ = _HEADER.unpack_from(data)
            if own_magic != magic or own_level != level or records > self._room:
                raise self._damaged(f"block {block:,} is not of it")
            body = bytes(data[self._header_bytes :])
            yield Node(block, level, data, body[: records * _RECORD_BYTES])
            if level:
                # The level falls with each step: the recursion ends.
                below = body[self._room * _POINTER_BYTES :]
                yield from self._below(below, records, level - 1, seen)

    def set_owner(self, fork: BytesLike, number: int) -> None:
        """Give the blocks of a tree to an inode, whoever they belonged to.

        Exchanging the contents of two files moves only the roots of their trees.
        """
        if not self._superblock.has_checksums:
            return
        for node in self.nodes(fork):
            node.data[_OWNER] = number.to_bytes(8, "big")
            self._write(node.block, node.data)

    def extents(self, fork: BytesLike, form: int, count: int) -> tuple[list[Extent], list[int]]:
        """Return the extents of a fork, and the blocks that its tree takes.

        :raises CorruptError: if they are not ``count``.
        """
        blocks: list[int] = []
        found: list[Extent] = []
        if form == FORMAT_EXTENTS:
            found = list(
                unpack_extents(bytes(fork[: min(count, self._most(fork)) * _RECORD_BYTES]))
            )
        elif form == FORMAT_BTREE:
            for node in self.nodes(fork):
                blocks.append(node.block)
                if node.level == 0:
                    found += unpack_extents(node.records)
                    self._overlay.require(len(found) * _RECORD_BYTES)
        if len(found) != count:
            raise self._damaged(f"it has {len(found):,} extents, not {count:,}")
        return found, blocks

    def _most(self, fork: BytesLike) -> int:
        return len(fork) // _RECORD_BYTES

    def pack(
        self, extents: Sequence[Extent], blocks: Sequence[int], fork_bytes: int, owner: int
    ) -> tuple[int, bytes]:
        """Put extents into a fork: into the inode where they fit, into a tree where not.

        :param blocks: that the tree may take; where they are not enough it takes some of the log's.
        :return: the fork's form, and the fork.
        """
        if len(extents) * _RECORD_BYTES <= fork_bytes:
            packed = b"".join(extent.pack() for extent in extents)
            return FORMAT_EXTENTS, packed.ljust(fork_bytes, b"\0")
        free = iter([*blocks])
        root_room = (fork_bytes - _ROOT.size) // _RECORD_BYTES
        level = 0
        entries = [(extent.first, extent.pack()) for extent in extents]
        while level == 0 or len(entries) > root_room:
            entries = self._level(entries, level, free, owner)
            level += 1
        keys, pointers = self._keys_and_pointers(entries)
        fork = b"".join(
            (
                _ROOT.pack(level, len(entries)),
                keys.ljust(root_room * _POINTER_BYTES, b"\0"),
                pointers,
            )
        )
        return FORMAT_BTREE, fork.ljust(fork_bytes, b"\0")

    def _level(
        self, entries: list[tuple[int, bytes]], level: int, free: Iterator[int], owner: int
    ) -> list[tuple[int, bytes]]:
        """Write the blocks of a level, and return what the one above has of them."""
        parts = [entries[at : at + self._room] for at in range(0, len(entries), self._room)]
        numbers = [self._new_block(free) for _ in parts]
        neighbours = [_NOBODY, *numbers, _NOBODY]
        for index, (number, part) in enumerate(zip(numbers, parts, strict=True)):
            header = self._header(
                number, level, len(part), neighbours[index], neighbours[index + 2], owner
            )
            if level:
                keys, pointers = self._keys_and_pointers(part)
                body = keys.ljust(self._room * _POINTER_BYTES, b"\0") + pointers
            else:
                body = b"".join(record for _, record in part)
            data = bytearray((header + body).ljust(self._superblock.block_bytes, b"\0"))
            self._write(number, data)
        return [
            (part[0][0], number.to_bytes(8, "big"))
            for number, part in zip(numbers, parts, strict=True)
        ]

    def _keys_and_pointers(self, entries: list[tuple[int, bytes]]) -> tuple[bytes, bytes]:
        keys = b"".join(first.to_bytes(8, "big") for first, _ in entries)
        return keys, b"".join(pointer for _, pointer in entries)

    def _header(
        self, block: int, level: int, count: int, left: int, right: int, owner: int
    ) -> bytes:
        superblock = self._superblock
        if not superblock.has_checksums:
            return _HEADER.pack(b"BMAP", level, count, left, right)
        address = (superblock.block_offset(block) or 0) // DADDR_BYTES
        identity = superblock.metadata_uuid
        return _HEADER_V5.pack(b"BMA3", level, count, left, right, address, 0, identity, owner)

    def _new_block(self, free: Iterator[int]) -> int:
        block = next(free, None)
        if block is None:
            block = next(self._spare, None)
        if block is None:
            raise UnsupportedError(
                "its log leaves more extents to be mapped than fit in memory set aside for them",
                origin=self._overlay.origin,
                hint="mount a copy once, which completes it",
            )
        return block

    def _write(self, block: int, data: bytearray) -> None:
        offset = self._superblock.block_offset(block)
        if offset is None:
            raise self._damaged(f"it leads to block {block:,}")
        self._buffers.write(offset, data)

    def _damaged(self, what: str) -> CorruptError:
        return CorruptError(
            f"a tree of extents in the log is damaged: {what}",
            origin=self._overlay.origin,
            hint=REPAIR_HINT,
        )
