"""Packages of any kind, opened by their reader."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from formats.core.finding import Finding
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.packages.tree import PackageTree
from tests.formats.archives.support import opened_tree


@contextmanager
def opened_package(
    path: Path, limits: Limits = DEFAULT_LIMITS
) -> Iterator[tuple[PackageTree, list[Finding]]]:
    """Open a package; raise what is wrong with it."""
    with opened_tree(path, limits) as (tree, findings):
        assert isinstance(tree, PackageTree)
        yield tree, findings
