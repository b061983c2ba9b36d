"""Which files of a tree can hold a secret: by name, size and place, without reading any."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from convert.secrets.kinds import SecretKind, TextFiles
from formats.core.entry import Entry, Kind
from formats.core.limits import KIB, MIB

TEXT_MAX_BYTES = 256 * KIB
"""Of a file that no kind names; a longer one is data, not settings."""

HEAD_BYTES = MIB
"""Of a file that a kind names; what is said of a longer one is said of its beginning."""

_TEXTS_MAX = 2_000
_TEXTS_MAX_BYTES = 16 * MIB
_NAMED_MAX = 20_000
_NAMED_MAX_BYTES = 256 * MIB
"""Files looked into at the most, named or not; servers have hundreds."""

_FIRST, _SECOND, _LAST, _NEVER = range(4)
"""What is looked into first where there is too much, by endings."""


class Candidate(NamedTuple):
    """A file to look into.

    :ivar kinds: those that name it.
    """

    entry: Entry
    kinds: tuple[SecretKind, ...]


@dataclass(frozen=True, slots=True)
class Candidates:
    """The files to look into, in the order of the tree, and how many were too many."""

    files: tuple[Candidate, ...]
    left_out: int


def candidates(
    entries: Iterable[Entry], kinds: Iterable[SecretKind], text: TextFiles
) -> Candidates:
    """Return the files to look into: all that kinds name, and texts within a budget."""
    names = NamePatterns((pattern, kind) for kind in kinds for pattern in kind.paths)
    places = _Places(names, text)
    named: list[tuple[int, Candidate]] = []
    texts: list[tuple[int, int, Entry]] = []
    place, around = places.get(b""), b""
    for number, entry in enumerate(entries):
        folder, _, name = entry.path.rpartition(b"/")
        if folder != around:
            place, around = places.get(folder), folder
        if not entry.size or place.is_example:
            continue
        found = names.of_name(folder, name) if names.may_know(name) else ()
        if found or place.kinds:
            named.append((number, Candidate(entry, (*found, *place.kinds))))
        elif place.is_text and entry.size <= TEXT_MAX_BYTES and entry.kind is Kind.FILE:
            rank = places.ranks.get(_ending(name), _LAST)
            if rank != _NEVER:
                texts.append((rank, number, entry))
    texts.sort(key=lambda item: item[:2])
    unnamed = [(number, Candidate(entry, ())) for _, number, entry in texts]
    chosen = [
        *_within(named, _NAMED_MAX, _NAMED_MAX_BYTES),
        *_within(unnamed, _TEXTS_MAX, _TEXTS_MAX_BYTES),
    ]
    chosen.sort(key=lambda item: item[0])
    left_out = len(named) + len(unnamed) - len(chosen)
    return Candidates(tuple(candidate for _, candidate in chosen), left_out)


def _within(
    numbered: Sequence[tuple[int, Candidate]], files_max: int, bytes_max: int
) -> Iterator[tuple[int, Candidate]]:
    """Yield the first files, as many as a budget holds of what is read of them."""
    for number, candidate in numbered[:files_max]:
        bytes_max -= min(candidate.entry.size, HEAD_BYTES)
        if bytes_max < 0:
            return
        yield number, candidate


class NamePatterns:
    """Patterns of paths as ``kinds.toml`` has them, each with its kind."""

    def __init__(self, patterns: Iterable[tuple[str, SecretKind]]) -> None:
        self._exact: dict[bytes, list[_Named]] = {}
        self._endings: dict[bytes, list[_Named]] = {}
        self._folders: dict[bytes, list[_Named]] = {}
        self._beginnings: list[tuple[bytes, SecretKind]] = []
        for pattern, kind in patterns:
            self._add(pattern.encode(), kind)
        self._starts = tuple(start for start, _ in self._beginnings)

    def _add(self, pattern: bytes, kind: SecretKind) -> None:
        folder, _, name = pattern.rpartition(b"/")
        named = _Named(folder.lstrip(b"/"), pattern.startswith(b"/"), kind)
        if name == b"*":
            self._folders.setdefault(folder.rpartition(b"/")[2], []).append(named)
        elif name.startswith(b"*."):
            self._endings.setdefault(name[2:], []).append(named)
        elif name.endswith(b"*"):
            self._beginnings.append((name[:-1], kind))
        else:
            self._exact.setdefault(name, []).append(named)

    def of_folder(self, folder: bytes) -> tuple[SecretKind, ...]:
        """Return the kinds of all files in a folder."""
        known = self._folders.get(folder.rpartition(b"/")[2], ())
        return tuple(named.kind for named in known if named.is_in(folder))

    def may_know(self, name: bytes) -> bool:
        """Tell whether a file of this name may have a kind; most have none."""
        return (
            name in self._exact
            or name[name.rfind(b".") + 1 :] in self._endings
            or name.startswith(self._starts)
        )

    def of_name(self, folder: bytes, name: bytes) -> Sequence[SecretKind]:
        """Return the kinds of a file by its name."""
        found = [named.kind for named in self._exact.get(name, ()) if named.is_in(folder)]
        ending = _ending(name)
        found += (named.kind for named in self._endings.get(ending, ()) if named.is_in(folder))
        found += (kind for start, kind in self._beginnings if name.startswith(start))
        return found


class _Named(NamedTuple):
    """A name that counts in folders that are, or end in, ``folder``."""

    folder: bytes
    is_absolute: bool
    kind: SecretKind

    def is_in(self, folder: bytes) -> bool:
        if self.is_absolute or folder == self.folder:
            return folder == self.folder
        return not self.folder or folder.endswith(b"/" + self.folder)


class _Place(NamedTuple):
    """What holds for the files of one folder.

    :ivar kinds: those that name all of them.
    :ivar is_text: they are looked into though no kind names them.
    :ivar is_example: they are not looked into at all.
    """

    kinds: tuple[SecretKind, ...]
    is_text: bool
    is_example: bool


class _Places:
    """The folders of a tree, each asked about once.

    :ivar ranks: of endings; others come last.
    """

    def __init__(self, names: NamePatterns, text: TextFiles) -> None:
        self._names = names
        self._known: dict[bytes, _Place] = {}
        self._not_below = _folders(text.not_below)
        self._but_below = _folders(text.but_below)
        self._examples_in = {name.encode() for name in text.examples_in}
        self._not_in = {name.encode() for name in text.not_in}
        self.ranks = {ending.encode(): _NEVER for ending in text.never}
        self.ranks |= {ending.encode(): _SECOND for ending in text.second}
        self.ranks |= {ending.encode(): _FIRST for ending in text.first}

    def get(self, folder: bytes) -> _Place:
        """Return what holds in a folder."""
        place = self._known.get(folder)
        if place is None:
            below, names = folder + b"/", folder.split(b"/")
            is_system = below.startswith(self._not_below) and not below.startswith(self._but_below)
            place = _Place(
                self._names.of_folder(folder),
                is_text=not is_system and self._not_in.isdisjoint(names),
                is_example=is_system and not self._examples_in.isdisjoint(names),
            )
            self._known[folder] = place
        return place


def _folders(paths: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(path.strip("/").encode() + b"/" for path in paths)


def _ending(name: bytes) -> bytes:
    """Return what follows the last dot, in lower case; nothing for a name that starts with it."""
    stem, dot, ending = name.rpartition(b".")
    return ending.lower() if dot and stem else b""
