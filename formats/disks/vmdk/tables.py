"""What all sparse extents share: grains, found through tables that are found through a directory.

A table is an array with the first sector of each grain in the file. Sector 0 holds the header in
every format, so 0 and 1 are free to mean "not stored here" and "zeros"; formats with other
encodings (seSparse) are brought to this one.
"""

from __future__ import annotations

import sys
from array import array
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

from formats.core.errors import CorruptError, LimitError
from formats.core.source import BytesLike, ByteSource, read_exact
from formats.disks.vmdk.descriptor import SECTOR_BYTES

TRUNCATED = "the file may be truncated: compare its size with the original"
"""Hint for what ends too early."""

UNALLOCATED = 0
"""The grain is its parent's, or zeros where there is no parent."""

ZEROED = 1
"""The grain is zeros, whatever a parent holds."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes of a sparse extent, in sectors."""

    capacity: int
    grain: int
    table_entries: int

    @property
    def size(self) -> int:
        """Length of the extent in bytes."""
        return self.capacity * SECTOR_BYTES

    @property
    def grain_bytes(self) -> int:
        """Length of a grain in bytes."""
        return self.grain * SECTOR_BYTES

    @property
    def grains(self) -> int:
        """Number of grains; the last one may be longer than what is left of the extent."""
        return -(-self.capacity // self.grain)

    @property
    def tables(self) -> int:
        """Number of grain tables."""
        return -(-self.grains // self.table_entries)

    def entries_of(self, index: int) -> int:
        """Return how many entries of table ``index`` stand for a part of the extent."""
        return min(self.table_entries, self.grains - index * self.table_entries)


class GrainTables(Protocol):
    """The tables of one extent."""

    @property
    def geometry(self) -> Geometry:
        """Sizes."""
        ...

    def load(self, index: int) -> array[int]:
        """Return table ``index``: :data:`UNALLOCATED`, :data:`ZEROED` or a sector, per grain.

        At least ``geometry.entries_of(index)`` entries; every sector is inside the file.

        :raises CorruptError: if it lies outside of the file, or points there.
        """
        ...


@lru_cache(maxsize=16)
def empty_table(entries: int) -> array[int]:
    """Return the table of grains none of which is stored; mostly the same object."""
    return array("I", bytes(4 * entries))


def little_endian(code: Literal["I", "Q"], raw: BytesLike) -> array[int]:
    """Return the unsigned integers of 32 (``I``) or 64 (``Q``) bits that ``raw`` holds."""
    table: array[int] = array(code, bytes(raw))
    if sys.byteorder == "big":
        table.byteswap()
    return table


def read_directory(
    file: ByteSource, code: Literal["I", "Q"], offset: int, geometry: Geometry, max_bytes: int
) -> array[int]:
    """Return the grain directory at ``offset``, an entry for each grain table.

    :param max_bytes: what it may take in memory.
    :raises LimitError: if it is larger.
    :raises CorruptError: if it lies outside of ``file``, or has a table twice.
    """
    length = geometry.tables * (4 if code == "I" else 8)
    if length > max_bytes:
        raise LimitError(
            f"has a grain directory of {length:,} bytes, more than the {max_bytes:,} allowed",
            origin=file.origin,
            offset=offset,
        )
    directory = little_endian(code, read_exact(file, offset, length, "the grain directory"))
    tables = [entry for entry in directory if entry > ZEROED]
    if len(set(tables)) != len(tables):  # a small file could else be read for ever
        raise CorruptError(
            "has a grain table that two parts of the disk share", origin=file.origin, offset=offset
        )
    return directory


def read_table(
    file: ByteSource, sector: int, geometry: Geometry, index: int, *, has_zeroed: bool
) -> array[int]:
    """Return grain table ``index`` of 32-bit sectors, which starts at ``sector``; 0 is no table.

    Tables are mostly made together with the disk, so that on a large one most are there and empty.

    :raises CorruptError: if it lies outside of ``file``, or points there.
    """
    length = geometry.entries_of(index) * 4
    offset = sector * SECTOR_BYTES
    raw = bytes(read_exact(file, offset, length, "a grain table")) if sector else b""
    if raw == bytes(len(raw)):
        return empty_table(geometry.table_entries)
    table = little_endian("I", raw)
    check_sectors(table, file, offset, "grain table", has_zeroed=has_zeroed)
    return table


def check_sectors(
    table: array[int], file: ByteSource, offset: int, what: str, *, has_zeroed: bool
) -> None:
    """Refuse a table or directory that points behind the end of ``file``, to its header or itself.

    :param offset: where it is.
    :param what: for the message: "grain table".
    :param has_zeroed: whether :data:`ZEROED` is used; sector 1 is refused otherwise.
    """
    end = -(-file.size // SECTOR_BYTES)
    refused = {offset // SECTOR_BYTES, ZEROED} - ({ZEROED} if has_zeroed else set())
    if max(table, default=0) < end and not any(sector in table for sector in refused):
        return
    index, entry = next(
        (index, entry) for index, entry in enumerate(table) if entry >= end or entry in refused
    )
    where = "behind its end" if entry >= end else "to its header or to itself"
    raise CorruptError(
        f"has a {what} that points {where}, to sector {entry:,}",
        origin=file.origin,
        offset=offset + index * table.itemsize,
        hint=TRUNCATED,
    )
