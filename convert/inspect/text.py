"""Reading a guest's small text files: as text with line numbers, whatever their bytes are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from formats.core.entry import Entry
from formats.core.errors import LimitError
from formats.core.tree import TreeIndex


def text_of(index: TreeIndex, path: bytes) -> str | None:
    """Return a file as text; bytes that are not UTF-8 become lone surrogates (PEP 383).

    None where there is no such file, or where it is far too large to be what its name says: a
    guest must not stop its own conversion by that.
    """
    try:
        content = index.content(path)
    except LimitError:
        return None
    return None if content is None else content.decode("utf-8", "surrogateescape")


def lines_of(index: TreeIndex, path: bytes) -> Iterator[tuple[int, str]]:
    """Yield (number, line) of a file, counted from 1; nothing if there is no such file."""
    text = text_of(index, path)
    if text is not None:
        yield from enumerate(text.split("\n"), start=1)


def glob(index: TreeIndex, pattern: bytes) -> Iterator[Entry]:
    """Yield the entries whose path matches, sorted; ``*`` and ``?`` in any component.

    Links to folders are followed on the way, as a shell in the guest would; the yielded path may
    therefore be another spelling of the pattern. Each step looks at one folder only.
    """
    folders = [b""]
    *components, last = pattern.strip(b"/").split(b"/")
    for component in components:
        folders = [child.path for child in _matching(index, folders, component)]
    yield from _matching(index, folders, last)


def _matching(index: TreeIndex, folders: list[bytes], pattern: bytes) -> Iterator[Entry]:
    for folder in folders:
        if not re.search(rb"[*?\[]", pattern):
            found = index.get(folder + b"/" + pattern if folder else pattern)
            home = index.resolve(folder) if found is None else None
            if home is not None:  # ``folder`` was itself a link
                found = index.get(home.path + b"/" + pattern if home.path else pattern)
            if found is not None:
                yield found
            continue
        for child in index.children(folder):
            if fnmatchcase(child.name.decode("latin-1"), pattern.decode("latin-1")):
                yield child


@dataclass(frozen=True, slots=True)
class Assignment:
    """``NAME=value`` in a shell-like file, with the quotes taken off."""

    name: str
    value: str
    line: int
    is_exported: bool = False


_ASSIGNMENT = re.compile(r"\s*(export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")


def assignments(index: TreeIndex, path: bytes) -> list[Assignment]:
    """Return the assignments of a shell-like file: os-release(5), an EnvironmentFile=, envvars.

    Quotes and backslashes are taken as a POSIX shell would; nothing is expanded. A line with a
    trailing backslash goes on in the next (systemd.exec(5), "EnvironmentFile=").
    """
    found: list[Assignment] = []
    pending = ""
    first = 0
    for number, line in lines_of(index, path):
        if not pending:
            if line.lstrip().startswith(("#", ";")):
                continue
            first = number
        if line.endswith("\\") and not line.endswith("\\\\"):
            pending += line[:-1]
            continue
        match = _ASSIGNMENT.fullmatch(pending + line)
        pending = ""
        if match:
            found.append(Assignment(match[2], unquoted(match[3]), first, bool(match[1])))
    return found


def unquoted(value: str) -> str:
    """Return a value without its quotes and backslashes, as a POSIX shell would."""
    result: list[str] = []
    quote = ""
    characters = iter(value.strip())
    for character in characters:
        if quote == "'":
            if character == "'":
                quote = ""
            else:
                result.append(character)
        elif character == "\\":
            escaped = next(characters, "")
            if quote and escaped not in {'"', "\\", "$", "`"}:
                result.append("\\")
            result.append(escaped)
        elif character == quote:
            quote = ""
        elif not quote and character in {'"', "'"}:
            quote = character
        else:
            result.append(character)
    return "".join(result)
