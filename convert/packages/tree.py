"""The tree that comes out: what is new in a root, in the order of trees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from convert.packages.world import Item, Stored, World
from formats.core.entry import Entry, Kind
from formats.core.origin import Origin
from formats.core.source import BytesLike
from formats.core.tree import Tree, TreeInfo, walk_order


class AssembledTree:
    """What packages put into a root; see :class:`formats.core.tree.Tree`.

    Folders that are the base's are in it, as the base has them, where something below them is new.
    """

    def __init__(self, world: World, info: TreeInfo) -> None:
        self._origin = world.origin
        self._info = info
        wanted = {b""}
        for item in world.items():
            path = item.entry.path
            while not item.is_base and path not in wanted:
                wanted.add(path)
                path = path.rpartition(b"/")[0]
        self._contents: dict[bytes, Stored | bytes] = {}
        self._entries: list[Entry] = []
        leaders: dict[tuple[int, bytes, bytes | None], Entry] = {}
        for number, path in enumerate(walk_order(wanted), start=1):
            known = world.get(path)
            if known is not None:
                self._take(known, number, leaders)

    def _take(
        self, item: Item, number: int, leaders: dict[tuple[int, bytes, bytes | None], Entry]
    ) -> None:
        entry = item.entry
        content = item.content
        if isinstance(content, Stored):
            leader = leaders.get(content.file)
            if leader is not None:
                linked = replace(leader, path=entry.path, kind=Kind.HARDLINK, target=leader.path)
                self._entries.append(linked)
                return
        numbered = replace(entry, node=number)
        self._entries.append(numbered)
        if content is not None:
            self._contents[entry.path] = content
        if isinstance(content, Stored):
            leaders[content.file] = numbered

    @property
    def origin(self) -> Origin:
        """See :attr:`formats.core.tree.Tree.origin`."""
        return self._origin

    @property
    def info(self) -> TreeInfo:
        """See :attr:`formats.core.tree.Tree.info`."""
        return self._info

    def entries(self) -> Iterator[Entry]:
        """See :meth:`formats.core.tree.Tree.entries`."""
        return iter(self._entries)

    def read(self, entry: Entry) -> Iterator[BytesLike]:
        """See :meth:`formats.core.tree.Tree.read`."""
        content = self._content(entry)
        if isinstance(content, Stored):
            return content.tree.read(content.entry)
        return iter((content,) if content else ())

    def will_read(self, entries: Sequence[Entry]) -> None:
        """Pass the hint on, to one package after the other."""
        contents = (self._content(entry) for entry in entries)
        stored = [content for content in contents if isinstance(content, Stored)]
        for _, group in groupby(stored, lambda content: id(content.tree)):
            batch = list(group)
            tree: Tree = batch[0].tree
            tree.will_read([content.entry for content in batch])

    def _content(self, entry: Entry) -> Stored | bytes | None:
        path = entry.path
        if entry.kind is Kind.HARDLINK and entry.target is not None:
            path = entry.target
        return self._contents.get(path)
