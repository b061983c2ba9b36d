"""Writing what fast commits lead to as the structures that the reader knows.

Mappings become extent trees, folders become linear directory blocks. Both are made of plain data
and know nothing of where they come from. Layout: kernel documentation, "Extent Tree" and
"Linear (Classic) Directories".
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping

from formats.filesystems.ext.checksums import crc32c
from formats.filesystems.runs import Run

Write = Callable[[bytes], int]
"""Stores a block and returns the number it got."""

_MAGIC = 0xF30A
_HEADER = struct.Struct("<4HI")  # magic, entries, room for entries, depth, generation
_LEAF = struct.Struct("<IHHI")  # file block, length, volume block (high, low)
_INDEX = struct.Struct("<IIHH")  # file block, child's block (low, high), unused
_ROOT_ENTRIES = 4
_MOST_BLOCKS = 32768
"""in one extent"""

_ENTRY = struct.Struct("<IHBB")  # inode, record length, name length, type (0: look at the inode)
_TAIL = struct.Struct("<IHBBI")  # an unused entry that holds the block's checksum
_TAIL_TYPE = 0xDE
_WHOLE_LARGEST_BLOCK = 0xFFFF


def newest(layers: Iterable[tuple[int, int, int | None]]) -> list[Run]:
    """Return what is visible of ranges that lie over each other, in file order.

    :param layers: first block of the file, number of blocks, and where on the volume (None: a
        hole); what was said last comes first.
    """
    starts: list[int] = []  # of what is covered already, in disjoint intervals
    stops: list[int] = []
    visible: list[Run] = []
    for first, count, start in layers:
        position, stop = first, first + count
        low, high = bisect_left(stops, first), bisect_right(starts, stop)
        gaps = []
        for covered_start, covered_stop in zip(starts[low:high], stops[low:high], strict=True):
            gaps.append((position, covered_start))
            position = max(position, covered_stop)
        gaps.append((position, stop))
        if start is not None:
            visible += [Run(at, to - at, start + at - first) for at, to in gaps if at < to]
        if low < high:
            starts[low:high] = [min(first, starts[low])]
            stops[low:high] = [max(stop, stops[high - 1])]
        else:
            starts.insert(low, first)
            stops.insert(low, stop)
    return sorted(visible)


def extent_tree(runs: Iterable[Run], block_bytes: int, seed: int, write: Write) -> bytes:
    """Return the ``i_block`` of a file with these runs; nodes that do not fit in it are written.

    :param seed: what the checksums of its nodes start from.
    """
    entries: list[tuple[int, bytes]] = []
    for first, count, start in runs:
        for skip in range(0, count, _MOST_BLOCKS):
            block = start + skip
            length = min(_MOST_BLOCKS, count - skip)
            leaf = _LEAF.pack(first + skip, length, block >> 32, block & 0xFFFFFFFF)
            entries.append((first + skip, leaf))
    depth = 0
    room = (block_bytes - _HEADER.size - 4) // _LEAF.size
    while len(entries) > _ROOT_ENTRIES:
        parents = []
        for at in range(0, len(entries), room):
            node = _node(entries[at : at + room], room, depth)
            checksum = crc32c(node, seed).to_bytes(4, "little")
            number = write((node + checksum).ljust(block_bytes, b"\0"))
            key = entries[at][0]
            parents.append((key, _INDEX.pack(key, number & 0xFFFFFFFF, number >> 32, 0)))
        entries = parents
        depth += 1
    return _node(entries, _ROOT_ENTRIES, depth)


def _node(entries: list[tuple[int, bytes]], room: int, depth: int) -> bytes:
    header = _HEADER.pack(_MAGIC, len(entries), room, depth, 0)
    body = b"".join(entry for _, entry in entries)
    return header + body.ljust(room * _LEAF.size, b"\0")


def directory_blocks(names: Mapping[bytes, int], block_bytes: int, seed: int | None) -> list[bytes]:
    """Return the blocks of a folder with these names and inode numbers, at least one.

    ``.`` and ``..`` are not among them: no reader of a tree asks for them.

    :param seed: what the checksums of the blocks start from; None where there are none.
    """
    end = block_bytes - (_TAIL.size if seed is not None else 0)
    blocks: list[bytes] = []
    records: list[tuple[int, bytes]] = []
    used = 0
    for name, inode in sorted(names.items()):
        size = -(-(_ENTRY.size + len(name)) // 4) * 4
        if used + size > end:
            blocks.append(_directory_block(records, end, seed))
            records, used = [], 0
        records.append((inode, name))
        used += size
    blocks.append(_directory_block(records, end, seed))
    return blocks


def _directory_block(records: list[tuple[int, bytes]], end: int, seed: int | None) -> bytes:
    parts = []
    used = 0
    for index, (inode, name) in enumerate(records or [(0, b"")]):
        size = -(-(_ENTRY.size + len(name)) // 4) * 4
        if index >= len(records) - 1:  # the last one takes all that is left
            size = end - used
        length = min(size, _WHOLE_LARGEST_BLOCK)
        parts.append(_ENTRY.pack(inode, length, len(name), 0) + name)
        parts.append(bytes(size - _ENTRY.size - len(name)))
        used += size
    block = b"".join(parts)
    if seed is None:
        return block
    return block + _TAIL.pack(0, _TAIL.size, 0, _TAIL_TYPE, crc32c(block, seed))
