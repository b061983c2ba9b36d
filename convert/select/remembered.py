"""A tree that is walked once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from formats.core.entry import Entry
from formats.core.origin import Origin
from formats.core.source import BytesLike
from formats.core.tree import Tree, TreeInfo


class RememberedTree:
    """A tree whose entries are held in memory.

    Readers decode every inode again at each walk; selection, inspection and normalisation each
    need all entries, and hold them anyway.

    :raises formats.core.errors.ConvertError: what walking ``tree`` raises, here and now.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._entries = tuple(tree.entries())

    @property
    def origin(self) -> Origin:
        """See :class:`~formats.core.tree.Tree`."""
        return self._tree.origin

    @property
    def info(self) -> TreeInfo:
        """See :class:`~formats.core.tree.Tree`."""
        return self._tree.info

    def entries(self) -> Iterator[Entry]:
        """See :class:`~formats.core.tree.Tree`."""
        return iter(self._entries)

    def read(self, entry: Entry) -> Iterator[BytesLike]:
        """See :class:`~formats.core.tree.Tree`."""
        return self._tree.read(entry)

    def underlying(self, entry: Entry) -> tuple[Tree, Entry]:
        """See :class:`formats.core.inner.DelegatingTree`."""
        return self._tree, entry

    def will_read(self, entries: Sequence[Entry]) -> None:
        """See :class:`~formats.core.tree.Tree`."""
        self._tree.will_read(entries)
