"""Damaged, truncated and hostile disks: an error that says where, or the right bytes."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from formats.core.errors import ConvertError, CorruptError, LimitError, UnsupportedError
from formats.core.limits import Limits
from formats.disks.vmdk.reader import READER
from tests.formats.disks.vmdk.support import opened, qemu_disk, read_disk
from tests.images.vmdk import (
    SECTOR,
    TABLE_ENTRIES,
    cowd,
    descriptor,
    grains_of,
    hosted_header,
    mixed_content,
    sesparse,
    stream,
    write_set,
)
from tests.support import disks
from tests.support.disks import whole

SIZE = 2 << 20
CAPACITY = SIZE // SECTOR
GRAIN_BYTES = 65536
FIRST_GRAIN = 128 * SECTOR
"""Where a stream's first grain is."""

DIRECTORY_FIELD, REDUNDANT_FIELD = 56, 48


@pytest.fixture(scope="module")
def raw() -> bytes:
    return mixed_content(SIZE)


def edited(data: bytes, *changes: tuple[int, str, int]) -> bytes:
    """Return ``data`` with numbers written into it, each with its offset and struct format."""
    changed = bytearray(data)
    for offset, layout, value in changes:
        struct.pack_into(layout, changed, offset, value)
    return bytes(changed)


def written(folder: Path, data: bytes) -> Path:
    path = folder / "disk.vmdk"
    path.write_bytes(data)
    return path


def sector_at(data: bytes, field: int) -> int:
    """Return the offset that a header field leads to."""
    sector: int = struct.unpack_from("<Q", data, field)[0]
    return sector * SECTOR


def footer_of(data: bytes) -> int:
    return len(data) - 2 * SECTOR


# --- headers


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((4, "<I", 4), "sparse extent of version 4"),
        ((8, "<I", 1 << 5), "features that are not known"),
        ((8, "<I", 1 << 20), "features that are not known"),
        ((8, "<I", 1 << 16 | 1), "contradict"),
        ((20, "<I", 0), "grains of 0 sectors"),
        ((20, "<I", 96), "power of two"),
        ((20, "<I", 1 << 31), "power of two"),
        ((44, "<I", 0), "tables of 0 entries"),
        ((44, "<I", 1 << 31), "tables of 2,147,483,648 entries"),
        ((12, "<Q", 1 << 63), "more than the"),
        ((28, "<Q", 1 << 60), "embedded descriptor lies outside"),
        ((36, "<Q", 1 << 40), "descriptor of"),
        ((73, "<I", 0x0D0A0A0A), "binary mode"),
        ((77, "<H", 1), "contradict"),
    ],
)
def test_a_header_that_cannot_be_right_is_refused(
    change: tuple[int, str, int], message: str, raw: bytes, tmp_path: Path
) -> None:
    data = qemu_disk(raw, tmp_path, "subformat=monolithicSparse").read_bytes()
    with pytest.raises(ConvertError, match=message):
        read_disk(written(tmp_path, edited(data, change)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([(8, "<I", 0x10001)], "without markers"),
        ([(77, "<H", 2)], "compression method 2"),
    ],
)
def test_a_stream_whose_grains_cannot_be_known_is_refused(
    changes: list[tuple[int, str, int]], message: str, raw: bytes, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedError, match=message):
        read_disk(written(tmp_path, edited(stream(raw), *changes)))


def test_a_directory_that_does_not_fit_into_memory_is_refused(tmp_path: Path) -> None:
    data = hosted_header(1 << 34, grain=1, entries=1, directory=1, descriptor_sectors=1)
    text = descriptor("monolithicSparse", [f'RW {1 << 34} SPARSE "disk.vmdk"'])
    with pytest.raises(LimitError, match="grain directory of"):
        read_disk(written(tmp_path, data + text.encode().ljust(SECTOR, b"\0")))


