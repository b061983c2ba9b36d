"""How an init system that stays is run in a container, so that it starts all and can be stopped.

Only systemd knows containers: it ends when it is asked to (systemd(1), "Signals"). The init of SysV
and of busybox, and that of runit, end a machine by reboot(2), which a container may not do; they
stay behind until they are killed. What they would run is in ``inittab(5)`` and in the stages of
runit(8), so a shell runs that in their place: all that starts, what has to be started again, and at
the end all that stops.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from convert.inspect.evidence import Evidence
from convert.inspect.facts import Init
from convert.inspect.guest import Guest
from convert.inspect.text import can_be_said
from formats.core.entry import Kind
from formats.core.limits import KIB

_SHELL = "/bin/sh"
_SYSTEMD_STOP_SIGNAL = "SIGRTMIN+3"
"""systemd(1), "Signals": shut down in order."""

_OPENRC = "/sbin/openrc"
_OPENRC_CONTAINER = "lxc"
"""A container that OpenRC has a name for, so that services for machines only are left out."""

_INITTAB = b"etc/inittab"
_RUNIT_STAGES = tuple(f"/etc/runit/{number}" for number in (1, 2, 3))
_RUNLEVEL_USUAL = "2"
_RUNLEVELS = frozenset("2345")
_RUNLEVEL_HALT = "0"
_AT_BOOT = frozenset({"sysinit", "boot", "bootwait"})
_IN_RUNLEVEL = frozenset({"wait", "once", "respawn"})
_STARTS_AT_ONCE = frozenset({"boot", "once"})
"""Actions that init(8) does not wait for."""
_FOR_A_CONSOLE = re.compile(r"getty|sulogin|\blogin\b|vtbd|mingetty|/bin/(?:ba|a|da)?sh$")
_COMMENT = re.compile(r"(?:^|\s)#.*")
_SCRIPT_MAX = 8 * KIB
_WAIT_FOREVER = "while :; do sleep 86400 & wait $!; done"


@dataclass(frozen=True, slots=True)
class KeptInit:
    """A command that stays, and what ends it.

    :ivar stop_signal: None for the usual one.
    :ivar container: what the variable of that name tells the system that it is in.
    :ivar why: why it is not the init program itself; None where it is.
    """

    argv: tuple[str, ...]
    stop_signal: str | None = None
    container: str = "oci"
    why: str | None = None


@dataclass(slots=True)
class _Commands:
    """What is run: in this order to start, kept running, and in this order to stop."""

    evidence: Evidence
    start: list[str] = field(default_factory=list)
    keep: list[str] = field(default_factory=list)
    stop: list[str] = field(default_factory=list)
    runlevel: str | None = None


def kept_init(init: Init, guest: Guest) -> KeptInit:
    """Return how an init system is run in a container; as it is, where nothing better is known."""
    if init.name == "systemd":
        return KeptInit((init.path,), _SYSTEMD_STOP_SIGNAL)
    commands = _commands(init, guest)
    if commands is None or not _is_program(guest, _SHELL):
        return KeptInit((init.path,))
    script = _script(commands)
    if not can_be_said(script) or len(script) > _SCRIPT_MAX or _has_open_quotes(script):
        return KeptInit((init.path,))
    why = (
        f"a shell runs what {init.path} would, which cannot end in a container: {commands.evidence}"
    )
    container = _OPENRC_CONTAINER if _is_program(guest, _OPENRC) else "oci"
    return KeptInit((_SHELL, "-c", script), container=container, why=why)


def _commands(init: Init, guest: Guest) -> _Commands | None:
    if init.name == "runit":
        return _of_runit(guest)
    if init.name in {"sysvinit", "busybox", "openrc"}:
        return _of_inittab(guest, has_runlevels=init.name == "sysvinit")
    return None


def _of_runit(guest: Guest) -> _Commands | None:
    first, second, third = _RUNIT_STAGES
    if not all(_is_program(guest, stage) for stage in _RUNIT_STAGES):
        return None
    evidence = Evidence(second.strip("/").encode(), None, "runit-stage")
    return _Commands(evidence, [first, f"{second} &"], [], [third])


def _of_inittab(guest: Guest, *, has_runlevels: bool) -> _Commands | None:
    lines = list(_lines(guest))
    if not lines:
        return None
    commands = _Commands(Evidence(_INITTAB, None, "inittab"))
    defaults = [levels for levels, action, _ in lines if action == "initdefault"]
    stated = defaults[0][:1] if defaults else ""
    level = stated if stated in _RUNLEVELS else _RUNLEVEL_USUAL
    if has_runlevels:
        commands.runlevel = level
    for levels, action, process in lines:
        applies = not has_runlevels or not levels or level in levels
        if action in _AT_BOOT or (action in _IN_RUNLEVEL and applies):
            _add(commands, action, process)
        is_halt = has_runlevels and _RUNLEVEL_HALT in levels and action in {"wait", "once"}
        if action == "shutdown" or is_halt:
            commands.stop.append(process)
    return commands if commands.start else None


def _add(commands: _Commands, action: str, process: str) -> None:
    if action == "respawn":
        if not _FOR_A_CONSOLE.search(process):
            commands.keep.append(process)
    else:
        commands.start.append(f"{process} &" if action in _STARTS_AT_ONCE else process)


def _lines(guest: Guest) -> Iterator[tuple[str, str, str]]:
    """Yield runlevels, action and process of each line, those for booting first: inittab(5)."""
    found: list[tuple[str, str, str]] = []
    for _, line in guest.lines(_INITTAB):
        fields = line.strip().split(":", 3)
        if len(fields) == 4 and not line.lstrip().startswith("#"):
            process = _COMMENT.sub("", fields[3]).strip().lstrip("+-@").strip()
            if process or fields[2] == "initdefault":
                found.append((fields[1], fields[2], process))
    yield from sorted(found, key=lambda item: item[1] not in _AT_BOOT)


def _script(commands: _Commands) -> str:
    """Return a line of shell; a signal that comes while something starts waits for its end."""
    parts: list[str] = []
    stop: Sequence[str] = commands.stop
    if commands.runlevel is not None:
        parts.append(f"export RUNLEVEL={commands.runlevel} PREVLEVEL=N")  # init(8), "ENVIRONMENT"
        stop = (f"RUNLEVEL={_RUNLEVEL_HALT} PREVLEVEL={commands.runlevel}", *stop)
    parts += [f"stop() {{ {_joined((*stop, 'exit 0'))}; }}", "trap stop TERM INT"]
    parts += commands.start
    parts += [f"(while :; do {process}; sleep 1; done) &" for process in commands.keep]
    return _joined((*parts, _WAIT_FOREVER))


def _has_open_quotes(script: str) -> bool:
    try:
        shlex.split(script)
    except ValueError:
        return True
    return False


def _joined(parts: Sequence[str]) -> str:
    """Return commands in one line; one that is not waited for ends with its own sign."""
    text = "".join(part + (" " if part.endswith("&") else "; ") for part in parts)
    return text.removesuffix("; ")


def _is_program(guest: Guest, path: str) -> bool:
    entry = guest.index.resolve(path.encode())
    return entry is not None and entry.kind in {Kind.FILE, Kind.HARDLINK} and entry.mode & 0o111 > 0
