"""Opening FAT filesystems in tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from formats.core.finding import Finding
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.opener import open_artifact
from formats.core.registry import Registry
from formats.core.tree import Tree
from formats.filesystems.fat.reader import READER
from tests.images.fat import MIB

SIZES = {12: 4 * MIB, 16: 20 * MIB, 32: 40 * MIB}


@contextmanager
def opened(image: Path, limits: Limits = DEFAULT_LIMITS) -> Iterator[tuple[Tree, list[Finding]]]:
    """Open a filesystem; raise what kept it from being opened."""
    with open_artifact([image], registry=Registry([READER]), limits=limits) as artifact:
        (node,) = artifact.nodes
        if node.problem is not None:
            raise node.problem
        assert node.tree is not None, "nobody knew the file"
        yield node.tree, artifact.findings
