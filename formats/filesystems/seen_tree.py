"""A tree that lets its reader know when all of it was seen: for findings about the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from formats.core.entry import Entry
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource
from formats.core.tree import OpenableTree, TreeInfo


class SeenTree:
    """Another tree, as it is; see :class:`formats.core.tree.OpenableTree`.

    :param when_seen: called once, when every path was given for the first time.
    """

    def __init__(self, tree: OpenableTree, when_seen: Callable[[], None]) -> None:
        self._tree = tree
        self._when_seen: Callable[[], None] | None = when_seen

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
        yield from self._tree.entries()
        when_seen, self._when_seen = self._when_seen, None
        if when_seen is not None:
            when_seen()

    def read(self, entry: Entry) -> Iterator[BytesLike]:
        """See :meth:`formats.core.tree.Tree.read`."""
        return self._tree.read(entry)

    def open(self, entry: Entry) -> ByteSource:
        """See :meth:`formats.core.tree.OpenableTree.open`."""
        return self._tree.open(entry)

    def will_read(self, entries: Sequence[Entry]) -> None:
        """See :meth:`formats.core.tree.Tree.will_read`."""
        self._tree.will_read(entries)
