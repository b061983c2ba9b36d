"""The one pass: its digests, its limits, and what is left when something fails."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from convert.layers.compress import BLOCK_BYTES, Codec, compression
from convert.layers.stream import WrittenLayer, write_layer, write_stream
from formats.core.errors import ConvertError, CorruptError, LimitError, OutputError
from formats.core.source import BytesLike
from tests.support.memory_tree import varied
from tests.support.programs import need, run

CONTENT = varied(11 * BLOCK_BYTES // 2)
CODECS = list(Codec)
UNPACK = {Codec.ZSTD: ("zstd", "-dc"), Codec.GZIP: ("gzip", "-dc"), Codec.NONE: ("cat",)}


def chunks(size: int) -> Iterator[BytesLike]:
    view = memoryview(CONTENT)
    for start in range(0, len(view), size):
        yield view[start : start + size]


def written(path: Path, codec: Codec, chunk_bytes: int = 70_000, jobs: int = 2) -> WrittenLayer:
    with path.open("wb", buffering=0) as file:
        return write_layer(chunks(chunk_bytes), file, compression(codec), jobs=jobs)


def sha256sum(path: Path) -> str:
    return "sha256:" + run("sha256sum", path).stdout.split()[0].decode()


@pytest.mark.parametrize("codec", CODECS)
def test_every_claim_about_a_layer_is_what_other_programs_find(
    codec: Codec, tmp_path: Path
) -> None:
    need("sha256sum", "zstd", "gzip")
    file, unpacked = tmp_path / "layer.gz", tmp_path / "unpacked"

    layer = written(file, codec)

    unpacked.write_bytes(run(*UNPACK[codec], file).stdout)
    assert layer.digest == sha256sum(file)
    assert layer.diff_id == sha256sum(unpacked)
    assert layer.size == file.stat().st_size
    assert layer.uncompressed_size == len(CONTENT) == unpacked.stat().st_size


@pytest.mark.parametrize("codec", CODECS)
def test_neither_chunks_nor_jobs_change_a_layer(codec: Codec, tmp_path: Path) -> None:
    layers = {
        written(tmp_path / "layer", codec, chunk_bytes, jobs)
        for chunk_bytes, jobs in [(1000, 1), (BLOCK_BYTES, 2), (3 * BLOCK_BYTES + 1, 4)]
    }
    assert len(layers) == 1


def test_an_empty_layer_is_one_too(tmp_path: Path) -> None:
    with (tmp_path / "layer").open("wb") as file:
        layer = write_layer([], file, compression(Codec.NONE))
    assert layer.digest == layer.diff_id == sha256sum(tmp_path / "layer")
    assert layer.size == layer.uncompressed_size == 0


def test_a_stream_is_the_same_bytes_as_a_layer(tmp_path: Path) -> None:
    layer = written(tmp_path / "layer", Codec.GZIP)
    stream = io.BytesIO()
    size = write_stream(chunks(5000), stream, compression(Codec.GZIP))
    assert stream.getvalue() == (tmp_path / "layer").read_bytes()
    assert size == layer.size


def test_progress_counts_uncompressed_bytes(tmp_path: Path) -> None:
    told: list[int] = []
    with (tmp_path / "layer").open("wb") as file:
        write_layer(chunks(1000), file, compression(Codec.ZSTD), progress=told.append)
    assert sum(told) == len(CONTENT)


class Short(io.RawIOBase):
    """An unbuffered file that takes a few bytes at a time, as it may."""

    def __init__(self) -> None:
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        assert isinstance(data, memoryview)
        taken = data[:999]
        self.content += taken
        return len(taken)


def test_a_file_that_takes_less_than_it_is_given_gets_all() -> None:
    file = Short()
    write_stream(chunks(BLOCK_BYTES), file, compression(Codec.NONE))  # type: ignore[arg-type]
    assert file.content == CONTENT


# Failures. Each ends all threads: those of this module, of gzip's pool and inside of zstd.


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


@pytest.fixture(params=CODECS)
def codec(request: pytest.FixtureRequest) -> Iterator[Codec]:
    before, names = threads(), {thread.name for thread in threading.enumerate()}
    codec: Codec = request.param
    yield codec
    assert {thread.name for thread in threading.enumerate()} == names
    deadline = time.monotonic() + 2  # the kernel may need a moment for what has been joined
    while threads() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threads() <= before


def failing(error: BaseException) -> Iterator[BytesLike]:
    yield from chunks(100_000)
    raise error


def raising(error: BaseException) -> Callable[[int], None]:
    def fail(_: int) -> None:
        raise error

    return fail


@pytest.mark.parametrize("error", [CorruptError("damaged"), KeyboardInterrupt(), MemoryError()])
def test_an_error_of_the_source_is_raised_as_it_is(codec: Codec, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        write_layer(failing(error), io.BytesIO(), compression(codec), jobs=3)
    assert caught.value is error


def test_progress_can_stop_a_layer(codec: Codec) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_layer(
            chunks(1000), io.BytesIO(), compression(codec), progress=raising(KeyboardInterrupt())
        )


def test_a_full_disk_is_an_output_error(codec: Codec) -> None:
    with (
        Path("/dev/full").open("wb", buffering=0) as file,
        pytest.raises(OutputError, match="cannot write: No space left on device") as caught,
    ):
        write_layer(chunks(1000), file, compression(codec), jobs=2)
    assert isinstance(caught.value.__cause__, OSError)


def test_a_reader_that_goes_away_is_an_output_error(codec: Codec) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with (
        open(writing, "wb", buffering=0) as file,
        pytest.raises(OutputError, match="Broken pipe"),
    ):
        write_stream(chunks(1000), file, compression(codec), jobs=2)


class Broken(io.BytesIO):
    def write(self, _: object) -> int:
        raise ZeroDivisionError


def test_a_failure_in_a_thread_is_raised_to_the_caller(codec: Codec) -> None:
    with pytest.raises(ZeroDivisionError):
        write_layer(chunks(1000), Broken(), compression(codec), jobs=2)


def test_the_budget_is_held_before_the_bytes_are_written(codec: Codec) -> None:
    file = io.BytesIO()
    budget = 3 * BLOCK_BYTES
    with pytest.raises(LimitError, match=f"more than {budget:,} bytes") as caught:
        write_layer(chunks(1000), file, compression(codec), budget_bytes=budget)
    assert isinstance(caught.value, ConvertError)
    assert caught.value.exit_code == 5
    assert file.tell() <= budget + 100


def test_a_slow_file_holds_the_source_back() -> None:
    taken = 0

    def source() -> Iterator[BytesLike]:
        nonlocal taken
        for _ in range(200):
            taken += 1
            yield bytes(BLOCK_BYTES)

    most = 0

    class Slow(io.BytesIO):
        done = 0

        def write(self, data: object) -> int:
            nonlocal most
            most = max(most, taken - self.done)
            self.done += 1
            assert isinstance(data, memoryview)
            return len(data)

    write_stream(source(), Slow(), compression(Codec.NONE))
    assert taken == 200
    assert most <= 6
