"""Which subvolumes a Btrfs of a distribution converts to, against what the kernel would mount."""

from __future__ import annotations

from pathlib import Path

import pytest

from convert.select.request import Request
from convert.select.root import select_root
from formats.core.tree import TreeIndex
from tests.images.btrfs_layouts import LAYOUTS, build
from tests.images.volumes import opened
from tests.support.listing import difference, kernel_listing, loop_mounted, tree_listing
from tests.support.programs import need_root, run

ROOTS = {
    "fedora": "subvol:root",
    "opensuse": "subvol:@/.snapshots/1/snapshot",
    "ubuntu": "subvol:@",
}
MOUNTS = {
    "fedora": ["/home", "/var", "/var/lib/machines"],
    "opensuse": ["/.snapshots", "/home", "/opt", "/root", "/srv", "/usr/local", "/var"],
    "ubuntu": ["/home"],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_root_and_its_mounts_are_those_of_the_layout(tmp_path: Path, layout: str) -> None:
    need_root()
    build(tmp_path / "disk.raw", layout)
    with opened(tmp_path / "disk.raw") as artifact:
        selected = select_root(artifact)
    assert selected.root.parts[-1] == ROOTS[layout]
    assert [path for path, _ in selected.mounts] == MOUNTS[layout]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_tree_is_what_mounting_the_fstab_gives(tmp_path: Path, layout: str) -> None:
    """The kernel mounts the root subvolume, then each line of its fstab, in order."""
    need_root()
    image = tmp_path / "disk.raw"
    build(image, layout)
    with opened(image) as artifact:
        ours = tree_listing(select_root(artifact).tree)
    root = ROOTS[layout].removeprefix("subvol:")
    with loop_mounted(image, "btrfs", options=f"subvol={root}") as top:
        device = run("findmnt", "-n", "-o", "SOURCE", top).stdout.decode().partition("[")[0]
        points = []
        for line in (top / "etc/fstab").read_text().splitlines():
            _, point, _, options, *_ = line.split()
            if point not in {"/", "/.snapshots"}:  # the root once more, below itself
                run("mount", "-t", "btrfs", "-o", f"ro,{options}", device, f"{top}{point}")
                points.append(f"{top}{point}")
        try:
            kernel = kernel_listing(top)
        finally:
            for point in reversed(points):
                run("umount", point)
    ours = {path: row for path, row in ours.items() if not path.startswith(b".snapshots")}
    kernel.pop(b".snapshots", None)
    assert difference(kernel, ours) == []


def test_any_subvolume_can_be_taken_instead(tmp_path: Path) -> None:
    need_root()
    uuid = build(tmp_path / "disk.raw", "opensuse")
    with opened(tmp_path / "disk.raw") as artifact:
        now = TreeIndex(select_root(artifact).tree).content(b"etc/hostname")
        older = Request(root="subvol:@/.snapshots/2/snapshot")
        then = TreeIndex(select_root(artifact, older).tree).content(b"etc/hostname")
        by_uuid = select_root(artifact, Request(root=uuid)).root
    assert now != then
    assert by_uuid.parts[-1] == ROOTS["opensuse"]
