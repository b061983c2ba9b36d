"""Which units start with a target: systemd.unit(5), "Wants=" and the settings after it.

Of what generators would make at boot, only PostgreSQL's clusters are here (:mod:`.postgresql`);
SysV scripts are in :mod:`.sysv`. Presets do not count: packages apply them when they are installed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from convert.inspect import postgresql
from convert.inspect.command_line import UnitName, expand_specifiers, specifiers
from convert.inspect.evidence import Evidence
from convert.inspect.text import encoded
from convert.inspect.unit_file import is_true, last
from convert.inspect.units import Unit, UnitSet, name_of
from formats.core.entry import join

_STARTS = ("Wants", "Requires", "BindsTo", "Upholds")
_LINK_FOLDERS = ((b".wants", "systemd-wants"), (b".requires", "systemd-requires"))
_NEED_SYSINIT = ("service", "socket", "timer", "path")
_UNITS_MAX = 20_000
_EARLY_TARGETS = ("sockets.target", "timers.target")


def started_units(units: UnitSet, root: str) -> dict[str, Evidence]:
    """Return every unit that starting ``root`` starts, by its own name, with what pulls it in.

    Masked and missing units are left out. A root that is missing itself, since systemd is not in
    the tree, starts what is linked to it and to the targets that come before it.
    """
    found: dict[str, Evidence] = {}
    top = units.canonical(root)
    bare: dict[str, Unit] = {}
    if units.load(top) is None:
        bare = {name: Unit(UnitName(name), (name,), b"", ()) for name in (top, *_EARLY_TARGETS)}
    queue = deque(bare or [top])
    seen = set(queue)
    while queue and len(seen) < _UNITS_MAX:
        name = queue.popleft()
        unit = units.load(name) or bare.get(name)
        if unit is None or unit.is_masked:
            continue
        for name, evidence in _pulled_in(units, unit):
            canonical = UnitName(units.canonical(_instantiated(name, unit.name)))
            if canonical.full in seen or not canonical.is_valid:
                continue
            seen.add(canonical.full)
            other = units.load(canonical.full)
            if other is not None and not other.is_masked:
                found[canonical.full] = evidence
                queue.append(canonical.full)
    return found


def _instantiated(name: str, owner: UnitName) -> str:
    """Return the unit that a template's name stands for: its instance for who asks for it."""
    template = UnitName(name)
    if not template.is_template:
        return name
    return f"{template.prefix}@{owner.instance or owner.prefix}.{template.kind}"


def _pulled_in(units: UnitSet, unit: Unit) -> Iterator[tuple[str, Evidence]]:
    """Yield the units that one pulls in when it starts, each with what says so."""
    for owner in unit.names:
        for spelled in filter(None, (owner, UnitName(owner).template)):
            yield from _linked(units, spelled)
    if unit.name.full == postgresql.UMBRELLA:
        yield from postgresql.cluster_units(units.guest)
    known = specifiers(unit.name)
    for setting in unit.settings:
        if setting.section == "Unit" and setting.key in _STARTS:
            evidence = Evidence(setting.path, setting.line, f"systemd-{setting.key.lower()}")
            for word in setting.value.split():
                yield expand_specifiers(word, known), evidence
    if unit.name.kind in _NEED_SYSINIT and _has_default_dependencies(unit):
        yield "sysinit.target", Evidence(unit.path, None, "systemd-default-dependencies")


def _linked(units: UnitSet, owner: str) -> Iterator[tuple[str, Evidence]]:
    for folder in units.folders:
        for suffix, rule in _LINK_FOLDERS:
            for link in units.guest.children(join(folder, encoded(owner) + suffix)):
                if not units.is_masked(link):
                    yield name_of(link), Evidence(link.path, None, rule)


def _has_default_dependencies(unit: Unit) -> bool:
    stated = last(unit.settings, "Unit", "DefaultDependencies")
    return stated is None or is_true(stated)
