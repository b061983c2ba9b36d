"""A tree put elsewhere: without the folder that an archive is in, below a folder of the image."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import replace

from formats.core.entry import Entry, Kind, check_name, join
from formats.core.errors import AmbiguousError, LimitError, UsageError, quoted
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.origin import Origin
from formats.core.over import TreeOver
from formats.core.stacked import ImplyingTree
from formats.core.tree import Tree, TreeIndex, walk_order


class MovedTree(TreeOver):
    """A tree whose paths are others; see :class:`formats.core.tree.Tree`.

    :param top: folder of ``tree`` that becomes the root; everything else is left out, so it must
        be all that there is.
    :param prefix: where that root goes; the folders on the way are made, 0755 and root's.
    :ivar implied: the folders that were made; see :class:`formats.core.stacked.ImplyingTree`.
    :raises LimitError: if a path becomes longer than it may be.
    """

    def __init__(
        self, tree: Tree, *, top: bytes = b"", prefix: bytes = b"", limits: Limits = DEFAULT_LIMITS
    ) -> None:
        self._limits = limits
        self._top = top
        self._prefix = prefix
        self._place = tree.origin
        made = _ways(prefix)
        self.implied: AbstractSet[bytes] = frozenset(made)
        newest = 0
        originals: dict[bytes, Entry] = {}
        moved: list[Entry] = []
        for entry in tree.entries():
            path = self._moved(entry.path)
            if path is None:
                continue
            originals[path] = entry
            target = entry.target
            if entry.kind is Kind.HARDLINK and target is not None:
                target = self._moved(target)
            newest = max(newest, entry.mtime_ns)
            moved.append(replace(entry, path=path, target=target))
        folders = [Entry(path, Kind.FOLDER, 0o755, mtime_ns=newest) for path in made]
        super().__init__(tree, [*folders, *moved], originals)

    def _moved(self, path: bytes) -> bytes | None:
        """Return where a path goes; None for the folders above the top."""
        inner = path
        if self._top:
            if path != self._top and not path.startswith(self._top + b"/"):
                return None
            inner = path[len(self._top) + 1 :]
        moved = join(self._prefix, inner) if inner else self._prefix
        if len(moved) > self._limits.path_bytes:
            raise LimitError(
                f"a path becomes longer than the {self._limits.path_bytes:,} bytes allowed",
                origin=self._place,
                hint="choose a shorter --prefix",
            )
        return moved


def _ways(prefix: bytes) -> list[bytes]:
    """Return the folders above a prefix, the root first; none if it is the root."""
    parts = prefix.split(b"/") if prefix else []
    return [b"/".join(parts[:count]) for count in range(len(parts))]


class SettledTree(TreeOver):
    """A tree that lies on another as if it had been unpacked there.

    Where the other has a link to a folder (``/bin`` to ``usr/bin``), what is in a folder of that
    name goes where the link leads; the link stays. Folders that nobody wrote down are those of the
    other tree, where it has them.

    :param below: what it lies on.
    :raises AmbiguousError: if two paths become one.
    """

    def __init__(self, tree: Tree, below: TreeIndex) -> None:
        self._below = below
        self._moves: dict[bytes, bytes] = {}
        implied = tree.implied if isinstance(tree, ImplyingTree) else frozenset[bytes]()
        originals: dict[bytes, Entry] = {}
        found: dict[bytes, Entry] = {}
        for entry in tree.entries():
            path = self._settled(entry)
            if path in found:
                if found[path].kind is entry.kind is Kind.FOLDER:
                    continue
                raise AmbiguousError(
                    f"two of its paths become {quoted(path)} on the base", origin=tree.origin
                )
            originals[path] = entry
            found[path] = self._shown(entry, path, is_implied=entry.path in implied)
        for path in list(found):
            self._add_ways(path, found)
        super().__init__(tree, list(_led(found)), originals)

    def _shown(self, entry: Entry, path: bytes, *, is_implied: bool) -> Entry:
        """Return what is at a path: of a folder that is there already, what is there."""
        known = self._below.get(path)
        is_theirs = known is not None and known.kind is entry.kind is Kind.FOLDER
        if known is not None and is_theirs and (is_implied or path != entry.path):
            return known
        target = entry.target
        if entry.kind is Kind.HARDLINK and target is not None:
            target = self._moves.get(target, target)
        return replace(entry, path=path, target=target)

    def _settled(self, entry: Entry) -> bytes:
        """Return where an entry goes: where its folder is by now."""
        parent, _, name = entry.path.rpartition(b"/")
        path = join(self._moves.get(parent, parent), name) if entry.path else b""
        known = self._below.get(path)
        if entry.kind is Kind.FOLDER and known is not None and known.kind is Kind.SYMLINK:
            folder = self._below.resolve(path)
            if folder is not None and folder.kind is Kind.FOLDER:
                path = folder.path
        self._moves[entry.path] = path
        return path

    def _add_ways(self, path: bytes, found: dict[bytes, Entry]) -> None:
        while path and (path := path.rpartition(b"/")[0]) not in found:
            known = self._below.get(path)
            found[path] = known if known is not None else Entry(path, Kind.FOLDER, 0o755)


def _led(found: dict[bytes, Entry]) -> Iterator[Entry]:
    """Yield entries in order; of the names of one file, that which comes first has become it."""
    leaders: dict[bytes, bytes] = {}
    for path in walk_order(found):
        entry = found[path]
        own = path
        if entry.kind is Kind.HARDLINK and entry.target is not None:
            own = entry.target
        leader = leaders.setdefault(own, path)
        if leader is not path:
            yield replace(entry, kind=Kind.HARDLINK, target=leader)
        elif own is not path:
            yield replace(found[own], path=path)
        else:
            yield entry


def single_top(tree: Tree) -> bytes:
    """Return the one folder that everything is in.

    :raises UsageError: if there is more, or it is no folder.
    """
    tops = [entry for entry in tree.entries() if entry.path and b"/" not in entry.path]
    if len(tops) == 1 and tops[0].kind is Kind.FOLDER:
        return tops[0].path
    what = "nothing" if not tops else f"{len(tops)} entries" if len(tops) > 1 else "a file"
    raise UsageError(
        f"{tree.origin}: there is no single folder at its top, but {what}",
        hint="leave --strip-top out",
    )


def path_of_prefix(prefix: str, origin: Origin) -> bytes:
    """Return the path of a folder that a user named, as entries have it.

    :raises CorruptError: for a name that no system allows.
    """
    parts = [part for part in prefix.encode("utf-8", "surrogateescape").split(b"/") if part]
    parts = [part for part in parts if part != b"."]
    for part in parts:
        check_name(part, origin)
    return b"/".join(parts)
