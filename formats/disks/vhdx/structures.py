"""The header section of a VHDX: headers and region tables.

Specification: [MS-VHDX], 2.2 "Header Section".
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import google_crc32c

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.source import BytesLike, ByteSource, read_exact

MAGIC = b"vhdxfile"
MIB = 1 << 20
SECTOR_BYTES = 4096
"""Unit of headers and of the log, whatever the disk's own sectors are."""

BAT_REGION = uuid.UUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
METADATA_REGION = uuid.UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")
_KNOWN_REGIONS = frozenset({BAT_REGION, METADATA_REGION})

CHECKSUM = slice(4, 8)
"""Where the checksum is in headers, region tables and log entries."""

_HEADER_OFFSETS = (64 << 10, 128 << 10)
_HEADER = struct.Struct("<4sIQ16s16s16sHHIQ")
_TABLE_OFFSETS = (192 << 10, 256 << 10)
_TABLE_BYTES = 64 << 10
_TABLE = struct.Struct("<4sII4x")
_REGION = struct.Struct("<16sQII")
_MOST_REGIONS = 2047
_VERSION = 1
_CREATOR_BYTES = 512

_HINT = "the file may be damaged: compare it with the original"


@dataclass(frozen=True, slots=True)
class Header:
    """The current header.

    :ivar data_write_uuid: changes with the disk's content; a child knows its parent by it.
    :ivar log_uuid: of the entries that are valid; nil if there is nothing to replay.
    """

    sequence: int
    data_write_uuid: uuid.UUID
    log_uuid: uuid.UUID
    log_version: int
    version: int
    log_length: int
    log_offset: int


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the file."""

    offset: int
    length: int


def crc32c(data: BytesLike, start: int = 0) -> int:
    """Return the CRC-32C of ``data``, continued from ``start``."""
    crc: int = google_crc32c.extend(start, bytes(data))
    return crc


def has_checksum(structure: bytes) -> bool:
    """Tell whether the checksum of a header or region table is right."""
    stored = int.from_bytes(structure[CHECKSUM], "little")
    return crc32c(structure[: CHECKSUM.start] + bytes(4) + structure[CHECKSUM.stop :]) == stored


def creator(file: ByteSource) -> str:
    """Return the name of the program that made the file; it says no more than that."""
    name = bytes(file.read_at(len(MAGIC), _CREATOR_BYTES))
    return name.decode("utf-16-le", "replace").partition("\0")[0]


def read_header(file: ByteSource) -> Header:
    """Return the current one of the two headers: the valid one with the higher sequence number.

    :raises CorruptError: if none is valid, or two of one number differ.
    :raises UnsupportedError: for versions that are not known.
    """
    found = [header for offset in _HEADER_OFFSETS if (header := _read_header(file, offset))]
    if not found:
        raise CorruptError(
            "has no header that is valid", origin=file.origin, offset=_HEADER_OFFSETS[0], hint=_HINT
        )
    header = max(found, key=lambda item: item.sequence)
    if any(item.sequence == header.sequence and item != header for item in found):
        raise CorruptError(
            "has two headers that both claim to be current",
            origin=file.origin,
            offset=_HEADER_OFFSETS[0],
            hint=_HINT,
        )
    if header.version != _VERSION:
        raise UnsupportedError(
            f"is VHDX version {header.version}, which is not known", origin=file.origin
        )
    return header


def _read_header(file: ByteSource, offset: int) -> Header | None:
    """Return the header at ``offset``, None if it is not valid."""
    data = bytes(file.read_at(offset, SECTOR_BYTES))
    if len(data) < SECTOR_BYTES or not data.startswith(b"head") or not has_checksum(data):
        return None
    (
        _,
        _checksum,
        sequence,
        _file_write,
        data_write,
        log,
        log_version,
        version,
        log_length,
        log_offset,
    ) = _HEADER.unpack_from(data)
    return Header(
        sequence=sequence,
        data_write_uuid=uuid.UUID(bytes_le=data_write),
        log_uuid=uuid.UUID(bytes_le=log),
        log_version=log_version,
        version=version,
        log_length=log_length,
        log_offset=log_offset,
    )


def read_regions(file: ByteSource) -> Mapping[uuid.UUID, Region]:
    """Return where the known regions are, by the first of the two tables that is valid.

    :param file: with its log replayed.
    :raises CorruptError: if no table is valid, or what it says cannot be true.
    :raises UnsupportedError: for a required region that is not known.
    """
    for offset in _TABLE_OFFSETS:
        data = bytes(file.read_at(offset, _TABLE_BYTES))
        if len(data) == _TABLE_BYTES and data.startswith(b"regi") and has_checksum(data):
            return _regions(file, data, offset)
    raise CorruptError(
        "has no region table that is valid",
        origin=file.origin,
        offset=_TABLE_OFFSETS[0],
        hint=_HINT,
    )


def _regions(file: ByteSource, table: bytes, offset: int) -> Mapping[uuid.UUID, Region]:
    _, _, count = _TABLE.unpack_from(table)
    if count > _MOST_REGIONS:
        raise CorruptError(f"has {count:,} regions", origin=file.origin, offset=offset + 8)
    regions: dict[uuid.UUID, Region] = {}
    for index in range(count):
        place = _TABLE.size + index * _REGION.size
        identity, start, length, is_required = _REGION.unpack_from(table, place)
        name = uuid.UUID(bytes_le=identity)
        if name not in _KNOWN_REGIONS:
            if is_required & 1:
                raise UnsupportedError(
                    f"has a region {name} that must be understood and is not known",
                    origin=file.origin,
                    offset=offset + place,
                )
            continue
        if start % MIB or start < MIB or length % MIB or name in regions:
            raise CorruptError(
                f"has its region {name} twice, or at {start:,} with {length:,} bytes",
                origin=file.origin,
                offset=offset + place,
            )
        read_exact(file, start, 0, "a region")
        regions[name] = Region(start, length)
    missing = _KNOWN_REGIONS - regions.keys()
    if missing:
        raise CorruptError(
            f"has no region {min(missing)}", origin=file.origin, offset=offset, hint=_HINT
        )
    return regions
