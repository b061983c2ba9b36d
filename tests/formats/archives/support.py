"""Folders with everything that archives can hold, and what programs unpack of an archive."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from formats.core.errors import ConvertError, UnsupportedError
from formats.core.finding import Finding
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.opener import open_artifact
from formats.core.tree import Tree
from tests.support.listing import Row, tree_listing
from tests.support.programs import need_root

ACL = (
    b"\x02\0\0\0"
    b"\x01\0\x06\0\xff\xff\xff\xff\x02\0\x07\0\xe8\x03\0\0"
    b"\x04\0\x04\0\xff\xff\xff\xff\x10\0\x07\0\xff\xff\xff\xff\x20\0\x04\0\xff\xff\xff\xff"
)
"""``u::rw-,u:1000:rwx,g::r--,m::rwx,o::r--``."""
CAPABILITY = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
"""``cap_net_bind_service=ep``."""
NO_TREE = "is no tree, or of no format that is known"
LONG = b"long-" + b"n" * 240


def everything(top: Path) -> Path:
    """Make a folder with all kinds of files, owners, names and times."""
    need_root()
    (top / "usr/bin").mkdir(parents=True)
    (top / "usr/empty").mkdir(mode=0o1777)
    (top / "usr/bin/tool").write_bytes(b"\x7fELF" + bytes(5000))
    (top / "usr/bin/tool").chmod(0o4755)
    os.link(top / "usr/bin/tool", top / "usr/bin/also")
    os.link(top / "usr/bin/tool", top / "a-link-before")
    (top / "bin").symlink_to("usr/bin")
    (top / "dangling").symlink_to("../../nowhere/at all")
    (top / "empty").touch()
    (top / "text").write_text("text\n" * 3000)
    os.chown(top / "text", 1234, 4321)
    with (top / "sparse").open("wb") as file:
        file.truncate(3 << 20)
        file.seek(1 << 20)
        file.write(b"data" * 3000)
    os.mkfifo(top / "fifo", 0o600)
    os.mknod(top / "null", 0o20666, os.makedev(1, 3))
    os.mknod(top / "disk", 0o60660, os.makedev(259, 70000))
    base = os.fsencode(top)
    for name in (b"latin-\xe4\xdf", b"new\nline \x1b[31m\\", b"-rf", b"..data", LONG):
        Path(os.fsdecode(base + b"/" + name)).write_bytes(name)
    deep = top / "/".join(["deep" * 20] * 8)
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"deep")
    os.utime(top / "text", ns=(0, 1_700_000_000_123_456_789))
    os.utime(top / "empty", ns=(0, -1_000_000_000))
    return top


@contextmanager
def opened_tree(
    path: Path, limits: Limits = DEFAULT_LIMITS
) -> Iterator[tuple[Tree, list[Finding]]]:
    """Open the one tree of an archive, through what it is compressed with.

    :raises UnsupportedError: with :data:`NO_TREE`, if there is none.
    """
    with open_artifact([path], limits=limits) as artifact:
        nodes = list(artifact.walk())
        for node in nodes:
            if node.problem is not None:
                raise node.problem
        trees = [node.tree for node in nodes if node.tree is not None]
        if not trees:
            raise UnsupportedError(NO_TREE)
        (tree,) = trees
        yield tree, artifact.findings


def listing(path: Path, limits: Limits = DEFAULT_LIMITS) -> dict[bytes, Row]:
    with opened_tree(path, limits) as (tree, _):
        return tree_listing(tree)


def files(path: Path) -> dict[bytes, bytes]:
    """Return the content of all files of an archive."""
    with opened_tree(path) as (tree, _):
        return {entry.path: b"".join(tree.read(entry)) for entry in tree.entries() if entry.size}


def problem(path: Path, limits: Limits = DEFAULT_LIMITS) -> ConvertError:
    """Return why an archive cannot be opened, or one of its files not be read."""
    try:
        listing(path, limits)
    except ConvertError as error:
        return error
    raise AssertionError(f"{path} can be read")


def told(path: Path) -> list[str]:
    with opened_tree(path) as (_, findings):
        return [str(finding) for finding in findings]


def in_whole_seconds(rows: dict[bytes, Row]) -> dict[bytes, Row]:
    """Return a listing as formats have it that hold neither parts of seconds nor xattrs."""
    return {
        path: replace(row, mtime_ns=row.mtime_ns // 10**9 * 10**9, xattrs=())
        for path, row in rows.items()
    }
