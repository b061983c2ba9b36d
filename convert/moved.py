"""A tree put elsewhere: without the folder that an archive is in, below a folder of the image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from formats.core.entry import Entry, Kind, check_name, join
from formats.core.errors import LimitError, UsageError
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.origin import Origin
from formats.core.source import BytesLike
from formats.core.tree import Tree, TreeInfo


class MovedTree:
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
        self._tree = tree
        self._limits = limits
        self._top = top
        self._prefix = prefix
        self._originals: dict[bytes, Entry] = {}
        made = _ways(prefix)
        self.implied: AbstractSet[bytes] = frozenset(made)
        newest = 0
        moved: list[Entry] = []
        for entry in tree.entries():
            path = self._moved(entry.path)
            if path is None:
                continue
            self._originals[path] = entry
            target = entry.target
            if entry.kind is Kind.HARDLINK and target is not None:
                target = self._moved(target)
            newest = max(newest, entry.mtime_ns)
            moved.append(replace(entry, path=path, target=target))
        folders = [Entry(path, Kind.FOLDER, 0o755, mtime_ns=newest) for path in made]
        self._entries = [*folders, *moved]

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
                origin=self.origin,
                hint="choose a shorter --prefix",
            )
        return moved

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
        return self._tree.read(self._originals[entry.path])

    def will_read(self, entries: Sequence[Entry]) -> None:
        """See :class:`~formats.core.tree.Tree`."""
        self._tree.will_read([self._originals[entry.path] for entry in entries])


def _ways(prefix: bytes) -> list[bytes]:
    """Return the folders above a prefix, the root first; none if it is the root."""
    parts = prefix.split(b"/") if prefix else []
    return [b"/".join(parts[:count]) for count in range(len(parts))]


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
