"""Extents are files beside the descriptor, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from formats.core.errors import CorruptError, LimitError, UnsupportedError
from formats.core.limits import Limits
from tests.formats.disks.vmdk.support import opened, qemu_disk, read_disk
from tests.images.vmdk import SECTOR, descriptor, hosted_header, padded, write_set
from tests.support.disks import whole

SECRET = b"not yours" * 512


@pytest.mark.parametrize("kind", ["FLAT", "VMFS", "SPARSE", "VMFSSPARSE", "SESPARSE"])
@pytest.mark.parametrize(
    "name", ["../secret", "{folder}/secret", "sub/secret", "..\\secret", "C:secret", "link", ".."]
)
def test_a_name_that_leads_elsewhere_is_refused(kind: str, name: str, tmp_path: Path) -> None:
    folder = tmp_path / "vm"
    (folder / "sub").mkdir(parents=True)
    for place in (tmp_path / "secret", folder / "sub" / "secret"):
        place.write_bytes(SECRET)
    (folder / "link").symlink_to(tmp_path / "secret")
    line = f'RW 8 {kind} "{name.format(folder=tmp_path)}" 0'
    path = write_set(folder, "disk.vmdk", descriptor("custom", [line]), {})
    with pytest.raises(UnsupportedError, match=r"not a plain name|symlink"):
        read_disk(path)


def test_an_extent_in_an_allowed_folder_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / "vm"
    folder.mkdir()
    (tmp_path / "data-flat.vmdk").write_bytes(SECRET)
    text = descriptor("monolithicFlat", ['RW 8 FLAT "../data-flat.vmdk" 1'])
    path = write_set(folder, "disk.vmdk", text, {})
    with opened(path, allow=[tmp_path]) as disk:
        assert whole(disk.source) == SECRET[SECTOR : 9 * SECTOR]


@pytest.mark.parametrize("kind", ["FLAT", "SPARSE", "VMFSSPARSE", "SESPARSE"])
def test_a_missing_extent_is_named(kind: str, tmp_path: Path) -> None:
    text = descriptor("custom", ["RW 8 ZERO", f'RW 8 {kind} "disk-s002.vmdk"'])
    path = write_set(tmp_path, "disk.vmdk", text, {})
    with pytest.raises(CorruptError, match=r"needs 'disk-s002\.vmdk', which is missing"):
        read_disk(path)


def test_a_flat_file_that_is_too_short_is_named(tmp_path: Path) -> None:
    text = descriptor("monolithicFlat", ['RW 16 FLAT "disk-flat.vmdk" 0'])
    path = write_set(tmp_path, "disk.vmdk", text, {"disk-flat.vmdk": bytes(15 * SECTOR)})
    with pytest.raises(CorruptError, match=r"disk-flat\.vmdk, which has 7,680"):
        read_disk(path)


@pytest.mark.parametrize("kind", ["SPARSE", "VMFSSPARSE", "SESPARSE"])
def test_a_sparse_extent_that_is_none_is_refused(kind: str, tmp_path: Path) -> None:
    text = descriptor("custom", [f'RW 8 {kind} "disk-s001.vmdk"'])
    path = write_set(tmp_path, "disk.vmdk", text, {"disk-s001.vmdk": SECRET})
    with pytest.raises(CorruptError, match="is not a sparse extent"):
        read_disk(path)


def test_a_sparse_extent_that_is_too_small_for_its_line_is_refused(tmp_path: Path) -> None:
    qemu_disk(SECRET[:4096], tmp_path, name="disk-s001.vmdk")
    text = descriptor("twoGbMaxExtentSparse", ['RW 9 SPARSE "disk-s001.vmdk"'])
    path = write_set(tmp_path, "disk.vmdk", text, {})
    with pytest.raises(CorruptError, match="holds 8 sectors, where the descriptor says 9"):
        read_disk(path)


def test_one_part_of_a_split_disk_asks_for_the_whole(tmp_path: Path) -> None:
    path = qemu_disk(SECRET[:4096], tmp_path, "subformat=twoGbMaxExtentSparse")
    with pytest.raises(UnsupportedError, match=r"give 'disk\.vmdk' instead"):
        read_disk(tmp_path / "disk-s001.vmdk")
    path.unlink()
    with pytest.raises(UnsupportedError, match="small text file"):
        read_disk(tmp_path / "disk-s001.vmdk")


def test_an_embedded_descriptor_of_two_extents_with_grains_is_refused(tmp_path: Path) -> None:
    text = padded(descriptor("custom", ["RW 8 ZERO", "RW 8 ZERO"]).encode())
    path = tmp_path / "disk.vmdk"
    path.write_bytes(hosted_header(8, descriptor_sectors=len(text) // SECTOR) + text)
    with pytest.raises(CorruptError, match="describes 2 extents"):
        read_disk(path)


def test_a_descriptor_without_extents_is_refused(tmp_path: Path) -> None:
    path = write_set(tmp_path, "disk.vmdk", descriptor("custom", []), {})
    with pytest.raises(CorruptError, match="without extents"):
        read_disk(path)


def test_a_disk_larger_than_the_limit_is_refused(tmp_path: Path) -> None:
    path = write_set(tmp_path, "disk.vmdk", descriptor("custom", ["RW 9 ZERO"] * 2), {})
    with (
        pytest.raises(LimitError, match="disk of 9,216 bytes"),
        opened(path, limits=Limits(disk_virtual_bytes=9215)),
    ):
        pass
