"""Copies of ext filesystems that were taken while a kernel had them mounted.

What such a copy misses is in its journal. Everything here is written by the kernel: the image is
filled, unmounted, mounted again for a workload that ends with a commit, and copied before it is
unmounted. The kernel, mounting one more copy, is what replaying is compared with.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.images import workloads
from tests.images.workloads import fsync, write_synced
from tests.support.listing import Row, kernel_listing, loop_mounted_writable
from tests.support.programs import run

Workload = Callable[[Path], Callable[[], None] | None]
"""Changes what is below a mount point; what it returns is called once the copy is taken."""

MAGIC = b"\xc0\x3b\x39\x98"
"""How a journal's own blocks begin."""

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class DirtyCopy:
    """What was taken from a mounted filesystem.

    :ivar image: the copy.
    :ivar filesystem: its type, for mount(8).
    :ivar live: what the kernel showed when the copy was taken.
    """

    image: Path
    filesystem: str
    live: dict[bytes, Row] = field(repr=False)


def dirty_copy(
    folder: Path,
    workload: Workload,
    *,
    mke2fs: Sequence[str] = (),
    filesystem: str = "ext4",
    options: str = "",
    mib: int = 32,
    content: Callable[[Path], None] | None = None,
) -> DirtyCopy:
    """Return a copy of a filesystem that was taken right after ``workload``.

    :param mke2fs: options that make the filesystem what it is.
    :param options: of the mount during the workload.
    :param content: what the filesystem is filled with before; default: :func:`fill`.
    """
    base = folder / "base.img"
    with base.open("wb") as file:
        file.truncate(mib * _MIB)
    run("mke2fs", "-q", "-F", "-t", filesystem, *mke2fs, base)
    with loop_mounted_writable(base, filesystem) as root:
        (content or fill)(root)
    copy = folder / "dirty.img"
    flags = ",".join(["commit=300", *([options] if options else [])])
    with loop_mounted_writable(base, filesystem, options=flags) as root:
        finish = workload(root)
        run("cp", "--sparse=always", base, copy)
        live = kernel_listing(root)
        if finish is not None:
            finish()
    base.unlink()
    return DirtyCopy(copy, filesystem, live)


def attempts(folder: Path) -> Iterator[Path]:
    """Yield a few new folders.

    It is up to the kernel's flusher, and to whoever calls sync(2), when blocks are written to where
    they belong and the log is empty: a copy that proves nothing is taken again.
    """
    for number in range(10):
        attempt = folder / f"attempt{number}"
        attempt.mkdir()
        yield attempt


def fill(root: Path) -> None:
    """Put the same things into every filesystem, for workloads to change."""
    draw = random.Random(8)
    (root / "base").mkdir()
    for number in range(40):
        (root / "base" / f"{number:02}").write_bytes(draw.randbytes(300 * number))
    (root / "base" / "large").write_bytes(draw.randbytes(200_000))
    (root / "base" / "link").symlink_to("00")
    (root / "gone" / "deep").mkdir(parents=True)


def commit(root: Path) -> None:
    """Make everything durable through the journal.

    Not with sync(2): that also writes metadata to where it belongs, and the copy lacks nothing.
    """
    for folder, _, files in os.walk(root):
        for name in files:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                fsync(Path(path))
    fsync(root)


def change_everything(root: Path) -> None:
    """Create, rename, delete, truncate, append, link and mark, in a few transactions."""
    base = root / "base"
    (base / "01").rename(root / "renamed")
    (base / "02").unlink()
    os.truncate(base / "large", 70_001)
    commit(root)
    with (base / "03").open("ab") as file:
        file.write(b"appended" * 1000)
    os.link(base / "04", root / "hard")
    (root / "short").symlink_to("base/05")
    (root / "long").symlink_to("/".join(["folder"] * 40))
    os.mkfifo(root / "fifo", 0o600)
    commit(root)
    (root / "gone" / "deep").rmdir()
    (root / "new" / "deeper").mkdir(parents=True)
    for number in range(120):
        (root / "new" / f"{'n' * 60}{number:03}").write_bytes(b"%d" % number)
    os.setxattr(base / "06", "user.note", b"set" * 50)
    os.setxattr(base / "07", "user.large", b"v" * 700)
    (base / "08").chmod(0o4755)
    os.chown(base / "09", 70_000, 80_000)
    os.utime(base / "10", ns=(0, 2**33 * 10**9 + 123_456_789))
    # Blocks that begin like the journal's own have to be escaped where data is journalled.
    (root / "escaped").write_bytes((MAGIC + b"x" * 1020) * 40)
    commit(root)


def free_folders_and_reuse_their_blocks(root: Path) -> None:
    """See :func:`tests.images.workloads.free_folders_and_reuse_their_blocks`."""
    workloads.free_folders_and_reuse_their_blocks(root, 60, commit)


def commit_often(root: Path) -> None:
    """Commit so much that a small journal wraps round, more than once."""
    for number in range(280):
        write_synced(root / f"{'c' * 40}{number}", b"%d" % number * 50)
        if number % 3 == 0:
            (root / f"{'c' * 40}{number}").rename(root / f"renamed{number}")
    commit(root)


def delete_while_open(root: Path) -> Callable[[], None]:
    """Leave files that are in no folder any more but still open: orphans."""
    descriptors = []
    for number in range(11, 20):
        path = root / "base" / f"{number}"
        descriptors.append(os.open(path, os.O_RDWR))
        path.unlink()
    commit(root)

    def close() -> None:
        for descriptor in descriptors:
            os.close(descriptor)

    return close
