"""Periodic jobs: crontab(5), cron(8), anacron(8), run-parts(8). Reported; the container runs none.

An image has one program to start, and its scheduler is outside: what was periodic on the machine
is told with its time, so that it can be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from convert.inspect.evidence import Evidence
from convert.inspect.facts import Job
from convert.inspect.guest import Guest
from convert.inspect.text import can_be_said
from formats.core.entry import Entry, Kind

_SYSTEM_TABLES = (b"etc/crontab",)
_TABLE_FOLDERS = (b"etc/cron.d",)
_USER_TABLE_FOLDERS = (
    b"var/spool/cron/crontabs",
    b"var/spool/cron",
    b"var/spool/cron/tabs",
    b"etc/crontabs",
)
_PERIODIC = ("hourly", "daily", "weekly", "monthly", "15min")
_TIME = re.compile(r"@\w+|(?:[-\w*/,~]+[ \t]+){4}[-\w*/,~]+")
_VARIABLE = re.compile(r"\s*[\"']?\w+[\"']?\s*=")
_RUN_PARTS_NAME = re.compile(rb"[\w-]+")
_OF_THE_SYSTEM = re.compile(r"run-parts|/etc/cron\.|anacron|debian-sa1|e2scrub|popularity-contest")


def periodic_jobs(guest: Guest) -> tuple[Job, ...]:
    """Return all jobs, those left out that only run the folders of jobs."""
    return tuple(job for job in _jobs(guest) if can_be_said(job.command) and can_be_said(job.user))


def _jobs(guest: Guest) -> Iterator[Job]:
    for path in _SYSTEM_TABLES:
        yield from _table(guest, path, None)
    for folder in _TABLE_FOLDERS:
        for entry in guest.children(folder):
            if _is_file(entry):
                yield from _table(guest, entry.path, None)
    seen: set[bytes] = set()
    for folder in _USER_TABLE_FOLDERS:
        for entry in guest.children(folder):
            if _is_file(entry) and entry.path not in seen:
                seen.add(entry.path)
                yield from _table(guest, entry.path, entry.name.decode("utf-8", "surrogateescape"))
    for period in _PERIODIC:
        for folder in (b"etc/cron." + period.encode(), b"etc/periodic/" + period.encode()):
            for entry in guest.children(folder):
                if _is_program(guest, entry) and _RUN_PARTS_NAME.fullmatch(entry.name):
                    command = "/" + entry.path.decode("utf-8", "surrogateescape")
                    evidence = Evidence(entry.path, None, "cron-folder")
                    yield Job(f"@{period}", "root", command, evidence)


def _is_file(entry: Entry) -> bool:
    return entry.kind in {Kind.FILE, Kind.HARDLINK, Kind.SYMLINK}


def _is_program(guest: Guest, entry: Entry) -> bool:
    found = guest.index.resolve(entry.path)
    return found is not None and found.kind in {Kind.FILE, Kind.HARDLINK} and found.mode & 0o111 > 0


def _table(guest: Guest, path: bytes, owner: str | None) -> Iterator[Job]:
    """Yield the jobs of a table; a system's has the user as a field of its own."""
    for number, line in guest.lines(path):
        text = line.strip()
        match = _TIME.match(text)
        if match is None or text.startswith("#") or _VARIABLE.match(text):
            continue
        rest = text[match.end() :].strip()
        user, command = (owner, rest) if owner is not None else _user_and_command(rest)
        if command and not _OF_THE_SYSTEM.search(command):
            time = " ".join(match[0].split())
            yield Job(time, user, command, Evidence(path, number, "crontab"))


def _user_and_command(text: str) -> tuple[str, str]:
    words = text.split(None, 1)
    return (words[0], words[1]) if len(words) == 2 else ("root", "")
