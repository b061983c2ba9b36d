"""supervisord: the programs that it starts and keeps.

Specification: supervisor's manual, "Configuration File" (supervisord.org). A file is read as
Python's configparser would, by the few rules that matter here.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from convert.inspect.evidence import Evidence
from convert.inspect.facts import Command, Service
from convert.inspect.guest import Guest
from convert.inspect.text import can_be_said, encoded, replaced
from formats.core.entry import Entry, Kind

_MAIN_FILES = (
    # where supervisord looks when no -c is given
    b"etc/supervisord.conf",
    b"etc/supervisor/supervisord.conf",
    b"usr/etc/supervisord.conf",
)
_PROGRAM = "program:"
_FALSE = frozenset({"false", "off", "no", "0"})
_EXPRESSION = re.compile(r"%\((\w+)\)[sd]")
_INCLUDED_FILES = 200


@dataclass(slots=True)
class _Section:
    """One ``[section]``: where it begins, and its settings by key."""

    path: bytes
    line: int
    settings: dict[str, tuple[int, str]] = field(default_factory=dict)

    def value(self, key: str) -> str:
        return self.settings.get(key, (0, ""))[1]


def started_by_supervisord(guest: Guest) -> tuple[Service, ...]:
    """Return the programs of the first main file that is there, by name."""
    main = next((path for path in _MAIN_FILES if guest.index.resolve(path) is not None), None)
    if main is None:
        return ()
    sections = _sections(guest, main)
    programs = {
        name.removeprefix(_PROGRAM): section
        for name, section in sections.items()
        if name.startswith(_PROGRAM)
    }
    variables = _variables(sections.get("supervisord"))
    return tuple(
        _service(name, programs[name], variables)
        for name in sorted(programs)
        if can_be_said(name) and name
    )


def _variables(section: _Section | None) -> dict[str, str]:
    """Return what ``%(ENV_…)s`` stands for: the variables that supervisord itself is given."""
    try:
        pairs = dict(_pairs(section.value("environment") if section is not None else ""))
    except ValueError:  # quotes that are not closed
        return {}
    return {f"ENV_{name}": value for name, value in pairs.items()}


def supervisord_file(guest: Guest) -> Entry | None:
    """Return the main configuration file."""
    found = (guest.index.resolve(path) for path in _MAIN_FILES)
    return next((entry for entry in found if entry is not None), None)


def _sections(guest: Guest, main: bytes) -> dict[str, _Section]:
    sections = _parsed(guest, main)
    include = sections.get("include")
    folder = main.rpartition(b"/")[0]
    count = 0
    for pattern in include.value("files").split() if include is not None else ():
        here = pattern.replace("%(here)s", "/" + folder.decode())
        place = encoded(here.lstrip("/")) if here.startswith("/") else folder + b"/" + encoded(here)
        for entry in guest.glob(place):
            count += 1
            if entry.kind in {Kind.FILE, Kind.HARDLINK, Kind.SYMLINK} and count <= _INCLUDED_FILES:
                sections.update(_parsed(guest, entry.path))
    return sections


def _parsed(guest: Guest, path: bytes) -> dict[str, _Section]:
    sections: dict[str, _Section] = {}
    section: _Section | None = None
    key = ""
    for number, line in guest.lines(path):
        if not line.strip() or line.startswith((";", "#")):
            continue
        if line[0] == "[" and "]" in line:
            section = _Section(path, number)
            sections[line[1 : line.index("]")].strip()] = section
        elif line[0] in " \t" and section is not None and key in section.settings:
            first, value = section.settings[key]
            section.settings[key] = (first, f"{value}\n{_without_comment(line)}")
        elif section is not None:
            key, _, value = line.partition("=")
            key = key.strip().lower()
            section.settings[key] = (number, _without_comment(value))
    return sections


def _without_comment(value: str) -> str:
    return value.partition(" ;")[0].strip()


def _service(name: str, section: _Section, variables: Mapping[str, str]) -> Service:
    here = _folder_of(section.path)
    known = {**variables, "program_name": name, "process_num": "0", "here": here}

    def expanded(key: str) -> str:
        """Return a value; none that only the machine's own environment could complete."""
        value = section.value(key)
        if any(match[1] not in known for match in _EXPRESSION.finditer(value)):
            return ""
        return replaced(_EXPRESSION, value, lambda match: known[match[1]])

    line, _ = section.settings.get("command", (section.line, ""))
    try:
        argv = tuple(shlex.split(expanded("command")))
        environment = dict(_pairs(expanded("environment")))
    except ValueError:  # quotes that are not closed
        argv, environment = (), {}
    is_off = section.value("autostart").lower() in _FALSE
    return Service(
        name=name,
        manager="supervisord",
        kind="simple",
        evidence=Evidence(section.path, section.line, "supervisord-program"),
        enabled_by=Evidence(section.path, section.line, "supervisord-program"),
        start=(Command(argv, Evidence(section.path, line, "supervisord-command")),) if argv else (),
        environment=tuple(sorted(environment.items())),
        user=expanded("user") or None,
        working_dir=expanded("directory") or None,
        kill_signal=section.value("stopsignal") or None,
        not_workload="is not started by itself (autostart=false)" if is_off else None,
    )


def _folder_of(path: bytes) -> str:
    return "/" + path.rpartition(b"/")[0].decode("utf-8", "surrogateescape")


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    r"""Yield the variables of ``A="x",B=y``; values may be in quotes, commas end them.

    :raises ValueError: for quotes that are not closed.
    """
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace = ", \t\n"
    lexer.whitespace_split = True
    lexer.commenters = ""
    for word in lexer:
        key, equals, value = word.partition("=")
        if equals and key:
            yield key, value
