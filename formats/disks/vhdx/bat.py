"""Where the blocks of a VHDX are.

Specification: [MS-VHDX], 2.4 "Blocks" and 2.5 "BAT". After the entries of each chunk, which is
2^23 sectors of the disk, comes one for the block with the bitmap of these sectors.
"""

from __future__ import annotations

from functools import lru_cache

from formats.core.errors import CorruptError
from formats.core.source import ByteSource, read_exact
from formats.disks.blocks import ABSENT, ZEROED, Block, BlockTable, sector_flags
from formats.disks.vhdx.metadata import Metadata
from formats.disks.vhdx.structures import MIB, Region

_ENTRY_BYTES = 8
_CHUNK_SECTORS = 1 << 23
_STATE = 7
_OFFSET_BITS = ~(MIB - 1)

_NOT_PRESENT = 0
_READ_AS_ZEROS = frozenset({1, 2, 3})
"""Undefined, zero and unmapped. Zeros are what the specification allows for each, and what of a
block that is no longer in use is still in the file should not come out of it."""
_FULLY_PRESENT = 6
_PARTIALLY_PRESENT = 7
_BITMAP_PRESENT = 6

_KEPT_BITMAPS = 16


class VhdxBlocks:
    """The block allocation table; see :class:`~formats.disks.blocks.Blocks`.

    :raises CorruptError: if it has not an entry for every block of the disk.
    """

    def __init__(self, file: ByteSource, region: Region, metadata: Metadata) -> None:
        self.block_bytes = metadata.block_bytes
        self.sector_bytes = metadata.sector_bytes
        self._file = file
        self._ratio = _CHUNK_SECTORS * metadata.sector_bytes // metadata.block_bytes
        self._has_parent = metadata.parent is not None
        blocks = -(-metadata.size // metadata.block_bytes)
        entries = blocks + max(0, blocks - 1) // self._ratio
        if self._has_parent:
            entries = -(-blocks // self._ratio) * (self._ratio + 1)
        if entries * _ENTRY_BYTES > region.length:
            raise CorruptError(
                f"has a block allocation table of {region.length:,} bytes, where its disk needs"
                f" {entries:,} entries",
                origin=file.origin,
                offset=region.offset,
            )
        self._table = BlockTable(
            file,
            region.offset,
            entries,
            code="Q",
            byteorder="little",
            what="the block allocation table",
        )
        self._flags = lru_cache(maxsize=_KEPT_BITMAPS)(self._read_flags)

    def locate(self, index: int, most: int) -> Block:
        """See :meth:`~formats.disks.blocks.Blocks.locate`."""
        chunk, position = divmod(index, self._ratio)
        place = chunk * (self._ratio + 1) + position
        entry, alike = self._table.repeated(place, min(most, self._ratio - position))
        state = entry & _STATE
        if state == _NOT_PRESENT:
            return Block(ABSENT, alike)
        if state in _READ_AS_ZEROS:
            return Block(ZEROED, alike)
        if state == _FULLY_PRESENT:
            return Block(self._data_offset(entry, place))
        if state == _PARTIALLY_PRESENT and self._has_parent:
            return Block(self._data_offset(entry, place), 1, self._flags(index))
        raise self._damaged(f"in state {state}, which it cannot be in", place)

    def _data_offset(self, entry: int, place: int) -> int:
        offset = entry & _OFFSET_BITS
        if offset < MIB:
            raise self._damaged(f"at {offset:,}, in the header", place)
        return offset

    def _read_flags(self, index: int) -> bytes | None:
        """Return which sectors of a block are here, by its part of its chunk's bitmap."""
        chunk, position = divmod(index, self._ratio)
        place = chunk * (self._ratio + 1) + self._ratio
        entry, _ = self._table.repeated(place, 1)
        if entry & _STATE != _BITMAP_PRESENT:
            raise self._damaged("in part here, and no bitmap of its sectors", place)
        length = self.block_bytes // self.sector_bytes // 8
        offset = self._data_offset(entry, place) + position * length
        bitmap = read_exact(self._file, offset, length, "the bitmap of a block")
        return sector_flags(bitmap, is_high_first=False)

    def _damaged(self, what: str, place: int) -> CorruptError:
        return CorruptError(
            f"has a block {what}", origin=self._file.origin, offset=self._table.offset_of(place)
        )
