"""Carrying out deferred changes of where a file's blocks are (BUI).

"XFS Algorithms & Data Structures", "File Block Mapping Intent". Reflinks, and copying on write,
leave these: blocks are to be taken out of a file, or put into it. What else goes with that (free
space, reverse mappings, reference counts) has intents of its own.
"""

from __future__ import annotations

import struct

from formats.core.errors import CorruptError, UnsupportedError
from formats.filesystems.xfs.checksums import set_checksum
from formats.filesystems.xfs.log_record import Log
from formats.filesystems.xfs.log_transactions import Item
from formats.filesystems.xfs.replay_buffers import INODE_CHECKSUM_OFFSET
from formats.filesystems.xfs.replay_forks import forks
from formats.filesystems.xfs.replay_overlay import Overlay
from formats.filesystems.xfs.replay_trees import LONGEST_EXTENT, Extent, ExtentTrees
from formats.filesystems.xfs.superblock import Superblock

_FORMAT = struct.Struct("<4xI8x")
_MAPPING = struct.Struct("<3QII")
_MAP, _UNMAP = 1, 2
_TYPE_MASK = 0xFF
_ATTRIBUTES = 1 << 31
_UNWRITTEN = 1 << 30
_REALTIME = 1 << 29

_BLOCKS = slice(64, 72)
"""how many blocks an inode has"""


class Mappings:
    """Changes of mappings, carried out in ``overlay``."""

    def __init__(
        self, log: Log, superblock: Superblock, overlay: Overlay, trees: ExtentTrees
    ) -> None:
        self._log = log
        self._superblock = superblock
        self._overlay = overlay
        self._trees = trees

    def carry_out(self, item: Item) -> None:
        """Carry out one intent.

        :raises CorruptError: if it contradicts the file.
        :raises UnsupportedError: if it is about a realtime device.
        """
        raw = item.regions[0]
        (count,) = _FORMAT.unpack_from(raw)
        if len(raw) != _FORMAT.size + count * _MAPPING.size:
            raise self._log.damaged("an intent has an impossible size", item.block)
        for owner, start, first, length, flags in _MAPPING.iter_unpack(raw[_FORMAT.size :]):
            if flags & _REALTIME:
                raise UnsupportedError(
                    "its log ends with a change of a file on a realtime device under way (BUI)",
                    origin=self._log.origin,
                    offset=self._log.offset(item.block),
                    hint="mount a copy once, which completes it",
                )
            extent = Extent(first, start, length, bool(flags & _UNWRITTEN))
            if not 0 < length <= LONGEST_EXTENT or flags & _TYPE_MASK not in {_MAP, _UNMAP}:
                raise self._log.damaged("an intent is impossible", item.block)
            self._change(item, owner, extent, flags)

    def _change(self, item: Item, number: int, extent: Extent, flags: int) -> None:
        superblock = self._superblock
        linear = superblock.linear_block(number >> superblock.inode_bits)
        if not linear:
            raise self._impossible(item, number)
        index = number & ((1 << superblock.inode_bits) - 1)
        offset = linear * superblock.block_bytes + index * superblock.inode_bytes
        record = self._overlay.read(offset, superblock.inode_bytes)
        both = forks(superblock, record)
        if not record.startswith(b"IN") or both is None:
            raise self._impossible(item, number)
        fork = both[bool(flags & _ATTRIBUTES)]
        content = bytes(record[fork.place])
        count = int.from_bytes(record[fork.extents], "big")
        extents, blocks = self._trees.extents(content, record[fork.form], count)
        if flags & _TYPE_MASK == _MAP:
            changed = _with(extents, extent)
        else:
            changed = _without(extents, extent)
        if changed is None or superblock.linear_block(extent.start, extent.blocks) is None:
            raise self._impossible(item, number)
        record[fork.form], record[fork.place] = self._trees.pack(
            changed, blocks, fork.bytes, number
        )
        _set(record, fork.extents, len(changed))
        more = sum(each.blocks for each in changed) - sum(each.blocks for each in extents)
        _set(record, _BLOCKS, int.from_bytes(record[_BLOCKS], "big") + more)
        if superblock.has_checksums:
            set_checksum(record, INODE_CHECKSUM_OFFSET)
        self._overlay.write(offset, record)

    def _impossible(self, item: Item, number: int) -> CorruptError:
        return self._log.damaged(f"an intent does not fit inode {number:,}", item.block)


def _set(record: bytearray, field: slice, value: int) -> None:
    """Set a field of an inode; what does not fit is cut off, and the reader finds it wrong."""
    width = field.stop - field.start
    record[field] = (value & ((1 << 8 * width) - 1)).to_bytes(width, "big")


def _with(extents: list[Extent], new: Extent) -> list[Extent] | None:
    """Return the extents with one more; None if there is something in its place."""
    before = [extent for extent in extents if extent.first + extent.blocks <= new.first]
    behind = [extent for extent in extents if extent.first >= new.first + new.blocks]
    if len(before) + len(behind) != len(extents):
        return None
    return [*before, new, *behind]


def _without(extents: list[Extent], old: Extent) -> list[Extent]:
    """Return the extents without the blocks of the file that ``old`` has."""
    end = old.first + old.blocks
    left: list[Extent] = []
    for extent in extents:
        before = min(extent.blocks, max(old.first - extent.first, 0))
        behind = min(extent.blocks, max(extent.first + extent.blocks - end, 0))
        if before:
            left.append(extent._replace(blocks=before))
        if behind and behind < extent.blocks:
            skip = extent.blocks - behind
            left.append(
                extent._replace(first=extent.first + skip, start=extent.start + skip, blocks=behind)
            )
        elif behind and not before:
            left.append(extent)
    return left
