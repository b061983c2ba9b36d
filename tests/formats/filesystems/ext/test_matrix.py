"""Every feature, in every form of disk: what we read is what the kernel shows."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from formats.core.entry import Kind
from formats.core.opener import open_artifact
from tests.images.ext_everything import SMALL_TIMES_NS, add_large_xattr, fill
from tests.support.listing import (
    Row,
    difference,
    kernel_listing,
    loop_mounted,
    loop_mounted_writable,
    tree_listing,
)
from tests.support.programs import need, need_root, run

_SIZE = "96m"


@pytest.fixture(autouse=True)
def _programs() -> None:
    need_root()
    need("mke2fs", "mount", "qemu-img", "debugfs", "setcap", "setfacl", "chattr")


@dataclass(frozen=True, slots=True)
class Case:
    """How a filesystem is made, and what is done in it beside everything else.

    :ivar has_small_inodes: of 128 bytes: no times beyond 2038, no nanoseconds.
    """

    mke2fs: str
    more: Callable[[Path], None] | None = None
    names: int = 1500
    has_small_inodes: bool = False


CASES = {
    "ext2, 1 KiB blocks": Case("-t ext2 -b 1024 -I 128", has_small_inodes=True),
    "ext2, 4 KiB blocks": Case("-t ext2 -b 4096"),
    "ext2 without types in folders": Case("-t ext2 -b 1024 -O ^filetype,^dir_index"),
    "ext3, 1 KiB blocks": Case("-t ext3 -b 1024"),
    "ext3, 2 KiB blocks": Case("-t ext3 -b 2048 -I 128", has_small_inodes=True),
    "ext4, 1 KiB blocks": Case("-t ext4 -b 1024", names=8000),
    "ext4, 2 KiB blocks": Case("-t ext4 -b 2048"),
    "ext4, 4 KiB blocks": Case("-t ext4 -b 4096"),
    "block maps": Case("-t ext4 -b 1024 -O ^extents,^64bit"),
    "inline data": Case("-t ext4 -b 1024 -O inline_data"),
    "inline data in large inodes": Case("-t ext4 -b 4096 -I 1024 -O inline_data"),
    "32 bits without flex_bg": Case("-t ext4 -b 1024 -O ^64bit,^flex_bg"),
    "meta_bg": Case("-t ext4 -b 1024 -O meta_bg,^resize_inode"),
    "bigalloc, 4 KiB blocks": Case("-t ext4 -b 4096 -O bigalloc -C 16384"),
    "bigalloc, 1 KiB blocks": Case("-t ext4 -b 1024 -O bigalloc -C 8192"),
    "sparse_super2": Case("-t ext4 -b 1024 -O sparse_super2,^resize_inode"),
    "no checksums": Case("-t ext4 -b 1024 -O ^metadata_csum"),
    "checksums of groups alone": Case("-t ext4 -b 1024 -O ^metadata_csum,uninit_bg"),
    "seed of checksums": Case("-t ext4 -b 1024 -O metadata_csum_seed"),
    "large_dir": Case("-t ext4 -b 1024 -O large_dir", names=6000),
    "ea_inode": Case("-t ext4 -b 4096 -O ea_inode", more=add_large_xattr),
    "ea_inode and inline data": Case("-t ext4 -b 1024 -O ea_inode,inline_data", add_large_xattr),
    "flags of others": Case("-t ext4 -b 4096 -O encrypt,verity,stable_inodes,mmp,orphan_file"),
    "no journal": Case("-t ext4 -b 4096 -O ^has_journal"),
}

DISKS = {
    "raw": (),
    "qcow2": ("-c", "-O", "qcow2"),
    "vmdk": ("-O", "vmdk", "-o", "subformat=streamOptimized"),
}


def made(case: Case, folder: Path) -> Path:
    image = folder / "disk.raw"
    run("mke2fs", "-q", *case.mke2fs.split(), image, _SIZE)
    with loop_mounted_writable(image, "ext4", options="acl,user_xattr") as root:
        fill(root, small_inodes=case.has_small_inodes, names=case.names)
        if case.more is not None:
            case.more(root)
    return image


def listing(image: Path) -> dict[bytes, Row]:
    with open_artifact([image]) as artifact:
        (tree,) = (node.tree for node in artifact.walk() if node.tree is not None)
        return tree_listing(tree)


@pytest.mark.parametrize("name", CASES)
def test_it_reads_what_the_kernel_shows(name: str, tmp_path: Path) -> None:
    image = made(CASES[name], tmp_path)
    with loop_mounted(image, "ext4") as root:
        kernel = kernel_listing(root)
    assert len(kernel) > 1400
    for ending, options in DISKS.items():
        disk = image.with_suffix(f".{ending}")
        if options:
            run("qemu-img", "convert", "-f", "raw", *options, image, disk)
        assert difference(kernel, listing(disk)) == [], ending


COPIES = {
    "8 KiB blocks": "-b 8192",
    "16 KiB blocks": "-b 16384",
    "32 KiB blocks": "-b 32768",
    "64 KiB blocks": "-b 65536",
    "casefold": "-b 4096 -O casefold -E encoding=utf8",
    "quotas": "-b 4096 -O quota,project",
}
"""What not every kernel mounts: blocks larger than its pages, features it was built without."""


@pytest.mark.parametrize("name", COPIES)
def test_it_reads_what_mke2fs_copied(name: str, tmp_path: Path) -> None:
    """``mke2fs -d`` copies a folder in, and the kernel shows that folder."""
    source = tmp_path / "source"
    run("mke2fs", "-q", "-t", "ext4", source, _SIZE)
    image = tmp_path / "disk.raw"
    with loop_mounted_writable(source, "ext4") as root:
        fill(root, small_inodes=True)
        os.rmdir(root / "lost+found")
        options = COPIES[name].split()
        run("mke2fs", "-q", "-F", "-t", "ext4", *options, "-d", root, image, _SIZE)
        kernel = kernel_listing(root)
    if name == "casefold":
        run("debugfs", "-w", "-R", "set_inode_field /names flags 0x40080000", image)
    ours = listing(image)
    del ours[b"lost+found"]
    assert difference(_as_copied(kernel), _as_copied(ours)) == []


def _as_copied(rows: dict[bytes, Row]) -> dict[bytes, Row]:
    """Leave out what mke2fs does not copy: nanoseconds, its root's time, links of symlinks."""
    return {
        path: replace(
            row,
            mtime_ns=row.mtime_ns // 10**9 if path else 0,
            links=() if row.kind is Kind.SYMLINK else row.links,
        )
        for path, row in rows.items()
    }


def test_the_kernels_times_are_all_there_are(tmp_path: Path) -> None:
    """The matrix is no proof if the kernel cut the times when they were set."""
    image = made(CASES["ext4, 4 KiB blocks"], tmp_path)
    rows = listing(image)
    for path, row in rows.items():
        if path.startswith(b"times/"):
            assert row.mtime_ns == int(path.removeprefix(b"times/"))
    assert {row.kind for row in rows.values()} == set(Kind) - {Kind.HARDLINK}
    assert min(SMALL_TIMES_NS) < 0
