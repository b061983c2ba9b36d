"""Nodes of trees in an image, to be changed and put back with a right checksum."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import google_crc32c

from formats.core.limits import Limits
from tests.images.btrfs_everything import listings
from tests.images.volumes import patch

SUPERBLOCK = 0x10000
TREE_LOG = (1 << 64) - 6
"""Owner of the nodes of logs."""

_FSID, _MAGIC, _NODE_BYTES = 0x20, 0x40, 0x94


@dataclass(frozen=True, slots=True)
class Node:
    """A node in an image.

    :ivar at: where; chunks here begin where their logical address says.
    """

    at: int
    data: bytearray
    owner: int
    count: int
    level: int
    generation: int


def nodes(image: Path) -> Iterator[Node]:
    """Yield all nodes that are in use or were."""
    data = image.read_bytes()
    superblock = data[SUPERBLOCK : SUPERBLOCK + 4096]
    fsid, magic = superblock[_FSID : _FSID + 16], superblock[_MAGIC : _MAGIC + 8]
    (node_bytes,) = struct.unpack_from("<I", superblock, _NODE_BYTES)
    at = 0
    while (at := data.find(fsid, at + 1)) >= 0:
        start = at - _FSID
        if start % node_bytes == 0 and data[start + _MAGIC : start + _MAGIC + 8] != magic:
            node = bytearray(data[start : start + node_bytes])
            generation, owner, count, level = struct.unpack_from("<QQIB", node, 80)
            yield Node(start, node, owner, count, level, generation)


def write_node(image: Path, node: Node) -> None:
    """Put a node back, with its checksum right."""
    node.data[:4] = google_crc32c.value(bytes(node.data[32:])).to_bytes(4, "little")
    patch(image, node.at, bytes(node.data))


def look(image: Path, limits: Limits) -> None:
    """Read all subvolumes of an image."""
    listings(image, limits=limits)
