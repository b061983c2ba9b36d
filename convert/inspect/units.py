"""The guest's systemd units: where they are, what they are called, and which ones start.

systemd.unit(5): https://www.freedesktop.org/software/systemd/man/latest/systemd.unit.html

Of what generators would make at boot, only PostgreSQL's clusters are here (:mod:`.postgresql`);
SysV scripts are in :mod:`.sysv`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from convert.inspect import postgresql
from convert.inspect.command_line import UnitName, expand_specifiers, specifiers
from convert.inspect.facts import Evidence
from convert.inspect.text import text_of
from convert.inspect.unit_file import Setting, parse_unit, values
from formats.core.entry import Entry, Kind, join
from formats.core.tree import TreeIndex

SEARCH_PATH: tuple[bytes, ...] = (
    b"etc/systemd/system",
    b"run/systemd/system",
    b"usr/local/lib/systemd/system",
    b"usr/lib/systemd/system",
    b"lib/systemd/system",
)
"""First wins; drop-ins and ``.wants`` folders of all are taken together."""

_SUFFIXES = ("service", "socket", "target", "timer", "mount", "automount", "path", "slice", "swap")
_STARTS = ("Wants", "Requires", "BindsTo", "Upholds")
_LINK_FOLDERS = (b".wants", b".requires", b".upholds")
_UNITS_MAX = 20_000


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as systemd would load it.

    :ivar name: its own name, not the alias that led to it.
    :ivar names: that one and every alias that is known.
    :ivar path: its file; that of the template for an instance.
    :ivar settings: of the file and then of its drop-ins.
    """

    name: UnitName
    names: tuple[str, ...]
    path: bytes
    settings: tuple[Setting, ...]
    is_masked: bool = False