def test_a_table_that_two_parts_share_is_refused(tmp_path: Path) -> None:
    """A few kilobytes could else stand for terabytes of grains to look at."""
    head = hosted_header(2048, grain=8, entries=128, directory=2, descriptor_sectors=1)
    text = descriptor("monolithicSparse", ['RW 2048 SPARSE "disk.vmdk"']).encode()
    directory = struct.pack("<2I", 3, 3).ljust(SECTOR, b"\0")
    data = head + text.ljust(SECTOR, b"\0") + directory + bytes(SECTOR)
    with pytest.raises(CorruptError, match="that two parts of the disk share"):
        read_disk(written(tmp_path, data))


def test_directories_of_many_extents_share_the_memory(raw: bytes, tmp_path: Path) -> None:
    qemu_disk(raw, tmp_path, "subformat=monolithicSparse", name="disk-s001.vmdk")
    text = descriptor("custom", ['RW 8 SPARSE "disk-s001.vmdk"'] * 64)
    path = write_set(tmp_path, "disk.vmdk", text, {})
    size = 4 * -(-SIZE // (GRAIN_BYTES * TABLE_ENTRIES))
    with opened(path, limits=Limits(cache_bytes=64 * size)) as disk:
        assert whole(disk.source) == raw[: 8 * SECTOR] * 64
    with (
        pytest.raises(LimitError, match="grain directory of"),
        opened(path, limits=Limits(cache_bytes=64 * size - 1)),
    ):
        pass


# --- two directories


def directories(data: bytes) -> tuple[int, int]:
    found = sector_at(data, DIRECTORY_FIELD), sector_at(data, REDUNDANT_FIELD)
    assert 0 not in found
    return found


BREAKS: dict[str, Callable[[bytes, int], bytes]] = {
    "a directory behind the end": lambda data, place: edited(data, (place, "<I", 0x7FFFFFFF)),
    "a directory that is its own table": lambda data, place: edited(
        data, (place, "<I", place // SECTOR)
    ),
    "a table behind the end": lambda data, place: edited(
        data, (struct.unpack_from("<I", data, place)[0] * SECTOR, "<I", 0x7FFFFFFF)
    ),
}


@pytest.mark.parametrize("name", BREAKS)
@pytest.mark.parametrize("which", [0, 1])
def test_one_damaged_directory_leaves_the_other(
    name: str, which: int, raw: bytes, tmp_path: Path
) -> None:
    data = qemu_disk(raw, tmp_path, "subformat=monolithicSparse").read_bytes()
    path = written(tmp_path, BREAKS[name](data, directories(data)[which]))
    with opened(path) as disk:
        assert whole(disk.source) == raw
        rules = [finding.rule for finding in disk.findings]
    is_looked_at = which == 0 or "directory" in name
    assert rules == ["vmdk-redundant-tables"] * is_looked_at


@pytest.mark.parametrize("name", BREAKS)
def test_two_damaged_directories_are_an_error(name: str, raw: bytes, tmp_path: Path) -> None:
    data = qemu_disk(raw, tmp_path, "subformat=monolithicSparse").read_bytes()
    for place in directories(data):
        data = BREAKS[name](data, place)
    with pytest.raises(CorruptError, match=r"points (behind its end|to its header or to itself)"):
        read_disk(written(tmp_path, data))


def test_an_unclean_disk_is_read_and_said_to_be_so(raw: bytes, tmp_path: Path) -> None:
    data = qemu_disk(raw, tmp_path, "subformat=monolithicSparse").read_bytes()
    with opened(written(tmp_path, edited(data, (72, "<B", 1)))) as disk:
        assert whole(disk.source) == raw
        assert [finding.rule for finding in disk.findings] == ["vmdk-unclean"]


# --- streams


@pytest.mark.parametrize("lost", [1, 2 * SECTOR, 3 * SECTOR, GRAIN_BYTES, SIZE // 4])
def test_a_download_that_broke_off_is_said_to_be_truncated(
    lost: int, raw: bytes, tmp_path: Path
) -> None:
    data = stream(raw)
    cut = data[: len(data) - lost]
    if lost == 1:  # the end-of-stream marker holds nothing that is needed
        assert read_disk(written(tmp_path, cut)) == raw
        return
    with pytest.raises(CorruptError, match=r"ends before its footer.*truncated"):
        read_disk(written(tmp_path, cut))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((DIRECTORY_FIELD, "<Q", (1 << 64) - 1), "does not say where the grain directory is"),
        ((DIRECTORY_FIELD, "<Q", 1 << 50), "grain directory lies outside"),
        ((12, "<Q", CAPACITY + 1), "contradicts its header"),
        ((0, "<I", 0), "ends before its footer"),
    ],
)
def test_a_footer_that_cannot_be_right_is_refused(
    change: tuple[int, str, int], message: str, raw: bytes, tmp_path: Path
) -> None:
    data = stream(raw)
    offset, layout, value = change
    data = edited(data, (footer_of(data) + offset, layout, value))
    with pytest.raises(CorruptError, match=message):
        read_disk(written(tmp_path, data))


def test_a_footer_needs_nothing_but_the_directory(raw: bytes, tmp_path: Path) -> None:
    data = stream(raw)
    fields = [(footer_of(data) + field, "<Q", 0) for field in (28, 36, 64)]
    assert read_disk(written(tmp_path, edited(data, *fields))) == raw


def with_first_grain(data: bytes, packed: bytes) -> bytes:
    """Return a stream whose first grain has another payload, which must not be longer."""
    length: int = struct.unpack_from("<I", data, FIRST_GRAIN + 8)[0]
    assert len(packed) <= length
    changed = bytearray(edited(data, (FIRST_GRAIN + 8, "<I", len(packed))))
    changed[FIRST_GRAIN + 12 : FIRST_GRAIN + 12 + len(packed)] = packed
    return bytes(changed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((0, "<Q", 128 * 3), "grain for sector 384 where the one for sector"),
        ((8, "<I", 0), "compressed grain of 0 bytes"),
        ((8, "<I", 1 << 31), "compressed grain of"),
        ((12, "<I", 0), "deflate stream is damaged"),
        ((100, "<I", 0xFFFFFFFF), "deflate stream"),
    ],
)
def test_a_damaged_grain_is_an_error_at_its_place(
    change: tuple[int, str, int], message: str, tmp_path: Path
) -> None:
    data = stream(random.Random(1).randbytes(SIZE))
    offset, layout, value = change
    data = edited(data, (FIRST_GRAIN + offset, layout, value))
    with pytest.raises(CorruptError, match=message) as caught:
        read_disk(written(tmp_path, data))
    assert caught.value.offset is not None
    assert FIRST_GRAIN <= caught.value.offset <= FIRST_GRAIN + 12


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (zlib.compress(bytes(GRAIN_BYTES - 1)), "ends after 65,535 of 65,536"),
        (zlib.compress(bytes(GRAIN_BYTES + 1)), "goes on beyond its end"),
        (zlib.compress(bytes(16 << 20)), "goes on beyond its end"),
        (zlib.compress(bytes(GRAIN_BYTES))[:-1] + b"\xff", "deflate stream is damaged"),
    ],
)
def test_a_grain_of_another_size_or_sum_is_an_error(
    packed: bytes, message: str, tmp_path: Path
) -> None:
    data = stream(random.Random(1).randbytes(SIZE))
    with pytest.raises(CorruptError, match=message):
        read_disk(written(tmp_path, with_first_grain(data, packed)))


