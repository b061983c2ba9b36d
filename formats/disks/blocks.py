"""Disks made of large blocks, found through one table: VHD, VHDX, VDI, Parallels.

A format brings a :class:`Blocks`, which reads its table (:class:`BlockTable`) and says what an
entry means. The bytes of the disk then are :func:`block_source`::

    read ─► BlockMap.runs ─► Blocks.locate ─┬► in the file, whole or by sector
                                            ├► zeros
                                            └► absent: the parent's, or zeros without one
"""

from __future__ import annotations

import sys
import threading
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from formats.core.errors import CorruptError, LimitError
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource, read_exact
from formats.disks.clusters import ClusterSource, Run
from formats.disks.runs import join_run, pass_hints

TRUNCATED = "the file may be truncated: compare its size with the original"
"""Hint for what ends too early."""

ABSENT = -1
"""In :attr:`Block.offset`: not in this file."""

ZEROED = -2
"""In :attr:`Block.offset`: zeros, whatever a parent holds."""

_PAGE_ENTRIES = 8192
_PAGES = 64
_HINT_BYTES = 256 << 20


class Block(NamedTuple):
    """Where blocks are.

    :ivar offset: of the first one's data in the file, or :data:`ABSENT` or :data:`ZEROED`.
    :ivar alike: how many blocks from this one on are absent or zeroed like it; 1 for data.
    :ivar sectors: for data, a byte for each sector of the block: 1 if it is here, 0 if it is
        absent. None if all are here.
    """

    offset: int
    alike: int = 1
    sectors: bytes | None = None


class Blocks(Protocol):
    """What a format knows. :meth:`locate` is called from several threads at once."""

    @property
    def block_bytes(self) -> int:
        """Size of a block."""
        ...

    @property
    def sector_bytes(self) -> int:
        """Size of a sector of :attr:`Block.sectors`."""
        ...

    def locate(self, index: int, most: int) -> Block:
        """Return where block ``index`` is.

        :param most: no more than this many blocks are asked for.
        :raises CorruptError: if the table is damaged there.
        """
        ...


class BlockTable:
    """A table of block addresses in a file, read page by page, a bounded number of them kept.

    :param code: ``I`` for entries of 32 bits, ``Q`` for 64.
    :param what: for messages: "the block allocation table".
    :raises CorruptError: if the table lies outside of the file.
    """

    def __init__(
        self,
        file: ByteSource,
        offset: int,
        entries: int,
        *,
        code: Literal["I", "Q"],
        byteorder: Literal["little", "big"],
        what: str,
    ) -> None:
        self._file = file
        self._offset = offset
        self.entries = entries
        self._code = code
        self._width = 4 if code == "I" else 8
        self._is_swapped = byteorder != sys.byteorder
        self._what = what
        self._pages: OrderedDict[int, tuple[array[int], bool]] = OrderedDict()
        self._lock = threading.Lock()
        if offset < 0 or offset + entries * self._width > file.size:
            raise CorruptError(
                f"{what} of {entries:,} entries lies outside of the {file.size:,} bytes there are",
                origin=file.origin,
                offset=offset,
                hint=TRUNCATED,
            )

    def offset_of(self, index: int) -> int:
        """Return where an entry is in the file."""
        return self._offset + index * self._width

    def repeated(self, index: int, most: int) -> tuple[int, int]:
        """Return an entry, and how many from it on are the same: at least 1, at most ``most``.

        :raises CorruptError: if there is no such entry.
        """
        if not 0 <= index < self.entries:
            raise CorruptError(
                f"{self._what} has {self.entries:,} entries, and entry {index:,} is needed",
                origin=self._file.origin,
                offset=self._offset,
            )
        number, start = divmod(index, _PAGE_ENTRIES)
        page, is_uniform = self._page(number)
        entry = page[start]
        end = min(start + most, len(page))
        if is_uniform:
            return entry, end - start
        following = start + 1
        while following < end and page[following] == entry:
            following += 1
        return entry, following - start

    def _page(self, number: int) -> tuple[array[int], bool]:
        """Return a page's entries, and whether all are the same."""
        found = self._pages.get(number)
        if found is not None:
            return found
        first = number * _PAGE_ENTRIES
        count = min(_PAGE_ENTRIES, self.entries - first)
        raw = read_exact(self._file, self.offset_of(first), count * self._width, self._what)
        page: array[int] = array(self._code, bytes(raw))
        if self._is_swapped:
            page.byteswap()
        found = page, page.count(page[0]) == len(page)
        with self._lock:
            self._pages[number] = found
            if len(self._pages) > _PAGES:
                self._pages.popitem(last=False)
        return found


