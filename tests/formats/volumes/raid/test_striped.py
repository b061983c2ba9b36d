from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.core.errors import CorruptError
from formats.core.origin import Origin
from formats.core.source import MappedSource, MemorySource, Segment
from formats.volumes.raid.striped import StripedSource
from tests.support.disks import check_extents, whole
from tests.support.memory_tree import varied

_ORIGIN = Origin(("striped",))


@st.composite
def _striped(draw: st.DrawFn) -> tuple[StripedSource, bytes]:
    """Return a striped source whose legs have holes, and its bytes, dealt out one by one."""
    count = draw(st.integers(1, 4))
    chunk = draw(st.sampled_from([1, 3, 8, 16]))
    rows = draw(st.integers(1, 12))
    size = chunk * rows
    legs, contents = [], []
    for leg in range(count):
        data = MemorySource(varied(size, leg), _ORIGIN)
        cuts = sorted(draw(st.lists(st.integers(0, size), max_size=4)))
        segments = [
            Segment(start, end - start, data if number % 2 else None, start)
            for number, (start, end) in enumerate(zip([0, *cuts], [*cuts, size], strict=True))
        ]
        source = MappedSource(segments, _ORIGIN)
        legs.append(source)
        contents.append(bytes(source.read_at(0, size)))
    expected = bytes(
        contents[byte // chunk % count][byte // chunk // count * chunk + byte % chunk]
        for byte in range(size * count)
    )
    return StripedSource(legs, chunk, _ORIGIN), expected


@given(_striped(), st.integers(0, 300), st.integers(0, 300))
def test_every_range_is_what_dealing_byte_by_byte_gives(
    made: tuple[StripedSource, bytes], offset: int, length: int
) -> None:
    source, expected = made
    assert bytes(source.read_at(offset, length)) == expected[offset : offset + length]
    assert whole(source, max(length, 1)) == expected


@given(_striped())
def test_holes_are_zeros_and_extents_cover_everything(made: tuple[StripedSource, bytes]) -> None:
    source, _ = made
    check_extents(source)


@pytest.mark.parametrize(("sizes", "chunk"), [((8, 16), 8), ((12, 12), 8), ((8, 8), 0)])
def test_legs_that_cannot_be_dealt_to_are_refused(sizes: tuple[int, ...], chunk: int) -> None:
    legs = [MemorySource(bytes(size), _ORIGIN) for size in sizes]
    with pytest.raises(CorruptError, match="do not fill their extents"):
        StripedSource(legs, chunk, _ORIGIN)


class _Told(MemorySource):
    """A source that remembers the hints it got."""

    def __init__(self, size: int) -> None:
        super().__init__(bytes(size), _ORIGIN)
        self.hints: list[tuple[int, int]] = []

    def will_need(self, ranges: object) -> None:
        assert isinstance(ranges, list)
        self.hints += ranges


def test_hints_go_to_the_legs_that_hold_the_bytes() -> None:
    legs = [_Told(32), _Told(32)]
    StripedSource(legs, 8, _ORIGIN).will_need([(0, 8), (12, 20), (60, 1000)])
    assert [leg.hints for leg in legs] == [[(0, 8), (8, 8)], [(4, 12), (28, 4)]]
