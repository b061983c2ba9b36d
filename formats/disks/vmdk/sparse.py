"""Hosted sparse extents (KDMV): the header, the footer of a stream, and the grain directory.

Specification: VMware "Virtual Disk Format 5.0", sections "Hosted Sparse Extents" and
"Stream-Optimized Compressed". Offsets in the format count sectors of 512 bytes. A stream is
written front to back, so its grain directory comes last and is found through the footer, a copy of
the header in the last but one sector.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntFlag

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.source import ByteSource, read_exact
from formats.disks.vmdk.descriptor import SECTOR_BYTES
from formats.disks.vmdk.tables import (
    TRUNCATED,
    ZEROED,
    Geometry,
    check_sectors,
    read_directory,
    read_table,
)

MAGIC = b"KDMV"
HEADER_BYTES = 512

_HEADER = struct.Struct("<4sIIQQQQIQQQB4sH")
_NEWLINES = b"\n \r\n"
_VERSIONS = frozenset({1, 2, 3})
_DIRECTORY_AT_END = 0xFFFF_FFFF_FFFF_FFFF
_DEFLATE = 1

_MAX_GRAIN_SECTORS = 1 << 14
_MAX_TABLE_ENTRIES = 1 << 12
_FOOTER_SEARCH_BYTES = 1 << 20


class Flag(IntFlag):
    """Bits of the header's ``flags``."""

    NEWLINES = 1 << 0
    REDUNDANT_DIRECTORY = 1 << 1
    ZEROED_GRAINS = 1 << 2
    COMPRESSED = 1 << 16
    MARKERS = 1 << 17


_KNOWN_FLAGS = int(
    Flag.NEWLINES | Flag.REDUNDANT_DIRECTORY | Flag.ZEROED_GRAINS | Flag.COMPRESSED | Flag.MARKERS
)
"""An int, since the complement of a flag has no bits that are not known."""


@dataclass(frozen=True, slots=True)
class SparseHeader:
    """A checked header; all positions and lengths in sectors.

    :ivar directory: 0 if there is none.
    :ivar redundant: the second grain directory; 0 if there is none.
    """

    version: int
    flags: Flag
    capacity: int
    grain: int
    descriptor: int
    descriptor_length: int
    table_entries: int
    redundant: int
    directory: int
    is_dirty: bool

    @property
    def is_compressed(self) -> bool:
        """Whether grains are deflated, each after a marker."""
        return Flag.COMPRESSED in self.flags

    @property
    def geometry(self) -> Geometry:
        """Sizes, as every kind of sparse extent has them."""
        return Geometry(self.capacity, self.grain, self.table_entries)


def read_header(file: ByteSource) -> SparseHeader:
    """Read the header, and the footer where the header refers to it.

    :raises UnsupportedError: for versions, flags and compression that are not known.
    :raises CorruptError: for values that the format does not allow, and a missing footer.
    """
    header = _parse(file, 0)
    if header.directory != _DIRECTORY_AT_END:
        return header
    footer = _parse(file, _find_footer(file))
    if footer.directory == _DIRECTORY_AT_END:
        raise CorruptError(
            "has a footer that does not say where the grain directory is",
            origin=file.origin,
            offset=file.size,
        )
    if footer.geometry != header.geometry:
        raise CorruptError(
            "has a footer that contradicts its header", origin=file.origin, offset=file.size
        )
    return replace(header, directory=footer.directory, redundant=footer.redundant)


def _parse(file: ByteSource, offset: int) -> SparseHeader:
    raw = read_exact(file, offset, HEADER_BYTES, "the header of the sparse extent")
    (
        magic,
        version,
        flags,
        capacity,
        grain,
        descriptor,
        descriptor_length,
        table_entries,
        redundant,
        directory,
        _overhead,
        is_dirty,
        newlines,
        compression,
    ) = _HEADER.unpack_from(raw)
    if magic != MAGIC:
        raise CorruptError("has no KDMV header", origin=file.origin, offset=offset)
    if version not in _VERSIONS:
        raise UnsupportedError(
            f"is a sparse extent of version {version}", origin=file.origin, offset=offset + 4
        )
    header = SparseHeader(
        version=version,
        flags=Flag(flags & _KNOWN_FLAGS),
        capacity=capacity,
        grain=grain,
        descriptor=descriptor,
        descriptor_length=descriptor_length,
        table_entries=table_entries,
        redundant=redundant,
        directory=directory,
        is_dirty=bool(is_dirty),
    )
    _check_flags(file, offset, flags, compression)
    if Flag.NEWLINES in header.flags and newlines != _NEWLINES:
        raise CorruptError(
            "has a damaged header: its line ends are not as they were written",
            origin=file.origin,
            offset=offset + 73,
            hint="transfer it again, in binary mode",
        )
    _check_sizes(file, offset, header)
    return header


