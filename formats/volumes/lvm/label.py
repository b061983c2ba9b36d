"""A physical volume's label and its metadata areas.

Layout, as ``pvck --dump headers`` prints it: one of the first four sectors holds the label header,
and behind it the PV header: UUID, size, then lists of (offset, size) that a pair of zeros ends:
data areas, metadata areas. A metadata area is a header sector, with up to four slots that say where
the current text is, and a ring of text behind it.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from formats.core.errors import CorruptError, LimitError
from formats.core.source import ByteSource, read_exact

LABEL_MAGIC = b"LABELONE"
SECTOR_BYTES = 512
LABEL_SECTORS = 4
_LABEL_TYPE = b"LVM2 001"
_LABEL = struct.Struct("<8sQII8s")  # magic, own sector, CRC, offset of the PV header, type
_LABEL_CRC_START = 20
_PV_HEADER = struct.Struct("<32sQ")  # UUID, device size
_LOCATION = struct.Struct("<QQ")  # offset, size
_AREA_MAGIC = b" LVM2 x[5A%r0N*>"
_AREA_HEADER = struct.Struct("<I16sIQQ")  # CRC, magic, version, own offset, size
_AREA_CRC_START = 4
_AREA_VERSION = 1
_SLOT = struct.Struct("<QQII")  # offset in the area, size, CRC, flags
_SLOT_IGNORED = 1
_CRC_SEED = 0xF597A6CF


@dataclass(frozen=True, slots=True)
class PvLabel:
    """Identity of a physical volume.

    :ivar uuid: with its dashes, as LVM writes it; upper and lower case differ.
    :ivar areas: offset and size of each metadata area, in bytes.
    """

    uuid: str
    device_bytes: int
    areas: tuple[tuple[int, int], ...]


def lvm_crc(data: bytes) -> int:
    """Return LVM's checksum: CRC-32 with its own seed, and not inverted at either end."""
    return zlib.crc32(data, _CRC_SEED ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def dashed_uuid(raw: str) -> str:
    """Return the 32 characters of an LVM UUID in the groups that LVM prints."""
    starts = (0, 6, 10, 14, 18, 22, 26)
    ends = (*starts[1:], 32)
    return "-".join(raw[start:end] for start, end in zip(starts, ends, strict=True))


def label_sector(source: ByteSource) -> int | None:
    """Return which of the first four sectors holds an LVM2 label; None if none does."""
    for sector in range(LABEL_SECTORS):
        head = bytes(source.read_at(sector * SECTOR_BYTES, _LABEL.size))
        if len(head) < _LABEL.size:
            return None
        magic, own_sector, _, _, kind = _LABEL.unpack(head)
        if magic == LABEL_MAGIC and kind == _LABEL_TYPE and own_sector == sector:
            return sector
    return None


def read_label(source: ByteSource) -> PvLabel:
    """Read and verify the label.

    :raises CorruptError: if it is damaged, or points out of its sector.
    """
    sector = label_sector(source)
    if sector is None:
        raise CorruptError("has no LVM2 label", origin=source.origin, offset=0)
    start = sector * SECTOR_BYTES
    data = bytes(read_exact(source, start, SECTOR_BYTES, "the LVM2 label"))
    _, _, crc, pv_offset, _ = _LABEL.unpack_from(data)
    if lvm_crc(data[_LABEL_CRC_START:]) != crc:
        raise CorruptError(
            "the LVM2 label has a wrong checksum",
            origin=source.origin,
            offset=start,
            hint="repair it on a copy: 'pvck --repairtype label_header'",
        )
    if not _LABEL.size <= pv_offset <= SECTOR_BYTES - _PV_HEADER.size:
        raise CorruptError(
            "the LVM2 label points out of its sector", origin=source.origin, offset=start
        )
    raw_uuid, device_bytes = _PV_HEADER.unpack_from(data, pv_offset)
    position, _ = _locations(data, pv_offset + _PV_HEADER.size)
    _, areas = _locations(data, position)
    return PvLabel(dashed_uuid(raw_uuid.decode("ascii", "replace")), device_bytes, tuple(areas))


def _locations(data: bytes, position: int) -> tuple[int, list[tuple[int, int]]]:
    """Return a list of locations, and where the next one starts; the sector's end ends it too."""
    found: list[tuple[int, int]] = []
    while position + _LOCATION.size <= len(data):
        offset, size = _LOCATION.unpack_from(data, position)
        position += _LOCATION.size
        if not offset:
            break
        found.append((offset, size))
    return position, found


def metadata_text(source: ByteSource, offset: int, size: int, limit: int) -> str | None:
    """Return the current text of one metadata area; None if the area is unused or ignored.

    :param limit: largest text to take, in bytes.
    :raises CorruptError: if the area's header or the text is damaged.
    :raises LimitError: if the text is larger than ``limit``.
    """
    header = bytes(read_exact(source, offset, SECTOR_BYTES, "the header of an LVM metadata area"))
    crc, magic, version, own_offset, own_size = _AREA_HEADER.unpack_from(header)
    if magic != _AREA_MAGIC or lvm_crc(header[_AREA_CRC_START:]) != crc:
        raise CorruptError(
            "the header of an LVM metadata area is damaged", origin=source.origin, offset=offset
        )
    if version != _AREA_VERSION or own_offset != offset or own_size != size:
        raise CorruptError(
            "the header of an LVM metadata area contradicts the label",
            origin=source.origin,
            offset=offset,
        )
    # The first slot is what was committed; a second one is a write that never was.
    text_offset, text_size, text_crc, flags = _SLOT.unpack_from(header, _AREA_HEADER.size)
    if not text_offset or flags & _SLOT_IGNORED:
        return None
    if text_size > limit:
        raise LimitError(
            f"has LVM metadata of {text_size:,} bytes, more than the {limit:,} allowed",
            origin=source.origin,
            offset=offset,
        )
    ring = size - SECTOR_BYTES
    if not SECTOR_BYTES <= text_offset < size or not 0 < text_size <= ring:
        raise CorruptError(
            f"LVM metadata of {text_size:,} bytes lies outside of its area",
            origin=source.origin,
            offset=offset,
        )
    before_wrap = min(text_size, size - text_offset)
    parts = [
        read_exact(source, offset + text_offset, before_wrap, "the LVM metadata"),
        read_exact(source, offset + SECTOR_BYTES, text_size - before_wrap, "the LVM metadata"),
    ]
    text = b"".join(parts)
    if lvm_crc(text) != text_crc:
        raise CorruptError(
            "the LVM metadata has a wrong checksum",
            origin=source.origin,
            offset=offset + text_offset,
        )
    return text.rstrip(b"\0").decode("utf-8", "replace")
