"""Files that shells read, as far as that can be done without running them."""

from __future__ import annotations

import re
from collections.abc import Iterator
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


_ASSIGNMENT = re.compile(r"\s*(export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?-([^${}]{0,256}))?\}|(\w+))")


def assignments(guest: Guest, path: bytes) -> Iterator[Assignment]:
    """Yield the assignments of a shell file, each variable replaced by what was assigned before.

    Nothing is run: which branch an assignment stands in does not count, and what a command would
    print stays as it is.
    """
    known: dict[str, str] = {}

    def value_of(match: re.Match[str]) -> str:
        return known.get(match[1] or match[3]) or match[2] or ""

    for number, line in guest.lines(path):
        match = _ASSIGNMENT.fullmatch(line)
        if match:
            value = replaced(_VARIABLE, unquoted(match[3]), value_of)
            known[match[2]] = value
            yield Assignment(match[2], value, number, bool(match[1]))


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
