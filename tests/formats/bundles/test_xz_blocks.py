"""Blocks of xz streams that are decoded side by side, against xz itself and the plain decoder."""

from __future__ import annotations

import hashlib
import lzma
import random
from pathlib import Path

import pytest

from formats.bundles import streams, xz_blocks
from formats.bundles.streams import BLOCK_BYTES, Compressed, unxz
from formats.core.errors import ConvertError, CorruptError, LimitError
from formats.core.limits import DEFAULT_LIMITS, MIB, Limits
from formats.core.origin import Origin
from formats.core.source import MemorySource
from tests.support.programs import need, run

CONTENT = b"".join(
    random.Random(number).randbytes(1 << 16) + bytes(1 << 18) for number in range(12)
)
"""Nearly four megabytes."""


@pytest.fixture(autouse=True)
def processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xz_blocks, "thread_count", lambda: 3)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    need("xz")
    path = tmp_path_factory.mktemp("xz") / "content"
    path.write_bytes(CONTENT)
    return run("xz", "-0", "-T2", "--block-size=700000", "-c", path).stdout


def source(data: bytes) -> MemorySource:
    return MemorySource(data, Origin(("x.xz",)))


def decoded(data: bytes, limits: Limits = DEFAULT_LIMITS) -> bytes:
    return b"".join(unxz(Compressed(source(data)), limits))


def test_blocks_are_found_in_the_index(packed: bytes) -> None:
    blocks = xz_blocks.xz_blocks(source(packed))
    assert [block.size for block in blocks] == [700_000] * 5 + [len(CONTENT) - 3_500_000]


@pytest.mark.parametrize("check", ["none", "crc32", "crc64", "sha256"])
@pytest.mark.parametrize("block_bytes", [1, 4096, 699_999, 3_000_000])
def test_what_comes_out_is_what_went_in(tmp_path: Path, check: str, block_bytes: int) -> None:
    need("xz")
    content = CONTENT[: block_bytes * 40]
    (tmp_path / "x").write_bytes(content)
    options = (f"--check={check}", f"--block-size={block_bytes}")
    packed = run("xz", "-0", "-T1", *options, "-c", tmp_path / "x").stdout
    assert xz_blocks.xz_blocks(source(packed))
    assert decoded(packed) == content


def test_what_comes_out_comes_in_blocks_and_counts_as_read(packed: bytes) -> None:
    file = Compressed(source(packed))
    sizes, positions = set(), []
    for block in unxz(file, DEFAULT_LIMITS):
        sizes.add(len(block))
        positions.append(file.position)
    assert max(sizes) <= BLOCK_BYTES
    assert positions == sorted(positions)
    assert positions[-1] > len(packed) // 2
    assert file.trailing_bytes == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data + data,
        lambda data: data + bytes(4),
        lambda data: data + b"more",
        lambda data: data[:-1],
        lambda data: data[:-20],
        lambda _: lzma.compress(CONTENT),
    ],
)
def test_anything_but_one_stream_of_several_blocks_is_decoded_from_the_front(
    packed: bytes, change: object
) -> None:
    assert callable(change)
    assert xz_blocks.xz_blocks(source(change(packed))) == []


def test_large_blocks_are_decoded_one_after_the_other(
    packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xz_blocks, "_BLOCK_BYTES", 600_000)
    assert xz_blocks.xz_blocks(source(packed)) == []


def test_one_processor_decodes_from_the_front(
    packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xz_blocks, "thread_count", lambda: 1)
    assert xz_blocks.xz_blocks(source(packed)) == []
    assert decoded(packed) == CONTENT


def test_a_damaged_block_is_told_with_its_place(packed: bytes) -> None:
    blocks = xz_blocks.xz_blocks(source(packed))
    damaged = bytearray(packed)
    damaged[blocks[3].offset + 5000] ^= 1
    with pytest.raises(CorruptError, match="the xz stream is damaged") as caught:
        decoded(bytes(damaged))
    assert caught.value.offset == blocks[3].offset


def test_the_memory_of_each_decoder_is_bounded(packed: bytes) -> None:
    with pytest.raises(LimitError, match="more memory than a decompressor may take"):
        decoded(packed, Limits(window_bytes=100_000))


def test_an_index_that_says_less_than_a_block_has_is_refused(packed: bytes) -> None:
    """The sums of the index are right; so are those of the blocks."""
    blocks = xz_blocks.xz_blocks(source(packed))
    record = xz_blocks._encoded(blocks[0].unpadded) + xz_blocks._encoded(700_000)
    false = xz_blocks._encoded(blocks[0].unpadded) + xz_blocks._encoded(699_999)
    start = blocks[-1].end
    index = packed[start:-16].replace(record, false, 1)
    assert index != packed[start:-16]
    with pytest.raises(CorruptError, match="the xz stream is damaged"):
        decoded(packed[:start] + index + xz_blocks._crc(index) + packed[-12:])


def test_any_damage_is_told_as_it_is_from_the_front(
    packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(3)
    cases = []
    for _ in range(30):
        damaged = bytearray(packed)
        place = chance.choice([chance.randrange(len(packed)), -chance.randint(1, 60)])
        damaged[place] ^= 1 << chance.randrange(8)
        cases.append(bytes(damaged))
    side_by_side = [outcome(case) for case in cases]
    monkeypatch.setattr(streams, "xz_blocks", lambda _: [])
    assert side_by_side == [outcome(case) for case in cases]


def outcome(data: bytes) -> str:
    """Return the digest of what comes out, or which kind of error."""
    try:
        return hashlib.sha256(decoded(data)).hexdigest()
    except ConvertError as error:
        return type(error).__name__


def test_an_end_in_the_middle_leaves_no_thread(packed: bytes) -> None:
    blocks = unxz(Compressed(source(packed)), DEFAULT_LIMITS)
    assert len(next(blocks)) <= MIB
    del blocks
    assert decoded(packed) == CONTENT
