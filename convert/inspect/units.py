"""The guest's systemd units: where they are, what they are called, what is in them.

systemd.unit(5): https://www.freedesktop.org/software/systemd/man/latest/systemd.unit.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from posixpath import normpath

from convert.inspect.command_line import UnitName
from convert.inspect.guest import Guest
from convert.inspect.text import encoded
from convert.inspect.unit_file import Setting, parse_unit
from formats.core.entry import Entry, Kind, join

SEARCH_PATH: tuple[bytes, ...] = (
    b"etc/systemd/system",
    b"run/systemd/system",
    b"usr/local/lib/systemd/system",
    b"usr/lib/systemd/system",
    b"lib/systemd/system",
)
"""First wins; drop-ins and ``.wants`` folders of all are taken together."""


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

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.folders = list(_folders(guest))
        self._files: dict[str, Entry] = {}
        for folder in self.folders:
            for entry in guest.children(folder):
                unit_name = UnitName(name_of(entry))
                if entry.kind is not Kind.FOLDER and unit_name.is_valid:
                    self._files.setdefault(unit_name.full, entry)
        self._parsed: dict[bytes, list[Setting]] = {}
        self._drop_ins_of: dict[bytes, list[Entry]] = {}
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
        if entry.kind is not Kind.SYMLINK:
            return name
        target = self.guest.index.resolve(entry.path)
        if target is None:
            return name
        own, other = UnitName(name), UnitName(name_of(target))
        if other.kind != own.kind or not other.is_valid:
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
        if self.is_masked(entry):
            return Unit(canonical, names, entry.path, (), is_masked=True)
        target = self.guest.index.resolve(entry.path)
        if target is None or target.kind not in {Kind.FILE, Kind.HARDLINK}:
            return None
        settings = [*self._settings(target.path)]
        for drop_in in self._drop_ins(names, canonical):
            settings += self._settings(drop_in.path)
        return Unit(canonical, names, target.path, tuple(settings))

    def _settings(self, path: bytes) -> list[Setting]:
        if path not in self._parsed:
            self._parsed[path] = parse_unit(self.guest.text(path) or "", path)
        return self._parsed[path]

    def is_masked(self, entry: Entry) -> bool:
        """Tell whether a unit is linked to ``/dev/null``, or empty, which means the same.

        The device itself is seldom in a tree.
        """
        for _ in range(self.guest.index.limits.symlink_hops):
            if entry.kind is not Kind.SYMLINK:
                return entry.kind in {Kind.FILE, Kind.HARDLINK} and not entry.size
            target = entry.target or b""
            path = normpath(
                target if target.startswith(b"/") else b"/" + join(entry.parent, target)
            )
            if path == b"/dev/null":
                return True
            folder = self.guest.index.resolve(path.rpartition(b"/")[0])
            following = (
                self.guest.index.get(join(folder.path, path.rpartition(b"/")[2]))
                if folder
                else None
            )
            if following is None:
                return False
            entry = following
        return False

    def _drop_ins(self, names: tuple[str, ...], canonical: UnitName) -> list[Entry]:
        """Return drop-ins by file name; of equal ones, the first counts that is found.

        An earlier folder of the search path goes before a more particular name; those for all
        units of a kind come last.
        """
        owners = [owner for name in names for owner in _drop_in_owners(UnitName(name))]
        places = [(folder, owner) for folder in self.folders for owner in owners]
        places += [(folder, canonical.kind) for folder in self.folders]
        found: dict[bytes, Entry] = {}
        for folder, owner in places:
            for entry in self._drop_ins_in(join(folder, encoded(owner) + b".d")):
                found.setdefault(entry.name, entry)
        return [entry for _, entry in sorted(found.items()) if not self.is_masked(entry)]

    def _drop_ins_in(self, folder: bytes) -> list[Entry]:
        if folder not in self._drop_ins_of:
            children = self.guest.children(folder)
            self._drop_ins_of[folder] = [
                entry for entry in children if entry.name.endswith(b".conf")
            ]
        return self._drop_ins_of[folder]


def _folders(guest: Guest) -> Iterator[bytes]:
    """Yield the folders of the search path that are there; ``/lib`` is often ``/usr/lib``."""
    seen: set[bytes] = set()
    for path in SEARCH_PATH:
        folder = guest.index.resolve(path)
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


def name_of(entry: Entry) -> str:
    """Return the unit name that a path stands for."""
    return entry.name.decode("utf-8", "surrogateescape")
