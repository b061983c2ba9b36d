"""Checksums of data: a tree that has one for each sector ("On-disk Format", "EXTENT_CSUM")."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from formats.core.errors import CorruptError
from formats.core.source import BytesLike
from formats.filesystems.btrfs.btree import Tree
from formats.filesystems.btrfs.checksums import Checksum
from formats.filesystems.btrfs.items import CSUM_ITEM, EXTENT_CSUM, Key
from formats.filesystems.btrfs.space import Space

_FAULT = "data has a wrong checksum"
_MORE = float("inf")


class Sums(NamedTuple):
    """Checksums of adjoining sectors from ``start`` to ``end``, logical addresses."""

    start: int
    end: int
    data: bytes


class DataReader:
    """Reads data by logical address, from whichever copy has the right checksums.

    :param logged: checksums of what was logged; they are newer than those in the tree. Two logs
        may have some of the same, where files of two subvolumes share data.
    """

    def __init__(
        self,
        space: Space,
        tree: Tree,
        checksum: Checksum,
        sector_bytes: int,
        logged: Sequence[Sums] = (),
    ) -> None:
        self._space = space
        self._tree = tree
        self._checksum = checksum
        self._sector_bytes = sector_bytes
        self._logged = list(_without_parts(logged))
        self._last = Sums(0, 0, b"")
        """The item that was needed last: the next sector is likely in it too."""

    def read(self, logical: int, length: int, *, has_sums: bool) -> BytesLike:
        """Return whole sectors.

        :param has_sums: whether there must be checksums of them.
        :raises CorruptError: if no copy is right.
        """
        space, sector_bytes, of_sectors = self._space, self._sector_bytes, self._checksum.of_sectors
        if not has_sums:
            return space.read(logical, length, _FAULT, lambda _: True)
        expected = self._expected(logical, length)

        def is_right(data: BytesLike) -> bool:
            return of_sectors(data, sector_bytes) == expected

        try:
            return space.read(logical, length, _FAULT, is_right)
        except CorruptError:
            if length == sector_bytes:
                raise
        # No copy is right in all sectors; each sector may be in one of them.
        return b"".join(
            [
                self.read(at, sector_bytes, has_sums=True)
                for at in range(logical, logical + length, sector_bytes)
            ]
        )

    def _expected(self, logical: int, length: int) -> bytes:
        parts: list[bytes] = []
        size, sector_bytes = self._checksum.size, self._sector_bytes
        end = logical + length
        while logical < end:
            sums = self._sums(logical)
            stop = min(end, sums.end)
            first = (logical - sums.start) // sector_bytes * size
            last = (stop - sums.start) // sector_bytes * size
            parts.append(sums.data[first:last])
            logical = stop
        return b"".join(parts)

    def _sums(self, logical: int) -> Sums:
        """Return checksums of the sector at an address and of sectors after it.

        :raises CorruptError: if there are none.
        """
        last = self._last
        if last.start <= logical < last.end:
            return last
        upper = None
        if self._logged:
            index = bisect.bisect_right(self._logged, (logical, _MORE))
            if index and logical < self._logged[index - 1].end:
                return self._logged[index - 1]
            upper = self._logged[index].start if index < len(self._logged) else None
        item = self._tree.at_or_before(Key(EXTENT_CSUM, CSUM_ITEM, logical))
        if item is not None and item[:2] == (EXTENT_CSUM, CSUM_ITEM):
            found = self._parsed(item.offset, item.data)
            if logical < found.end:
                if upper is None:
                    self._last = found
                    return found
                return found._replace(end=min(found.end, upper))
        raise self._space.damaged(logical, "data has no checksum")

    def _parsed(self, start: int, data: bytes) -> Sums:
        return parse_sums(start, data, self._checksum, self._sector_bytes)


def parse_sums(start: int, data: bytes, checksum: Checksum, sector_bytes: int) -> Sums:
    """Return what one item of checksums has."""
    return Sums(start, start + len(data) // checksum.size * sector_bytes, data)


def _without_parts(sums: Sequence[Sums]) -> Iterator[Sums]:
    """Yield checksums by address, and none that are a part of others.

    So the last ones that begin before an address have it if any have.
    """
    end = 0
    for one in sorted(sums):
        if one.end > end:
            yield one
            end = one.end