def test_a_damaged_grain_leaves_the_others_readable(tmp_path: Path) -> None:
    content = random.Random(1).randbytes(SIZE)
    data = edited(stream(content), (FIRST_GRAIN + 12, "<I", 0))
    with opened(written(tmp_path, data)) as disk:
        disk.source.will_need([(0, SIZE)])
        assert disk.source.read_at(GRAIN_BYTES, SIZE) == content[GRAIN_BYTES:]
        for _ in range(2):
            with pytest.raises(CorruptError, match="deflate stream is damaged"):
                disk.source.read_at(5, 10)


# --- anything at all

Maker = Callable[[Path, bytes], Path]


def made_by_qemu(option: str) -> Maker:
    return lambda folder, raw: qemu_disk(raw, folder, f"subformat={option}")


def made_stream(folder: Path, raw: bytes) -> Path:
    return written(folder, stream(raw))


def made_cowd(folder: Path, raw: bytes) -> Path:
    text = descriptor("vmfsSparse", [f'RW {CAPACITY} VMFSSPARSE "disk-delta.vmdk"'])
    data = {"disk-delta.vmdk": cowd(CAPACITY, grains_of(raw, 4096), 8)}
    return write_set(folder, "disk.vmdk", text, data)


def made_sesparse(folder: Path, raw: bytes) -> Path:
    text = descriptor("seSparse", [f'RW {CAPACITY} SESPARSE "disk-sesparse.vmdk"'])
    data = {"disk-sesparse.vmdk": sesparse(CAPACITY, grains_of(raw, 4096))}
    return write_set(folder, "disk.vmdk", text, data)