class BlockMap:
    """Where each range of the disk is; a :class:`~formats.disks.clusters.ClusterMap`.

    :param file: what :attr:`Block.offset` counts in.
    :param size: bytes of the guest's disk.
    :param backing: the parent's disk; zeros are read beyond its end.
    """

    def __init__(
        self, file: ByteSource, blocks: Blocks, size: int, backing: ByteSource | None
    ) -> None:
        self.size = size
        self.backing = backing
        self._file = file
        self._blocks = blocks

    def runs(self, offset: int, length: int) -> Sequence[Run]:
        """See :class:`~formats.disks.clusters.ClusterMap`."""
        found: list[Run] = []
        block_bytes = self._blocks.block_bytes
        stop = offset + length
        while offset < stop:
            index, skip = divmod(offset, block_bytes)
            block = self._blocks.locate(index, -(-stop // block_bytes) - index)
            end = min(stop, (index + block.alike) * block_bytes)
            if block.sectors is not None:
                self._add_sectors(found, block.sectors, block.offset, offset, end)
            else:
                place = block.offset + skip if block.offset >= 0 else block.offset
                self._add(found, place, offset, end - offset)
            offset = end
        return found

    def decode(self, unit: int) -> BytesLike:
        """Never called: no run has a unit."""
        raise CorruptError(f"has no unit {unit:,}", origin=self._file.origin)

    def _add_sectors(
        self, found: list[Run], sectors: bytes, base: int, offset: int, stop: int
    ) -> None:
        """Append the range from ``offset`` to ``stop`` of one block whose data is at ``base``."""
        start = offset - offset % self._blocks.block_bytes
        sector_bytes = self._blocks.sector_bytes
        while offset < stop:
            first = (offset - start) // sector_bytes
            following = sectors.find(b"\0" if sectors[first] else b"\1", first)
            end = stop if following < 0 else min(stop, start + following * sector_bytes)
            place = base + offset - start if sectors[first] else ABSENT
            self._add(found, place, offset, end - offset)
            offset = end

    def _add(self, found: list[Run], place: int, offset: int, length: int) -> None:
        """Append ``length`` bytes of the disk at ``offset``; ``place`` as :attr:`Block.offset`."""
        if place >= 0:
            if place + length > self._file.size:
                raise CorruptError(
                    f"a block lies outside of the {self._file.size:,} bytes there are",
                    origin=self._file.origin,
                    offset=place,
                    hint=TRUNCATED,
                )
            join_run(found, Run(length, self._file, place))
            return
        if place == ABSENT and self.backing is not None and offset < self.backing.size:
            below = min(length, self.backing.size - offset)
            join_run(found, Run(below, self.backing, offset))
            length -= below
        if length:
            join_run(found, Run(length))


class _BlockSource(ClusterSource):
    """A disk of blocks as a source; nothing in it is decoded."""

    def __init__(self, blocks: BlockMap, origin: Origin) -> None:
        super().__init__(blocks, origin, unit_bytes=1, cache_bytes=0)
        self._blocks = blocks

    def will_need(self, ranges: Sequence[tuple[int, int]]) -> None:
        """See :meth:`~formats.core.source.ByteSource.will_need`."""
        pass_hints(self._blocks, ranges, step_bytes=_HINT_BYTES)


def block_source(
    file: ByteSource, blocks: Blocks, size: int, backing: ByteSource | None = None
) -> ByteSource:
    """Return the disk of ``size`` bytes that a file's blocks make; see :class:`BlockMap`."""
    return _BlockSource(BlockMap(file, blocks, size, backing), file.origin)


def check_disk_size(size: int, limits: Limits, origin: Origin, offset: int) -> None:
    """Hold to the limit on disks.

    :param offset: where in the file the size is stated.
    :raises LimitError: if the disk is larger.
    """
    if size > limits.disk_virtual_bytes:
        raise LimitError(
            f"has a disk of {size:,} bytes, more than the {limits.disk_virtual_bytes:,} allowed",
            origin=origin,
            offset=offset,
        )


_BIT_BYTES = tuple(
    bytes(value >> bit & 1 for bit in range(8)) for value in range(256)
)  # of each byte, its bits as bytes, the lowest first
_BIT_BYTES_HIGH_FIRST = tuple(bits[::-1] for bits in _BIT_BYTES)


def sector_flags(bitmap: BytesLike, *, is_high_first: bool) -> bytes | None:
    """Return a bitmap as :attr:`Block.sectors`.

    :param is_high_first: whether the first sector of eight is a byte's highest bit.
    """
    bits = bytes(bitmap)
    if bits.count(0xFF) == len(bits):
        return None
    table = _BIT_BYTES_HIGH_FIRST if is_high_first else _BIT_BYTES
    return b"".join(map(table.__getitem__, bits))
