"""From the anchor to the root folder (ECMA-167 3/8.4 and 3/10; UDF 2.60, 2.2).

An anchor, at a fixed block, leads to a sequence of descriptors, and to a copy of it. The logical
volume says how its partitions map to those of the image, and where its file set is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pycdlib import udf

from formats.core.errors import ConvertError, CorruptError
from formats.core.source import ByteSource, read_exact
from formats.filesystems.udf import structures
from formats.filesystems.udf.allocation import Mapper
from formats.filesystems.udf.names import dstring
from formats.filesystems.udf.partition_maps import map_partitions
from formats.filesystems.udf.partitions import PlainPartition
from formats.filesystems.udf.structures import Place, decoding, icb_place, read_tag

_ANCHOR_BLOCK = 256
_BLOCK_SIZES = (2048, 512, 4096, 1024, 8192, 16384, 32768)
_MOST_DESCRIPTORS = 256
_MOST_POINTERS = 8
_LABEL_BYTES = 128


@dataclass(frozen=True, slots=True)
class UdfVolume:
    """A logical volume.

    :ivar root: where the file entry of the root folder is.
    :ivar label: of the logical volume, in UTF-8.
    :ivar set_id: of the volume set; its first 16 characters are unique.
    """

    mapper: Mapper
    root: Place
    label: bytes
    set_id: bytes
    is_open: bool
    kinds: tuple[str, ...]


@dataclass(slots=True)
class _Sequence:
    """The prevailing descriptors of a volume descriptor sequence."""

    primary: udf.UDFPrimaryVolumeDescriptor | None = None
    logical: udf.UDFLogicalVolumeDescriptor | None = None
    block_bytes: int = 0


def read_volume(source: ByteSource, first_sector: int = 0) -> UdfVolume:
    """Read what leads to the root folder.

    :param first_sector: of 2,048 bytes, where the session begins that is meant.
    :raises CorruptError: if there is no anchor, or neither sequence of descriptors can be read.
    :raises UnsupportedError: for partition maps that are not known, by name.
    """
    problem: ConvertError | None = None
    for block_bytes, anchor in _anchors(source, first_sector):
        for extent in (anchor.main_vd, anchor.reserve_vd):
            try:
                return _volume(source, block_bytes, extent)
            except ConvertError as error:
                problem = problem or error
    raise problem or CorruptError(
        "has no anchor volume descriptor, which UDF begins with",
        origin=source.origin,
        offset=_ANCHOR_BLOCK * _BLOCK_SIZES[0],
        hint="the file may be truncated: compare its size with the original",
    )


def _anchors(
    source: ByteSource, first_sector: int
) -> Iterator[tuple[int, udf.UDFAnchorVolumeStructure]]:
    """Yield block sizes and anchors that are where they say that they are."""
    for block_bytes in _BLOCK_SIZES:
        first = first_sector * _BLOCK_SIZES[0] // block_bytes
        count = source.size // block_bytes
        for block in (first + _ANCHOR_BLOCK, count - 1, count - 1 - _ANCHOR_BLOCK):
            data = bytes(source.read_at(block * block_bytes, 512)) if block > 0 else b""
            if len(data) < 512 or structures.stated_location(data) != block:
                continue
            anchor = udf.UDFAnchorVolumeStructure()
            offset = block * block_bytes
            try:
                tag = read_tag(data, source, offset, "an anchor")
                with decoding(source, offset, "an anchor"):
                    anchor.parse(data, block, tag)
            except CorruptError:
                continue
            if tag.tag_ident == structures.ANCHOR:
                yield block_bytes, anchor


def _volume(source: ByteSource, block_bytes: int, extent: udf.UDFExtentAD) -> UdfVolume:
    found = _Sequence()
    plain: dict[int, PlainPartition] = {}
    latest: dict[tuple[int, int], int] = {}
    for offset, data, tag in _descriptors(source, block_bytes, extent):
        number = int.from_bytes(data[16:20], "little")
        if tag.tag_ident == structures.PARTITION:
            partition = udf.UDFPartitionVolumeDescriptor()
            with decoding(source, offset, "a partition descriptor"):
                partition.parse(data, 0, tag)
            if number >= latest.get((tag.tag_ident, partition.part_num), 0):
                latest[tag.tag_ident, partition.part_num] = number
                plain[partition.part_num] = PlainPartition(
                    partition.part_start_location,
                    partition.part_length,
                    block_bytes,
                    source.origin,
                )
            continue
        if number < latest.get((tag.tag_ident, 0), 0):
            continue
        latest[tag.tag_ident, 0] = number
        if tag.tag_ident == structures.PRIMARY:
            found.primary = udf.UDFPrimaryVolumeDescriptor()
            with decoding(source, offset, "the primary volume descriptor"):
                found.primary.parse(data, 0, tag)
        elif tag.tag_ident == structures.LOGICAL_VOLUME:
            found.logical, found.block_bytes = structures.logical_volume(data, tag, source, offset)
    if found.logical is None or found.block_bytes != block_bytes:
        raise CorruptError(
            f"its logical volume has blocks of {found.block_bytes:,} bytes, and its anchor is at"
            f" that of {block_bytes:,}",
            origin=source.origin,
        )
    return _mapped(source, found, found.logical, plain)


def _mapped(
    source: ByteSource,
    found: _Sequence,
    logical: udf.UDFLogicalVolumeDescriptor,
    plain: dict[int, PlainPartition],
) -> UdfVolume:
    """Return the volume, once its partitions are known."""
    mapper = Mapper(source, found.block_bytes)
    kinds = map_partitions(mapper, logical, plain)
    block, offset = mapper.block(icb_place(logical.logical_volume_contents_use))
    tag = read_tag(block, source, offset, "the file set descriptor")
    file_set = udf.UDFFileSetDescriptor()
    with decoding(source, offset, "the file set descriptor"):
        file_set.parse(block, 0, tag)
    identifier = found.primary.vol_set_ident if found.primary is not None else b""
    return UdfVolume(
        mapper,
        icb_place(file_set.root_dir_icb),
        dstring(logical.logical_vol_ident),
        dstring(identifier),
        # on media that are written once, the table of the virtual partition closes a session
        "virtual" not in kinds and _is_open(source, found.block_bytes, logical),
        tuple(kinds),
    )


def _is_open(source: ByteSource, block_bytes: int, logical: udf.UDFLogicalVolumeDescriptor) -> bool:
    """Tell whether the last integrity descriptor says that the volume was being written to."""
    extent = logical.integrity_sequence
    is_open = False
    count = min(extent.extent_length // block_bytes, _MOST_DESCRIPTORS)
    for number in range(count):
        offset = (extent.extent_location + number) * block_bytes
        data = bytes(source.read_at(offset, block_bytes))
        try:
            tag = read_tag(data, source, offset, "an integrity descriptor")
        except CorruptError:
            break
        if tag.tag_ident != structures.INTEGRITY:
            break
        is_open = int.from_bytes(data[28:32], "little") == 0
    return is_open


def _descriptors(
    source: ByteSource, block_bytes: int, extent: udf.UDFExtentAD
) -> Iterator[tuple[int, bytes, udf.UDFTag]]:
    """Yield place, content and tag of each descriptor of a sequence, through its pointers."""
    pending = [(extent.extent_location, extent.extent_length)]
    for _ in range(_MOST_POINTERS):
        if not pending:
            return
        block, length = pending.pop()
        for number in range(min(length // block_bytes, _MOST_DESCRIPTORS)):
            offset = (block + number) * block_bytes
            data = bytes(read_exact(source, offset, block_bytes, "a volume descriptor"))
            if not any(data[: structures.TAG_BYTES]):
                break
            tag = read_tag(data, source, offset, "a volume descriptor")
            if tag.tag_ident == structures.TERMINATOR:
                break
            if tag.tag_ident == structures.POINTER:
                following = int.from_bytes(data[24:28], "little")
                pending.append((following, int.from_bytes(data[20:24], "little")))
                break
            yield offset, data, tag
