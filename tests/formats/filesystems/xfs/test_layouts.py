"""Forms and layouts one by one: blocks of all sizes, odd inodes, and what the superblock says."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from formats.core.opener import open_artifact
from tests.images.xfs_everything import made, mkfs, without_duplicates, xfs_db
from tests.images.xfs_proto import copied
from tests.support.filesystems import listing
from tests.support.listing import (
    Row,
    difference,
    kernel_listing,
    loop_mounted,
    loop_mounted_writable,
)
from tests.support.programs import need, need_root, run


@pytest.fixture(autouse=True)
def _programs() -> None:
    need("mkfs.xfs", "xfs_db")


COPIES = {
    "512-byte blocks": "-m crc=0 -b size=512",
    "8 KiB blocks": "-b size=8192",
    "16 KiB blocks": "-b size=16384 -n size=65536",
    "64 KiB blocks": "-b size=65536",
    "names in any case": "-n version=ci",
}


@pytest.mark.parametrize("name", COPIES)
def test_it_reads_what_mkfs_copied(name: str, tmp_path: Path) -> None:
    image, rows = copied(tmp_path, COPIES[name])
    assert len(rows) > 3500
    assert difference(_as_copied(rows), _as_copied(listing(image))) == []


def _as_copied(rows: dict[bytes, Row]) -> dict[bytes, Row]:
    """Leave out what mkfs.xfs does not copy: times."""
    return {path: replace(row, mtime_ns=0) for path, row in rows.items()}


def test_attributes_in_the_largest_blocks(tmp_path: Path) -> None:
    """Set by xfs_db(8); offsets in a block of 64 KiB do not all fit into 16 bits."""
    image = mkfs(tmp_path / "image", "-b size=65536", "256M")
    sizes = {"small": 10, "large": 30_000, "largest": 65_536, "last": 40_000}
    commands = (f"attr_set -u -v {size} {name}" for name, size in sizes.items())
    xfs_db(image, "sb 0", "addr rootino", *commands)
    (row,) = listing(image).values()
    expected = {f"user.{name}".encode(): b"v" * size for name, size in sizes.items()}
    assert dict(row.xattrs) == expected


def test_inode_numbers_of_more_than_32_bits(tmp_path: Path) -> None:
    need_root()
    image = mkfs(tmp_path / "image", "-d agcount=4 -l size=64m", "3T")
    with loop_mounted_writable(image, "xfs") as root:
        for number in range(12):
            (root / f"{number}" / "inner").mkdir(parents=True)
            (root / f"{number}" / "file").write_text(f"{number}")
        assert any((root / f"{number}").stat().st_ino >> 32 for number in range(12))
        assert any((root / f"{number}").stat().st_ino >> 32 == 0 for number in range(12))
    with loop_mounted(image, "xfs") as root:
        kernel = kernel_listing(root)
    assert difference(kernel, listing(image)) == []


def test_chunks_of_inodes_with_holes(tmp_path: Path) -> None:
    """Made on a filesystem that is full but for pieces too small for a whole chunk."""
    need_root()
    need("xfs_io")
    options = "-d agcount=2 -m reflink=0,finobt=0,inobtcount=0"
    image = mkfs(tmp_path / "image", options, "64M")
    with loop_mounted_writable(image, "xfs") as root:
        run("xfs_io", "-x", "-c", "resblks 0", root)
        space = os.statvfs(root)
        size = (space.f_bavail - 60) * space.f_frsize
        punch = (f"-cfpunch {at} 16384" for at in range(16_384, size, 65_536))
        run("xfs_io", "-f", "-c", f"falloc 0 {20 * 4096}", root / "rest")
        run("xfs_io", "-f", "-c", f"falloc 0 {size}", *punch, root / "most")
        with pytest.raises(OSError, match="No space left"):
            _fill_with_inodes(root)
    chunks = [xfs_db(image, f"agi {group}", "addr root", "p") for group in range(2)]
    assert re.search(r":\[\d+,0xff(?:00)?,32,", "".join(chunks)) is not None, "no hole"
    with loop_mounted(image, "xfs") as root:
        kernel = kernel_listing(root)
    assert difference(kernel, listing(image)) == []


def _fill_with_inodes(root: Path) -> None:
    for number in range(5000):
        (root / f"{number}").touch()


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_root()
    need("xfs_io", "setcap", "setfacl")
    return made(tmp_path_factory.mktemp("everything"), "-L everything")


_SECOND_SPACE = 8_388_608
"""The first block of a folder's hashes: 32 GiB into it."""


