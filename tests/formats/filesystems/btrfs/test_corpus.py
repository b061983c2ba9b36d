"""Filesystems that nobody here made: the fuzz images of btrfs-progs, and others' tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.images.btrfs_everything import kernel_listings, listings, mounted
from tests.support.listing import difference
from tests.support.programs import need, need_root
from tests.support.survey import rows, survey, unpacked

SOUND = (
    "btrfs-progs__compress.raw.xz",
    "dissect__btrfs-compression.bin.gz",
    "dissect__btrfs-default.bin.gz",
    "dissect__btrfs-subvolume.bin.gz",
    "dissect__btrfs-subvolume-snapshot.bin.gz",
)


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_filesystem_of_others_is_what_the_kernel_shows(name: str, tmp_path: Path) -> None:
    need_root()
    need("mount", "losetup", "btrfs")
    image = unpacked(f"raw/{name}", tmp_path)
    ours = listings(image)
    with mounted(image) as root:
        kernel = kernel_listings(root, list(ours))
    for path, theirs in kernel.items():
        assert difference(theirs, ours[path]) == [], path


def test_hostile_filesystems_are_refused_with_a_reason(tmp_path: Path) -> None:
    hostile = [row for row in rows("raw") if row.is_hostile and "btrfs" in row.name]
    assert len(hostile) >= 8
    files = {unpacked(row.name, tmp_path): row for row in hostile}
    for file, nodes in survey(list(files)).items():
        assert [node.reader for node in nodes] == ["btrfs"], file.name
        assert nodes[0].code == "corrupt", file.name
