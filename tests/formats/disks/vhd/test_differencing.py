"""Disks that stand on others, written from the specification: no tool here makes them."""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping
from pathlib import Path

import pytest

from formats.disks.vhd.reader import READER
from tests.images.vhd import SECTOR, Locator, Parent, write_vhd
from tests.support.disk_images import MIB, problem
from tests.support.disks import check_extents, inside, opened, whole

BASE, MIDDLE, TOP = (uuid.UUID(int=number) for number in (1, 2, 3))
SIZE = 9 * MIB


def some_sectors(seed: int, size: int = SIZE) -> dict[int, bytes]:
    """Return sectors here and there: lone ones, a run across blocks, one at the very end."""
    dice = random.Random(seed)
    last = size // SECTOR - 1
    numbers = {last, *range(4000, 4200), *(dice.randrange(last) for _ in range(300))}
    return {number: dice.randbytes(SECTOR) for number in numbers}


def laid_over(size: int, *layers: Mapping[int, bytes]) -> bytes:
    data = bytearray(size)
    for layer in layers:
        for number, sector in layer.items():
            data[number * SECTOR : (number + 1) * SECTOR] = sector
    return bytes(data)


def child(folder: Path, parent: Parent, name: str = "top.vhd") -> Path:
    return write_vhd(folder / name, SIZE, some_sectors(2), identity=TOP, parent=parent)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_vhd(tmp_path / "base.vhd", SIZE, some_sectors(1), identity=BASE)


def utf16(text: str, order: str = "le") -> bytes:
    return text.encode(f"utf-16-{order}")


@pytest.mark.parametrize(
    "parent",
    [
        Parent(BASE, "base.vhd"),
        Parent(BASE, "C:\\machines\\base.vhd"),
        Parent(BASE, "", (Locator(b"W2ru", utf16(".\\base.vhd")),)),
        Parent(BASE, "", (Locator(b"W2ru", utf16("..\\base.vhd", "be")),)),
        Parent(BASE, "", (Locator(b"W2ku", utf16("C:\\machines\\base.vhd")),)),
        Parent(BASE, "", (Locator(b"MacX", b"file://localhost/Documents/base.vhd\0"),)),
        Parent(BASE, "gone.vhd", (Locator(b"W2ku", utf16("D:\\base.vhd")),)),
        Parent(BASE, "base.vhd", (Locator(b"Mac ", b"\1\2\3"), Locator(b"Wi2r", b"base.vhd"))),
    ],
    ids=["name", "path", "relative", "big-endian", "absolute", "mac", "second", "unknown codes"],
)
def test_the_parent_is_found_however_it_is_named(
    base: Path, tmp_path: Path, parent: Parent
) -> None:
    with opened(child(tmp_path, parent), READER) as artifact:
        disk = inside(artifact)
        assert whole(disk) == laid_over(SIZE, some_sectors(1), some_sectors(2))
        check_extents(disk)
        assert artifact.nodes[0].facts["parent"] == base.name
        assert not artifact.findings


@pytest.mark.parametrize("block_bytes", [1 << 19, 1 << 21, 1 << 22, 512, 4096])
def test_a_chain_is_read_sector_by_sector(base: Path, tmp_path: Path, block_bytes: int) -> None:
    write_vhd(
        tmp_path / "middle.avhd",
        SIZE,
        some_sectors(3),
        identity=MIDDLE,
        parent=Parent(BASE, base.name),
        block_bytes=block_bytes,
    )
    top = child(tmp_path, Parent(MIDDLE, "middle.avhd"), "top.avhd")
    expected = laid_over(SIZE, some_sectors(1), some_sectors(3), some_sectors(2))
    with opened(top, READER) as artifact:
        disk = inside(artifact)
        assert whole(disk) == expected
        assert whole(disk, 4999) == expected


def test_beyond_the_end_of_a_smaller_parent_are_zeros(tmp_path: Path) -> None:
    sectors = some_sectors(1, 3 * MIB)
    write_vhd(tmp_path / "base.vhd", 3 * MIB, sectors, identity=BASE)
    with opened(child(tmp_path, Parent(BASE, "base.vhd")), READER) as artifact:
        disk = inside(artifact)
        assert whole(disk) == laid_over(SIZE, sectors, some_sectors(2))
        assert check_extents(disk) > MIB


def test_a_parent_is_told_by_its_identity_among_several(base: Path, tmp_path: Path) -> None:
    write_vhd(tmp_path / "other.vhd", SIZE, {}, identity=MIDDLE)
    parent = Parent(BASE, base.name, (Locator(b"W2ru", utf16("other.vhd")),))
    with opened(child(tmp_path, parent), READER) as artifact:
        assert whole(inside(artifact)) == laid_over(SIZE, some_sectors(1), some_sectors(2))


def test_another_disk_of_the_parents_name_is_refused(base: Path, tmp_path: Path) -> None:
    text = problem(child(tmp_path, Parent(MIDDLE, base.name)), READER)
    assert text.startswith("corrupt:")
    assert "its identity differs" in text


def test_a_missing_parent_is_an_error_that_names_it(tmp_path: Path) -> None:
    text = problem(child(tmp_path, Parent(BASE, "C:\\vms\\base.vhd")), READER)
    assert text.startswith("corrupt:")
    assert "is a snapshot of 'base.vhd', which is missing" in text
    assert "--allow-backing" in text


def test_a_parent_without_any_name_is_an_error(tmp_path: Path) -> None:
    assert "that it does not name" in problem(child(tmp_path, Parent(BASE)), READER)


def test_a_parent_that_was_made_later_is_a_finding(tmp_path: Path) -> None:
    write_vhd(tmp_path / "base.vhd", SIZE, {}, identity=BASE, timestamp=5000)
    with opened(child(tmp_path, Parent(BASE, "base.vhd", timestamp=4999)), READER) as artifact:
        inside(artifact)
        assert [finding.rule for finding in artifact.findings] == ["vhd-parent-newer"]
    with opened(child(tmp_path, Parent(BASE, "base.vhd", timestamp=5000)), READER) as artifact:
        inside(artifact)
        assert not artifact.findings


def test_a_disk_that_is_its_own_parent_meets_the_limit(tmp_path: Path) -> None:
    image = child(tmp_path, Parent(TOP, "top.vhd"))
    assert problem(image, READER).startswith("limit-exceeded:")


def test_parents_elsewhere_are_only_opened_where_that_is_allowed(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "images"
    outside.mkdir()
    folder.mkdir()
    base = write_vhd(outside / "base.vhd", SIZE, some_sectors(1), identity=BASE)
    image = child(folder, Parent(BASE, str(base)))
    assert "which is missing" in problem(image, READER)
    (folder / "base.vhd").symlink_to(base)
    text = problem(image, READER)
    assert text.startswith("unsupported:")
    assert "symlink" in text
    (folder / "base.vhd").unlink()
    with opened(image, READER, allow_backing=[outside]) as artifact:
        assert whole(inside(artifact)) == laid_over(SIZE, some_sectors(1), some_sectors(2))
