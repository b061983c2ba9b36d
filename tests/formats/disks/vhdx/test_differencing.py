"""Disks that stand on others, and large sectors, written from the specification."""

from __future__ import annotations

import random
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from formats.disks.vhdx.reader import READER
from tests.images.vhdx import FULL, PARTIAL, UNDEFINED, UNMAPPED, ZERO, Block, Disk, write_vhdx
from tests.support.disk_images import MIB, problem
from tests.support.disks import check_extents, inside, opened, whole

SIZE = 7 * MIB
BASE = uuid.UUID(int=0xBA5E)
TOP = uuid.UUID(int=0x709)
LINKAGE = {"parent_linkage": f"{{{BASE}}}"}


def noise(seed: int, length: int = MIB) -> bytes:
    return random.Random(seed).randbytes(length)


def base_disk(sector_bytes: int = 512) -> Disk:
    blocks = {index: Block(FULL, noise(index)) for index in range(6)}
    return Disk(SIZE, blocks, sector_bytes=sector_bytes, content=BASE)


def top_disk(parent: dict[str, str], sector_bytes: int = 512) -> Disk:
    """Return a disk with a block of each state; block 0 and 6 are absent."""
    count = MIB // sector_bytes
    sectors = frozenset(random.Random(9).sample(range(count), count // 3)) | {0, count - 1}
    blocks = {
        1: Block(FULL, noise(11)),
        2: Block(ZERO),
        3: Block(PARTIAL, noise(13), sectors),
        4: Block(UNMAPPED),
        5: Block(PARTIAL, noise(15), frozenset(range(100, 200))),
        6: Block(UNDEFINED),
    }
    return Disk(SIZE, blocks, sector_bytes=sector_bytes, content=TOP, parent={**LINKAGE, **parent})


def expected(top: Disk) -> bytes:
    parts = [noise(0), noise(11), bytes(MIB)]
    for index in (3, 5):
        block = bytearray(noise(index))
        data, step = top.blocks[index].data, top.sector_bytes
        for sector in top.blocks[index].sectors:
            block[sector * step : (sector + 1) * step] = data[sector * step : (sector + 1) * step]
        parts += [bytes(block), bytes(MIB)]
    return b"".join(parts)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_vhdx(tmp_path / "base.vhdx", base_disk())


PATHS = (
    {"relative_path": "base.vhdx"},
    {"relative_path": ".\\base.vhdx"},
    {"relative_path": "..\\machines\\base.vhdx"},
    {"absolute_win32_path": "\\\\?\\C:\\machines\\base.vhdx"},
    {"volume_path": "\\\\?\\Volume{26A21BDA-A627-11D7-9931-806E6F6E6963}\\base.vhdx"},
    {"relative_path": "gone.vhdx", "absolute_win32_path": "\\\\?\\C:\\base.vhdx"},
)


@pytest.mark.parametrize("paths", PATHS)
def test_the_parent_is_found_however_it_is_named(
    base: Path, tmp_path: Path, paths: dict[str, str]
) -> None:
    disk = top_disk(paths)
    image = write_vhdx(tmp_path / "top.avhdx", disk)
    with opened(image, READER) as artifact:
        found = inside(artifact)
        assert whole(found) == expected(disk)
        assert whole(found, 4999) == expected(disk)
        check_extents(found)
        assert artifact.nodes[0].facts["parent"] == base.name
        assert artifact.nodes[0].facts["type"] == "differencing"


def test_sectors_of_4096_bytes_are_what_a_bitmap_counts(tmp_path: Path) -> None:
    write_vhdx(tmp_path / "base.vhdx", base_disk(4096))
    disk = top_disk({"relative_path": "base.vhdx"}, 4096)
    with opened(write_vhdx(tmp_path / "top.vhdx", disk), READER) as artifact:
        assert whole(inside(artifact)) == expected(disk)
        assert artifact.nodes[0].facts["sector size"] == "4,096 bytes (4,096 physical)"


def test_blocks_behind_the_first_chunk_have_another_bitmap(tmp_path: Path) -> None:
    """With blocks of 256 MiB a chunk of 4 GiB has sixteen, and then comes a bitmap's entry."""
    block_bytes, size = 256 * MIB, 9 << 30
    sectors = frozenset({0, 5, 6, 700})
    child = Block(PARTIAL, noise(2), sectors)
    places = {0: child, 16: child, 35: child}
    below = {index: Block(FULL, noise(1)) for index in places}
    disk = Disk(size, below, block_bytes=block_bytes, content=BASE)
    write_vhdx(tmp_path / "base.vhdx", disk)
    parent = {**LINKAGE, "relative_path": "base.vhdx"}
    top = replace(disk, blocks=places, content=TOP, parent=parent)
    block = bytearray(noise(1))
    for sector in sectors:
        block[sector * 512 : sector * 512 + 512] = noise(2)[sector * 512 : sector * 512 + 512]
    with opened(write_vhdx(tmp_path / "top.vhdx", top), READER) as artifact:
        found = inside(artifact)
        for index in places:
            assert bytes(found.read_at(index * block_bytes, MIB)) == block
            assert bytes(found.read_at(index * block_bytes + MIB, 10)) == bytes(10)
        assert bytes(found.read_at(17 * block_bytes, 10)) == bytes(10)


def test_a_chain_of_three(base: Path, tmp_path: Path) -> None:
    assert base.exists()
    middle = top_disk({"relative_path": "base.vhdx"})
    write_vhdx(tmp_path / "middle.avhdx", middle)
    parent = {"parent_linkage": f"{{{TOP}}}", "relative_path": "middle.avhdx"}
    top = Disk(SIZE, {6: Block(FULL, noise(66))}, content=uuid.UUID(int=3), parent=parent)
    with opened(write_vhdx(tmp_path / "top.avhdx", top), READER) as artifact:
        assert whole(inside(artifact)) == expected(middle)[: 6 * MIB] + noise(66)


def test_a_parent_that_was_changed_since_is_refused(base: Path, tmp_path: Path) -> None:
    write_vhdx(base, replace(base_disk(), content=uuid.UUID(int=4)))
    image = write_vhdx(tmp_path / "top.vhdx", top_disk({"relative_path": "base.vhdx"}))
    assert "its identity differs" in problem(image, READER)


def test_the_second_linkage_is_as_good_as_the_first(base: Path, tmp_path: Path) -> None:
    """A merge that was interrupted leaves a parent with the one or the other."""
    parent = {
        "parent_linkage": f"{{{uuid.UUID(int=8)}}}",
        "parent_linkage2": f"{{{BASE}}}".upper(),
        "relative_path": base.name,
    }
    disk = replace(top_disk({}), parent=parent)
    with opened(write_vhdx(tmp_path / "top.vhdx", disk), READER) as artifact:
        assert whole(inside(artifact)) == expected(disk)


def test_a_missing_parent_is_an_error_that_names_it(tmp_path: Path) -> None:
    image = write_vhdx(tmp_path / "top.vhdx", top_disk({"relative_path": "..\\x\\base.vhdx"}))
    text = problem(image, READER)
    assert text.startswith("corrupt:")
    assert "is a snapshot of 'base.vhdx', which is missing" in text


@pytest.mark.parametrize(
    ("parent", "words"),
    [
        ({"relative_path": "base.vhdx"}, "does not say which state"),
        ({**LINKAGE}, "does not name"),
    ],
)
def test_a_parent_that_cannot_be_told_is_an_error(
    base: Path, tmp_path: Path, parent: dict[str, str], words: str
) -> None:
    assert base.exists()
    image = write_vhdx(tmp_path / "top.vhdx", replace(top_disk({}), parent=parent))
    assert words in problem(image, READER)


def test_a_disk_that_is_its_own_parent_meets_the_limit(tmp_path: Path) -> None:
    parent = {"parent_linkage": f"{{{TOP}}}", "relative_path": "top.vhdx"}
    image = write_vhdx(tmp_path / "top.vhdx", replace(top_disk({}), parent=parent))
    assert problem(image, READER).startswith("limit-exceeded:")
