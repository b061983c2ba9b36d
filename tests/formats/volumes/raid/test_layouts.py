"""What holds for every layout; that they are the kernel's is shown by its arrays, in mdraid/."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.volumes.raid.layouts import RAID4, RAID5, RAID6, ParityLayout, raid10_layout

_PARITY = [RAID4, *RAID5.values(), *RAID6.values()]


@pytest.mark.parametrize("layout", _PARITY, ids=lambda layout: f"{layout.parity} {layout.name}")
@pytest.mark.parametrize("members", [4, 5, 8])
def test_each_row_has_as_many_members_without_data_as_parity_takes(
    layout: ParityLayout, members: int
) -> None:
    place = layout.placement(members)
    data = members - layout.parity
    for row in range(3 * members):
        places = [place(chunk)[0] for chunk in range(row * data, (row + 1) * data)]
        assert {row_of for _, row_of in places} == {row}
        used = {member for member, _ in places}
        assert len(used) == data
        assert used <= set(range(members))


@given(
    near=st.integers(1, 3),
    far=st.integers(1, 3),
    is_offset=st.booleans(),
    members=st.integers(2, 7),
    rows=st.integers(1, 5),
)
def test_copies_lie_on_different_members_and_no_place_is_used_twice(
    near: int, far: int, members: int, rows: int, *, is_offset: bool
) -> None:
    if near * far > members:
        return
    layout = raid10_layout(near | far << 8 | is_offset << 16)
    assert layout is not None
    assert layout.copies == near * far
    member_chunks = rows * far
    place = layout.placement(member_chunks, members)
    places = [place(chunk) for chunk in range(layout.chunks(member_chunks, members))]
    for copies in places:
        assert len({member for member, _ in copies}) == layout.copies
    every = sorted(one for copies in places for one in copies)
    assert all(first != second for first, second in pairwise(every))
    assert all(0 <= row < member_chunks for _, row in every)


@pytest.mark.parametrize("number", [0, 1, 0x100, 1 << 19 | 0x102])
def test_numbers_that_are_no_layout_are_none(number: int) -> None:
    assert raid10_layout(number) is None
