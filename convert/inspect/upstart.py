"""Upstart: the jobs that are started when a machine is (Ubuntu up to 14.10, CentOS 6).

init(5) of upstart: ``start on``, ``exec``, ``script``, ``expect``, ``setuid``, ``setgid``,
``chdir``, ``env``, ``manual``, ``kill signal``; files ``.override`` beside the jobs.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field

from convert.inspect.evidence import Evidence
from convert.inspect.facts import Command, Service
from convert.inspect.guest import Guest
from convert.inspect.shell import whole_lines
from convert.inspect.text import can_be_said, replaced
from formats.core.entry import Kind

_FOLDER = b"etc/init"
_JOB, _OVERRIDE = b".conf", b".override"
_BLOCKS = frozenset({"script", "pre-start", "post-start", "pre-stop", "post-stop"})
_END = "end script"
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?-([^${}]{0,256}))?\}|(\w+))")
_SHELL_SIGNS = re.compile(r"[`|;&<>(){}*?$]")
_NOT_AT_START = re.compile(r"stopped\s+rc\s+RUNLEVEL=S|runlevel\s+\[?[016S]+\]?\s*$")


@dataclass(slots=True)
class _Job:
    """What a job's files say; a stanza that comes again replaces the one before."""

    path: bytes
    start_on: tuple[int, str] | None = None
    command: tuple[int, str] | None = None
    script: list[tuple[int, str]] = field(default_factory=list)
    expect: str = ""
    is_task: bool = False
    is_manual: bool = False
    values: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


def started_by_upstart(guest: Guest) -> tuple[Service, ...]:
    """Return the jobs that start by themselves, by name."""
    services: list[Service] = []
    for entry in guest.children(_FOLDER):
        if entry.kind not in {Kind.FILE, Kind.HARDLINK} or not entry.name.endswith(_JOB):
            continue
        name = entry.name.removesuffix(_JOB).decode("utf-8", "surrogateescape")
        job = _Job(entry.path)
        for path in (entry.path, entry.path.removesuffix(_JOB) + _OVERRIDE):
            _read(guest, path, job)
        if job.start_on is not None and not job.is_manual and can_be_said(name):
            services.append(_service(name, job, job.start_on))
    return tuple(services)


def _read(guest: Guest, path: bytes, job: _Job) -> None:
    lines = whole_lines(guest.lines(path))
    for number, line in lines:
        words = line.split(None, 1)
        keyword, rest = (words[0], words[1] if len(words) > 1 else "") if words else ("", "")
        if keyword == "script":
            job.script = list(_block(lines))
        elif keyword in _BLOCKS and rest.split()[:1] == ["script"]:
            for _ in _block(lines):
                pass
        elif keyword == "exec":
            job.command, job.script = (number, rest), []
        elif keyword == "start" and rest.startswith("on"):
            job.start_on, job.is_manual = (number, _condition(rest[2:], lines)), False
        elif keyword == "manual":
            job.is_manual = True
        elif keyword == "task":
            job.is_task = True
        elif keyword == "expect":
            job.expect = rest.strip()
        elif keyword == "env":
            variable, equals, value = rest.partition("=")
            if equals:
                job.environment[variable.strip()] = value.strip().strip("\"'")
        elif keyword in {"setuid", "setgid", "chdir"}:
            job.values[keyword] = rest.strip()
        elif keyword == "kill" and rest.startswith("signal"):
            job.values["signal"] = rest.removeprefix("signal").strip()


def _block(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    for number, line in lines:
        if line.strip() == _END:
            return
        yield number, line


def _condition(text: str, lines: Iterator[tuple[int, str]]) -> str:
    """Return a condition, which goes on in the next line while a parenthesis is open."""
    while text.count("(") > text.count(")"):
        following = next(lines, None)
        if following is None:
            break
        text += " " + following[1]
    return " ".join(text.split())


def _service(name: str, job: _Job, start_on: tuple[int, str]) -> Service:
    line, condition = start_on
    command = _command(job)
    kind = "oneshot" if job.is_task else "forking" if job.expect in {"fork", "daemon"} else "simple"
    return Service(
        name=name,
        manager="upstart",
        kind=kind,
        evidence=Evidence(job.path, None, "upstart-job"),
        enabled_by=Evidence(job.path, line, "upstart-start-on"),
        start=(command,) if command is not None else (),
        environment=tuple(sorted(job.environment.items())),
        user=job.values.get("setuid"),
        group=job.values.get("setgid"),
        working_dir=job.values.get("chdir"),
        kill_signal=job.values.get("signal"),
        not_workload=_why_not(condition),
    )


def _why_not(condition: str) -> str | None:
    if _NOT_AT_START.fullmatch(condition):
        return f"does not start with the machine (start on {condition})"
    return None


def _command(job: _Job) -> Command | None:
    """Return the command of ``exec``, or the last line of a script if that is a plain one."""
    stated = job.command
    if stated is None:
        plain = [
            (number, line.strip())
            for number, line in job.script
            if line.strip() and not line.strip().startswith("#")
        ]
        if not plain or not plain[-1][1].startswith("exec "):
            return None
        stated = (plain[-1][0], plain[-1][1].removeprefix("exec "))
    number, text = stated

    def value_of(match: re.Match[str]) -> str:
        return job.environment.get(match[1] or match[3]) or match[2] or match[0]

    text = replaced(_VARIABLE, text, value_of)
    if _SHELL_SIGNS.search(text):  # init(5): such a command is given to a shell
        argv: tuple[str, ...] = ("/bin/sh", "-c", f"exec {text}")
    else:
        try:
            argv = tuple(shlex.split(text))
        except ValueError:
            return None
    return Command(argv, Evidence(job.path, number, "upstart-exec")) if argv else None
