"""The map of disks made of large blocks."""

from __future__ import annotations

import random
import struct

import pytest

from formats.core.errors import CorruptError
from formats.core.origin import Origin
from formats.core.source import MemorySource
from formats.disks.blocks import ABSENT, ZEROED, Block, BlockTable, block_source, sector_flags
from tests.support.disks import check_extents, whole

ORIGIN = Origin(("disk",))
BLOCK, SECTOR = 4096, 512


class ListedBlocks:
    """Blocks as a list has them."""

    block_bytes = BLOCK
    sector_bytes = SECTOR

    def __init__(self, blocks: list[Block]) -> None:
        self._blocks = blocks

    def locate(self, index: int, most: int) -> Block:
        assert most >= 1
        return self._blocks[index]


def noise(seed: int, length: int) -> bytes:
    return random.Random(seed).randbytes(length)


def test_data_zeros_parent_and_sectors_each_come_from_their_place() -> None:
    data, below = noise(1, 3 * BLOCK), noise(2, 5 * BLOCK - 100)
    flags = bytes([1, 0, 0, 1, 1, 0, 1, 0])
    blocks = [Block(BLOCK), Block(ABSENT), Block(ZEROED), Block(0, 1, flags), Block(ABSENT)]
    mixed = bytearray(below[3 * BLOCK : 4 * BLOCK])
    for sector, flag in enumerate(flags):
        if flag:
            start = sector * SECTOR
            mixed[start : start + SECTOR] = data[start : start + SECTOR]
    expected = (
        data[BLOCK : 2 * BLOCK]
        + below[BLOCK : 2 * BLOCK]
        + bytes(BLOCK)
        + bytes(mixed)
        + below[4 * BLOCK :]
        + bytes(100)
    )
    file, parent = MemorySource(data, ORIGIN), MemorySource(below, ORIGIN)
    disk = block_source(file, ListedBlocks(blocks), 5 * BLOCK, parent)
    assert whole(disk) == expected
    dice = random.Random(3)
    for _ in range(500):
        offset, length = dice.randrange(disk.size), dice.randrange(1, 3 * BLOCK)
        assert bytes(disk.read_at(offset, length)) == expected[offset : offset + length]
    check_extents(disk)


def test_without_a_parent_what_is_absent_is_a_hole() -> None:
    file = MemorySource(noise(1, BLOCK), ORIGIN)
    blocks = [Block(ABSENT, 2), Block(ABSENT), Block(0), Block(ZEROED), Block(ABSENT)]
    disk = block_source(file, ListedBlocks(blocks), 4 * BLOCK + 7)
    assert [(extent.length, extent.is_hole) for extent in disk.extents()] == [
        (2 * BLOCK, True),
        (BLOCK, False),
        (BLOCK + 7, True),
    ]
    assert check_extents(disk) == 3 * BLOCK + 7


def test_a_block_that_goes_on_beyond_the_file_is_read_up_to_there() -> None:
    file = MemorySource(noise(1, BLOCK - 10), ORIGIN)
    disk = block_source(file, ListedBlocks([Block(0)]), BLOCK)
    assert bytes(disk.read_at(0, BLOCK - 10)) == noise(1, BLOCK - 10)
    with pytest.raises(CorruptError):
        disk.read_at(0, BLOCK)


@pytest.mark.parametrize("code", ["I", "Q"])
@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_a_table_gives_its_entries_and_how_often_they_repeat(code: str, byteorder: str) -> None:
    dice = random.Random(4)
    entries = [0] * 20_000 + [dice.choice([5, 5, 5, 6]) for _ in range(20_000)] + [7] * 3
    order = "<" if byteorder == "little" else ">"
    raw = b"head" + struct.pack(f"{order}{len(entries)}{code}", *entries)
    table = BlockTable(
        MemorySource(raw, ORIGIN),
        4,
        len(entries),
        code="I" if code == "I" else "Q",
        byteorder="little" if byteorder == "little" else "big",
        what="the table",
    )
    for _ in range(2000):
        index = dice.randrange(len(entries))
        most = dice.choice([1, 3, 100_000])
        entry, alike = table.repeated(index, most)
        assert 1 <= alike <= most
        assert entries[index : index + alike] == [entry] * alike
    assert table.repeated(0, 100_000)[1] > 1000
    with pytest.raises(CorruptError):
        table.repeated(len(entries), 1)


def test_a_table_outside_of_its_file_is_refused() -> None:
    for offset, entries in ((0, 3), (-4, 1), (1 << 60, 0), (0, 1 << 60)):
        with pytest.raises(CorruptError, match="the table"):
            BlockTable(
                MemorySource(bytes(8), ORIGIN),
                offset,
                entries,
                code="I",
                byteorder="little",
                what="the table",
            )


def test_bitmaps_of_both_orders_become_flags() -> None:
    bits = noise(5, 64)
    low = sector_flags(bits, is_high_first=False)
    high = sector_flags(bits, is_high_first=True)
    assert low is not None
    assert high is not None
    for sector in range(512):
        assert low[sector] == bits[sector // 8] >> sector % 8 & 1
        assert high[sector] == bits[sector // 8] >> (7 - sector % 8) & 1
    assert sector_flags(b"\xff" * 64, is_high_first=True) is None
