from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from formats.core.limits import Limits
from tests.formats.disks.vmdk.support import (
    opened,
    qemu_content,
    qemu_disk,
    read_disk,
)
from tests.images.vmdk import (
    SECTOR,
    descriptor,
    hosted_header,
    mixed_content,
    padded,
    stream,
    write_set,
)
from tests.support.disks import check_extents, whole
from tests.support.programs import need, run

SIZE = (8 << 20) + 3 * SECTOR
"""Not a whole number of grains."""

QEMU_OPTIONS = [
    "subformat=monolithicSparse",
    "subformat=monolithicSparse,zeroed_grain=on",
    "subformat=streamOptimized",
    "subformat=streamOptimized,zeroed_grain=on",
    "subformat=monolithicFlat",
    "subformat=twoGbMaxExtentSparse",
    "subformat=twoGbMaxExtentFlat",
    "subformat=monolithicSparse,compat6",
    "subformat=monolithicSparse,adapter_type=lsilogic",
]


@pytest.fixture(scope="module")
def raw() -> bytes:
    return mixed_content(SIZE)


@pytest.mark.parametrize("options", QEMU_OPTIONS)
def test_a_disk_made_by_qemu_reads_as_what_it_was_made_of(
    options: str, raw: bytes, tmp_path: Path
) -> None:
    assert read_disk(qemu_disk(raw, tmp_path, options)) == raw


@pytest.mark.parametrize("options", QEMU_OPTIONS)
def test_holes_are_named_and_read_as_zeros(options: str, raw: bytes, tmp_path: Path) -> None:
    with opened(qemu_disk(raw, tmp_path, options)) as disk:
        assert check_extents(disk.source) > 0


@pytest.mark.parametrize(
    "options",
    ["subformat=streamOptimized", "subformat=monolithicSparse", "subformat=monolithicFlat"],
)
def test_any_range_reads_the_same_whatever_was_hinted(
    options: str, raw: bytes, tmp_path: Path
) -> None:
    chance = random.Random(7)
    ranges = [(chance.randrange(SIZE), chance.randrange(1, 300_000)) for _ in range(150)]
    with opened(qemu_disk(raw, tmp_path, options)) as disk:
        disk.source.will_need([*ranges, (SIZE + 5, 10), (0, SIZE * 2)])
        for offset, length in ranges:
            assert disk.source.read_at(offset, length) == raw[offset : offset + length]
        assert disk.source.read_at(SIZE, 10) == b""


def test_a_tiny_cache_gives_the_same_bytes(raw: bytes, tmp_path: Path) -> None:
    path = qemu_disk(raw, tmp_path, "subformat=streamOptimized")
    with opened(path, limits=Limits(cache_bytes=4096)) as disk:
        assert whole(disk.source, 100_000) == raw


def test_a_grain_marked_as_zeros_by_the_guest_is_a_hole(tmp_path: Path) -> None:
    need("qemu-img", "qemu-io")
    path = qemu_disk(b"\xaa" * (1 << 20), tmp_path, "subformat=monolithicSparse,zeroed_grain=on")
    run("qemu-io", "-f", "vmdk", "-c", "write -z 128k 256k", path)
    with opened(path) as disk:
        holes = [(e.offset, e.length) for e in disk.source.extents() if e.is_hole]
        assert holes == [(128 << 10, 256 << 10)]
        assert whole(disk.source) == qemu_content(path)