MAKERS: dict[str, tuple[Maker, str]] = {
    "monolithicSparse": (made_by_qemu("monolithicSparse"), "disk.vmdk"),
    "streamOptimized": (made_by_qemu("streamOptimized"), "disk.vmdk"),
    "stream with footer": (made_stream, "disk.vmdk"),
    "twoGbMaxExtentSparse": (made_by_qemu("twoGbMaxExtentSparse"), "disk-s001.vmdk"),
    "monolithicFlat": (made_by_qemu("monolithicFlat"), "disk.vmdk"),
    "vmfsSparse": (made_cowd, "disk-delta.vmdk"),
    "seSparse": (made_sesparse, "disk-sesparse.vmdk"),
}
LIMITS = Limits(disk_virtual_bytes=64 << 20)
STRUCTURE_BYTES = 4096
MUTATIONS = 60
CUTS = 25


def read_or_refused(path: Path) -> bytes | None:
    """Return the content, None if an error of ours says why not; anything else is raised."""
    with disks.opened(path, READER, limits=LIMITS) as artifact:
        node = artifact.nodes[0]
        if node.reader is None and node.problem is None:
            return None  # nothing is left by which it could be known
        try:
            source = disks.inside(artifact)
            for _ in source.extents():
                pass
            source.will_need([(0, source.size)])
            return disks.whole(source)
        except ConvertError:
            return None


@pytest.mark.parametrize("name", MAKERS)
def test_random_damage_never_ends_in_anything_but_an_error(
    name: str, raw: bytes, tmp_path: Path
) -> None:
    make, damaged = MAKERS[name]
    path = make(tmp_path, raw)
    file = tmp_path / damaged
    intact = file.read_bytes()
    chance = random.Random(name)
    for _ in range(MUTATIONS):
        data = bytearray(intact)
        for _ in range(chance.randrange(1, 6)):
            # Half of the damage near the start, where the structure is.
            at = chance.randrange(min(len(data), chance.choice([STRUCTURE_BYTES, len(data)])))
            data[at] = chance.choice([0, 0xFF, data[at] ^ 1 << chance.randrange(8)])
        file.write_bytes(data)
        read_or_refused(path)


@pytest.mark.parametrize("name", MAKERS)
def test_a_truncated_file_never_reads_as_something_else(
    name: str, raw: bytes, tmp_path: Path
) -> None:
    make, damaged = MAKERS[name]
    path = make(tmp_path, raw)
    file = tmp_path / damaged
    intact = file.read_bytes()
    chance = random.Random(name)
    refused = 0
    for _ in range(CUTS):
        file.write_bytes(intact[: chance.randrange(len(intact))])
        content = read_or_refused(path)
        assert content in {None, raw}
        refused += content is None
    assert refused
