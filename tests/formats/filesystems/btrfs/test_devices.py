"""Filesystems on several devices: all of them, some of them, and damaged copies."""

from __future__ import annotations

import os
import re
from pathlib import Path

import google_crc32c
import pytest

from formats.core.errors import AmbiguousError, CorruptError, UnsupportedError
from formats.core.opener import Artifact, open_artifact
from formats.core.tree import Tree
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
SUPERBLOCK, NODE = 0x10000, 16_384
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


def test_a_device_that_is_given_twice_is_ambiguous(tmp_path: Path) -> None:
    images = made_on(tmp_path, 2, "-m raid1 -d raid1", fill)
    twin = copy(images[0], tmp_path / "twin")
    with pytest.raises(AmbiguousError, match="disk1 and twin both are the device 1"):
        listings(*images, twin)


def test_a_device_that_was_away_for_a_while_is_read_last(tmp_path: Path) -> None:
    """What has no checksums is nowhere wrong, and yet old on the device that was away."""

    def make(root: Path) -> None:
        (root / "file").touch()
        run("chattr", "+C", root / "file")
        (root / "file").write_bytes(b"before" * 10_000)

    images = made_on(tmp_path, 2, "-m raid1 -d raid1", make)
    stale = [copy(image, image.with_suffix(".stale")) for image in images]
    with loop_mounted_writable(images[0], "btrfs", options="degraded") as root:
        (root / "file").write_bytes(b"after!" * 10_000)
    fresh = listings(images[0])[b""][b"file"].digest
    assert fresh != listings(*stale)[b""][b"file"].digest
    for given in ([images[0], stale[1]], [stale[1], images[0]]):
        with open_artifact(given) as artifact:
            (node,) = trees(artifact).values()
            assert node.tree is not None
            assert tree_listing(node.tree)[b"file"].digest == fresh
            assert [finding.rule for finding in artifact.findings] == ["btrfs-stale-device"]


def test_a_device_in_place_of_another_is_an_error(tmp_path: Path) -> None:
    images = made_on(tmp_path, 2, "-m raid1 -d raid1", fill)
    data = bytearray(images[1].read_bytes()[SUPERBLOCK : SUPERBLOCK + 4096])
    data[0x10A : 0x10A + 16] = bytes(16)  # the UUID in its device item
    data[:4] = google_crc32c.value(bytes(data[32:])).to_bytes(4, "little")
    patch(images[1], SUPERBLOCK, bytes(data))
    with pytest.raises(CorruptError, match="is not the device 2 of its filesystem"):
        listings(*images)


@pytest.mark.parametrize("options", ["-m dup -d dup", "--mixed -m dup -d dup"])
def test_damage_in_one_copy_is_found_and_the_other_copy_is_used(
    tmp_path: Path, options: str
) -> None:
    image = mkfs(tmp_path / "image", options, size=256 * MIB)
    with loop_mounted_writable(image, "btrfs") as root:
        fill(root)
    expected = listings(image)
    stripes = _stripes(image)
    assert len(stripes) >= 2
    for number, (first, second, length) in enumerate(stripes):
        # Every other sector of one copy, the ones between of the other.
        _spoil(image, first, second, length, chosen=number % 2)
    with open_artifact([image]) as artifact:
        assert {path: tree_listing(tree) for path, tree in _trees(artifact).items()} == expected
        assert "btrfs-copy" in {finding.rule for finding in artifact.findings}


def _trees(artifact: Artifact) -> dict[bytes, Tree]:
    return {path: node.tree for path, node in trees(artifact).items() if node.tree is not None}


def _stripes(image: Path) -> list[tuple[int, int, int]]:
    """Return where both copies of each chunk are, as btrfs-progs prints it."""
    shown = run("btrfs", "inspect-internal", "dump-tree", "-t", "chunk", image).stdout.decode()
    found = re.findall(
        r"length (\d+) owner.*?stripe 0 devid 1 offset (\d+).*?stripe 1 devid 1 offset (\d+)",
        shown,
        re.DOTALL,
    )
    return [(int(first), int(second), int(length)) for length, first, second in found]


def _spoil(image: Path, first: int, second: int, length: int, *, chosen: int) -> None:
    """Damage each node-sized piece in one of its two copies."""
    with image.open("r+b") as file:
        for at in range(0, min(length, 16 * MIB), NODE):
            place = (first, second)[(at // NODE + chosen) % 2] + at
            data = os.pread(file.fileno(), NODE, place)
            if any(data):
                os.pwrite(file.fileno(), bytes([data[100] ^ 1]), place + 100)


def test_damage_in_all_copies_is_an_error_with_its_place(tmp_path: Path) -> None:
    image = mkfs(tmp_path / "image", "-m dup -d single")
    content = noise(64 * 1024, 1)
    with loop_mounted_writable(image, "btrfs") as root:
        (root / "file").write_bytes(content)
    place = image.read_bytes().index(content)
    patch(image, place + 40_000, b"damaged")
    with pytest.raises(CorruptError, match="'file': data has a wrong checksum") as caught:
        listings(image)
    assert caught.value.offset == place + 40_000 // 4096 * 4096
