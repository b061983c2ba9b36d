"""The text of a systemd unit: systemd.syntax(7).

https://www.freedesktop.org/software/systemd/man/latest/systemd.syntax.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Setting:
    """One ``Key=value`` with where it stands."""

    section: str
    key: str
    value: str
    path: bytes
    line: int


def parse_unit(text: str, path: bytes) -> list[Setting]:
    """Return the settings of a unit file or drop-in, in their order; bad lines are passed over.

    A line that ends in a backslash goes on in the next; comments between them are skipped.
    """
    section = ""
    settings: list[Setting] = []
    for number, line in _logical_lines(text):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
            continue
        key, equals, value = line.partition("=")
        if equals and section:
            settings.append(Setting(section, key.strip(), value.strip(), path, number))
    return settings


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    parts: list[str] = []
    first = 0
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if line.startswith(("#", ";")) or (not line and not parts):
            continue
        if not parts:
            first = number
        if line.endswith("\\"):
            parts.append(line[:-1])
            continue
        parts.append(line)
        yield first, " ".join(parts).strip()
        parts = []
    if parts:
        yield first, " ".join(parts).strip()


def values(settings: Iterable[Setting], section: str, key: str) -> list[Setting]:
    """Return the settings of a list: each one adds to it, an empty one empties it."""
    found: list[Setting] = []
    for setting in settings:
        if setting.section != section or setting.key != key:
            continue
        if setting.value:
            found.append(setting)
        else:
            found.clear()
    return found


def last(settings: Iterable[Setting], section: str, key: str) -> Setting | None:
    """Return the setting that counts where there can be one only; None if unset or emptied."""
    found = values(settings, section, key)
    return found[-1] if found else None


_TRUE = frozenset({"1", "yes", "y", "true", "t", "on"})


def is_true(setting: Setting | None) -> bool:
    """Tell whether a boolean setting is there and on."""
    return setting is not None and setting.value.lower() in _TRUE


_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "s": " ",
    "\\": "\\",
    '"': '"',
    "'": "'",
}
_NUMBERED = re.compile(r"x([0-9a-fA-F]{2})|([0-7]{3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})")


def split_words(text: str) -> list[str]:
    r"""Split at blanks; quotes and C escapes as in systemd.syntax(7), "Quoting".

    Quotes count only where a word begins or ends. An escape that is not known stays as it is;
    so does ``\;``, which means something to command lines.
    """
    words: list[str] = []
    position = 0
    while True:
        while position < len(text) and text[position].isspace():
            position += 1
        if position >= len(text):
            return words
        word, position = _word(text, position)
        words.append(word)


def _word(text: str, position: int) -> tuple[str, int]:
    parts: list[str] = []
    quote = ""
    while position < len(text):
        character = text[position]
        if character == "\\":
            part, position = _escape(text, position)
            parts.append(part)
            continue
        position += 1
        if quote:
            if character == quote:
                quote = ""
                continue
        elif character in "\"'":
            quote = character
            continue
        elif character.isspace():
            break
        parts.append(character)
    return "".join(parts), position


def _escape(text: str, position: int) -> tuple[str, int]:
    """Return what the backslash at ``position`` stands for, and the position after it."""
    following = text[position + 1 : position + 2]
    if following in _ESCAPES:
        return _ESCAPES[following], position + 2
    match = _NUMBERED.match(text, position + 1)
    if match is None:
        return "\\" + following, position + 2
    hexadecimal = match[1] or match[3] or match[4]
    code = int(hexadecimal, 16) if hexadecimal else int(match[2], 8)
    if code == 0 or code > 0x10FFFF:
        return text[position : match.end()], match.end()
    is_byte = (match[1] or match[2]) and code > 0x7F
    return (bytes([code & 0xFF]).decode("utf-8", "surrogateescape") if is_byte else chr(code)), (
        match.end()
    )
