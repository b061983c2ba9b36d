"""Versions of rpm packages, how they compare, and which ones a relation means.

Specification: rpm-version(7); rpm.org "Dependencies", "Versioning".
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from formats.core.package import Operator, Relation

_Part: TypeAlias = tuple[tuple[int, str] | tuple[int, int, str], ...]

_SEGMENT = re.compile(r"[0-9]+|[A-Za-z]+|~|\^")
_EPOCH = re.compile(r"([0-9]{0,10}):")

# What segments are worth where others end, or are of another kind: "1.0~rc1" is older than "1.0",
# "1.0^git1" is newer, and older than "1.0.1"; digits are newer than letters.
_TILDE, _END, _CARET, _LETTERS, _DIGITS = range(5)

_LESS = frozenset({Operator.LESS, Operator.AT_MOST})
_GREATER = frozenset({Operator.GREATER, Operator.AT_LEAST})
_EQUAL = frozenset({Operator.EQUAL, Operator.AT_MOST, Operator.AT_LEAST})
_CACHED = 1 << 14


class VersionKey(NamedTuple):
    """What versions are compared by: all three, or the first two where a release is missing.

    Keys sort as the versions do; those of versions that are equal (``1.0``, ``0:1..0``) are equal.
    """

    epoch: int
    version: _Part
    release: _Part


@lru_cache(maxsize=_CACHED)
def version_key(text: str) -> VersionKey:
    """Return the key of ``[epoch:]version[-release]``; any text has one."""
    epoch, rest = "", text
    match = _EPOCH.match(text)
    if match is not None:
        epoch, rest = match[1], text[match.end() :]
    version, dash, release = rest.rpartition("-")
    if not dash:
        version, release = rest, ""
    return VersionKey(int(epoch or "0"), _part(version), _part(release) if dash else ())


def _part(text: str) -> _Part:
    """Return the segments of a version or release, and a mark for its end.

    All that is between segments only separates them.
    """
    key: list[tuple[int, str] | tuple[int, int, str]] = []
    for segment in _SEGMENT.findall(text):
        if segment[0].isdigit():
            digits = segment.lstrip("0")
            key.append((_DIGITS, len(digits), digits))
        elif segment == "~":
            key.append((_TILDE, ""))
        elif segment == "^":
            key.append((_CARET, ""))
        else:
            key.append((_LETTERS, segment))
    key.append((_END, ""))
    return tuple(key)


def compare(first: str, second: str) -> int:
    """Return a number below, equal to or above zero, as ``first`` is older, equal or newer.

    A version without a release is older than the same with one.
    """
    one, other = version_key(first), version_key(second)
    return (one > other) - (one < other)


def _compare_where_both(first: str, second: str) -> int:
    """Compare; releases only where both have one, as relations do."""
    one, other = version_key(first), version_key(second)
    if not one.release or not other.release:
        one, other = one._replace(release=()), other._replace(release=())
    return (one > other) - (one < other)


def satisfies(version: str, operator: Operator, wanted: str) -> bool:
    """Tell whether a version is one that a relation means: ``satisfies("2.1-3", EQUAL, "2.1")``."""
    return overlaps(Relation("", Operator.EQUAL, version), Relation("", operator, wanted))


def overlaps(provided: Relation, wanted: Relation) -> bool:
    """Tell whether there is a version that both mean; names are not looked at.

    What is provided without a version meets every relation, as it does for rpm.
    """
    if Operator.ANY in {provided.operator, wanted.operator}:
        return True
    order = _compare_where_both(provided.version, wanted.version)
    if order < 0:
        return provided.operator in _GREATER or wanted.operator in _LESS
    if order > 0:
        return provided.operator in _LESS or wanted.operator in _GREATER
    both = {provided.operator, wanted.operator}
    return both <= _EQUAL or both <= _LESS or both <= _GREATER
