"""Descriptors written to a folder, beside files that hold their own names."""

from __future__ import annotations

from pathlib import Path

from tests.formats.bundles.support import named
from tests.images.ovf import Package


def write(folder: Path, what: Package, *names: str) -> Path:
    """Write a descriptor, and files that hold their own names."""
    for name in names:
        (folder / name).write_bytes(named(name))
    path = folder / "server.ovf"
    path.write_text(what.text())
    return path
