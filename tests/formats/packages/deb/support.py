"""Packages opened by the deb reader, and unpacked by dpkg-deb."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from formats.core.finding import Finding
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.packages.tree import PackageTree
from tests.formats.archives.support import opened_tree
from tests.support.listing import Row, kernel_listing
from tests.support.programs import need, need_root, run


@contextmanager
def opened_package(
    path: Path, limits: Limits = DEFAULT_LIMITS
) -> Iterator[tuple[PackageTree, list[Finding]]]:
    """Open a package; raise what is wrong with it."""
    with opened_tree(path, limits) as (tree, findings):
        assert isinstance(tree, PackageTree)
        yield tree, findings


def unpacked(package: Path, folder: Path) -> dict[bytes, Row]:
    """Return what GNU tar makes of the payload that dpkg-deb gives; owners are numbers."""
    need("dpkg-deb", "tar")
    need_root()
    folder.mkdir()
    run(
        "sh",
        "-ec",
        'dpkg-deb --fsys-tarfile "$0" | tar --numeric-owner --delay-directory-restore -xpC "$1"',
        package,
        folder,
    )
    return kernel_listing(folder)
