"""What trees over one other tree have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from formats.core.entry import Entry
from formats.core.origin import Origin
from formats.core.source import BytesLike
from formats.core.tree import Tree, TreeInfo


class TreeOver:
    """Another tree with entries of its own; see :class:`formats.core.tree.Tree`.

    What there is stays with the tree underneath: breadcrumb, identity, content.

    :param entries: those shown, in the order of trees.
    :param originals: by path, the entry underneath, where it is another one than is shown.
    """

    def __init__(
        self, tree: Tree, entries: Sequence[Entry], originals: dict[bytes, Entry] | None = None
    ) -> None:
        self._tree = tree
        self._entries = entries
        self._originals = originals or {}

    @property
    def origin(self) -> Origin:
        """See :attr:`formats.core.tree.Tree.origin`."""
        return self._tree.origin

    @property
    def info(self) -> TreeInfo:
        """See :attr:`formats.core.tree.Tree.info`."""
        return self._tree.info

    def entries(self) -> Iterator[Entry]:
        """See :meth:`formats.core.tree.Tree.entries`."""
        return iter(self._entries)

    def read(self, entry: Entry) -> Iterator[BytesLike]:
        """See :meth:`formats.core.tree.Tree.read`."""
        return self._tree.read(self._originals.get(entry.path, entry))

    def will_read(self, entries: Sequence[Entry]) -> None:
        """See :meth:`formats.core.tree.Tree.will_read`."""
        originals = self._originals
        if originals:
            entries = [originals.get(entry.path, entry) for entry in entries]
        self._tree.will_read(entries)
