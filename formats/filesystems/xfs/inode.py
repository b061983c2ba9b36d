"""Inodes: finding, verifying and decoding them.

"XFS Algorithms & Data Structures", "Inode Core". An inode's number is its address: the allocation
group, the block in that, the inode in the block. No table has to be asked for one, and none says
how far the inodes go; that it is one is seen by its magic and, in version 5, by its own number.
"""

from __future__ import annotations

import struct
import threading
from typing import NamedTuple

from formats.core.errors import CorruptError
from formats.core.source import BytesLike, ByteSource, read_exact
from formats.filesystems.xfs.checksums import block_checksum
from formats.filesystems.xfs.superblock import REPAIR_HINT, Incompat, Superblock

MODE_TYPE = 0xF000
FLAG_REALTIME = 0x1

FORMAT_DEVICE = 0
FORMAT_LOCAL = 1
FORMAT_EXTENTS = 2
FORMAT_BTREE = 3

_FLAG2_BIGTIME = 0x8
_FLAG2_NREXT64 = 0x10
_FLAGS2 = {Incompat.BIGTIME: _FLAG2_BIGTIME, Incompat.NREXT64: _FLAG2_NREXT64}
"""Flags of an inode that change its form, and the feature that allows them."""

_MAGIC = b"IN"
_VERSIONS = frozenset({1, 2})
_VERSION_WITH_CHECKSUM = 3
_CORE_BYTES = 100
_CORE_V3_BYTES = 176
_CHECKSUM_OFFSET = 100
_FORK_UNIT = 8

_CHUNK_INODES = 64
"""how many are allocated together, and so read"""
_CACHE_BYTES = 16 << 20

_CORE = (
    ">"
    "2sHBBH"  # 0 magic, mode, version, format of the data fork, links (version 1)
    "III4x"  # 8 uid, gid, links; project
    "Q"  # 24 extents of the data fork (nrext64)
    "8xQ8x"  # 32 atime, mtime, ctime
    "Q8x4x"  # 56 size, blocks, extent size hint
    "IHBB"  # 76 extents of the data fork, of the attribute fork, where that begins, its format
    "6xH8x"  # 84 … 90 flags; generation, next unlinked
)
_STRUCT_V2 = struct.Struct(_CORE)
_STRUCT_V3 = struct.Struct(
    _CORE + "20xQ"  # 100 checksum, change count, LSN; 120 more flags
    "24xQ16s"  # 128 … 152 number, UUID
)
_NO_V3_FIELDS = (0, 0, b"")
_DEVICE = struct.Struct(">I")

_NANOSECONDS = 1_000_000_000
_BIGTIME_EPOCH = -(1 << 31) * _NANOSECONDS


class Inode(NamedTuple):
    """An inode's fields, in the order they are unpacked in.

    A named tuple and not a dataclass: one is made for each file of the image.

    :ivar links_v1: the number of links in version 1 of inodes.
    :ivar extents64: number of extents of the data fork where the inode has ``nrext64``.
    :ivar mtime: as on disk; see :attr:`mtime_ns`.
    :ivar fork_offset: where the attribute fork begins, in 8 bytes from the data fork's start; 0
        for none.
    :ivar own_number: the number that an inode of version 3 has in itself.
    :ivar record: the whole inode as it is on disk.
    """

    magic: bytes
    mode: int
    version: int
    format: int
    links_v1: int
    uid: int
    gid: int
    links_v2: int
    extents64: int
    mtime: int
    size: int
    extents: int
    attribute_extents: int
    fork_offset: int
    attribute_format: int
    flags: int
    flags2: int
    own_number: int
    uuid: bytes
    number: int
    record: bytes

    @property
    def type(self) -> int:
        """The file type bits of the mode."""
        return self.mode & MODE_TYPE

    @property
    def links(self) -> int:
        """How many names it has."""
        return self.links_v1 if self.version == 1 else self.links_v2

    @property
    def mtime_ns(self) -> int:
        """Nanoseconds since 1970: one count of them since 1901 (``bigtime``), or two words."""
        if self.flags2 & _FLAG2_BIGTIME:
            return self.mtime + _BIGTIME_EPOCH
        seconds = self.mtime >> 32
        if seconds >> 31:
            seconds -= 1 << 32
        return seconds * _NANOSECONDS + (self.mtime & 0xFFFFFFFF)

    @property
    def data_fork(self) -> bytes:
        """What lies behind the core: data, extents or the root of a tree of them."""
        start = _core_bytes(self.version)
        end = start + self.fork_offset * _FORK_UNIT if self.fork_offset else None
        return self.record[start:end]

    @property
    def data_extents(self) -> int:
        """Number of extents that the data fork has."""
        return self.extents64 if self.flags2 & _FLAG2_NREXT64 else self.extents

    @property
    def attribute_fork(self) -> bytes:
        """The same for attributes; only where :attr:`fork_offset` is not 0."""
        return self.record[_core_bytes(self.version) + self.fork_offset * _FORK_UNIT :]

    @property
    def attributes_extents(self) -> int:
        """Number of extents that the attribute fork has: ``nrext64`` moved it, too."""
        return self.extents if self.flags2 & _FLAG2_NREXT64 else self.attribute_extents

    @property
    def device(self) -> tuple[int, int]:
        """Major and minor number: 14 and 18 bits, as in System V."""
        (number,) = _DEVICE.unpack_from(self.data_fork)
        return number >> 18, number & 0x3FFFF


