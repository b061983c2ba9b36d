from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence

import pytest

from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource, Extent, MemorySource
from formats.disks.clusters import ClusterSource, Run
from tests.support.decoder import UNIT, Decoder, content

ORIGIN = Origin(("disk",))


@pytest.fixture
def decoder() -> Decoder:
    return Decoder()


class Recorder(MemorySource):
    """Plain bytes that remember how they were asked for."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data, ORIGIN.child("plain"))
        self.reads: list[tuple[int, int]] = []
        self.hints: list[tuple[int, int]] = []

    def read_at(self, offset: int, length: int) -> BytesLike:
        self.reads.append((offset, length))
        return super().read_at(offset, length)

    def will_need(self, ranges: Sequence[tuple[int, int]]) -> None:
        self.hints += ranges


class FakeMap:
    """Guest: 4 units of plain bytes, 1 of zeros, 5 compressed, 2 from the backing disk."""

    size = 12 * UNIT
    layout = (("plain", 0, 4), ("zero", 4, 5), ("unit", 5, 10), ("backing", 10, 12))

    def __init__(self, decoder: Decoder) -> None:
        self.plain = Recorder(b"".join(content(unit) for unit in range(4)))
        self.backing: ByteSource | None = Holey(b"\xbb" * 12 * UNIT)
        self.decode = decoder

    def runs(self, offset: int, length: int) -> list[Run]:
        found: list[Run] = []
        stop = offset + length
        for kind, first, last in self.layout:
            start, end = max(offset, first * UNIT), min(stop, last * UNIT)
            if start >= end:
                continue
            if kind == "plain":
                found.append(Run(end - start, self.plain, start))
            elif kind == "backing":
                found.append(Run(end - start, self.backing, start))
            elif kind == "zero":
                found.append(Run(end - start))
            else:
                while start < end:
                    count = min(end, (start // UNIT + 1) * UNIT) - start
                    found.append(Run(count, None, start % UNIT, start // UNIT))
                    start += count
        return found


class Holey(MemorySource):
    """A backing disk with a hole in its middle unit boundary."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data, ORIGIN.child("backing"))

    def extents(self) -> Iterator[Extent]:
        yield Extent(0, 11 * UNIT - 100, is_hole=False)
        yield Extent(11 * UNIT - 100, UNIT + 100, is_hole=True)


@pytest.fixture
def clusters(decoder: Decoder) -> FakeMap:
    return FakeMap(decoder)


@pytest.fixture
def source(clusters: FakeMap) -> Iterator[ClusterSource]:
    source = ClusterSource(clusters, ORIGIN, unit_bytes=UNIT, cache_bytes=8 * UNIT)
    yield source
    source.close()


WHOLE = b"".join(
    [
        *(content(unit) for unit in range(4)),
        bytes(UNIT),
        *(content(unit) for unit in range(5, 10)),
        b"\xbb" * (2 * UNIT),
    ]
)


def test_every_range_reads_the_same_as_a_slice_of_the_whole(source: ClusterSource) -> None:
    dice = random.Random(7)
    for _ in range(2000):
        offset = dice.randrange(source.size + 10)
        length = dice.randrange(source.size)
        assert bytes(source.read_at(offset, length)) == WHOLE[offset : offset + length]


def test_plain_clusters_are_read_in_one_piece_and_not_kept(
    source: ClusterSource, clusters: FakeMap, decoder: Decoder
) -> None:
    source.read_at(100, 3 * UNIT)
    assert clusters.plain.reads == [(100, 3 * UNIT)]
    assert decoder.decoded == []


def test_a_hint_goes_to_plain_bytes_and_to_the_decoder(
    source: ClusterSource, clusters: FakeMap, decoder: Decoder
) -> None:
    source.will_need([(0, 2 * UNIT), (6 * UNIT, UNIT), (11 * UNIT, 50 * UNIT)])
    decoder.wait_for(lambda: 6 in decoder.decoded)
    assert clusters.plain.hints == [(0, 2 * UNIT)]
    assert decoder.decoded == [6]


def test_a_large_read_is_decoded_by_several_threads(
    source: ClusterSource, decoder: Decoder
) -> None:
    assert bytes(source.read_at(5 * UNIT, 5 * UNIT)) == WHOLE[5 * UNIT : 10 * UNIT]
    assert sorted(decoder.decoded) == [5, 6, 7, 8, 9]
    assert source._cache._threads


def test_holes_are_those_of_the_map_and_of_the_backing_disk(source: ClusterSource) -> None:
    assert list(source.extents()) == [
        Extent(0, 4 * UNIT, is_hole=False),
        Extent(4 * UNIT, UNIT, is_hole=True),
        Extent(5 * UNIT, 6 * UNIT - 100, is_hole=False),
        Extent(11 * UNIT - 100, UNIT + 100, is_hole=True),
    ]


class Endless(FakeMap):
    """A disk of a petabyte, all of it data."""

    size = 1 << 50

    def __init__(self, decoder: Decoder) -> None:
        super().__init__(decoder)
        self.backing = None

    def runs(self, offset: int, length: int) -> list[Run]:
        del offset
        return [Run(length, self.plain, 0)]


def test_the_first_data_is_known_without_walking_to_its_end(decoder: Decoder) -> None:
    disk = ClusterSource(Endless(decoder), ORIGIN, unit_bytes=UNIT, cache_bytes=8 * UNIT)
    first, second = itertools.islice(disk.extents(), 2)
    assert (first.offset, second.offset) == (0, first.length)
    assert not first.is_hole
