"""Bundles of disks that hold their own names, and what the readers make of them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from formats.core.opener import Node
from tests.images.volumes import opened

SECTOR = 512


def named(name: str) -> bytes:
    """Return the content of a disk that can be told from all others."""
    return name.encode().ljust(SECTOR, b".")


def archive(path: Path, files: Mapping[str, bytes | str], *, top: str = "") -> Path:
    """Write files into a tar archive, in their order.

    :param top: what every name starts with: ``./``.
    """
    with tarfile.open(path, "w") as target:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(top + name)
            info.size = len(data)
            target.addfile(info, io.BytesIO(data))
    return path


@contextmanager
def opened_by(reader: str, path: Path) -> Iterator[Node]:
    """Open a bundle that one reader has to know; raise what is wrong with it."""
    with opened(path) as artifact:
        (node,) = artifact.nodes
        if node.problem is not None:
            raise node.problem
        assert node.reader is not None
        assert node.reader.name == reader
        yield node


def head(node: Node) -> str:
    """Return the name that a disk holds, "" for a blank one; raise what is wrong with it."""
    if node.problem is not None:
        raise node.problem
    return bytes(node.volume.source.read_at(0, SECTOR)).rstrip(b".\0").decode()


def heads(node: Node) -> list[str]:
    """Return the names that all disks of a machine hold."""
    return [head(child) for child in node.children]


def disks(reader: str, path: Path) -> list[str]:
    """Return the names that the disks of a bundle hold."""
    with opened_by(reader, path) as node:
        return heads(node)
