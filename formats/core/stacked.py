"""Trees over trees: the layers of an image, of live media, and packages over a base.

What an upper layer has takes the place of what is below, except that folders merge. How a layer
says that something below is deleted differs (:class:`Whiteouts`); the marks themselves are not
part of the stack.

Specification: OCI image-spec, "Image Layer Filesystem Changeset"; kernel documentation,
"Overlay Filesystem"; aufs(5), whose marks OCI took over.

Not supported: layers of overlayfs that refer to content below (``metacopy``) or to folders that
were renamed (``redirect_dir``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from enum import Enum
from functools import cached_property
from itertools import groupby
from typing import NamedTuple, Protocol, runtime_checkable

from formats.core.entry import Entry, Kind, check_name, join
from formats.core.errors import CorruptError, LimitError, UnsupportedError, quoted
from formats.core.finding import Action, Finding
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.origin import Origin
from formats.core.source import BytesLike
from formats.core.tree import Tree, TreeInfo, walk_order


class Whiteouts(Enum):
    """How a layer marks what it deletes of the layers below.

    :cvar NONE: it cannot.
    :cvar OVERLAYFS: a character device 0:0, or an empty file with the attribute
        ``overlay.whiteout``, at the very path; folders that are ``overlay.opaque``.
    :cvar OCI: a file ``.wh.NAME`` beside it; ``.wh..wh..opq`` in a folder that hides all below it.
    """

    NONE = "none"
    OVERLAYFS = "overlayfs"
    OCI = "oci"


@runtime_checkable
class ImplyingTree(Tree, Protocol):
    """A tree some of whose folders nobody wrote down: they are there as what lies in them is.

    In a stack, such a folder changes nothing of the one below.
    """

    @property
    def implied(self) -> AbstractSet[bytes]:
        """Paths of these folders; the root may be one."""
        ...


class _Placed(NamedTuple):
    """What is at a path: an entry of a layer, which is no hard link.

    :ivar entry: the file itself, where the path is one more name of it.
    """

    layer: int
    entry: Entry


class _Marks(NamedTuple):
    """What one layer says about the layers below it.

    :ivar removed: paths that are deleted with all that is in them.
    :ivar opaque: folders whose content below is deleted.
    :ivar marks: paths of this layer that are only there to say so.
    """

    removed: list[bytes]
    opaque: list[bytes]
    marks: set[bytes]


_NODE_BITS = 64
"""Nodes of the bottom layer stay as they are; those of the others lie above."""


class StackedTree:
    """One tree out of several, laid over each other when it is first looked at.

    Files keep the links they have in their layer: of a file with several names, those that no
    upper layer hides go on being one file.

    :param layers: bottom first, at least one. A hard link may lead to a path of the layers below
        its own, as it may in the layer of an image.
    :param origin: breadcrumb for messages; default: the bottom layer's.
    :param info: what the whole is; default: the bottom layer's, with the sizes of all.
    :param note: takes what of the layers is left out, when they are laid.
    """

    def __init__(
        self,
        layers: Sequence[Tree],
        *,
        whiteouts: Whiteouts = Whiteouts.NONE,
        limits: Limits = DEFAULT_LIMITS,
        origin: Origin | None = None,
        info: TreeInfo | None = None,
        note: Callable[[Finding], None] | None = None,
    ) -> None:
        self._layers = tuple(layers)
        self._whiteouts = whiteouts
        self._limits = limits
        self._note = note
        self.origin = origin or layers[0].origin
        self.info = info or _info_of(layers)

    @cached_property
    def _stack(self) -> _Stack:
        stack = _Stack(self._whiteouts, self._limits)
        for layer in self._layers:
            stack.lay(layer)
        if self._note is not None:
            for finding in stack.findings:
                self._note(finding)
        return stack

    @cached_property
    def _entries(self) -> tuple[Entry, ...]:
        return tuple(self._stack.entries())

    def entries(self) -> Iterator[Entry]:
        """See :meth:`formats.core.tree.Tree.entries`.

        :raises CorruptError: also if a mark or link makes no sense.
        :raises UnsupportedError: for layers that need more than they contain.
        :raises LimitError: for more than ``limits.entries`` paths.
        """
        return iter(self._entries)

    def layer_of(self, entry: Entry) -> int:
        """Return which layer an entry comes from; 0 is the bottom."""
        return self._stack.placed[entry.path].layer

    def underlying(self, entry: Entry) -> tuple[Tree, Entry]:
        """Return the layer that has an entry's content, and the entry there."""
        layer, original = self._stack.placed[entry.path]
        return self._layers[layer], original

    def read(self, entry: Entry) -> Iterator[BytesLike]:
        """See :meth:`formats.core.tree.Tree.read`."""
        tree, original = self.underlying(entry)
        return tree.read(original)

    def will_read(self, entries: Sequence[Entry]) -> None:
        """Pass the hint on, to one layer after the other as they take turns."""
        placed = self._stack.placed
        places = [placed[entry.path] for entry in entries]
        for layer, group in groupby(places, lambda place: place.layer):
            self._layers[layer].will_read([place.entry for place in group])


