"""Runs: where on a volume the blocks of a file are, and reading through them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from formats.core.errors import CorruptError
from formats.core.origin import Origin
from formats.core.source import (
    ZERO_CHUNK_BYTES,
    ZEROS,
    BytesLike,
    ByteSource,
    MappedSource,
    Segment,
)

CHUNK_BYTES = 1 << 18
"""What is read at once: few calls, and small enough to be in cache for who hashes or writes it."""


class Run(NamedTuple):
    """Adjoining blocks of a file that adjoin on the volume too.

    A named tuple, as a fragmented file may have a hundred thousand of them.

    :ivar first: first block of the file.
    :ivar blocks: number of blocks.
    :ivar start: first block of the volume.
    """

    first: int
    blocks: int
    start: int


def coalesce(runs: Iterable[Run], block_count: int) -> list[Run]:
    """Join runs that adjoin, and cut off what lies behind the first ``block_count`` blocks.

    :param runs: in file order.
    """
    joined: list[Run] = []
    first = count = start = 0
    for run in runs:
        if run.first >= block_count:
            break
        if count and run.first == first + count and run.start == start + count:
            count += run.blocks
            continue
        if count:
            joined.append(Run(first, count, start))
        first, count, start = run
    if count:
        joined.append(Run(first, min(count, block_count - first), start))
    return joined


def read_runs(
    source: ByteSource, runs: Sequence[Run], block_bytes: int, size: int
) -> Iterator[BytesLike]:
    """Yield the ``size`` bytes that the runs lead to, a chunk at a time; holes as zeros.

    :raises CorruptError: if the volume ends before.
    """
    position = 0
    for first, count, start in runs:
        begin = first * block_bytes
        if begin > position:
            yield from holes(begin - position)
        end = min(begin + count * block_bytes, size)
        offset = start * block_bytes
        for at in range(begin, end, CHUNK_BYTES):
            length = min(CHUNK_BYTES, end - at)
            data = source.read_at(offset + at - begin, length)
            if len(data) != length:
                raise CorruptError(
                    "the volume ends inside a file",
                    origin=source.origin,
                    offset=offset + at - begin + len(data),
                    hint="the file may be truncated: compare its size with the original",
                )
            yield data
        position = end
    yield from holes(size - position)


def run_source(
    source: ByteSource, runs: Sequence[Run], block_bytes: int, size: int, origin: Origin
) -> MappedSource:
    """Return the ``size`` bytes that the runs lead to as a source.

    :raises CorruptError: if runs overlap, or the volume ends before.
    """
    segments: list[Segment] = []
    position = 0
    for first, count, start in runs:
        begin, end = first * block_bytes, min((first + count) * block_bytes, size)
        if begin > position:
            segments.append(Segment(position, begin - position, None))
        segments.append(Segment(begin, end - begin, source, start * block_bytes))
        position = end
    if position < size:
        segments.append(Segment(position, size - position, None))
    return MappedSource(segments, origin)


def holes(length: int) -> Iterator[BytesLike]:
    """Yield ``length`` zero bytes in pieces of shared memory."""
    while length > 0:
        piece = ZEROS[: min(length, ZERO_CHUNK_BYTES)]
        yield piece
        length -= len(piece)
