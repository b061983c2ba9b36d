"""VHDs that qemu-img cannot make, written from Microsoft's specification 1.0."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SECTOR = 512
UNUSED = 0xFFFFFFFF
CHECKSUM_OF_FOOTER = 64
CHECKSUM_OF_HEADER = 36


def with_checksum(structure: bytes, place: int) -> bytes:
    """Return a footer or header with its checksum put right."""
    data = bytearray(structure)
    data[place : place + 4] = bytes(4)
    data[place : place + 4] = struct.pack(">I", ~sum(data) & 0xFFFFFFFF)
    return bytes(data)


def footer(
    *,
    size: int,
    kind: int,
    identity: uuid.UUID,
    creator: bytes = b"win ",
    geometry: tuple[int, int, int] = (0, 0, 0),
    timestamp: int = 1000,
    saved_state: int = 0,
) -> bytes:
    offset = 0xFFFFFFFFFFFFFFFF if kind == 2 else SECTOR
    data = struct.pack(
        ">8sIIQI4sI4sQQHBBII16sB427x",
        b"conectix",
        2,
        0x10000,
        offset,
        timestamp,
        creator,
        0x60001,
        b"Wi2k",
        size,
        size,
        *geometry,
        kind,
        0,
        identity.bytes,
        saved_state,
    )
    return with_checksum(data, CHECKSUM_OF_FOOTER)


@dataclass(frozen=True, slots=True)
class Locator:
    """A parent locator entry: its code, and the bytes that it points to."""

    code: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Parent:
    """What a differencing disk says of its parent."""

    identity: uuid.UUID
    name: str = ""
    locators: tuple[Locator, ...] = ()
    timestamp: int = 0


def write_vhd(
    path: Path,
    size: int,
    sectors: Mapping[int, bytes],
    *,
    identity: uuid.UUID,
    parent: Parent | None = None,
    block_bytes: int = 1 << 21,
    timestamp: int = 1000,
) -> Path:
    """Write a dynamic disk, or a differencing one, that has these sectors and no others."""
    blocks = -(-size // block_bytes)
    per_block = block_bytes // SECTOR
    tail = footer(size=size, kind=4 if parent else 3, identity=identity, timestamp=timestamp)
    table_offset = SECTOR + 1024
    table_bytes = -(-blocks * 4 // SECTOR) * SECTOR
    head, extra = _header(blocks, block_bytes, table_offset, parent, table_offset + table_bytes)
    bitmap_bytes = -(-per_block // 8 // SECTOR) * SECTOR
    position = table_offset + table_bytes + len(extra)
    table = [UNUSED] * blocks
    with path.open("wb") as file:
        for index in sorted({number // per_block for number in sectors}):
            table[index] = position // SECTOR
            bitmap = bytearray(bitmap_bytes)
            for number, data in sectors.items():
                if number // per_block != index:
                    continue
                bit = number % per_block
                bitmap[bit // 8] |= 0x80 >> bit % 8
                file.seek(position + bitmap_bytes + bit * SECTOR)
                file.write(data)
            file.seek(position)
            file.write(bitmap)
            position += bitmap_bytes + block_bytes
        file.seek(0)
        file.write(tail + head)
        file.write(struct.pack(f">{blocks}I", *table).ljust(table_bytes, b"\xff") + extra)
        file.seek(position)
        file.write(tail)
    return path


def _header(
    blocks: int, block_bytes: int, table_offset: int, parent: Parent | None, extra_offset: int
) -> tuple[bytes, bytes]:
    """Return the dynamic header, and the data of the parent locators, whole sectors."""
    fields = struct.pack(
        ">8sQQIIII",
        b"cxsparse",
        0xFFFFFFFFFFFFFFFF,
        table_offset,
        0x10000,
        blocks,
        block_bytes,
        0,
    )
    extra = b""
    if parent is not None:
        name = parent.name.encode("utf-16-be").ljust(512, b"\0")
        fields += struct.pack(">16sI4x512s", parent.identity.bytes, parent.timestamp, name)
        for locator in parent.locators:
            fields += struct.pack(
                ">4sIIIQ",
                locator.code,
                1,
                len(locator.data),
                0,
                extra_offset + len(extra),
            )
            extra += locator.data.ljust(-(-len(locator.data) // SECTOR) * SECTOR, b"\0")
    return with_checksum(fields.ljust(1024, b"\0"), CHECKSUM_OF_HEADER), extra
