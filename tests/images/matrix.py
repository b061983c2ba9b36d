"""One tree on every filesystem, in every kind of table, as every kind of disk.

The tree has what all of these filesystems can hold: no ACLs (squashfs), no fractions of seconds
(squashfs), no sockets (tar), no names of 255 bytes (mkfs.erofs 1.5). The kernel copies it to those
that it can mount for writing.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.images.ext_everything import noise
from tests.images.lvm import blank_disks, lvm_on
from tests.images.systems import root_files, write_files
from tests.images.volumes import MIB, blank, sfdisk
from tests.support.listing import loop_mounted_writable
from tests.support.programs import need, need_root, run

MTIME = 1_600_000_000
_DAY = 86_400
FOLDERS = 100
NAMES = 200
"""Entries in each folder: a fifth are hard links, symlinks and files with content each."""


def fill(root: Path) -> None:
    """Make the tree, 20,000 entries and a few. Needs root."""
    need_root()
    root.mkdir()
    write_files(root, root_files())
    _odd_ones(root)
    for number in range(FOLDERS):
        _crowd(root / f"srv/{number:03}", number)
    # Read later than anything else that is known of them, so that no reading changes that (relatime
    # of mount(8)): mksquashfs takes names for links of one file only if all fields are the same.
    times = (time.time() + _DAY / 2, MTIME)
    for folder, names, files in os.walk(os.fsencode(root), topdown=False):
        for name in [*names, *files, b"."]:
            os.utime(os.path.join(folder, name), times, follow_symlinks=False)


def _crowd(folder: Path, seed: int) -> None:
    folder.mkdir(mode=0o750)
    for number in range(NAMES):
        path = folder / f"entry-{number}"
        if number % 5 == 1:
            os.link(folder / f"entry-{number - 1}", path)
        elif number % 5 == 2:
            path.symlink_to(f"entry-{number - 2}")
        elif number % 20 == 3:
            path.write_bytes(noise(40 + number, seed))
        else:
            path.touch()


def _odd_ones(root: Path) -> None:
    odd = root / "srv/odd"
    odd.mkdir(mode=0o1777)
    for size in (1, 4095, 4096, 4097, 70_000, 1_500_000):
        (odd / str(size)).write_bytes(noise(size // 2, size) + bytes(size - size // 2))
    with (odd / "sparse").open("wb") as file:
        file.truncate(9 * MIB + 5)
        for offset in (0, 3 * MIB, 9 * MIB):
            file.seek(offset)
            file.write(noise(5, offset))
    for name in (b"n" * 254, b"\xff\xfe\x80", b"new\nline", "ñü€😀".encode()):
        with open(os.path.join(os.fsencode(odd), name), "wb") as unnamed:
            unnamed.write(name)
    (odd / "long link").symlink_to("x" * 1000)
    os.mkfifo(odd / "fifo")
    os.mknod(odd / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(odd / "disk", stat.S_IFBLK | 0o660, os.makedev(259, 70_000))
    os.link(odd / "70000", root / "home/linked")
    (odd / "tool").write_bytes(b"x")
    (odd / "tool").chmod(0o4755)
    run("setcap", "cap_net_raw+ep", odd / "tool")
    os.chown(odd / "4096", 70_000, 65_536)
    for number in range(5):
        os.setxattr(odd / "4096", f"user.name{number}", noise(100 * number, number))
    os.setxattr(odd, "user.folder", b"\0\xff")


def _copied(tree: Path, image: Path, filesystem: str) -> None:
    with loop_mounted_writable(image, filesystem) as root:
        if (root / "lost+found").exists():
            (root / "lost+found").rmdir()
        run("cp", "--archive", "--sparse=always", f"{tree}/.", root, timeout=120)


def _ext4(tree: Path, image: Path) -> None:
    blank(image, 64 * MIB)
    run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-N", "24000", image)
    _copied(tree, image, "ext4")


def _xfs(tree: Path, image: Path) -> None:
    run("mkfs.xfs", "-q", "-f", "--unsupported", blank(image, 96 * MIB))
    _copied(tree, image, "xfs")


def _btrfs(tree: Path, image: Path) -> None:
    run("mkfs.btrfs", "-q", "-f", "--mixed", blank(image, 112 * MIB))
    _copied(tree, image, "btrfs")


def _squashfs(tree: Path, image: Path) -> None:
    run("mksquashfs", tree, image, "-comp", "zstd", "-noappend", "-quiet", "-no-progress")


def _erofs(tree: Path, image: Path) -> None:
    run("mkfs.erofs", "-zlz4", "-Eforce-inode-extended", image, tree)


@dataclass(frozen=True, slots=True)
class Maker:
    """How a filesystem is made of a tree, and the programs that it takes."""

    make: Callable[[Path, Path], None]
    needs: tuple[str, ...]


FILESYSTEMS: Mapping[str, Maker] = {
    "btrfs": Maker(_btrfs, ("mkfs.btrfs", "mount")),
    "erofs": Maker(_erofs, ("mkfs.erofs",)),
    "ext4": Maker(_ext4, ("mke2fs", "mount")),
    "squashfs": Maker(_squashfs, ("mksquashfs",)),
    "xfs": Maker(_xfs, ("mkfs.xfs", "mount")),
}

_START = MIB


def _alone(volume: Path, disk: Path) -> None:
    os.link(volume, disk)


def _partitioned(volume: Path, disk: Path, table: str) -> None:
    sectors = -(-volume.stat().st_size // 512)
    size = _START + sectors * 512 + MIB
    script = f"label: {table}\nstart={_START // 512}, size={sectors}\n"
    write_sparse(volume, sfdisk(disk, size, script), _START)


def _in_group(volume: Path, disk: Path) -> None:
    """Put it into a volume group, in two segments with a gap between them."""
    folder = disk.parent
    extents = max(-(-volume.stat().st_size // MIB), 3)
    (physical,) = blank_disks(folder, 1, (extents + 4) * MIB)
    with lvm_on(folder, physical) as lvm:
        (device,) = lvm.devices
        lvm("pvcreate", "-y", device)
        lvm("vgcreate", "--physicalextentsize", "1m", "vg0", device)
        lvm.create("vg0/root", "--extents", "2")
        lvm.create("vg0/gap", "--extents", "1")
        lvm("lvextend", "-An", "--extents", str(extents), "vg0/root")
        (found,) = [item for item in lvm.volumes() if item.label == "vg0/root"]
    assert len(found.segments) == 2
    for segment in found.segments:
        write_sparse(volume, physical, segment.legs[0].offset, segment.start, segment.size)
    physical.rename(disk)


TABLES: Mapping[str, Callable[[Path, Path], None]] = {
    "none": _alone,
    "mbr": lambda volume, disk: _partitioned(volume, disk, "dos"),
    "gpt": lambda volume, disk: _partitioned(volume, disk, "gpt"),
    "lvm": _in_group,
}
"""How a volume is put on a disk."""

DISKS: Mapping[str, str] = {
    "qcow2": "-O qcow2 -c",
    "vdi": "-O vdi",
    "vhd": "-O vpc -o force_size=on",
    "vhdx": "-O vhdx -o block_size=1M",
    "vmdk": "-O vmdk -o subformat=streamOptimized",
}
"""Options of ``qemu-img convert``; a raw disk needs none."""


def as_disk(raw: Path, kind: str) -> Path:
    """Return the disk in another form."""
    need("qemu-img")
    disk = raw.with_suffix(f".{kind}")
    run("qemu-img", "convert", "-f", "raw", *DISKS[kind].split(), raw, disk, timeout=120)
    return disk


def write_sparse(
    volume: Path, disk: Path, offset: int, start: int = 0, length: int | None = None
) -> None:
    """Write bytes of a volume into a disk, zeros left out."""
    left = volume.stat().st_size - start if length is None else length
    with volume.open("rb") as reader, disk.open("r+b") as writer:
        reader.seek(start)
        while left > 0 and (chunk := reader.read(min(1 << 16, left))):
            if chunk.strip(b"\0"):
                writer.seek(offset)
                writer.write(chunk)
            offset += len(chunk)
            left -= len(chunk)
