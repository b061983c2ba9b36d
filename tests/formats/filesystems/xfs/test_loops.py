"""Structures that lead back to themselves: an error with a path, at once."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.images.xfs_everything import mkfs, text, xfs_db
from tests.support.filesystems import assert_refused_at
from tests.support.listing import loop_mounted_writable
from tests.support.programs import need, need_root, run

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filesystem with a folder, a file in many pieces, and one with many attributes."""
    need_root()
    need("mkfs.xfs", "xfs_db")
    image = mkfs(tmp_path_factory.mktemp("sound") / "image", "-b size=1024")
    with loop_mounted_writable(image, "xfs") as root:
        (root / "folder" / "inner").mkdir(parents=True)
        for name in ("large", "twin"):
            (root / name).mkdir()
            for at in range(30):
                (root / name / f"{at}{'n' * 30}").touch()
        with (root / "file").open("wb") as file:
            for at in range(400):
                os.pwrite(file.fileno(), b"%d" % at, at * 128 * 1024)
        (root / "attributes").touch()
        for at in range(30):
            os.setxattr(root / "attributes", f"user.{at}", text(300, at))
    return image


@pytest.fixture
def image(sound: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "image"
    run("cp", "--sparse=always", sound, copy)
    return copy


def number(image: Path, pattern: str, *commands: str) -> int:
    """Return a number out of what xfs_db(8) shows."""
    found = re.search(pattern, xfs_db(image, *commands))
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("target", ["/", "/folder"])
def test_a_folder_inside_itself(image: Path, target: str) -> None:
    inode = number(image, r"(\d+)", f"path {target}", "ls -i")
    xfs_db(image, "path /folder", f"write u3.sfdir3.list[0].inumber.i4 {inode}")
    assert_refused_at(image, "folder/inner", "a folder with two names")


def test_two_folders_with_the_same_blocks(image: Path) -> None:
    start = number(image, r"0:\[0,(\d+),", "path /large", "p u3.bmx[0]")
    xfs_db(image, "path /twin", f"write u3.bmx[0].startblock {start}")
    assert_refused_at(image, "twin", "belongs to inode")


def test_an_extent_tree_node_that_leads_to_itself(image: Path) -> None:
    node = number(image, r"ptrs\[1\] = (?:1:)?(\d+)", "path /file", "p u3.bmbt.ptrs[1]")
    xfs_db(image, "path /file", "addr u3.bmbt.ptrs[1]", f"write ptrs[1] {node}")
    assert_refused_at(image, "file", "level 1 below 1")


def test_an_extent_tree_that_has_a_leaf_twice(image: Path) -> None:
    go = ("path /file", "addr u3.bmbt.ptrs[1]")
    leaf = number(image, r"ptrs\[1\] = (?:1:)?(\d+)", *go, "p ptrs[1]")
    xfs_db(image, *go, f"write ptrs[2] {leaf}")
    assert_refused_at(image, "file", "an extent maps")


def test_a_leaf_of_attributes_that_follows_itself(image: Path) -> None:
    go = ("path /attributes", "ablock 0", "p btree[0].before")
    leaf = number(image, r"before = (?:0:)?(\d+)", *go)
    xfs_db(image, "path /attributes", f"ablock {leaf}", f"write hdr.info.hdr.forw {leaf}")
    assert_refused_at(image, "attributes", "leads back to an earlier one")


def test_a_node_of_attributes_that_leads_to_itself(image: Path) -> None:
    xfs_db(image, "path /attributes", "ablock 0", "write btree[0].before 0")
    assert_refused_at(image, "attributes", "level 1 below 1")
