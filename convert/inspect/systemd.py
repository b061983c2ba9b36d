"""Services, sockets and timers that systemd starts in this guest.

systemd.service(5), systemd.exec(5), systemd.socket(5), systemd-sysv-generator(8).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from convert.inspect.accounts import Accounts
from convert.inspect.command_line import (
    CommandLine,
    expand_specifiers,
    parse_commands,
    specifiers,
)
from convert.inspect.conditions import unmet_condition
from convert.inspect.facts import Command, Evidence, Port, RuntimeFolder, Service, Socket
from convert.inspect.text import assignments, glob
from convert.inspect.unit_file import Setting, is_true, last, split_words, values
from convert.inspect.units import Unit, UnitSet
from formats.core.tree import TreeIndex

_FALLBACK_TARGETS = ("graphical.target", "multi-user.target")

_PROGRAM_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
"""Where a program without a folder is looked for: systemd-path(1), search-binaries-default."""

_FOLDERS: tuple[tuple[str, str], ...] = (
    # systemd.exec(5): the setting and the folder that its names are below
    ("RuntimeDirectory", "run"),
    ("StateDirectory", "var/lib"),
    ("CacheDirectory", "var/cache"),
    ("LogsDirectory", "var/log"),
    ("ConfigurationDirectory", "etc"),
)

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Started:
    """What systemd would start."""

    default_target: str
    services: tuple[Service, ...]
    sockets: tuple[Socket, ...]
    timers: tuple[str, ...]
    native: frozenset[str]
    """Names of all service units, started or not: no SysV script of that name is used."""


def started_by_systemd(index: TreeIndex, accounts: Accounts) -> Started:
    """Return the services, sockets and timers in the closure of ``default.target``."""
    units = UnitSet(index)
    target = units.canonical("default.target")
    if units.load(target) is None:
        present = (name for name in _FALLBACK_TARGETS if units.load(name) is not None)
        target = next(present, _FALLBACK_TARGETS[-1])
    started = units.started(target)
    services: list[Service] = []
    sockets: list[Socket] = []
    timers: list[str] = []
    for name, evidence in sorted(started.items()):
        unit = units.load(name)
        if unit is None:
            continue
        if unit.name.kind == "service":
            services.append(_Loader(index, accounts, unit).service(evidence))
        elif unit.name.kind == "socket":
            sockets.append(_socket(unit))
        elif unit.name.kind == "timer":
            timers.append(unit.name.stem)
    return Started(target, tuple(services), tuple(sockets), tuple(timers), units.service_names())


class _Loader:
    """One service unit on its way to a :class:`Service`."""

    def __init__(self, index: TreeIndex, accounts: Accounts, unit: Unit) -> None:
        self.index = index
        self.accounts = accounts
        self.unit = unit
        user = last(unit.settings, "Service", "User")
        self.user = expand_specifiers(user.value, specifiers(unit.name)) if user else None
        account = accounts.user(self.user or "root")
        self.home = account.home if account else "/"
        self.known = specifiers(unit.name, self.user or "root", self.home)

    def service(self, enabled_by: Evidence) -> Service:
        """Return the service with everything expanded."""
        settings = self.unit.settings
        environment = self._environment()
        start = tuple(self._commands("ExecStart", environment))
        group = last(settings, "Service", "Group")
        kill_signal = last(settings, "Service", "KillSignal")
        unmet = unmet_condition(self.index, self.unit)
        return Service(
            name=self.unit.name.stem,
            manager="systemd",
            kind=self._kind(has_start=bool(start)),
            evidence=Evidence(self.unit.path, None, "systemd-unit"),
            enabled_by=enabled_by,
            start_pre=tuple(self._commands("ExecStartPre", environment)),
            start=start,
            environment=tuple(sorted(environment.items())),
            user=self.user,
            group=self._expanded(group) if group else None,
            working_dir=self._working_dir(),
            runtime_folders=tuple(self._folders()),
            kill_signal=kill_signal.value if kill_signal else None,
            not_workload=f"{unmet} does not hold in a container" if unmet else None,
        )

    def _expanded(self, setting: Setting) -> str:
        return expand_specifiers(setting.value, self.known)

    def _kind(self, *, has_start: bool) -> str:
        """Return Type=, or the default that systemd.service(5) gives."""
        stated = last(self.unit.settings, "Service", "Type")
        if stated is not None:
            return stated.value
        if last(self.unit.settings, "Service", "BusName") is not None:
            return "dbus"
        return "simple" if has_start else "oneshot"

    def _environment(self) -> dict[str, str]:
        """Return Environment= and then EnvironmentFile=, which has the last word."""
        settings = self.unit.settings
        found: dict[str, str] = {}
        for setting in values(settings, "Service", "Environment"):
            for word in split_words(self._expanded(setting)):
                match = _ASSIGNMENT.fullmatch(word)
                if match:
                    found[match[1]] = match[2]
        for setting in values(settings, "Service", "EnvironmentFile"):
            pattern = self._expanded(setting).lstrip("-")
            for entry in glob(self.index, pattern.encode("utf-8", "surrogateescape")):
                found |= {item.name: item.value for item in assignments(self.index, entry.path)}
        for setting in values(settings, "Service", "UnsetEnvironment"):
            for word in split_words(self._expanded(setting)):
                name, equals, value = word.partition("=")
                if not equals or found.get(name) == value:
                    found.pop(name, None)
        return found

    def _commands(self, key: str, environment: dict[str, str]) -> Iterator[Command]:
        for setting in values(self.unit.settings, "Service", key):
            evidence = Evidence(setting.path, setting.line, f"systemd-{key.lower()}")
            for line in parse_commands(setting.value, self.known):
                argv = (self._program(line), *line.argv(environment)[1:])
                yield Command(argv, evidence, "-" in line.prefixes)

    def _program(self, line: CommandLine) -> str:
        program = line.words[0]
        if "/" in program:
            return program
        for folder in _PROGRAM_FOLDERS:
            path = f"{folder}/{program}"
            if self.index.resolve(path.encode("utf-8", "surrogateescape")) is not None:
                return path
        return program

    def _working_dir(self) -> str | None:
        setting = last(self.unit.settings, "Service", "WorkingDirectory")
        if setting is None:
            return None
        folder = self._expanded(setting).removeprefix("-")
        return self.home if folder == "~" else folder

    def _folders(self) -> Iterator[RuntimeFolder]:
        settings = self.unit.settings
        account = self.accounts.user(self.user or "root")
        uid, gid = (account.uid, account.gid) if account else (0, 0)
        group = last(settings, "Service", "Group")
        if group is not None:
            gid = self.accounts.group_id(self._expanded(group)) or gid
        for key, parent in _FOLDERS:
            mode = last(settings, "Service", f"{key}Mode")
            for setting in values(settings, "Service", key):
                evidence = Evidence(setting.path, setting.line, f"systemd-{key.lower()}")
                for word in split_words(self._expanded(setting)):
                    name = word.partition(":")[0].strip("/")  # NAME:LINK makes a link as well
                    if not name or ".." in name.split("/"):
                        continue
                    path = f"{parent}/{name}".encode("utf-8", "surrogateescape")
                    owner = (0, 0) if key == "ConfigurationDirectory" else (uid, gid)
                    yield RuntimeFolder(path, _mode(mode), *owner, evidence)


def _mode(setting: Setting | None) -> int:
    if setting is None or not re.fullmatch(r"[0-7]{3,4}", setting.value):
        return 0o755
    return int(setting.value, 8)


def _socket(unit: Unit) -> Socket:
    settings = unit.settings
    stated = last(settings, "Socket", "Service")
    service = stated.value.removesuffix(".service") if stated else unit.name.stem
    if is_true(last(settings, "Socket", "Accept")):
        service = f"{unit.name.stem}@"
    ports: list[Port] = []
    for key, protocol in (("ListenStream", "tcp"), ("ListenDatagram", "udp")):
        for setting in values(settings, "Socket", key):
            number = listening_port(setting.value)
            if number is not None:
                evidence = Evidence(setting.path, setting.line, "systemd-socket")
                ports.append(Port(number, protocol, evidence))
    evidence = Evidence(unit.path, None, "systemd-unit")
    return Socket(unit.name.stem, service, tuple(ports), evidence)


def listening_port(value: str) -> int | None:
    """Return the port of a ``ListenStream=`` value; None for paths and for loopback addresses."""
    match = re.fullmatch(r"(?:(\[[^\]]*\]|[0-9.]+):)?(\d{1,5})", value.strip())
    if match is None or (match[1] or "").startswith(("127.", "[::1")):
        return None
    number = int(match[2])
    return number if 0 < number < 65536 else None