@pytest.mark.parametrize(
    ("path", "place", "expected"),
    [
        ("/folders/3", "p", r"core.format = 1 \(local"),
        ("/folders/20", "dblock 0", "bhdr.hdr.magic = 0x58444233"),
        ("/folders/100", "dblock 0", "dhdr.hdr.magic = 0x58444433"),
        ("/folders/100", f"dblock {_SECOND_SPACE}", "lhdr.info.hdr.magic = 0x3df1"),
        ("/folders/1200", f"dblock {_SECOND_SPACE}", "nhdr.info.hdr.magic = 0x3ebe"),
        ("/folders/pieces", "p", r"core.format = 3 \(btree"),
        ("/attributes/1-of-10", "p", r"core.aformat = 1 \(local"),
        ("/attributes/12-of-150", "ablock 0", "hdr.info.hdr.magic = 0x3bee"),
        ("/attributes/60-of-500", "ablock 0", "hdr.info.hdr.magic = 0x3ebe"),
        ("/attributes/5-of-3000", "ablock 0", "hdr.info.hdr.magic"),
        ("/attributes/first-twin", "p", r"core.aformat = 3 \(btree"),
        ("/attributes/2-of-65536", "ablock 1", "hdr.magic = 0x5841524d"),
        ("/extents/many", "p", "bmbt.level = 2"),
        ("/extents/punched", "p", "core.projid_hi = 45776"),
        ("/symlinks/336", "p", r"core.format = 1 \(local"),
        ("/symlinks/1023", "dblock 0", "magic = 0x58534c4d"),
    ],
)
def test_the_matrix_has_every_form(everything: Path, path: str, place: str, expected: str) -> None:
    """It is no proof of a form that the kernel did not choose."""
    assert re.search(expected, xfs_db(everything, f"path {path}", place, "p")) is not None


def test_the_superblock_says_what_blkid_and_xfs_db_say(everything: Path) -> None:
    need("blkid")
    with open_artifact([everything]) as artifact:
        (node,) = artifact.nodes
    assert node.tree is not None
    info = node.tree.info
    export = run("blkid", "-p", "-o", "export", everything).stdout.decode().split("\n")
    assert {f"LABEL={info.label}", f"UUID={info.uuid}", f"TYPE={info.format}"} <= set(export)
    numbers = xfs_db(everything, "sb 0", "p dblocks fdblocks blocksize")
    blocks, free, block_bytes = (int(found) for found in re.findall(r"= (\d+)", numbers))
    assert (info.size_bytes, info.used_bytes) == (
        blocks * block_bytes,
        (blocks - free) * block_bytes,
    )
    assert info.facts["block size"] == str(block_bytes)
    assert (info.facts["version"], info.facts["log"]) == ("5", "clean")
    assert {"bigtime", "finobt", "reflink", "spinodes"} <= set(info.facts["features"].split())


def test_an_attribute_that_was_being_written_is_not_there(everything: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    run("cp", "--sparse=always", everything, image)
    xfs_db(image, "path /attributes/12-of-150", "ablock 0", "write entries[3].incomplete 1")
    with loop_mounted(image, "xfs") as root:
        kernel = without_duplicates(kernel_listing(root))
    assert len(kernel[b"attributes/12-of-150"].xattrs) == 11
    assert difference(kernel, listing(image)) == []


def test_what_was_deleted_while_open_is_not_there(tmp_path: Path) -> None:
    need_root()
    image = mkfs(tmp_path / "image")
    with loop_mounted_writable(image, "xfs") as root:
        (root / "kept").write_text("kept")
        with (root / "gone").open("w") as file:
            file.write("gone")
            (root / "gone").unlink()
            run("xfs_io", "-x", "-c", "freeze", root)
            copy = tmp_path / "copy"
            run("cp", "--sparse=always", image, copy)
            run("xfs_io", "-x", "-c", "thaw", root)
    assert set(without_duplicates(listing(copy))) == {b"", b"kept"}
