"""SysV init: the scripts that a runlevel starts, and the program each is about.

Linux Standard Base 5, "Comment Conventions for Init Scripts"; init-d-script(5); inittab(5);
systemd-sysv-generator(8) for what systemd makes of them. A script is read, never run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from convert.inspect.evidence import Evidence
from convert.inspect.facts import Command, Service
from convert.inspect.guest import Guest
from convert.inspect.shell import exports
from convert.inspect.sysv_script import Start, script_variables, starts_of
from convert.inspect.text import can_be_said, encoded
from formats.core.entry import Entry, Kind

_RUNLEVEL_FOLDERS = (b"etc/rc%d.d", b"etc/rc.d/rc%d.d", b"etc/init.d/rc%d.d")
_DEFAULT_RUNLEVELS = (2, 3, 5)
"""Debian starts in 2, Red Hat in 3, its desktops in 5."""

_START_LINK = re.compile(rb"S\d\d(.+)")
_INITDEFAULT = re.compile(r"[^#:]{1,4}:([2-5]):initdefault:")
_PROGRAM_VARIABLES = frozenset(
    {"DAEMON", "DAEMON_BIN", "BIN", "BINARY", "EXEC", "exec", "PROG", "prog"}
)
_FOLDERS = ("/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin")
_PROCESS_NAME = re.compile(r"# ?processname: ?(/\S+)")
_SETTINGS = (b"etc/default/", b"etc/sysconfig/")
"""Where scripts find their variables: of Debian and of Red Hat."""


@dataclass(frozen=True, slots=True)
class Script:
    """An init script: its name, its file, and the link that starts it."""

    name: str
    file: Entry
    link: Entry


def started_by_sysv(guest: Guest, native: frozenset[str] | None = None) -> tuple[Service, ...]:
    """Return the services of the default runlevel, by name.

    :param native: names of systemd's own services where systemd is the init system: a script of
        the same name is not used then, and the links of any runlevel count.
    """
    runlevels = _DEFAULT_RUNLEVELS if native is not None else (_runlevel(guest),)
    found: dict[str, Script] = {}
    for script in _scripts(guest, runlevels):
        if native is None or script.name.removesuffix(".sh") not in native:
            found.setdefault(script.name, script)
    return tuple(service_of_script(guest, script) for _, script in sorted(found.items()))


def _runlevel(guest: Guest) -> int:
    """Return what inittab(5) says, or else the first usual one that has links."""
    for _, line in guest.lines(b"etc/inittab"):
        match = _INITDEFAULT.match(line)
        if match:
            return int(match[1])
    for level in _DEFAULT_RUNLEVELS:
        if next(_scripts(guest, (level,)), None) is not None:
            return level
    return _DEFAULT_RUNLEVELS[0]


def _scripts(guest: Guest, runlevels: tuple[int, ...]) -> Iterator[Script]:
    for level in runlevels:
        for pattern in _RUNLEVEL_FOLDERS:
            for link in guest.children(pattern % level):
                match = _START_LINK.fullmatch(link.name)
                file = guest.index.resolve(link.path) if match else None
                if match and file is not None and is_executable(file):
                    name = match[1].decode("utf-8", "surrogateescape")
                    if can_be_said(name):
                        yield Script(name, file, link)


def is_executable(entry: Entry) -> bool:
    """Tell whether it is a file that can be run."""
    return entry.kind in {Kind.FILE, Kind.HARDLINK} and bool(entry.mode & 0o111)


def service_of_script(guest: Guest, script: Script) -> Service:
    """Return what a script starts, as far as it can be read."""
    start, rule = _start(guest, script.file)
    environment: dict[str, str] = {}
    for folder in _SETTINGS:
        environment |= exports(guest, folder + encoded(script.name))
    return Service(
        name=script.name,
        manager="sysv",
        kind="simple" if start is not None and start.stays else "forking",
        evidence=Evidence(script.file.path, None, "sysv-script"),
        enabled_by=Evidence(script.link.path, None, "sysv-link"),
        start=() if start is None else (_command(script.file, start, rule),),
        environment=tuple(sorted(environment.items())),
        user=start.user if start is not None else None,
        group=start.group if start is not None else None,
        working_dir=start.folder if start is not None else None,
    )


def _command(file: Entry, start: Start, rule: str) -> Command:
    return Command(start.argv, Evidence(file.path, start.line, rule))


def _start(guest: Guest, file: Entry) -> tuple[Start | None, str]:
    """Return the command that starts the daemon, if that is in the tree, and how it was found.

    Where no line can be read, the program that the script names, without arguments: the table of
    programs knows what is needed.
    """
    for start in starts_of(guest, file.path):
        program = _in_tree(guest, start.argv[0])
        if program is not None:
            return replace(start, argv=(program, *start.argv[1:])), "sysv-start"
    for number, name in _programs(guest, file.path):
        program = _in_tree(guest, name)
        if program is not None:
            return Start((program,), number), "sysv-program"
    return None, ""


def _in_tree(guest: Guest, name: str) -> str | None:
    """Return the path of a program that is in the tree; a bare name is looked for."""
    for path in (name,) if name.startswith("/") else (f"{folder}/{name}" for folder in _FOLDERS):
        entry = guest.index.resolve(encoded(path))
        if entry is not None and is_executable(entry):
            return path
    return None


def _programs(guest: Guest, path: bytes) -> Iterator[tuple[int, str]]:
    for item in script_variables(guest, path):
        if item.name in _PROGRAM_VARIABLES and item.value:
            yield item.line, item.value
    for number, line in guest.lines(path):
        match = _PROCESS_NAME.match(" ".join(line[:200].split()))
        if match:
            yield number, match[1]
