"""A program's own configuration, line by line: includes followed, what does not apply left out.

Which files, and how they name others, is in ``programs.toml``. Nothing is expanded; a line is what
stands between two line ends, with single blanks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from convert.inspect.guest import Guest
from convert.inspect.programs import Program
from convert.inspect.text import encoded

_FILES_MAX = 500
_DEPTH_MAX = 10
_LINES_MAX = 50_000
_LINE_MAX = 1024

_SECTION = re.compile(r"\[([^\]]*)\]")


@dataclass(frozen=True, slots=True)
class ConfigLine:
    """One line and where it stands."""

    path: bytes
    number: int
    text: str


def config_lines(
    guest: Guest, program: Program, instance: str, argv: tuple[str, ...]
) -> Iterator[ConfigLine]:
    """Yield the lines that apply, in the order in which the program reads them.

    :param instance: of the service's template, which may choose among files.
    :param argv: may name another main file.
    """
    lines = _Walk(guest, program).lines(_main_files(program, instance, argv), 0)
    if program.syntax == "apache":
        return _applying_to_apache(lines)
    if program.sections:
        return _in_sections(lines, program.sections)
    return lines


def _main_files(program: Program, instance: str, argv: tuple[str, ...]) -> list[bytes]:
    for position, word in enumerate(argv):
        option, equals, value = word.partition("=")
        if option in program.config_options:
            value = value if equals else "".join(argv[position + 1 : position + 2])
            return [encoded(value)]
    name, folders = encoded(instance), encoded(instance.replace("-", "/"))
    return [pattern.replace(b"%i", name).replace(b"%I", folders) for pattern in program.configs]


class _Walk:
    """Files that include files; none is read twice, and no more than any program has."""

    def __init__(self, guest: Guest, program: Program) -> None:
        self.guest = guest
        self.program = program
        self.seen: set[bytes] = set()
        self.patterns: set[bytes] = set()
        self.lines_left = _LINES_MAX

    def lines(self, patterns: list[bytes], depth: int) -> Iterator[ConfigLine]:
        for pattern in patterns:
            if pattern in self.patterns:
                continue
            self.patterns.add(pattern)
            for entry in self.guest.glob(pattern):
                target = self.guest.index.resolve(entry.path)
                if target is None or target.path in self.seen or len(self.seen) >= _FILES_MAX:
                    continue
                self.seen.add(target.path)
                yield from self._file(entry.path, depth)

    def _file(self, path: bytes, depth: int) -> Iterator[ConfigLine]:
        for number, line in self.guest.lines(path):
            self.lines_left -= 1
            if self.lines_left < 0:
                return
            text = " ".join(line[:_LINE_MAX].split())
            if not text or text.startswith(("#", ";")):
                continue
            yield ConfigLine(path, number, text)
            include = self.program.include and self.program.include.match(text)
            if include and depth < _DEPTH_MAX:
                yield from self.lines(self._included(include, path), depth + 1)

    def _included(self, include: re.Match[str], path: bytes) -> list[bytes]:
        groups = include.groupdict()
        base = self.program.include_base or path.rpartition(b"/")[0]
        named = [groups.get("path"), f"{groups['folder']}/*" if groups.get("folder") else None]
        return [
            encoded(name) if name.startswith("/") else base + b"/" + encoded(name)
            for name in filter(None, named)
        ]


def _in_sections(lines: Iterator[ConfigLine], sections: frozenset[str]) -> Iterator[ConfigLine]:
    applies = True
    for line in lines:
        match = _SECTION.match(line.text)
        if match:
            applies = match[1].strip() in sections
        elif applies:
            yield line


_OPEN = re.compile(r"<(IfModule|IfDefine|IfFile|IfVersion) (!?)([^>]+)>", re.IGNORECASE)
_CLOSE = re.compile(r"</(IfModule|IfDefine|IfFile|IfVersion)>", re.IGNORECASE)
_LOAD = re.compile(r"LoadModule (\S+) (\S+)\.so", re.IGNORECASE)


def _applying_to_apache(lines: Iterator[ConfigLine]) -> Iterator[ConfigLine]:
    """Leave out what is in an ``<IfModule>`` of a module that is not loaded, or an ``<IfDefine>``.

    https://httpd.apache.org/docs/2.4/mod/core.html#ifmodule
    """
    loaded: set[str] = set()
    applies: list[bool] = []
    for line in lines:
        opened = _OPEN.match(line.text)
        if opened:
            kind, negation, name = opened.groups()
            holds = _holds_in_apache(kind.lower(), name.strip(' "'), loaded)
            applies.append(holds is not bool(negation))
        elif _CLOSE.match(line.text):
            if applies:
                applies.pop()
        elif all(applies):
            load = _LOAD.match(line.text)
            if load:
                loaded |= {load[1], f"{load[2].rpartition('/')[2]}.c"}
            yield line


def _holds_in_apache(kind: str, name: str, loaded: set[str]) -> bool:
    if kind == "ifmodule":
        return name in loaded
    return kind != "ifdefine"