def _info_of(layers: Sequence[Tree]) -> TreeInfo:
    bottom = layers[0].info
    if len(layers) == 1:
        return bottom
    size = sum(layer.info.size_bytes for layer in layers)
    facts = {**bottom.facts, "layers": str(len(layers))}
    return replace(bottom, size_bytes=size, used_bytes=None, facts=facts)


class _Stack:
    """The state while layers are laid one over the other."""

    def __init__(self, whiteouts: Whiteouts, limits: Limits) -> None:
        self.placed: dict[bytes, _Placed] = {}
        self.findings: list[Finding] = []
        self._whiteouts = whiteouts
        self._limits = limits
        self._layers = 0
        self._inside: dict[bytes, set[bytes]] = {}
        """Paths that are directly in each folder."""
        self._linked: set[tuple[int, bytes]] = set()
        """Layer and path of files that have further names."""

    def lay(self, layer: Tree) -> None:
        """Put one more layer on top."""
        own = {entry.path: entry for entry in layer.entries()}
        removed, opaque, marks = self._marks(layer, own)
        places = {
            path: self._place(entry, own, layer.origin)
            for path, entry in own.items()
            if path not in marks
        }
        for path in removed:
            self._remove(path)
        for path in opaque:
            self._empty(path)
        implied = layer.implied if isinstance(layer, ImplyingTree) else frozenset[bytes]()
        for path, place in places.items():
            self._put(path, place, is_implied=path in implied)
        if len(self.placed) > self._limits.entries:
            raise LimitError(
                f"has more than {self._limits.entries:,} paths with the layers below it",
                origin=layer.origin,
            )
        self._layers += 1

    def _marks(self, layer: Tree, own: dict[bytes, Entry]) -> _Marks:
        marks = _Marks([], [], set())
        if self._whiteouts is Whiteouts.OVERLAYFS:
            for entry in own.values():
                _note_overlay_mark(entry, marks, layer.origin)
        elif self._whiteouts is Whiteouts.OCI:
            self._note_oci_marks(own, marks, layer.origin)
        return marks

    def _note_oci_marks(self, own: dict[bytes, Entry], marks: _Marks, origin: Origin) -> None:
        for entry in own.values():
            path, name = entry.path, entry.name
            if entry.parent in marks.marks:  # inside of what aufs keeps for itself
                marks.marks.add(path)
            elif name == _OCI_OPAQUE:
                marks.opaque.append(entry.parent)
                marks.marks.add(path)
            elif name.startswith(_AUFS_PREFIX):
                marks.marks.add(path)
                evidence = "what aufs keeps for itself is no part of the tree"
                self.findings.append(Finding("whiteout", path, Action.DROPPED, evidence))
            elif name.startswith(_OCI_PREFIX):
                hidden = name.removeprefix(_OCI_PREFIX)
                check_name(hidden, origin)
                if entry.kind not in {Kind.FILE, Kind.HARDLINK}:
                    raise CorruptError(
                        f"{quoted(path)} marks a deleted file and is a {entry.kind.value}",
                        origin=origin,
                    )
                marks.removed.append(join(entry.parent, hidden))
                marks.marks.add(path)

    def _place(self, entry: Entry, own: dict[bytes, Entry], origin: Origin) -> _Placed:
        """Return what is at an entry's path, before anything of its layer is carried out."""
        if entry.kind is not Kind.HARDLINK:
            return _Placed(self._layers, entry)
        target = entry.target or b""
        found = own.get(target)
        place = self.placed.get(target) if found is None else _Placed(self._layers, found)
        if place is None or place.entry.kind in {Kind.FOLDER, Kind.HARDLINK}:
            raise CorruptError(
                f"{quoted(entry.path)} is a hard link to {quoted(target)}, where there is no file",
                origin=origin,
            )
        self._linked.add((place.layer, place.entry.path))
        return place

    def _put(self, path: bytes, place: _Placed, *, is_implied: bool) -> None:
        below = self.placed.get(path)
        if below is not None and below.entry.kind is Kind.FOLDER:
            if is_implied:
                return
            if place.entry.kind is not Kind.FOLDER:
                self._remove(path)
        self.placed[path] = place
        if path:
            self._inside.setdefault(path.rpartition(b"/")[0], set()).add(path)

    def _remove(self, path: bytes) -> None:
        if self.placed.pop(path, None) is not None:
            self._inside[path.rpartition(b"/")[0]].discard(path)
            self._empty(path)

    def _empty(self, folder: bytes) -> None:
        """Remove all that is in a folder, however deep."""
        pending = [folder]
        while pending:
            for path in self._inside.pop(pending.pop(), ()):
                del self.placed[path]
                pending.append(path)

    def entries(self) -> Iterator[Entry]:
        """Yield what is left, in order."""
        leaders: dict[tuple[int, bytes], bytes] = {}
        for path in walk_order(self.placed):
            layer, original = self.placed[path]
            entry = self._shown(layer, original)
            file = (layer, original.path)
            if file in self._linked:
                leader = leaders.setdefault(file, path)
                if leader is not path:
                    entry = replace(entry, path=path, kind=Kind.HARDLINK, target=leader)
                elif path != original.path:
                    entry = replace(entry, path=path)
            yield entry

    def _shown(self, layer: int, entry: Entry) -> Entry:
        """Return an entry of a layer as the stack has it."""
        xattrs = entry.xattrs
        if xattrs and self._whiteouts is Whiteouts.OVERLAYFS:
            xattrs = _without_overlay(xattrs)
        if layer:
            node = (entry.node * self._layers + layer) << _NODE_BITS
            return replace(entry, xattrs=xattrs, node=node)
        return entry if xattrs is entry.xattrs else replace(entry, xattrs=xattrs)


