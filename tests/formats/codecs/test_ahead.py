from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Iterator
from functools import partial
from operator import contains

import pytest

from formats.codecs.ahead import UnitCache, thread_count
from formats.core.errors import CorruptError
from formats.core.source import BytesLike
from tests.support.decoder import UNIT, WAIT_SECONDS, Decoder, content


@pytest.fixture
def decoder() -> Decoder:
    return Decoder()


@pytest.fixture
def cache(decoder: Decoder) -> Iterator[UnitCache[int]]:
    cache = UnitCache(decoder, unit_bytes=UNIT, capacity_bytes=8 * UNIT)
    yield cache
    cache.close()


def test_a_unit_that_is_kept_is_not_decoded_again(cache: UnitCache[int], decoder: Decoder) -> None:
    assert cache.get(3) == cache.get(3) == content(3)
    assert decoder.decoded == [3]


def test_the_unit_used_longest_ago_goes_first(cache: UnitCache[int], decoder: Decoder) -> None:
    for unit in range(8):
        cache.get(unit)
    cache.get(0)
    cache.get(8)
    cache.get(0)
    assert decoder.decoded == [*range(9)]
    cache.get(1)
    assert decoder.decoded == [*range(9), 1]


def test_the_cache_never_holds_more_than_its_capacity(cache: UnitCache[int]) -> None:
    cache.will_need(range(100, 200))
    for unit in random.Random(1).choices(range(200), k=500):
        assert cache.get(unit) == content(unit)
        with cache._lock:
            assert cache._bytes <= 8 * UNIT
            assert len(cache._units) <= 8


def test_a_unit_larger_than_the_cache_is_still_read(decoder: Decoder) -> None:
    cache = UnitCache(decoder, unit_bytes=UNIT, capacity_bytes=1)
    cache.will_need([1, 2])
    assert [cache.get(1), cache.get(2)] == [content(1), content(2)]
    assert decoder.decoded == [1, 2]


def test_hinted_units_are_decoded_in_other_threads(cache: UnitCache[int], decoder: Decoder) -> None:
    cache.will_need([5, 6])
    decoder.wait_for(lambda: {5, 6} <= set(decoder.decoded))
    assert cache.get(5) == content(5)
    assert cache.get(6) == content(6)
    assert sorted(decoder.decoded) == [5, 6]
    assert decoder.threads == {"decode-ahead"}


def test_each_unit_is_decoded_once_where_the_reader_follows_its_hint(
    cache: UnitCache[int], decoder: Decoder
) -> None:
    cache.will_need(range(8))
    for unit in range(8):
        assert cache.get(unit) == content(unit)
    assert sorted(decoder.decoded) == [*range(8)]


def test_decoding_ahead_stops_at_half_of_the_cache(cache: UnitCache[int], decoder: Decoder) -> None:
    cache.will_need(itertools.count())
    decoder.wait_for(lambda: len(decoder.decoded) >= 4)
    time.sleep(0.05)
    assert len(decoder.decoded) < 4 + thread_count()
    first = len(decoder.decoded)
    for unit in range(first):
        assert cache.get(unit) == content(unit)
    decoder.wait_for(lambda: len(decoder.decoded) >= first + 4)


def test_a_reader_waits_for_a_unit_in_flight(cache: UnitCache[int], decoder: Decoder) -> None:
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
    cache: UnitCache[int], decoder: Decoder
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


def test_damage_spares_what_is_decoded_together_with_it(decoder: Decoder) -> None:
    cache = UnitCache(decoder, unit_bytes=UNIT, capacity_bytes=64 * UNIT)
    assert cache._batch_units == 4
    decoder.damaged |= {0, 5, 6}
    cache.will_need(range(10))
    decoder.wait_for(lambda: len(decoder.decoded) == 10)
    for unit in {*range(10)} - decoder.damaged:
        assert cache.get(unit) == content(unit)
    assert len(decoder.decoded) == 10, "each of them once"
    with pytest.raises(CorruptError, match="damaged"):
        cache.get(5)
    cache.close()


def test_batches_ahead_of_the_reader_stop_at_half_of_the_cache(decoder: Decoder) -> None:
    cache = UnitCache(decoder, unit_bytes=UNIT, capacity_bytes=64 * UNIT)
    cache.will_need(itertools.count())
    decoder.wait_for(lambda: len(decoder.decoded) >= 32)
    time.sleep(0.05)
    assert len(decoder.decoded) < 32 + 4 * thread_count()
    for unit in range(200):
        decoder.wait_for(partial(contains, decoder.decoded, unit))
        assert cache.get(unit) == content(unit)
        with cache._lock:
            assert cache._bytes <= 64 * UNIT
    cache.close()
    assert len(set(decoder.decoded)) == len(decoder.decoded), "nothing was decoded twice"
    assert decoder.threads == {"decode-ahead"}


def test_a_hint_that_meets_damage_ends_and_the_next_is_taken(
    cache: UnitCache[int], decoder: Decoder
) -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise CorruptError("the table is damaged")

    cache.will_need(broken())
    cache.will_need([2])
    decoder.wait_for(lambda: 2 in decoder.decoded)


def test_hints_that_are_never_followed_do_not_stop_later_ones(
    cache: UnitCache[int], decoder: Decoder
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
        order = random.Random(seed).choices(range(60), k=400)
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
