"""VHDX disks and logs that qemu-img cannot make, written from [MS-VHDX]."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import google_crc32c

MIB = 1 << 20
LOG_OFFSET, METADATA_OFFSET, BAT_OFFSET, DATA_OFFSET = MIB, 2 * MIB, 3 * MIB, 4 * MIB
HEADERS = (64 << 10, 128 << 10)
TABLES = (192 << 10, 256 << 10)

NOT_PRESENT, UNDEFINED, ZERO, UNMAPPED, FULL, PARTIAL = 0, 1, 2, 3, 6, 7

BAT = "2dc27766-f623-4200-9d64-115e9bfd4a08"
METADATA = "8b7ca206-4790-4b9a-b8fe-575f050f886e"
FILE_PARAMETERS = "caa16737-fa36-4d43-b3b6-33f0aa44e76b"
DISK_SIZE = "2fa54224-cd1b-4876-b211-5dbed83bf4b8"
DISK_ID = "beca12ab-b2e6-4523-93ef-c309e000c746"
LOGICAL_SECTOR = "8141bf1d-a96f-4709-ba47-f233a8faab5f"
PHYSICAL_SECTOR = "cda348c7-445d-4471-9cc9-e9885251c556"
PARENT_LOCATOR = "a8d35f2d-b30b-454d-abf7-d3d84834ab0c"
VHDX_LOCATOR = "b04aefb7-d19e-4a81-b789-25b8e9445913"
NIL = uuid.UUID(int=0)
CONTENT = uuid.UUID(int=7)


def guid(text: str) -> bytes:
    return uuid.UUID(text).bytes_le


def with_checksum(structure: bytes) -> bytes:
    """Return a header, region table or log entry with its CRC-32C put right."""
    blank = structure[:4] + bytes(4) + structure[8:]
    return blank[:4] + struct.pack("<I", google_crc32c.value(blank)) + blank[8:]


def header(
    sequence: int,
    *,
    content: uuid.UUID,
    log: uuid.UUID = NIL,
    log_version: int = 0,
    version: int = 1,
    log_length: int = MIB,
) -> bytes:
    fields = struct.pack(
        "<4sIQ16s16s16sHHIQ",
        b"head",
        0,
        sequence,
        uuid.UUID(int=1).bytes_le,
        content.bytes_le,
        log.bytes_le,
        log_version,
        version,
        log_length,
        LOG_OFFSET,
    )
    return with_checksum(fields.ljust(4096, b"\0"))


def region_table(regions: Sequence[tuple[str, int, int, int]]) -> bytes:
    """Return a table of (name, offset, length, whether it is required)."""
    table = struct.pack("<4sII4x", b"regi", 0, len(regions))
    for name, offset, length, required in regions:
        table += struct.pack("<16sQII", guid(name), offset, length, required)
    return with_checksum(table.ljust(64 << 10, b"\0"))


REGIONS = ((BAT, BAT_OFFSET, MIB, 1), (METADATA, METADATA_OFFSET, MIB, 1))


def metadata(items: Mapping[str, bytes], flags: Mapping[str, int] | None = None) -> bytes:
    """Return a metadata region; items are required system metadata unless ``flags`` differ."""
    table = struct.pack("<8s2xH20x", b"metadata", len(items))
    body = b""
    for name, data in items.items():
        place = (64 << 10) + len(body)
        table += struct.pack("<16sIII4x", guid(name), place, len(data), (flags or {}).get(name, 4))
        body += data
    return table.ljust(64 << 10, b"\0") + body


def parent_locator(pairs: Mapping[str, str], kind: str = VHDX_LOCATOR) -> bytes:
    head = guid(kind) + struct.pack("<2xH", len(pairs))
    start = len(head) + 12 * len(pairs)
    table = text = b""
    for key, value in pairs.items():
        raw_key, raw_value = key.encode("utf-16-le"), value.encode("utf-16-le")
        place = start + len(text)
        table += struct.pack("<IIHH", place, place + len(raw_key), len(raw_key), len(raw_value))
        text += raw_key + raw_value
    return head + table + text


@dataclass(frozen=True, slots=True)
class Block:
    """A block's state; its data; and for one that is here in part, its sectors that are."""

    state: int
    data: bytes = b""
    sectors: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk to write."""

    size: int
    blocks: Mapping[int, Block] = field(default_factory=dict)
    block_bytes: int = MIB
    sector_bytes: int = 512
    content: uuid.UUID = CONTENT
    parent: Mapping[str, str] | None = None

    @property
    def ratio(self) -> int:
        """Blocks of a chunk."""
        return (self.sector_bytes << 23) // self.block_bytes

    def items(self) -> dict[str, bytes]:
        """Return the items of the metadata."""
        found = {
            FILE_PARAMETERS: struct.pack("<II", self.block_bytes, 2 if self.parent else 0),
            DISK_SIZE: struct.pack("<Q", self.size),
            DISK_ID: uuid.UUID(int=9).bytes_le,
            LOGICAL_SECTOR: struct.pack("<I", self.sector_bytes),
            PHYSICAL_SECTOR: struct.pack("<I", 4096),
        }
        if self.parent:
            found[PARENT_LOCATOR] = parent_locator(self.parent)
        return found


def write_vhdx(path: Path, disk: Disk) -> Path:
    """Write a disk without a log."""
    table: dict[int, int] = {}
    position = DATA_OFFSET
    bitmaps: dict[int, bytearray] = {}
    with path.open("wb") as file:
        for index, block in disk.blocks.items():
            chunk, place = divmod(index, disk.ratio)
            entry = chunk * (disk.ratio + 1) + place
            table[entry] = block.state
            if block.state not in {FULL, PARTIAL}:
                continue
            table[entry] |= position
            file.seek(position)
            file.write(block.data)
            position += disk.block_bytes
            if block.state == PARTIAL:
                bitmap = bitmaps.setdefault(chunk, bytearray(MIB))
                first = place * disk.block_bytes // disk.sector_bytes
                for sector in block.sectors:
                    bitmap[(first + sector) // 8] |= 1 << (first + sector) % 8
        for chunk, bitmap in bitmaps.items():
            table[chunk * (disk.ratio + 1) + disk.ratio] = 6 | position
            file.seek(position)
            file.write(bitmap)
            position += MIB
        for entry, value in table.items():
            file.seek(BAT_OFFSET + entry * 8)
            file.write(struct.pack("<Q", value))
        file.seek(0)
        file.write(b"vhdxfile" + "tests".encode("utf-16-le"))
        for sequence, offset in enumerate(HEADERS):
            file.seek(offset)
            file.write(header(sequence, content=disk.content))
        for offset in TABLES:
            file.seek(offset)
            file.write(region_table(REGIONS))
        file.seek(METADATA_OFFSET)
        file.write(metadata(disk.items()))
        file.truncate(position)
    return path


@dataclass(frozen=True, slots=True)
class Write:
    """What a log entry writes at an offset of the file: whole sectors, or that many zeros."""

    offset: int
    data: bytes = b""
    zeros: int = 0


def log_entry(
    sequence: int,
    tail: int,
    writes: Sequence[Write],
    *,
    log: uuid.UUID,
    flushed: int,
    last: int,
) -> bytes:
    """Return a log entry."""
    descriptors = body = b""
    for write in writes:
        if not write.data:
            descriptors += struct.pack("<4s4xQQQ", b"zero", write.zeros, write.offset, sequence)
        for start in range(0, len(write.data), 4096):
            sector = write.data[start : start + 4096]
            descriptors += struct.pack(
                "<4s4s8sQQ", b"desc", sector[-4:], sector[:8], write.offset + start, sequence
            )
            body += struct.pack("<4sI", b"data", sequence >> 32) + sector[8:-4]
            body += struct.pack("<I", sequence & 0xFFFFFFFF)
    size = -(-(64 + len(descriptors)) // 4096) * 4096
    head = struct.pack(
        "<4sIIIQI4x16sQQ",
        b"loge",
        0,
        size + len(body),
        tail,
        sequence,
        len(descriptors) // 32,
        log.bytes_le,
        flushed,
        last,
    )
    return with_checksum((head + descriptors).ljust(size, b"\0") + body)
