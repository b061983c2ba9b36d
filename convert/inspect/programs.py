"""The table of programs (``programs.toml``): foreground forms, signals, ports."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import TypedDict

from convert.inspect.facts import Service

_SHELLS = frozenset({"sh", "bash", "dash"})
_INTERPRETER = re.compile(r"python[\d.]*|perl[\d.]*|ruby[\d.]*|sh|bash|dash")
_EXEC = re.compile(r"\bexec (/\S+)")
"""How a unit's line of shell ends when something has to be found out before."""


@dataclass(frozen=True, slots=True)
class ProgramFolder:
    """A folder that a program's own start script makes; ``owner`` is a user's name."""

    path: bytes
    owner: str
    mode: int


@dataclass(frozen=True, slots=True)
class Program:
    """One row; the head of ``programs.toml`` says what each field means."""

    name: str
    executables: tuple[str, ...]
    services: frozenset[str]
    programs: tuple[str, ...]
    arguments: tuple[str, ...] | None
    drop_flags: frozenset[str]
    drop_options: frozenset[str]
    rewrite: tuple[tuple[re.Pattern[str], str], ...]
    append: tuple[str, ...]
    append_unless: re.Pattern[str] | None
    user: str | None
    stop_signal: str | None
    shell: str | None
    shell_needs: str | None
    is_applet: bool
    environment_file: bytes | None
    environment: tuple[tuple[str, str], ...]
    folders: tuple[ProgramFolder, ...]
    configs: tuple[bytes, ...]
    first_config_counts: bool
    config_options: frozenset[str]
    include: re.Pattern[str] | None
    include_base: bytes | None
    syntax: str | None
    sections: frozenset[str]
    port_pattern: re.Pattern[str] | None
    last_port_counts: bool
    address_pattern: re.Pattern[str] | None
    is_local_by_default: bool
    port_variable: str | None
    default_port: int | None
    protocols: tuple[str, ...]

    def own_arguments(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of a service's arguments that make sense without an init system."""
        if self.arguments is not None:
            return self.arguments
        kept: list[str] = []
        remaining = iter(arguments)
        for word in remaining:
            if word in self.drop_options:
                next(remaining, None)
            elif word not in self.drop_flags and word.partition("=")[0] not in self.drop_options:
                kept.append(self._rewritten(word))
        return tuple(kept)

    def _rewritten(self, word: str) -> str:
        for pattern, replacement in self.rewrite:
            word = pattern.sub(replacement, word)
        return word


class _Folder(TypedDict, total=False):
    path: str
    owner: str
    mode: str


class _Row(TypedDict, total=False):
    name: str
    executables: list[str]
    services: list[str]
    programs: list[str]
    arguments: list[str]
    drop_flags: list[str]
    drop_options: list[str]
    rewrite: dict[str, str]
    append: list[str]
    append_unless: str
    user: str
    stop_signal: str
    shell: str
    shell_needs: str
    is_applet: bool
    environment_file: str
    environment: dict[str, str]
    folders: list[_Folder]
    configs: list[str]
    first_config_counts: bool
    config_options: list[str]
    include: str
    include_base: str
    syntax: str
    sections: list[str]
    port_pattern: str
    last_port_counts: bool
    address_pattern: str
    is_local_by_default: bool
    port_variable: str
    default_port: int
    protocols: list[str]


@cache
def programs() -> tuple[Program, ...]:
    """Return the table, read once."""
    text = files("convert.inspect").joinpath("programs.toml").read_text(encoding="utf-8")
    rows: list[_Row] = tomllib.loads(text)["program"]
    return tuple(_program(row) for row in rows)


def _program(row: _Row) -> Program:
    arguments = row.get("arguments")
    return Program(
        name=row["name"],
        executables=tuple(row["executables"]),
        services=frozenset(row.get("services", ())),
        programs=tuple(row.get("programs", ())),
        arguments=None if arguments is None else tuple(arguments),
        drop_flags=frozenset(row.get("drop_flags", ())),
        drop_options=frozenset(row.get("drop_options", ())),
        rewrite=tuple((re.compile(old), new) for old, new in row.get("rewrite", {}).items()),
        append=tuple(row.get("append", ())),
        append_unless=_pattern(row.get("append_unless")),
        user=row.get("user"),
        stop_signal=row.get("stop_signal"),
        shell=row.get("shell"),
        shell_needs=row.get("shell_needs"),
        is_applet=row.get("is_applet", False),
        environment_file=_path(row.get("environment_file")),
        environment=tuple(sorted(row.get("environment", {}).items())),
        folders=tuple(
            ProgramFolder(
                folder["path"].encode(),
                folder.get("owner", "root"),
                int(folder.get("mode", "755"), 8),
            )
            for folder in row.get("folders", ())
        ),
        configs=tuple(name.encode() for name in row.get("configs", ())),
        first_config_counts=row.get("first_config_counts", False),
        config_options=frozenset(row.get("config_options", ())),
        include=_pattern(row.get("include")),
        include_base=_path(row.get("include_base")),
        syntax=row.get("syntax"),
        sections=frozenset(row.get("sections", ())),
        port_pattern=_pattern(row.get("port_pattern")),
        last_port_counts=row.get("last_port_counts", False),
        address_pattern=_pattern(row.get("address_pattern")),
        is_local_by_default=row.get("is_local_by_default", False),
        port_variable=row.get("port_variable"),
        default_port=row.get("default_port"),
        protocols=tuple(row.get("protocols", ("tcp",))),
    )


def _pattern(text: str | None) -> re.Pattern[str] | None:
    return None if text is None else re.compile(text)


def _path(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def is_umbrella(service: Service) -> bool:
    """Tell whether a service's own command does nothing: ``/bin/true``, or none that is known."""
    return not service.start or _executable(service) in {"true", ":"}


def program_of(service: Service, *, is_applet: bool = False) -> Program | None:
    """Return the row that a service is about: by its command, or else by its name.

    :param is_applet: the command is a name of busybox, which is another program of that name.
    """
    rows = [program for program in programs() if program.is_applet is is_applet]
    if not is_umbrella(service):
        executable = _executable(service)
        for program in rows:
            if any(fnmatchcase(executable, pattern) for pattern in program.executables):
                return program
        if service.manager == "systemd" or is_applet:
            return None
    return next((row for row in rows if service.name in row.services), None)


def program_position(argv: tuple[str, ...]) -> int:
    """Return where the program stands in a command: behind an interpreter that runs it, if any."""
    if len(argv) > 1 and _INTERPRETER.fullmatch(_name(argv[0])) and argv[1].startswith("/"):
        return 1
    return 0


def _executable(service: Service) -> str:
    """Return the name of the program that a service's command ends up in."""
    argv = service.start[0].argv
    path = argv[program_position(argv)]
    if _name(path) in _SHELLS and len(argv) > 2 and argv[1] == "-c":
        replaced_by = _EXEC.findall(argv[2])
        path = replaced_by[-1] if replaced_by else path
    return _name(path)


def _name(path: str) -> str:
    return path.rpartition("/")[2]