_OCI_PREFIX = b".wh."
_AUFS_PREFIX = b".wh..wh."
_OCI_OPAQUE = b".wh..wh..opq"

_OVERLAY_PREFIXES = (b"trusted.overlay.", b"user.overlay.")
_OVERLAY_ESCAPE = b"overlay."
"""Behind a prefix: an attribute of a layer of overlayfs that lies in an overlayfs itself."""


def _note_overlay_mark(entry: Entry, marks: _Marks, origin: Origin) -> None:
    if entry.kind is Kind.CHARACTER_DEVICE and entry.device == (0, 0):
        marks.removed.append(entry.path)
        marks.marks.add(entry.path)
        return
    for name, value in entry.xattrs:
        key = _overlay_key(name)
        if key == b"opaque" and value == b"y" and entry.kind is Kind.FOLDER:
            marks.opaque.append(entry.path)
        elif key == b"whiteout" and entry.kind is Kind.FILE and not entry.size:
            marks.removed.append(entry.path)
            marks.marks.add(entry.path)
        elif key in {b"redirect", b"metacopy"}:
            feature = "redirect_dir" if key == b"redirect" else "metacopy"
            raise UnsupportedError(
                f"{quoted(entry.path)} was written by overlayfs with {feature}: what it stands for"
                " is in another place",
                origin=origin,
                hint="write the layer again without it, or merge the layers on the machine",
            )


def _overlay_key(name: bytes) -> bytes | None:
    """Return the key of an attribute of overlayfs; None for all others."""
    for prefix in _OVERLAY_PREFIXES:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return None


def _without_overlay(xattrs: tuple[tuple[bytes, bytes], ...]) -> tuple[tuple[bytes, bytes], ...]:
    """Return attributes as a mounted overlayfs shows them."""
    shown: list[tuple[bytes, bytes]] = []
    for name, value in xattrs:
        key = _overlay_key(name)
        if key is None:
            shown.append((name, value))
        elif key.startswith(_OVERLAY_ESCAPE):
            prefix = name.removesuffix(key)
            shown.append((prefix + key.removeprefix(_OVERLAY_ESCAPE), value))
    return xattrs if tuple(shown) == xattrs else tuple(sorted(shown))
