"""Parallels disks: one expandable image (.hdd, .hds).

Specification: QEMU, docs/interop/parallels.txt. A header, a table with a place for each cluster of
the disk, and the clusters. Format extensions hold dirty bitmaps only, and are not looked at.

A disk of several images is a folder with a ``DiskDescriptor.xml``; it is refused by name.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.finding import Action, Finding
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature, Volume, Volumes
from formats.core.source import ByteSource, read_exact
from formats.disks.blocks import ABSENT, Block, BlockTable, block_source, check_disk_size

NAME = "parallels"
_MAGIC = b"WithoutFreeSpace"
_MAGIC_EXTENDED = b"WithouFreSpacExt"
_HEADER = struct.Struct("<16sIIIIIQIIIQ")
_VERSION = 2
_SIZE_PLACE = 36
_SECTOR_BYTES = 512
_LARGEST_CLUSTER_SECTORS = 1 << 19
_IN_USE = 0x746F6E59
_IS_EMPTY = 1


@dataclass(frozen=True, slots=True)
class Header:
    """The header.

    :ivar unit_bytes: what the table counts in.
    :ivar data_offset: bytes in front of the first cluster.
    """

    cluster_bytes: int
    unit_bytes: int
    clusters: int
    size: int
    data_offset: int
    is_in_use: bool
    is_empty: bool


class ParallelsReader:
    """The reader "parallels"; see :class:`~formats.core.reader.Reader`."""

    name = NAME
    category = Category.DISK
    signatures = (Signature(0, _MAGIC), Signature(0, _MAGIC_EXTENDED))
    supersedes: frozenset[str] = frozenset()
    doc = ReaderDoc(
        title="Parallels disk, one expandable image",
        extensions=(".hdd", ".hds"),
        specification="https://www.qemu.org/docs/master/interop/parallels.html",
        reads="both kinds of expandable images, of any cluster size",
        refuses="disks of several images",
    )

    def probe(self, source: ByteSource) -> bool:
        """See :class:`~formats.core.reader.Reader`."""
        return source.size >= len(_MAGIC)

    def open(self, source: ByteSource, context: OpenContext) -> Volumes:
        """Read the header.

        :raises UnsupportedError: for versions that are not known.
        :raises CorruptError: if the header cannot be true.
        :raises LimitError: if the disk is larger than allowed.
        """
        header = _read_header(source)
        check_disk_size(header.size, context.limits, source.origin, _SIZE_PLACE)
        if header.is_in_use:
            context.note(
                Finding(
                    "parallels-unclean",
                    str(source.origin).encode("utf-8", "surrogateescape"),
                    Action.REPORTED,
                    "was not closed by its machine: its last changes may be missing",
                )
            )
        disk = block_source(source, ParallelsBlocks(source, header), header.size)
        facts = {
            "virtual size": f"{header.size:,} bytes",
            "cluster size": f"{header.cluster_bytes:,} bytes",
        }
        return Volumes((Volume(disk, NAME),), facts)


def _read_header(source: ByteSource) -> Header:
    (
        magic,
        version,
        _heads,
        _cylinders,
        cluster_sectors,
        clusters,
        sectors,
        in_use,
        data_sector,
        flags,
        _extension,
    ) = _HEADER.unpack(read_exact(source, 0, _HEADER.size, "the Parallels header"))
    if version != _VERSION:
        raise UnsupportedError(
            f"is a Parallels disk of version {version}, which is not known",
            origin=source.origin,
            offset=16,
        )
    if not 0 < cluster_sectors <= _LARGEST_CLUSTER_SECTORS:
        raise CorruptError(
            f"has clusters of {cluster_sectors:,} sectors", origin=source.origin, offset=28
        )
    cluster_bytes = cluster_sectors * _SECTOR_BYTES
    is_extended = magic == _MAGIC_EXTENDED
    if not is_extended:
        sectors &= 0xFFFFFFFF  # "Only the lowest 4 bytes are used"
    table_end = _HEADER.size + clusters * 4
    header = Header(
        cluster_bytes=cluster_bytes,
        unit_bytes=cluster_bytes if is_extended else _SECTOR_BYTES,
        clusters=clusters,
        size=sectors * _SECTOR_BYTES,
        data_offset=data_sector * _SECTOR_BYTES or table_end,
        is_in_use=in_use == _IN_USE,
        is_empty=bool(flags & _IS_EMPTY),
    )
    if header.clusters * cluster_bytes < header.size:
        raise CorruptError(
            f"has {clusters:,} clusters of {cluster_bytes:,} bytes for a disk of {header.size:,}",
            origin=source.origin,
            offset=32,
        )
    return header


class ParallelsBlocks:
    """The table of clusters; see :class:`~formats.disks.blocks.Blocks`."""

    sector_bytes = _SECTOR_BYTES

    def __init__(self, file: ByteSource, header: Header) -> None:
        self.block_bytes = header.cluster_bytes
        self._file = file
        self._header = header
        self._table = BlockTable(
            file,
            _HEADER.size,
            header.clusters,
            code="I",
            byteorder="little",
            what="the block allocation table",
        )

    def locate(self, index: int, most: int) -> Block:
        """See :meth:`~formats.disks.blocks.Blocks.locate`."""
        if self._header.is_empty:
            return Block(ABSENT, most)
        entry, alike = self._table.repeated(index, most)
        if entry == 0:
            return Block(ABSENT, alike)
        offset = entry * self._header.unit_bytes
        if offset < self._header.data_offset:
            raise CorruptError(
                f"has a cluster at {offset:,}, in front of its data",
                origin=self._file.origin,
                offset=self._table.offset_of(index),
            )
        return Block(offset)


READER = ParallelsReader()
