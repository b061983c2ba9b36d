from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from formats.bundles import streams
from formats.bundles.compressed import READERS
from formats.bundles.streams import BLOCK_BYTES, INPUT_BYTES
from formats.core.errors import CorruptError, LimitError, OutputError
from formats.core.limits import DEFAULT_LIMITS, MIB, Limits
from formats.core.opener import open_artifact
from tests.support.disks import inside, opened, whole
from tests.support.programs import need, need_root, run

PROGRAMS = {
    ".gz": ("gzip", "-c"),
    ".bz2": ("bzip2", "-c"),
    ".xz": ("xz", "-c", "-1"),
    ".zst": ("zstd", "-qc"),
}
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": lambda data: gzip.compress(data, 1),
    ".bz2": lambda data: bz2.compress(data, 1),
    ".xz": lambda data: lzma.compress(data, preset=0),
    ".zst": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
}
ENDINGS = pytest.mark.parametrize("ending", COMPRESS)


def content() -> bytes:
    """Return three mebibytes: noise, text, and a hole that is not at a multiple of anything."""
    noise = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(20_000))
    return noise + bytes(MIB + 777) + b"some text\n" * 100_000 + noise[:1001]


def read(file: Path, limits: Limits = DEFAULT_LIMITS) -> bytes:
    with opened(file, *READERS, limits=limits) as artifact:
        return whole(inside(artifact))


@ENDINGS
def test_it_reads_what_the_program_wrote(tmp_path: Path, ending: str) -> None:
    need(PROGRAMS[ending][0])
    plain = tmp_path / "disk.raw"
    plain.write_bytes(content())
    file = tmp_path / f"disk.raw{ending}"
    file.write_bytes(run(*PROGRAMS[ending], plain).stdout)
    assert read(file) == content()


@ENDINGS
def test_several_streams_in_a_row_are_one(tmp_path: Path, ending: str) -> None:
    compress = COMPRESS[ending]
    file = tmp_path / f"disk{ending}"
    parts = [content(), b"", b"x" * 100, content()[:70_000]]
    file.write_bytes(b"".join(map(compress, parts)))
    assert read(file) == b"".join(parts)


