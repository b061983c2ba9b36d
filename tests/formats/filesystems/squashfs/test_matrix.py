"""Every compressor and option of mksquashfs: what we read is what the kernel shows."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from formats.core.entry import Kind
from formats.core.opener import open_artifact
from tests.images.ext_everything import KIB, MIB, noise
from tests.images.squashfs import EXTENDED_FILE, NONE, Handmade, fill_for_blocks, mksquashfs
from tests.support.filesystems import listing
from tests.support.listing import Row, difference, kernel_listing, loop_mounted
from tests.support.programs import need, need_root, run

COMPRESSORS = {
    "gzip, 4 KiB blocks": "-comp gzip -b 4K",
    "gzip, other strategies": "-comp gzip -Xwindow-size 9 -Xstrategy huffman_only,fixed",
    "lz4, best": "-comp lz4 -Xhc -b 64K",
    "lzo": "-comp lzo -Xcompression-level 1",
    "lzo, fastest": "-comp lzo -Xalgorithm lzo1x_1 -b 1M",
    "xz": "-comp xz -b 256K",
    "xz, filters": "-comp xz -Xbcj x86,arm -Xdict-size 50%",
    "zstd": "-comp zstd -Xcompression-level 3",
    "zstd, 1 MiB blocks": "-comp zstd -Xcompression-level 3 -b 1M",
}
"""For a folder with files that make blocks of every size, as some are slow."""

OPTIONS = {
    "gzip": "-comp gzip",
    "lz4, 4 KiB blocks": "-comp lz4 -b 4K",
    "nothing compressed": "-noI -noId -noD -noF -noX",
    "data not compressed": "-comp lz4 -noD",
    "only data compressed": "-comp lz4 -noI -noF -noX",
    "no fragments": "-comp lz4 -no-fragments",
    "fragments for all tails": "-comp lz4 -tailends",
    "fragments always": "-comp lz4 -always-use-fragments",
    "zeros as data": "-comp lz4 -no-sparse -no-duplicates",
    "no export table": "-comp lz4 -no-exports",
    "no attributes": "-comp lz4 -no-xattrs",
    "no hard links": "-comp lz4 -no-hardlinks",
    "one owner": "-comp lz4 -all-root",
}
"""For everything."""


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_root()
    need("mksquashfs", "unsquashfs", "mount", "setcap", "setfacl")
    folder = tmp_path_factory.mktemp("everything")
    fill_for_blocks(folder)
    return folder


def kernels(image: Path) -> dict[bytes, Row]:
    with loop_mounted(image, "squashfs") as root:
        return kernel_listing(root)


@pytest.mark.parametrize("name", OPTIONS)
def test_it_reads_what_the_kernel_shows(name: str, everything: Path, tmp_path: Path) -> None:
    image = mksquashfs(everything, tmp_path / "image", *OPTIONS[name].split())
    kernel = kernels(image)
    assert len(kernel) > 1700
    assert difference(kernel, listing(image)) == []


@pytest.mark.parametrize("name", COMPRESSORS)
def test_every_compressor_is_undone(name: str, everything: Path, tmp_path: Path) -> None:
    image = mksquashfs(everything / "blocks", tmp_path / "image", *COMPRESSORS[name].split())
    assert difference(kernels(image), listing(image)) == []


def test_the_kernel_shows_every_kind_with_attributes(everything: Path, tmp_path: Path) -> None:
    """Or else the matrix proves nothing of extended inodes."""
    rows = kernels(mksquashfs(everything, tmp_path / "image", "-comp", "lz4"))
    with_attributes = {row.kind for row in rows.values() if row.xattrs}
    assert with_attributes == set(Kind) - {Kind.HARDLINK}


def test_it_reads_lzma_as_unsquashfs_does(everything: Path, tmp_path: Path) -> None:
    image = mksquashfs(everything / "blocks", tmp_path / "image", "-comp", "lzma")
    run("unsquashfs", "-quiet", "-no-progress", "-dest", tmp_path / "tree", image)
    assert difference(kernel_listing(tmp_path / "tree"), listing(image)) == []


def test_it_reads_an_image_that_was_added_to(everything: Path, tmp_path: Path) -> None:
    image = mksquashfs(everything / "links", tmp_path / "image")
    mksquashfs(everything / "extended", image, "-keep-as-directory", "-root-becomes", "old")
    kernel = kernels(image)
    assert {b"old/a", b"extended/fifo"} <= set(kernel)
    assert difference(kernel, listing(image)) == []


@pytest.mark.parametrize("more", [b"", b"\xa5" * 70_001], ids=["unpadded", "data behind it"])
def test_the_image_ends_where_its_superblock_says(
    more: bytes, everything: Path, tmp_path: Path
) -> None:
    padded = mksquashfs(everything / "xattrs", tmp_path / "padded")
    bare = mksquashfs(everything / "xattrs", tmp_path / "bare", "-nopad")
    assert bare.stat().st_size % 4096
    bare.write_bytes(bare.read_bytes() + more)
    assert difference(kernels(padded), listing(bare)) == []


def test_it_reads_pseudo_files(everything: Path, tmp_path: Path) -> None:
    """Devices and owners as they are made without root, and times up to 2106."""
    lines = (
        "null c 666 0 5 1 3",
        "most b 600 4294967294 3000000 4095 1048575",
        "pipe i 644 1 2 f",
        "socket i 755 3 4 s",
        "late F 4294967295 640 5 6 echo late",
        "folder D 1 7777 7 8",
    )
    pseudo = tmp_path / "pseudo"
    pseudo.write_text("".join(f"{line}\n" for line in lines))
    image = mksquashfs(everything / "files", tmp_path / "image", "-pf", os.fspath(pseudo))
    kernel = kernels(image)
    assert kernel[b"late"].mtime_ns == 4294967295 * 10**9
    assert difference(kernel, listing(image)) == []


def test_it_reads_files_of_more_than_4_gib(tmp_path: Path) -> None:
    """By hand, as mksquashfs takes its time for four gigabytes of zeros."""
    need_root()
    blocks, end = 4097, b"the end of it"
    stored = (0,) * (blocks - 1) + (1 << 24 | len(end),)
    size = (blocks - 1) * MIB + len(end)
    file = EXTENDED_FILE.pack(96, size, 0, 1, NONE, 0, NONE) + struct.pack(f"<{blocks}I", *stored)
    image = tmp_path / "image"
    image.write_bytes(Handmade(file, data=end).image())
    with loop_mounted(image, "squashfs") as root, (root / "file").open("rb") as opened:
        assert opened.seek(-20, os.SEEK_END) == size - 20
        assert opened.read() == bytes(7) + end
    with open_artifact([image]) as artifact:
        tree = artifact.nodes[0].tree
        assert tree is not None
        (_, entry) = tree.entries()
        chunks = [len(chunk) for chunk in tree.read(entry)]
        assert (entry.size, sum(chunks)) == (size, size)
        assert bytes(list(tree.read(entry))[-1]) == end


def test_it_reads_attributes_of_many_blocks(tmp_path: Path) -> None:
    need_root()
    tree = tmp_path / "tree"
    tree.mkdir()
    run("mount", "-t", "tmpfs", "none", tree)  # ext4 takes no more than 4 KiB
    try:
        for number in range(3):
            path = tree / f"file {number}"
            path.touch()
            os.setxattr(path, f"trusted.large{number}", noise(60 * KIB, 2))
            os.setxattr(path, "trusted.name", noise(60 * KIB, number))
        image = mksquashfs(tree, tmp_path / "image")
    finally:
        run("umount", tree)
    kernel = kernels(image)
    assert len(kernel[b"file 2"].xattrs) == 2
    assert difference(kernel, listing(image)) == []


def test_entries_say_which_image_they_are_of(everything: Path, tmp_path: Path) -> None:
    options = ("-comp", "xz", "-b", "64K", "-mkfs-time", "1700000000")
    image = mksquashfs(everything / "files", tmp_path / "image", *options)
    with open_artifact([image]) as artifact:
        tree = artifact.nodes[0].tree
        assert tree is not None
        assert tree.info.format == "squashfs"
        assert tree.info.facts == {
            "compression": "xz",
            "block size": "65536",
            "created": "2023-11-14T22:13:20+00:00",
        }
