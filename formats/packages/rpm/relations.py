"""Relations between rpm packages, boolean ones among them.

Specification: rpm.org "Dependencies", "Boolean Dependencies", "Tag Listing".

A boolean dependency is brought to what a resolver without them knows: several requirements that
must all be met, each by one of several relations. ``and``, ``or`` and nesting of both come through
exactly; ``if`` and ``unless`` depend on what else is chosen and are left to the caller to report,
``with`` and ``without`` ask more than can be said here and are taken for ``and`` and for their
first operand, which is reported, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import NamedTuple

from formats.core.errors import CorruptError, quoted
from formats.core.package import Operator, Relation, Requirement
from formats.packages.rpm import tags
from formats.packages.rpm.header import Header, as_text

_OPERATORS = {
    0: Operator.ANY,
    tags.SENSE_LESS: Operator.LESS,
    tags.SENSE_GREATER: Operator.GREATER,
    tags.SENSE_EQUAL: Operator.EQUAL,
    tags.SENSE_LESS | tags.SENSE_EQUAL: Operator.AT_MOST,
    tags.SENSE_GREATER | tags.SENSE_EQUAL: Operator.AT_LEAST,
}
_COMPARISON = tags.SENSE_LESS | tags.SENSE_GREATER | tags.SENSE_EQUAL
_SIGNS = {
    "<": Operator.LESS,
    "<=": Operator.AT_MOST,
    "=": Operator.EQUAL,
    ">=": Operator.AT_LEAST,
    ">": Operator.GREATER,
}
_WORDS = frozenset({"and", "or", "if", "else", "with", "without", "unless"})
_TOKEN = re.compile(r"\s*(?:([<>=]{1,2})(?=\s)|((?:[^\s()]|\([^\s()]*\))+)|([()]))")
"""A sign, a name or version (``libc.so.6(GLIBC_2.34)(64bit)`` is one), or a parenthesis."""

_CACHED = 1 << 15
"""Most of what packages need is needed by many; they then share what it means."""

_MAX_DEPTH = 32
_MAX_CLAUSES = 64
_MAX_CHARACTERS = 16_384

_WEAK = (
    ("Recommends", tags.RECOMMENDNAME, tags.RECOMMENDFLAGS, tags.RECOMMENDVERSION),
    ("Suggests", tags.SUGGESTNAME, tags.SUGGESTFLAGS, tags.SUGGESTVERSION),
    ("Supplements", tags.SUPPLEMENTNAME, tags.SUPPLEMENTFLAGS, tags.SUPPLEMENTVERSION),
    ("Enhances", tags.ENHANCENAME, tags.ENHANCEFLAGS, tags.ENHANCEVERSION),
)


class Sensed(NamedTuple):
    """A relation as a header has it.

    :ivar name: of a package or capability, or a boolean dependency.
    :ivar flags: ``RPMSENSE_*``.
    """

    name: str
    flags: int
    version: str

    def relation(self) -> Relation:
        """Return what it says of versions; an epoch of zero is none."""
        operator = _OPERATORS.get(self.flags & _COMPARISON, Operator.ANY) if self.version else None
        if operator is None or operator is Operator.ANY:
            return Relation(self.name)
        return Relation(self.name, operator, self.version.removeprefix("0:"))


@dataclass(frozen=True, slots=True)
class Requirements:
    """What packages need.

    :ivar unread: boolean dependencies that are not met exactly by ``met``, as they are written.
    """

    met: tuple[Requirement, ...]
    unread: tuple[str, ...]


def sensed(header: Header, name: int, flags: int, version: int) -> list[Sensed]:
    """Return the relations that three tags hold; the oldest packages have names only.

    :raises CorruptError: if there are not as many of each.
    """
    names = header.strings(name)
    count = len(names)
    senses = header.numbers(flags) or (0,) * count
    versions = header.strings(version) or [b""] * count
    if not count == len(senses) == len(versions):
        raise header.corrupt(
            f"the tag {name} has {count:,} relations, with {len(senses):,} flags and"
            f" {len(versions):,} versions"
        )
    return [
        Sensed(as_text(one), sense, as_text(which))
        for one, sense, which in zip(names, senses, versions, strict=True)
    ]


def requirements_of(header: Header) -> Requirements:
    """Return what a package needs and wishes for; of rpm itself it may ask what it likes.

    :raises CorruptError: for relations that make no sense.
    """
    listed = [
        ("Recommends" if one.flags & tags.SENSE_MISSINGOK else "Requires", one)
        for one in sensed(header, tags.REQUIRENAME, tags.REQUIREFLAGS, tags.REQUIREVERSION)
        if not one.flags & tags.SENSE_RPMLIB and not one.name.startswith("rpmlib(")
    ]
    for when, *three in _WEAK:
        listed += [(when, one) for one in sensed(header, *three)]
    return requirements(listed)


def requirements(listed: Iterable[tuple[str, Sensed]]) -> Requirements:
    """Return requirements, each once, in the order they come in.

    :param listed: fields (``Requires``, ``Recommends``) and what they ask for.
    :raises CorruptError: without origin, for boolean dependencies that make no sense.
    """
    met: dict[Requirement, None] = {}
    unread: dict[str, None] = {}
    for when, one in dict.fromkeys(listed):
        if not is_boolean(one.name):
            met[_requirement(when, one)] = None
            continue
        parsed = _Boolean(one.name).parse()
        if not parsed.is_exact:
            unread[f"{when}: {one.name}"] = None
        for clause in parsed.clauses:
            met[Requirement(clause, when)] = None
    return Requirements(tuple(met), tuple(unread))


@lru_cache(maxsize=_CACHED)
def _requirement(when: str, one: Sensed) -> Requirement:
    return Requirement((one.relation(),), when)


def provides_of(header: Header) -> tuple[Relation, ...]:
    """Return what a package provides beside its own name, each once."""
    own = header.text(tags.NAME)
    found = sensed(header, tags.PROVIDENAME, tags.PROVIDEFLAGS, tags.PROVIDEVERSION)
    return tuple(dict.fromkeys(one.relation() for one in found if one.name != own))


def conflicts_of(header: Header) -> tuple[Relation, ...]:
    """Return what a package cannot be beside, each once; boolean conflicts are no part of it."""
    found = [
        *_conflicts(header),
        *sensed(header, tags.OBSOLETENAME, tags.OBSOLETEFLAGS, tags.OBSOLETEVERSION),
    ]
    return tuple(dict.fromkeys(one.relation() for one in found if not is_boolean(one.name)))


def boolean_conflicts_of(header: Header) -> tuple[str, ...]:
    """Return boolean conflicts as they are written."""
    return tuple(f"Conflicts: {one.name}" for one in _conflicts(header) if is_boolean(one.name))


def _conflicts(header: Header) -> list[Sensed]:
    return sensed(header, tags.CONFLICTNAME, tags.CONFLICTFLAGS, tags.CONFLICTVERSION)


def is_boolean(name: str) -> bool:
    """Tell whether a name is a boolean dependency."""
    return name.startswith("(")


def names_in(text: str) -> tuple[str, ...]:
    """Return the names in a boolean dependency as rpm indexes them.

    :raises CorruptError: without origin, if it makes no sense.
    """
    return _Boolean(text).parse().names


class _Parsed(NamedTuple):
    """All of ``clauses`` must hold, each by one of its relations.

    :ivar names: all that are in it; those of conditions with ``!`` in front.
    :ivar is_exact: whether ``clauses`` is just what was written.
    """

    clauses: tuple[tuple[Relation, ...], ...]
    names: tuple[str, ...]
    is_exact: bool


class _Boolean:
    """A parser of one boolean dependency."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._split())
        self._position = 0

    def _split(self) -> Iterator[str]:
        if len(self._text) > _MAX_CHARACTERS:
            raise self._nonsense()
        position = 0
        text = self._text.rstrip()
        while position < len(text):
            # a parenthesis that opens an operand, not one that is part of a name
            stripped = text[position:].lstrip()
            if stripped.startswith("("):
                position = len(text) - len(stripped) + 1
                yield "("
                continue
            match = _TOKEN.match(text, position)
            if match is None:
                raise self._nonsense()
            yield match[match.lastindex or 0]
            position = match.end()

    def parse(self) -> _Parsed:
        """Return what it comes to.

        :raises CorruptError: without origin, if it makes no sense.
        """
        parsed = self._operand(0)
        if self._position != len(self._tokens):
            raise self._nonsense()
        return parsed

    def _operand(self, depth: int) -> _Parsed:
        if depth > _MAX_DEPTH:
            raise self._nonsense()
        word = self._next()
        if word != "(":
            return self._simple(word)
        parsed = self._expression(depth)
        if self._next() != ")":
            raise self._nonsense()
        return parsed

    def _simple(self, name: str) -> _Parsed:
        if name in _WORDS or name in _SIGNS or name == ")":
            raise self._nonsense()
        relation = Relation(name)
        if self._peek() in _SIGNS:
            relation = Relation(name, _SIGNS[self._next()], self._next())
        return _Parsed(((relation,),), (name,), is_exact=True)

    def _expression(self, depth: int) -> _Parsed:
        parsed = self._operand(depth + 1)
        first = self._peek()
        while self._peek() in _WORDS:
            word = self._next()
            right = self._operand(depth + 1)
            if word not in {first, "else"}:  # "a and b or c" needs parentheses
                raise self._nonsense()
            parsed = self._joined(parsed, word, right)
        return parsed

    def _joined(self, left: _Parsed, word: str, right: _Parsed) -> _Parsed:
        clauses: tuple[tuple[Relation, ...], ...] = ()
        is_exact = left.is_exact and right.is_exact and word in {"and", "or"}
        if word in {"and", "with"}:
            clauses = left.clauses + right.clauses
        elif word == "without":
            clauses = left.clauses
        elif word == "or" and len(left.clauses) * len(right.clauses) <= _MAX_CLAUSES:
            pairs = product(left.clauses, right.clauses)  # none, where one side asks for nothing
            clauses = tuple(tuple(dict.fromkeys(one + other)) for one, other in pairs)
        if len(clauses) > _MAX_CLAUSES or (word == "or" and not clauses):
            clauses, is_exact = (), False
        return _Parsed(clauses, _joined_names(left.names, word, right.names), is_exact)

    def _peek(self) -> str:
        return self._tokens[self._position] if self._position < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        if not token:
            raise self._nonsense()
        self._position += 1
        return token

    def _nonsense(self) -> CorruptError:
        shown = quoted(self._text[:200])
        return CorruptError(f"has the boolean dependency {shown}, which makes no sense")


def _joined_names(left: tuple[str, ...], word: str, right: tuple[str, ...]) -> tuple[str, ...]:
    if word in {"if", "unless"}:
        return left + tuple(f"!{name}" for name in right)
    if word == "else":  # what is behind the condition counts in both cases
        conditions = tuple(name for name in left if name.startswith("!"))
        return tuple(name.removeprefix("!") for name in left) + right + conditions
    return left + right
