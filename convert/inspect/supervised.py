"""runit and s6: folders with a ``run`` that stays in the foreground.

runsvdir(8), runsv(8) of runit; s6-svscan(8), s6-supervise(8) and s6-rc's "The s6-rc-compile
program" of s6. A run script is a program of its own, so it is started as it is, unless it does
nothing but start another one.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from convert.inspect.evidence import Evidence
from convert.inspect.facts import Command, Service
from convert.inspect.guest import Guest
from convert.inspect.shell import whole_lines
from convert.inspect.text import can_be_said
from formats.core.entry import Entry, Kind, join

_SCAN_FOLDERS = (
    # what runsvdir and s6-svscan are started on by the distributions' own packages
    (b"etc/service", "runit"),
    (b"var/service", "runit"),
    (b"etc/runit/runsvdir/default", "runit"),
    (b"etc/runit/runsvdir/current", "runit"),
    (b"etc/s6", "s6"),
    (b"etc/s6/services", "s6"),
    (b"etc/services.d", "s6"),
    (b"run/service", "s6"),
    (b"etc/s6-overlay/s6-rc.d", "s6"),
)
_DOWN = b"down"
"""A file of this name keeps a service from being started: runsv(8), s6-supervise(8)."""
_CHPST = re.compile(r"\bchpst\b.*?\s-[uU]\s*:?([\w-]+)(?::([\w-]+))?")
_SETUIDGID = re.compile(r"\b(?:s6-)?setuidgid\s+([\w-]+)")
_SHELLS = (b"sh", b"bash", b"dash", b"ash")
_SHELL_SIGNS = re.compile(r"[$`|;&<>(){}*?]")
_SHEBANG = re.compile(rb"#!\s*\S*/(?:env\s+)?(\w+)")


@dataclass(frozen=True, slots=True)
class _Supervised:
    name: str
    manager: str
    folder: Entry
    run: Entry


def started_by_supervision(guest: Guest) -> tuple[Service, ...]:
    """Return the services that runit and s6 keep, by name."""
    found: dict[str, _Supervised] = {}
    for scanned, manager in _SCAN_FOLDERS:
        for item in _folders(guest, scanned, manager):
            found.setdefault(item.name, item)
    return tuple(_service(guest, found[name]) for name in sorted(found))


def _folders(guest: Guest, scanned: bytes, manager: str) -> Iterator[_Supervised]:
    for link in guest.children(scanned):
        folder = guest.index.resolve(link.path)
        name = link.name.decode("utf-8", "surrogateescape")
        if folder is None or folder.kind is not Kind.FOLDER or name.startswith("."):
            continue
        run = guest.index.resolve(join(link.path, b"run"))
        is_program = run is not None and run.kind in {Kind.FILE, Kind.HARDLINK}
        if run is not None and is_program and run.mode & 0o111 and can_be_said(name):
            yield _Supervised(name, manager, link, run)


def _service(guest: Guest, item: _Supervised) -> Service:
    is_down = guest.index.resolve(join(item.folder.path, _DOWN)) is not None
    user, group = _user(guest, item.run)
    return Service(
        name=item.name,
        manager=item.manager,
        kind="simple",
        evidence=Evidence(item.run.path, None, f"{item.manager}-run"),
        enabled_by=Evidence(item.folder.path, None, f"{item.manager}-scan"),
        start=(_command(guest, item),),
        user=user,
        group=group,
        not_workload="a file 'down' keeps it from being started" if is_down else None,
    )


def _command(guest: Guest, item: _Supervised) -> Command:
    """Return what the run script starts if it does nothing else, and else the script."""
    return _exec_of(guest, item.run) or Command(
        (f"/{item.run.path.decode('utf-8', 'surrogateescape')}",),
        Evidence(item.run.path, None, f"{item.manager}-run"),
    )


def _exec_of(guest: Guest, run: Entry) -> Command | None:
    shebang = _SHEBANG.match(guest.index.head(run, 128))
    if shebang is None or shebang[1] not in _SHELLS:
        return None
    command: Command | None = None
    for number, line in whole_lines(guest.lines(run.path)):
        text = line.strip()
        if not text or text.startswith("#") or text in {"set -e", "exec 2>&1"}:
            continue
        if (
            command is not None
            or not text.startswith("exec ")
            or re.search(r"[$`|;&<>(){}*?]", text)
        ):
            return None
        try:
            words = shlex.split(text)[1:]
        except ValueError:
            return None
        command = _without_wrapper(words, Evidence(run.path, number, "run-exec"))
    return command


def _without_wrapper(words: list[str], evidence: Evidence) -> Command | None:
    """Return the command behind ``chpst -u USER``; None for wrappers that do more."""
    if not words or not words[0].startswith("/"):
        wrappers = {"chpst": 3, "setuidgid": 2, "s6-setuidgid": 2}
        count = wrappers.get(words[0]) if words else None
        if count is None or (words[0] == "chpst" and words[1:2] != ["-u"]):
            return None
        words = words[count:]
    return Command(tuple(words), evidence) if words and words[0].startswith("/") else None


def _user(guest: Guest, run: Entry) -> tuple[str | None, str | None]:
    """Return user and group that the script itself changes to.

    Only where the command is taken out of the script; the script does it by itself otherwise.
    """
    if _exec_of(guest, run) is None:
        return None, None
    for _, line in guest.lines(run.path):
        match = _CHPST.search(line)
        if match:
            return match[1], match[2]
        match = _SETUIDGID.search(line)
        if match:
            return match[1], None
    return None, None
