"""Copies of Btrfs filesystems that were taken while a kernel had them mounted.

What was synced since the last commit is in their log trees only. The kernel, mounting one more copy
and replaying, is what our own replay is compared with.
"""

from __future__ import annotations

import ctypes
import os
import random
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from formats.core.entry import Kind
from tests.images.btrfs_everything import (
    copy,
    kernel_listings,
    mkfs,
    mounted,
    text,
)
from tests.images.ext_everything import noise
from tests.images.workloads import clone_range, fsync
from tests.support.listing import Row, loop_mounted_writable
from tests.support.programs import run

_LOG_ROOT_OFFSET = 0x10000 + 0x60
_EXCHANGE = 2
_AT_FDCWD = -100

Workload = Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class DirtyCopy:
    """What was taken from a mounted filesystem.

    :ivar taken_ns: when.
    :ivar others: the images of its other devices.
    """

    image: Path
    taken_ns: int
    others: tuple[Path, ...] = ()

    @property
    def has_log(self) -> bool:
        """Whether there is anything to replay."""
        with self.image.open("rb") as file:
            data = os.pread(file.fileno(), 8, _LOG_ROOT_OFFSET)
        return bool(struct.unpack("<Q", data)[0])


def dirty_copy(
    folder: Path, before: Workload, workload: Workload, *, mkfs_options: str = "", options: str = ""
) -> DirtyCopy:
    """Return a copy of a filesystem that was taken right after ``workload``.

    :param before: fills it; is committed.
    """
    base = mkfs(folder / "base", f"-m single {mkfs_options}")
    with loop_mounted_writable(base, "btrfs") as root:
        before(root)
    flags = ",".join(["commit=300", *([options] if options else [])])
    with loop_mounted_writable(base, "btrfs", options=flags) as root:
        workload(root)
        image = copy(base, folder / "copy")
        taken_ns = time.time_ns()
    base.unlink()
    return DirtyCopy(image, taken_ns)


def replayed_by_kernel(
    dirty: DirtyCopy, ours: dict[bytes, dict[bytes, Row]]
) -> dict[bytes, dict[bytes, Row]]:
    """Return what the kernel shows of each subvolume once it has replayed the log itself.

    :param ours: what we show. A folder from which the kernel removes a name while it replays gets
        the time of doing that, and ours has the one that it had.
    """
    images = [copy(image, image.with_suffix(".kernel")) for image in (dirty.image, *dirty.others)]
    with mounted(*images) as root:  # only with norecovery would it not replay
        kernel = kernel_listings(root, list(ours))
    for image in images:
        image.unlink()
    for path, rows in kernel.items():
        for name, row in rows.items():
            if row.kind is Kind.FOLDER and row.mtime_ns >= dirty.taken_ns and name in ours[path]:
                rows[name] = replace(row, mtime_ns=ours[path][name].mtime_ns)
    return kernel


def exchange(first: Path, second: Path) -> None:
    """Let two paths change places at once."""
    libc = ctypes.CDLL(None, use_errno=True)
    names = (os.fsencode(first), os.fsencode(second))
    if libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE):
        raise OSError(ctypes.get_errno(), "renameat2")


