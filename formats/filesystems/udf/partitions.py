"""Partition maps: from logical blocks to bytes of the image (ECMA-167 3/10.7, UDF 2.60, 2.2.8 on).

A plain map is a range of the image. The others lie on one: in a virtual partition, a table of the
last session says where each block went; in a sparable one, packets of bad blocks are elsewhere; in
a metadata partition, blocks are those of a file.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Protocol

from formats.core.errors import CorruptError
from formats.core.origin import Origin

_NONE = (0, 0, 0)


class Partition(Protocol):
    """Logical blocks of one partition."""

    def pieces(self, block: int, count: int) -> Iterator[tuple[int, int]]:
        """Yield byte offset and number of adjoining blocks for a range of logical blocks.

        :raises CorruptError: if one of them is not in the partition.
        """
        ...


@dataclass(frozen=True, slots=True)
class PlainPartition:
    """A range of the image, in blocks."""

    start: int
    blocks: int
    block_bytes: int
    origin: Origin

    def pieces(self, block: int, count: int) -> Iterator[tuple[int, int]]:
        """See :meth:`Partition.pieces`."""
        if block + count > self.blocks:
            raise _outside(self.origin, block, count, self.blocks)
        yield (self.start + block) * self.block_bytes, count


@dataclass(frozen=True, slots=True)
class VirtualPartition:
    """One whose blocks are where a table says: for media that are written once.

    :ivar table: a block of ``below`` for each.
    """

    table: Sequence[int]
    below: PlainPartition

    def pieces(self, block: int, count: int) -> Iterator[tuple[int, int]]:
        """See :meth:`Partition.pieces`."""
        if block + count > len(self.table):
            raise _outside(self.below.origin, block, count, len(self.table))
        for place in self.table[block : block + count]:
            yield from self.below.pieces(place, 1)


@dataclass(frozen=True, slots=True)
class SparablePartition:
    """One with packets of blocks that went bad and are elsewhere.

    :ivar spared: from the first block of a packet to that of its replacement in the image.
    """

    spared: Mapping[int, int]
    packet_blocks: int
    below: PlainPartition

    def pieces(self, block: int, count: int) -> Iterator[tuple[int, int]]:
        """See :meth:`Partition.pieces`."""
        if not self.spared:
            yield from self.below.pieces(block, count)
            return
        while count:
            skip = block % self.packet_blocks
            part = min(count, self.packet_blocks - skip)
            spare = self.spared.get(block - skip)
            if spare is None:
                yield from self.below.pieces(block, part)
            else:
                yield (spare + skip) * self.below.block_bytes, part
            block, count = block + part, count - part


@dataclass(frozen=True, slots=True)
class MetadataPartition:
    """One whose blocks are those of a file in another.

    :ivar extents: first block here, number of blocks and byte offset in the image, in order.
    """

    extents: Sequence[tuple[int, int, int]]
    block_bytes: int
    origin: Origin

    def pieces(self, block: int, count: int) -> Iterator[tuple[int, int]]:
        """See :meth:`Partition.pieces`."""
        index = bisect_right(self.extents, block, key=itemgetter(0)) - 1
        while count:
            first, blocks, offset = self.extents[index] if 0 <= index < len(self.extents) else _NONE
            skip = block - first
            if not 0 <= skip < blocks:
                total = sum(blocks for _, blocks, _ in self.extents)
                raise _outside(self.origin, block, count, total)
            part = min(count, blocks - skip)
            yield offset + skip * self.block_bytes, part
            block, count, index = block + part, count - part, index + 1


def _outside(origin: Origin, block: int, count: int, blocks: int) -> CorruptError:
    return CorruptError(
        f"blocks {block:,} to {block + count - 1:,} are wanted of a partition of {blocks:,}",
        origin=origin,
    )
