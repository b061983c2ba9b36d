"""Packages of the corpus, and what rpm itself makes of packages."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from formats.packages.tree import PackageTree
from tests.support.listing import Row, kernel_listing
from tests.support.programs import CORPUS, need, need_root, run

NOT_READ = frozenset(
    {"libarchive__test_read_format_huge_rpm.rpm", "rpm__hello-2.0-1.x86_64-corrupted.rpm"}
)
"""Packages of the corpus that rpm does not read, and the reader refuses."""
CORPUS_RPMS = (
    sorted(path.name for path in (CORPUS / "rpm").glob("*.rpm") if path.name not in NOT_READ)
    if CORPUS.is_dir()
    else ["absent.rpm"]
)


def unpacked(package: Path, folder: Path) -> dict[bytes, Row]:
    """Return what GNU tar makes of what rpm2archive makes of a package."""
    need("rpm2archive", "tar")
    need_root()
    folder.mkdir()
    run(
        "sh",
        "-ec",
        'rpm2archive -n - < "$0" | tar --numeric-owner --delay-directory-restore -xpC "$1"',
        package,
        folder,
    )
    return kernel_listing(folder)


def comparable(
    rows: dict[bytes, Row], package: PackageTree, *, but: Sequence[bytes] = ()
) -> dict[bytes, Row]:
    """Return rows without what rpm2archive does not give: folders that the package does not own,
    and xattrs."""
    made = {entry.path for entry in package.entries() if entry.node < 0}
    return {
        path: replace(row, xattrs=())
        for path, row in rows.items()
        if path not in made and path not in but
    }


def query(package: Path, form: str) -> str:
    """Return what ``rpm -qp`` prints for a query format."""
    need("rpm")
    done = run("rpm", "-qp", "--nosignature", "--qf", form, package, check=False)
    return done.stdout.decode("utf-8", "backslashreplace")


def installed(root: Path, packages: Sequence[Path]) -> Path:
    """Let rpm note packages as installed below ``root``; return its database."""
    need("rpm")
    need_root()
    root.mkdir()
    for package in packages:
        run(
            "rpm",
            "-i",
            "--root",
            root,
            "--dbpath",
            "/var/lib/rpm",
            *("--justdb", "--nodeps", "--noscripts", "--notriggers", "--nosignature"),
            *("--ignorearch", "--ignoreos", "--force-debian"),
            os.path.abspath(package),
        )
    return root / "var/lib/rpm/rpmdb.sqlite"
