"""GUID partition tables, from either of their two headers, in 512 and 4096-byte sectors.

Written from the UEFI specification 2.10, section 5.3. A disk has the table twice: behind the
protective MBR, and in its last sectors. The second is used where the first is damaged. After a disk
was enlarged the second is no longer at the end; the protective MBR still says where it was.

A GPT without the protective MBR is a left-over when sector 0 holds something else: tools that know
only MBR, and filesystems made on the whole disk, leave GPT sectors behind.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from formats.core.errors import CorruptError
from formats.core.finding import Action, Finding
from formats.core.origin import printable
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature, Volumes
from formats.core.source import ByteSource, read_exact
from formats.volumes.mbr import BOOT_MAGIC, BOOT_MAGIC_OFFSET, boot_sector_of, used_entries
from formats.volumes.partition import (
    OUTLIVED_BY_TABLES,
    SECTOR_SIZES,
    Partition,
    check_count,
    has_known_start,
    note_overlaps,
    partition_types,
    partition_volume,
)
from formats.volumes.partition_types import MBR_PROTECTIVE, gpt_type

_MAGIC = b"EFI PART"
# Signature, revision, header size, header CRC, reserved, own LBA, other LBA, first and last usable
# LBA, disk GUID, LBA of the entries, their number, their size, their CRC (table 5.5).
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_CRC_OFFSET = 16
# Type, GUID, first LBA, last LBA, attributes, name in UTF-16LE (table 5.6).
_ENTRY = struct.Struct("<16s16sQQQ72s")
_ENTRY_BYTES = 128
_ENTRIES_BYTES_MAX = 4 << 20
_UNUSED = bytes(16)


@dataclass(frozen=True, slots=True)
class _Header:
    """A header whose own checksum is right.

    :ivar is_primary: whether it is the one behind the protective MBR.
    """

    sector_bytes: int
    own_lba: int
    other_lba: int
    disk_guid: str
    entries_lba: int
    entry_count: int
    entry_bytes: int
    entries_crc: int
    is_primary: bool


def _protective_end_lba(source: ByteSource) -> int | None:
    """Return the last LBA that the protective MBR covers; None if there is none."""
    sector = boot_sector_of(source)
    entries = used_entries(sector) if sector is not None else None
    for entry in entries or ():
        if entry.type == MBR_PROTECTIVE:
            return entry.start_sector + entry.sectors - 1
    return None


def _header_places(source: ByteSource) -> Iterator[tuple[int, int]]:
    """Yield (sector size, LBA) of every place where a header may be, the primary ones first."""
    for sector_bytes in SECTOR_SIZES:
        yield sector_bytes, 1
    protected = _protective_end_lba(source)
    for sector_bytes in SECTOR_SIZES:
        last = source.size // sector_bytes - 1
        if last > 1:
            yield sector_bytes, last
        if protected is not None and 1 < protected < last:
            yield sector_bytes, protected


def _has_magic(source: ByteSource, sector_bytes: int, lba: int) -> bool:
    return source.read_at(sector_bytes * lba, len(_MAGIC)) == _MAGIC


def _is_free_of_others(source: ByteSource) -> bool:
    """Tell whether sector 0 is blank and nothing else known starts on the disk."""
    sector = boot_sector_of(source)
    return sector is not None and not any(sector) and not has_known_start(source)


def _read_header(source: ByteSource, sector_bytes: int, lba: int) -> _Header:
    """Read and verify one header (section 5.3.2).

    :raises CorruptError: saying what is wrong with it.
    """
    offset = sector_bytes * lba
    sector = bytes(read_exact(source, offset, sector_bytes, "the GPT header"))
    fields = _HEADER.unpack_from(sector)
    _, _, size, crc, _, own_lba, other_lba, _, _, guid, entries_lba, count, entry_bytes, sums = (
        fields
    )
    problem: str | None = None
    if fields[0] != _MAGIC:
        problem = "has no signature"
    elif not _HEADER.size <= size <= sector_bytes:
        problem = f"says that it is {size:,} bytes long"
    elif zlib.crc32(sector[:_CRC_OFFSET] + bytes(4) + sector[_CRC_OFFSET + 4 : size]) != crc:
        problem = "has a wrong checksum"
    elif own_lba != lba:
        problem = f"belongs to sector {own_lba:,}"
    elif entry_bytes < _ENTRY_BYTES or entry_bytes % 8:
        problem = f"has entries of {entry_bytes:,} bytes"
    elif count * entry_bytes > _ENTRIES_BYTES_MAX:
        problem = f"has {count:,} entries of {entry_bytes:,} bytes"
    if problem is not None:
        raise CorruptError(f"the GPT header {problem}", origin=source.origin, offset=offset)
    return _Header(
        sector_bytes=sector_bytes,
        own_lba=own_lba,
        other_lba=other_lba,
        disk_guid=_guid(guid),
        entries_lba=entries_lba,
        entry_count=count,
        entry_bytes=entry_bytes,
        entries_crc=sums,
        is_primary=lba == 1,
    )


def _read_entries(source: ByteSource, header: _Header) -> bytes:
    """Return the entry array of a header, verified.

    :raises CorruptError: if it is not on the disk or its checksum is wrong.
    """
    offset = header.entries_lba * header.sector_bytes
    length = header.entry_count * header.entry_bytes
    data = bytes(read_exact(source, offset, length, "the GPT entry array"))
    if zlib.crc32(data) != header.entries_crc:
        raise CorruptError(
            "the GPT entry array has a wrong checksum", origin=source.origin, offset=offset
        )
    return data


def _guid(raw: bytes) -> str:
    return str(uuid.UUID(bytes_le=raw))


def _partitions(header: _Header, entries: bytes) -> Iterator[Partition]:
    for slot in range(header.entry_count):
        kind, guid, first, last, _, name = _ENTRY.unpack_from(entries, slot * header.entry_bytes)
        if kind == _UNUSED:
            continue
        known = gpt_type(_guid(kind))
        yield Partition(
            number=slot + 1,
            offset=first * header.sector_bytes,
            length=(last - first + 1) * header.sector_bytes,
            role=known.role,
            title=known.title,
            uuid=_guid(guid),
            name=_name(name),
        )


def _name(raw: bytes) -> str | None:
    """Return a PARTLABEL, printable; None if there is none.

    A half of a surrogate pair, which UTF-16LE does not allow, becomes U+FFFD.
    """
    text = raw.decode("utf-16-le", "replace").partition("\0")[0]
    return printable(text) or None


class GptReader:
    """The reader; see the module's documentation."""

    name = "gpt"
    category = Category.VOLUMES
    signatures = (
        *(Signature(size, _MAGIC) for size in SECTOR_SIZES),
        *(Signature(-size, _MAGIC) for size in SECTOR_SIZES),
        # For an enlarged disk whose first header is gone: probe() asks the protective MBR.
        Signature(BOOT_MAGIC_OFFSET, BOOT_MAGIC),
    )
    supersedes = frozenset({"mbr", *OUTLIVED_BY_TABLES})
    doc = ReaderDoc(
        "GUID partition table (GPT)",
        specification="UEFI specification 2.10, section 5.3",
        reads="primary and backup tables, 512 and 4096-byte sectors, hybrid MBR",
    )

    def probe(self, source: ByteSource) -> bool:
        """Tell whether there is a header, and it is not the left-over of an earlier table."""
        if not any(_has_magic(source, *place) for place in _header_places(source)):
            return False
        return _protective_end_lba(source) is not None or _is_free_of_others(source)

    def open(self, source: ByteSource, context: OpenContext) -> Volumes:
        """Return a volume for each used entry.

        :raises CorruptError: if neither table can be used; it says what is wrong with each.
        """
        header, entries, problems = _usable_table(source)
        if not header.is_primary:
            why = problems[0].message if problems else "the primary GPT header is missing"
            context.note(
                Finding(
                    "gpt-backup-used",
                    str(source.origin).encode(),
                    Action.REPORTED,
                    f"{why}; the backup at sector {header.own_lba:,} was read",
                )
            )
        partitions: list[Partition] = []
        for partition in _partitions(header, entries):
            check_count(len(partitions) + 1, context.limits, source.origin)
            partitions.append(partition)
        note_overlaps(partitions, source.origin, context)
        facts = {
            "table": "gpt" if _protective_end_lba(source) is not None else "gpt without MBR",
            "header": "primary" if header.is_primary else "backup",
            "sector-bytes": str(header.sector_bytes),
            "disk-id": header.disk_guid,
        }
        return Volumes(
            tuple(partition_volume(source, "gpt", partition) for partition in partitions),
            {**facts, **partition_types(partitions)},
        )


