from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.core.origin import Origin
from formats.core.source import MemorySource
from formats.guestfs.overlay import BLOCK_BYTES, Budget, Overlay, OverlayFullError

ORIGIN = Origin(("disk",))
SIZE = 5 * BLOCK_BYTES + 100
CONTENT = bytes(range(256)) * (SIZE // 256) + bytes(SIZE % 256)


def overlay(limit: int = 1 << 20) -> Overlay:
    return Overlay(MemorySource(CONTENT, ORIGIN), Budget(limit))


def test_a_size_that_is_no_whole_sector_is_rounded_up_with_zeros() -> None:
    disk = overlay()
    assert disk.size % 512 == 0
    assert disk.size - SIZE < 512
    assert bytes(disk.read(SIZE - 10, disk.size - SIZE + 10)) == CONTENT[-10:] + bytes(
        disk.size - SIZE
    )


@given(
    st.lists(
        st.tuples(st.integers(0, SIZE - 1), st.binary(min_size=1, max_size=2 * BLOCK_BYTES)),
        max_size=6,
    ),
    st.integers(0, SIZE - 1),
    st.integers(1, SIZE),
)
def test_what_is_read_is_what_was_written_last(
    writes: list[tuple[int, bytes]], offset: int, length: int
) -> None:
    disk, model = overlay(), bytearray(CONTENT)
    model += bytes(disk.size - SIZE)
    for start, data in writes:
        kept = data[: disk.size - start]
        disk.write(start, memoryview(kept))
        model[start : start + len(kept)] = kept
    length = min(length, disk.size - offset)
    assert bytes(disk.read(offset, length)) == bytes(model[offset : offset + length])


def test_overlays_share_their_memory_and_say_when_it_is_used_up() -> None:
    budget = Budget(2 * BLOCK_BYTES)
    first, second = (Overlay(MemorySource(CONTENT, ORIGIN), budget) for _ in range(2))
    first.write(10, memoryview(b"x"))
    first.write(20, memoryview(b"y"))
    second.write(BLOCK_BYTES - 1, memoryview(b"z"))
    with pytest.raises(OverlayFullError):
        first.write(BLOCK_BYTES, memoryview(b"x"))
    assert budget.is_exceeded
    assert bytes(first.read(10, 11)) == b"x" + CONTENT[11:20] + b"y"
