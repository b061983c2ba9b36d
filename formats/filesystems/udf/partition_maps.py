"""The partition maps of a logical volume (UDF 2.60, 2.2.8 to 2.2.13)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from pycdlib import udf

from formats.core.errors import ConvertError, CorruptError, UnsupportedError, quoted
from formats.core.source import ByteSource, read_exact
from formats.filesystems.runs import read_runs
from formats.filesystems.udf.allocation import INLINE, Mapper
from formats.filesystems.udf.entries import FileEntry, parse_entry
from formats.filesystems.udf.partitions import (
    MetadataPartition,
    Partition,
    PlainPartition,
    SparablePartition,
    VirtualPartition,
)
from formats.filesystems.udf.structures import Place, read_tag

_IDENTIFIER = slice(3, 26)
_NUMBER = struct.Struct("<34xHH")
"""Of a map of type 2, behind its type and length: volume number, partition number."""
_SPARABLE = struct.Struct("<38xHBxI4I")
_METADATA = struct.Struct("<38xII")

_SPARING_TABLE = struct.Struct("<16x32sHxxI")
_SPARING_ENTRY = struct.Struct("<II")
_UNUSED = 0xFFFF_FFF0
_PACKET_BLOCKS = 32

_TABLE_1_50 = b"*UDF Virtual Alloc Tbl"
_TABLE_1_50_TAIL = 36
_TABLE_1_50_IDENTIFIER = slice(-35, -13)
_SEARCHED_BYTES = 4 << 20
_MOST_TABLE_BYTES = 64 << 20
_ENTRY = struct.Struct("<I")


def map_partitions(
    mapper: Mapper, logical: udf.UDFLogicalVolumeDescriptor, plain: Mapping[int, PlainPartition]
) -> list[str]:
    """Give a mapper the partitions of a logical volume; return what kinds they are.

    :raises UnsupportedError: for a map that is not known, by name.
    :raises CorruptError: if a map is damaged.
    """
    kinds = []
    for item in logical.partition_maps:
        if isinstance(item, udf.UDFType1PartitionMap):
            mapper.partitions.append(_below(plain, item.part_num, mapper.source))
            kinds.append("plain")
            continue
        data = item.part_ident if isinstance(item, udf.UDFType2PartitionMap) else b""
        name = data[_IDENTIFIER].rstrip(b"\0")
        if name not in _MAPS:
            raise UnsupportedError(
                f"has a partition map {quoted(name)}, which is not known",
                origin=mapper.source.origin,
            )
        _, number = _NUMBER.unpack_from(data)
        kind, read = _MAPS[name]
        mapper.partitions.append(read(mapper, data, _below(plain, number, mapper.source)))
        kinds.append(kind)
    return kinds


def _below(plain: Mapping[int, PlainPartition], number: int, source: ByteSource) -> PlainPartition:
    if number not in plain:
        raise CorruptError(f"has no partition {number}", origin=source.origin)
    return plain[number]


def _sparable(mapper: Mapper, data: bytes, below: PlainPartition) -> SparablePartition:
    """Read the first sparing table that is sound; its copies say the same."""
    packet_blocks, count, _, *places = _SPARABLE.unpack_from(data)
    problem: ConvertError | None = None
    for place in places[:count]:
        try:
            spared = _sparing_table(mapper, place)
        except CorruptError as error:
            problem = error
            continue
        return SparablePartition(spared, packet_blocks or _PACKET_BLOCKS, below)
    raise problem or CorruptError("has no sparing table", origin=mapper.source.origin)


def _sparing_table(mapper: Mapper, block: int) -> dict[int, int]:
    what = "a sparing table"
    offset = block * mapper.block_bytes
    data = bytes(read_exact(mapper.source, offset, mapper.block_bytes, what))
    read_tag(data, mapper.source, offset, what)
    _, count, _ = _SPARING_TABLE.unpack_from(data)
    length = _SPARING_TABLE.size + count * _SPARING_ENTRY.size
    data = bytes(read_exact(mapper.source, offset, length, what))
    entries = _SPARING_ENTRY.iter_unpack(data[_SPARING_TABLE.size :])
    return {first: spare for first, spare in entries if first < _UNUSED}


def _metadata(mapper: Mapper, data: bytes, below: PlainPartition) -> MetadataPartition:
    """Read the entry of the metadata file, or else of its mirror."""
    problem: ConvertError | None = None
    below_number = len(mapper.partitions)
    mapper.partitions.append(below)  # while it is read: its descriptors count blocks of that
    try:
        for block in _METADATA.unpack_from(data):
            try:
                entry = _entry(mapper, Place(below_number, block))
                runs = mapper.runs(entry.allocation, entry.size)
            except CorruptError as error:
                problem = error
                continue
            size = mapper.block_bytes
            extents = [(run.first // size, -(-run.blocks // size), run.start) for run in runs]
            return MetadataPartition(extents, size, mapper.source.origin)
    finally:
        mapper.partitions.pop()
    raise problem or CorruptError("has no metadata file", origin=mapper.source.origin)


def _entry(mapper: Mapper, place: Place) -> FileEntry:
    block, offset = mapper.block(place)
    return parse_entry(block, place, mapper.source, offset)


def map_virtual(mapper: Mapper, data: bytes, below: PlainPartition) -> VirtualPartition:
    """Look for the table of a virtual partition: its file entry is the last block written.

    :raises CorruptError: if there is none.
    """
    del data
    size = mapper.block_bytes
    number = len(mapper.partitions)
    mapper.partitions.append(below)
    left = _MOST_TABLE_BYTES
    try:
        last = mapper.source.size // size - 1 - below.start
        for block in range(last, max(last - _SEARCHED_BYTES // size, -1), -1):
            offset = (below.start + block) * size
            # a cheap look before its sum is computed: the tag of a file entry
            if bytes(mapper.source.read_at(offset, 2)) not in {b"\x05\x01", b"\x0a\x01"}:
                continue
            try:
                entry = _entry(mapper, Place(number, block))
                if entry.size > left:
                    continue
                left -= entry.size  # a disc may be full of files that could be it
                table = _table(mapper, entry)
            except ConvertError:
                continue
            if table is not None:
                return VirtualPartition(table, below)
    finally:
        mapper.partitions.pop()
    raise CorruptError(
        "has no table of its virtual partition: the last session was not closed, or is cut off",
        origin=mapper.source.origin,
    )


def _table(mapper: Mapper, entry: FileEntry) -> list[int] | None:
    """Return the blocks that a virtual allocation table lists; None if it is another file."""
    if entry.allocation.form == INLINE:
        content = entry.allocation.data[: entry.size]
    else:
        runs = mapper.runs(entry.allocation, entry.size)
        content = b"".join(read_runs(mapper.source, runs, 1, entry.size))
    if content[_TABLE_1_50_IDENTIFIER] == _TABLE_1_50:
        content = content[:-_TABLE_1_50_TAIL]
    elif entry.is_table:
        content = content[int.from_bytes(content[:2], "little") :]
    else:
        return None
    usable = len(content) - len(content) % _ENTRY.size
    return [block for (block,) in _ENTRY.iter_unpack(content[:usable])]


_MAPS: Mapping[bytes, tuple[str, Callable[[Mapper, bytes, PlainPartition], Partition]]] = {
    b"*UDF Virtual Partition": ("virtual", map_virtual),
    b"*UDF Sparable Partition": ("sparable", _sparable),
    b"*UDF Metadata Partition": ("metadata", _metadata),
}
