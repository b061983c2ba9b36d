"""A program's own configuration, line by line: includes followed, what does not apply left out.

Which files, and how they name others, is in ``programs.toml``. Nothing is expanded; a line is what
stands between two line ends, with single blanks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from posixpath import normpath

from convert.inspect.facts import Service
from convert.inspect.guest import Guest
from convert.inspect.programs import Program, program_position
from convert.inspect.text import encoded

_FILES_MAX = 500
_DEPTH_MAX = 10
_LINES_MAX = 50_000
_LINE_MAX = 1024

_OPEN_PART = re.compile(r"%([idI])|\$\{(\w+)\}")
_SECTION = re.compile(r"\[([^\]]*)\]")


@dataclass(frozen=True, slots=True)
class ConfigLine:
    """One line and where it stands."""

    path: bytes
    number: int
    text: str


def config_lines(guest: Guest, program: Program, service: Service) -> Iterator[ConfigLine]:
    """Yield the lines that apply, in the order in which the program reads them.

    :param service: names its files by its arguments, its variables or its template's instance.
    """
    names = _main_files(program, service)
    if program.first_config_counts:
        names = list(islice((name for name in names if any(guest.glob(name))), 1))
    lines = _Walk(guest, program).lines(names, 0)
    if program.syntax == "apache":
        return _applying_to_apache(lines)
    if program.syntax == "xml":
        return _start_tags(lines)
    if program.sections:
        return _in_sections(lines, program.sections)
    return lines


def _main_files(program: Program, service: Service) -> list[bytes]:
    argv = service.start[0].argv if service.start else ()
    for position, word in enumerate(argv):
        option, equals, value = word.partition("=")
        if option in program.config_options:
            value = value if equals else "".join(argv[position + 1 : position + 2])
            return [encoded(value)]
    instance = service.name.partition("@")[2]
    known = dict(service.environment)
    known |= {"i": instance, "I": instance.replace("-", "/")}
    if argv:
        known["d"] = argv[program_position(argv)].rpartition("/")[0]
    named = (_filled(pattern, known) for pattern in program.configs)
    return [name for name in named if name is not None]


def _filled(pattern: bytes, known: Mapping[str, str]) -> bytes | None:
    """Return a pattern with what it leaves open filled in; None where nothing says what it is."""
    text = pattern.decode()
    wanted = {match[0]: known.get(match[1] or match[2]) for match in _OPEN_PART.finditer(text)}
    for part, value in wanted.items():
        if value is None:
            return None
        text = text.replace(part, value)
    return encoded(normpath(f"/{text}"))


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


def _start_tags(lines: Iterator[ConfigLine]) -> Iterator[ConfigLine]:
    """Yield each start tag of an XML file as one line, without those in comments.

    What is no well-formed XML gives tags that nobody looks for. A ``>`` in a value ends a tag.
    """
    begun: ConfigLine | None = None
    tag, is_comment = "", False
    for line in lines:
        if begun is not None and begun.path != line.path:
            begun, is_comment = None, False
        rest = line.text
        while rest:
            if is_comment:
                _, end, rest = rest.partition("-->")
                is_comment = not end
                continue
            if begun is None:
                _, opened, rest = rest.partition("<")
                is_comment = rest.startswith("!--")
                begun, tag = (line if opened and not is_comment else None), "<"
                continue
            body, closed, rest = rest.partition(">")
            tag = f"{tag}{body}{closed or ' '}"[:_LINE_MAX]
            if closed:
                yield ConfigLine(begun.path, begun.number, tag)
                begun = None


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
