"""MBR partition tables ("DOS"), with logical partitions, in 512 and 4096-byte sectors.

Written from the UEFI specification 2.10, section 5.2 (legacy MBR), and the description of extended
boot records in the Linux documentation and ``sfdisk(8)``. The last two bytes, 55 AA, are shared by
every boot sector there is, so :meth:`MbrReader.probe` looks at the table itself: a filesystem whose
boot code ends in 55 AA must not become a disk of four nonsense partitions.

Not read: AIX labels and PC-98 tables. A BSD disklabel inside a partition is a matter of what that
partition holds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from formats.core.errors import AmbiguousError, CorruptError
from formats.core.finding import Action, Finding
from formats.core.origin import Origin
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature, Volumes
from formats.core.source import ByteSource, read_exact
from formats.volumes.partition import (
    OUTLIVED_BY_TABLES,
    SECTOR_SIZES,
    Partition,
    check_count,
    has_boot_sector,
    has_known_start,
    note_overlaps,
    partition_types,
    partition_volume,
)
from formats.volumes.partition_types import MBR_EXTENDED, MBR_PROTECTIVE, mbr_type

BOOT_MAGIC = b"\x55\xaa"
BOOT_MAGIC_OFFSET = 510
_BOOT_SECTOR_BYTES = 512
_TABLE_OFFSET = 446
_DISK_SIGNATURE = struct.Struct("<I")
_DISK_SIGNATURE_OFFSET = 440
_ENTRY = struct.Struct("<B3xB3xII")  # status, type, first sector, sectors (UEFI table 5.2)
_PRIMARY_SLOTS = 4
_FIRST_LOGICAL = 5
_STATUSES = frozenset({0x00, 0x80})
_EMPTY_TABLE = bytes(_ENTRY.size * _PRIMARY_SLOTS)


@dataclass(frozen=True, slots=True)
class MbrEntry:
    """One used slot of a table; sectors are relative to what the table says."""

    slot: int
    type: int
    start_sector: int
    sectors: int

    @property
    def is_extended(self) -> bool:
        """Whether it is a container of logical partitions, or a link to the next of them."""
        return self.type in MBR_EXTENDED


def used_entries(boot_sector: bytes) -> tuple[MbrEntry, ...] | None:
    """Return the used slots of a table; None if these 64 bytes cannot be one.

    A table has status bytes of 00 or 80 and no partition that starts at the table itself. Boot
    code and messages fail on that.
    """
    if boot_sector[BOOT_MAGIC_OFFSET:_BOOT_SECTOR_BYTES] != BOOT_MAGIC:
        return None
    entries: list[MbrEntry] = []
    for slot in range(_PRIMARY_SLOTS):
        status, kind, start, sectors = _ENTRY.unpack_from(
            boot_sector, _TABLE_OFFSET + slot * _ENTRY.size
        )
        if status not in _STATUSES:
            return None
        if kind == 0 or sectors == 0:
            continue
        if start == 0:
            return None
        entries.append(MbrEntry(slot, kind, start, sectors))
    return tuple(entries)


def boot_sector_of(source: ByteSource) -> bytes | None:
    """Return the first 512 bytes; None if there are fewer."""
    sector = bytes(source.read_at(0, _BOOT_SECTOR_BYTES))
    return sector if len(sector) == _BOOT_SECTOR_BYTES else None


def _overlap(entries: tuple[MbrEntry, ...]) -> bool:
    ends = 0
    for entry in sorted(entries, key=lambda entry: entry.start_sector):
        if entry.start_sector < ends:
            return True
        ends = entry.start_sector + entry.sectors
    return False


def _is_plausible(entries: tuple[MbrEntry, ...], boot_sector: bytes, size: int) -> bool:
    """Tell whether used slots are a table and not bytes of a filesystem's boot code.

    Either all partitions lie on the disk, or (a truncated image) they at least do not overlap and
    the sector is not the first of anything else.
    """
    if all((entry.start_sector + entry.sectors) * SECTOR_SIZES[0] <= size for entry in entries):
        return True
    return not _overlap(entries) and not has_boot_sector(boot_sector)


def _known_sector_size(source: ByteSource, entries: tuple[MbrEntry, ...]) -> int | None:
    """Return the sector size under which a partition starts with something known; None if none.

    Nothing in the table says how large a sector is. 512 is right unless only 4096 finds a volume,
    or an extended boot record, where a partition should start.
    """
    for size in SECTOR_SIZES:
        for entry in entries:
            offset = entry.start_sector * size
            if entry.is_extended:
                magic = source.read_at(offset + BOOT_MAGIC_OFFSET, len(BOOT_MAGIC))
                if offset + _BOOT_SECTOR_BYTES <= source.size and magic == BOOT_MAGIC:
                    return size
            elif has_known_start(source, offset):
                return size
    return None


class MbrReader:
    """The reader; see the module's documentation."""

    name = "mbr"
    category = Category.VOLUMES
    signatures = (Signature(BOOT_MAGIC_OFFSET, BOOT_MAGIC),)
    supersedes = OUTLIVED_BY_TABLES
    doc = ReaderDoc(
        "MBR partition table",
        specification="UEFI specification 2.10, section 5.2",
        reads="primary and logical partitions, 512 and 4096-byte sectors",
        refuses="a protective table whose GPT is gone",
    )

    def probe(self, source: ByteSource) -> bool:
        """Tell whether the first sector holds a table, used or empty."""
        sector = boot_sector_of(source)
        if sector is None:
            return False
        entries = used_entries(sector)
        if entries is None:
            return False
        if entries:
            return _is_plausible(entries, sector, source.size)
        # An empty table says nothing: whatever else is on the disk comes first.
        return (
            sector[_TABLE_OFFSET:BOOT_MAGIC_OFFSET] == _EMPTY_TABLE
            and not has_boot_sector(sector)
            and not has_known_start(source)
        )

    def open(self, source: ByteSource, context: OpenContext) -> Volumes:
        """Return a volume for each partition; extended ones are only their logical partitions.

        :raises CorruptError: for a protective table without a GPT.
        :raises AmbiguousError: if nothing tells whether the table or a filesystem is stale.
        """
        sector = bytes(read_exact(source, 0, _BOOT_SECTOR_BYTES, "the MBR"))
        entries = used_entries(sector)
        if entries is None:
            raise CorruptError("the partition table is not one", origin=source.origin, offset=0)
        if any(entry.type == MBR_PROTECTIVE for entry in entries):
            raise CorruptError(
                "has the protective MBR of a GPT disk, and neither of the two GPT headers",
                origin=source.origin,
                offset=0,
                hint="recover the table on a copy with 'gdisk' or 'testdisk'",
            )
        sector_bytes = _known_sector_size(source, entries)
        if (
            entries
            and sector_bytes is None
            and (has_boot_sector(sector) or has_known_start(source))
        ):
            # A table that was copied into a partition's boot sector looks like this, for one.
            raise AmbiguousError(
                "has a partition table and the start of something else, and none of the"
                " partitions starts with anything known",
                origin=source.origin,
                offset=0,
                hint="clear the one that is stale, on a copy: 'wipefs' lists both",
            )
        (signature,) = _DISK_SIGNATURE.unpack_from(sector, _DISK_SIGNATURE_OFFSET)
        table = _Table(source, context, sector_bytes or SECTOR_SIZES[0], signature)
        partitions = table.partitions(entries)
        note_overlaps(partitions, source.origin, context)
        facts = {"table": "mbr", "sector-bytes": str(table.sector_bytes)}
        if signature:
            facts["disk-id"] = f"{signature:08x}"
        return Volumes(
            tuple(partition_volume(source, "mbr", partition) for partition in partitions),
            {**facts, **partition_types(partitions)},
        )


