"""Inodes: finding, verifying and decoding them (kernel documentation, "Index Nodes")."""

from __future__ import annotations

import struct
import threading
from typing import NamedTuple

from formats.core.errors import CorruptError
from formats.core.source import BytesLike, ByteSource, read_exact
from formats.filesystems.ext.checksums import crc32c
from formats.filesystems.ext.groups import GroupDescriptors
from formats.filesystems.ext.superblock import INODE_IDENTITY, Incompat, Superblock

COMPRESSED = 0x4
ENCRYPTED = 0x800
EXTENTS = 0x80000
EA_INODE = 0x200000
INLINE_DATA = 0x10000000

TYPE_MASK = 0xF000
TYPE_FOLDER = 0x4000
TYPE_FILE = 0x8000

BASE_BYTES = 128
"""of every inode; what follows is as long as its own ``i_extra_isize`` says"""

_WINDOW_BYTES = 16 << 10
_WINDOWS = 1024

_BASE = struct.Struct(
    "<"
    "HHI"  # 0x00 mode, uid (low), size (low)
    "8xi4x"  # 0x08 atime, ctime; mtime; dtime
    "HHI"  # 0x18 gid (low), links, sectors (low)
    "I4x"  # 0x20 flags
    "60s"  # 0x28 block
    "III"  # 0x64 generation, xattr block (low), size (high)
    "6xH"  # 0x70 … 0x76 xattr block (high)
    "HHH2x"  # 0x78 uid (high), gid (high), checksum (low)
)
_EXTRA = struct.Struct("<HH4xI")  # extra size, checksum (high), ctime; mtime's extra bits
_EXTRA_OFFSET = BASE_BYTES
_EXTRA_WITH_CHECKSUM = 4
_EXTRA_WITH_MTIME = 12
_CHECKSUM_LOW = 0x7C
_CHECKSUM_HIGH = 0x82
_DEVICE = struct.Struct("<II")

_NANOSECONDS = 1_000_000_000


class Inode(NamedTuple):
    """An inode's fields, in the order they are unpacked in.

    A named tuple and not a dataclass: one is made for each file of the image, and unpacking
    straight into it is four times as fast.

    :ivar block: the 60 bytes of ``i_block``: block map, extent tree root, inline data or target.
    :ivar mtime: seconds, the signed low 32 bits; see :attr:`mtime_ns`.
    :ivar record: the whole inode as it is on disk.
    :ivar extra_bytes: ``i_extra_isize``, checked; 0 in a 128-byte inode.
    """

    mode: int
    uid_low: int
    size_low: int
    mtime: int
    gid_low: int
    links: int
    sectors_low: int
    flags: int
    block: bytes
    generation: int
    xattr_block_low: int
    size_high: int
    xattr_block_high: int
    uid_high: int
    gid_high: int
    checksum_low: int
    number: int
    record: bytes
    extra_bytes: int
    mtime_extra: int

    @property
    def type(self) -> int:
        """The file type bits of ``i_mode``."""
        return self.mode & TYPE_MASK

    @property
    def mtime_ns(self) -> int:
        """Nanoseconds since 1970: two bits extend the seconds, the other thirty are nanoseconds."""
        extra = self.mtime_extra
        return (self.mtime + ((extra & 3) << 32)) * _NANOSECONDS + (extra >> 2)

    @property
    def file_bytes(self) -> int:
        """Size of a regular file: 64 bits. Older folders have something else in the high half."""
        return self.size_low | self.size_high << 32

    @property
    def device(self) -> tuple[int, int]:
        """Major and minor number: 8 and 8 bits in the first word, or 12 and 20 in the second."""
        old, new = _DEVICE.unpack_from(self.block)
        if old:
            return (old >> 8) & 0xFF, old & 0xFF
        return (new >> 8) & 0xFFF, (new & 0xFF) | ((new >> 12) & 0xFFF00)


