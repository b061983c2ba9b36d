"""The metadata of a VHDX: what kind of disk it is, how large, and what it stands on.

Specification: [MS-VHDX], 2.6 "Metadata Region".
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.source import ByteSource, read_exact
from formats.disks.vhdx.structures import MIB, Region

_FILE_PARAMETERS = uuid.UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
_DISK_SIZE = uuid.UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
_DISK_ID = uuid.UUID("beca12ab-b2e6-4523-93ef-c309e000c746")
_LOGICAL_SECTOR = uuid.UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f")
_PHYSICAL_SECTOR = uuid.UUID("cda348c7-445d-4471-9cc9-e9885251c556")
_PARENT_LOCATOR = uuid.UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c")
_VHDX_LOCATOR = uuid.UUID("b04aefb7-d19e-4a81-b789-25b8e9445913")

_ITEM_BYTES: dict[uuid.UUID, int | None] = {
    _FILE_PARAMETERS: 8,
    _DISK_SIZE: 8,
    _DISK_ID: 16,
    _LOGICAL_SECTOR: 4,
    _PHYSICAL_SECTOR: 4,
    _PARENT_LOCATOR: None,
}
"""The items that are known, and their sizes; None for any."""

_TABLE = struct.Struct("<8s2xH20x")
_ENTRY = struct.Struct("<16sIII4x")
_TABLE_BYTES = 64 << 10
_MOST_ENTRIES = 2047
_MOST_ITEM_BYTES = MIB
_IS_USER = 1
_IS_REQUIRED = 4

_HAS_PARENT = 2
_LEAVE_BLOCKS = 1
_SECTOR_SIZES = frozenset({512, 4096})
_LARGEST_BLOCK = 256 * MIB

_LOCATOR = struct.Struct("<16s2xH")
_PAIR = struct.Struct("<IIHH")
_MOST_PAIRS = 64
PATH_KEYS = ("relative_path", "volume_path", "absolute_win32_path")
"""Where the parent may be, in the order in which the specification wants them tried."""
LINKAGE_KEYS = ("parent_linkage", "parent_linkage2")


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the metadata says, checked.

    :ivar size_place: where the size of the disk is in the file.
    :ivar parent: the parent locator, None where there is no parent.
    """

    size: int
    size_place: int
    block_bytes: int
    sector_bytes: int
    physical_sector_bytes: int
    disk_id: uuid.UUID
    is_fixed: bool
    parent: Mapping[str, str] | None


def read_metadata(file: ByteSource, region: Region) -> Metadata:
    """Read the items that are known.

    :raises CorruptError: if one is missing or cannot be true.
    :raises UnsupportedError: for required items and kinds of parents that are not known.
    """
    places = _find_items(file, region)
    block_bytes, flags = struct.unpack("<II", _item(file, places, _FILE_PARAMETERS))
    (size,) = struct.unpack("<Q", _item(file, places, _DISK_SIZE))
    (sector_bytes,) = struct.unpack("<I", _item(file, places, _LOGICAL_SECTOR))
    (physical,) = struct.unpack("<I", _item(file, places, _PHYSICAL_SECTOR))
    if block_bytes & (block_bytes - 1) or not MIB <= block_bytes <= _LARGEST_BLOCK:
        raise CorruptError(
            f"has blocks of {block_bytes:,} bytes",
            origin=file.origin,
            offset=places[_FILE_PARAMETERS][0],
        )
    if sector_bytes not in _SECTOR_SIZES or size % sector_bytes:
        raise CorruptError(
            f"has a disk of {size:,} bytes in sectors of {sector_bytes:,}",
            origin=file.origin,
            offset=places[_DISK_SIZE][0],
        )
    has_parent = bool(flags & _HAS_PARENT)
    return Metadata(
        size=size,
        size_place=places[_DISK_SIZE][0],
        block_bytes=block_bytes,
        sector_bytes=sector_bytes,
        physical_sector_bytes=physical,
        disk_id=uuid.UUID(bytes_le=_item(file, places, _DISK_ID)),
        is_fixed=bool(flags & _LEAVE_BLOCKS) and not has_parent,
        parent=_parent_locator(file, places) if has_parent else None,
    )


