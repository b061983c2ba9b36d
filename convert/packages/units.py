"""Enabling services as data: the links that ``systemctl enable`` and update-rc.d(8) make.

Specification: systemd.unit(5), "[Install] Section Options"; LSB, "Comment Conventions for Init
Scripts". Only what the requested packages want is enabled: their dependencies are there to be used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from convert.inspect.command_line import UnitName, expand_specifiers, specifiers
from convert.inspect.text import encoded
from convert.inspect.unit_file import Setting, parse_unit, split_words, values
from convert.packages.system import DeedError, System
from convert.packages.world import Item, Stored
from formats.core.entry import Kind
from formats.core.finding import Action

_FOLDERS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_LINKED_FROM = (("WantedBy", "wants"), ("RequiredBy", "requires"), ("UpheldBy", "upholds"))
_UNITS_MAX = 200
_START_LEVELS = re.compile(r"^#\s*Default-Start:\s*([0-6S ]*)$", re.MULTILINE)


def enable_units(system: System, requested: frozenset[str]) -> None:
    """Enable what scripts of the requested packages enable; say what others would have."""
    left: dict[str, list[str]] = {}
    for (package, unit), by in system.units.items():
        if unit in system.masked:
            continue
        if package not in requested:
            left.setdefault(package, []).append(unit)
            continue
        _enable(system, unit, by)
    for unit, by in system.masked.items():
        _link(system, f"/etc/systemd/system/{unit}", "/dev/null", by)
    for package, units in left.items():
        evidence = f"{', '.join(units)} not enabled: {package} was not asked for by name"
        system.told("package-unit", b"etc/systemd/system", Action.REPORTED, evidence)


def _enable(system: System, unit: str, by: str) -> None:
    pending = [unit]
    seen: set[str] = set()
    while pending and len(seen) < _UNITS_MAX:
        name = pending.pop(0)
        if name in seen or not UnitName(name).is_valid:
            continue
        seen.add(name)
        path = _unit_path(system, name)
        if path is None:
            if name == unit:
                _enable_script(system, unit.removesuffix(".service"), by)
            continue
        settings = _settings(system, path)
        for link, target in _links(name, path, settings):
            _link(system, link, target, by)
        for setting in values(settings, "Install", "Also"):
            pending += split_words(setting.value)


def _unit_path(system: System, name: str) -> str | None:
    template = UnitName(name).template
    for candidate in (name, template):
        for folder in _FOLDERS:
            item = system.item(f"{folder}/{candidate}") if candidate else None
            if item is not None and item.entry.kind is Kind.FILE and item.entry.size:
                content = item.content  # the package's own spelling of the path: /lib or /usr/lib
                path = content.entry.path if isinstance(content, Stored) else item.entry.path
                return "/" + path.decode("utf-8", "surrogateescape")
    return None


def _settings(system: System, path: str) -> list[Setting]:
    item = system.item(path)
    content = b"" if item is None else system.world.content(item.entry.path) or b""
    return parse_unit(content.decode("utf-8", "surrogateescape"), encoded(path.lstrip("/")))


def _links(name: str, path: str, settings: list[Setting]) -> Iterator[tuple[str, str]]:
    """Yield the links that enabling a unit makes, and where they lead."""
    unit = UnitName(name)
    if unit.is_template:
        instance = values(settings, "Install", "DefaultInstance")
        if not instance:
            return
        unit = UnitName(f"{unit.prefix}@{instance[-1].value}.{unit.kind}")
    known = specifiers(unit)
    for key, suffix in _LINKED_FROM:
        for setting in values(settings, "Install", key):
            for word in split_words(setting.value):
                other = expand_specifiers(word, known)
                yield f"/etc/systemd/system/{other}.{suffix}/{unit.full}", path
    for setting in values(settings, "Install", "Alias"):
        for word in split_words(setting.value):
            yield f"/etc/systemd/system/{expand_specifiers(word, known)}", path


def _link(system: System, path: str, target: str, by: str) -> None:
    name = path.removeprefix("/etc/systemd/system/")
    if ".." in name.split("/") or not name.isprintable() or "%" in name:
        return
    if system.item(path, follow=False) is not None:
        return
    try:
        system.make_folder(path.rpartition("/")[0], by)
        system.make_link(path, target, by, replaces=False)
    except DeedError as error:
        system.told("package-unit", encoded(path[1:]), Action.REPORTED, f"not enabled: {error}")


def _enable_script(system: System, name: str, by: str) -> None:
    """Make the links of a SysV script, in the levels that it names."""
    item = system.item(f"/etc/init.d/{name}")
    if item is None or item.entry.kind is not Kind.FILE:
        return
    for level in _levels(system, item):
        path = f"/etc/rc{level}.d/S01{name}"
        try:
            system.make_folder(f"/etc/rc{level}.d", by)
            system.make_link(path, f"../init.d/{name}", by, replaces=True)
        except DeedError as error:
            system.told("package-unit", encoded(path[1:]), Action.REPORTED, f"not enabled: {error}")


def _levels(system: System, item: Item) -> list[str]:
    content = system.world.content(item.entry.path) or b""
    match = _START_LEVELS.search(content.decode("utf-8", "surrogateescape"))
    return match[1].split() if match else ["2", "3", "4", "5"]