def _usable_table(source: ByteSource) -> tuple[_Header, bytes, list[CorruptError]]:
    """Return the first header whose entry array verifies, that, and what was wrong before it.

    :raises CorruptError: if there is none.
    """
    problems: list[CorruptError] = []
    pending = deque(place for place in _header_places(source) if _has_magic(source, *place))
    known = set(pending)
    while pending:
        sector_bytes, lba = pending.popleft()
        try:
            header = _read_header(source, sector_bytes, lba)
            twin = _twin_place(source, header)
            if twin is not None and twin not in known:
                known.add(twin)
                pending.append(twin)
            entries = _read_entries(source, header)
        except CorruptError as error:
            problems.append(error)
            continue
        return header, entries, problems
    reasons = "; ".join(f"{error.message} at byte {error.offset or 0:,}" for error in problems)
    raise CorruptError(
        f"neither GPT can be used: {reasons}",
        origin=source.origin,
        hint="recover the table on a copy with 'gdisk' or 'testdisk'",
    )


def _twin_place(source: ByteSource, header: _Header) -> tuple[int, int] | None:
    """Return where a header says that the other one is, if there is one.

    This finds the backup of a disk that was enlarged, once the primary's header is right and only
    its entries are damaged.
    """
    place = (header.sector_bytes, header.other_lba)
    return place if _has_magic(source, *place) else None


def listed_partitions(source: ByteSource) -> list[Partition]:
    """Return what a table lists, whatever else is on the disk.

    :raises CorruptError: if there is none that can be used.
    """
    header, entries, _ = _usable_table(source)
    return list(_partitions(header, entries))


def partition_owns(source: ByteSource, offset: int) -> bool | None:
    """Tell whether a partition of the disk covers a byte; None if there is no partition table."""
    try:
        partitions = listed_partitions(source)
        ranges = [(item.offset, item.offset + item.length) for item in partitions]
    except CorruptError:
        sector = boot_sector_of(source)
        ranges = [
            (entry.start_sector * 512, (entry.start_sector + entry.sectors) * 512)
            for entry in (used_entries(sector) if sector is not None else None) or ()
        ]
    return any(start <= offset < end for start, end in ranges) if ranges else None


READER = GptReader()
