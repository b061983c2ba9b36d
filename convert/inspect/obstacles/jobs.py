"""Periodic jobs that nobody's package brought: of cron, and of timers, systemd.timer(5)."""

from __future__ import annotations

from collections.abc import Iterator

from convert.inspect.evidence import Evidence
from convert.inspect.facts import Facts, Obstacle
from convert.inspect.guest import Guest
from convert.inspect.installed import Installed
from convert.inspect.obstacles.catalogue import obstacle
from convert.inspect.plumbing import plumbing_of
from convert.inspect.text import encoded
from convert.inspect.unit_file import Setting, last, parse_unit
from convert.inspect.units import SEARCH_PATH
from formats.core.entry import Entry, Kind, join

_TIMES = (
    *("OnCalendar", "OnBootSec", "OnStartupSec", "OnActiveSec"),
    *("OnUnitActiveSec", "OnUnitInactiveSec"),
)


def jobs(guest: Guest, facts: Facts, installed: Installed) -> Iterator[Obstacle]:
    """Yield the jobs that were set up here; the distribution's own keep a machine in order."""
    told: set[bytes] = set()
    for job in facts.jobs:
        told.add(job.evidence.path)
        target = guest.index.resolve(job.evidence.path)
        if target is not None and (installed.owns(target.path) or _is_plumbing(target)):
            continue
        yield obstacle("job", f"{job.time} {job.user}: {job.command}", job.evidence)
    for name in facts.timers:
        file = _file(guest, name)
        if file is None or file.path in told or installed.owns(file.path) or plumbing_of(name):
            continue
        settings = parse_unit(guest.text(file.path) or "", file.path)
        time = _time(settings)
        unit = last(settings, "Timer", "Unit")
        starts = unit.value if unit is not None else f"{name}.service"
        if time is not None:
            evidence = Evidence(time.path, time.line, "systemd-timer")
            yield obstacle("job", f"{time.key}={time.value}: {starts}", evidence)


def _is_plumbing(file: Entry) -> bool:
    """Tell whether a file is a timer that keeps a machine in order."""
    name = file.name.decode("utf-8", "replace")
    return name.endswith(".timer") and plumbing_of(name.removesuffix(".timer")) is not None


def _file(guest: Guest, name: str) -> Entry | None:
    """Return the file of a timer, or that of its template."""
    template = name.partition("@")[0] + "@" if "@" in name else name
    for stem in dict.fromkeys((name, template)):
        for folder in SEARCH_PATH:
            entry = guest.index.resolve(join(folder, encoded(f"{stem}.timer")))
            if entry is not None and entry.kind in {Kind.FILE, Kind.HARDLINK}:
                return entry
    return None


def _time(settings: list[Setting]) -> Setting | None:
    found = (last(settings, "Timer", key) for key in _TIMES)
    return next((setting for setting in found if setting is not None), None)
