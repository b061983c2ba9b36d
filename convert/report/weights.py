"""How the bytes of an image are spread: by folder, by package, by layer.

What is small is put together, so that a tree of a million files gives a few hundred weights.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from convert.oci.base import Base
from formats.core.entry import Entry, Kind
from formats.core.origin import printable

_DEEPEST = 6
"""Folders in folders that are told apart."""
_SHARE = 400
"""What has less than this part of all bytes is put together with its like."""
_WIDEST = 40
"""Parts of one thing that are told apart."""
_PACKAGES = 120


@dataclass(frozen=True, slots=True)
class Weight:
    """A thing and what it weighs.

    :ivar name: printable.
    :ivar size: bytes of content, hard links once.
    :ivar files: how many.
    :ivar parts: what is in it, the heaviest first; empty where nothing is told apart.
    """

    name: str
    size: int
    files: int
    parts: tuple[Weight, ...] = ()


@dataclass(frozen=True, slots=True)
class Weights:
    """An image's bytes, in three ways.

    :ivar packages: None where no package manager says whose files are.
    """

    folders: Weight
    packages: Weight | None
    layers: Weight


@dataclass(slots=True)
class _Pile:
    """What is added up below one folder."""

    size: int = 0
    files: int = 0
    parts: dict[bytes, _Pile] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        self.size += entry.size
        self.files += 1


def weigh(entries: Sequence[Entry], owners: Mapping[bytes, str], base: Base | None) -> Weights:
    """Return the weights of a new layer, and of the layers that it lies on.

    :param entries: of the new layer.
    :param owners: see :func:`convert.packages.owners.file_owners`.
    """
    folders = by_folder(entries, "/")
    return Weights(
        folders,
        _by_package(entries, owners) if owners else None,
        _by_layer(folders, base),
    )


def by_folder(entries: Iterable[Entry], name: str) -> Weight:
    """Return what the files in each folder weigh, and each large file."""
    files = [entry for entry in entries if entry.kind is Kind.FILE]
    least = max(sum(entry.size for entry in files) // _SHARE, 1)
    root = _Pile()
    for entry in files:
        pile = root
        pile.add(entry)
        *above, own = entry.path.split(b"/")
        for folder in above[:_DEEPEST]:
            pile = pile.parts.setdefault(folder, _Pile())
            pile.add(entry)
        if entry.size >= least and len(above) <= _DEEPEST:
            pile.parts.setdefault(own, _Pile()).add(entry)
    return _settled(name, root, least, is_whole=True)


def _settled(name: str, pile: _Pile, least: int, *, is_whole: bool = False) -> Weight:
    """Return a pile as it is shown: its small parts are one.

    :param least: bytes of what is not small.
    :param is_whole: show the heaviest however small they are.
    """
    ordered = sorted(pile.parts.items(), key=lambda item: (-item[1].size, item[0]))
    kept = [
        (part, inner)
        for part, inner in ordered[:_WIDEST]
        if inner.size >= least or (is_whole and inner.size)
    ]
    parts = [_settled(printable(part), inner, least) for part, inner in kept]
    rest = pile.size - sum(part.size for part in parts)
    if parts and rest > 0:
        files = pile.files - sum(part.files for part in parts)
        parts.append(Weight(f"{files:,} smaller", rest, files))
    return Weight(name, pile.size, pile.files, tuple(parts))


def _by_package(entries: Iterable[Entry], owners: Mapping[bytes, str]) -> Weight:
    owned: defaultdict[str, _Pile] = defaultdict(_Pile)
    others: list[Entry] = []
    for entry in entries:
        if entry.kind is not Kind.FILE:
            continue
        package = owners.get(entry.path)
        if package is None:
            others.append(entry)
        else:
            owned[package].add(entry)
    ordered = sorted(owned.items(), key=lambda item: (-item[1].size, item[0]))
    parts = [Weight(printable(name), pile.size, pile.files) for name, pile in ordered[:_PACKAGES]]
    rest = [pile for _, pile in ordered[_PACKAGES:]]
    if rest:
        size, files = sum(pile.size for pile in rest), sum(pile.files for pile in rest)
        parts.append(Weight(f"{len(rest):,} smaller packages", size, files))
    if others:
        parts.append(by_folder(others, "in no package"))
    parts.sort(key=lambda part: -part.size)
    return Weight(
        "all packages",
        sum(part.size for part in parts),
        sum(part.files for part in parts),
        tuple(parts),
    )


def _by_layer(folders: Weight, base: Base | None) -> Weight:
    """Return the layers, lowest first; of a base's only the size of the tar is known."""
    own = replace(folders, name="new layer")
    parts = (*_base_layers(base), own) if base is not None else (own,)
    return Weight(
        "all layers", sum(part.size for part in parts), sum(part.files for part in parts), parts
    )


def _base_layers(base: Base) -> Iterator[Weight]:
    for number, layer in enumerate(base.layers, start=1):
        yield Weight(f"base, layer {number}", layer.tar.size, 0)
