"""Structures that lead back to themselves: an error with a path, at once."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from tests.images.volumes import patch
from tests.support.filesystems import assert_refused_at
from tests.support.programs import need, run

_BLOCK_BYTES = 1024
pytestmark = pytest.mark.timeout(20)


@pytest.fixture(autouse=True)
def _programs() -> None:
    need("mke2fs", "debugfs")


def made(folder: Path, features: str) -> Path:
    """Make a filesystem without checksums with a folder, and a file in 200 pieces."""
    tree = folder / "tree"
    (tree / "folder" / "inner").mkdir(parents=True)
    with (tree / "file").open("wb") as file:
        for number in range(200):
            file.seek(number * 2 * _BLOCK_BYTES)
            file.write(b"%d" % number)
    image = folder / "image"
    options = ("-b", str(_BLOCK_BYTES), "-O", f"^metadata_csum,{features}")
    run("mke2fs", "-q", "-t", "ext4", *options, "-d", tree, image, "4m")
    return image


def debugfs(image: Path, command: str) -> str:
    return run("debugfs", "-w", "-R", command, image).stdout.decode()


def block_of_file(image: Path, name: str) -> int:
    """Return the number of a block that leads to others, as debugfs(8) names it."""
    found = re.search(rf"\({name}\):(\d+)", debugfs(image, "stat /file"))
    assert found is not None
    return int(found[1])


def test_a_folder_inside_itself(tmp_path: Path) -> None:
    image = made(tmp_path, "extent")
    debugfs(image, "link /folder /folder/inner/again")
    assert_refused_at(image, "folder/inner/again", "a folder with two names")


def test_the_root_inside_itself(tmp_path: Path) -> None:
    image = made(tmp_path, "extent")
    debugfs(image, "link / /folder/root")
    assert_refused_at(image, "folder/root", "a folder with two names")


def test_two_folders_with_the_same_blocks(tmp_path: Path) -> None:
    image = made(tmp_path, "^extent,^64bit")
    debugfs(image, "mkdir /twin")
    block = debugfs(image, "bmap /folder 0").strip()
    debugfs(image, f"set_inode_field /twin block[0] {block}")
    assert_refused_at(image, "twin/inner", "a folder with two names")


def test_an_indirect_block_that_is_also_a_double_indirect_one(tmp_path: Path) -> None:
    image = made(tmp_path, "^extent,^64bit")
    debugfs(image, f"set_inode_field /file block[DIND] {block_of_file(image, 'IND')}")
    assert_refused_at(image, "file", "an indirect block is used twice")


def test_a_double_indirect_block_that_leads_to_itself(tmp_path: Path) -> None:
    image = made(tmp_path, "^extent,^64bit")
    block = block_of_file(image, "DIND")
    patch(image, block * _BLOCK_BYTES, struct.pack("<I", block))
    assert_refused_at(image, "file", "an indirect block is used twice")


def test_an_extent_tree_node_that_leads_to_itself(tmp_path: Path) -> None:
    image = made(tmp_path, "extent")
    block = block_of_file(image, r"ETB\d")
    node = struct.pack("<4HI IIHH", 0xF30A, 1, 84, 1, 0, 0, block, 0, 0)
    patch(image, block * _BLOCK_BYTES, node)
    assert_refused_at(image, "file", "a node has magic 0xf30a, depth 1")
