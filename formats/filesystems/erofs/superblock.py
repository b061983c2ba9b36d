"""The superblock (``struct erofs_super_block`` of the kernel's erofs_fs.h)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntFlag
from uuid import UUID

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.origin import printable
from formats.core.source import ByteSource, read_exact
from formats.filesystems.ext.checksums import crc32c

SUPERBLOCK_OFFSET = 1024
MAGIC = 0xE0F5E1E2

_SUPERBLOCK = struct.Struct("<IIIBBHQQIIII16s16sIHHHBBIQ24x")
_CHECKSUM = slice(4, 8)
_SMALLEST_BLOCK_LOG = 9
_LARGEST_BLOCK_LOG = 16
_COMPAT_CHECKSUM = 0x1

_HINT = "unpack it with 'fsck.erofs --extract' and put the tree on an ext4 disk: 'mkfs.ext4 -d'"


class Incompat(IntFlag):
    """Features that who does not know them must not read; some bits stand for two of them."""

    ZERO_PADDING = 0x1
    BIG_PCLUSTER = 0x2
    CHUNKED_FILE = 0x4
    DEVICE_TABLE = 0x8
    ZTAILPACKING = 0x10
    FRAGMENTS = 0x20
    XATTR_PREFIXES = 0x40
    ADDRESSES_OF_48_BITS = 0x80
    METABOX = 0x100


READABLE = (
    Incompat.ZERO_PADDING
    | Incompat.BIG_PCLUSTER
    | Incompat.CHUNKED_FILE
    | Incompat.DEVICE_TABLE
    | Incompat.ZTAILPACKING
    | Incompat.FRAGMENTS
    | Incompat.XATTR_PREFIXES
)
"""The bit of the device table is also that of a second compressor in a file: further devices are
refused by their number."""


@dataclass(frozen=True, slots=True)
class Superblock:
    """What the superblock says, checked.

    :ivar root: number of the root folder's inode.
    :ivar metadata: byte offset that inodes count from.
    :ivar shared_xattrs: byte offset that shared attributes count from.
    :ivar built_ns: time of compact inodes, nanoseconds since 1970.
    :ivar prefixes: number of long prefixes of attribute names.
    :ivar prefixes_at: where those are: in the packed inode, or in the image if there is none.
    :ivar packed: number of the inode with the tails of files; 0 if there is none.
    """

    incompat: Incompat
    block_log: int
    root: int
    blocks: int
    metadata: int
    shared_xattrs: int
    built_ns: int
    uuid: UUID
    label: str
    prefixes: int
    prefixes_at: int
    packed: int

    @property
    def block_bytes(self) -> int:
        """Size of a block."""
        return 1 << self.block_log


def read_superblock(source: ByteSource) -> Superblock:
    """Read and check the superblock.

    :raises UnsupportedError: for a feature that is not read, by name.
    :raises CorruptError: if it is damaged, or the image is cut short.
    """
    data = bytes(read_exact(source, SUPERBLOCK_OFFSET, _SUPERBLOCK.size, "the superblock"))
    fields = _SUPERBLOCK.unpack(data)
    (magic, checksum, compat, block_log, _, root, _, seconds, nanoseconds) = fields[:9]
    (blocks, metadata, shared_xattrs, uuid, label, incompat, _, devices) = fields[9:17]
    (_, folder_log, prefixes, prefixes_at, packed) = fields[17:]
    if magic != MAGIC:
        raise _damaged("has another magic", source)
    if not _SMALLEST_BLOCK_LOG <= block_log <= _LARGEST_BLOCK_LOG:
        raise _damaged(f"has blocks of 2^{block_log} bytes", source)
    if compat & _COMPAT_CHECKSUM:
        _verify(source, 1 << block_log, checksum)
    _refuse_unreadable(Incompat(incompat), devices, folder_log, source)
    superblock = Superblock(
        Incompat(incompat),
        block_log,
        root,
        blocks,
        metadata << block_log,
        shared_xattrs << block_log,
        seconds * 10**9 + nanoseconds,
        UUID(bytes=uuid),
        printable(label.partition(b"\0")[0]),
        prefixes if Incompat.XATTR_PREFIXES in Incompat(incompat) else 0,
        prefixes_at * 4,
        packed if Incompat.FRAGMENTS in Incompat(incompat) else 0,
    )
    if blocks << block_log > source.size:
        raise CorruptError(
            f"the image has {blocks << block_log:,} bytes, and only {source.size:,} are there",
            origin=source.origin,
            hint="the file may be truncated: compare its size with the original",
        )
    return superblock


def _verify(source: ByteSource, block_bytes: int, stored: int) -> None:
    """Compare the checksum, which is of all that is in the superblock's block from it on."""
    length = block_bytes - SUPERBLOCK_OFFSET if block_bytes > SUPERBLOCK_OFFSET else block_bytes
    block = bytearray(read_exact(source, SUPERBLOCK_OFFSET, length, "the superblock"))
    block[_CHECKSUM] = bytes(4)
    computed = crc32c(bytes(block))
    if computed != stored:
        raise _damaged(f"has checksum {stored:08x}, not {computed:08x}", source)


def _refuse_unreadable(
    incompat: Incompat, devices: int, folder_log: int, source: ByteSource
) -> None:
    unknown = incompat.value & ~READABLE.value  # of a flag, ~ would leave out unknown bits
    if unknown:
        bits = (1 << bit for bit in range(unknown.bit_length()) if unknown >> bit & 1)
        names = ", ".join((Incompat(bit).name or f"bit {bit:#x}").lower() for bit in bits)
        raise UnsupportedError(
            f"uses features of EROFS that are not read: {names}", origin=source.origin, hint=_HINT
        )
    if devices:
        raise UnsupportedError(
            f"keeps content on {devices} further devices, which is not read",
            origin=source.origin,
            hint=_HINT,
        )
    if folder_log:
        raise UnsupportedError(
            "has directory blocks of more than a block, which is not read",
            origin=source.origin,
            hint=_HINT,
        )


def _damaged(what: str, source: ByteSource) -> CorruptError:
    return CorruptError(f"the superblock {what}", origin=source.origin, offset=SUPERBLOCK_OFFSET)
