"""Inodes (``struct erofs_inode_compact`` and ``struct erofs_inode_extended``).

An inode's number is its place: 32 bytes for each, counted from where metadata begins. Attributes,
indexes and inline content follow right behind it.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from formats.core.entry import MODE_KINDS, Kind
from formats.core.errors import CorruptError
from formats.core.source import ByteSource
from formats.filesystems.erofs.superblock import Superblock

_SLOT_BYTES = 32
_FORMAT = struct.Struct("<H")
_COMPACT = struct.Struct("<HHHHIIIIHHI")
_EXTENDED = struct.Struct("<HHHHQIIIIqII16x")
_IS_EXTENDED = 0x1
_TYPE_MASK = 0xF000
_XATTR_HEADER_BYTES = 12
_XATTR_UNIT_BYTES = 4
_SECOND_NS = 10**9


class Layout(IntEnum):
    """How an inode's content is found."""

    PLAIN = 0
    COMPRESSED_FULL = 1
    INLINE = 2
    COMPRESSED_COMPACT = 3
    CHUNKS = 4


class Inode(NamedTuple):
    """An inode, whatever its form. A named tuple, as one is made for each path.

    :ivar detail: the block of plain content, a device's number, or the format of chunks.
    :ivar xattrs_at: byte offset of the attributes in the image.
    :ivar xattr_bytes: their size.
    """

    number: int
    kind: Kind
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    links: int
    size: int
    layout: Layout
    detail: int
    xattrs_at: int
    xattr_bytes: int

    @property
    def end(self) -> int:
        """Byte offset of what follows inode and attributes."""
        return self.xattrs_at + self.xattr_bytes

    @property
    def device(self) -> tuple[int, int]:
        """Major and minor number of a device, of 12 and 20 bits."""
        return self.detail >> 8 & 0xFFF, self.detail & 0xFF | self.detail >> 12 & 0xFFF00


class InodeTable:
    """Reads inodes by their number."""

    def __init__(self, source: ByteSource, superblock: Superblock) -> None:
        self._source = source
        self._start = superblock.metadata
        self._built_ns = superblock.built_ns

    def read(self, number: int) -> Inode:
        """Return an inode.

        :raises CorruptError: if it is not there or of no known kind.
        """
        place = self.place(number)
        record = bytes(self._source.read_at(place, _EXTENDED.size))
        try:
            (form,) = _FORMAT.unpack_from(record)
            if form & _IS_EXTENDED:
                _, xattrs, mode, _, size, detail, _, uid, gid, mtime, nanoseconds, links = (
                    _EXTENDED.unpack_from(record)
                )
                length, mtime_ns = _EXTENDED.size, mtime * _SECOND_NS + nanoseconds
            else:
                _, xattrs, mode, links, size, mtime, detail, _, uid, gid, _ = _COMPACT.unpack_from(
                    record
                )
                length, mtime_ns = _COMPACT.size, self._built_ns + mtime * _SECOND_NS
            kind = MODE_KINDS[mode & _TYPE_MASK]
            layout = Layout(form >> 1)
        except (struct.error, KeyError, ValueError):
            raise self.damaged("is cut short or of no known kind", number) from None
        units = _XATTR_HEADER_BYTES + (xattrs - 1) * _XATTR_UNIT_BYTES if xattrs else 0
        return Inode(
            number,
            kind,
            mode & 0o7777,
            uid,
            gid,
            mtime_ns,
            links,
            size,
            layout,
            detail,
            place + length,
            units,
        )

    def place(self, number: int) -> int:
        """Return the byte offset of an inode in the image."""
        return self._start + number * _SLOT_BYTES

    def damaged(self, what: str, number: int) -> CorruptError:
        """Return the error that says what is wrong with an inode."""
        return CorruptError(
            f"inode {number:,} {what}", origin=self._source.origin, offset=self.place(number)
        )