def _core_bytes(version: int) -> int:
    return _CORE_V3_BYTES if version >= _VERSION_WITH_CHECKSUM else _CORE_BYTES


class InodeTable:
    """The inodes of one filesystem, through a cache of at most 16 MiB of them."""

    def __init__(self, source: ByteSource, superblock: Superblock) -> None:
        self._source = source
        self._superblock = superblock
        self._has_checksums = superblock.has_checksums
        self._inode_bytes = superblock.inode_bytes
        self._group_bits = superblock.group_bits + superblock.inode_bits
        self._group_inodes = superblock.group_blocks << superblock.inode_bits
        self._inode_count = superblock.block_count << superblock.inode_bits
        self._impossible_flags2 = sum(
            flag for feature, flag in _FLAGS2.items() if feature not in superblock.incompat
        )
        self._chunks: dict[int, BytesLike] = {}
        self._most_chunks = _CACHE_BYTES // (_CHUNK_INODES * superblock.inode_bytes)
        self._lock = threading.Lock()

    def get(self, number: int) -> Inode:
        """Return an inode, whatever is in it.

        :raises CorruptError: if there is none at this place, or its checksum is wrong.
        """
        offset = self.offset_of(number)
        size = self._inode_bytes
        slot = (number & ((1 << self._group_bits) - 1)) % _CHUNK_INODES
        start = offset - slot * size
        chunk = self._chunks.get(start)
        if chunk is None:
            chunk = self._load(start)
        record = bytes(chunk[slot * size : (slot + 1) * size])
        if len(record) != size:
            raise self._damaged(f"inode {number:,} is cut short", number)
        if self._has_checksums:
            inode = Inode._make((*_STRUCT_V3.unpack_from(record), number, record))
            self._verify(inode)
        else:
            inode = Inode._make((*_STRUCT_V2.unpack_from(record), *_NO_V3_FIELDS, number, record))
            if inode.magic != _MAGIC or inode.version not in _VERSIONS:
                raise self._damaged(f"there is no inode {number:,}", number)
        if inode.fork_offset * _FORK_UNIT >= size - _core_bytes(inode.version):
            raise self._damaged(
                f"inode {number:,} has its attributes at {inode.fork_offset * _FORK_UNIT:,}", number
            )
        return inode

    def in_use(self, number: int) -> Inode:
        """Return an inode that something points to.

        :raises CorruptError: also if the inode is a deleted or a never used one.
        """
        inode = self.get(number)
        if inode.mode == 0 or inode.links == 0:
            raise self._damaged(f"inode {number:,} is not in use", number)
        return inode

    def offset_of(self, number: int) -> int:
        """Return where on the volume an inode is.

        :raises CorruptError: if there is no such place.
        """
        group, inside = number >> self._group_bits, number & ((1 << self._group_bits) - 1)
        linear = group * self._group_inodes + inside
        if inside >= self._group_inodes or linear >= self._inode_count or not inside:
            raise CorruptError(
                f"inode {number:,} is outside of the filesystem",
                origin=self._source.origin,
                hint=REPAIR_HINT,
            )
        return linear * self._inode_bytes

    def _load(self, start: int) -> BytesLike:
        length = min(_CHUNK_INODES * self._inode_bytes, self._source.size - start)
        chunk = read_exact(self._source, start, length, "a chunk of inodes")
        with self._lock:
            if len(self._chunks) >= self._most_chunks:
                del self._chunks[next(iter(self._chunks))]
            self._chunks[start] = chunk
        return chunk

    def _verify(self, inode: Inode) -> None:
        number = inode.number
        if inode.magic != _MAGIC or inode.version != _VERSION_WITH_CHECKSUM:
            raise self._damaged(f"there is no inode {number:,}", number)
        wrong = block_checksum(inode.record, _CHECKSUM_OFFSET)
        if wrong is not None:
            raise self._damaged(f"inode {number:,} {wrong}", number)
        if inode.own_number != number:
            raise self._damaged(f"inode {number:,} says it is {inode.own_number:,}", number)
        if inode.uuid != self._superblock.metadata_uuid:
            raise self._damaged(f"inode {number:,} is left over from another filesystem", number)
        if inode.flags2 & self._impossible_flags2:
            raise self._damaged(f"inode {number:,} has flags {inode.flags2:#x}", number)

    def _damaged(self, what: str, number: int) -> CorruptError:
        return CorruptError(
            what,
            origin=self._source.origin,
            offset=self.offset_of(number),
            hint=REPAIR_HINT,
        )
