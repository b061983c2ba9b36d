"""Filesystems that mkfs.xfs(8) fills itself, for block sizes that not every kernel mounts."""

from __future__ import annotations

import os
from pathlib import Path

from formats.core.entry import Kind
from tests.images.xfs_everything import mkfs, text
from tests.support.listing import Row, kernel_listing

_MARKS = {
    Kind.FILE: "-",
    Kind.FOLDER: "d",
    Kind.SYMLINK: "l",
    Kind.CHARACTER_DEVICE: "c",
    Kind.BLOCK_DEVICE: "b",
    Kind.FIFO: "p",
}


def copied(folder: Path, options: str, size: str = "256M") -> tuple[Path, dict[bytes, Row]]:
    """Make a tree and a filesystem with a copy of it; return the image and the tree's listing."""
    tree = folder / "tree"
    _fill(tree)
    rows = kernel_listing(tree)
    lines = ["/", "0 0"]
    _describe(tree, b"", rows, lines)
    proto = folder / "proto"
    proto.write_text("\n".join(lines) + "\n")
    return mkfs(folder / "image", f"{options} -p {proto}", size), rows


def _fill(root: Path) -> None:
    for count in (0, 2, 40, 700, 3000):
        folder = root / f"folder{count}"
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{number}{'n' * (number % 60)}").symlink_to(str(number))
    for size in (0, 1, 511, 512, 513, 70_000, 1_000_000):
        (root / f"file{size}").write_bytes(text(size, size))
    # Longer ones are not in their inodes, and mkfs.xfs 6.1 forgets the headers of their blocks.
    for length in (1, 100, 155):
        (root / f"symlink{length}").symlink_to("y" * length)
    os.mkfifo(root / "fifo")
    (root / "file1").chmod(0o4755)
    (root / "folder2").chmod(0o2770)


def _describe(tree: Path, path: bytes, rows: dict[bytes, Row], lines: list[str]) -> None:
    """Add the description of a path, and of all below it, in mkfs.xfs(8)'s language."""
    row = rows[path]
    name = os.fsdecode(path.rpartition(b"/")[2])
    bits = ("u" if row.mode & 0o4000 else "-") + ("g" if row.mode & 0o2000 else "-")
    words = [name, f"{_MARKS[row.kind]}{bits}{row.mode & 0o777:03o}", str(row.uid), str(row.gid)]
    if row.kind is Kind.FILE:
        words.append(os.fspath(tree / os.fsdecode(path)))
    if row.target is not None:
        words.append(os.fsdecode(row.target))
    lines.append(" ".join(words).strip())
    if row.kind is Kind.FOLDER:
        start = path + b"/" if path else b""
        for below in sorted(rows):
            if below != path and below.startswith(start) and b"/" not in below[len(start) :]:
                _describe(tree, below, rows, lines)
        lines.append("$")
