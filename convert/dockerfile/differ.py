"""What a root has beyond its packages: settings that were changed, and files of nobody.

Every packaged file is read once and held against the digest that its package gave it, as debsums(1)
and rpm(8) ``--verify`` do. ``leave.toml`` beside this file says what is not copied in any case.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict, Field

from convert.dockerfile.originals import Originals
from convert.inspect.facts import RuntimeFolder
from convert.layers.walk import announced
from convert.rules.globs import PatternSet, State, components
from formats.core.entry import Entry, Kind, join
from formats.core.finding import Action, Finding
from formats.core.limits import MIB
from formats.core.tree import TreeIndex

LEFT_OUT = "dockerfile-left-out"
ELSEWHERE = "dockerfile-elsewhere"

_LARGEST_BYTES = 256 * MIB
_TEMPLATE_BYTES = MIB
_TOLD_OF_A_FOLDER = 8
_TO_GIVE = (
    "it holds a secret: give it to the container as it runs, or copy it with --keep secret-{}"
)
_FILES = frozenset({Kind.FILE, Kind.HARDLINK})
_COPIED = frozenset({Kind.FILE, Kind.HARDLINK, Kind.SYMLINK, Kind.FOLDER})


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Group(_Row):
    why: str
    paths: tuple[str, ...]
    init: bool = False
    service: tuple[str, ...] = ()
    quiet: bool = False


class _Templates(_Row):
    folders: tuple[str, ...]


class _Made(_Row):
    package: str
    paths: tuple[str, ...]


class _Enabled(_Row):
    records: str
    links: str
    endings: tuple[str, ...]


class _Table(_Row):
    system: frozenset[str]
    own: tuple[str, ...]
    standard: frozenset[str]
    of_init: frozenset[str] = Field(alias="of-init")
    kept_by_programs: tuple[str, ...] = Field(alias="kept-by-programs")
    group: tuple[_Group, ...]
    templates: _Templates
    enabled: tuple[_Enabled, ...]
    made: tuple[_Made, ...]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What decides about paths, beside the paths.

    :ivar init: an init system stays.
    :ivar service: the one that is started.
    :ivar absent: packages that the machine has and the image will not.
    :ivar treated: paths that the rules of the conversion changed or added.
    :ivar secrets: what is secret about a file, by path.
    :ivar data: folders of services' data, which are volumes.
    """

    init: bool
    service: str | None
    absent: frozenset[str]
    treated: frozenset[bytes]
    secrets: Mapping[bytes, str]
    data: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Differences:
    """What is to be copied, and what is to be removed.

    :ivar entries: files, links and folders, in the order of the tree.
    :ivar changed: those of them that packages brought otherwise.
    :ivar removed: what packages bring, and the machine does not have any more.
    """

    entries: tuple[Entry, ...]
    changed: frozenset[bytes]
    removed: tuple[bytes, ...]
    findings: tuple[Finding, ...]


def find_differences(index: TreeIndex, originals: Originals, around: Circumstances) -> Differences:
    """Return what a root has beyond its packages.

    :raises formats.core.errors.CorruptError: where a file cannot be read.
    """
    search = _Search(index, originals, around)
    for entry in announced(index.tree, index.limits):
        search.take(entry)
    removed = _removed(index, originals, around)
    return Differences(
        tuple(search.entries), frozenset(search.changed), tuple(removed), tuple(search.told())
    )


@dataclass(slots=True)
class _Tally:
    """Paths that are told of together."""

    few: list[bytes] = field(default_factory=list)
    paths: int = 0
    content_bytes: int = 0

    def add(self, entry: Entry) -> None:
        if self.paths < _TOLD_OF_A_FOLDER:
            self.few.append(entry.path)
        self.paths += 1
        self.content_bytes += entry.size

    def __str__(self) -> str:
        return f"{self.paths:,} paths with {self.content_bytes:,} bytes"


