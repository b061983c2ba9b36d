"""A tree that is walked once."""

from __future__ import annotations

from formats.core.entry import Entry
from formats.core.over import TreeOver
from formats.core.tree import Tree


class RememberedTree(TreeOver):
    """A tree whose entries are held in memory.

    Readers decode every inode again at each walk; selection, inspection and normalisation each
    need all entries, and hold them anyway.

    :raises formats.core.errors.ConvertError: what walking ``tree`` raises, here and now.
    """

    def __init__(self, tree: Tree) -> None:
        super().__init__(tree, tuple(tree.entries()))

    def underlying(self, entry: Entry) -> tuple[Tree, Entry]:
        """See :class:`formats.core.inner.DelegatingTree`."""
        return self._tree, entry
