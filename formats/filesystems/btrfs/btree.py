"""Trees: looking for a key, and walking over all leaves in order."""

from __future__ import annotations

from collections.abc import Iterator

from formats.core.errors import CorruptError
from formats.filesystems.btrfs.items import Item, Key
from formats.filesystems.btrfs.nodes import Node, NodeReader, Pointer


class Tree:
    """One tree of items.

    Levels fall by one from node to node and keys rise from leaf to leaf, and both are checked: no
    walk can come to a node twice.
    """

    def __init__(self, nodes: NodeReader, root: Pointer) -> None:
        self.nodes = nodes
        self.root = root

    def leaf_pointers(self) -> Iterator[Pointer]:
        """Yield the pointers to all leaves, in order; leaves that come next are announced.

        :raises CorruptError: if a node is damaged.
        """
        pending = [iter((self.root,))]
        while pending:
            pointer = next(pending[-1], None)
            if pointer is None:
                pending.pop()
            elif not pointer.level:
                yield pointer
            else:
                node = self.nodes.read(pointer)
                pointers = [node.pointer(slot) for slot in range(node.count)]
                if pointer.level == 1:
                    size = self.nodes.node_bytes
                    self.nodes.space.will_need([(inner.logical, size) for inner in pointers])
                pending.append(iter(pointers))

    def items(self) -> Iterator[Item]:
        """Yield all items in order.

        :raises CorruptError: if the tree is damaged.
        """
        order = LeafOrder(self.nodes)
        for pointer in self.leaf_pointers():
            leaf = self.nodes.read(pointer)
            order.check(leaf)
            yield from leaf.items()

    def items_from(self, key: Key) -> Iterator[Item]:
        """Yield the items whose keys are not below ``key``, in order.

        :raises CorruptError: if the tree is damaged.
        """
        path = self._path(key)
        leaf, slot = path.pop()
        yield from leaf.items(slot + 1 if slot < 0 or leaf.key(slot) < key else slot)
        last = key
        while path:
            node, slot = path.pop()
            if slot + 1 >= node.count:
                continue
            path.append((node, slot + 1))
            pointer = node.pointer(slot + 1)
            if pointer.first is None or pointer.first <= last:
                raise self.nodes.damaged(node.logical, "has pointers that are not in order")
            last = pointer.first
            while pointer.level:
                node = self.nodes.read(pointer)
                path.append((node, 0))
                pointer = node.pointer(0)
            yield from self.nodes.read(pointer).items()

    def at_or_before(self, key: Key) -> Item | None:
        """Return the last item whose key is not above ``key``, if its leaf has one.

        :raises CorruptError: if the tree is damaged.
        """
        leaf, slot = self._path(key)[-1]
        return next(leaf.items(slot), None) if slot >= 0 else None

    def get(self, key: Key) -> bytes | None:
        """Return the data of the item with exactly this key.

        :raises CorruptError: if the tree is damaged.
        """
        item = self.at_or_before(key)
        return item.data if item is not None and item[:3] == key else None

    def _path(self, key: Key) -> list[tuple[Node, int]]:
        """Return the nodes from the root to the leaf where ``key`` is or would be.

        With each, the last slot that is not above ``key``; -1 only in a leaf.
        """
        pointer = self.root
        path: list[tuple[Node, int]] = []
        while True:
            node = self.nodes.read(pointer)
            slot = node.find(key)
            if not node.level:
                path.append((node, slot))
                return path
            slot = max(slot, 0)
            path.append((node, slot))
            pointer = node.pointer(slot)


class LeafOrder:
    """Watches that keys rise from leaf to leaf."""

    def __init__(self, nodes: NodeReader) -> None:
        self._nodes = nodes
        self._last: Key | None = None

    def check(self, leaf: Node) -> None:
        """Take the next leaf.

        :raises CorruptError: if its keys are not above those of the one before.
        """
        if not leaf.count:
            return
        if self._last is not None and leaf.key(0) <= self._last:
            raise self._out_of_order(leaf)
        self._last = leaf.key(leaf.count - 1)

    def _out_of_order(self, leaf: Node) -> CorruptError:
        return self._nodes.damaged(leaf.logical, "repeats keys of the leaf before it")
