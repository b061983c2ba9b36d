"""Btrfs filesystems with everything in them, made by mkfs.btrfs(8) and the kernel; and listings."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import google_crc32c

from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.opener import Artifact, Node, open_artifact
from tests.images.btrfs_layouts import snapshot, subvolume
from tests.images.ext_everything import KIB, fill, noise
from tests.images.volumes import MIB, blank, loop_device
from tests.images.workloads import clone_range, share
from tests.support.listing import Row, kernel_listing, loop_mounted_writable, tree_listing
from tests.support.programs import need, need_root, run

SIZE = 128 * MIB
EMPTY = b"folder/inner"
"""In the snapshot, where only a name is of the subvolume that is there in the origin."""
COMPRESSIONS = ("zlib:9", "lzo", "zstd:3")

_QUOTA_CTL, _ENABLE_SIMPLE_QUOTA = 0xC0109428, 4
_NAME_BYTES = 10


def text(length: int, seed: int = 0) -> bytes:
    """Return bytes that differ everywhere and yet can be compressed."""
    lines = (b"%d/%d\n" % (seed, number) for number in range(length // 4 + 1))
    return b"".join(lines)[:length]


def mkfs(image: Path, options: str = "", size: int = SIZE) -> Path:
    """Make an empty filesystem on one device."""
    need("mkfs.btrfs")
    blank(image, size)
    run("mkfs.btrfs", "-q", "-f", *options.split(), image)
    return image


def made(
    folder: Path, options: str = "-m single", *, before: Callable[[Path], None] | None = None
) -> Path:
    """Make a filesystem with everything in it.

    :param before: what is done to its mounted root first.
    """
    image = mkfs(folder / "image", options)
    with loop_mounted_writable(image, "btrfs") as root:
        if before is not None:
            before(root)
        fill(root, names=300)
        fill_extents(root)
        fill_names(root)
    for compression in COMPRESSIONS:
        with loop_mounted_writable(image, "btrfs", options=f"compress-force={compression}") as root:
            fill_compressed(root / compression.partition(":")[0])
    with loop_mounted_writable(image, "btrfs") as root:
        fill_subvolumes(root)
    return image


def enable_simple_quotas(root: Path) -> None:
    """Let the kernel count what each subvolume has written, with owners in the extent tree."""
    folder = os.open(root, os.O_RDONLY)
    try:
        fcntl.ioctl(folder, _QUOTA_CTL, struct.pack("QQ", _ENABLE_SIMPLE_QUOTA, 0))
    finally:
        os.close(folder)


def fill_extents(root: Path) -> None:
    """Add files with extents of all forms, shared ones among them."""
    folder = root / "extents"
    folder.mkdir()
    share(folder, text(512 * KIB, 11))
    (folder / "punched").write_bytes(text(1024 * KIB, 5))
    run("fallocate", "--punch-hole", "-o", "300000", "-l", "500000", folder / "punched")
    run("fallocate", "--keep-size", "-o", "0", "-l", "900KiB", folder / "origin")
    (folder / "beyond its end").write_bytes(b"short")
    run("fallocate", "--keep-size", "-o", "0", "-l", "900KiB", folder / "beyond its end")
    (folder / "inline and then longer").write_bytes(b"inline")
    _sync(folder)
    os.truncate(folder / "inline and then longer", 70_000)
    (folder / "cut").write_bytes(text(300 * KIB, 6))
    _sync(folder)
    os.truncate(folder / "cut", 123_457)
    plain = folder / "without checksums"
    plain.touch()
    run("chattr", "+C", plain)
    plain.write_bytes(text(300 * KIB, 7))
    swap = folder / "swapfile"
    swap.touch()
    run("chattr", "+C", swap)
    swap.write_bytes(bytes(64 * KIB))
    run("mkswap", swap)
    with (folder / "many").open("wb") as many:
        for number in range(600):
            os.pwrite(many.fileno(), noise(4096, number), number * 2 * 4096)


def _sync(folder: Path) -> None:
    run("btrfs", "filesystem", "sync", folder)


def fill_compressed(folder: Path) -> None:
    """Add files that are compressed: inline, in one extent, in many, overwritten in the middle."""
    folder.mkdir()
    for size in (1, 100, 1900, 2047, 2049, 4095, 4096, 4097, 9000, 128 * KIB, 128 * KIB + 1):
        (folder / f"text of {size}").write_bytes(text(size, size))
        (folder / f"noise of {size % 5000}").write_bytes(noise(size % 5000, size))
    (folder / "long").write_bytes(text(3 * MIB, 1))
    (folder / "zeros").write_bytes(bytes(2 * MIB))
    (folder / "overwritten").write_bytes(text(700 * KIB, 2))
    (folder / "source").write_bytes(text(512 * KIB, 3))
    _sync(folder)
    with (folder / "overwritten").open("r+b") as file:
        for at in range(10_000, 700_000, 90_000):
            os.pwrite(file.fileno(), noise(5000, at), at)
    clone_range(folder / "source", folder / "pieces", 60 * KIB, 200 * KIB, 40 * KIB)
    clone_range(folder / "source", folder / "pieces", 4 * KIB, 8 * KIB, 300 * KIB)
    # Noise between lines: segments of LZO get any length, and so any place in their sector.
    mixed = b"".join(text(1000, n) + noise(n % 3000, n) for n in range(100))
    (folder / "mixed").write_bytes(mixed)
    run("btrfs", "property", "set", folder / "mixed", "compression", "lzo")


def fill_names(root: Path) -> None:
    """Add names and attributes whose hashes are equal, and more links than fit into one item."""
    folder = root / "hashes"
    folder.mkdir()
    first, second = colliding_names()
    (folder / first).write_bytes(b"one")
    (folder / second).write_bytes(b"other")
    for name in colliding_names(b"user."):
        os.setxattr(folder, name, name.encode())
    links = root / "many links"
    links.mkdir()
    (links / "0").write_bytes(b"linked")
    for number in range(1, 400):
        try:
            os.link(links / "0", links / f"{number}{'l' * 200}")
        except OSError:  # of a filesystem without extended references
            break


def colliding_names(start: bytes = b"") -> tuple[str, str]:
    """Return two names whose CRC-32C is the same, from the first ones that are."""
    known: dict[int, bytes] = {}
    number = 0
    while True:
        name = start + b"%d" % (10**_NAME_BYTES + number)
        twin = known.setdefault(google_crc32c.value(name), name)
        if twin != name:
            return twin.decode(), name.decode()
        number += 7919  # neighbours differ in few bits, and never collide


def fill_subvolumes(root: Path) -> None:
    """Add subvolumes in subvolumes, snapshots with and without them, and one that is deleted."""
    outer = subvolume(root / "outer")
    outer.chmod(0o2751)
    os.chown(outer, 1000, 1001)
    os.setxattr(outer, "user.root", b"of a subvolume")
    (outer / "folder").mkdir()
    os.chown(outer / "folder", 7, 8)
    os.utime(outer / "folder", ns=(5, 1_000_000_000_000_000_005))
    inner = subvolume(outer / "folder" / "inner")
    (inner / "file").write_bytes(text(100_000, 8))
    (outer / "file").write_bytes(b"before")
    snapshot(outer, root / "outer as it was", read_only=True)
    (outer / "file").write_bytes(b"after")
    snapshot(inner, outer / "second inner")
    os.rename(outer / "second inner", outer / "folder" / "renamed")
    gone = subvolume(root / "gone")
    (gone / "file").write_bytes(text(50_000, 9))
    run("btrfs", "subvolume", "delete", gone)


# What the kernel shows, and what we read.


@contextmanager
def mounted(image: Path, *others: Path, options: str = "") -> Iterator[Path]:
    """Mount a filesystem on one or several devices read-only, its top level on top."""
    need_root()
    flags = ",".join(["ro", "subvolid=5", *([options] if options else [])])
    with ExitStack() as stack:
        devices = [stack.enter_context(loop_device(path)) for path in (image, *others)]
        run("btrfs", "device", "scan", *devices)
        folder = image.parent / f"{image.name}-mounted"
        folder.mkdir()
        stack.callback(folder.rmdir)
        stack.callback(_forget, devices)
        run("mount", "-t", "btrfs", "-o", flags, devices[0], folder)
        try:
            yield folder
        finally:
            run("umount", folder)


def _forget(devices: Sequence[Path]) -> None:
    run("btrfs", "device", "scan", "--forget", *devices, check=False)


def kernel_listings(root: Path, paths: Sequence[bytes]) -> dict[bytes, dict[bytes, Row]]:
    """Return a listing of each subvolume below a mounted top level.

    Of a subvolume in another one, only its root folder is in the outer one's listing.
    """
    listings = {}
    for path in paths:
        rows = kernel_listing(Path(os.fsdecode(os.path.join(os.fsencode(root), path))))
        start = path + b"/" if path else b""
        nested = [other[len(start) :] for other in paths if other.startswith(start)]
        hidden = tuple(inner + b"/" for inner in nested if inner)
        listings[path] = {name: row for name, row in rows.items() if not name.startswith(hidden)}
    return listings


def trees(artifact: Artifact) -> dict[bytes, Node]:
    """Return the subvolumes of the one filesystem in an artifact, by path; raise its problem."""
    found: dict[bytes, Node] = {}
    for node in artifact.walk():
        if node.problem is not None:
            raise node.problem
        if node.tree is not None:
            subvolume_ = node.volume.subvolume
            found[subvolume_.path if subvolume_ is not None else b""] = node
    return found


def listings(*images: Path, limits: Limits = DEFAULT_LIMITS) -> dict[bytes, dict[bytes, Row]]:
    """Return our listing of each subvolume."""
    with open_artifact(images, limits=limits) as artifact:
        return {
            path: tree_listing(node.tree)
            for path, node in trees(artifact).items()
            if node.tree is not None
        }


def copy(image: Path, target: Path) -> Path:
    """Copy an image, holes as holes."""
    run("cp", "--sparse=always", image, target)
    return target


def made_on(
    folder: Path, count: int, options: str, fill_it: Callable[[Path], None], *, size: int = SIZE
) -> list[Path]:
    """Make a filesystem on several devices."""
    images = [blank(folder / f"disk{number}", size) for number in range(1, count + 1)]
    with ExitStack() as stack:
        devices = [stack.enter_context(loop_device(image)) for image in images]
        run("mkfs.btrfs", "-q", "-f", *options.split(), *devices)
        run("btrfs", "device", "scan", *devices)
        stack.callback(_forget, devices)
        mount = folder / "mounted"
        mount.mkdir()
        run("mount", "-t", "btrfs", devices[0], mount)
        try:
            fill_it(mount)
        finally:
            run("umount", mount)
            shutil.rmtree(mount)
    return images
