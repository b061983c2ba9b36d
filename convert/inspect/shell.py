"""Files that shells read, as far as that can be done without running them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from convert.inspect.guest import Guest
from convert.inspect.text import replaced


@dataclass(frozen=True, slots=True)
class Assignment:
    """``NAME=value``, without quotes."""

    name: str
    value: str
    line: int
    is_exported: bool = False


_ASSIGNMENT = re.compile(r"\s*(export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_DEFAULT = re.compile(r"\s*:\s+\"?\$\{([A-Za-z_][A-Za-z0-9_]*):?=(.*)\}\"?\s*", re.DOTALL)
_CLOSED = re.compile(
    r"""(?:^|(?<=\s))\#[^\n]* | \\. | '[^']*' | "(?:[^"\\]|\\.)*" """, re.DOTALL | re.VERBOSE
)
"""Comments, escaped characters and whole quoted texts."""
_JOINED_LINES = 256
"""How many lines one quoted value may have."""
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?-([^${}]{0,256}))?\}|(\w+))")


def assignments(
    guest: Guest, path: bytes, before: Mapping[str, str] | None = None
) -> Iterator[Assignment]:
    """Yield the assignments of a shell file, as :func:`assignments_in` does."""
    return assignments_in(guest.lines(path), before)


def assignments_in(
    lines: Iterable[tuple[int, str]], before: Mapping[str, str] | None = None
) -> Iterator[Assignment]:
    """Yield the assignments of shell text, each variable replaced by what was assigned before.

    Nothing is run: which branch an assignment stands in does not count, and what a command would
    print stays as it is. ``: ${NAME:=value}`` assigns where nothing was assigned before.

    :param before: what was assigned before the text is read.
    """
    known: dict[str, str] = dict(before or {})

    def value_of(match: re.Match[str]) -> str:
        return known.get(match[1] or match[3]) or match[2] or ""

    for number, line in whole_lines(lines):
        default = _DEFAULT.fullmatch(line)
        if default and not known.get(default[1]):
            value = replaced(_VARIABLE, unquoted(default[2]), value_of)
            known[default[1]] = value
            yield Assignment(default[1], value, number)
        match = _ASSIGNMENT.fullmatch(line)
        if match:
            value = replaced(_VARIABLE, unquoted(match[3]), value_of)
            known[match[2]] = value
            yield Assignment(match[2], value, number, bool(match[1]))


def whole_lines(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield lines with those joined that a backslash or an open quote continues.

    A quote that is never closed ends where it began: an apostrophe in a comment opens none.
    """
    pending: list[tuple[int, str]] = []
    text = ""
    for number, line in lines:
        pending.append((number, line))
        text = f"{text}\n{line}" if text else line
        if text.endswith("\\") and not text.endswith("\\\\"):
            text = text[:-1]
        elif not _has_open_quote(text):
            yield pending[0][0], text
            pending, text = [], ""
        if len(pending) > _JOINED_LINES:
            yield from pending
            pending, text = [], ""
    yield from pending


def _has_open_quote(text: str) -> bool:
    rest = _CLOSED.sub("", text)
    return "'" in rest or '"' in rest


def exports(guest: Guest, path: bytes) -> dict[str, str]:
    """Return the variables that a shell file exports."""
    return {item.name: item.value for item in assignments(guest, path) if item.is_exported}


def unquoted(value: str) -> str:
    """Return the first word of a value without its quotes and backslashes, as a shell would."""
    result: list[str] = []
    quote = ""
    characters = iter(value)
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
        elif not quote and (character.isspace() or character in ";&|"):
            break
        else:
            result.append(character)
    return "".join(result)
