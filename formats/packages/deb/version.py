"""Versions of Debian packages, and how they compare.

Specification: deb-version(7).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TypeAlias

from formats.core.package import Operator

VersionKey: TypeAlias = tuple[tuple[int, str], "_PartKey", "_PartKey"]
"""Compares with others of its kind as the versions do."""
_PartKey: TypeAlias = tuple[tuple[int, ...] | tuple[int, str], ...]

_VALID = re.compile(r"[0-9]{1,9}:[A-Za-z0-9][A-Za-z0-9.+:~-]*|[A-Za-z0-9][A-Za-z0-9.+~-]*")
_LENGTH = 1024
_RUN = re.compile(r"([^0-9]*)([0-9]*)")
_TILDE, _END, _OTHERS = -1, 0, 0x110000
_CACHED = 1 << 14


def is_version(text: str) -> bool:
    """Tell whether a text can be the version of a package.

    As dpkg, this takes versions that begin with a letter, which the specification advises against.
    """
    return len(text) <= _LENGTH and _VALID.fullmatch(text) is not None and not text.endswith("-")


@lru_cache(maxsize=_CACHED)
def version_key(text: str) -> VersionKey:
    """Return what sorts as the version does; equal for versions that are (``1.0``, ``0:1.00-0``).

    Any text has one. A missing epoch or revision is as good as ``0``, which dpkg does, too.
    """
    epoch, colon, rest = text.partition(":")
    if not colon or not epoch.isdecimal():
        epoch, rest = "", text
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
    return _number(epoch), _part_key(upstream), _part_key(revision)


def compare(first: str, second: str) -> int:
    """Return a number below, equal to or above zero, as ``first`` is older, equal or newer."""
    one, other = version_key(first), version_key(second)
    return (one > other) - (one < other)


def satisfies(version: str, operator: Operator, wanted: str) -> bool:
    """Tell whether a version is one that a relation means: ``satisfies("2.1", AT_LEAST, "2")``."""
    order = compare(version, wanted)
    match operator:
        case Operator.ANY:
            return True
        case Operator.LESS:
            return order < 0
        case Operator.AT_MOST:
            return order <= 0
        case Operator.EQUAL:
            return order == 0
        case Operator.AT_LEAST:
            return order >= 0
        case Operator.GREATER:
            return order > 0


def _part_key(part: str) -> _PartKey:
    """Return runs of other characters and of digits in turn, and a mark for the end.

    The mark is what an empty run of other characters is, so that a part compares with a longer one
    as if both went on with nothing.
    """
    key: list[tuple[int, ...] | tuple[int, str]] = []
    for match in _RUN.finditer(part or "0"):
        if match[0]:
            key.append((*map(_weight, match[1]), _END))
            key.append(_number(match[2]))
    key.append((_END,))
    return tuple(key)


def _weight(character: str) -> int:
    """Return the rank of a character: a tilde before the end of the part, letters before others."""
    if character == "~":
        return _TILDE
    is_letter = character.isascii() and character.isalpha()
    return ord(character) + (0 if is_letter else _OTHERS)


def _number(digits: str) -> tuple[int, str]:
    """Return what compares as the number does, however many digits it has."""
    significant = digits.lstrip("0")
    return len(significant), significant