@ENDINGS
def test_padding_is_passed_over_and_anything_else_told(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"disk{ending}"
    for tail, rules in ((bytes(5000), {"spooled"}), (b"tail", {"spooled", "trailing-data"})):
        file.write_bytes(COMPRESS[ending](b"content" * 999) + tail)
        with opened(file, *READERS) as artifact:
            assert whole(inside(artifact)) == b"content" * 999
            assert {finding.rule for finding in artifact.findings} == rules


@ENDINGS
def test_zeros_between_streams_are_what_the_program_takes_them_for(
    tmp_path: Path, ending: str
) -> None:
    need(PROGRAMS[ending][0])
    file = tmp_path / f"disk{ending}"
    file.write_bytes(bytes(300_000).join([COMPRESS[ending](b"one"), COMPRESS[ending](b"two")]))
    expected = run(PROGRAMS[ending][0], "-dc", file, check=False).stdout
    with opened(file, *READERS) as artifact:
        assert whole(inside(artifact)) == expected
        is_all = "trailing-data" not in {finding.rule for finding in artifact.findings}
    assert is_all == (expected == b"onetwo")


@ENDINGS
def test_a_cut_file_is_said_to_be_cut(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"disk{ending}"
    data = COMPRESS[ending](content())
    for size in (*range(20, len(data), len(data) // 40), len(data) - 1):
        file.write_bytes(data[:size])
        with pytest.raises(CorruptError, match="is cut short") as caught:
            read(file)
        assert caught.value.offset == size


@ENDINGS
def test_any_changed_byte_gives_the_content_or_a_typed_error(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"disk{ending}"
    data = COMPRESS[ending](content()[:400_000])
    chance = random.Random(ending)
    refused = 0
    for _ in range(150):
        changed = bytearray(data)
        changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        file.write_bytes(changed)
        with opened(file, *READERS) as artifact:
            (node,) = artifact.nodes
            if node.reader is not None and node.problem is None:
                assert whole(inside(artifact)) == content()[:400_000]
            else:
                refused += 1
    assert refused > 100


@ENDINGS
def test_zeros_take_no_room(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"disk{ending}"
    size = 300 * MIB
    data = COMPRESS[ending](bytes(30 * MIB)) * 10 + COMPRESS[ending](b"end")
    file.write_bytes(data)
    with opened(file, *READERS) as artifact:
        source = inside(artifact)
        assert source.size == size + 3
        assert sum(extent.length for extent in source.extents() if not extent.is_hole) <= 65_536
        assert source.read_at(size, 3) == b"end"


@ENDINGS
def test_a_bomb_is_stopped_within_one_block(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"disk{ending}"
    file.write_bytes(COMPRESS[ending](b"\x01" * (8 * MIB)))
    limits = replace(DEFAULT_LIMITS, expansion_ratio=10, expansion_grace_bytes=MIB)
    with pytest.raises(LimitError, match="expands to more than 10 times") as caught:
        read(file, limits)
    assert caught.value.exit_code == 5
    with pytest.raises(LimitError, match="spool_bytes"):
        read(file, replace(DEFAULT_LIMITS, spool_bytes=BLOCK_BYTES))
    with pytest.raises(LimitError, match="disk_virtual_bytes"):
        read(file, replace(DEFAULT_LIMITS, disk_virtual_bytes=BLOCK_BYTES))


def test_a_decoder_gets_no_more_memory_than_the_limit(tmp_path: Path) -> None:
    limits = replace(DEFAULT_LIMITS, window_bytes=4 * MIB)
    large = {
        ".xz": lzma.compress(content(), preset=6),
        ".zst": zstandard.ZstdCompressor(
            compression_params=zstandard.ZstdCompressionParameters(window_log=25)
        ).compress(os.urandom(MIB) * 40),
    }
    for ending, data in large.items():
        file = tmp_path / f"disk{ending}"
        file.write_bytes(data)
        with pytest.raises(LimitError, match="more memory"):
            read(file, limits)


def test_zstd_files_may_have_skippable_frames(tmp_path: Path) -> None:
    file = tmp_path / "disk.zst"
    skippable = b"\x5a\x2a\x4d\x18\x04\x00\x00\x00note"
    frame = COMPRESS[".zst"](content())
    file.write_bytes(skippable + frame + skippable + frame)
    assert read(file) == content() * 2
    file.write_bytes((skippable + frame)[:-1])
    with pytest.raises(CorruptError, match="is cut short"):
        read(file)


def gzip_member(data: bytes, flags: int) -> bytes:
    """Return a member whose header has what ``flags`` say (RFC 1952, 2.3.1)."""
    header = b"\x1f\x8b\x08" + bytes([flags]) + bytes(6)
    if flags & 4:
        header += struct.pack("<H", 6) + b"BC\x02\x00\x10\x20"  # as bgzip has it
    if flags & 8:
        header += b"name\0"
    if flags & 16:
        header += b"comment\0"
    if flags & 2:
        header += struct.pack("<H", zlib.crc32(header) & 0xFFFF)
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    body = packer.compress(data) + packer.flush()
    return header + body + struct.pack("<II", zlib.crc32(data), len(data))


@pytest.mark.parametrize("flags", [0, 1, 2, 4, 8, 16, 31])
def test_headers_of_gzip_members_may_lie_anywhere(tmp_path: Path, flags: int) -> None:
    file = tmp_path / "disk.gz"
    noise = os.urandom(INPUT_BYTES)  # takes a few bytes more when it is compressed
    overhead = len(gzip_member(noise, 0)) - len(noise)
    for before in range(60):
        lead = noise[: INPUT_BYTES - overhead - before]
        data = gzip_member(lead, 0) + gzip_member(noise, flags) + gzip_member(b"end", flags)
        file.write_bytes(data)
        assert read(file) == lead + noise + b"end"
    assert data.index(gzip_member(noise, flags)) in range(INPUT_BYTES - 80, INPUT_BYTES)
    need("gzip")
    assert run("gzip", "-dc", file).stdout == lead + noise + b"end"


def test_gzip_is_read_without_isal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "inflater", zlib.decompressobj)
    file = tmp_path / "disk.gz"
    data = gzip_member(content(), 0) * 2
    file.write_bytes(data)
    assert read(file) == content() * 2
    file.write_bytes(data[:-9])
    with pytest.raises(CorruptError, match="is cut short"):
        read(file)
    file.write_bytes(data[:-8] + bytes(8))
    with pytest.raises(CorruptError, match="is damaged"):
        read(file)


def test_the_breadcrumb_has_the_name_without_the_ending(tmp_path: Path) -> None:
    names = {
        "a.raw.gz": "a.raw",
        "b.TGZ": "b.tar",
        "c.tar.xz": "c.tar",
        "plain": "content",
        "d.img.zst": "d.img",
    }
    for name, inner in names.items():
        file = tmp_path / name
        ending = next((end for end in COMPRESS if name.endswith(end)), ".gz")
        file.write_bytes(COMPRESS[ending](b"content"))
        with opened(file, *READERS) as artifact:
            assert str(inside(artifact).origin) == f"{name} › {inner}"


def test_compression_inside_compression_is_counted(tmp_path: Path) -> None:
    data = b"content"
    for _ in range(5):
        data = gzip.compress(data)
    file = tmp_path / "disk.gz"
    file.write_bytes(data)
    with opened(file, *READERS) as artifact:
        problems = [node.problem for node in artifact.walk() if node.problem is not None]
    assert [str(problem).partition(": ")[2] for problem in problems] == [
        "is compressed more than 3 times over"
    ]


def test_a_compressed_image_finds_its_backing_image(tmp_path: Path) -> None:
    need("qemu-img", "qemu-io")
    run("qemu-img", "create", "-q", "-f", "raw", tmp_path / "base.raw", "1M")
    run("qemu-io", "-f", "raw", "-c", "write -q -P 7 0 1M", tmp_path / "base.raw")
    options = ("-f", "qcow2", "-F", "raw", "-b", "base.raw")
    run("qemu-img", "create", "-q", *options, tmp_path / "top.qcow2")
    (tmp_path / "top.qcow2.gz").write_bytes(gzip.compress((tmp_path / "top.qcow2").read_bytes()))
    with open_artifact([tmp_path / "top.qcow2.gz"]) as artifact:
        disk = list(artifact.walk())[-1]
        assert whole(disk.volume.source) == b"\x07" * MIB


def test_a_full_disk_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    need("mount")
    need_root()
    small = tmp_path / "small"
    small.mkdir()
    file = tmp_path / "disk.gz"
    file.write_bytes(gzip.compress(os.urandom(4 * MIB), 1))
    run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small)
    try:
        with opened(file, *READERS, spool_parent=small) as artifact:
            (node,) = artifact.nodes
            assert isinstance(node.problem, OutputError)
            assert "--spool DIR" in str(node.problem)
        assert list(small.iterdir()) == []
    finally:
        run("umount", small)


def test_nothing_is_left_of_a_copy(tmp_path: Path) -> None:
    file = tmp_path / "disk.gz"
    file.write_bytes(gzip.compress(content(), 1))
    spool = tmp_path / "spool"
    spool.mkdir()
    with opened(file, *READERS, spool_parent=spool):
        (folder,) = spool.iterdir()
        assert list(folder.iterdir()) == []
    assert list(spool.iterdir()) == []


def test_progress_is_told_in_bytes_of_input(tmp_path: Path) -> None:
    file = tmp_path / "disk.gz"
    file.write_bytes(gzip.compress(content(), 1))
    told: list[tuple[str, int, int]] = []
    with open_artifact([file], progress=lambda *step: told.append(step)):
        pass
    size = file.stat().st_size
    assert {(stage, total) for stage, _, total in told} == {("decompressing", size)}
    assert told[-1][1] == size
