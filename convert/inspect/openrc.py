"""OpenRC: the services of the default runlevel.

openrc-run(8), openrc(8), supervise-daemon(8), start-stop-daemon(8) of OpenRC, and its "Service
Script Writing Guide". A service script is a shell script; only its variables are read.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from convert.inspect.evidence import Evidence
from convert.inspect.facts import Command, Service
from convert.inspect.guest import Guest
from convert.inspect.shell import Assignment, assignments
from convert.inspect.sysv import Script, is_executable, service_of_script
from convert.inspect.text import can_be_said, encoded
from formats.core.entry import Entry, Kind

_DEFAULT = b"etc/runlevels/default"
_RUNLEVELS = (_DEFAULT, b"etc/runlevels/boot")
_SHEBANG = re.compile(rb"#!\s*(?:/usr)?/sbin/(?:openrc-run|runscript)\b")
_TRUE = frozenset({"yes", "y", "true", "on", "1"})
_KEYWORD = re.compile(r"\s*keyword\s+(.*)")
_NOT_FOR_CONTAINERS = frozenset({"-lxc", "-docker", "-containers", "-systemd-nspawn"})
_OWN_START = re.compile(r"\s*start\s*\(\)")
_USER_OPTION = re.compile(r"(?:^|\s)(?:--user|-u|--chuid|-c)[ =](\S+)")
_BACKGROUND_OPTION = re.compile(r"(?:^|\s)(?:--background|-b)(?:\s|$)")


def started_by_openrc(guest: Guest) -> tuple[Service, ...]:
    """Return the services of the runlevels ``default`` and ``boot``, by name.

    OpenRC also starts scripts that were made for SysV init; those of ``default`` count.
    """
    found: dict[str, Service] = {}
    for folder in _RUNLEVELS:
        for link in guest.children(folder):
            name = link.name.decode("utf-8", "surrogateescape")
            script = guest.index.resolve(link.path)
            if name in found or not can_be_said(name) or script is None:
                continue
            if is_openrc_script(guest, script):
                found[name] = _Script(guest, name, script).service(link)
            elif is_executable(script) and folder == _DEFAULT:
                found[name] = service_of_script(guest, Script(name, script, link))
    return tuple(found[name] for name in sorted(found))


def is_openrc_script(guest: Guest, script: Entry) -> bool:
    """Tell by its first line whether a file is a service script."""
    if script.kind not in {Kind.FILE, Kind.HARDLINK} or not script.size:
        return False
    return _SHEBANG.match(guest.index.head(script, 64)) is not None


class _Script:
    """One service script with the variables that it and its configuration set."""

    def __init__(self, guest: Guest, name: str, script: Entry) -> None:
        self.guest = guest
        self.name = name
        self.script = script
        self.variables: dict[str, Assignment] = {}
        known = {"RC_SVCNAME": name, "SVCNAME": name}
        # The order of openrc-run(8): the configuration is read first, and the script goes on with
        # what it says.
        for path in (b"etc/rc.conf", *self._configurations(), script.path):
            for item in assignments(guest, path, known | self._values()):
                self.variables[item.name] = item

    def _configurations(self) -> Iterator[bytes]:
        """Yield conf.d of the script itself and of the link to it: ``openvpn.office``."""
        whole = encoded(self.name)
        script = whole.partition(b".")[0]
        for name in dict.fromkeys((script, whole)):
            yield b"etc/conf.d/" + name

    def _values(self) -> dict[str, str]:
        return {name: item.value for name, item in self.variables.items()}

    def _value(self, name: str) -> str:
        item = self.variables.get(name)
        return item.value if item is not None else ""

    def service(self, link: Entry) -> Service:
        command = self._command()
        user, _, group = self._user().partition(":")
        exported = [item for item in self.variables.values() if item.is_exported]
        return Service(
            name=self.name,
            manager="openrc",
            kind="simple" if self._stays() else "forking",
            evidence=Evidence(self.script.path, None, "openrc-script"),
            enabled_by=Evidence(link.path, None, "openrc-runlevel"),
            start=(command,) if command is not None else (),
            environment=tuple(sorted((item.name, item.value) for item in exported)),
            user=user or None,
            group=group or None,
            working_dir=self._value("directory") or None,
            not_workload=self._why_not(link),
        )

    def _stays(self) -> bool:
        """Tell whether what is started stays in the foreground, so that OpenRC has to move it."""
        return (
            self._value("supervisor") in {"supervise-daemon", "s6", "runit"}
            or self._value("command_background").lower() in _TRUE
            or bool(self._value("command_args_foreground"))
            or _BACKGROUND_OPTION.search(self._value("start_stop_daemon_args")) is not None
        )

    def _command(self) -> Command | None:
        program = self.variables.get("command")
        if program is None or not program.value or self._has_own_start():
            return None
        arguments = f"{self._value('command_args')} {self._value('command_args_foreground')}"
        try:
            words = shlex.split(arguments)
        except ValueError:  # quotes that only a shell could make sense of
            return None
        evidence = Evidence(self.script.path, program.line, "openrc-command")
        return Command((program.value, *words), evidence)

    def _has_own_start(self) -> bool:
        return any(_OWN_START.match(line) for _, line in self.guest.lines(self.script.path))

    def _user(self) -> str:
        stated = self._value("command_user")
        if stated:
            return stated
        match = _USER_OPTION.search(self._value("start_stop_daemon_args"))
        return match[1] if match else ""

    def _why_not(self, link: Entry) -> str | None:
        for _, line in self.guest.lines(self.script.path):
            match = _KEYWORD.match(line)
            unwanted = sorted(_NOT_FOR_CONTAINERS & set(match[1].split())) if match else []
            if unwanted:
                return f"its script says that it is not for containers (keyword {unwanted[0]})"
        if link.parent.endswith(b"/boot"):
            return "belongs to the start of a machine (runlevel boot)"
        return None
