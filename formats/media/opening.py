"""From what is on a medium to volumes."""

from __future__ import annotations

from formats.core.errors import ConvertError, CorruptError, UnsupportedError, quoted
from formats.core.finding import Action, Finding
from formats.core.inner import file_source
from formats.core.origin import Origin
from formats.core.reader import Member, OpenContext, Volume, Volumes
from formats.core.source import ByteSource, MemorySource
from formats.core.stacked import StackedTree
from formats.core.tree import Tree, TreeIndex
from formats.media.medium import LiveSystem, Medium
from formats.media.pools import described

MEDIUM_LABEL = "medium"
"""What the tree of the medium itself is called beside its systems."""
SYSTEM_LABEL = "live"

_LAYER_READERS = (("squashfs", 0, b"hsqs"), ("erofs", 1024, b"\xe2\xe1\xf5\xe0"))
_OTHER_LAYERS = "ext"


def medium_volumes(medium: Medium, index: TreeIndex, tree: Tree, context: OpenContext) -> Volumes:
    """Return the medium's own tree and its systems, each as a volume.

    A system of one image is that image, to be opened like any other source. One of several is
    their trees, stacked. A system that cannot be read is a volume with a problem.

    :param index: of the tree, for its entries.
    :param tree: the tree as its reader gave it, whose files can be opened where they lie.
    """
    own = Volume(
        MemorySource(b"", tree.origin.child(MEDIUM_LABEL)), MEDIUM_LABEL, content=index.tree
    )
    labels = _labels(medium)
    opening = _Opening(index, tree, context)
    systems = [opening.volume(system, labels[system.name]) for system in medium.systems]
    for path in medium.changes:
        evidence = "what was changed while the medium ran is in it, and is no part of the system"
        context.note(Finding("live-changes", path, Action.REPORTED, evidence))
    return Volumes((own, *systems), {"medium": medium.title, **medium.facts})


def installer_error(medium: Medium, origin: Origin) -> UnsupportedError | None:
    """Return why a medium without a system cannot be run; None if there is one."""
    if medium.installer is None:
        return None
    pools = f"; packages are in {described(medium.pools)}" if medium.pools else ""
    return UnsupportedError(
        f"is {medium.installer.title}: there is no system on it that could be run{pools}",
        origin=origin,
        hint=f"{medium.installer.hint}; 'convert ls' and 'convert export --raw' give its files",
    )


def _labels(medium: Medium) -> dict[str, str]:
    """Return what each system is called; the one that is started has the plain name."""
    defaults = [system.name for system in medium.systems if system.is_default]
    labels = {system.name: f"{SYSTEM_LABEL}:{system.name}" for system in medium.systems}
    if len(defaults) == 1:
        labels[defaults[0]] = SYSTEM_LABEL
    return labels


class _Opening:
    """Opens what systems are made of; those of one medium share layers."""

    def __init__(self, index: TreeIndex, tree: Tree, context: OpenContext) -> None:
        self._index = index
        self._tree = tree
        self._context = context
        self._layers: dict[bytes, Tree] = {}

    def volume(self, system: LiveSystem, label: str) -> Volume:
        """Return a system as a volume, with a problem if it cannot be read."""
        origin = self._tree.origin.child(label)
        empty, is_alternative = MemorySource(b"", origin), not system.is_default
        try:
            if len(system.layers) == 1:
                source = self._source(system.layers[0])
                return Volume(source, label, is_alternative=is_alternative)
            layers = [self._layer(path) for path in system.layers]
        except ConvertError as error:
            problem = error.at(origin)
            return Volume(empty, label, problem=problem, is_alternative=is_alternative)
        stack = StackedTree(
            layers,
            whiteouts=system.whiteouts,
            limits=self._context.limits,
            origin=origin,
            note=self._context.note,
        )
        return Volume(empty, label, content=stack, is_alternative=is_alternative)

    def _source(self, path: bytes) -> ByteSource:
        entry = self._index.get(path)
        if entry is None:
            raise CorruptError(f"{quoted(path)} is not on the medium", origin=self._tree.origin)
        return file_source(self._tree, entry, self._context)

    def _layer(self, path: bytes) -> Tree:
        if path not in self._layers:
            source = self._source(path)
            layer = self._context.open_as(_reader_of(source), source)
            if isinstance(layer, Volumes | Member):
                raise UnsupportedError("is a layer, and not of one tree", origin=source.origin)
            self._layers[path] = layer
        return self._layers[path]


def _reader_of(source: ByteSource) -> str:
    """Return the reader of an image; layers have no table of partitions around them."""
    for name, offset, magic in _LAYER_READERS:
        if bytes(source.read_at(offset, len(magic))) == magic:
            return name
    return _OTHER_LAYERS