@dataclass(slots=True)
class _Table:
    """One table being read."""

    source: ByteSource
    context: OpenContext
    sector_bytes: int
    signature: int
    found: list[Partition] = field(default_factory=list)

    @property
    def origin(self) -> Origin:
        return self.source.origin

    def partitions(self, entries: tuple[MbrEntry, ...]) -> list[Partition]:
        for entry in entries:
            if not entry.is_extended:
                self._add(entry.slot + 1, entry.start_sector, entry)
        number = _FIRST_LOGICAL
        for entry in entries:
            if entry.is_extended:
                for base, logical in self._logical(entry):
                    self._add(number, base + logical.start_sector, logical)
                    number += 1
        return self.found

    def _add(self, number: int, start_sector: int, entry: MbrEntry) -> None:
        check_count(len(self.found) + 1, self.context.limits, self.origin)
        kind = mbr_type(entry.type)
        self.found.append(
            Partition(
                number,
                start_sector * self.sector_bytes,
                entry.sectors * self.sector_bytes,
                kind.role,
                kind.title,
                # The form that Linux gives: disk signature and partition number, both in hex.
                f"{self.signature:08x}-{number:02x}" if self.signature else None,
            )
        )

    def _logical(self, extended: MbrEntry) -> Iterator[tuple[int, MbrEntry]]:
        """Yield (sector of the boot record, entry) along the chain of extended boot records.

        A record's partition counts from the record, its link from the start of the extended
        partition. A chain that comes back to a record is cut there, with a finding.
        """
        record_sector = extended.start_sector
        seen: set[int] = set()
        while True:
            if record_sector in seen:
                self._note("the chain of logical partitions is a loop", record_sector)
                return
            seen.add(record_sector)
            check_count(len(seen), self.context.limits, self.origin)
            entries = self._record(record_sector)
            if entries is None:
                self._note("the chain of logical partitions is broken", record_sector)
                return
            link: MbrEntry | None = None
            for entry in entries:
                if not entry.is_extended:
                    yield record_sector, entry
                elif link is None:
                    link = entry
            if link is None:
                return
            record_sector = extended.start_sector + link.start_sector

    def _record(self, sector: int) -> tuple[MbrEntry, ...] | None:
        offset = sector * self.sector_bytes
        if offset + _BOOT_SECTOR_BYTES > self.source.size:
            return None
        return used_entries(bytes(self.source.read_at(offset, _BOOT_SECTOR_BYTES)))

    def _note(self, what: str, sector: int) -> None:
        self.context.note(
            Finding(
                "mbr-logical-chain",
                str(self.origin).encode(),
                Action.REPORTED,
                f"{what} at sector {sector:,}; partitions after it are not seen",
            )
        )


READER = MbrReader()
