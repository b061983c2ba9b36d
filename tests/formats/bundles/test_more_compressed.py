"""Files compressed with lz4, lzip and lzma, against the programs."""

from __future__ import annotations

import random
import struct
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from formats.bundles.more_compressed import READERS
from formats.core.errors import ConvertError, CorruptError, LimitError
from formats.core.limits import DEFAULT_LIMITS, KIB, MIB, Limits
from tests.images.volumes import reader_name
from tests.support.disks import inside, opened, whole
from tests.support.programs import need, run

PROGRAMS = {"lz4": ("lz4", "-qc"), "lzip": ("lzip", "-c"), "lzma": ("lzma", "-c")}
EACH = pytest.mark.parametrize("name", PROGRAMS)


def content() -> bytes:
    noise = random.Random(1).randbytes(700_000)
    return noise + bytes(MIB + 777) + b"some text\n" * 50_000 + noise[:1001]


def packed(folder: Path, name: str, data: bytes) -> bytes:
    need(name)
    (folder / "plain").write_bytes(data)
    return run(*PROGRAMS[name], folder / "plain").stdout


def read(path: Path, limits: Limits = DEFAULT_LIMITS) -> bytes:
    with opened(path, *READERS, limits=limits) as artifact:
        return whole(inside(artifact))


@EACH
def test_it_reads_what_the_program_wrote(tmp_path: Path, name: str) -> None:
    for data in (content(), b"", b"x"):
        path = tmp_path / f"disk.{name}"
        path.write_bytes(packed(tmp_path, name, data))
        assert reader_name(path) == name
        assert read(path) == data


@pytest.mark.parametrize("name", ["lz4", "lzip"])
def test_several_streams_in_a_row_are_one(tmp_path: Path, name: str) -> None:
    path = tmp_path / "disk"
    path.write_bytes(packed(tmp_path, name, b"one") + packed(tmp_path, name, content()))
    assert read(path) == b"one" + content()


@EACH
def test_what_follows_is_told(tmp_path: Path, name: str) -> None:
    path = tmp_path / "disk"
    path.write_bytes(packed(tmp_path, name, b"content") + b"tail")
    with opened(path, *READERS) as artifact:
        assert whole(inside(artifact)) == b"content"
        assert {finding.rule for finding in artifact.findings} == {"spooled", "trailing-data"}


@EACH
def test_a_stream_cut_anywhere_is_an_error(tmp_path: Path, name: str) -> None:
    data = packed(tmp_path, name, b"some text\n" * 50)
    path = tmp_path / "disk"
    for size in range(16, len(data) - 1, 3):
        path.write_bytes(data[:size])
        with pytest.raises(CorruptError):
            read(path)


@EACH
def test_any_damage_gives_bytes_or_an_error(tmp_path: Path, name: str) -> None:
    data = packed(tmp_path, name, content()[: 20 * KIB])
    chance = random.Random(name)
    limits = replace(DEFAULT_LIMITS, window_bytes=8 * MIB)
    for _ in range(60):
        broken = bytearray(data)
        broken[chance.randrange(6, len(data))] ^= chance.randrange(1, 256)
        (tmp_path / "disk").write_bytes(broken)
        with suppress(ConvertError):
            read(tmp_path / "disk", limits)


@pytest.mark.parametrize("field", [-20, -16, -8])
def test_what_the_trailer_of_lzip_says_is_checked(tmp_path: Path, field: int) -> None:
    data = bytearray(packed(tmp_path, "lzip", b"content"))
    data[field] ^= 1
    (tmp_path / "disk").write_bytes(data)
    with pytest.raises(CorruptError, match="other contents than its trailer says"):
        read(tmp_path / "disk")


def test_a_dictionary_larger_than_allowed_is_refused(tmp_path: Path) -> None:
    data = bytearray(packed(tmp_path, "lzip", b"content"))
    data[5] = 29
    (tmp_path / "disk").write_bytes(data)
    with pytest.raises(LimitError, match="asks for a dictionary of 536,870,912 bytes"):
        read(tmp_path / "disk")


@pytest.mark.parametrize(
    "head",
    [
        struct.pack("<BLQ", 0x5D, 0x50000 | 1 << 31, 10),
        struct.pack("<BLQ", 0x5D, 1 << 23, 1 << 40),
        b"\x5d\0\0\0\0" + b"\xff" * 8,
    ],
)
def test_bytes_that_only_begin_like_lzma_are_not(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "disk").write_bytes(head + bytes(100))
    assert reader_name(tmp_path / "disk") is None
