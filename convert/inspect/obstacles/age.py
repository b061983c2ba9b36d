"""What is too old, or too different, for the hosts that containers run on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from convert.inspect.arch import architecture_of_programs
from convert.inspect.evidence import Evidence
from convert.inspect.facts import Architecture, Facts, Obstacle
from convert.inspect.guest import Guest
from convert.inspect.obstacles.catalogue import ages, obstacle, table
from convert.inspect.text import encoded

_JAVA_RELEASES = (
    b"usr/lib/jvm/*/release",
    b"opt/*/release",
    b"usr/local/*/release",
    b"usr/java/*/release",
)
"""Java's own file of facts; packages have it as well as archives."""
_JAVA_VERSION = re.compile(r'JAVA_VERSION="([\d._]+)')
_KNOWS_CGROUP_V2 = {8: (8, 0, 372), 11: (11, 0, 16)}
_SINCE_JAVA = 15
_UNIFIED_SINCE = 232
"""systemd's NEWS: from then on it can start where there is only cgroup v2."""
_SYSTEMD_LIBRARY = re.compile(rb"libsystemd-(?:shared|core)-(\d{3})")
_32_BIT = frozenset({"386", "arm", "mips", "mipsle"})


def too_old(guest: Guest, facts: Facts) -> Iterator[Obstacle]:
    """Yield what does not know cgroup v2: by packages, by Java's own files, systemd as the init."""
    for age in ages():
        for package in facts.packages:
            if not age.packages.fullmatch(package.name):
                continue
            if _is_before(package.version, age.below):
                where = f"{package.system.value}-database"
                evidence = Evidence(b"", None, f"{where}: {package.name} {package.version}")
                yield obstacle("cgroup-v1", f"{age.what}: {package.name}", evidence)
                break
    for pattern in _JAVA_RELEASES:
        for entry in guest.glob(pattern):
            for number, line in guest.lines(entry.path):
                match = _JAVA_VERSION.match(line)
                if match is not None and _is_old_java(match[1]):
                    evidence = Evidence(entry.path, number, "java-release")
                    yield obstacle("cgroup-v1", f"Java {match[1]}", evidence)
    yield from _old_systemd(guest, facts)


def numbers_of(version: str) -> tuple[int, ...]:
    """Return a version's numbers in their order, without the epoch before a colon."""
    text = re.sub(r"^\d+:", "", version)
    return tuple(int(part) for part in re.findall(r"\d{1,9}", text[:100]))


def _is_before(version: str, limits: tuple[tuple[int, ...], ...]) -> bool:
    """Tell whether a version is below the limit; of several forms, the one that begins alike."""
    numbers = numbers_of(version)
    alike = [limit for limit in limits if limit[:1] == numbers[:1]] or limits[:1]
    return not alike or numbers < alike[0]


def _is_old_java(version: str) -> bool:
    """Tell it from ``1.8.0_292``, ``8.0.292``, ``11.0.14.1`` or ``17``."""
    numbers = numbers_of(version)
    numbers = numbers[1:] if numbers[:1] == (1,) else numbers
    if not numbers or numbers[0] >= _SINCE_JAVA:
        return False
    since = _KNOWS_CGROUP_V2.get(numbers[0])
    return since is None or numbers < since


def _old_systemd(guest: Guest, facts: Facts) -> Iterator[Obstacle]:
    if facts.init is None or facts.init.name != "systemd":
        return
    packaged = (item.version for item in facts.packages if item.name == "systemd")
    found = [numbers_of(version)[:1] for version in packaged]
    for folder in (b"usr/lib/systemd", b"lib/systemd"):
        for entry in guest.children(folder):
            match = _SYSTEMD_LIBRARY.match(entry.name)
            found += [(int(match[1]),)] if match is not None else []
    for version in found[:1]:
        if version and version[0] < _UNIFIED_SINCE:
            evidence = Evidence(facts.init.evidence.path, None, "systemd-version")
            yield obstacle("old-init", f"systemd {version[0]}", evidence)


def bits(guest: Guest, facts: Facts) -> Iterator[Obstacle]:
    """Yield that the whole is 32-bit; and services whose program is for another processor."""
    whole = facts.architecture
    if whole.name in _32_BIT and whole.evidence is not None:
        yield obstacle("32-bit", f"the programs are for {_named(whole)}", whole.evidence)
    for service in facts.services:
        if service.not_workload is not None or not service.start or whole.name is None:
            continue
        program = guest.index.resolve(encoded(service.start[0].argv[0]))
        if program is None:
            continue
        own = architecture_of_programs(guest, (program,))
        if own.name is not None and own.name != whole.name and own.evidence is not None:
            kind = "32-bit" if own.name in _32_BIT else "other-architecture"
            what = f"{service.name} is for {_named(own)}, the system for {_named(whole)}"
            yield obstacle(kind, what, own.evidence)


def _named(architecture: Architecture) -> str:
    return f"{architecture.name}{'/' + architecture.variant if architecture.variant else ''}"


def nested(facts: Facts) -> Iterator[Obstacle]:
    """Yield services that run containers or machines of their own."""
    for row in table()["nested"]:
        for service in facts.services:
            if any(fnmatchcase(service.name, pattern) for pattern in row["services"]):
                yield obstacle("nested", f"{service.name} {row['what']}", service.enabled_by)
