"""XFS filesystems that were not unmounted: what is on them is in their logs only.

Everything here is written by the kernel: the image is filled, unmounted, mounted again for a
workload, and then shut down as by a crash (``shutdown -f`` of xfs_io(8) writes the log first, and
nothing else). The kernel, mounting one more copy, is what replaying is compared with; where the
records of a log are, xfs_logprint(8) tells.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import google_crc32c

from formats.filesystems.xfs.checksums import set_checksum
from formats.filesystems.xfs.superblock import CHECKSUM_OFFSET
from tests.images import workloads
from tests.images.workloads import write_synced
from tests.images.xfs_everything import mkfs, text
from tests.support.listing import Row, kernel_listing, loop_mounted_writable
from tests.support.programs import run

Workload = Callable[[Path], None]
"""Changes what is below a mount point."""

SECTOR = 512
"""What the log counts in."""

_CHECKSUM = slice(32, 36)
_HEADER_BYTES = 328
_LOG_INCOMPAT = slice(220, 224)


@dataclass(frozen=True, slots=True)
class DirtyCopy:
    """A filesystem whose log is to be replayed.

    :ivar live: what the kernel showed at the end, all of it in the log.
    """

    image: Path
    live: dict[bytes, Row] = field(repr=False)


def dirty_copy(
    folder: Path,
    workload: Workload,
    *,
    options: str = "",
    mount: str = "",
    size: str = "64M",
    content: Workload | None = None,
) -> DirtyCopy:
    """Return a filesystem that was shut down right after ``workload``, with the log written.

    :param options: of mkfs.xfs(8).
    :param mount: options of the mount during the workload.
    :param content: what the filesystem is filled with before; default: :func:`fill`.
    """
    image = mkfs(folder / "dirty.img", options, size)
    with loop_mounted_writable(image, "xfs") as root:
        (content or fill)(root)
    # Looking at what is live must not change it.
    flags = ",".join(["noatime", *([mount] if mount else [])])
    with loop_mounted_writable(image, "xfs", options=flags) as root:
        workload(root)
        live = kernel_listing(root)
        run("xfs_io", "-x", "-c", "shutdown -f", root)
    return DirtyCopy(image, live)


def fill(root: Path) -> None:
    """Put the same things into every filesystem, for workloads to change."""
    (root / "base").mkdir()
    for number in range(40):
        (root / "base" / f"{number:02}").write_bytes(text(300 * number, number))
    (root / "base" / "large").write_bytes(text(200_000, 40))
    (root / "base" / "link").symlink_to("00")
    (root / "gone" / "deep").mkdir(parents=True)
    (root / "shrinks").mkdir()
    for number in range(900):
        (root / "shrinks" / f"{'s' * 30}{number}").touch()


def log_write(root: Path) -> None:
    """Make everything durable through the log."""
    run("sync", "--file-system", root)


def change_everything(root: Path) -> None:
    """Create, rename, delete, truncate, append, link and mark, in a few transactions."""
    base = root / "base"
    (base / "01").rename(root / "renamed")
    (base / "02").unlink()
    os.truncate(base / "large", 70_001)
    log_write(root)
    with (base / "03").open("ab") as file:
        file.write(b"appended" * 1000)
    os.link(base / "04", root / "hard")
    (root / "short").symlink_to("base/05")
    (root / "long").symlink_to("/".join(["folder"] * 140))
    os.mkfifo(root / "fifo", 0o600)
    os.mknod(root / "device", 0o20640, os.makedev(259, 70_000))
    log_write(root)
    (root / "gone" / "deep").rmdir()
    (root / "new" / "deeper").mkdir(parents=True)
    for number in range(700):
        (root / "new" / f"{'n' * 60}{number:03}").write_bytes(b"%d" % number)
    for number in range(0, 900, 2):
        (root / "shrinks" / f"{'s' * 30}{number}").unlink()
    _set_attributes(base)
    _fragment(root / "fragments")
    (base / "08").chmod(0o4755)
    os.chown(base / "09", 70_000, 80_000)
    os.utime(base / "10", ns=(0, 2**31 * 10**9 - 1))
    os.utime(base / "11", ns=(0, -(10**9) * 60 * 60 * 24 * 365 + 5))
    log_write(root)


def _set_attributes(base: Path) -> None:
    """All forms: in the inode, a leaf, a tree, and values in blocks of their own."""
    os.setxattr(base / "06", "user.note", b"set" * 5)
    os.setxattr(base / "07", "user.large", b"v" * 700)
    os.setxattr(base / "12", "user.remote", bytes(range(256)) * 200)
    for number in range(90):
        os.setxattr(base / "13", f"user.{number:03}", b"%d" % number * 300)
    os.setxattr(base / "14", "user.gone", b"gone")
    os.removexattr(base / "14", "user.gone")


def _fragment(path: Path) -> None:
    """Write a file with so many extents that they need a tree."""
    with path.open("wb") as file:
        for number in range(150):
            file.seek(number * 16384)
            file.write(b"%d" % number)


def free_folders_and_reuse_their_blocks(root: Path) -> None:
    """See :func:`tests.images.workloads.free_folders_and_reuse_their_blocks`."""
    workloads.free_folders_and_reuse_their_blocks(root, 120, log_write)


def commit_often(root: Path) -> None:
    """Write a hundred records: a log with a large stripe unit wraps round, for each is padded."""
    for number in range(100):
        write_synced(root / f"{'c' * 40}{number}", b"%d" % number * 50)
        if number % 3 == 0:
            (root / f"{'c' * 40}{number}").rename(root / f"renamed{number}")
        elif number % 3 == 1:
            (root / f"{'c' * 40}{number}").unlink()


def fragment_in_turns(root: Path) -> None:
    """Write two files a block each in turns, so that their extents need trees."""
    with (
        (root / "a").open("wb", buffering=0) as first,
        (root / "b").open("wb", buffering=0) as last,
    ):
        for number in range(400):
            for file in (first, last):
                file.seek(number * 2048)
                file.write(Path(file.name).name.encode() * 800 + b"%d" % number)
            if number % 10 == 0:
                os.fsync(first.fileno())


def exchange(root: Path) -> None:
    """Exchange what two files have, as xfs_fsr(8) does when it defragments one."""
    run("xfs_io", "-c", f"swapext {root / 'b'}", root / "a")


def small_transactions(root: Path) -> None:
    """Write a dozen records, each with a change of its own."""
    for number in range(12):
        write_synced(root / f"step{number:02}", b"%d" % number)


@dataclass(frozen=True, slots=True)
class PrintedRecord:
    """A record of a log, as xfs_logprint(8) shows it.

    :ivar offset: of its header in the image.
    :ivar length: of its body; its header is one sector more.
    """

    cycle: int
    offset: int
    length: int


_WHERE = re.compile(rb"daddr: (\d+) length: (\d+)")
_RECORD = re.compile(rb"^ *(\d+) HEADER Cycle (\d+) tail [\d:]+ len +(\d+)", re.MULTILINE)


def log_range(image: Path) -> range:
    """Return the bytes of an image that are its log."""
    found = _WHERE.search(run("xfs_logprint", "-d", image).stdout)
    assert found is not None
    start, length = int(found[1]) * SECTOR, int(found[2]) * SECTOR
    return range(start, start + length)


def printed_records(image: Path) -> list[PrintedRecord]:
    """Return the records that are in a log, from the oldest to the newest."""
    start = log_range(image).start
    found = [
        PrintedRecord(int(cycle), start + int(block) * SECTOR, int(length))
        for block, cycle, length in _RECORD.findall(run("xfs_logprint", "-d", image).stdout)
        if int(length)
    ]
    return sorted(found, key=lambda record: (record.cycle, record.offset))


def flip(image: Path, offset: int) -> None:
    """Change a bit of an image."""
    with image.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 0x40]))


def seal_record(image: Path, record: PrintedRecord) -> None:
    """Put the checksum of a record right that was changed."""
    with image.open("r+b") as file:
        file.seek(record.offset)
        raw = bytearray(file.read(SECTOR + record.length))
        raw[_CHECKSUM] = bytes(4)
        checksum: int = google_crc32c.value(bytes(raw[:_HEADER_BYTES] + raw[SECTOR:]))
        file.seek(record.offset + _CHECKSUM.start)
        file.write(checksum.to_bytes(4, "little"))


def set_log_incompat(image: Path, bits: int) -> None:
    """Let the superblock say that the log has features."""
    with image.open("r+b") as file:
        block = bytearray(file.read(SECTOR))
        block[_LOG_INCOMPAT] = bits.to_bytes(4, "big")
        set_checksum(block, CHECKSUM_OFFSET)
        file.seek(0)
        file.write(block)