class _Search:
    """One pass over a tree."""

    def __init__(self, index: TreeIndex, originals: Originals, around: Circumstances) -> None:
        self.entries: list[Entry] = []
        self.changed: set[bytes] = set()
        self._index = index
        self._originals = originals
        self._around = around
        self._enabled = frozenset(_enabled_by_scripts(index))
        self._data = tuple(folder + b"/" for folder in around.data)
        self._states: dict[bytes, State[tuple[int, _Group]] | None] = {
            b"": _patterns(around).start()
        }
        self._left_out: dict[tuple[bytes, str], _Tally] = {}
        self._in_volumes: dict[bytes, _Tally] = {}
        self._elsewhere: dict[bytes, _Tally] = {}
        self._templates: frozenset[bytes] | None = None

    def take(self, entry: Entry) -> None:
        """Decide about one path; its folder was decided about before."""
        if not entry.path:
            return
        parent, _, name = entry.path.rpartition(b"/")
        state = self._states.get(parent)
        if entry.kind is Kind.FOLDER:
            self._states[entry.path] = state.step(name) if state is not None else None
        if entry.path in self._around.treated or entry.path in self._enabled:
            return
        if (entry.path + b"/").startswith(self._data):
            self._count_data(entry)
            return
        owner = self._originals.owners.get(entry.path)
        is_asked = owner is not None or _is_peoples(entry.path)
        group = _first(state, name) if state is not None and is_asked else None
        if entry.kind is Kind.FOLDER:
            if owner is None and group is None and is_asked and not self._is_there(entry.path):
                self.entries.append(entry)
        elif group is not None and _is_quiet(group, entry):
            return
        elif owner is not None:
            self._take_packaged(entry, owner, group)
        elif group is not None:
            self._leave(entry, group.why)
        elif not is_asked:
            self._count_elsewhere(entry)
        elif not self._is_of_template(entry):
            self._keep(entry)

    def _take_packaged(self, entry: Entry, owner: str, group: _Group | None) -> None:
        if entry.kind not in _FILES:
            return
        if self._originals.is_as_packaged(self._index, entry) is not False:
            return
        if group is not None:
            self._leave(entry, group.why)
        elif owner in self._around.absent:
            self._leave(entry, f"it is of the package {owner}, which is not installed")
        elif self._keep(entry):
            self.changed.add(entry.path)

    def _is_there(self, folder: bytes) -> bool:
        """Tell whether the image has a folder, or packages bring it."""
        is_standard = folder.decode("utf-8", "replace") in _table().standard
        return is_standard or folder in self._originals.folders

    def _keep(self, entry: Entry) -> bool:
        secret = self._around.secrets.get(entry.path)
        if secret is not None:
            self._leave(entry, _TO_GIVE.format(secret))
        elif entry.size > _LARGEST_BYTES:
            self._leave(entry, f"it has more than {_LARGEST_BYTES // MIB} MiB")
        elif entry.kind not in _COPIED:
            self._leave(entry, f"it is a {entry.kind.value}")
        else:
            self.entries.append(entry)
            return True
        return False

    def _leave(self, entry: Entry, why: str) -> None:
        if entry.kind is not Kind.FOLDER:
            self._left_out.setdefault((entry.parent, why), _Tally()).add(entry)

    def _count_data(self, entry: Entry) -> None:
        if entry.kind is not Kind.FOLDER:
            folder = next(item for item in self._data if (entry.path + b"/").startswith(item))
            self._in_volumes.setdefault(folder.rstrip(b"/"), _Tally()).add(entry)

    def _count_elsewhere(self, entry: Entry) -> None:
        if entry.kind in _FILES and entry.size and not _kept_by_programs().covers(entry.path):
            folder = b"/".join(entry.parent.split(b"/")[:3])
            self._elsewhere.setdefault(folder, _Tally()).add(entry)

    def _is_of_template(self, entry: Entry) -> bool:
        if entry.kind is not Kind.FILE or entry.size > _TEMPLATE_BYTES:
            return False
        if self._templates is None:
            self._templates = frozenset(_contents(self._index, _table().templates.folders))
        return self._index.content(entry.path, _TEMPLATE_BYTES) in self._templates

    def told(self) -> Iterator[Finding]:
        """Yield what was left out, and what lies where only programs put things."""
        for (folder, why), tally in self._left_out.items():
            if tally.paths <= _TOLD_OF_A_FOLDER:
                yield from (Finding(LEFT_OUT, path, Action.DROPPED, why) for path in tally.few)
            else:
                yield Finding(LEFT_OUT, folder, Action.DROPPED, f"{why}; {tally} in it")
        for folder, tally in self._in_volumes.items():
            evidence = f"it is data of a service, which belongs into a volume; {tally} in it"
            yield Finding(LEFT_OUT, folder, Action.DROPPED, evidence)
        for folder, tally in sorted(self._elsewhere.items()):
            evidence = f"{tally} are of no package; programs make such: they are not copied"
            yield Finding(ELSEWHERE, folder, Action.REPORTED, evidence)


