"""Opening FAT filesystems in tests."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from formats.core.finding import Finding
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.registry import Registry
from formats.core.tree import Tree
from formats.filesystems.fat.reader import READER
from tests.images.fat import MIB
from tests.support import filesystems

SIZES = {12: 4 * MIB, 16: 20 * MIB, 32: 40 * MIB}


def opened(
    image: Path, limits: Limits = DEFAULT_LIMITS
) -> AbstractContextManager[tuple[Tree, list[Finding]]]:
    """Open a filesystem with this reader alone; raise what kept it from being opened."""
    return filesystems.opened(image, limits, Registry([READER]))
