"""Ranges of a folder for which a log has all names: kernels write such as overlap."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from formats.filesystems.btrfs.inode import Inode
from formats.filesystems.btrfs.log import LoggedInode

_RANGES = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda ends: (min(ends), max(ends)))
)


@given(_RANGES)
def test_a_position_is_covered_if_it_is_in_any_range(ranges: list[tuple[int, int]]) -> None:
    folder = LoggedInode(Inode(0, 1, 0, 0, 0o40755, 0, 0, 0, 0), only_exists=False)
    for first, last in sorted(ranges):
        folder.add_range(first, last)
    for position in range(32):
        expected = any(first <= position <= last for first, last in ranges)
        assert folder.covers(position) is expected
