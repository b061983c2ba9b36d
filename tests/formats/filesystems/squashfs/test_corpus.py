"""Images that nobody here made, field by field."""

from __future__ import annotations

from pathlib import Path

import pytest

from formats.core.opener import open_artifact
from tests.support.listing import Row, difference, kernel_listing, loop_mounted, tree_listing
from tests.support.programs import corpus, need, need_root, run

MOUNTED = (
    "derived__alpine-xz",
    "diffoscope__test1",
    "diffoscope__test1_root",
    "diffoscope__test2",
    "diffoscope__test2_root",
    "ratarmount__folder-symlink.gzip",
    "ratarmount__folder-symlink.lz4",
    "ratarmount__folder-symlink.lzo",
    "ratarmount__folder-symlink.no-compression",
    "ratarmount__folder-symlink.xz",
    "ratarmount__folder-symlink.zstd",
)


def listing(image: Path) -> dict[bytes, Row]:
    with open_artifact([image]) as artifact:
        tree = artifact.nodes[0].tree
        assert tree is not None
        return tree_listing(tree)


@pytest.mark.parametrize("name", MOUNTED)
def test_an_image_of_others_is_what_the_kernel_shows(name: str) -> None:
    need_root()
    image = corpus(f"squashfs/{name}.squashfs")
    with loop_mounted(image, "squashfs") as root:
        kernel = kernel_listing(root)
    assert len(kernel) > 1
    assert difference(kernel, listing(image)) == []


def test_lzma_of_others_is_what_unsquashfs_unpacks(tmp_path: Path) -> None:
    need_root()
    need("unsquashfs")
    image = corpus("squashfs/ratarmount__folder-symlink.lzma.squashfs")
    run("unsquashfs", "-quiet", "-no-progress", "-dest", tmp_path / "tree", image)
    assert difference(kernel_listing(tmp_path / "tree"), listing(image)) == []
