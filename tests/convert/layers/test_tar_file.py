"""Trees as tar files: compressed as they are named, whole or not there."""

from __future__ import annotations

import fcntl
import io
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from convert.layers.tar import encode_tar
from convert.layers.tar_file import write_tar
from formats.core.errors import (
    CorruptError,
    LimitError,
    OutputError,
    OutputExistsError,
    UsageError,
)
from formats.core.limits import DEFAULT_LIMITS
from tests.support.memory_tree import memory_tree
from tests.support.programs import need, need_root, run

ROOT = Path(__file__).resolve().parents[3]
TREE = memory_tree("f 644 0:0 a *3000000\nl 777 0:0 b a\nf 755 1:2 c/d x\nm 1700000000 a")
TAR = b"".join(encode_tar(TREE))


def left_in(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


@pytest.mark.parametrize(
    ("name", "unpack"),
    [
        ("x", ("cat",)),
        ("x.tar", ("cat",)),
        ("x.tar.gz", ("gzip", "-dc")),
        ("x.tgz", ("gzip", "-dc")),
        ("x.TAR.GZ", ("gzip", "-dc")),
        ("x.tar.zst", ("zstd", "-dc")),
        ("x.tzst", ("zstd", "-dc")),
    ],
)
def test_the_name_says_how_it_is_compressed(
    name: str, unpack: tuple[str, ...], tmp_path: Path
) -> None:
    need("gzip", "zstd")
    size = write_tar(TREE, tmp_path / name, jobs=2)
    assert run(*unpack, tmp_path / name).stdout == TAR
    assert size == (tmp_path / name).stat().st_size
    assert left_in(tmp_path) == [name]


@pytest.mark.parametrize("name", ["x.tar.xz", "x.tbz2", "x.tar.lz4"])
def test_a_name_that_asks_for_another_compression_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not written as \."):
        write_tar(TREE, tmp_path / name)
    assert left_in(tmp_path) == []


def test_standard_output_gets_a_plain_tar_and_stays_open() -> None:
    stdout = io.BytesIO()
    assert write_tar(TREE, None, stdout=stdout) == len(TAR)
    assert stdout.getvalue() == TAR


def test_a_pipe_that_is_there_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_tar(TREE, pipe)
    reader.join(10)
    assert got == [TAR]
    assert pipe.is_fifo()


def test_times_are_limited(tmp_path: Path) -> None:
    write_tar(TREE, tmp_path / "x.tar", mtime_limit=5)
    assert (tmp_path / "x.tar").read_bytes() == b"".join(encode_tar(TREE, mtime_limit=5))


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_text("mine")
    with pytest.raises(OutputExistsError):
        write_tar(TREE, tmp_path / "x.tar")
    assert (tmp_path / "x.tar").read_text() == "mine"
    assert left_in(tmp_path) == ["x.tar"]


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    def interfere(_: int) -> None:
        (tmp_path / "x.tar").write_text("theirs")

    with pytest.raises(OutputExistsError):
        write_tar(TREE, tmp_path / "x.tar", progress=interfere)
    assert (tmp_path / "x.tar").read_text() == "theirs"
    assert left_in(tmp_path) == ["x.tar"]


def test_nothing_is_left_of_a_tree_that_cannot_be_read(tmp_path: Path) -> None:
    def fail(_: int) -> None:
        raise CorruptError("damaged")

    with pytest.raises(CorruptError):
        write_tar(TREE, tmp_path / "x.tar", progress=fail)
    assert left_in(tmp_path) == []


def test_limits_are_held(tmp_path: Path) -> None:
    limits = replace(DEFAULT_LIMITS, total_output_bytes=10_000)
    with pytest.raises(LimitError):
        write_tar(TREE, tmp_path / "x.tar.gz", limits=limits)
    assert left_in(tmp_path) == []


def test_a_reader_that_goes_away_is_an_output_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as stdout, pytest.raises(OutputError):
        write_tar(TREE, None, stdout=stdout)


def test_nothing_is_left_on_a_disk_that_is_full(tmp_path: Path) -> None:
    need_root()
    disk = tmp_path / "disk"
    disk.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk)
    try:
        with pytest.raises(OutputError, match="No space left") as caught:
            write_tar(TREE, disk / "x.tar")
        assert caught.value.exit_code == 7
        assert left_in(disk) == []
    finally:
        run("umount", disk)


ENDLESS = """
import sys, time
from pathlib import Path
from convert.layers.folder import write_folder
from convert.layers.tar_file import write_tar
from tests.support.memory_tree import memory_tree

tree = memory_tree("f 644 0:0 a *9000000", chunk_bytes=1000)

def wait(_):
    print("under way", flush=True)
    time.sleep(60)

{"tar": write_tar, "dir": write_folder}[sys.argv[1]](tree, Path(sys.argv[2]), progress=wait)
"""


@pytest.mark.parametrize("form", ["tar", "dir"])
def test_nothing_is_left_after_ctrl_c(form: str, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS, form, tmp_path / "out"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"under way\n"
        assert left_in(tmp_path) != []
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode != 0
    assert left_in(tmp_path) == []


STUCK = """
import sys
from convert.layers.tar_file import write_tar
from tests.support.memory_tree import memory_tree

tree = memory_tree("f 644 0:0 a *9000000", chunk_bytes=1 << 16)
write_tar(tree, None, stdout=sys.stdout.buffer)
"""


def test_ctrl_c_ends_a_write_to_a_pipe_that_nobody_reads_from() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STUCK], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) != 0


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS, "dir", tmp_path / "out"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        process.communicate(timeout=20)
    assert len(left_in(tmp_path)) == 1
    write_tar(TREE, tmp_path / "x.tar")
    assert left_in(tmp_path) == ["x.tar"]


def test_a_pipe_holds_a_megabyte_so_that_writer_and_reader_do_not_wait_for_each_other() -> None:
    reading, writing = os.pipe()
    with open(reading, "rb"), open(writing, "wb") as output:
        write_tar(memory_tree("f 644 0:0 file x"), None, stdout=output)
        assert fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ) == 1 << 20
