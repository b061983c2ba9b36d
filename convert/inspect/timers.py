"""Timers as periodic jobs: systemd.timer(5). Reported like those of cron; the container runs none.

Timers of the system's own services (log rotation, updates, disks) are left out.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator

from convert.inspect.accounts import Accounts
from convert.inspect.evidence import Evidence
from convert.inspect.facts import Job
from convert.inspect.plumbing import plumbing_of
from convert.inspect.service_unit import service_of
from convert.inspect.text import can_be_said
from convert.inspect.unit_file import Setting, last
from convert.inspect.units import Unit, UnitSet

TIMER = "systemd-timer"
"""The rule of each job's evidence."""

_CALENDAR = "OnCalendar"
_SINCE = (
    "OnActiveSec",
    "OnBootSec",
    "OnStartupSec",
    "OnUnitActiveSec",
    "OnUnitInactiveSec",
)


def timer_jobs(units: UnitSet, accounts: Accounts, names: Iterable[str]) -> Iterator[Job]:
    """Yield a job for each timer that starts a service which may be a workload.

    :param names: of the timers that start with the machine, without their suffix.
    """
    for name in names:
        timer = units.load(f"{name}.timer")
        if timer is None:
            continue
        stated = last(timer.settings, "Timer", "Unit")
        unit = units.load(stated.value if stated is not None else f"{name}.service")
        times = list(_times(timer))
        if unit is None or unit.is_masked or not times or plumbing_of(unit.name.stem) is not None:
            continue
        started_by = Evidence(times[0].path, times[0].line, TIMER)
        service = service_of(units.guest, accounts, unit, started_by)
        command = "; ".join(shlex.join(command.argv) for command in service.start)
        user = service.user or "root"
        if command and can_be_said(command) and can_be_said(user):
            yield Job("; ".join(map(_told, times)), user, command, started_by)


def _times(timer: Unit) -> Iterator[Setting]:
    """Yield what says when; an empty value of any of them forgets all before it."""
    found: list[Setting] = []
    for setting in timer.settings:
        if setting.section == "Timer" and setting.key in (_CALENDAR, *_SINCE):
            if setting.value:
                found.append(setting)
            else:
                found.clear()
    yield from (setting for setting in found if can_be_said(setting.value))


def _told(setting: Setting) -> str:
    return setting.value if setting.key == _CALENDAR else f"{setting.key}={setting.value}"
