"""The file allocation table: which cluster follows on which.

Specification: Microsoft "FAT: General Overview of On-Disk Format" 1.03, "FAT Data Structure". The
table of FAT32 may have hundreds of megabytes: it is read page by page, a few of them kept.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from formats.core.errors import CorruptError, LimitError
from formats.core.source import ByteSource, read_exact
from formats.filesystems.fat.boot import BootSector, FatType
from formats.filesystems.runs import Run

FIRST_CLUSTER = 2

_PAGE_ENTRIES = 16_384
_PAGES = 32
_FAT32_MASK = 0x0FFFFFFF
_BAD = {FatType.FAT12: 0xFF7, FatType.FAT16: 0xFFF7, FatType.FAT32: 0x0FFFFFF7}
_CLEAN = {FatType.FAT16: 0x8000, FatType.FAT32: 0x08000000}
_NO_ERRORS = {FatType.FAT16: 0x4000, FatType.FAT32: 0x04000000}
_MOST_RUNS = 1 << 18

_HINT = "run 'fsck.fat' on a copy"


class AllocationTable:
    """The table of one filesystem.

    :raises CorruptError: if it lies outside of the volume.
    """

    def __init__(self, source: ByteSource, boot: BootSector) -> None:
        self._source = source
        self._kind = boot.kind
        self._offset = boot.table_offset
        self._end = FIRST_CLUSTER + boot.clusters
        self._bad = _BAD[boot.kind]
        read_exact(source, boot.table_offset, 0, "the file allocation table")
        if boot.kind is FatType.FAT12:
            # Six thousand bytes at the most, with entries across bytes: unpacked at once.
            whole = _unpack_12(self._read(0, -(-self._end * 3 // 2)))[: self._end]
            self._page: Callable[[int], array[int]] = lambda _: whole
        else:
            self._page = lru_cache(maxsize=_PAGES)(self._read_page)

    @property
    def is_clean(self) -> bool:
        """Whether it was unmounted (ClnShutBitMask); FAT12 does not say that it was not."""
        return self._state_bit(_CLEAN)

    @property
    def is_without_errors(self) -> bool:
        """Whether no disk error was met (HrdErrBitMask); FAT12 does not say that one was."""
        return self._state_bit(_NO_ERRORS)

    def _state_bit(self, bits: Mapping[FatType, int]) -> bool:
        """Return one of the two bits in the second entry, which stands for no cluster."""
        bit = bits.get(self._kind)
        return bit is None or bool(self._page(0)[1] & bit)

    def chain(self, first: int, most: int) -> list[Run]:
        """Return where the clusters of a chain are, as blocks of the heap, counted from 0.

        :param most: how many are asked for; the chain may end before.
        :raises CorruptError: if it breaks off, leaves the volume, or comes back to itself.
        :raises LimitError: if it is in too many pieces.
        """
        runs: list[Run] = []
        position, start = 0, first
        while position < most:
            if not FIRST_CLUSTER <= start < self._end:
                raise self._broken(first, start)
            length, following = self._run_from(start, most - position)
            runs.append(Run(position, length, start - FIRST_CLUSTER))
            if len(runs) > _MOST_RUNS:
                raise LimitError(
                    f"is in more than {_MOST_RUNS:,} pieces", origin=self._source.origin
                )
            position += length
            if following > self._bad:
                break
            start = following
            if position >= self._end:  # longer than the volume: no need to follow it to the end
                break
        ordered = sorted((run.start, run.blocks) for run in runs)
        if any(start + length > after for (start, length), (after, _) in pairwise(ordered)):
            raise self._damaged(f"the chain from cluster {first:,} comes back to itself", first)
        return runs

    def count_free(self) -> int:
        """Return how many clusters are free, by looking at each."""
        pages = range(-(-self._end // _PAGE_ENTRIES))
        return sum(self._page(number).count(0) for number in pages)

    def _run_from(self, cluster: int, most: int) -> tuple[int, int]:
        """Return how many clusters follow one another on the volume, and what comes after them."""
        length = 0
        while cluster < self._end:
            number, index = divmod(cluster, _PAGE_ENTRIES)
            page = self._page(number)
            stop = min(len(page), index + most - length)
            for following in page[index:stop]:
                length += 1
                cluster += 1
                if following != cluster:
                    return length, following
            if length == most:
                break
        return length, cluster

    def _read_page(self, number: int) -> array[int]:
        """Return the entries of a page of FAT16 or FAT32."""
        code: Literal["H", "I"] = "H" if self._kind is FatType.FAT16 else "I"
        page: array[int] = array(code)
        first = number * _PAGE_ENTRIES
        count = min(_PAGE_ENTRIES, self._end - first)
        page.frombytes(self._read(first * page.itemsize, count * page.itemsize))
        if sys.byteorder == "big":
            page.byteswap()
        if code == "I" and max(page) > _FAT32_MASK:  # the upper four bits are reserved
            page = array(code, [entry & _FAT32_MASK for entry in page])
        return page

    def _read(self, offset: int, length: int) -> bytes:
        place = self._offset + offset
        return bytes(read_exact(self._source, place, length, "the file allocation table"))

    def _broken(self, first: int, entry: int) -> CorruptError:
        what = {0: "a free cluster", self._bad: "a bad cluster"}.get(entry, f"cluster {entry:,}")
        if entry == first:
            return self._damaged(f"starts at {what}, which cannot be", first)
        return self._damaged(f"the chain from cluster {first:,} goes on in {what}", first)

    def _damaged(self, what: str, cluster: int) -> CorruptError:
        bits = min(cluster, self._end) * int(self._kind)
        return CorruptError(
            what, origin=self._source.origin, offset=self._offset + bits // 8, hint=_HINT
        )


def _unpack_12(packed: bytes) -> array[int]:
    """Return entries of twelve bits: two in three bytes, the lower first."""
    entries: array[int] = array("H")
    for index in range(0, len(packed) - 1, 3):
        low, middle = packed[index], packed[index + 1]
        entries.append(low | (middle & 0x0F) << 8)
        if index + 2 < len(packed):
            entries.append(middle >> 4 | packed[index + 2] << 4)
    return entries
