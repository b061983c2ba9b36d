"""One service unit as facts: systemd.service(5), systemd.exec(5), systemd.kill(5)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from convert.inspect.accounts import Accounts, User
from convert.inspect.command_line import CommandLine, expand_specifiers, parse_commands, specifiers
from convert.inspect.conditions import unmet_condition
from convert.inspect.environment_file import variables_of
from convert.inspect.evidence import Evidence
from convert.inspect.facts import Command, RuntimeFolder, Service
from convert.inspect.guest import Guest
from convert.inspect.text import ARGUMENT_MAX, encoded
from convert.inspect.unit_file import Setting, is_true, last, split_words, values
from convert.inspect.units import Unit

_PROGRAM_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
"""Where a program without a folder is looked for: systemd-path(1), search-binaries-default."""

_FOLDERS: tuple[tuple[str, str, str], ...] = (
    # systemd.exec(5): the setting, the folder that its names are below, the variable that tells
    ("RuntimeDirectory", "run", "RUNTIME_DIRECTORY"),
    ("StateDirectory", "var/lib", "STATE_DIRECTORY"),
    ("CacheDirectory", "var/cache", "CACHE_DIRECTORY"),
    ("LogsDirectory", "var/log", "LOGS_DIRECTORY"),
    ("ConfigurationDirectory", "etc", "CONFIGURATION_DIRECTORY"),
)
_ALWAYS_OF_ROOT = "ConfigurationDirectory"

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)

_DYNAMIC_ID = 61184
"""The first of those that ``DynamicUser=`` takes: systemd.exec(5)."""


def service_of(guest: Guest, accounts: Accounts, unit: Unit, enabled_by: Evidence) -> Service:
    """Return a service with everything expanded that a tree alone can expand."""
    return _Reader(guest, accounts, unit).service(enabled_by)


class _Reader:
    """One service unit on its way to a :class:`Service`."""

    def __init__(self, guest: Guest, accounts: Accounts, unit: Unit) -> None:
        self.guest = guest
        self.accounts = accounts
        self.unit = unit
        self.known = specifiers(unit.name)
        self.user = self._value("User")
        self.group = self._value("Group")
        if is_true(self._last("DynamicUser")) and (
            self.user is None or accounts.user(self.user) is None
        ):
            self.user = str(self._dynamic_id())
        self.account = accounts.user(self.user or "root") or User("root", 0, 0, "/root")

    def service(self, enabled_by: Evidence) -> Service:
        folders = tuple(self._folders())
        environment = self._environment(folders)
        start = tuple(self._commands("ExecStart", environment))
        unmet = unmet_condition(self.guest, self.unit)
        return Service(
            name=self.unit.name.stem,
            manager="systemd",
            kind=self._kind(has_start=bool(start)),
            evidence=Evidence(self.unit.path, None, "systemd-unit"),
            enabled_by=enabled_by,
            start_pre=tuple(self._commands("ExecStartPre", environment)),
            start=start,
            start_post=tuple(self._commands("ExecStartPost", environment)),
            environment=tuple(sorted(environment.items())),
            user=self.user,
            group=self.group,
            working_dir=self._working_dir(),
            runtime_folders=tuple(folder for _, folder in folders),
            kill_signal=self._value("KillSignal"),
            root_dir=self._value("RootDirectory") or self._value("RootImage"),
            umask=self._value("UMask"),
            not_workload=f"{unmet} does not hold in a container" if unmet else None,
        )

    def _last(self, key: str) -> Setting | None:
        return last(self.unit.settings, "Service", key)

    def _value(self, key: str) -> str | None:
        setting = self._last(key)
        return expand_specifiers(setting.value, self.known) if setting is not None else None

    def _words(self, setting: Setting) -> list[str]:
        """Return the words, each expanded after the split: what it stands for has no quotes."""
        return [expand_specifiers(word, self.known) for word in split_words(setting.value)]

    def _kind(self, *, has_start: bool) -> str:
        """Return Type=, or the default that systemd.service(5) gives."""
        stated = self._value("Type")
        if stated is not None:
            return stated
        if self._last("BusName") is not None:
            return "dbus"
        return "simple" if has_start else "oneshot"

    def _dynamic_id(self) -> int:
        """Return the number that owns the service's folder, if one was ever made, or else one."""
        for setting in values(self.unit.settings, "Service", "StateDirectory"):
            for word in self._words(setting):
                folder = self.guest.index.resolve(
                    b"var/lib/private/" + encoded(word.partition(":")[0])
                )
                if folder is not None and folder.uid:
                    return folder.uid
        return _DYNAMIC_ID

    def _environment(self, folders: tuple[tuple[str, RuntimeFolder], ...]) -> dict[str, str]:
        """Return Environment= and then EnvironmentFile=, which has the last word."""
        settings = self.unit.settings
        found: dict[str, str] = {}
        for variable, folder in folders:
            path = "/" + folder.path.decode("utf-8", "surrogateescape")
            found[variable] = f"{found[variable]}:{path}" if variable in found else path
        for setting in values(settings, "Service", "Environment"):
            for word in self._words(setting):
                match = _ASSIGNMENT.fullmatch(word)
                if match:
                    found[match[1]] = match[2]
        for setting in values(settings, "Service", "EnvironmentFile"):
            pattern = expand_specifiers(setting.value.removeprefix("-"), self.known)
            for entry in self.guest.glob(encoded(pattern)):
                variables = variables_of(self.guest.text(entry.path) or "")
                found |= {name: item.value for name, item in variables.items()}
        for setting in values(settings, "Service", "UnsetEnvironment"):
            for word in self._words(setting):
                name, equals, value = word.partition("=")
                if not equals or found.get(name) == value:
                    found.pop(name, None)
        return {name: value for name, value in found.items() if len(value) < ARGUMENT_MAX}

    def _commands(self, key: str, environment: dict[str, str]) -> Iterator[Command]:
        for setting in values(self.unit.settings, "Service", key):
            evidence = Evidence(setting.path, setting.line, f"systemd-{key.lower()}")
            for line in parse_commands(setting.value, self.known):
                argv = line.argv(environment)
                if argv:
                    command = (self._program(line), *argv[1:])
                    yield Command(command, evidence)

    def _program(self, line: CommandLine) -> str:
        program = line.words[0]
        if "/" in program:
            return program
        for folder in _PROGRAM_FOLDERS:
            path = f"{folder}/{program}"
            if self.guest.index.resolve(encoded(path)) is not None:
                return path
        return program

    def _working_dir(self) -> str | None:
        stated = self._value("WorkingDirectory")
        folder = stated.removeprefix("-") if stated is not None else None
        return self.account.home if folder == "~" else folder

    def _folders(self) -> Iterator[tuple[str, RuntimeFolder]]:
        """Yield each folder with the variable that tells the service where it is."""
        gid = self.accounts.group_id(self.group) if self.group is not None else None
        owner = (self.account.uid, self.account.gid if gid is None else gid)
        for key, parent, variable in _FOLDERS:
            mode = _mode(self._value(f"{key}Mode"))
            for setting in values(self.unit.settings, "Service", key):
                evidence = Evidence(setting.path, setting.line, f"systemd-{key.lower()}")
                for word in self._words(setting):
                    name = word.partition(":")[0].strip("/")  # NAME:LINK makes a link as well
                    if any(part in {"", ".", ".."} for part in name.split("/")):
                        continue
                    ids = (0, 0) if key == _ALWAYS_OF_ROOT else owner
                    path = encoded(f"{parent}/{name}")
                    yield variable, RuntimeFolder(path, mode, *ids, evidence)


def _mode(text: str | None) -> int:
    if text is None or not re.fullmatch(r"[0-7]{3,4}", text):
        return 0o755
    return int(text, 8)
