"""VHDs against qemu-img, which wrote every image here and says what is in it."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from formats.core.limits import Limits
from formats.disks.qcow2.reader import READER as QCOW2
from formats.disks.vhd.reader import READER
from tests.images.vhd import footer
from tests.images.volumes import opened as opened_with_all
from tests.support.disk_images import KIB, MIB, patch, problem, qemu_io, scattered
from tests.support.disks import check_any_order, check_extents, inside, opened, qemu_content, whole
from tests.support.programs import run

pytestmark = pytest.mark.usefixtures("qemu")

TIB = 1 << 40
_ID = uuid.UUID(int=3)


def vpc_size(image: Path) -> int:
    done = run("qemu-img", "info", "-f", "vpc", "--output=json", image)
    return int(json.loads(done.stdout)["virtual-size"])


@pytest.mark.parametrize("subformat", ["fixed", "dynamic"])
@pytest.mark.parametrize("size", ["force_size=on", "force_size=off"])
def test_reads_what_qemu_wrote(raw: Path, tmp_path: Path, subformat: str, size: str) -> None:
    image = tmp_path / "disk.vhd"
    options = f"subformat={subformat},{size}"
    run("qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", options, raw, image)
    with opened(image, READER) as artifact:
        disk = inside(artifact)
        assert disk.size == vpc_size(image)
        content = whole(disk)
        assert content == qemu_content(image, "vpc", tmp_path)
        assert content.startswith(raw.read_bytes())
        assert content == whole(disk, 100_001), "in odd steps"
        holes = check_extents(disk)
        assert artifact.nodes[0].facts["type"] == subformat
        assert not artifact.findings
    if subformat == "dynamic":
        assert holes >= 2 * MIB


def test_small_reads_in_any_order_agree(raw: Path, tmp_path: Path) -> None:
    image = tmp_path / "disk.vhd"
    run("qemu-img", "convert", "-O", "vpc", "-o", "force_size=on", raw, image)
    with opened(image, READER) as artifact:
        check_any_order(inside(artifact), raw.read_bytes())


def test_blocks_in_any_order(tmp_path: Path) -> None:
    image = scattered(tmp_path / "disk.vhd", "vpc", "-o", "force_size=on")
    with opened(image, READER) as artifact:
        check_any_order(inside(artifact), qemu_content(image, "vpc", tmp_path))


_GEOMETRIES = {
    "smaller": (120, 4, 17),
    "larger": (121, 4, 17),
    "none": (0, 0, 0),
    "largest": (65535, 16, 255),
}


@pytest.mark.parametrize("creator", [b"vpc ", b"vs  ", b"qemu"])
@pytest.mark.parametrize("geometry", ["smaller", "largest"])
def test_disks_of_programs_with_ata_machines_are_as_large_as_their_geometry(
    tmp_path: Path, creator: bytes, geometry: str
) -> None:
    image = fixed_disk(tmp_path, creator, geometry)
    with opened(image, READER) as artifact:
        assert inside(artifact).size == vpc_size(image)


@pytest.mark.parametrize("creator", [b"win ", b"d2v ", b"tap\0", b"CTXS", b"qem2"])
@pytest.mark.parametrize("geometry", _GEOMETRIES)
def test_disks_of_other_programs_are_as_large_as_they_say(
    tmp_path: Path, creator: bytes, geometry: str
) -> None:
    image = fixed_disk(tmp_path, creator, geometry)
    with opened(image, READER) as artifact:
        assert inside(artifact).size == vpc_size(image) == 4 * MIB


@pytest.mark.parametrize("creator", [b"vbox", b"wa\0\0", b"new ", b"vpc "])
@pytest.mark.parametrize("geometry", ["larger", "none"])
def test_a_geometry_that_is_not_to_be_trusted_is_not(
    tmp_path: Path, creator: bytes, geometry: str
) -> None:
    """Here QEMU goes by it, and has the disk end too early or too late."""
    image = fixed_disk(tmp_path, creator, geometry)
    assert vpc_size(image) != 4 * MIB
    with opened(image, READER) as artifact:
        assert inside(artifact).size == 4 * MIB


def fixed_disk(folder: Path, creator: bytes, geometry: str) -> Path:
    image = folder / "disk.vhd"
    chs = _GEOMETRIES[geometry]
    tail = footer(size=4 * MIB, kind=2, identity=_ID, creator=creator, geometry=chs)
    image.write_bytes(bytes(4 * MIB) + tail)
    return image


@pytest.mark.parametrize("length", [511, 512])
def test_a_footer_of_old_programs_is_a_byte_shorter(tmp_path: Path, length: int) -> None:
    image = tmp_path / "disk.vhd"
    image.write_bytes(b"\x17" * MIB + footer(size=MIB, kind=2, identity=_ID)[:length])
    with opened(image, READER) as artifact:
        assert whole(inside(artifact)) == b"\x17" * MIB
        assert not artifact.findings


def test_a_disk_of_two_terabytes_opens_at_once_and_is_one_hole(tmp_path: Path) -> None:
    image = tmp_path / "disk.vhd"
    run("qemu-img", "create", "-f", "vpc", "-o", "force_size=on", image, "2040G")
    qemu_io(image, "vpc", "write -P 0x11 1T 64k")
    with opened(image, READER) as artifact:
        disk = inside(artifact)
        data = [extent for extent in disk.extents() if not extent.is_hole]
        assert [(extent.offset, extent.length) for extent in data] == [(TIB, 2 * MIB)]
        assert bytes(disk.read_at(TIB - 2, 4)) == b"\0\0\x11\x11"


def test_a_disk_larger_than_the_limit_is_refused(tmp_path: Path) -> None:
    limits = Limits(disk_virtual_bytes=MIB)
    for subformat in ("fixed", "dynamic"):
        image = tmp_path / subformat
        run("qemu-img", "create", "-f", "vpc", "-o", f"subformat={subformat}", image, "2M")
        assert problem(image, READER, limits=limits).startswith("limit-exceeded:")


def test_what_a_fixed_disk_starts_with_does_not_make_it_something_else(tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(bytes(4 * MIB))
    run("sh", "-c", f"echo 'start=2048' | sfdisk --quiet --label dos {disk}")
    image = tmp_path / "disk.vhd"
    run("qemu-img", "convert", "-O", "vpc", "-o", "subformat=fixed,force_size=on", disk, image)
    with opened_with_all(image) as artifact:
        names = [node.reader.name for node in artifact.walk() if node.reader]
    assert names == ["vhd", "mbr"]


def test_a_qcow2_disk_stands_on_a_vhd(raw: Path, tmp_path: Path) -> None:
    base, top = tmp_path / "base.vhd", tmp_path / "top.qcow2"
    run("qemu-img", "convert", "-O", "vpc", "-o", "force_size=on", raw, base)
    run("qemu-img", "create", "-f", "qcow2", "-b", "base.vhd", "-F", "vpc", top)
    qemu_io(top, "qcow2", f"write -P 0x31 {64 * KIB} 64k")
    with opened(top, QCOW2, READER) as artifact:
        assert whole(inside(artifact)) == qemu_content(top, "qcow2", tmp_path)


def test_a_machine_that_was_saved_is_a_finding(tmp_path: Path) -> None:
    image = tmp_path / "disk.vhd"
    image.write_bytes(bytes(MIB) + footer(size=MIB, kind=2, identity=_ID, saved_state=1))
    with opened(image, READER) as artifact:
        inside(artifact)
        assert [finding.rule for finding in artifact.findings] == ["saved-state"]


def test_facts_say_who_made_it_and_when(tmp_path: Path) -> None:
    image = tmp_path / "disk.vhd"
    image.write_bytes(bytes(MIB) + footer(size=MIB, kind=2, identity=_ID, timestamp=86_400))
    patch(image, 8 * KIB, b"data")
    with opened(image, READER) as artifact:
        assert artifact.nodes[0].facts == {
            "type": "fixed",
            "creator": "win",
            "created": "2000-01-02 00:00:00 UTC",
            "uuid": str(_ID),
            "virtual size": "1,048,576 bytes",
        }
