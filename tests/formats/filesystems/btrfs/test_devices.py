"""Filesystems on several devices: all of them, some of them, and damaged copies."""

from __future__ import annotations

from pathlib import Path

import pytest

from formats.core.errors import AmbiguousError, CorruptError, UnsupportedError
from formats.core.opener import open_artifact
from formats.core.origin import Origin
from formats.core.source import FileSource
from formats.filesystems.btrfs.filesystem import BtrfsFilesystem
from tests.images.btrfs_everything import (
    copy,
    kernel_listings,
    listings,
    made_on,
    mkfs,
    mounted,
    text,
    trees,
)
from tests.images.btrfs_layouts import subvolume
from tests.images.ext_everything import noise
from tests.images.volumes import MIB, patch
from tests.support.listing import difference, loop_mounted_writable, tree_listing
from tests.support.programs import need, need_root, run

PROFILES = {
    "single": (2, "-m single -d single"),
    "raid0": (3, "-m raid0 -d raid0"),
    "raid1": (2, "-m raid1 -d raid1"),
    "raid1 on three": (3, "-m raid1 -d raid1"),
    "raid1c3": (3, "-m raid1c3 -d raid1c3"),
    "raid1c4": (4, "-m raid1c4 -d raid1c4"),
    "raid10": (4, "-m raid10 -d raid10"),
    "raid5": (3, "-m raid1 -d raid5"),
    "raid6": (4, "-m raid6 -d raid6"),
    "raid1 and raid0": (2, "-m raid1 -d raid0 -n 4096"),
}
REDUNDANT = ("raid1", "raid1 on three", "raid1c3", "raid1c4", "raid10")


@pytest.fixture(autouse=True)
def _programs() -> None:
    need_root()
    need("mkfs.btrfs", "btrfs", "mount", "losetup")


def fill(root: Path) -> None:
    """Make files that lie across stripes, and enough metadata for several nodes."""
    inner = subvolume(root / "inner")
    for number in range(300):
        (inner / f"{number}{'n' * 100}").write_bytes(noise(number, number))
    (root / "large").write_bytes(text(3 * MIB))
    run("btrfs", "property", "set", root, "compression", "zstd")
    for number in range(20):
        (root / f"compressed{number}").write_bytes(text(100_000, number))


@pytest.mark.parametrize("name", PROFILES)
def test_it_reads_what_the_kernel_shows(name: str, tmp_path: Path) -> None:
    count, options = PROFILES[name]
    images = made_on(tmp_path, count, options, fill)
    # In another order than that of their numbers, which names of files do not tell.
    ours = listings(*reversed(images))
    with mounted(*images) as root:
        kernel = kernel_listings(root, list(ours))
    assert set(ours) == {b"", b"inner"}
    for path, rows in kernel.items():
        assert difference(rows, ours[path]) == [], path
    if name in REDUNDANT:
        with open_artifact(images[1:]) as artifact:
            rest = {
                path: tree_listing(node.tree) for path, node in trees(artifact).items() if node.tree
            }
            assert [finding.rule for finding in artifact.findings] == ["btrfs-degraded"]
        assert rest == ours
    else:
        with pytest.raises(UnsupportedError, match=r"of its . devices, these are missing.* 1 \("):
            listings(*images[1:])
