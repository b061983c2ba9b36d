"""A field-by-field listing of a tree, from the kernel's view of it and from ours."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from formats.core.entry import MODE_KINDS, Entry, Kind
from formats.core.tree import OpenableTree, Tree
from tests.support.programs import need_root, run

_COMPARED_BYTES = 2 << 20
"""How much of a file is read a second time, at any place."""


@dataclass(frozen=True, slots=True)
class Row:
    """What is compared of one path. ``links`` is the sorted group of names of one inode."""

    kind: Kind
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    target: bytes | None
    device: tuple[int, int] | None
    xattrs: tuple[tuple[bytes, bytes], ...]
    digest: str | None
    links: tuple[bytes, ...]


@contextmanager
def loop_mounted(
    image: Path, filesystem: str, *, offset: int = 0, size: int | None = None, options: str = ""
) -> Iterator[Path]:
    """Mount an image read-only through the kernel; ``options`` are added to ``-o``."""
    need_root()
    loop = ["loop", f"offset={offset}"] + ([f"sizelimit={size}"] if size is not None else [])
    flags = ",".join(["ro", *loop, *([options] if options else [])])
    with TemporaryDirectory(prefix="convert-mount-") as folder:
        run("mount", "-t", filesystem, "-o", flags, image, folder)
        try:
            yield Path(folder)
        finally:
            run("umount", folder)


@contextmanager
def loop_mounted_writable(image: Path, filesystem: str, *, options: str = "") -> Iterator[Path]:
    """Mount an image for writing, to fill it with what mkfs cannot make."""
    need_root()
    flags = ",".join(["loop", *([options] if options else [])])
    with TemporaryDirectory(prefix="convert-mount-") as folder:
        run("mount", "-t", filesystem, "-o", flags, image, folder)
        try:
            yield Path(folder)
        finally:
            run("umount", folder)


def kernel_listing(root: Path) -> dict[bytes, Row]:
    """Return what the kernel says of everything below ``root``; the root itself is ``b""``."""
    base = os.fsencode(root)
    found: dict[bytes, os.stat_result] = {b"": os.lstat(base)}
    for folder, names, files in os.walk(base):
        for name in [*names, *files]:
            path = os.path.join(folder, name)
            found[path[len(base) + 1 :]] = os.lstat(path)
    groups: dict[tuple[int, int], list[bytes]] = {}
    for path, status in found.items():
        if not stat.S_ISDIR(status.st_mode):
            groups.setdefault((status.st_dev, status.st_ino), []).append(path)
    members = {inode: tuple(sorted(paths)) for inode, paths in groups.items() if len(paths) > 1}
    return {path: _kernel_row(base, path, status, members) for path, status in found.items()}


def _kernel_row(
    base: bytes,
    path: bytes,
    status: os.stat_result,
    members: dict[tuple[int, int], tuple[bytes, ...]],
) -> Row:
    full = os.path.join(base, path) if path else base
    kind = MODE_KINDS[stat.S_IFMT(status.st_mode)]
    is_device = kind in {Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE}
    names = _xattr_names(full)
    return Row(
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime_ns=status.st_mtime_ns,
        size=status.st_size if kind is Kind.FILE else 0,
        target=os.readlink(full) if kind is Kind.SYMLINK else None,
        device=(os.major(status.st_rdev), os.minor(status.st_rdev)) if is_device else None,
        xattrs=tuple((name, os.getxattr(full, name, follow_symlinks=False)) for name in names),
        digest=_file_digest(full) if kind is Kind.FILE else None,
        links=members.get((status.st_dev, status.st_ino), ()),
    )


def _xattr_names(path: bytes) -> list[bytes]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.ENOTSUP:  # a filesystem that has none at all
            raise
        return []
    return sorted(os.fsencode(name) for name in names)


def _file_digest(path: bytes) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_listing(tree: Tree) -> dict[bytes, Row]:
    """Return the same listing from a tree of ours, checking the promises of :class:`Tree`."""
    rows: dict[bytes, Row] = {}
    groups: dict[bytes, list[bytes]] = {}
    entries = list(tree.entries())
    assert entries[0].path == b"", "the root folder comes first"
    by_path = {entry.path: entry for entry in entries}
    assert len(by_path) == len(entries), "every path is there once"
    seen: set[bytes] = set()
    for entry in entries:
        assert not entry.path or entry.parent in seen, f"{entry.path!r} comes before its folder"
        seen.add(entry.path)
        if entry.kind is Kind.HARDLINK:
            assert entry.target in seen, f"{entry.path!r} comes before its target"
            groups.setdefault(entry.target, [entry.target]).append(entry.path)
    members = {path: tuple(sorted(group)) for group in groups.values() for path in group}
    for entry in entries:
        real = by_path[entry.target or b""] if entry.kind is Kind.HARDLINK else entry
        digest = None
        size = 0
        if real.kind is Kind.FILE:
            hasher = hashlib.sha256()
            start = bytearray()
            for chunk in tree.read(entry):
                size += len(chunk)
                hasher.update(chunk)
                if len(start) < _COMPARED_BYTES:
                    start += chunk
            digest = hasher.hexdigest()
            assert size == entry.size, f"{entry.path!r} gave {size} bytes of {entry.size}"
            if isinstance(tree, OpenableTree):
                assert_opens_alike(tree, entry, bytes(start))
        rows[entry.path] = Row(
            kind=real.kind,
            mode=entry.mode,
            uid=entry.uid,
            gid=entry.gid,
            mtime_ns=entry.mtime_ns,
            size=size,
            target=real.target if real.kind is Kind.SYMLINK else None,
            device=entry.device,
            xattrs=entry.xattrs,
            digest=digest,
            links=members.get(entry.path, ()),
        )
    return rows


def assert_opens_alike(tree: OpenableTree, entry: Entry, start: bytes) -> None:
    """Assert that a file is the same when it is opened, as far as ``start`` goes."""
    source = tree.open(entry)
    assert source.size == entry.size
    extents = list(source.extents())
    assert sum(extent.length for extent in extents) == entry.size
    source.will_need([(0, entry.size), (entry.size // 2, 1)])
    ranges = ((len(start) // 3, len(start) // 2), (max(len(start) - 3, 0), 3), (0, 5))
    for offset, length in ranges:
        wanted = start[offset : offset + length]
        assert bytes(source.read_at(offset, len(wanted))) == wanted, f"{entry.path!r} at {offset}"
    for extent in extents:
        if extent.is_hole:
            wanted = start[extent.offset : extent.offset + extent.length]
            assert not wanted.strip(b"\0"), f"{entry.path!r} has data in a hole"
    assert not source.read_at(entry.size, 1)


def difference(kernel: dict[bytes, Row], ours: dict[bytes, Row]) -> list[str]:
    """Return a line for each disagreement; an empty list is the proof."""
    lines = [f"missing: {path!r}" for path in sorted(kernel.keys() - ours.keys())]
    lines += [f"invented: {path!r}" for path in sorted(ours.keys() - kernel.keys())]
    for path in sorted(kernel.keys() & ours.keys()):
        for field in Row.__slots__:
            theirs, mine = getattr(kernel[path], field), getattr(ours[path], field)
            if theirs != mine:
                lines.append(f"{path!r}: {field} is {theirs!r} for the kernel, {mine!r} for us")
    return lines
