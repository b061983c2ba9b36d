"""The superblock (Squashfs Binary Format, "The superblock")."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.origin import Origin
from formats.core.source import ByteSource, read_exact
from formats.filesystems.squashfs.compression import COMPRESSIONS, Compression

MAGIC = b"hsqs"
MAGIC_BIG_ENDIAN = b"sqsh"

_SUPERBLOCK = struct.Struct("<4s4I6H8Q")
_VERSION_OFFSET = 28
_VERSION = 4
_SMALLEST_BLOCK_LOG = 12
_LARGEST_BLOCK_LOG = 20
_ABSENT = 0xFFFF_FFFF_FFFF_FFFF

_UNSQUASH_HINT = (
    "unpack it with the 'unsquashfs' of squashfs-tools and put the tree on an ext4 disk:"
    " 'mkfs.ext4 -d'"
)


@dataclass(frozen=True, slots=True)
class Superblock:
    """What the superblock says, checked. Places are byte offsets in the image.

    :ivar created: seconds since 1970.
    :ivar root: reference of the root folder's inode.
    :ivar size_bytes: of the image without padding.
    :ivar xattr_table: None if no inode has attributes; so with the others that are optional.
    """

    inode_count: int
    created: int
    block_bytes: int
    fragment_count: int
    compression: Compression
    id_count: int
    root: int
    size_bytes: int
    id_table: int
    xattr_table: int | None
    inode_table: int
    directory_table: int
    fragment_table: int | None


def read_superblock(source: ByteSource) -> Superblock:
    """Read and check the superblock.

    :raises UnsupportedError: for another version, byte order or compressor, by name.
    :raises CorruptError: if it contradicts itself, or the image is cut short.
    """
    data = bytes(read_exact(source, 0, _SUPERBLOCK.size, "the superblock"))
    _check_version(data, source.origin)
    fields = _SUPERBLOCK.unpack(data)
    (_, inode_count, created, block_bytes, fragment_count) = fields[:5]
    (compressor, block_log, _, id_count, _, _) = fields[5:11]
    (root, size_bytes, ids, xattrs, inodes, directories, fragments, _) = fields[11:]
    compression = COMPRESSIONS.get(compressor)
    if compression is None:
        raise UnsupportedError(
            f"its compressor has the number {compressor}, which is not known",
            origin=source.origin,
            hint=_UNSQUASH_HINT,
        )
    is_known_log = _SMALLEST_BLOCK_LOG <= block_log <= _LARGEST_BLOCK_LOG
    if not is_known_log or block_bytes != 1 << block_log:
        raise _damaged(f"has blocks of {block_bytes:,} bytes and of 2^{block_log}", source)
    if size_bytes > source.size:
        raise CorruptError(
            f"the image has {size_bytes:,} bytes, and only {source.size:,} are there",
            origin=source.origin,
            hint="the file may be truncated: compare its size with the original",
        )
    superblock = Superblock(
        inode_count,
        created,
        block_bytes,
        fragment_count,
        compression,
        id_count,
        root,
        size_bytes,
        ids,
        None if xattrs == _ABSENT else xattrs,
        inodes,
        directories,
        None if fragments == _ABSENT else fragments,
    )
    _check_tables(superblock, source)
    return superblock


def _check_version(data: bytes, origin: Origin) -> None:
    is_big = data.startswith(MAGIC_BIG_ENDIAN)
    major, minor = struct.unpack_from(">HH" if is_big else "<HH", data, _VERSION_OFFSET)
    if not is_big and (major, minor) == (_VERSION, 0):
        return
    order = ", big-endian" if is_big else ""
    raise UnsupportedError(
        f"is squashfs {major}.{minor}{order}; only 4.0 is read",
        origin=origin,
        hint=_UNSQUASH_HINT,
    )


def _check_tables(superblock: Superblock, source: ByteSource) -> None:
    places = {
        "id table": superblock.id_table,
        "inode table": superblock.inode_table,
        "directory table": superblock.directory_table,
        "fragment table": superblock.fragment_table,
        "xattr table": superblock.xattr_table,
    }
    for name, place in places.items():
        if place is not None and not _SUPERBLOCK.size <= place < superblock.size_bytes:
            raise _damaged(f"has its {name} at byte {place:,}, outside of the image", source)
    if superblock.inode_table >= superblock.directory_table:
        raise _damaged("has its directories before its inodes", source)
    if not superblock.inode_count or not superblock.id_count:
        raise _damaged("has no inodes or no owners", source)
    if superblock.fragment_count and superblock.fragment_table is None:
        raise _damaged("has fragments and no table of them", source)


def _damaged(what: str, source: ByteSource) -> CorruptError:
    return CorruptError(f"the superblock {what}", origin=source.origin, offset=0)
