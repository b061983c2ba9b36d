"""Which services have to start before which, and how their manager treats them.

systemd.unit(5) and systemd.service(5); LSB 5, "Comment Conventions for Init Scripts";
openrc-run(8), "Dependencies".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from convert.inspect.facts import Service
from convert.inspect.guest import Guest
from convert.inspect.unit_file import last, values
from convert.inspect.units import UnitSet

_BEHIND: Final = ("After", "Requires", "Wants", "BindsTo", "Requisite")
_LSB: Final = re.compile(r"#\s*(?:Required|Should)-Start:(.*)", re.IGNORECASE)
_OPENRC: Final = re.compile(r"\s*(?:need|use|want|after)\s+(.*)")
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")
_SECONDS: Final = {
    "": 1.0, "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0,
    "m": 60.0, "min": 60.0, "minute": 60.0, "minutes": 60.0,
    "h": 3600.0, "hr": 3600.0, "hour": 3600.0, "hours": 3600.0,
    "ms": 0.001, "msec": 0.001, "us": 0.000001, "usec": 0.000001,
}  # fmt: skip
"""systemd.time(7), "Parsing Time Spans"; longer units make no sense here."""
_LONGEST: Final = 3600
_HEADER_LINES: Final = 200


@dataclass(frozen=True, slots=True)
class Care:
    """How a service's manager starts and stops it.

    :ivar behind: other services that start before it.
    :ivar restart: ``always`` or ``on-failure`` where the manager starts it again.
    :ivar stop_seconds: how long it may take to stop.
    """

    behind: frozenset[str] = frozenset()
    restart: str | None = None
    stop_seconds: int | None = None


def care_of(services: Sequence[Service], guest: Guest) -> dict[str, Care]:
    """Return how each service is cared for; only services among these count as others."""
    names = _Names(services)
    units = UnitSet(guest) if any(service.manager == "systemd" for service in services) else None
    found: dict[str, Care] = {}
    for service in services:
        care = Care()
        if service.manager == "systemd" and units is not None:
            care = _of_unit(service, units, names)
        elif service.manager in {"sysv", "openrc"}:
            care = Care(names.known(_of_script(service, guest)))
        behind = care.behind - {service.name}
        found[service.name] = Care(behind, care.restart, care.stop_seconds)
    return found


def in_order(cares: Mapping[str, Care]) -> list[str]:
    """Return the services, each behind those that it starts behind; circles are broken by name."""
    ordered: list[str] = []
    waiting = sorted(cares)
    while waiting:
        ready = [name for name in waiting if cares[name].behind.isdisjoint(waiting)]
        taken = ready or waiting[:1]
        ordered += taken
        waiting = [name for name in waiting if name not in taken]
    return ordered


class _Names:
    """The services by every name that others may call them by."""

    def __init__(self, services: Iterable[Service]) -> None:
        self._found: dict[str, set[str]] = {}
        for service in services:
            for name in {service.name, service.name.partition("@")[0]}:
                self._found.setdefault(name, set()).add(service.name)

    def known(self, names: Iterable[str]) -> frozenset[str]:
        found: set[str] = set()
        for name in names:
            found |= self._found.get(name, set())
        return frozenset(found)


def _of_unit(service: Service, units: UnitSet, names: _Names) -> Care:
    unit = units.load(f"{service.name}.service")
    if unit is None:
        return Care()
    behind = [
        units.canonical(word).removesuffix(".service").removesuffix(".socket")
        for key in _BEHIND
        for setting in values(unit.settings, "Unit", key)
        for word in setting.value.split()
    ]
    restart = last(unit.settings, "Service", "Restart")
    stated = restart.value if restart is not None else "no"
    stop = last(unit.settings, "Service", "TimeoutStopSec") or last(
        unit.settings, "Service", "TimeoutSec"
    )
    return Care(
        names.known(behind),
        {"always": "always", "no": None}.get(stated, "on-failure"),
        None if stop is None else seconds(stop.value),
    )


def _of_script(service: Service, guest: Guest) -> Iterator[str]:
    for _, line in zip(range(_HEADER_LINES), guest.lines(service.evidence.path), strict=False):
        match = (_LSB if service.manager == "sysv" else _OPENRC).fullmatch(line[1])
        if match:
            yield from match[1].split()


def seconds(text: str) -> int | None:
    """Return a time span in whole seconds, at least 1; None for one that is not limited."""
    spans = _SPAN.findall(text.lower())
    if not spans or any(unit not in _SECONDS for _, unit in spans):
        return None
    total = sum(float(number) * _SECONDS[unit] for number, unit in spans)
    return max(round(min(total, _LONGEST)), 1) if total else None