def _find_items(file: ByteSource, region: Region) -> dict[uuid.UUID, tuple[int, int]]:
    """Return place in the file and length of each item that is known ("Metadata Table")."""
    length = min(_TABLE_BYTES, region.length)
    table = bytes(read_exact(file, region.offset, length, "the metadata table"))
    signature, count = (b"", 0) if length < _TABLE.size else _TABLE.unpack_from(table)
    if signature != b"metadata" or count > _MOST_ENTRIES:
        raise CorruptError(
            "has no metadata table where its regions say", origin=file.origin, offset=region.offset
        )
    places: dict[uuid.UUID, tuple[int, int]] = {}
    for index in range(count):
        place = _TABLE.size + index * _ENTRY.size
        identity, offset, size, flags = _ENTRY.unpack_from(table, place)
        name = uuid.UUID(bytes_le=identity)
        if name not in _ITEM_BYTES or flags & _IS_USER:
            if flags & _IS_REQUIRED:
                raise UnsupportedError(
                    f"has metadata {name} that must be understood and is not known",
                    origin=file.origin,
                    offset=region.offset + place,
                )
            continue
        is_inside = _TABLE_BYTES <= offset <= region.length - size
        if size > _MOST_ITEM_BYTES or not is_inside or name in places:
            raise CorruptError(
                f"has its metadata {name} twice, or at {offset:,} with {size:,} bytes",
                origin=file.origin,
                offset=region.offset + place,
            )
        places[name] = region.offset + offset, size
    return places


def _item(file: ByteSource, places: Mapping[uuid.UUID, tuple[int, int]], name: uuid.UUID) -> bytes:
    """Return an item's bytes.

    :raises CorruptError: if it is missing, or shorter than it must be.
    """
    place, size = places.get(name, (None, 0))
    wanted = _ITEM_BYTES[name]
    if place is None or (wanted is not None and size < wanted):
        raise CorruptError(f"has no metadata {name}, or too little", origin=file.origin)
    return bytes(read_exact(file, place, size if wanted is None else wanted, "metadata"))


def _parent_locator(
    file: ByteSource, places: Mapping[uuid.UUID, tuple[int, int]]
) -> Mapping[str, str]:
    """Return keys and values of the parent locator (2.6.2.6)."""
    item = _item(file, places, _PARENT_LOCATOR)
    origin, place = file.origin, places[_PARENT_LOCATOR][0]
    if len(item) < _LOCATOR.size:
        raise CorruptError("has a parent locator that is cut short", origin=origin, offset=place)
    kind, count = _LOCATOR.unpack_from(item)
    if uuid.UUID(bytes_le=kind) != _VHDX_LOCATOR:
        raise UnsupportedError(
            f"stands on a parent of the kind {uuid.UUID(bytes_le=kind)}, which is no VHDX",
            origin=origin,
            offset=place,
        )
    if count > _MOST_PAIRS or _LOCATOR.size + count * _PAIR.size > len(item):
        raise CorruptError(
            f"has a parent locator of {count:,} entries", origin=origin, offset=place
        )
    found: dict[str, str] = {}
    for index in range(count):
        key, value, key_bytes, value_bytes = _PAIR.unpack_from(
            item, _LOCATOR.size + index * _PAIR.size
        )
        if key + key_bytes > len(item) or value + value_bytes > len(item):
            raise CorruptError(
                "has a parent locator with an entry outside of it", origin=origin, offset=place
            )
        found[_text(item[key : key + key_bytes])] = _text(item[value : value + value_bytes])
    return found


def _text(data: bytes) -> str:
    return data.decode("utf-16-le", "replace").rstrip("\0")
