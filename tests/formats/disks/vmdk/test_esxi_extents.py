from __future__ import annotations

from pathlib import Path

import pytest

from formats.core.errors import CorruptError, UnsupportedError
from tests.formats.disks.vmdk.support import (
    opened,
    qemu_content,
    read_disk,
)
from tests.images.vmdk import (
    SECTOR,
    cowd,
    descriptor,
    grains_of,
    mixed_content,
    sesparse,
    write_set,
)
from tests.support.disks import check_extents, whole

SIZE = (20 << 20) + 4096
"""Two seSparse tables, eleven COWD tables of one-sector grains."""

CAPACITY = SIZE // SECTOR
NO_PARENT = "ffffffff"


@pytest.fixture(scope="module")
def raw() -> bytes:
    return mixed_content(SIZE)


def vmfs_sparse(folder: Path, data: bytes) -> Path:
    text = descriptor("vmfsSparse", [f'RW {CAPACITY} VMFSSPARSE "disk-delta.vmdk"'])
    return write_set(folder, "disk.vmdk", text, {"disk-delta.vmdk": data})


def se_sparse(folder: Path, data: bytes) -> Path:
    text = descriptor("seSparse", [f'RW {CAPACITY} SESPARSE "disk-sesparse.vmdk"'])
    return write_set(folder, "disk.vmdk", text, {"disk-sesparse.vmdk": data})


@pytest.mark.parametrize("grain", [1, 8, 128])
def test_a_vmfs_sparse_disk_reads_as_qemu_reads_it(grain: int, raw: bytes, tmp_path: Path) -> None:
    path = vmfs_sparse(tmp_path, cowd(CAPACITY, grains_of(raw, grain * SECTOR), grain))
    assert qemu_content(path) == raw
    with opened(path) as disk:
        assert whole(disk.source, 999_999) == raw
        check_extents(disk.source)


def test_a_sesparse_disk_reads_as_qemu_reads_it(raw: bytes, tmp_path: Path) -> None:
    grains = grains_of(raw, 4096)
    empty = [number for number in range(SIZE // 4096) if number not in grains]
    path = se_sparse(
        tmp_path, sesparse(CAPACITY, grains, zeroed=empty[10:20], unmapped=empty[30:40])
    )
    assert qemu_content(path) == raw
    with opened(path) as disk:
        assert whole(disk.source, 999_999) == raw
        check_extents(disk.source)
        assert disk.facts["create-type"] == "seSparse"


def test_a_grain_number_above_twelve_bits_uses_both_of_its_fields(tmp_path: Path) -> None:
    grains = {number: number.to_bytes(4, "big") * 1024 for number in range(4200)}
    text = descriptor("seSparse", ['RW 40960 SESPARSE "disk-sesparse.vmdk"'])
    path = write_set(tmp_path, "disk.vmdk", text, {"disk-sesparse.vmdk": sesparse(40960, grains)})
    ours = read_disk(path)
    assert ours == qemu_content(path)
    assert ours[: 4200 * 4096] == b"".join(grains.values())


def test_a_sesparse_disk_with_a_pending_journal_is_refused(raw: bytes, tmp_path: Path) -> None:
    path = se_sparse(tmp_path, sesparse(CAPACITY, grains_of(raw, 4096), replay=1))
    with pytest.raises(UnsupportedError, match="journal that was not replayed"):
        read_disk(path)


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (8, 3, "version"),
        (16, CAPACITY - 1, "where the descriptor says"),
        (16, 1 << 62, "too few"),
        (24, 0, "grains of 0"),
        (32, 0, "tables of 0 sectors"),
        (40, 1, "flags"),
        (80, 1 << 50, "volatile seSparse header lies outside"),
        (80, 0, "no volatile seSparse header"),
        (128, 1 << 60, "grain directory lies outside"),
        (136, 0, "too few"),
    ],
)
def test_a_sesparse_header_that_contradicts_itself_is_refused(
    offset: int, value: int, message: str, raw: bytes, tmp_path: Path
) -> None:
    data = bytearray(sesparse(CAPACITY, grains_of(raw, 4096)))
    data[offset : offset + 8] = value.to_bytes(8, "little")
    with pytest.raises((CorruptError, UnsupportedError), match=message):
        read_disk(se_sparse(tmp_path, bytes(data)))


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("directory", 1),
        ("directory", 1 << 60 | 2),
        ("table", 3 << 60 | 1 << 47),
        ("table", 4 << 60),
        ("table", 3 << 60 | 0x0FFF << 48),
    ],
)
def test_a_sesparse_entry_that_leads_nowhere_is_refused(
    where: str, value: int, raw: bytes, tmp_path: Path
) -> None:
    data = bytearray(sesparse(CAPACITY, grains_of(raw, 4096)))
    offset = (4 if where == "directory" else 5) * SECTOR
    data[offset : offset + 8] = value.to_bytes(8, "little")
    with pytest.raises(CorruptError):
        read_disk(se_sparse(tmp_path, bytes(data)))


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (4, 2, "version 2"),
        (12, CAPACITY - 1, "where the descriptor says"),
        (16, 0, "grains of 0"),
        (20, 1 << 31, "grain directory lies outside"),
        (24, 1, "directory of 1 entries"),
    ],
)
def test_a_vmfs_sparse_header_that_contradicts_itself_is_refused(
    offset: int, value: int, message: str, raw: bytes, tmp_path: Path
) -> None:
    data = bytearray(cowd(CAPACITY, grains_of(raw, 4096), 8))
    data[offset : offset + 4] = value.to_bytes(4, "little")
    with pytest.raises((CorruptError, UnsupportedError), match=message):
        read_disk(vmfs_sparse(tmp_path, bytes(data)))


@pytest.mark.parametrize("name", ["disk-delta.vmdk", "other.vmdk"])
def test_the_data_of_a_snapshot_alone_asks_for_the_descriptor(
    name: str, raw: bytes, tmp_path: Path
) -> None:
    (tmp_path / "disk.vmdk").write_text("here")
    path = tmp_path / name
    path.write_bytes(cowd(CAPACITY, grains_of(raw, 4096), 8))
    hint = "give 'disk.vmdk' instead" if name.startswith("disk") else "text file"
    with pytest.raises(UnsupportedError, match=hint):
        read_disk(path)
