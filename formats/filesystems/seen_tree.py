"""A tree that lets its reader know when all of it was seen: for findings about the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from formats.core.entry import Entry
from formats.core.over import TreeOver
from formats.core.source import ByteSource
from formats.core.tree import OpenableTree


class SeenTree(TreeOver):
    """Another tree, as it is; see :class:`formats.core.tree.OpenableTree`.

    :param when_seen: called once, when every path was given for the first time.
    """

    def __init__(self, tree: OpenableTree, when_seen: Callable[[], None]) -> None:
        super().__init__(tree, ())  # its entries come from the tree itself, each time anew
        self._files = tree
        self._when_seen: Callable[[], None] | None = when_seen

    def entries(self) -> Iterator[Entry]:
        """See :meth:`formats.core.tree.Tree.entries`."""
        yield from self._files.entries()
        when_seen, self._when_seen = self._when_seen, None
        if when_seen is not None:
            when_seen()

    def open(self, entry: Entry) -> ByteSource:
        """See :meth:`formats.core.tree.OpenableTree.open`."""
        return self._files.open(entry)