def test_a_stream_with_its_directory_at_the_end_reads_as_qemu_reads_it(
    raw: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "disk.vmdk"
    path.write_bytes(stream(raw))
    assert qemu_content(path) == raw
    assert read_disk(path) == raw


def test_a_stream_that_was_padded_at_its_end_still_has_its_footer(
    raw: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "disk.vmdk"
    path.write_bytes(stream(raw) + bytes(10_000))
    assert read_disk(path) == raw


def test_a_disk_that_was_renamed_needs_no_new_descriptor(raw: bytes, tmp_path: Path) -> None:
    path = qemu_disk(raw, tmp_path, "subformat=monolithicSparse")
    assert read_disk(path.rename(tmp_path / "other name.img")) == raw


def test_a_split_disk_of_several_two_gigabyte_parts_is_one_disk(tmp_path: Path) -> None:
    need("qemu-img", "qemu-io")
    path = tmp_path / "disk.vmdk"
    run("qemu-img", "create", "-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", path, "5G")
    writes = ["write -P 1 2146959360 1M", "write -P 2 4G 64k", "write -P 3 5368643584 64k"]
    run("qemu-io", "-f", "vmdk", *(part for write in writes for part in ("-c", write)), path)
    with opened(path) as disk:
        assert disk.source.size == 5 << 30
        assert disk.facts["extents"] == "3"
        assert (
            disk.source.read_at(2146959360 - 1, (1 << 20) + 2) == b"\0" + b"\1" * (1 << 20) + b"\0"
        )
        assert disk.source.read_at((5 << 30) - 65536, 1 << 20) == b"\3" * 65536
        data = sum(extent.length for extent in disk.source.extents() if not extent.is_hole)
        assert data == (1 << 20) + 65536 * 2


def test_a_disk_of_more_than_two_tebibytes_is_addressed_whole(tmp_path: Path) -> None:
    need("qemu-img", "qemu-io")
    path = tmp_path / "disk.vmdk"
    run("qemu-img", "create", "-f", "vmdk", path, "2100G")
    run("qemu-io", "-f", "vmdk", "-c", "write -P 9 2099G 4k", path)
    with opened(path) as disk:
        assert disk.source.size == 2100 << 30
        assert disk.source.read_at(2099 << 30, 4097) == b"\x09" * 4096 + b"\0"
        assert sum(1 for _ in disk.source.extents()) == 3


def test_a_custom_disk_is_put_together_from_extents_of_all_kinds(
    raw: bytes, tmp_path: Path
) -> None:
    part = raw[: 1 << 20]
    qemu_disk(part, tmp_path, "subformat=monolithicSparse", name="custom-s001.vmdk")
    lines = [
        'RDONLY 100 FLAT "custom-f001.vmdk" 10',
        "RW 50 ZERO",
        'rw  2048   SPARSE   "custom-s001.vmdk"',
        'NOACCESS 10 FLAT "custom-f001.vmdk" 0',
        'RW 10 VMFS "custom-f001.vmdk"',
    ]
    path = write_set(
        tmp_path, "custom.vmdk", descriptor("custom", lines), {"custom-f001.vmdk": raw[:80_000]}
    )
    parts = [raw[5120 : 5120 + 51200], bytes(25600), part, bytes(5120), raw[:5120]]
    with opened(path) as disk:
        assert whole(disk.source, 99_999) == b"".join(parts)
        assert [finding.rule for finding in disk.findings] == ["vmdk-no-access"]
        check_extents(disk.source)


def test_a_vmfs_disk_is_its_flat_file(raw: bytes, tmp_path: Path) -> None:
    text = descriptor("vmfs", [f'RW {len(raw) // SECTOR} VMFS "disk-flat.vmdk"'])
    path = write_set(tmp_path, "disk.vmdk", text, {"disk-flat.vmdk": raw})
    assert read_disk(path) == raw == qemu_content(path)


def test_holes_of_a_flat_file_are_holes_of_the_disk(tmp_path: Path) -> None:
    text = descriptor("monolithicFlat", ['RW 32768 FLAT "disk-flat.vmdk" 0'])
    path = write_set(tmp_path, "disk.vmdk", text, {})
    with (tmp_path / "disk-flat.vmdk").open("wb") as file:
        file.seek(8 << 20)
        file.write(b"x" * 65536)
        os.truncate(file.fileno(), 16 << 20)
    with opened(path) as disk:
        data = sum(extent.length for extent in disk.source.extents() if not extent.is_hole)
        assert data < 1 << 20


def test_an_embedded_descriptor_may_describe_other_files_where_the_header_has_no_grains(
    raw: bytes, tmp_path: Path
) -> None:

    text = padded(descriptor("vmfs", [f'RW {len(raw) // SECTOR} VMFS "disk-flat.vmdk"']).encode())
    header = hosted_header(0, descriptor_sectors=len(text) // SECTOR, directory=9)
    (tmp_path / "disk-flat.vmdk").write_bytes(raw)
    path = tmp_path / "disk.vmdk"
    path.write_bytes(header + text)
    assert read_disk(path) == raw


def test_the_identity_of_a_disk_is_in_its_facts(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "disk.vmdk"
    path.write_bytes(stream(raw))
    with opened(path) as disk:
        assert disk.facts == {
            "create-type": "streamOptimized",
            "cid": "12345678",
            "adapter": "lsilogic",
            "hardware-version": "13",
            "uuid": "6000c29a-1d7b-4944-dc53-e6d3e5897b0d",
        }
