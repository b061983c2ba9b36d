"""ISO images, by xorriso(1) and genisoimage(1)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tests.images.ext_everything import KIB, fill, noise
from tests.support.listing import Row
from tests.support.memory_tree import varied
from tests.support.programs import need, run

SECTOR = 2048
_SECOND_NS = 10**9
_GENISOIMAGE_TARGET_BYTES = 200


def fill_for_iso(root: Path) -> Path:
    """Make a tree of everything that Rock Ridge has, in a new folder; to be called by root."""
    root.mkdir()
    fill(root, small_inodes=True, names=400, has_content=False)
    _remove_what_xorriso_loses(root)
    folder = root / "content"
    folder.mkdir()
    for size in (0, 1, 2047, 2048, 2049, 70_000, 300 * KIB):
        (folder / f"noise {size}").write_bytes(noise(size, size))
    (folder / "text").write_bytes(varied(500 * KIB))
    (folder / "zeros inside").write_bytes(varied(200 * KIB) + bytes(200 * KIB) + b"end")
    (root / "empty").mkdir()
    _symlinks(root / "symlinks")
    return root


def _remove_what_xorriso_loses(root: Path) -> None:
    """One component that long ends xorriso 1.5.4; it drops these ACLs, and values of no bytes."""
    for path in (root / "links").glob("symlink1???"):
        path.unlink()
    (root / "xattrs" / "value of 0").unlink()
    for name in ("access", "default"):
        os.removexattr(root / "xattrs" / "acl", f"system.posix_acl_{name}")


def without_long_symlinks(root: Path) -> Path:
    """Remove what genisoimage 1.1.11 writes in a way that nobody reads."""
    for folder in ("links", "symlinks"):
        for path in (root / folder).iterdir():
            if path.is_symlink() and len(os.readlink(path)) > _GENISOIMAGE_TARGET_BYTES:
                path.unlink()
    return root


def _symlinks(folder: Path) -> None:
    folder.mkdir()
    for name, target in {
        "root": "/",
        "absolute": "/usr/bin/../lib/x",
        "dots": "./a/../../b/.",
        "parents": "../../..",
        "long": "/".join(["part of a long way"] * 20),
        "longest": "/".join(["x" * 250] * 4),
    }.items():
        (folder / name).symlink_to(target)


def xorriso(tree: Path, image: Path, *commands: str, after: Sequence[str] = ()) -> Path:
    """Write a folder to an image, as a backup: with hard links, ACLs and attributes.

    :param after: commands for when the folder is in.
    """
    need("xorriso")
    if image.exists():
        image.unlink()
    options = ("-hardlinks", "on", "-acl", "on", "-xattr", "any", *commands)
    run("xorriso", "-abort_on", "FAILURE", *options, "-outdev", image, "-map", tree, "/", *after)
    return image


def mkisofs(tree: Path, image: Path, *options: str | Path) -> Path:
    """Write a folder to an image by xorriso's emulation of mkisofs."""
    need("xorriso")
    run("xorriso", "-as", "mkisofs", "-quiet", *options, "-o", image, tree)
    return image


def genisoimage(tree: Path, image: Path, *options: str | Path) -> Path:
    """Write a folder to an image by genisoimage."""
    need("genisoimage")
    run("genisoimage", "-quiet", *options, "-o", image, tree)
    return image


def as_stored(rows: Mapping[bytes, Row]) -> dict[bytes, Row]:
    """Return the kernel's listing of a folder as an ISO can hold it: with whole seconds."""
    return {
        path: replace(row, mtime_ns=row.mtime_ns // _SECOND_NS * _SECOND_NS)
        for path, row in rows.items()
    }


def without(rows: Mapping[bytes, Row], *fields: str) -> dict[bytes, Row]:
    """Return a listing without what a writer does not keep."""
    nothing = {"xattrs": (), "links": (), "uid": 0, "gid": 0, "mode": 0, "mtime_ns": 0}
    change = {name: nothing[name] for name in fields}
    return {path: replace(row, **change) for path, row in rows.items()}  # type: ignore[arg-type]


def patched(image: Path, *patches: tuple[int, bytes]) -> Path:
    """Write bytes into an image."""
    with image.open("r+b") as file:
        for offset, data in patches:
            os.pwrite(file.fileno(), data, offset)
    return image
