"""Filesystems that nobody here made, field by field."""

from __future__ import annotations

from pathlib import Path

import pytest

from formats.core.opener import open_artifact
from tests.images.xfs_everything import without_duplicates
from tests.support.filesystems import listing
from tests.support.listing import difference, kernel_listing, loop_mounted
from tests.support.programs import need, need_root, run
from tests.support.survey import unpacked

SOUND = (
    "dissect__xfs.bin.gz",
    "dissect__xfs_bigtime.bin.gz",
    "dissect__xfs_symlink_test.bin.gz",
)


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_filesystem_of_others_is_what_the_kernel_shows(name: str, tmp_path: Path) -> None:
    need_root()
    image = unpacked(f"raw/{name}", tmp_path)
    with loop_mounted(image, "xfs") as root:
        kernel = without_duplicates(kernel_listing(root))
    assert len(kernel) > 1
    assert difference(kernel, listing(image)) == []


def test_an_old_filesystem_is_what_blkid_says(tmp_path: Path) -> None:
    """Version 4 from before lazy counters, with inodes of version 1 and nothing in it."""
    need("blkid")
    image = unpacked("raw/util-linux__xfs.img.xz", tmp_path)
    assert list(listing(image)) == [b""]
    with open_artifact([image]) as artifact:
        (node,) = artifact.nodes
    assert node.tree is not None
    info = node.tree.info
    shown = run("blkid", "-p", "-o", "export", image).stdout.decode()
    assert {f"LABEL={info.label}", f"UUID={info.uuid}"} <= set(shown.split("\n"))
    assert info.facts["version"] == "4"
