"""Relations between Debian packages: ``libc6 (>= 2.36), default-mta | mail-transport-agent``.

Specification: deb-control(5); Debian Policy, chapter 7.
"""

from __future__ import annotations

import re
from functools import lru_cache

from formats.core.errors import CorruptError, quoted
from formats.core.package import Operator, Relation, Requirement
from formats.packages.deb.version import is_version

_RELATION = re.compile(
    r"""
    (?P<name>[A-Za-z0-9][A-Za-z0-9+._-]*)
    (?: : (?P<architecture>[A-Za-z0-9][A-Za-z0-9-]*) )?
    (?: \s* \( \s* (?: (?P<operator>[<>=]{1,2}) \s* )? (?P<version>[^\s()]+) \s* \) )?""",
    re.VERBOSE,
)
_OPERATORS = {
    "": Operator.EQUAL,
    "=": Operator.EQUAL,
    "<<": Operator.LESS,
    "<=": Operator.AT_MOST,
    ">=": Operator.AT_LEAST,
    ">>": Operator.GREATER,
    # of old packages; they never meant what they look like
    "<": Operator.AT_MOST,
    ">": Operator.AT_LEAST,
}
_CACHED = 1 << 15
"""Half of the clauses of an index are there many times; packages then share what they mean."""


def parse_requirements(value: str, when: str) -> tuple[Requirement, ...]:
    """Return what a field like ``Depends`` asks for.

    :param when: the field's name, as :attr:`Requirement.when` has it.
    :raises CorruptError: without origin, for what is no relation.
    """
    return tuple(_requirement(clause, when) for clause in _clauses(value))


def parse_relations(value: str) -> tuple[Relation, ...]:
    """Return what a field like ``Provides`` or ``Conflicts`` lists; it knows no alternatives.

    :raises CorruptError: without origin, for what is no relation.
    """
    return tuple(_relation(clause) for clause in _clauses(value))


def _clauses(value: str) -> list[str]:
    """Return what is between commas; some old packages have one too many."""
    return [text for clause in value.split(",") if (text := clause.strip())]


@lru_cache(maxsize=_CACHED)
def _requirement(clause: str, when: str) -> Requirement:
    return Requirement(tuple(map(_relation, clause.split("|"))), when)


@lru_cache(maxsize=_CACHED)
def _relation(text: str) -> Relation:
    written = text.strip()
    match = _RELATION.fullmatch(written)
    if match is None:
        raise _nonsense(written)
    name, architecture = match["name"], match["architecture"] or ""
    version = match["version"]
    if version is None:
        return Relation(name, architecture=architecture)
    operator = _OPERATORS.get(match["operator"] or "")
    if operator is None or not is_version(version):
        raise _nonsense(written)
    return Relation(name, operator, version, architecture)


def _nonsense(written: str) -> CorruptError:
    return CorruptError(f"has the relation {quoted(written[:120])}, which makes no sense")
