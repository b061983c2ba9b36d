"""Timers are reported as jobs, with the command of the service that they start."""

from __future__ import annotations

from convert.inspect.facts import Job
from convert.inspect.tree import inspect_tree
from formats.core.tree import TreeIndex
from tests.support.guests import ACCOUNTS, SYSTEM, UNITS, decide, service
from tests.support.memory_tree import memory_tree
from tests.support.systemd import units_text

TIMERS = f"{UNITS}/timers.target.wants"


def jobs(units: dict[str, str]) -> list[Job]:
    texts = {
        **ACCOUNTS,
        f"{UNITS}/multi-user.target": "[Unit]\nWants=timers.target\n",
        f"{UNITS}/timers.target": "[Unit]\nDescription=x\n",
    }
    for name, text in units.items():
        texts[f"{UNITS}/{name}"] = text
        if name.endswith(".timer"):
            texts[f"{TIMERS}/{name}"] = f"-> /{UNITS}/{name}"
    return list(inspect_tree(TreeIndex(memory_tree(SYSTEM + units_text(texts)))).jobs)


def test_a_timer_is_a_job_with_its_calendar_user_and_command() -> None:
    found = jobs(
        {
            "report.timer": "[Timer]\nOnCalendar=*-*-* 03:00\nOnBootSec=5min\n",
            "report.service": service("/usr/bin/app 'a b'", "Type=oneshot", "User=web"),
        }
    )
    assert [(job.time, job.user, job.command) for job in found] == [
        ("*-*-* 03:00; OnBootSec=5min", "web", "/usr/bin/app 'a b'")
    ]
    assert str(found[0].evidence) == f"/{UNITS}/report.timer:2 (systemd-timer)"


def test_it_may_start_a_service_of_another_name_and_forget_times() -> None:
    found = jobs(
        {
            "report.timer": "[Timer]\nOnCalendar=daily\nOnCalendar=\n"
            "OnCalendar=hourly\nUnit=a@1.service\n",
            "a@.service": service("/usr/bin/app %i", "Type=oneshot"),
        }
    )
    assert [(job.time, job.command) for job in found] == [("hourly", "/usr/bin/app 1")]


def test_timers_of_the_system_and_of_nothing_are_left_out() -> None:
    assert not jobs(
        {
            "fstrim.timer": "[Timer]\nOnCalendar=weekly\n",
            "fstrim.service": service("/usr/bin/app"),
            "gone.timer": "[Timer]\nOnCalendar=weekly\n",
            "never.timer": "[Timer]\n",
            "never.service": service("/usr/bin/app"),
        }
    )


def test_cron_is_not_started_for_timers_alone() -> None:
    units = {
        "cron.service": service("/usr/sbin/cron"),
        "report.timer": "[Timer]\nOnCalendar=weekly\n",
        "report.service": service("/usr/bin/app", "Type=oneshot"),
    }
    assert decide(units, more=SYSTEM + "f 755 0:0 usr/sbin/cron x\n").service != "cron"
