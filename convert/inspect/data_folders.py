"""Where a service keeps its data: by its own configuration, its unit, or as such services do.

What is known of programs is in ``data_folders.toml``. A folder that a configuration names counts
even if the tree does not have it: it may have been a disk of its own.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from posixpath import normpath
from typing import TypedDict

from convert.inspect.config_files import ConfigLine
from convert.inspect.evidence import Evidence
from convert.inspect.facts import DataFolder, Service
from convert.inspect.guest import Guest
from convert.inspect.programs import Program
from convert.inspect.text import can_be_said, encoded
from formats.core.entry import Kind

_STATE = b"var/lib/"
"""Where systemd.exec(5) makes the folders of ``StateDirectory=``."""
_LINE_MAX = 1024
_FOLDERS_MAX = 32

_TOO_WIDE = frozenset(
    [
        "/home",
        "/media",
        "/mnt",
        "/opt",
        "/root",
        "/srv",
        "/var",
        "/var/cache",
        "/var/lib",
        "/var/log",
        "/var/spool",
    ]
)
"""A volume there would hide what others keep in it."""
_NOT_BELOW = frozenset(
    ["bin", "boot", "dev", "etc", "lib", "lib64", "proc", "run", "sbin", "sys", "tmp", "usr"]
)
_NOT_BELOW_VAR = frozenset({"lock", "run", "tmp"})


class _Row(TypedDict, total=False):
    program: str
    services: list[str]
    configs: list[str]
    pattern: str
    options: list[str]
    folders: list[str]


@dataclass(frozen=True, slots=True)
class _Known:
    """One row; the head of ``data_folders.toml`` says what each field means."""

    name: str
    configs: tuple[bytes, ...]
    pattern: re.Pattern[str] | None
    options: frozenset[str]
    folders: tuple[str, ...]


def data_folders_of(
    service: Service,
    program: Program | None,
    argv: Sequence[str],
    lines: Sequence[ConfigLine],
    guest: Guest,
) -> tuple[DataFolder, ...]:
    """Return the folders, by path; of one inside another only the outer.

    :param argv: how the container runs it.
    :param lines: of the program's own configuration.
    """
    found: dict[str, DataFolder] = {}
    for folder in service.runtime_folders:
        if folder.path.startswith(_STATE):
            _add(found, folder.path.decode("utf-8", "surrogateescape"), folder.evidence, service)
    row = _row_of(service, program)
    if row is not None:
        stated = [*_of_arguments(row, service, argv), *_of_lines(row, guest, lines)]
        for path, evidence in stated or _usual(row, service, guest):
            _add(found, path, evidence, service)
    return tuple(
        found[path]
        for path in sorted(found)[:_FOLDERS_MAX]
        if not any(path.startswith(f"{other}/") for other in found)
    )


def _add(found: dict[str, DataFolder], path: str, evidence: Evidence, service: Service) -> None:
    path = normpath(f"/{path.lstrip('/')}")
    if can_be_said(path) and not _is_of_all(path):
        found.setdefault(path, DataFolder(path, evidence, service.name))


def _is_of_all(path: str) -> bool:
    """Tell whether a folder is no service's own: one volume more would break the system."""
    parts = path.strip("/").split("/")
    is_volatile = parts[0] == "var" and not _NOT_BELOW_VAR.isdisjoint(parts[1:2])
    return is_volatile or parts[0] in {"", *_NOT_BELOW} or path in _TOO_WIDE


def _of_arguments(
    row: _Known, service: Service, argv: Sequence[str]
) -> Iterator[tuple[str, Evidence]]:
    command = service.start[0].evidence if service.start else service.evidence
    evidence = Evidence(command.path, command.line, "data-argument")
    for position, word in enumerate(argv):
        option, equals, value = word.partition("=")
        if option in row.options:
            path = value if equals else "".join(argv[position + 1 : position + 2])
            if path.startswith("/"):
                yield path, evidence


def _of_lines(
    row: _Known, guest: Guest, lines: Sequence[ConfigLine]
) -> Iterator[tuple[str, Evidence]]:
    if row.pattern is None:
        return
    for line in (*lines, *_own_lines(row, guest)):
        for match in row.pattern.finditer(line.text):
            path = next(filter(None, match.groups()), "")
            yield path, Evidence(line.path, line.number, f"{row.name}-config")


def _own_lines(row: _Known, guest: Guest) -> Iterator[ConfigLine]:
    for pattern in row.configs:
        for entry in guest.glob(pattern):
            for number, line in guest.lines(entry.path):
                text = " ".join(line[:_LINE_MAX].split())
                if text and not text.startswith(("#", ";")):
                    yield ConfigLine(entry.path, number, text)


def _usual(row: _Known, service: Service, guest: Guest) -> Iterator[tuple[str, Evidence]]:
    instance = service.name.partition("@")[2].replace("-", "/")
    for folder in row.folders:
        if "%I" in folder and not instance:
            continue
        path = encoded(folder.replace("%I", instance))
        entry = guest.index.resolve(path)
        if entry is not None and entry.kind is Kind.FOLDER:
            evidence = Evidence(path, None, f"data-folder-of-{row.name}")
            yield path.decode("utf-8", "surrogateescape"), evidence


def _row_of(service: Service, program: Program | None) -> _Known | None:
    by_program, by_service = _table()
    if program is not None and program.name in by_program:
        return by_program[program.name]
    return by_service.get(service.name.partition("@")[0])


@cache
def _table() -> tuple[dict[str, _Known], dict[str, _Known]]:
    """Return the rows by program, and by service."""
    text = files("convert.inspect").joinpath("data_folders.toml").read_text(encoding="utf-8")
    rows: list[_Row] = tomllib.loads(text)["data"]
    by_program: dict[str, _Known] = {}
    by_service: dict[str, _Known] = {}
    for row in rows:
        services = row.get("services", [])
        name = row.get("program") or services[0]
        known = _Known(
            name,
            tuple(config.encode() for config in row.get("configs", ())),
            re.compile(row["pattern"]) if "pattern" in row else None,
            frozenset(row.get("options", ())),
            tuple(row.get("folders", ())),
        )
        if "program" in row:
            by_program[name] = known
        by_service |= dict.fromkeys(services, known)
    return by_program, by_service
