"""VirtualBox disks (VDI).

Specification: the VDI article of the VirtualBox forum ("All about VDIs", with the header as of
VirtualBox 1.6), and the format's page at forensics wiki. A header, a map with a number for each
block of the disk, and the blocks, each with its extra data in front.

Read: dynamic and static disks of version 1.1. Refused by name: differencing disks, which name their
parent only by a UUID that the machine's registry resolves; version 0, of VirtualBox before 2007.
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass
from enum import IntEnum

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.origin import printable
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature, Volume, Volumes
from formats.core.source import ByteSource, read_exact
from formats.disks.blocks import (
    ABSENT,
    ZEROED,
    Block,
    BlockTable,
    block_source,
    check_disk_size,
)

NAME = "vdi"
_MAGIC = b"\x7f\x10\xda\xbe"
_MAGIC_OFFSET = 0x40
_TITLE_BYTES = 64
_VERSION = struct.Struct("<HH")
_VERSION_OFFSET = 0x44
_KNOWN_VERSION = (1, 1)
_FIELDS = struct.Struct("<III256sII12sI4xQIIII16s16s16s16s")
_FIELDS_OFFSET = 0x48
_SIZE_PLACE = 0x170

_SECTOR_BYTES = 512
_LARGEST_BLOCK = 256 << 20
_FREE = 0xFFFFFFFF
_ZERO = 0xFFFFFFFE

_CLONE_HINT = (
    "make one disk of all where the machine is: 'VBoxManage clonemedium disk SNAPSHOT OUT.vdi'"
)


class ImageType(IntEnum):
    """What the blocks are for."""

    DYNAMIC = 1
    STATIC = 2
    UNDO = 3
    DIFFERENCING = 4


@dataclass(frozen=True, slots=True)
class Header:
    """The header of version 1.1.

    :ivar map_offset: of the block map in the file.
    :ivar data_offset: of the first block in the file.
    :ivar extra_bytes: in front of each block's data.
    :ivar parent: UUID of the disk below; nil if there is none.
    """

    title: str
    kind: int
    map_offset: int
    data_offset: int
    size: int
    block_bytes: int
    extra_bytes: int
    blocks: int
    allocated: int
    parent: uuid.UUID
    uuid: uuid.UUID


class VdiReader:
    """The reader "vdi"; see :class:`~formats.core.reader.Reader`."""

    name = NAME
    category = Category.DISK
    signatures = (Signature(_MAGIC_OFFSET, _MAGIC),)
    supersedes: frozenset[str] = frozenset()
    doc = ReaderDoc(
        title="VirtualBox disk (VDI)",
        extensions=(".vdi",),
        specification="VirtualBox forum: All about VDIs",
        reads="dynamic and static disks of version 1.1",
        refuses="differencing disks (snapshots), version 0 (VirtualBox before 1.6)",
    )

    def probe(self, source: ByteSource) -> bool:
        """See :class:`~formats.core.reader.Reader`."""
        return source.size > _MAGIC_OFFSET

    def open(self, source: ByteSource, context: OpenContext) -> Volumes:
        """Read the header.

        :raises UnsupportedError: for what is refused by name.
        :raises CorruptError: if the header cannot be true.
        :raises LimitError: if the disk is larger than allowed.
        """
        header = _read_header(source)
        check_disk_size(header.size, context.limits, source.origin, _SIZE_PLACE)
        disk = block_source(source, VdiBlocks(source, header), header.size)
        return Volumes((Volume(disk, NAME),), _facts(header))


def _read_header(source: ByteSource) -> Header:
    _check_version(source)
    fields = bytes(read_exact(source, _FIELDS_OFFSET, _FIELDS.size, "the VDI header"))
    (
        _header_bytes,
        kind,
        _flags,
        _description,
        map_offset,
        data_offset,
        _geometry,
        sector_bytes,
        size,
        block_bytes,
        extra_bytes,
        blocks,
        allocated,
        identity,
        _state,
        parent,
        _parent_state,
    ) = _FIELDS.unpack(fields)
    title = bytes(read_exact(source, 0, _TITLE_BYTES, "the VDI header"))
    header = Header(
        title=printable(title.partition(b"\0")[0].strip(b"\n <>")),
        kind=kind,
        map_offset=map_offset,
        data_offset=data_offset,
        size=size,
        block_bytes=block_bytes,
        extra_bytes=extra_bytes,
        blocks=blocks,
        allocated=allocated,
        uuid=uuid.UUID(bytes_le=identity),
        parent=uuid.UUID(bytes_le=parent),
    )
    _check_header(source, header, sector_bytes)
    return header


def _check_version(source: ByteSource) -> None:
    data = bytes(read_exact(source, _VERSION_OFFSET, _VERSION.size, "the VDI header"))
    minor, major = _VERSION.unpack(data)
    if (major, minor) == _KNOWN_VERSION:
        return
    hint = "convert it with a current 'VBoxManage clonemedium' first" if major == 0 else None
    raise UnsupportedError(
        f"is VDI version {major}.{minor}, which is not read",
        origin=source.origin,
        offset=_VERSION_OFFSET,
        hint=hint,
    )


def _check_header(source: ByteSource, header: Header, sector_bytes: int) -> None:
    """Refuse what is not read, and numbers that cannot be true.

    :raises UnsupportedError: for kinds of disks that are not read, by name.
    :raises CorruptError: if the map is too small for the disk, or blocks are of no whole sectors.
    """
    if header.kind in {ImageType.UNDO, ImageType.DIFFERENCING} or header.parent.int:
        raise UnsupportedError(
            f"is a snapshot of the disk {header.parent}, which it does not name otherwise",
            origin=source.origin,
            offset=0x4C,
            hint=_CLONE_HINT,
        )
    if header.kind not in {ImageType.DYNAMIC, ImageType.STATIC}:
        raise UnsupportedError(
            f"is a VDI of type {header.kind}, which is not known",
            origin=source.origin,
            offset=0x4C,
        )
    is_whole = header.block_bytes % _SECTOR_BYTES == 0 and sector_bytes == _SECTOR_BYTES
    if not is_whole or not 0 < header.block_bytes <= _LARGEST_BLOCK:
        raise CorruptError(
            f"has blocks of {header.block_bytes:,} bytes in sectors of {sector_bytes:,}",
            origin=source.origin,
            offset=0x178,
        )
    if header.blocks * header.block_bytes < header.size:
        raise CorruptError(
            f"has {header.blocks:,} blocks of {header.block_bytes:,} bytes for a disk of"
            f" {header.size:,}",
            origin=source.origin,
            offset=0x180,
        )


class VdiBlocks:
    """The block map; see :class:`~formats.disks.blocks.Blocks`."""

    sector_bytes = _SECTOR_BYTES

    def __init__(self, file: ByteSource, header: Header) -> None:
        self.block_bytes = header.block_bytes
        self._stride = header.extra_bytes + header.block_bytes
        self._first = header.data_offset + header.extra_bytes
        self._table = BlockTable(
            file,
            header.map_offset,
            header.blocks,
            code="I",
            byteorder="little",
            what="the block map",
        )

    def locate(self, index: int, most: int) -> Block:
        """See :meth:`~formats.disks.blocks.Blocks.locate`."""
        entry, alike = self._table.repeated(index, most)
        if entry == _FREE:
            return Block(ABSENT, alike)
        if entry == _ZERO:
            return Block(ZEROED, alike)
        return Block(self._first + entry * self._stride)


def _facts(header: Header) -> dict[str, str]:
    return {
        "type": ImageType(header.kind).name.lower(),
        "creator": header.title,
        "virtual size": f"{header.size:,} bytes",
        "block size": f"{header.block_bytes:,} bytes",
        "blocks": f"{header.allocated:,} of {header.blocks:,} allocated",
        "uuid": str(header.uuid),
    }


READER = VdiReader()
