"""Content of files: extents read, decoded in threads ahead of the reader, holes as zeros."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from formats.codecs.ahead import UnitCache
from formats.core.errors import ConvertError, CorruptError
from formats.core.source import BytesLike
from formats.filesystems.btrfs.compression import decompress
from formats.filesystems.btrfs.extents import LARGEST_UNIT_BYTES, FileExtent, Unit
from formats.filesystems.btrfs.space import Space
from formats.filesystems.btrfs.sums import DataReader
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
        position = 0
        for extent in extents:
            start = extent.start
            if start < position:
                raise CorruptError(f"has extents that overlap at byte {start:,}")
            if start >= size:
                break
            if start > position:
                yield from holes(start - position)
            length = min(extent.length, size - start)
            if extent.unit is not None:
                yield memoryview(self._cache.get(extent.unit))[extent.skip : extent.skip + length]
            elif extent.logical:
                yield from self._plain(extent.logical, length, has_sums=has_sums)
            elif extent.inline is not None:
                yield self.inline(extent)[:length]
            else:
                yield from holes(length)
            position = start + length
        if position < size:
            yield from holes(size - position)

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
