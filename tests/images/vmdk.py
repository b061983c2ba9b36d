"""VMware disks that qemu-img can read and cannot make, written from the specification.

Streams with their grain directory at the end, ESXi sparse extents (COWD) and seSparse extents: see
:mod:`formats.disks.vmdk` for the documents. Contents are given as grains: number → bytes.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

SECTOR = 512
NO_PARENT = "ffffffff"
NEWLINES = b"\n \r\n"
GRAIN_SECTORS = 128
TABLE_ENTRIES = 512

Grains = Mapping[int, bytes]


def mixed_content(size: int, seed: int = 5, pieces: int = 40) -> bytes:
    """Return zeros with random, repetitive and unaligned pieces in them, also at the very end."""
    chance = random.Random(seed)
    data = bytearray(size)
    for number in range(pieces):
        length = chance.randrange(1, 90_000)
        start = chance.randrange(0, size - length)
        piece = chance.randbytes(length) if number % 2 else b"line %d of a text\n" % start * 9000
        data[start : start + length] = piece[:length]
    data[-SECTOR:] = b"end." * (SECTOR // 4)
    return bytes(data)


def grains_of(raw: bytes, grain_bytes: int) -> dict[int, bytes]:
    """Return the grains of a disk that are not zeros, the last one filled up with zeros."""
    found = {}
    for number, start in enumerate(range(0, len(raw), grain_bytes)):
        piece = raw[start : start + grain_bytes].ljust(grain_bytes, b"\0")
        if piece.count(0) != grain_bytes:
            found[number] = piece
    return found


def descriptor(
    create_type: str,
    extents: Iterable[str],
    *,
    cid: str = "12345678",
    parent_cid: str = NO_PARENT,
    parent: str | None = None,
    more: Iterable[str] = (),
) -> str:
    """Return the text of a descriptor."""
    lines = [
        "# Disk DescriptorFile",
        "version=1",
        f"CID={cid}",
        f"parentCID={parent_cid}",
        f'createType="{create_type}"',
        *([f'parentFileNameHint="{parent}"'] if parent is not None else []),
        *more,
        "",
        "# Extent description",
        *extents,
        "",
        "# The Disk Data Base",
        "#DDB",
        'ddb.adapterType = "lsilogic"',
        'ddb.virtualHWVersion = "13"',
        'ddb.uuid = "60 00 C2 9a 1d 7b 49 44-dc 53 e6 d3 e5 89 7b 0d"',
        "",
    ]
    return "\n".join(lines)


def padded(data: bytes) -> bytes:
    """Fill up to a whole sector."""
    return data + bytes(-len(data) % SECTOR)


def hosted_header(
    capacity: int,
    *,
    version: int = 1,
    flags: int = 1,
    grain: int = GRAIN_SECTORS,
    descriptor_sectors: int = 0,
    entries: int = TABLE_ENTRIES,
    redundant: int = 0,
    directory: int = 0,
    compression: int = 0,
) -> bytes:
    """Return the header of a hosted sparse extent (KDMV)."""
    return padded(
        struct.pack(
            "<4sIIQQQQIQQQB4sH",
            b"KDMV",
            version,
            flags,
            capacity,
            grain,
            1 if descriptor_sectors else 0,
            descriptor_sectors,
            entries,
            redundant,
            directory,
            GRAIN_SECTORS,
            0,
            NEWLINES,
            compression,
        )
    )


def stream(raw: bytes, name: str = "disk.vmdk") -> bytes:
    """Return a stream-optimised disk: grains, tables and directory after markers, then a footer."""
    capacity = len(raw) // SECTOR
    text = padded(descriptor("streamOptimized", [f'RW {capacity} SPARSE "{name}"']).encode())
    sizes = {"version": 3, "flags": 0x30001, "compression": 1}
    sizes["descriptor_sectors"] = len(text) // SECTOR
    out = bytearray(hosted_header(capacity, directory=(1 << 64) - 1, **sizes) + text)
    out += bytes(GRAIN_SECTORS * SECTOR - len(out))
    grains = grains_of(raw, GRAIN_SECTORS * SECTOR)
    directory = []
    for first in range(0, -(-capacity // GRAIN_SECTORS), TABLE_ENTRIES):
        table = [0] * TABLE_ENTRIES
        for number in range(first, first + TABLE_ENTRIES):
            if number in grains:
                table[number - first] = len(out) // SECTOR
                packed = zlib.compress(grains[number])
                out += padded(struct.pack("<QI", number * GRAIN_SECTORS, len(packed)) + packed)
        out += _marker(TABLE_ENTRIES * 4 // SECTOR, kind=1)
        directory.append(len(out) // SECTOR)
        out += struct.pack(f"<{TABLE_ENTRIES}I", *table)
    packed = padded(struct.pack(f"<{len(directory)}I", *directory))
    out += _marker(len(packed) // SECTOR, kind=2)
    sector = len(out) // SECTOR
    out += packed
    out += _marker(1, kind=3) + hosted_header(capacity, directory=sector, **sizes)
    out += _marker(0, kind=0)
    return bytes(out)


def _marker(sectors: int, kind: int) -> bytes:
    return padded(struct.pack("<QII", sectors, 0, kind))


def cowd(capacity: int, grains: Grains, grain: int = 1) -> bytes:
    """Return an ESXi sparse extent; grains lie in the file in the reverse of their order."""
    entries = 4096
    tables = -(-capacity // (entries * grain))
    header = struct.pack("<4s7I", b"COWD", 1, 3, capacity, grain, 4, tables, 0)
    used = sorted({number // entries for number in grains})
    directory_sectors = -(-tables * 4 // SECTOR)
    first_table = 4 + directory_sectors
    table_sectors = entries * 4 // SECTOR
    directory = [0] * tables
    for place, index in enumerate(used):
        directory[index] = first_table + place * table_sectors
    sector = first_table + len(used) * table_sectors
    content = {index: [0] * entries for index in used}
    body = bytearray()
    for number in sorted(grains, reverse=True):
        content[number // entries][number % entries] = sector
        sector += grain
        body += grains[number]
    packed = b"".join(struct.pack(f"<{entries}I", *content[index]) for index in used)
    return (
        header.ljust(4 * SECTOR, b"\0")
        + padded(struct.pack(f"<{tables}I", *directory))
        + packed
        + body
    )


def sesparse(
    capacity: int,
    grains: Grains,
    *,
    zeroed: Iterable[int] = (),
    unmapped: Iterable[int] = (),
    replay: int = 0,
) -> bytes:
    """Return a space-efficient sparse extent; the grain with the highest number comes first."""
    grain, table_sectors, entries = 8, 64, 4096
    tables = -(-capacity // (grain * entries))
    directory_sectors = -(-tables * 8 // SECTOR)
    directory_at = 4
    tables_at = directory_at + directory_sectors
    grains_at = tables_at + tables * table_sectors
    bitmap_at = grains_at + len(grains) * grain
    places = [(1, 1), (2, 1), (3, 1), (directory_at, directory_sectors)]
    places += [(tables_at, tables * table_sectors), (bitmap_at, 1), (bitmap_at + 1, 1)]
    places += [(grains_at, len(grains) * grain)]
    fields = [0xCAFEBABE, 0x2_0000_0001, capacity, grain, table_sectors, 0, 0, 0, 0, 0]
    header = struct.pack("<26Q", *fields, *(number for place in places for number in place))
    volatile = struct.pack("<4Q", 0xCAFECAFE, 0, 0, replay)
    content = [0] * (tables * entries)
    body = bytearray()
    for place, number in enumerate(sorted(grains, reverse=True)):
        content[number] = 3 << 60 | (place & 0xFFF) << 48 | place >> 12
        body += grains[number]
    for number in zeroed:
        content[number] = 2 << 60
    for number in unmapped:
        content[number] = 1 << 60
    # Tables stand in the file in the reverse order of the directory, so that the index matters.
    directory = [1 << 60 | (tables - 1 - index) for index in range(tables)]
    packed = b"".join(
        struct.pack(f"<{entries}Q", *content[index * entries : (index + 1) * entries])
        for index in reversed(range(tables))
    )
    return (
        padded(header)
        + padded(volatile)
        + bytes(2 * SECTOR)
        + padded(struct.pack(f"<{tables}Q", *directory))
        + packed
        + bytes(body)
        + bytes(2 * SECTOR)
    )


def write_set(folder: Path, name: str, text: str, files: Mapping[str, bytes]) -> Path:
    """Write a descriptor and the files beside it; return the descriptor's path."""
    for file, data in files.items():
        (folder / file).write_bytes(data)
    path = folder / name
    path.write_text(text)
    return path
