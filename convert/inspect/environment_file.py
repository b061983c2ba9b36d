"""Files of environment variables as systemd reads them: systemd.exec(5), "EnvironmentFile="."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BLANK = " \t"
_ENDS = frozenset({"", "\n", "\r"})
_NAME_PART = re.compile(r"[ \t]*(?:[^\n\r][^\n\r=]*)?")
_ESCAPED_IN_DOUBLE_QUOTES = '"\\`$'


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable and the line, counted from 1, that its name stands in."""

    name: str
    value: str
    line: int


def variables_of(text: str) -> dict[str, Variable]:
    """Return the variables that a file sets; lines that set none are passed over.

    Quotes count only where a value begins, blanks inside a value stay, and a value in quotes may
    have several lines: it is not what a shell would make of it.
    """
    found: dict[str, Variable] = {}
    characters = _Characters(text)
    line = counted_to = 0
    while not characters.is_at_end:
        line += text.count("\n", counted_to, characters.position)
        counted_to = characters.position
        name = characters.name()
        if name is None:
            continue
        value = "".join(_value(characters))
        if _NAME.fullmatch(name):
            found[name] = Variable(name, value, line + 1)
    return found


class _Characters:
    """A text with a position."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    @property
    def is_at_end(self) -> bool:
        return self.position >= len(self.text)

    def take(self) -> str:
        """Return the next character; "" at the end."""
        character = self.text[self.position : self.position + 1]
        self.position += 1
        return character

    def name(self) -> str | None:
        """Return what stands before ``=``; None after a line that is passed over."""
        match = _NAME_PART.match(self.text, self.position)
        name = match[0] if match is not None else ""
        if name.lstrip().startswith(("#", ";")):
            self._skip_comment()
            return None
        self.position += len(name)
        return name.strip() if self.take() == "=" else None

    def _skip_comment(self) -> None:
        """Skip a comment, and the lines that it goes on in."""
        while (character := self.take()) not in _ENDS:
            if character == "\\":
                self.take()


def _value(characters: _Characters) -> Iterator[str]:
    """Yield the parts of a value, up to and with the end of its line."""
    blanks = ""
    is_quotable = True
    while (character := characters.take()) not in _ENDS:
        if character in _BLANK:
            blanks += "" if is_quotable else character
            continue
        if is_quotable and character in {"'", '"'}:
            yield from _quoted(characters, character)
            continue
        if character == "\\":
            character = characters.take().strip("\n\r")
        yield blanks + character
        blanks = ""
        is_quotable = False


def _quoted(characters: _Characters, quote: str) -> Iterator[str]:
    while (character := characters.take()) not in {"", quote}:
        if character == "\\" and quote == '"':
            escaped = characters.take()
            if escaped not in _ESCAPED_IN_DOUBLE_QUOTES and escaped != "\n":
                yield character
            yield escaped.strip("\n")
        else:
            yield character
