"""Content of files: extents read, decoded in threads ahead of the reader, holes as zeros."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from formats.codecs.ahead import UnitCache
from formats.core.errors import ConvertError, CorruptError
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource, zeros
from formats.filesystems.btrfs.compression import decompress
from formats.filesystems.btrfs.extents import LARGEST_UNIT_BYTES, FileExtent, Unit
from formats.filesystems.btrfs.space import Space
from formats.filesystems.btrfs.sums import DataReader
from formats.filesystems.pieces import PieceSource
from formats.filesystems.runs import CHUNK_BYTES, holes

ManyExtents = Callable[[int], Iterable[FileExtent]]


class ContentReader:
    """Reads the content of a filesystem's files. May be used from several threads."""

    def __init__(self, data: DataReader, space: Space, sector_bytes: int, cache_bytes: int) -> None:
        self._data = data
        self._space = space
        self._sector_bytes = sector_bytes
        self._cache = UnitCache(
            self._decode, unit_bytes=LARGEST_UNIT_BYTES, capacity_bytes=cache_bytes
        )

    def close(self) -> None:
        """End the threads that decode ahead."""
        self._cache.close()

    def read(
        self, extents: Iterable[FileExtent], size: int, *, has_sums: bool
    ) -> Iterator[BytesLike]:
        """Yield the first ``size`` bytes of a file.

        :raises CorruptError: if extents overlap, or one cannot be read.
        """
        for extent in _adjoining(extents, size):
            length = min(extent.length, size - extent.start)
            if extent.unit is not None:
                yield memoryview(self._cache.get(extent.unit))[extent.skip : extent.skip + length]
            elif extent.logical:
                yield from self._plain(extent.logical, length, has_sums=has_sums)
            elif extent.inline is not None:
                yield self.inline(extent)[:length]
            else:
                yield from holes(length)

    def open(
        self, extents: Iterable[FileExtent], size: int, origin: Origin, *, has_sums: bool
    ) -> ByteSource:
        """Return the first ``size`` bytes of a file as a source.

        :raises CorruptError: if extents overlap.
        """
        pieces = _Extents(self, list(_adjoining(extents, size)), has_sums=has_sums)
        return PieceSource(pieces, size, origin)

    def piece(self, extent: FileExtent, skip: int, length: int, *, has_sums: bool) -> BytesLike:
        """Return some bytes of an extent.

        :raises CorruptError: if it cannot be read.
        """
        if extent.unit is not None:
            skip += extent.skip
            return memoryview(self._cache.get(extent.unit))[skip : skip + length]
        if extent.logical:
            before = skip % self._sector_bytes
            logical = extent.logical + skip - before
            parts = self._plain(logical, before + length, has_sums=has_sums)
            return memoryview(b"".join(parts))[before:]
        if extent.inline is not None:
            return memoryview(self.inline(extent))[skip : skip + length]
        return zeros(length)

    def inline(self, extent: FileExtent) -> BytesLike:
        """Return the content of an inline extent.

        :raises CorruptError: if it cannot be decoded; without a breadcrumb.
        """
        if not extent.compression:
            return extent.inline or b""
        return decompress(
            extent.compression, extent.inline or b"", extent.length, self._sector_bytes
        )

    def _plain(self, logical: int, length: int, *, has_sums: bool) -> Iterator[BytesLike]:
        """Yield what is stored as it is; only whole sectors can be verified."""
        for at in range(0, length, CHUNK_BYTES):
            wanted = min(CHUNK_BYTES, length - at)
            whole = wanted + -wanted % self._sector_bytes
            data = self._data.read(logical + at, whole, has_sums=has_sums)
            yield data if whole == wanted else data[:wanted]

    def _decode(self, unit: Unit) -> BytesLike:
        logical, stored, size, compression, has_sums = unit
        data = self._data.read(logical, stored, has_sums=has_sums)
        sector_bytes = self._sector_bytes
        try:
            return decompress(compression, data, size, sector_bytes, slack=sector_bytes - 1)
        except CorruptError as error:
            what = f"an extent cannot be decoded: {error.message}"
            raise self._space.damaged(logical, what) from error

    def will_need(self, extents: Iterable[FileExtent]) -> None:
        """Decode ahead what is compressed in these extents of a file."""
        self._cache.will_need(extent.unit for extent in extents if extent.unit is not None)

    def will_read(self, extents: ManyExtents, files: Sequence[int]) -> None:
        """Decode ahead what is compressed in these files, and announce the rest.

        :param extents: gives the extents of a file.
        """
        self._cache.will_need(self._units(extents, files))

    def _units(self, extents: ManyExtents, files: Sequence[int]) -> Iterator[Unit]:
        for number in files:
            plain: list[tuple[int, int]] = []
            try:
                for extent in extents(number):
                    if extent.unit is not None:
                        yield extent.unit
                    elif extent.logical:
                        plain.append((extent.logical, extent.length))
            except ConvertError:  # read() says what is wrong, when its turn comes
                continue
            if plain:
                self._space.will_need(plain)


def _adjoining(extents: Iterable[FileExtent], size: int) -> Iterator[FileExtent]:
    """Yield the extents of the first ``size`` bytes of a file, and holes between them.

    :raises CorruptError: if extents overlap.
    """
    position = 0
    for extent in extents:
        start = extent.start
        if start < position:
            raise CorruptError(f"has extents that overlap at byte {start:,}")
        if start >= size:
            break
        if start > position:
            yield FileExtent(position, start - position)
        yield extent
        position = min(start + extent.length, size)
    if position < size:
        yield FileExtent(position, size - position)


class _Extents:
    """The extents of one file, without gaps; see :class:`formats.filesystems.pieces.Pieces`."""

    def __init__(
        self, content: ContentReader, extents: Sequence[FileExtent], *, has_sums: bool
    ) -> None:
        self.starts: Sequence[int] = [extent.start for extent in extents]
        self._content = content
        self._extents = extents
        self._has_sums = has_sums

    def read(self, index: int, skip: int, length: int) -> BytesLike:
        extent = self._extents[index]
        return self._content.piece(extent, skip, length, has_sums=self._has_sums)

    def is_hole(self, index: int) -> bool:
        extent = self._extents[index]
        return not extent.logical and extent.unit is None and extent.inline is None

    def will_need(self, indexes: Iterator[int]) -> None:
        self._content.will_need(self._extents[index] for index in indexes)
