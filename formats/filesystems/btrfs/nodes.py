"""Nodes of trees: verified once when read, the last ones kept.

"On-disk Format", sections "Header", "Item" and "Key Pointer".
"""

from __future__ import annotations

import struct
import threading
from collections import OrderedDict
from collections.abc import Iterator
from itertools import pairwise
from operator import add, lt
from typing import NamedTuple

from formats.core.errors import CorruptError
from formats.core.source import BytesLike
from formats.filesystems.btrfs.items import Item, Key
from formats.filesystems.btrfs.space import Space
from formats.filesystems.btrfs.superblock import CHECKSUM_BYTES, Superblock

HEADER = struct.Struct("<32x16sQ8x16x2QIB")  # UUID, own address, generation, owner; items, level
ITEM = struct.Struct("<QBQII")  # key; offset of the data after the header, and its size
POINTER = struct.Struct("<QBQQQ")  # key; logical address, generation


class Pointer(NamedTuple):
    """How a node is referred to, and what it must be.

    :ivar generation: the transaction that wrote it.
    :ivar first: its first key; None if that is not known, as of a root.
    """

    logical: int
    level: int
    generation: int
    first: Key | None = None


class Node:
    """A verified node: a leaf if its level is 0."""

    __slots__ = ("count", "data", "level", "logical")

    def __init__(self, data: bytes, logical: int, level: int, count: int) -> None:
        self.data = data
        self.logical = logical
        self.level = level
        self.count = count

    def key(self, slot: int) -> Key:
        """Return the key of a slot."""
        struct_ = POINTER if self.level else ITEM
        number, kind, offset, *_ = struct_.unpack_from(self.data, HEADER.size + slot * struct_.size)
        return Key(number, kind, offset)

    def find(self, key: Key) -> int:
        """Return the last slot whose key is not above ``key``; -1 if there is none."""
        struct_ = POINTER if self.level else ITEM
        data, unpack, size, base = self.data, struct_.unpack_from, struct_.size, HEADER.size
        low, high = 0, self.count
        while low < high:
            middle = (low + high) // 2
            if unpack(data, base + middle * size)[:3] <= key:
                low = middle + 1
            else:
                high = middle
        return low - 1

    def pointer(self, slot: int) -> Pointer:
        """Return what a slot of an inner node points to."""
        at = HEADER.size + slot * POINTER.size
        number, kind, offset, logical, generation = POINTER.unpack_from(self.data, at)
        return Pointer(logical, self.level - 1, generation, Key(number, kind, offset))

    def items(self, slot: int = 0) -> Iterator[Item]:
        """Yield the items of a leaf from a slot on."""
        data, base = self.data, HEADER.size
        table = memoryview(data)[base + slot * ITEM.size : base + self.count * ITEM.size]
        for number, kind, offset, start, size in ITEM.iter_unpack(table):
            yield Item(number, kind, offset, data[base + start : base + start + size])


class NodeReader:
    """Reads nodes of a filesystem's trees, from whichever copy is right."""

    def __init__(self, space: Space, superblock: Superblock, cache_bytes: int) -> None:
        self.space = space
        self.node_bytes = superblock.node_bytes
        self._sector_bytes = superblock.sector_bytes
        self._uuid = superblock.metadata_uuid.bytes
        self._checksum = superblock.checksum
        self._most = max(cache_bytes // superblock.node_bytes, 16)
        self._nodes: OrderedDict[int, Node] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, pointer: Pointer) -> Node:
        """Return the node that is pointed to.

        :raises CorruptError: if no copy of it is what it should be.
        """
        logical = pointer.logical
        with self._lock:
            node = self._nodes.get(logical)
            if node is not None:
                self._nodes.move_to_end(logical)
        if node is None:
            node = self._verified(pointer)
            with self._lock:
                self._nodes[logical] = node
                if len(self._nodes) > self._most:
                    self._nodes.popitem(last=False)
        is_first = pointer.first is None or (node.count and node.key(0) == pointer.first)
        if node.level != pointer.level or not is_first:
            raise self.damaged(logical, "is not the one that is pointed to")
        return node

    def _verified(self, pointer: Pointer) -> Node:
        logical, size, space = pointer.logical, self.node_bytes, self.space
        if logical % self._sector_bytes:
            raise self.damaged(logical, "does not begin at a sector")
        checksum, length = self._checksum.of, self._checksum.size
        expected = (self._uuid, logical, pointer.generation)

        def is_right(data: BytesLike) -> bool:
            if bytes(data[:length]) != checksum(bytes(data[CHECKSUM_BYTES:])):
                return False
            identity, address, generation, *_ = HEADER.unpack_from(data)
            return (identity, address, generation) == expected

        fault = _about(logical, "has a wrong checksum, or another one is in its place")
        data = bytes(space.read(logical, size, fault, is_right))
        *_, count, level = HEADER.unpack_from(data)
        node = Node(data, logical, level, count)
        if level:
            self._check_pointers(node)
        else:
            self._check_items(node)
        return node

    def _check_items(self, leaf: Node) -> None:
        """Refuse a leaf whose items are not in order, or do not lie in it one before the other."""
        room = self.node_bytes - HEADER.size
        if leaf.count * ITEM.size > room:
            raise self.damaged(leaf.logical, f"has {leaf.count:,} items, more than fit")
        if not leaf.count:
            return
        table = memoryview(leaf.data)[HEADER.size : HEADER.size + leaf.count * ITEM.size]
        numbers, kinds, offsets, starts, sizes = zip(*ITEM.iter_unpack(table), strict=True)
        ends = tuple(map(add, starts, sizes))
        adjoin = ends[0] == room and ends[1:] == starts[:-1]
        if not adjoin or starts[-1] < leaf.count * ITEM.size:
            raise self.damaged(leaf.logical, "has items that overlap, or lie outside of it")
        keys = tuple(zip(numbers, kinds, offsets, strict=True))
        if not all(map(lt, keys, keys[1:])):
            raise self.damaged(leaf.logical, "has items that are not in order")

    def _check_pointers(self, node: Node) -> None:
        room = self.node_bytes - HEADER.size
        if not 0 < node.count <= room // POINTER.size:
            raise self.damaged(node.logical, f"has {node.count:,} pointers")
        table = memoryview(node.data)[HEADER.size : HEADER.size + node.count * POINTER.size]
        keys = [entry[:3] for entry in POINTER.iter_unpack(table)]
        if not all(first < second for first, second in pairwise(keys)):
            raise self.damaged(node.logical, "has pointers that are not in order")

    def damaged(self, logical: int, what: str) -> CorruptError:
        """Return the error that says what is wrong with a node."""
        return self.space.damaged(logical, _about(logical, what))


def _about(logical: int, what: str) -> str:
    return f"the tree node at logical address {logical:,} {what}"
