"""Layers as other programs compress them, and streams that are not what they should be."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from convert.layers.compress import Codec
from convert.oci.blobs import digest_of, layer_tar
from formats.core.errors import CorruptError, LimitError
from formats.core.limits import DEFAULT_LIMITS, MIB
from formats.core.origin import Origin
from formats.core.source import MemorySource
from tests.support.memory_tree import varied
from tests.support.programs import need, run

CONTENT = varied(3 * MIB + 17)


def unpacked(data: bytes, codec: Codec) -> bytes:
    source = MemorySource(data, Origin(("blob",)))
    told: list[int] = []
    found = b"".join(map(bytes, layer_tar(source, codec, DEFAULT_LIMITS, told.append)))
    assert sum(told) == len(data)
    return found


def test_a_digest_is_what_sha256sum_says(tmp_path: Path) -> None:
    need("sha256sum")
    (tmp_path / "x").write_bytes(CONTENT)
    source = MemorySource(CONTENT, Origin(("blob",)))
    expected = run("sha256sum", tmp_path / "x").stdout.split()[0].decode()
    assert digest_of(source, lambda _: None).encoded == expected


@pytest.mark.parametrize(
    ("command", "codec"),
    [
        (("gzip", "-c"), Codec.GZIP),
        (("zstd", "-qc"), Codec.ZSTD),
        (("zstd", "-qc", "-12", "--no-check"), Codec.ZSTD),
        (("cat",), Codec.NONE),
    ],
)
def test_what_programs_compress_is_unpacked(
    command: tuple[str, ...], codec: Codec, tmp_path: Path
) -> None:
    need(command[0])
    (tmp_path / "x").write_bytes(CONTENT)
    assert unpacked(run(*command, tmp_path / "x").stdout, codec) == CONTENT


def test_several_streams_in_a_row_are_one_layer() -> None:
    """As pigz, estargz and zstd:chunked write them; the latter with frames to be skipped."""
    halves = CONTENT[: 2 * MIB], CONTENT[2 * MIB :]
    skipped = b"\x50\x2a\x4d\x18\x04\0\0\0note"
    assert unpacked(b"".join(map(gzip.compress, halves)), Codec.GZIP) == CONTENT
    frames = [zstandard.compress(half) for half in halves]
    assert unpacked(frames[0] + skipped + frames[1] + skipped, Codec.ZSTD) == CONTENT


@pytest.mark.parametrize(
    ("data", "codec"),
    [(gzip.compress(CONTENT, mtime=0), Codec.GZIP), (zstandard.compress(CONTENT), Codec.ZSTD)],
    ids=["gzip", "zstd"],
)
def test_a_stream_that_is_cut_short_or_goes_on_is_corrupt(data: bytes, codec: Codec) -> None:
    for damaged in (data[:-1], data[: len(data) // 2], data + b"more"):
        with pytest.raises(CorruptError):
            unpacked(damaged, codec)


def test_a_window_that_is_too_large_is_not_given() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=24)
    data = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    blob = data.compress(CONTENT) + data.flush()
    source = MemorySource(blob, Origin(("blob",)))
    limits = replace(DEFAULT_LIMITS, window_bytes=8 * MIB)
    with pytest.raises(LimitError, match="memory"):
        list(layer_tar(source, Codec.ZSTD, limits, lambda _: None))
