"""Which volumes a filesystem with subvolumes has, and what is said of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from formats.core.errors import LimitError
from formats.core.opener import open_artifact
from formats.core.reader import Subvolume
from formats.filesystems.btrfs import roots
from tests.images.btrfs_everything import kernel_listings, listings, mkfs, mounted, trees
from tests.images.btrfs_layouts import LAYOUTS, build, make_default, subvolume
from tests.support.listing import difference, loop_mounted_writable
from tests.support.programs import need, need_root, run


@pytest.fixture(autouse=True)
def _programs() -> None:
    need_root()
    need("mkfs.btrfs", "btrfs", "mount", "losetup")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_subvolumes_of_a_distribution_are_what_the_kernel_shows(
    layout: str, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    build(image, layout)
    ours = listings(image)
    with mounted(image) as root:
        kernel = kernel_listings(root, list(ours))
        shown = run("btrfs", "subvolume", "list", root).stdout.splitlines()
    assert set(ours) == {b"", *(line.partition(b" path ")[2] for line in shown)}
    for path, rows in kernel.items():
        assert difference(rows, ours[path]) == [], path


def test_each_subvolume_says_what_it_is(tmp_path: Path) -> None:
    image = tmp_path / "image"
    uuid = build(image, "opensuse")
    with open_artifact([image]) as artifact:
        (node,) = artifact.nodes
        known = {child.volume.label: child.volume.subvolume for child in node.children}
        assert known["subvol:/"] == Subvolume(5, b"")
        first = b"@/.snapshots/1/snapshot"
        assert known["subvol:@/.snapshots/1/snapshot"] == Subvolume(264, first, is_default=True)
        second = b"@/.snapshots/2/snapshot"
        assert known["subvol:@/.snapshots/2/snapshot"] == Subvolume(
            265, second, is_snapshot=True, is_read_only=True
        )
        assert node.facts["subvolumes"] == "11"
        assert node.facts["default"] == "subvol:@/.snapshots/1/snapshot"
        tree = node.children[-1].tree
        assert tree is not None
        assert str(tree.origin) == "image › subvol:@/var"
        assert (tree.info.format, tree.info.uuid) == ("btrfs", uuid)
        assert tree.info.facts["subvolume"] == "@/var (263)"


def test_a_filesystem_without_subvolumes_is_one_tree(tmp_path: Path) -> None:
    image = mkfs(tmp_path / "image", "-m single -L system")
    with open_artifact([image]) as artifact:
        (node,) = artifact.walk()
        assert node.tree is not None
        assert node.tree.info.label == "system"
        assert node.tree.info.facts["log"] == "clean"


def test_a_name_that_is_no_text_is_a_label_that_can_be_printed(tmp_path: Path) -> None:
    image = mkfs(tmp_path / "image", "-m single")
    with loop_mounted_writable(image, "btrfs") as root:
        subvolume(root / os.fsdecode(b"\xff\x1b"))
        subvolume(root / "\\xff\\x1b")
    with open_artifact([image]) as artifact:
        labels = {node.volume.label: path for path, node in trees(artifact).items()}
    assert labels == {
        "subvol:/": b"",
        "subvol:\\xff\\x1b": b"\xff\x1b",
        "subvol:\\\\xff\\\\x1b": b"\\xff\\x1b",
    }


def test_deleted_subvolumes_are_gone_and_the_default_is_named(tmp_path: Path) -> None:
    image = mkfs(tmp_path / "image", "-m single")
    with loop_mounted_writable(image, "btrfs") as root:
        make_default(subvolume(root / "one"))
        subvolume(root / "other")
    with open_artifact([image]) as artifact:
        assert artifact.nodes[0].facts["default"] == "subvol:one"
    with loop_mounted_writable(image, "btrfs", options="subvolid=5") as root:
        run("btrfs", "subvolume", "set-default", "5", root)
        run("btrfs", "subvolume", "delete", root / "one")
    with open_artifact([image]) as artifact:
        assert artifact.nodes[0].facts["default"] == "subvol:/"
        assert set(trees(artifact)) == {b"", b"other"}


def test_more_subvolumes_than_are_listed_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "image"
    build(image, "opensuse")
    monkeypatch.setattr(roots, "MOST_SUBVOLUMES", 10)
    assert len(listings(image)) == 11
    monkeypatch.setattr(roots, "MOST_SUBVOLUMES", 9)
    with pytest.raises(LimitError, match="more than 9 subvolumes"):
        listings(image)
