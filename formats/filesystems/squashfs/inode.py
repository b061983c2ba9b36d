"""Inodes: seven kinds, each basic or extended (Squashfs Binary Format, "Inode Table").

An inode is named by its *reference*: 48 bits for the place of its metadata block, counted from the
start of the inode table, and 16 bits for the offset in the block.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple

from formats.core.entry import Kind
from formats.core.errors import CorruptError, LimitError
from formats.core.limits import Limits
from formats.filesystems.squashfs.metadata import Metadata, MetadataStream
from formats.filesystems.squashfs.superblock import Superblock

NONE = 0xFFFF_FFFF
"""No fragment, no attributes."""

_COMMON = "<HHHHII"  # kind, permissions, owner's index, group's index, mtime, inode number
_KIND = struct.Struct("<H")
_XATTRS = struct.Struct("<I")
_LARGEST_RECORD = 56
_INODES_KEPT = 8192
"""What is walked is announced and read a little later."""


class Inode(NamedTuple):
    """An inode, whatever its form. A named tuple, as one is made for each path.

    :ivar owner: index into the id table; so is ``group``.
    :ivar mtime: seconds since 1970.
    :ivar place: where the directory's listing or the file's first block is: relative to the
        directory table, or a byte offset in the image.
    :ivar offset: of the listing in its metadata block, or of the tail in its fragment.
    :ivar fragment: index of the file's fragment, or :data:`NONE`.
    :ivar end: of the fixed part, after the reference's offset: a file's list of block sizes is
        there.
    :ivar xattrs: index into the xattr table, or :data:`NONE`.
    """

    reference: int
    kind: Kind
    mode: int
    owner: int
    group: int
    mtime: int
    number: int
    links: int = 1
    size: int = 0
    place: int = 0
    offset: int = 0
    fragment: int = NONE
    end: int = 0
    device: tuple[int, int] | None = None
    target: bytes | None = None
    xattrs: int = NONE


_BASIC_FOLDER = 1
_BASIC_FILE = 2
_FOLDER = 8
_FILE = 9
_FORMS = {
    number: (kind, struct.Struct(_COMMON + fields))
    for number, kind, fields in (
        (_BASIC_FOLDER, Kind.FOLDER, "IIHHI"),  # place, links, size, offset, parent
        (_BASIC_FILE, Kind.FILE, "IIII"),  # place, fragment, offset, size
        (3, Kind.SYMLINK, "II"),  # links, size
        (4, Kind.BLOCK_DEVICE, "II"),  # links, device
        (5, Kind.CHARACTER_DEVICE, "II"),
        (6, Kind.FIFO, "I"),  # links
        (7, Kind.SOCKET, "I"),
        (_FOLDER, Kind.FOLDER, "IIIIHHI"),  # links, size, place, parent, indexes, offset, xattrs
        (_FILE, Kind.FILE, "QQQIIII"),  # place, size, sparse, links, fragment, offset, xattrs
        (10, Kind.SYMLINK, "II"),  # links, size; xattrs after the target
        (11, Kind.BLOCK_DEVICE, "III"),  # links, device, xattrs
        (12, Kind.CHARACTER_DEVICE, "III"),
        (13, Kind.FIFO, "II"),  # links, xattrs
        (14, Kind.SOCKET, "II"),
    )
}
_EXTENDED = 8
"""Forms from here on have attributes."""


class InodeTable:
    """Reads inodes by their reference."""

    def __init__(self, metadata: Metadata, superblock: Superblock, limits: Limits) -> None:
        self._metadata = metadata
        self._start = superblock.inode_table
        self._end = superblock.directory_table
        self._limits = limits
        self.read = lru_cache(_INODES_KEPT)(self._read)
        """Return an inode, given its reference.

        :raises CorruptError: if it is not there or of no known kind.
        :raises LimitError: for a symlink that is too long.
        """

    def _read(self, reference: int) -> Inode:
        place, offset = self._start + (reference >> 16), reference & 0xFFFF
        if place >= self._end:
            raise self.damaged("lies behind the inode table", reference)
        record = self._metadata.at_most(place, offset, _LARGEST_RECORD)
        try:
            (form,) = _KIND.unpack_from(record)
            kind, layout = _FORMS[form]
            _, mode, owner, group, mtime, number, *fields = layout.unpack_from(record)
        except (struct.error, KeyError):
            raise self.damaged("is cut short or of no known kind", reference) from None
        common = (reference, kind, mode & 0o7777, owner, group, mtime, number)
        if form == _BASIC_FILE:
            place, fragment, offset, size = fields
            return Inode(*common, 1, size, place, offset, fragment, layout.size)
        if form == _FILE:
            place, size, _, links, fragment, offset, xattrs = fields
            return Inode(*common, links, size, place, offset, fragment, layout.size, xattrs=xattrs)
        if form == _BASIC_FOLDER:
            place, links, size, offset, _ = fields
            return Inode(*common, links, size, place, offset)
        if form == _FOLDER:
            links, size, place, _, _, offset, xattrs = fields
            return Inode(*common, links, size, place, offset, xattrs=xattrs)
        if kind is Kind.SYMLINK:
            links, size = fields
            target, xattrs = self._target(reference, layout.size, size, form >= _EXTENDED)
            return Inode(*common, links, target=target, xattrs=xattrs)
        xattrs = fields.pop() if form >= _EXTENDED else NONE
        device = _device(fields[1]) if len(fields) > 1 else None
        return Inode(*common, fields[0], device=device, xattrs=xattrs)

    def _target(self, reference: int, skip: int, size: int, has_xattrs: bool) -> tuple[bytes, int]:
        """Return what a symlink holds, and the index of its attributes that may follow."""
        if size > self._limits.symlink_target_bytes:
            raise LimitError(
                f"is a symlink of {size:,} bytes, more than {self._limits.symlink_target_bytes:,}",
                origin=self._metadata.source.origin,
            )
        length = skip + size + (_XATTRS.size if has_xattrs else 0)
        record = self.stream(reference, length).take(length)
        target = record[skip : skip + size]
        if not target or b"\0" in target:
            raise self.damaged("is a symlink to nowhere", reference)
        return target, _XATTRS.unpack_from(record, skip + size)[0] if has_xattrs else NONE

    def stream(self, reference: int, length: int) -> MetadataStream:
        """Return ``length`` bytes from the start of an inode, to be taken bit by bit."""
        place, offset = self._start + (reference >> 16), reference & 0xFFFF
        return MetadataStream(self._metadata, place, offset, length)

    def damaged(self, what: str, reference: int) -> CorruptError:
        """Return the error that says what is wrong with an inode."""
        place, offset = self._start + (reference >> 16), reference & 0xFFFF
        return self._metadata.damaged(f"the inode at offset {offset:,} of its block {what}", place)


def _device(number: int) -> tuple[int, int]:
    """Return major and minor number, of 12 and 20 bits."""
    return number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00
