from __future__ import annotations

import threading
import zlib

import pytest
import zstandard

from formats.codecs import units
from formats.codecs.units import UnitDecoder, decode_zstd, inflate_raw, inflate_zlib
from formats.core.errors import CorruptError

PLAIN = b"".join(b"line %d of a unit\n" % number for number in range(5000))


def raw(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=False).compress(data)


CODECS = [
    pytest.param(inflate_raw, raw(PLAIN), id="raw"),
    pytest.param(inflate_zlib, zlib.compress(PLAIN), id="zlib"),
    pytest.param(decode_zstd, zstd(PLAIN), id="zstd"),
]


@pytest.fixture(params=["libdeflate", "zlib only"], autouse=True)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "zlib only":
        monkeypatch.setattr(units, "_DEFLATE", None)
    else:
        assert units._DEFLATE is not None


@pytest.mark.parametrize(("decode", "packed"), CODECS)
class TestEveryCodec:
    def test_gives_the_bytes_back(self, decode: UnitDecoder, packed: bytes) -> None:
        assert decode(packed, len(PLAIN)) == PLAIN

    def test_takes_a_view_of_a_larger_buffer(self, decode: UnitDecoder, packed: bytes) -> None:
        view = memoryview(b"xx" + packed + b"yy")[2:-2]
        assert decode(view, len(PLAIN)) == PLAIN

    def test_ignores_what_follows_the_stream(self, decode: UnitDecoder, packed: bytes) -> None:
        assert decode(packed + b"\xa5" * 511, len(PLAIN)) == PLAIN

    def test_stops_once_the_unit_is_full(self, decode: UnitDecoder, packed: bytes) -> None:
        assert decode(packed, 1000) == PLAIN[:1000]

    def test_refuses_a_stream_that_gives_too_little(
        self, decode: UnitDecoder, packed: bytes
    ) -> None:
        with pytest.raises(CorruptError, match=f"of {len(PLAIN) + 1:,} bytes"):
            decode(packed, len(PLAIN) + 1)

    def test_takes_a_short_stream_where_that_is_allowed(
        self, decode: UnitDecoder, packed: bytes
    ) -> None:
        assert decode(packed, 1 << 20, at_least=len(PLAIN)) == PLAIN

    @pytest.mark.parametrize("kept", [0, 1, 5, 100])
    def test_refuses_a_truncated_stream(
        self, decode: UnitDecoder, packed: bytes, kept: int
    ) -> None:
        with pytest.raises(CorruptError):
            decode(packed[:kept], len(PLAIN))

    def test_refuses_noise(self, decode: UnitDecoder, packed: bytes) -> None:
        with pytest.raises(CorruptError):
            decode(b"\xff" * len(packed), len(PLAIN))
        assert decode(packed, len(PLAIN)) == PLAIN, "an error leaves nothing behind"

    def test_is_right_in_many_threads_at_once(self, decode: UnitDecoder, packed: bytes) -> None:
        results: list[bool] = []

        def work() -> None:
            results.extend(decode(packed, len(PLAIN)) == PLAIN for _ in range(50))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [True] * 200


def test_a_zlib_stream_with_a_wrong_sum_is_refused() -> None:
    packed = bytearray(zlib.compress(PLAIN))
    packed[-1] ^= 1
    with pytest.raises(CorruptError):
        inflate_zlib(bytes(packed), len(PLAIN) + 1, at_least=len(PLAIN))


def test_a_frame_that_states_a_huge_size_gives_no_more_than_the_unit() -> None:
    bomb = zstandard.ZstdCompressor(write_content_size=True).compress(bytes(1 << 26))
    assert decode_zstd(bomb, 4096) == bytes(4096)


def test_a_frame_that_asks_for_a_large_window_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = packer.compress(PLAIN) + packer.flush()
    with pytest.raises(CorruptError, match="zstd frame is damaged"):
        decode_zstd(packed, len(PLAIN))
