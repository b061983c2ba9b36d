"""Extents of files: which bytes come from where ("On-disk Format", section "EXTENT_DATA")."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.limits import KIB
from formats.filesystems.btrfs.compression import DECODERS

_HEADER = struct.Struct("<8xQBBHB")  # generation; decoded size, compression, encryption, …, type
_REGULAR = struct.Struct(
    "<4Q"
)  # logical address, size there; offset and size in what it decodes to
_INLINE, _DATA, _PREALLOCATED = 0, 1, 2

LARGEST_UNIT_BYTES = 128 * KIB
"""Of a compressed extent, both as it is stored and decoded (btrfs(5), COMPRESSION)."""
_MOST_INLINE_BYTES = 64 * KIB


class Unit(NamedTuple):
    """A compressed extent, which has to be decoded as a whole.

    :ivar logical: where it is.
    :ivar stored: bytes there.
    :ivar size: bytes that it decodes to.
    :ivar has_sums: whether there are checksums of it.
    """

    logical: int
    stored: int
    size: int
    compression: int
    has_sums: bool


class FileExtent(NamedTuple):
    """A piece of a file, in one of four forms: zeros, if there is nothing else.

    :ivar start: its first byte in the file.
    :ivar logical: where plain bytes are; 0 if there are none.
    :ivar skip: first byte in what ``unit`` decodes to.
    :ivar inline: stored bytes that were with the inode.
    :ivar compression: of them.
    """

    start: int
    length: int
    logical: int = 0
    unit: Unit | None = None
    skip: int = 0
    inline: bytes | None = None
    compression: int = 0

    def part(self, start: int, end: int) -> FileExtent:
        """Return what it has of some bytes of the file, which lie in it."""
        skipped = start - self.start
        logical = self.logical + skipped if self.logical else 0
        return self._replace(
            start=start, length=end - start, logical=logical, skip=self.skip + skipped
        )


def parse_extent(start: int, data: bytes, sector_bytes: int, *, has_sums: bool) -> FileExtent:
    """Return what one item says.

    :param start: the item's offset.
    :param has_sums: whether the inode's data has checksums.
    :raises UnsupportedError: for an encoding that is not read; without a breadcrumb.
    :raises CorruptError: if a value is impossible; without a breadcrumb.
    """
    if len(data) < _HEADER.size:
        raise CorruptError("an extent's item is cut short")
    size, compression, encryption, encoding, kind = _HEADER.unpack_from(data)
    if encryption or encoding or compression not in DECODERS:
        raise UnsupportedError(
            f"an extent has compression {compression}, encryption {encryption} and encoding"
            f" {encoding}, which are not known",
            hint="copy the files to a filesystem without them",
        )
    if kind == _INLINE:
        inline = data[_HEADER.size :]
        if start or size > _MOST_INLINE_BYTES or (not compression and size != len(inline)):
            raise CorruptError(f"an inline extent of {size:,} bytes at {start:,} is impossible")
        return FileExtent(start, size, inline=inline, compression=compression)
    if kind not in {_DATA, _PREALLOCATED} or len(data) < _HEADER.size + _REGULAR.size:
        raise CorruptError(f"an extent of type {kind} has {len(data)} bytes")
    logical, stored, skip, length = _REGULAR.unpack_from(data, _HEADER.size)
    if not length or (start | length | skip | logical | stored) % sector_bytes:
        raise CorruptError(f"the extent at {start:,} does not begin and end at sectors")
    if start + length > 1 << 63:
        raise CorruptError(f"an extent ends at {start + length:,}")
    if not logical or kind == _PREALLOCATED:
        return FileExtent(start, length)
    if not compression:
        if skip + length > stored:
            raise CorruptError(f"the extent at {start:,} is larger than what it refers to")
        return FileExtent(start, length, logical + skip)
    if max(stored, size) > LARGEST_UNIT_BYTES or skip + length > size or not stored:
        raise CorruptError(f"the compressed extent at {start:,} has impossible sizes")
    unit = Unit(logical, stored, size, compression, has_sums)
    return FileExtent(start, length, unit=unit, skip=skip)


def overlaid(
    below: Iterable[FileExtent], end: int, above: Sequence[FileExtent], sector_bytes: int
) -> Iterator[FileExtent]:
    """Yield extents of a file, where newer ones have taken the place of older ones.

    :param below: the older ones, in order; what lies behind ``end`` is gone.
    :param above: the newer ones, in order; they do not overlap.
    """
    position = index = 0
    for extent in below:
        # An inline extent has a sector to itself.
        last = min(extent.start + extent.length + -extent.length % sector_bytes, end)
        start = extent.start
        while (start := max(start, position)) < last:
            if index < len(above) and above[index].start <= start:
                newer = above[index]
                yield newer
                position = newer.start + newer.length + -newer.length % sector_bytes
                index += 1
                continue
            stop = min(last, above[index].start) if index < len(above) else last
            yield extent.part(start, min(stop, extent.start + extent.length))
            start = stop
    yield from above[index:]
