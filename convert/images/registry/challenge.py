"""What a registry asks for before it answers: ``WWW-Authenticate`` (RFC 9110, 11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER: Final = re.compile(
    rf"\s*(?P<name>{_WORD})\s*=\s*(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<plain>{_WORD}))\s*,?"
)
_SCHEME: Final = re.compile(rf"[\s,]*(?P<scheme>{_WORD})(?:\s+|\s*,|$)(?!\s*=)")
_HEADER_CHARACTERS: Final = 8192


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to be let in.

    :ivar scheme: lower case: ``bearer``, ``basic``.
    :ivar parameters: by lower-case name.
    """

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(header: str) -> list[Challenge]:
    """Return the challenges of a header; what cannot be understood ends them."""
    header = header[:_HEADER_CHARACTERS]
    found: list[Challenge] = []
    position = 0
    while (match := _SCHEME.match(header, position)) is not None:
        position = match.end()
        parameters: dict[str, str] = {}
        while (parameter := _PARAMETER.match(header, position)) is not None:
            quoted = parameter["quoted"]
            value = parameter["plain"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            parameters[parameter["name"].lower()] = value
            position = parameter.end()
        found.append(Challenge(match["scheme"].lower(), parameters))
    return found