class UnitSet:
    """All units of a tree, looked up by name."""

    def __init__(self, index: TreeIndex) -> None:
        self.index = index
        self._folders = list(_folders(index))
        self._files: dict[str, Entry] = {}
        for folder in self._folders:
            for entry in index.children(folder):
                name = _name(entry)
                if entry.kind is not Kind.FOLDER and UnitName(name).kind in _SUFFIXES:
                    self._files.setdefault(name, entry)
        self._canonical = {name: self._follow(name) for name in self._files}
        self._aliases: dict[str, list[str]] = {}
        for name, canonical in sorted(self._canonical.items()):
            if name != canonical:
                self._aliases.setdefault(canonical, []).append(name)

    def service_names(self) -> frozenset[str]:
        """Return the names of all service units and their aliases, without the suffix."""
        names = (UnitName(name) for name in self._files)
        return frozenset(name.stem for name in names if name.kind == "service")

    def canonical(self, name: str) -> str:
        """Return the name that an alias stands for."""
        found = self._canonical.get(name)
        if found is not None:
            return found
        unit = UnitName(name)
        template = self._canonical.get(unit.template or "")
        if template is not None and template != unit.template:  # an alias of a template
            other = UnitName(template)
            return f"{other.prefix}@{unit.instance}.{other.kind}" if other.is_template else name
        return name

    def _follow(self, name: str) -> str:
        """Follow the links of one name; an instance that links to its template keeps its name."""
        entry = self._files[name]
        if entry.kind is not Kind.SYMLINK or _is_null(entry):
            return name
        target = self.index.resolve(entry.path)
        if target is None:
            return name
        own, other = UnitName(name), UnitName(_name(target))
        if other.kind != own.kind:
            return name
        if other.is_template and own.instance:
            return f"{other.prefix}@{own.instance}.{other.kind}"
        return other.full

    def load(self, name: str) -> Unit | None:
        """Return a unit with its drop-ins; None if there is no such unit."""
        canonical = UnitName(self.canonical(name))
        entry = self._files.get(name) or self._files.get(canonical.full)
        if entry is None and canonical.template:
            entry = self._files.get(canonical.template)
        if entry is None or canonical.is_template:
            return None
        names = (canonical.full, *self._aliases.get(canonical.full, ()))
        target = self.index.resolve(entry.path)
        if _is_null(entry) or (target is not None and target.kind is Kind.FILE and not target.size):
            return Unit(canonical, names, entry.path, (), is_masked=True)
        text = text_of(self.index, entry.path) if target is not None else None
        if target is None or text is None:
            return None
        settings = parse_unit(text, target.path)
        for drop_in in self._drop_ins(names, canonical):
            settings += parse_unit(text_of(self.index, drop_in.path) or "", drop_in.path)
        return Unit(canonical, names, target.path, tuple(settings))

    def _drop_ins(self, names: tuple[str, ...], canonical: UnitName) -> list[Entry]:
        """Return drop-ins by file name; the first folder that has a name wins."""
        owners = [owner for name in names for owner in _drop_in_owners(UnitName(name))]
        found: dict[bytes, Entry] = {}
        for owner in [*owners, canonical.kind]:
            for folder in self._folders:
                for entry in self.index.children(join(folder, owner.encode() + b".d")):
                    if entry.name.endswith(b".conf"):
                        found.setdefault(entry.name, entry)
        return [entry for _, entry in sorted(found.items()) if not _is_null(entry)]

    def starts(self, name: str) -> Iterator[tuple[str, Evidence]]:
        """Yield the units that a unit pulls in when it starts, each with what says so."""
        unit = self.load(name)
        names = unit.names if unit is not None else (name,)
        if unit is not None and unit.is_masked:
            return
        for owner in names:
            templates = UnitName(owner).template
            for spelled in filter(None, (owner, templates)):
                yield from self._linked(spelled)
        if unit is None:
            return
        if unit.name.full == postgresql.UMBRELLA:
            yield from postgresql.cluster_units(self.index)
        known = specifiers(unit.name)
        for key in _STARTS:
            for setting in values(unit.settings, "Unit", key):
                for word in expand_specifiers(setting.value, known).split():
                    yield word, Evidence(setting.path, setting.line, f"systemd-{key.lower()}")

    def _linked(self, owner: str) -> Iterator[tuple[str, Evidence]]:
        encoded = owner.encode("utf-8", "surrogateescape")
        for folder in self._folders:
            for suffix in _LINK_FOLDERS:
                for link in self.index.children(join(folder, encoded + suffix)):
                    if not _is_null(link):
                        rule = f"systemd{suffix.decode().replace('.', '-')}"
                        yield _name(link), Evidence(link.path, None, rule)

    def started(self, root: str) -> dict[str, Evidence]:
        """Return every unit that starting ``root`` starts, by its own name, with what pulls it in.

        Masked and missing units are left out, targets without a file are not: their ``.wants``
        folders count all the same.
        """
        found: dict[str, Evidence] = {}
        queue = deque([self.canonical(root)])
        seen = set(queue)
        while queue and len(seen) < _UNITS_MAX:
            for name, evidence in self.starts(queue.popleft()):
                canonical = self.canonical(name)
                if canonical in seen or UnitName(canonical).kind not in _SUFFIXES:
                    continue
                seen.add(canonical)
                unit = self.load(canonical)
                if unit is not None and unit.is_masked:
                    continue
                if unit is None and not canonical.endswith(".target"):
                    continue
                found[canonical] = evidence
                queue.append(canonical)
        return found


def _folders(index: TreeIndex) -> Iterator[bytes]:
    """Yield the folders of the search path that are there; ``/lib`` is often ``/usr/lib``."""
    seen: set[bytes] = set()
    for path in SEARCH_PATH:
        folder = index.resolve(path)
        if folder is not None and folder.kind is Kind.FOLDER and folder.path not in seen:
            seen.add(folder.path)
            yield folder.path


def _drop_in_owners(name: UnitName) -> Iterator[str]:
    """Yield the names whose ``.d`` folders apply, the most particular first.

    ``a-b@c.service``, its template, then ``a-.service``: systemd.unit(5), "Description".
    """
    yield name.full
    if name.template:
        yield name.template
    stem = name.prefix
    while "-" in stem.rstrip("-"):
        stem = stem.rstrip("-").rpartition("-")[0] + "-"
        yield f"{stem}.{name.kind}"


def _is_null(entry: Entry) -> bool:
    return entry.kind is Kind.SYMLINK and entry.target == b"/dev/null"


def _name(entry: Entry) -> str:
    return entry.name.decode("utf-8", "surrogateescape")
