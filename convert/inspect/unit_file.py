"""The text of a systemd unit: systemd.syntax(7).

https://www.freedesktop.org/software/systemd/man/latest/systemd.syntax.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


class BadQuotingError(ValueError):
    """A quote is not closed."""


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
        backslashes = len(raw) - len(raw.rstrip("\\"))
        if backslashes % 2:  # an even number escapes itself
            parts.append(line[:-1])
            continue
        yield first, " ".join([*parts, line]).strip()
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


_BLANK = " \t\n\r"
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


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a value.

    :ivar raw: as it stands there, with quotes and escapes.
    """

    text: str
    raw: str


def words_of(text: str) -> Iterator[Word]:
    r"""Split at blanks; quotes and C escapes as in systemd.syntax(7), "Quoting".

    An escape that is not known stays as it is.

    :raises BadQuotingError: once it comes to a quote that is not closed.
    """
    position = 0
    while True:
        while position < len(text) and text[position] in _BLANK:
            position += 1
        if position >= len(text):
            return
        start = position
        word, position = _word(text, position)
        yield Word(word, text[start:position].strip(_BLANK))


def split_words(text: str) -> list[str]:
    """Return the words of a value; none where a quote is not closed, as systemd does."""
    try:
        return [word.text for word in words_of(text)]
    except BadQuotingError:
        return []


def _word(text: str, position: int) -> tuple[str, int]:
    """Return the word that starts at ``position``, and the position after it."""
    parts: list[str] = []
    quote = ""
    while position < len(text):
        character = text[position]
        if character == "\\":
            part, position = _escape(text, position)
            parts.append(part)
            continue
        position += 1
        if character == quote:
            quote = ""
        elif not quote and character in "\"'":
            quote = character
        elif not quote and character in _BLANK:
            break
        else:
            parts.append(character)
    if quote:
        raise BadQuotingError
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
    if code == 0 or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        return text[position : match.end()], match.end()
    is_byte = (match[1] or match[2]) and code > 0x7F
    return (bytes([code & 0xFF]).decode("utf-8", "surrogateescape") if is_byte else chr(code)), (
        match.end()
    )
