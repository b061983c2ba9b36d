"""A copy of this machine in which packages are really installed, to compare with.

The copy is an overlay, of which nothing reaches the machine; services are kept from starting.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from convert.packages.assemble import Assembled, assemble
from formats.core.entry import Kind
from formats.core.opener import open_artifact
from formats.packages.tree import PackageTree
from tests.support.listing import Row, kernel_listing, tree_listing
from tests.support.memory_tree import MemoryTree, memory_tree
from tests.support.programs import need, need_root, refuse, run

_OWN_AFFAIRS = (
    *(b"var/lib/dpkg", b"var/log/dpkg.log", b"var/log/alternatives.log", b"var/cache", b"debs"),
    *(b"var/lib/systemd/deb-systemd-helper", b"usr/sbin/policy-rc.d", b"etc/ld.so.cache", b"dev"),
    *(b"etc/passwd", b"etc/group", b"etc/shadow", b"etc/gshadow", b"etc/subuid", b"etc/subgid"),
    *(
        b"var/lib/ucf",
        b"var/backups",
        b"run",
        b"root",
        b"tmp",
        b"var/lib/rpm",
        b"usr/lib/sysimage",
        b"proc",
        b"sys",
        b"etc/.pwd.lock",
    ),
    b"etc/rc",  # links of init scripts: there is a unit, which is what counts
)
"""What programs note down for themselves, and what is written in our own way."""


@contextmanager
def _machine(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Give a copy of this machine, and what is new in it."""
    need("mount", "chroot")
    need_root()
    upper, work, merged = (tmp_path / name for name in ("upper", "work", "merged"))
    for folder in (upper, work, merged):
        folder.mkdir()
    policy = upper / "usr/sbin/policy-rc.d"
    policy.parent.mkdir(parents=True)
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    layers = f"lowerdir=/,upperdir={upper},workdir={work}"
    done = run("mount", "-t", "overlay", "overlay", "-o", layers, merged, check=False)
    if done.returncode:
        refuse("no overlay can be mounted here")
    try:
        yield merged, upper
    finally:
        run("umount", merged)


def installed(packages: Sequence[Path], tmp_path: Path, *command: str) -> dict[bytes, Row]:
    """Return what a command makes new of packages, which it is given; owners are told by name."""
    with _machine(tmp_path) as (merged, upper):
        folder = merged / "debs"
        folder.mkdir()
        for package in packages:
            (folder / package.name).write_bytes(package.read_bytes())
        names = [f"/debs/{package.name}" for package in packages]
        quiet = ("env", "DEBIAN_FRONTEND=noninteractive")
        run("chroot", merged, *quiet, *command, *names, timeout=120)
        rows = kernel_listing(upper)
        accounts = [(merged / f"etc/{name}").read_text() for name in ("passwd", "group")]
    users, groups = (_numbers(text) for text in accounts)
    return {
        path: replace(row, uid=users.get(row.uid, row.uid), gid=groups.get(row.gid, row.gid))
        for path, row in rows.items()
    }


def _numbers(text: str) -> dict[int, int]:
    """Return a number that depends on the name alone, for each number of an account."""
    rows = (line.split(":") for line in text.splitlines())
    return {int(row[2]): int.from_bytes(row[0].encode()[:7], "big") for row in rows if len(row) > 2}


def assembled_here(
    packages: Sequence[Path], names: Sequence[str]
) -> tuple[Assembled, dict[bytes, Row]]:
    """Return what we make of the same packages on what counts of this machine."""
    with open_artifact(packages) as artifact:
        trees = [node.tree for node in artifact.nodes]
        found = [tree for tree in trees if isinstance(tree, PackageTree)]
        assert len(found) == len(packages)
        assembled = assemble(found, requested=names, base=_base())
        rows = tree_listing(assembled.tree)
    contents = {
        name: b"".join(assembled.tree.read(entry))
        for entry in assembled.tree.entries()
        if (name := entry.path) in {b"etc/passwd", b"etc/group"}
    }
    machine = {b"etc/passwd": Path("/etc/passwd"), b"etc/group": Path("/etc/group")}
    users, groups = (
        _numbers((contents.get(name) or path.read_bytes()).decode())
        for name, path in machine.items()
    )
    return assembled, {
        path: replace(row, uid=users.get(row.uid, row.uid), gid=groups.get(row.gid, row.gid))
        for path, row in rows.items()
    }


def _base() -> MemoryTree:
    """Return the part of this machine that packages look at."""
    lines = ["d 755 0:0 run", "d 1777 0:0 tmp", "d 2775 0:8 var/mail", "d 755 0:0 var/log"]
    for name in ("bin", "lib", "lib64", "sbin"):
        if os.path.islink(f"/{name}"):
            lines += [f"l 777 0:0 {name} {os.readlink(f'/{name}')}"]
    tree = memory_tree("\n".join(lines))
    files = {name: Path(f"/{name}").read_bytes() for name in ("etc/passwd", "etc/group")}
    rows = [f"f 644 0:0 {name} *{len(data)}" for name, data in files.items()]
    tree = memory_tree("\n".join([*lines, *rows]))
    contents = {name.encode(): data for name, data in files.items()}
    return MemoryTree(list(tree.entries()), contents)


def compared(theirs: dict[bytes, Row], ours: dict[bytes, Row]) -> list[str]:
    """Return a line for each disagreement about what is new."""
    lines: list[str] = []
    folders = {path for path, row in theirs.items() if row.kind is Kind.FOLDER}
    for path in sorted(theirs.keys() | ours.keys()):
        if path.startswith(_OWN_AFFAIRS) or not path:
            continue  # the root is the overlay's
        their, our = theirs.get(path), ours.get(path)
        if our is None:
            if path not in folders:
                lines.append(f"{path!r} is missing")
        elif their is None:
            if our.kind is not Kind.FOLDER or not Path(os.fsdecode(b"/" + path)).is_dir():
                lines.append(f"{path!r} is invented")
        elif our.kind is Kind.FOLDER and Path(os.fsdecode(b"/" + path)).exists():
            continue  # the machine's own
        else:
            for field in ("kind", "mode", "uid", "gid", "target", "digest", "links"):
                one, other = getattr(their, field), getattr(our, field)
                if one != other:
                    lines.append(f"{path!r}: {field} is {one!r} for them, {other!r} for us")
    return lines