class Chance:
    """Changes that are drawn by chance, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self._count = 0

    def change(self, root: Path, times: int) -> None:
        """Change what is below a mount point; what fails is no change."""
        actions = (
            self._write, self._write, self._append, self._overwrite, self._truncate, self._punch,
            self._rename, self._rename, self._replace, self._exchange, self._reuse, self._move,
            self._link, self._unlink, self._make, self._remove, self._symlink, self._mark,
            self._unmark, self._sync, self._sync, self._sync, self._sync_folder, self._sync_folder,
            self._share, self._reserve,
        )  # fmt: skip
        for _ in range(times):
            with suppress(OSError, IndexError):
                self._draw.choice(actions)(root)

    def _file(self, root: Path) -> Path:
        paths = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
        return self._draw.choice(paths)

    def _folder(self, root: Path) -> Path:
        paths = sorted(path for path in root.rglob("*") if path.is_dir() and not path.is_symlink())
        return self._draw.choice([root, *paths])

    def _new(self, root: Path) -> Path:
        self._count += 1
        return self._folder(root) / f"{self._count}{'n' * self._draw.choice((0, 3, 60))}"

    def _size(self, *sizes: int) -> int:
        return self._draw.choice(sizes)

    def _write(self, root: Path) -> None:
        content = self._draw.choice((noise, text))
        self._new(root).write_bytes(content(self._size(0, 10, 3000, 10_000, 150_000), self._count))

    def _append(self, root: Path) -> None:
        with self._file(root).open("ab") as file:
            file.write(text(self._size(5, 5000, 70_000), self._count))

    def _overwrite(self, root: Path) -> None:
        with self._file(root).open("r+b") as file:
            at = self._size(0, 100, 4096, 8192, 50_000)
            os.pwrite(file.fileno(), noise(self._size(10, 4096, 9000), at), at)

    def _truncate(self, root: Path) -> None:
        os.truncate(self._file(root), self._size(0, 1, 4096, 5000, 100_000))

    def _punch(self, root: Path) -> None:
        where = ["-o", str(self._size(0, 4096, 5000)), "-l", str(self._size(100, 8192, 60_000))]
        run("fallocate", "--punch-hole", *where, self._file(root), check=False)

    def _rename(self, root: Path) -> None:
        self._file(root).rename(self._new(root))

    def _replace(self, root: Path) -> None:
        self._file(root).rename(self._file(root))

    def _exchange(self, root: Path) -> None:
        exchange(self._file(root), self._folder(root))

    def _reuse(self, root: Path) -> None:
        path = self._file(root)
        path.rename(self._new(root))
        path.write_bytes(b"another")
        if self._draw.random() < 0.5:
            fsync(path)

    def _move(self, root: Path) -> None:
        self._folder(root).rename(self._new(root))

    def _link(self, root: Path) -> None:
        os.link(self._file(root), self._new(root))

    def _share(self, root: Path) -> None:
        source, target = self._file(root), self._file(root)
        sectors = source.stat().st_size // 4096
        start = min(self._size(0, 4096, 40_960), sectors * 4096)
        length = min(self._size(4096, 16_384, 65_536), sectors * 4096 - start)
        clone_range(source, target, start, length, self._size(0, 4096, 65_536))
        fsync(target)

    def _reserve(self, root: Path) -> None:
        option = self._draw.choice(("--keep-size", "--posix", "--zero-range"))
        where = ["-o", str(self._size(0, 4096, 5000)), "-l", str(self._size(100, 8192, 60_000))]
        run("fallocate", option, *where, self._file(root), check=False)

    def _unlink(self, root: Path) -> None:
        self._file(root).unlink()

    def _make(self, root: Path) -> None:
        self._new(root).mkdir()

    def _remove(self, root: Path) -> None:
        self._folder(root).rmdir()

    def _symlink(self, root: Path) -> None:
        self._new(root).symlink_to("t" * self._size(1, 100))

    def _mark(self, root: Path) -> None:
        path = self._draw.choice((self._file, self._folder))(root)
        os.setxattr(path, f"user.{self._size(0, 1, 2)}", b"v" * self._size(0, 10, 200))
        path.chmod(self._size(0o600, 0o755, 0o4711))

    def _unmark(self, root: Path) -> None:
        path = self._draw.choice((self._file, self._folder))(root)
        os.removexattr(path, os.listxattr(path)[0])

    def _sync(self, root: Path) -> None:
        fsync(self._file(root))

    def _sync_folder(self, root: Path) -> None:
        fsync(self._folder(root))


def workload_of(seed: int, times: Sequence[int]) -> tuple[Workload, Workload]:
    """Return changes before the last commit and after it."""
    chance = Chance(seed)

    def before(root: Path) -> None:
        chance.change(root, times[0])

    def after(root: Path) -> None:
        chance.change(root, times[1])

    return before, after