def _removed(index: TreeIndex, originals: Originals, around: Circumstances) -> Iterator[bytes]:
    """Yield what the packages that are installed bring, and the machine does not have any more."""
    for path in sorted(originals.settings):
        is_there = index.get(path) is not None or path in around.treated
        if not is_there and originals.owners.get(path) not in around.absent:
            yield path
    names = set(originals.owners.values()) - around.absent
    for made in _table().made:
        if any(fnmatchcase(name, made.package) for name in names):
            for item in made.paths:
                if index.get(item.encode()) is None:
                    yield item.encode()


def _is_quiet(group: _Group, entry: Entry) -> bool:
    """Tell whether nothing is said of a path; links for an init system only say what it starts."""
    return group.quiet or (group.init and entry.kind is Kind.SYMLINK)


def _first(state: State[tuple[int, _Group]], name: bytes) -> _Group | None:
    """Return the group whose pattern matches; of several, the first of the table."""
    found = sorted(state.values(name), key=lambda ranked: ranked[0])
    return found[0][1] if found else None


def _enabled_by_scripts(index: TreeIndex) -> Iterator[bytes]:
    """Yield the links that scripts of packages made."""
    for row in _table().enabled:
        for record in index.children(row.records.encode()):
            for ending in row.endings:
                yield join(row.links.encode(), record.name + ending.encode())


def folders_of_service(folders: Iterable[RuntimeFolder]) -> Iterator[RuntimeFolder]:
    """Yield the folders that a service needs, without those that only an init system looks for."""
    for folder in folders:
        if folder.path.decode("utf-8", "replace") not in _table().of_init:
            yield folder


def _contents(index: TreeIndex, folders: Iterable[str]) -> Iterator[bytes]:
    for folder in folders:
        for entry in index.children(folder.encode()):
            if entry.kind in _FILES and entry.size <= _TEMPLATE_BYTES:
                yield index.content(entry.path, _TEMPLATE_BYTES) or b""


def _patterns(around: Circumstances) -> PatternSet[tuple[int, _Group]]:
    patterns: PatternSet[tuple[int, _Group]] = PatternSet()
    for rank, group in enumerate(_table().group):
        is_kept = (group.init and around.init) or around.service in group.service
        for path in () if is_kept else group.paths:
            patterns.add(components(path), (rank, group))
    return patterns


def _is_peoples(path: bytes) -> bool:
    """Tell whether a path is where people put things, and not only packages."""
    top = path.partition(b"/")[0].decode("utf-8", "surrogateescape")
    return top not in _table().system or _own_folders().covers(path)


@cache
def _own_folders() -> PatternSet[None]:
    return _set_of(_table().own)


@cache
def _kept_by_programs() -> PatternSet[None]:
    return _set_of(_table().kept_by_programs)


def _set_of(paths: Iterable[str]) -> PatternSet[None]:
    patterns: PatternSet[None] = PatternSet()
    for path in paths:
        patterns.add(components(path), None)
    return patterns


@cache
def _table() -> _Table:
    text = (files("convert.dockerfile") / "leave.toml").read_text(encoding="utf-8")
    return _Table.model_validate(tomllib.loads(text))
