"""SysV init: the scripts that a runlevel starts, and the program each is about.

Linux Standard Base 5, "Comment Conventions for Init Scripts"; init-d-script(5); inittab(5);
systemd-sysv-generator(8) for what systemd makes of them. A script is read, never run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from convert.inspect.facts import Command, Evidence, Service
from convert.inspect.text import lines_of, unquoted
from formats.core.entry import Entry, Kind
from formats.core.tree import TreeIndex

_RUNLEVEL_FOLDERS = (b"etc/rc%d.d", b"etc/rc.d/rc%d.d", b"etc/init.d/rc%d.d")
_DEFAULT_RUNLEVELS = (2, 3, 5)
"""Debian starts in 2, Red Hat in 3, its desktops in 5."""

_START_LINK = re.compile(rb"S\d\d(.+)")
_INITDEFAULT = re.compile(r"[^#:]{1,4}:([2-5]):initdefault:")
_PROGRAM = re.compile(r"\s*(?:DAEMON|EXEC|exec|prog|PROG|DAEMON_BIN|BIN|BINARY)=(\S+)")
_CHKCONFIG_NAME = re.compile(r"#\s*processname:\s*(/\S+)")
_BRACED = re.compile(r"\$\{(\w+)[:-]+([^}]*)\}")


@dataclass(frozen=True, slots=True)
class Script:
    """An init script: its name, its file, and the link that starts it."""

    name: str
    file: Entry
    link: Entry


def started_by_sysv(index: TreeIndex, native: frozenset[str] | None = None) -> tuple[Service, ...]:
    """Return the services of the default runlevel, by name.

    :param native: names of systemd's own services where systemd is the init system: a script of
        the same name is not used then, and the links of any runlevel count.
    """
    runlevels = _DEFAULT_RUNLEVELS if native is not None else (_runlevel(index),)
    found: dict[str, Script] = {}
    for script in _scripts(index, runlevels):
        if native is None or script.name.removesuffix(".sh") not in native:
            found.setdefault(script.name, script)
    return tuple(_service(index, script) for _, script in sorted(found.items()))


def _runlevel(index: TreeIndex) -> int:
    """Return what inittab(5) says, or else the first usual one that has links."""
    for _, line in lines_of(index, b"etc/inittab"):
        match = _INITDEFAULT.match(line)
        if match:
            return int(match[1])
    for level in _DEFAULT_RUNLEVELS:
        if next(_scripts(index, (level,)), None) is not None:
            return level
    return _DEFAULT_RUNLEVELS[0]


def _scripts(index: TreeIndex, runlevels: tuple[int, ...]) -> Iterator[Script]:
    for level in runlevels:
        for pattern in _RUNLEVEL_FOLDERS:
            for link in index.children(pattern % level):
                match = _START_LINK.fullmatch(link.name)
                file = index.resolve(link.path) if match else None
                if match and file is not None and _is_executable(file):
                    yield Script(match[1].decode("utf-8", "surrogateescape"), file, link)


def _is_executable(entry: Entry) -> bool:
    return entry.kind in {Kind.FILE, Kind.HARDLINK} and bool(entry.mode & 0o111)


def _service(index: TreeIndex, script: Script) -> Service:
    program = _program(index, script)
    return Service(
        name=script.name,
        manager="sysv",
        kind="forking",
        evidence=Evidence(script.file.path, None, "sysv-script"),
        enabled_by=Evidence(script.link.path, None, "sysv-link"),
        start=(program,) if program is not None else (),
    )


def _program(index: TreeIndex, script: Script) -> Command | None:
    """Return the daemon that the script names, if it is in the tree; its arguments are not read.

    They are whatever the shell makes of them; the foreground table knows what is needed.
    """
    for number, line in lines_of(index, script.file.path):
        match = _PROGRAM.match(line) or _CHKCONFIG_NAME.match(line)
        if match is None:
            continue
        path = _BRACED.sub(r"\2", unquoted(match[1].rstrip(";")))
        if not path.startswith("/"):
            path = f"/usr/sbin/{path}"
        entry = index.resolve(path.encode("utf-8", "surrogateescape"))
        if entry is not None and _is_executable(entry):
            return Command((path,), Evidence(script.file.path, number, "sysv-program"))
    return None
