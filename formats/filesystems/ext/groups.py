"""Group descriptors: where each block group has its inode table.

Kernel documentation, "Block Group Descriptors" and "Meta Block Groups". A descriptor block is read,
and its checksums are verified, when an inode of its groups is first asked for.
"""

from __future__ import annotations

import struct

from formats.core.errors import CorruptError
from formats.core.source import ByteSource, read_exact
from formats.filesystems.ext.checksums import crc16, crc32c
from formats.filesystems.ext.superblock import (
    SUPERBLOCK_OFFSET,
    Compat,
    Incompat,
    RoCompat,
    Superblock,
)

_INODE_UNINIT = 0x1
_LOW = struct.Struct("<8xI6xH10xH")  # inode table, flags, checksum
_TABLE_HIGH = struct.Struct("<40xI")
_NUMBER = struct.Struct("<I")
_FLAGS_OFFSET = 0x12
_CHECKSUM_OFFSET = 0x1E
_SHORT = struct.Struct("<H")


class GroupDescriptors:
    """The group descriptor table of one filesystem.

    :param source: the volume.
    :param superblock: its superblock.
    """

    def __init__(self, source: ByteSource, superblock: Superblock) -> None:
        self._source = source
        self._superblock = superblock
        self._per_block = superblock.block_bytes // superblock.descriptor_bytes
        self._table_blocks = (
            superblock.inodes_per_group * superblock.inode_bytes // superblock.block_bytes
        )
        self._known: dict[int, tuple[int | None, ...]] = {}

    def inode_table_offset(self, group: int) -> int | None:
        """Return the byte offset of a group's inode table; None if it was never written.

        :raises CorruptError: if the descriptor is damaged.
        """
        index, slot = divmod(group, self._per_block)
        tables = self._known.get(index)
        if tables is None:
            tables = self._known[index] = self._read_block(index)
        return tables[slot]

    def initialised(self, group: int) -> tuple[int, bytes]:
        """Return where a group's descriptor is, and what it is once its inode table is in use."""
        index, slot = divmod(group, self._per_block)
        size = self._superblock.descriptor_bytes
        offset = self._block_of(index) * self._superblock.block_bytes + slot * size
        raw = bytearray(read_exact(self._source, offset, size, "a group descriptor"))
        _SHORT.pack_into(
            raw, _FLAGS_OFFSET, _SHORT.unpack_from(raw, _FLAGS_OFFSET)[0] & ~_INODE_UNINIT
        )
        checksum = self._checksum(group, bytes(raw))
        if checksum is not None:
            _SHORT.pack_into(raw, _CHECKSUM_OFFSET, checksum)
        return offset, bytes(raw)

    def _read_block(self, index: int) -> tuple[int | None, ...]:
        superblock = self._superblock
        offset = self._block_of(index) * superblock.block_bytes
        raw = bytes(
            read_exact(self._source, offset, superblock.block_bytes, "a group descriptor block")
        )
        first = index * self._per_block
        size = superblock.descriptor_bytes
        count = min(self._per_block, superblock.group_count - first)
        return tuple(
            self._parse(first + slot, raw[slot * size : (slot + 1) * size], offset + slot * size)
            for slot in range(count)
        )

    def _block_of(self, index: int) -> int:
        """Return the block that holds the table's block number ``index``."""
        superblock = self._superblock
        # Next to the superblock: with 1 KiB blocks that is in block 1, whatever the first data
        # block (it is 0 with bigalloc).
        classic = SUPERBLOCK_OFFSET // superblock.block_bytes + 1 + index
        if Incompat.META_BG not in superblock.incompat or index < superblock.first_meta_group:
            return classic
        group = index * self._per_block
        if group == 0:
            return classic
        first = superblock.first_data_block + group * superblock.blocks_per_group
        return first + has_backup(superblock, group)

    def _parse(self, group: int, raw: bytes, offset: int) -> int | None:
        superblock = self._superblock
        table, flags, stored = _LOW.unpack_from(raw)
        if Incompat.BIT64 in superblock.incompat:
            table |= _TABLE_HIGH.unpack_from(raw)[0] << 32
        computed = self._checksum(group, raw)
        if computed is not None and computed != stored:
            raise CorruptError(
                f"the descriptor of group {group:,} has checksum {stored:04x}, not {computed:04x}",
                origin=self._source.origin,
                offset=offset,
                hint="run 'e2fsck' on a copy",
            )
        if computed is not None and flags & _INODE_UNINIT:
            return None
        if not 0 < table <= superblock.block_count - self._table_blocks:
            raise CorruptError(
                f"the inode table of group {group:,} is at block {table:,} of"
                f" {superblock.block_count:,}",
                origin=self._source.origin,
                offset=offset,
                hint="run 'e2fsck' on a copy",
            )
        return int(table) * superblock.block_bytes

    def _checksum(self, group: int, raw: bytes) -> int | None:
        superblock = self._superblock
        before, after = raw[:_CHECKSUM_OFFSET], raw[_CHECKSUM_OFFSET + 2 :]
        number = _NUMBER.pack(group)
        if superblock.has_metadata_checksums:
            data = number + before + b"\0\0" + after
            return crc32c(data, superblock.checksum_seed) & 0xFFFF
        if RoCompat.GDT_CSUM in superblock.ro_compat:
            return crc16(superblock.uuid.bytes + number + before + after)
        return None


def has_backup(superblock: Superblock, group: int) -> bool:
    """Tell whether a group starts with a copy of the superblock."""
    if group == 0:
        return True
    if Compat.SPARSE_SUPER2 in superblock.compat:
        return group in superblock.backup_groups
    if RoCompat.SPARSE_SUPER not in superblock.ro_compat or group == 1:
        return True
    return any(_is_power(group, base) for base in (3, 5, 7))


def _is_power(number: int, base: int) -> bool:
    while number % base == 0:
        number //= base
    return number == 1
