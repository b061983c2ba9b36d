"""Filesystems with everything that XFS can hold, made by mkfs.xfs(8) and the kernel."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from formats.filesystems.xfs.checksums import set_checksum
from formats.filesystems.xfs.superblock import CHECKSUM_OFFSET
from tests.images import workloads
from tests.images.ext_everything import KIB, fill
from tests.support.listing import Row, loop_mounted_writable
from tests.support.programs import need, run

LARGEST_DEVICE = (511, (1 << 18) - 1)
"""The largest that the kernel lets one make here."""
INCOMPAT_OFFSET = 216
EXCHANGE_AND_PARENT = 0xC0
"""Two bits that this mkfs.xfs cannot set; of an empty filesystem they ask for nothing else."""

_SUPERBLOCK_BYTES = 512
_FALLOCATE_KEEP_SIZE = 1
_FALLOCATE_PUNCH_HOLE = 2
_FALLOCATE_COLLAPSE_RANGE = 8


def xfs_db(image: Path, *commands: str) -> str:
    """Run commands of xfs_db(8), which may change the image, and return what it shows."""
    need("xfs_db")
    options = [option for command in commands for option in ("-c", command)]
    return run("xfs_db", "-x", *options, image, check=False).stdout.decode()


def text(length: int, seed: int) -> bytes:
    """Return bytes that differ everywhere and yet can be compressed."""
    lines = (b"%d/%d\n" % (seed, number) for number in range(length // 4 + 1))
    return b"".join(lines)[:length]


def mkfs(image: Path, options: str = "", size: str = "96M") -> Path:
    """Make a filesystem smaller than mkfs.xfs(8) would by itself."""
    need("mkfs.xfs")
    run("truncate", "--size", size, image)
    run("mkfs.xfs", "-q", "-f", "--unsupported", *options.split(), image)
    return image


def made(
    folder: Path, options: str, *, names: int = 500, more: Callable[[Path], None] | None = None
) -> Path:
    """Make a filesystem with everything in it.

    :param names: in the large folder.
    :param more: what is done to the empty filesystem.
    """
    image = mkfs(folder / "image", options)
    if more is not None:
        more(image)
    with loop_mounted_writable(image, "xfs") as root:
        fill(root, names=names, largest_device=LARGEST_DEVICE)
        fill_forms(root)
    return image


def fill_forms(root: Path) -> None:
    """Add folders, attributes, files and symlinks of all forms."""
    for part in (_folders, _attributes, _extents, _symlinks):
        part(root)


def _folders(root: Path) -> None:
    """One of each form, one that grows in turns with a file and so in pieces, one with gaps."""
    folder = root / "folders"
    folder.mkdir()
    for count in (0, 1, 3, 20, 100, 400, 1200):
        inner = folder / str(count)
        inner.mkdir()
        for number in range(count):
            (inner / f"{number}{'n' * (number % 40)}").touch()
    pieces = folder / "pieces"
    pieces.mkdir()
    with (pieces / "file").open("wb") as file:
        for number in range(700):
            os.link(folder / "1" / "0", pieces / f"{number}{'p' * 240}")
            if number % 16 == 0:  # takes the block behind the one that the folder has just taken
                os.pwrite(file.fileno(), b"%d" % number, number * 4096)
                os.fsync(file.fileno())
    gaps = folder / "gaps"
    gaps.mkdir()
    for number in range(600):
        os.link(folder / "3" / "0", gaps / f"{number}{'g' * 200}")
    for number in range(100, 400):
        (gaps / f"{number}{'g' * 200}").unlink()


def _attributes(root: Path) -> None:
    """One of each form; large values, set in turns so that none adjoin."""
    folder = root / "attributes"
    folder.mkdir()
    for count, size in ((1, 10), (3, 100), (12, 150), (60, 500), (5, 3000), (2, 64 * KIB)):
        path = folder / f"{count}-of-{size}"
        path.touch()
        for number in range(count):
            os.setxattr(path, f"user.{number}", text(size, number))
    twins = [folder / "first-twin", folder / "second-twin"]
    for twin in twins:
        twin.touch()
    for number in range(100):
        for twin in twins:
            space = ("user", "trusted", "security")[number % 3]
            os.setxattr(twin, f"{space}.{number}", text(4200, number))
    (folder / "gone").touch()
    for number in range(30):
        os.setxattr(folder / "gone", f"user.{number}", text(300, number))
    for number in range(30):
        os.removexattr(folder / "gone", f"user.{number}")
    os.symlink("3-of-100", folder / "link")
    os.setxattr(folder / "link", "trusted.link", text(2000, 7), follow_symlinks=False)
    os.mkfifo(folder / "fifo")
    os.setxattr(folder / "fifo", "security.fifo", b"f")


def _extents(root: Path) -> None:
    """Files in pieces: shared ones, preallocated ones, and more than fit into an inode."""
    folder = root / "extents"
    folder.mkdir()
    with (folder / "many").open("wb") as file:
        for number in range(2500):
            os.pwrite(file.fileno(), b"%d" % number, number * 2 * 4096)
    with (folder / "beyond its end").open("wb") as file:
        file.write(b"short")
        _fallocate(file.fileno(), _FALLOCATE_KEEP_SIZE, 0, 900 * KIB)
    with (folder / "punched").open("wb") as file:
        file.write(text(1024 * KIB, 5))
        _fallocate(file.fileno(), _FALLOCATE_KEEP_SIZE | _FALLOCATE_PUNCH_HOLE, 300_000, 500_000)
        _fallocate(file.fileno(), _FALLOCATE_COLLAPSE_RANGE, 64 * KIB, 64 * KIB)
    with (folder / "unwritten in parts").open("wb") as file:
        _fallocate(file.fileno(), 0, 0, 512 * KIB)
        for number in range(0, 8, 2):
            os.pwrite(file.fileno(), text(64 * KIB, number), number * 64 * KIB)
    run("xfs_io", "-c", "chproj 3000000000", folder / "punched")


def share(root: Path) -> None:
    """Add files that share their blocks with another, whole and in parts (``reflink``)."""
    folder = root / "shared"
    folder.mkdir()
    workloads.share(folder, text(512 * KIB, 11))
    os.truncate(folder / "part", 1024 * KIB)


def _fallocate(file: int, mode: int, offset: int, length: int) -> None:
    command = {
        0: "falloc",
        _FALLOCATE_KEEP_SIZE: "falloc -k",
        _FALLOCATE_KEEP_SIZE | _FALLOCATE_PUNCH_HOLE: "fpunch",
        _FALLOCATE_COLLAPSE_RANGE: "fcollapse",
    }[mode]
    path = os.readlink(f"/proc/self/fd/{file}")
    run("xfs_io", "-c", f"{command} {offset} {length}", path)


def _symlinks(root: Path) -> None:
    """Around the borders: what fits into an inode, into one block, into a target at all."""
    folder = root / "symlinks"
    folder.mkdir()
    for length in (80, 155, 156, 157, 335, 336, 337, 967, 968, 969, 1023):
        (folder / str(length)).symlink_to("y" * length)


def set_incompat(image: Path, bits: int) -> None:
    """Set bits of incompatible features in all superblocks, and put the checksums right."""
    with image.open("r+b") as file:
        for offset in _superblocks(image):
            file.seek(offset)
            block = bytearray(file.read(_SUPERBLOCK_BYTES))
            (value,) = struct.unpack_from(">I", block, INCOMPAT_OFFSET)
            struct.pack_into(">I", block, INCOMPAT_OFFSET, value | bits)
            set_checksum(block, CHECKSUM_OFFSET)
            file.seek(offset)
            file.write(block)


def _superblocks(image: Path) -> Iterator[int]:
    with image.open("rb") as file:
        head = file.read(_SUPERBLOCK_BYTES)
    (block_bytes,) = struct.unpack_from(">I", head, 4)
    group_blocks, groups = struct.unpack_from(">II", head, 84)
    for group in range(groups):
        yield group * group_blocks * block_bytes


def without_duplicates(rows: dict[bytes, Row]) -> dict[bytes, Row]:
    """Return a kernel's listing without the second names that it gives to ACLs."""
    return {
        path: replace(
            row,
            xattrs=tuple(
                (name, value)
                for name, value in row.xattrs
                if not name.startswith(b"trusted.SGI_ACL_")
            ),
        )
        for path, row in rows.items()
    }
