"""Allocation descriptors (ECMA-167 4/14.14): where the content of a file is.

Decoded here, since pycdlib 1.22 drops the two bits that tell data from holes and continuations.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.source import ByteSource, read_exact
from formats.filesystems.runs import Run
from formats.filesystems.udf.partitions import Partition
from formats.filesystems.udf.structures import ALLOCATION_EXTENT, Place, read_tag

SHORT, LONG, EXTENDED, INLINE = range(4)

_SHORT = struct.Struct("<II")
_LONG = struct.Struct("<IIH6x")
_EXTENT_HEADER = struct.Struct("<16xII")
_LENGTH_BITS = 30
_RECORDED, _UNRECORDED, _ABSENT, _CONTINUED = range(4)


class Allocation(NamedTuple):
    """How a file's content is described.

    :ivar form: :data:`SHORT`, :data:`LONG` or :data:`INLINE`.
    :ivar data: the descriptors, or the content itself.
    :ivar entry: where the file entry is. Short descriptors count blocks of its partition.
    """

    form: int
    data: bytes
    entry: Place


class Mapper:
    """Follows allocation descriptors of one volume."""

    def __init__(self, source: ByteSource, block_bytes: int) -> None:
        self.partitions: list[Partition] = []
        """In the order of the volume's maps; filled while they are read."""
        self.source = source
        self.block_bytes = block_bytes
        self._owners: dict[Place, Place] = {}
        """Which file a block with more descriptors belongs to: shared, they are read forever."""

    def block(self, place: Place) -> tuple[bytes, int]:
        """Return a logical block, and where it is in the image.

        :raises CorruptError: if there is none.
        """
        ((offset, _),) = self._pieces(place, 1)
        return bytes(read_exact(self.source, offset, self.block_bytes, "a block")), offset

    def _pieces(self, place: Place, count: int) -> Iterator[tuple[int, int]]:
        if place.partition >= len(self.partitions):
            raise CorruptError(
                f"partition {place.partition} is wanted of {len(self.partitions)}",
                origin=self.source.origin,
            )
        return self.partitions[place.partition].pieces(place.block, count)

    def runs(self, allocation: Allocation, size: int) -> list[Run]:
        """Return where the first ``size`` bytes are, in bytes; holes have no run.

        :raises CorruptError: if a descriptor is damaged, or they end before.
        :raises UnsupportedError: for extended descriptors, which UDF forbids.
        """
        runs: list[Run] = []
        position = recorded = 0
        for kind, length, place in self._extents(allocation):
            if position >= size:
                break
            wanted = min(length, size - position)
            if length % self.block_bytes and position + length < size:
                raise CorruptError("has an extent that ends inside of a block, and goes on")
            if kind == _RECORDED:
                start = position
                for offset, count in self._pieces(place, -(-wanted // self.block_bytes)):
                    part = min(count * self.block_bytes, position + wanted - start)
                    runs.append(Run(start, part, offset))
                    start += part
                recorded += wanted
                if recorded > self.source.size:
                    raise CorruptError("has extents that overlap: they are larger than the image")
            position += length
        if position < size:
            raise CorruptError(f"has {size:,} bytes and extents for {position:,}")
        return runs

    def _extents(self, allocation: Allocation) -> Iterator[tuple[int, int, Place]]:
        """Yield kind, length in bytes and place of each extent, through all continuations."""
        form, data, entry = allocation
        if form == EXTENDED:
            raise UnsupportedError("has extended allocation descriptors")
        record = _SHORT if form == SHORT else _LONG
        seen: set[Place] = set()
        while True:
            following: Place | None = None
            for fields in record.iter_unpack(data[: len(data) - len(data) % record.size]):
                length = fields[0] & (1 << _LENGTH_BITS) - 1
                kind = fields[0] >> _LENGTH_BITS
                place = Place(fields[2] if form == LONG else entry.partition, fields[1])
                if not length:
                    return
                if kind == _CONTINUED:
                    following = place
                    break
                yield kind, length, place
            if following is None:
                return
            if following in seen or self._owners.setdefault(following, entry) != entry:
                raise CorruptError("its allocation descriptors lead into others, or a circle")
            seen.add(following)
            data = self._continuation(following)

    def _continuation(self, place: Place) -> bytes:
        block, offset = self.block(place)
        what = "an allocation extent descriptor"
        tag = read_tag(block, self.source, offset, what)
        _, length = _EXTENT_HEADER.unpack_from(block)
        end = _EXTENT_HEADER.size + length
        if tag.tag_ident != ALLOCATION_EXTENT or end > len(block):
            raise CorruptError(f"{what} is none", origin=self.source.origin, offset=offset)
        return block[_EXTENT_HEADER.size : end]