def _check_flags(file: ByteSource, offset: int, flags: int, compression: int) -> None:
    """Refuse what would make the grains mean something else than we know."""
    unknown = flags & ~_KNOWN_FLAGS
    if unknown:
        raise UnsupportedError(
            f"uses features that are not known (flags {unknown:#x})",
            origin=file.origin,
            offset=offset + 8,
        )
    is_compressed = bool(flags & Flag.COMPRESSED)
    if is_compressed != (compression != 0):
        raise CorruptError(
            f"has the compression method {compression} and flags {flags:#x} that contradict it",
            origin=file.origin,
            offset=offset + 77,
        )
    if compression > _DEFLATE:
        raise UnsupportedError(
            f"uses the compression method {compression}", origin=file.origin, offset=offset + 77
        )
    if is_compressed and not flags & Flag.MARKERS:
        raise UnsupportedError(
            "has compressed grains without markers", origin=file.origin, offset=offset + 8
        )


def _check_sizes(file: ByteSource, offset: int, header: SparseHeader) -> None:
    grain, entries = header.grain, header.table_entries
    if not 0 < grain <= _MAX_GRAIN_SECTORS or grain & (grain - 1):
        raise CorruptError(
            f"has grains of {grain:,} sectors, which must be a power of two"
            f" up to {_MAX_GRAIN_SECTORS:,}",
            origin=file.origin,
            offset=offset + 20,
        )
    if not 0 < entries <= _MAX_TABLE_ENTRIES:
        raise CorruptError(
            f"has grain tables of {entries:,} entries, where there can be 1 to"
            f" {_MAX_TABLE_ENTRIES:,}",
            origin=file.origin,
            offset=offset + 44,
        )


def _find_footer(file: ByteSource) -> int:
    """Return the offset of the footer: the last header of the file's last megabyte.

    The specification puts it into the last but one sector; padding behind it is common, since
    object stores and archives round sizes up.
    """
    end = file.size // SECTOR_BYTES * SECTOR_BYTES
    start = max(HEADER_BYTES, end - _FOOTER_SEARCH_BYTES)
    tail = bytes(file.read_at(start, max(0, end - start)))
    position = len(tail)
    while (position := tail.rfind(MAGIC, 0, position)) >= 0:
        if position % SECTOR_BYTES == 0:
            return start + position
        position += len(MAGIC) - 1
    raise CorruptError(
        "ends before its footer, which says where the grain directory is",
        origin=file.origin,
        offset=file.size,
        hint=TRUNCATED,
    )


class HostedTables:
    """Grain tables of a hosted sparse extent; the redundant ones where the first are damaged.

    :param directory_bytes: what a grain directory may take in memory.
    :param on_damage: told, once, what was wrong where redundant tables had to be used.
    :raises CorruptError: if neither directory can be used.
    """

    def __init__(
        self,
        file: ByteSource,
        header: SparseHeader,
        directory_bytes: int,
        on_damage: Callable[[CorruptError], None],
    ) -> None:
        self.geometry = header.geometry
        self._file = file
        self._has_zeroed = Flag.ZEROED_GRAINS in header.flags
        self._on_damage = on_damage
        self._is_damage_told = False
        self._directory_bytes = directory_bytes
        positions = [header.directory]
        if header.redundant not in {0, header.directory}:
            positions.append(header.redundant)
        self._directories = self._usable(positions)

    def _usable(self, positions: list[int]) -> list[array[int]]:
        found: list[array[int]] = []
        problems: list[CorruptError] = []
        for position in positions:
            try:
                found.append(self._directory(position))
            except CorruptError as error:
                problems.append(error)
        if not found:
            raise problems[0]
        if problems:
            self._tell(problems[0])
        return found

    def _directory(self, sector: int) -> array[int]:
        offset = sector * SECTOR_BYTES
        if sector == 0:
            raise CorruptError("has no grain directory", origin=self._file.origin, offset=56)
        directory = read_directory(self._file, "I", offset, self.geometry, self._directory_bytes)
        check_sectors(directory, self._file, offset, "grain directory", has_zeroed=self._has_zeroed)
        return directory

    def load(self, index: int) -> array[int]:
        """Return table ``index``; see :class:`~formats.disks.vmdk.tables.GrainTables`."""
        problems: list[CorruptError] = []
        for directory in self._directories:
            try:
                table = self._load(directory[index], index)
            except CorruptError as error:
                problems.append(error)
                continue
            if problems:
                self._tell(problems[0])
            return table
        raise problems[0]

    def _load(self, sector: int, index: int) -> array[int]:
        if sector == ZEROED and self._has_zeroed:
            return array("I", [ZEROED]) * self.geometry.table_entries
        return read_table(self._file, sector, self.geometry, index, has_zeroed=self._has_zeroed)

    def _tell(self, problem: CorruptError) -> None:
        if not self._is_damage_told:
            self._is_damage_told = True
            self._on_damage(problem)
