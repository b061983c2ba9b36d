from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from formats.core.errors import CorruptError
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource, Extent, MemorySource
from formats.disks.clusters import ClusterSource, Run, UnitCache, thread_count

UNIT = 1024
ORIGIN = Origin(("disk",))
WAIT_SECONDS = 20


def chance(seed: int) -> random.Random:
    return random.Random(seed)


def content(unit: int) -> bytes:
    return unit.to_bytes(4, "big") * (UNIT // 4)


class Decoder:
    """Counts what is decoded, and can hold a unit until it is let go."""

    def __init__(self) -> None:
        self.decoded: list[int] = []
        self.threads: set[str] = set()
        self.damaged: set[int] = set()
        self.held: dict[int, threading.Event] = {}
        self.started = threading.Condition()

    def __call__(self, unit: int) -> BytesLike:
        with self.started:
            self.decoded.append(unit)
            self.threads.add(threading.current_thread().name)
            self.started.notify_all()
        if unit in self.held:
            assert self.held[unit].wait(WAIT_SECONDS)
        if unit in self.damaged:
            raise CorruptError("damaged", offset=unit)
        return content(unit)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self.started:
            assert self.started.wait_for(condition, WAIT_SECONDS)


@pytest.fixture
def decoder() -> Decoder:
    return Decoder()


@pytest.fixture
def cache(decoder: Decoder) -> Iterator[UnitCache]:
    cache = UnitCache(decoder, unit_bytes=UNIT, capacity_bytes=8 * UNIT)
    yield cache
    cache.close()


def test_a_unit_that_is_kept_is_not_decoded_again(cache: UnitCache, decoder: Decoder) -> None:
    assert cache.get(3) == cache.get(3) == content(3)
    assert decoder.decoded == [3]


def test_the_unit_used_longest_ago_goes_first(cache: UnitCache, decoder: Decoder) -> None:
    for unit in range(8):
        cache.get(unit)
    cache.get(0)
    cache.get(8)
    cache.get(0)
    assert decoder.decoded == [*range(9)]
    cache.get(1)
    assert decoder.decoded == [*range(9), 1]


def test_the_cache_never_holds_more_than_its_capacity(cache: UnitCache) -> None:
    cache.will_need(range(100, 200))
    for unit in chance(1).choices(range(200), k=500):
        assert cache.get(unit) == content(unit)
        assert cache._bytes <= 8 * UNIT
        assert len(cache._units) <= 8


def test_a_unit_larger_than_the_cache_is_still_read(decoder: Decoder) -> None:
    cache = UnitCache(decoder, unit_bytes=UNIT, capacity_bytes=1)
    cache.will_need([1, 2])
    assert [cache.get(1), cache.get(2)] == [content(1), content(2)]
    assert decoder.decoded == [1, 2]


def test_hinted_units_are_decoded_in_other_threads(cache: UnitCache, decoder: Decoder) -> None:
    cache.will_need([5, 6])
    decoder.wait_for(lambda: {5, 6} <= set(decoder.decoded))
    assert cache.get(5) == content(5)
    assert cache.get(6) == content(6)
    assert sorted(decoder.decoded) == [5, 6]
    assert decoder.threads == {"decode-ahead"}


def test_each_unit_is_decoded_once_where_the_reader_follows_its_hint(
    cache: UnitCache, decoder: Decoder
) -> None:
    cache.will_need(range(8))
    for unit in range(8):
        assert cache.get(unit) == content(unit)
    assert sorted(decoder.decoded) == [*range(8)]


def test_decoding_ahead_stops_at_half_of_the_cache(cache: UnitCache, decoder: Decoder) -> None:
    cache.will_need(itertools.count())
    decoder.wait_for(lambda: len(decoder.decoded) >= 4)
    time.sleep(0.05)
    assert len(decoder.decoded) < 4 + thread_count()
    first = len(decoder.decoded)
    for unit in range(first):
        assert cache.get(unit) == content(unit)
    decoder.wait_for(lambda: len(decoder.decoded) >= first + 4)


def test_a_reader_waits_for_a_unit_in_flight(cache: UnitCache, decoder: Decoder) -> None:
    decoder.held[7] = threading.Event()
    cache.will_need([7])
    decoder.wait_for(lambda: 7 in decoder.decoded)
    got: list[BytesLike] = []
    reader = threading.Thread(target=lambda: got.append(cache.get(7)))
    reader.start()
    decoder.held[7].set()
    reader.join(WAIT_SECONDS)
    assert got == [content(7)]
    assert decoder.decoded == [7]


def test_an_error_while_decoding_ahead_comes_when_the_unit_is_read(
    cache: UnitCache, decoder: Decoder
) -> None:
    decoder.damaged.add(2)
    cache.will_need([1, 2, 3])
    decoder.wait_for(lambda: 3 in decoder.decoded)
    assert cache.get(1) == content(1)
    assert cache.get(3) == content(3)
    with pytest.raises(CorruptError, match="damaged"):
        cache.get(2)
    with pytest.raises(CorruptError, match="damaged"):
        cache.get(2)


def test_a_hint_that_meets_damage_ends_and_the_next_is_taken(
    cache: UnitCache, decoder: Decoder
) -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise CorruptError("the table is damaged")

    cache.will_need(broken())
    cache.will_need([2])
    decoder.wait_for(lambda: 2 in decoder.decoded)


def test_hints_that_are_never_followed_do_not_stop_later_ones(
    cache: UnitCache, decoder: Decoder
) -> None:
    cache.will_need(range(1000, 1100))
    for unit in range(200):
        assert cache.get(unit) == content(unit)
    wasted = [unit for unit in decoder.decoded if unit >= 1000]
    assert len(set(wasted)) == len(wasted), "no hinted unit was decoded twice"


def test_threads_end_when_the_cache_is_closed(decoder: Decoder) -> None:
    cache = UnitCache(decoder, unit_bytes=UNIT, capacity_bytes=8 * UNIT)
    assert cache._threads == [], "none before the first hint"
    cache.will_need(range(100))
    threads = list(cache._threads)
    assert threads
    assert all(thread.daemon for thread in threads)
    cache.close()
    assert not any(thread.is_alive() for thread in threads)
    assert cache.get(4) == content(4), "reading goes on"
    cache.will_need([9])
    assert cache._threads == []


def test_many_readers_with_hints_all_see_the_right_bytes(decoder: Decoder) -> None:
    cache = UnitCache(decoder, unit_bytes=UNIT, capacity_bytes=16 * UNIT)
    wrong: list[int] = []

    def read(seed: int) -> None:
        order = chance(seed).choices(range(60), k=400)
        cache.will_need(order)
        wrong.extend(unit for unit in order if cache.get(unit) != content(unit))

    readers = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(WAIT_SECONDS)
        assert not reader.is_alive()
    cache.close()
    assert wrong == []


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
    dice = chance(7)
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
