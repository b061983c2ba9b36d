"""What is done to mounted filesystems, whatever kind they are, so that there is a log to replay."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

from formats.core.limits import KIB
from tests.support.programs import run

_FICLONERANGE = 0x4020940D


def fsync(path: Path) -> None:
    """Make a file or folder durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and wait until it is durable."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def clone_range(source: Path, target: Path, start: int, length: int, at: int) -> None:
    """Let a part of one file be shared with another, which is made if need be."""
    target.touch()
    with source.open("rb") as origin, target.open("r+b") as copy:
        where = struct.pack("qQQQ", origin.fileno(), start, length, at)
        fcntl.ioctl(copy.fileno(), _FICLONERANGE, where)


def share(folder: Path, content: bytes) -> None:
    """Add a file of half a megabyte, and some that share its blocks: all of them, most, and few."""
    (folder / "origin").write_bytes(content)
    run("cp", "--reflink=always", folder / "origin", folder / "copy")
    run("cp", "--reflink=always", folder / "origin", folder / "changed")
    with (folder / "changed").open("r+b") as file:
        os.pwrite(file.fileno(), b"changed", 200_000)
    clone_range(folder / "origin", folder / "part", 128 * KIB, 64 * KIB, 512 * KIB)


def free_folders_and_reuse_their_blocks(
    root: Path, names: int, commit: Callable[[Path], None]
) -> None:
    """Make blocks metadata in one transaction, and data of a file in a later one."""
    for folder in range(12):
        (root / f"many{folder}").mkdir()
        for number in range(names):
            (root / f"many{folder}" / f"{'m' * 100}{number}").touch()
    commit(root)
    for folder in range(12):
        shutil.rmtree(root / f"many{folder}")
    commit(root)
    # Only a full filesystem is sure to use the very blocks that became free.
    with (root / "full").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"DATA" * 4096)
        except OSError:
            pass
    commit(root)