class InodeTable:
    """The inodes of one filesystem, through a cache of at most 16 MiB of table.

    Inodes of one folder lie near each other, but a full or old filesystem scatters them: the
    windows are small enough for a miss to be cheap.
    """

    def __init__(
        self, source: ByteSource, superblock: Superblock, groups: GroupDescriptors
    ) -> None:
        self._source = source
        self._superblock = superblock
        self._groups = groups
        self._has_checksums = superblock.has_metadata_checksums
        self._is_64bit = Incompat.BIT64 in superblock.incompat
        self._window_bytes = max(_WINDOW_BYTES, superblock.block_bytes)
        self._windows: dict[int, BytesLike] = {}
        self._lock = threading.Lock()

    def get(self, number: int) -> Inode:
        """Return an inode, whatever is in it.

        :raises CorruptError: if there is no such inode, or its checksum is wrong.
        """
        offset = self.offset_of(number)
        window_start = offset - offset % self._window_bytes
        window = self._windows.get(window_start)
        if window is None:
            window = self._load(window_start)
        start = offset - window_start
        size = self._superblock.inode_bytes
        record = bytes(window[start : start + size])
        if len(record) != size:
            raise CorruptError(
                f"inode {number:,} is cut short", origin=self._source.origin, offset=offset
            )
        extra = checksum_high = mtime_extra = 0
        if size > BASE_BYTES:
            extra, checksum_high, mtime_extra = _EXTRA.unpack_from(record, _EXTRA_OFFSET)
            if extra > size - BASE_BYTES or extra % 4:
                raise CorruptError(
                    f"inode {number:,} claims {extra:,} bytes more than the first 128",
                    origin=self._source.origin,
                    offset=offset + _EXTRA_OFFSET,
                )
            if extra < _EXTRA_WITH_MTIME:
                mtime_extra = 0
        inode = Inode._make((*_BASE.unpack_from(record), number, record, extra, mtime_extra))
        if inode.mode and self._has_checksums:  # unused ones are zeros
            self._verify(inode, checksum_high, offset)
        return inode

    def in_use(self, number: int) -> Inode:
        """Return an inode that something points to.

        :raises CorruptError: also if the inode is a deleted or a never used one.
        """
        inode = self.get(number)
        if inode.links == 0 or inode.mode == 0:
            raise CorruptError(
                f"inode {number:,} is not in use",
                origin=self._source.origin,
                offset=self.offset_of(number),
                hint="run 'e2fsck' on a copy",
            )
        return inode

    def xattr_block_of(self, inode: Inode) -> int:
        """Return the number of the block with an inode's extended attributes; 0 for none."""
        if self._is_64bit:
            return inode.xattr_block_low | inode.xattr_block_high << 32
        return inode.xattr_block_low

    def offset_of(self, number: int) -> int:
        """Return where on the volume an inode is.

        :raises CorruptError: if there is no such inode.
        """
        superblock = self._superblock
        if not 0 < number <= superblock.inode_count:
            raise CorruptError(
                f"inode {number:,} is none of the {superblock.inode_count:,} there are",
                origin=self._source.origin,
                hint="run 'e2fsck' on a copy",
            )
        group, slot = divmod(number - 1, superblock.inodes_per_group)
        table = self._groups.inode_table_offset(group)
        if table is None:
            raise CorruptError(
                f"inode {number:,} is in group {group:,}, which was never used",
                origin=self._source.origin,
                hint="run 'e2fsck' on a copy",
            )
        return table + slot * superblock.inode_bytes

    def _load(self, start: int) -> BytesLike:
        length = min(self._window_bytes, self._source.size - start)
        window = read_exact(self._source, start, length, "the inode table")
        with self._lock:
            if len(self._windows) >= _WINDOWS:
                del self._windows[next(iter(self._windows))]
            self._windows[start] = window
        return window

    def _verify(self, inode: Inode, checksum_high: int, offset: int) -> None:
        record, low = inode.record, _CHECKSUM_LOW
        has_high = inode.extra_bytes >= _EXTRA_WITH_CHECKSUM
        if has_high:
            high = _CHECKSUM_HIGH
            data = record[:low] + b"\0\0" + record[low + 2 : high] + b"\0\0" + record[high + 2 :]
            stored = inode.checksum_low | checksum_high << 16
        else:
            data = record[:low] + b"\0\0" + record[low + 2 :]
            stored = inode.checksum_low
        identity = INODE_IDENTITY.pack(inode.number, inode.generation)
        computed = crc32c(identity + data, self._superblock.checksum_seed)
        computed &= 0xFFFFFFFF if has_high else 0xFFFF
        if computed != stored:
            raise CorruptError(
                f"inode {inode.number:,} has checksum {stored:08x}, not {computed:08x}",
                origin=self._source.origin,
                offset=offset,
                hint="run 'e2fsck' on a copy",
            )
