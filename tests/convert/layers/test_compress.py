"""Compressors: one output for one input, and valid to the programs that everyone has."""

from __future__ import annotations

import gzip
import os
import random
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from convert.layers import compress
from convert.layers.compress import (
    BLOCK_BYTES,
    Codec,
    Compression,
    compression,
    compressor,
    reblock,
)
from formats.core.errors import UsageError
from tests.support.memory_tree import varied
from tests.support.programs import need, run

NOISE = random.Random(1).randbytes(BLOCK_BYTES)
CONTENT = varied(9 * BLOCK_BYTES // 2) + NOISE + bytes(BLOCK_BYTES)
"""Text, noise and zeros, over more than one job of zstd and several blocks of gzip."""

PACKED = [compression(Codec.GZIP), compression(Codec.ZSTD)]


def packed(how: Compression, content: bytes, jobs: int = 1) -> bytes:
    engine = compressor(how, jobs)
    parts = [part for block in reblock([content]) for part in engine.feed(block)]
    parts += engine.finish()
    engine.close()
    return b"".join(parts)


def named(how: Compression) -> str:
    return f"{how.codec.value}-{how.level}"


@pytest.mark.parametrize("how", [*PACKED, compression(Codec.ZSTD, 9)], ids=named)
def test_the_number_of_threads_changes_nothing(how: Compression) -> None:
    assert len({packed(how, CONTENT, jobs) for jobs in (0, 1, 2, 24)}) == 1


def test_fast_compression_takes_no_more_threads_than_a_reader_can_feed() -> None:
    before = len(os.listdir("/proc/self/task"))
    engine = compressor(compression(Codec.ZSTD), 24)
    list(engine.feed(bytes(BLOCK_BYTES)))
    assert len(os.listdir("/proc/self/task")) - before <= 8
    engine.close()


@pytest.mark.parametrize("content", [b"", b"x", CONTENT], ids=["empty", "short", "long"])
def test_gzip_accepts_what_gzip_1_reads(content: bytes, tmp_path: Path) -> None:
    need("gzip")
    file = tmp_path / "layer.gz"
    file.write_bytes(packed(compression(Codec.GZIP), content, jobs=3))
    run("gzip", "--test", file)
    assert run("gzip", "--decompress", "--stdout", file).stdout == content


@pytest.mark.parametrize("content", [b"", b"x", CONTENT], ids=["empty", "short", "long"])
def test_zstd_1_reads_what_zstd_gives(content: bytes, tmp_path: Path) -> None:
    need("zstd")
    file = tmp_path / "layer.zst"
    file.write_bytes(packed(compression(Codec.ZSTD), content, jobs=3))
    run("zstd", "--test", file)
    assert run("zstd", "--decompress", "--stdout", file).stdout == content


@pytest.mark.parametrize("level", range(1, 10))
def test_every_level_of_gzip_is_read_back(level: int) -> None:
    assert gzip.decompress(packed(compression(Codec.GZIP, level), CONTENT)) == CONTENT


@pytest.mark.parametrize("level", [1, 3, 10, 15, 19])
def test_every_zstd_decoder_has_to_take_the_window(level: int) -> None:
    content = CONTENT[: 2 * BLOCK_BYTES]
    frame = packed(compression(Codec.ZSTD, level), content)
    parameters = zstandard.get_frame_parameters(frame)
    assert parameters.window_size <= 8 << 20  # RFC 8878, 3.1.1.1.2
    assert parameters.has_checksum
    assert zstandard.ZstdDecompressor().decompressobj().decompress(frame) == content


def test_a_gzip_header_has_no_name_and_no_time() -> None:
    assert packed(compression(Codec.GZIP), b"x")[:10] == bytes.fromhex("1f8b08 00 00000000 00 ff")


def test_without_libdeflate_zlib_makes_the_members(monkeypatch: pytest.MonkeyPatch) -> None:
    content = varied(2 * BLOCK_BYTES + 1)
    monkeypatch.setattr(compress, "_DEFLATE", None)
    how = compression(Codec.GZIP)
    assert gzip.decompress(packed(how, content)) == content
    assert packed(how, b"")[:10] == bytes.fromhex("1f8b08 00 00000000 00 03")
    assert how.library.startswith("zlib ")


def test_gzip_in_blocks_is_hardly_larger_than_in_one() -> None:
    content = varied(8 * BLOCK_BYTES)
    whole = gzip.compress(content, 6)
    assert len(packed(compression(Codec.GZIP), content)) < 1.02 * len(whole)


def test_nothing_is_changed_without_compression() -> None:
    assert packed(compression(Codec.NONE), CONTENT) == CONTENT


@pytest.mark.parametrize(
    ("codec", "level"),
    [(Codec.ZSTD, 0), (Codec.ZSTD, 20), (Codec.GZIP, 0), (Codec.GZIP, 10), (Codec.NONE, 1)],
)
def test_a_level_that_does_not_exist_is_refused(codec: Codec, level: int) -> None:
    with pytest.raises(UsageError, match=f"{codec.value} has no level {level}"):
        compression(codec, level)


@given(st.lists(st.binary(max_size=40)), st.integers(1, 16))
def test_blocks_are_full_but_for_the_last_and_hold_the_same_bytes(
    chunks: list[bytes], size: int
) -> None:
    blocks = list(reblock([memoryview(chunk) for chunk in chunks], size))
    assert b"".join(blocks) == b"".join(chunks)
    assert all(len(block) == size for block in blocks[:-1])
    assert all(0 < len(block) <= size for block in blocks)
