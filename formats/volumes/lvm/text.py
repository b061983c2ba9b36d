"""The text format in which LVM2 keeps its metadata, as ``lvm.conf(5)`` describes it.

::

    name { … }        a section
    key = value       value: "text", number, or an array [ value, … ]
    # …               a comment, up to the end of the line
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

from formats.core.errors import CorruptError
from formats.core.origin import Origin

Scalar: TypeAlias = int | float | str
Value: TypeAlias = Scalar | list[Scalar]
Section: TypeAlias = dict[str, "Value | Section"]

_DEPTH_MAX = 16
_TOKEN = re.compile(
    r"""
      (?P<skip>   (?: \s | \#[^\n]* )+ )
    | (?P<text>   " (?: [^"\\] | \\. )* " )
    | (?P<number> [+-]? (?: \d+\.\d* | \d+ ) (?= [\s,\]\}\#] | \Z ) )
    | (?P<name>   [A-Za-z0-9_.+/-]+ )
    | (?P<mark>   [{}\[\]=,] )
    """,
    re.VERBOSE | re.ASCII | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class _Tokens:
    """The tokens of a text, one at a time, with one of look-ahead."""

    def __init__(self, text: str, origin: Origin) -> None:
        self._text = text
        self._origin = origin
        self._tokens = self._scan()
        self.kind, self.value = next(self._tokens)

    def _scan(self) -> Iterator[tuple[str, str]]:
        position = 0
        while position < len(self._text):
            match = _TOKEN.match(self._text, position)
            if match is None or match.lastgroup is None:
                raise CorruptError(
                    f"the LVM metadata cannot be parsed at character {position:,}",
                    origin=self._origin,
                )
            position = match.end()
            if match.lastgroup != "skip":
                yield match.lastgroup, match.group()
        yield "end", ""

    def take(self) -> tuple[str, str]:
        """Return the token and move on; the end stays the end."""
        taken = (self.kind, self.value)
        if self.kind != "end":
            self.kind, self.value = next(self._tokens)
        return taken

    def expect(self, mark: str) -> None:
        """Take ``mark``.

        :raises CorruptError: if something else is there.
        """
        _, value = self.take()
        if value != mark:
            raise self.error(f"'{value[:32]}' where '{mark}' should be")

    def error(self, what: str) -> CorruptError:
        """Return the error that says ``what`` is wrong."""
        return CorruptError(f"the LVM metadata has {what}", origin=self._origin)


def parse(text: str, origin: Origin) -> Section:
    """Return the text as nested dictionaries.

    :raises CorruptError: if it is not of the format, or nested deeper than any metadata is.
    """
    tokens = _Tokens(text, origin)
    root: Section = {}
    open_sections = [root]
    while tokens.kind != "end":
        kind, name = tokens.take()
        if name == "}":
            open_sections.pop()
            if not open_sections:
                raise tokens.error("one '}' too many")
            continue
        if kind not in {"name", "number"}:
            raise tokens.error(f"'{name[:32]}' where a name should be")
        here = open_sections[-1]
        if name in here:
            raise tokens.error(f"'{name[:32]}' twice in one section")
        if tokens.value == "{":
            tokens.take()
            inner: Section = {}
            here[name] = inner
            open_sections.append(inner)
            if len(open_sections) > _DEPTH_MAX:
                raise tokens.error(f"sections nested more than {_DEPTH_MAX} deep")
        else:
            tokens.expect("=")
            here[name] = _value(tokens)
    if len(open_sections) != 1:
        raise tokens.error("no end: a '}' is missing")
    return root


def _value(tokens: _Tokens) -> Value:
    if tokens.value != "[":
        return _scalar(tokens)
    tokens.take()
    items: list[Scalar] = []
    while tokens.value != "]":
        items.append(_scalar(tokens))
        if tokens.value != "]":
            tokens.expect(",")
    tokens.take()
    return items


def _scalar(tokens: _Tokens) -> Scalar:
    kind, value = tokens.take()
    if kind == "text":
        return _ESCAPE.sub(r"\1", value[1:-1])
    if kind == "number" and len(value) <= 20:
        return float(value) if "." in value else int(value)
    raise tokens.error(f"'{value[:32]}' where a value should be")
