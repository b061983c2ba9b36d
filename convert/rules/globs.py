"""Path patterns, as rules and ``--drop`` have them, all matched in one pass over a tree.

================  =====================================================================
``/var/log/*``    starts at the root of the tree; the first ``/`` may be left out
``*`` ``?``       any characters, one character, of one name; a leading dot is nothing special
``[a-c]`` ``[!a]``  one character of a set, or not of it; ``[*]`` is a star
``**``            as a whole name: any number of folders, also none; at the end everything below
================  =====================================================================

A pattern that matches a folder means all that is in it, too. Names are bytes, and case counts.

Matching walks a trie with the tree: what can still match below a folder is known from the folder,
so that most paths cost one look into a dict, however many patterns there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from formats.core.errors import UsageError

_Value = TypeVar("_Value")

_ANY_DEPTH = b"**"
_WILD = re.compile(rb"[*?\[]")


def components(pattern: str) -> tuple[bytes, ...]:
    """Return the names of a pattern.

    :raises UsageError: if it is empty, or has ``.``, ``..`` or a ``**`` inside of a name.
    """
    names = tuple(name.encode("utf-8", "surrogateescape") for name in pattern.strip("/").split("/"))
    for name in names:
        if name in {b"", b".", b".."}:
            raise UsageError(
                f"the path pattern '{pattern}' has an empty name, '.' or '..' in it",
                hint="patterns look like /var/log/*.gz",
            )
        if _ANY_DEPTH in name and name != _ANY_DEPTH:
            raise UsageError(
                f"in the path pattern '{pattern}', ** is only a part of a name",
                hint="** stands for any number of folders, between slashes: /srv/**/*.log",
            )
    return names


def is_literal(name: bytes) -> bool:
    """Tell whether a name of a pattern matches only itself."""
    return _WILD.search(name) is None


@dataclass(slots=True, eq=False)
class _Node(Generic[_Value]):
    """A point that several patterns have come to."""

    literal: dict[bytes, _Node[_Value]] = field(default_factory=dict)
    wild: dict[bytes, tuple[re.Pattern[bytes], _Node[_Value]]] = field(default_factory=dict)
    any_depth: _Node[_Value] | None = None
    """Where ``**`` leads: a node that is its own successor for every name."""
    is_any_depth: bool = False
    values: list[_Value] = field(default_factory=list)
    """Of the patterns that end here."""


State: TypeAlias = "tuple[_Node[_Value], ...]"
"""All points that the patterns have come to at a path; empty where nothing can match any more."""


class PatternSet(Generic[_Value]):
    """Patterns, each with a value."""

    def __init__(self) -> None:
        self._root: _Node[_Value] = _Node()

    def add(self, names: Iterable[bytes], value: _Value) -> None:
        """Add a pattern by its :func:`components`."""
        node = self._root
        for name in names:
            node = self._successor(node, name)
        node.values.append(value)

    @staticmethod
    def _successor(node: _Node[_Value], name: bytes) -> _Node[_Value]:
        if name == _ANY_DEPTH:
            if node.is_any_depth:
                return node
            if node.any_depth is None:
                node.any_depth = _Node(is_any_depth=True)
            return node.any_depth
        if is_literal(name):
            return node.literal.setdefault(name, _Node())
        if name not in node.wild:
            node.wild[name] = (re.compile(_expression(name), re.DOTALL), _Node())
        return node.wild[name][1]

    def start(self) -> State[_Value]:
        """Return the state at the root folder."""
        return tuple(_reached(self._root))

    @staticmethod
    def step(state: State[_Value], name: bytes) -> State[_Value]:
        """Return the state one name further down."""
        found: dict[int, _Node[_Value]] = {}
        for node in state:
            for successor in _successors(node, name):
                for reached in _reached(successor):
                    found[id(reached)] = reached
        return tuple(found.values())

    @staticmethod
    def values(state: State[_Value], name: bytes) -> Iterator[_Value]:
        """Yield the values of the patterns that match the path ``name`` below ``state``."""
        for node in state:
            for successor in _successors(node, name):
                yield from successor.values


def _successors(node: _Node[_Value], name: bytes) -> Iterator[_Node[_Value]]:
    if node.is_any_depth:
        yield node
    literal = node.literal.get(name)
    if literal is not None:
        yield literal
    for expression, successor in node.wild.values():
        if expression.fullmatch(name):
            yield successor


def _reached(node: _Node[_Value]) -> Iterator[_Node[_Value]]:
    """Yield the node, and what ``**`` reaches from it without a name."""
    yield node
    if node.any_depth is not None:
        yield node.any_depth


def _expression(name: bytes) -> bytes:
    """Return the regular expression for one name of a pattern."""
    parts: list[bytes] = []
    position = 0
    while position < len(name):
        character = name[position : position + 1]
        position += 1
        end = name.find(b"]", position + (2 if name[position : position + 1] == b"!" else 1))
        if character == b"*":
            parts.append(b".*")
        elif character == b"?":
            parts.append(b".")
        elif character == b"[" and end >= 0:
            parts.append(_set(name[position:end]))
            position = end + 1
        else:
            parts.append(re.escape(character))
    return b"".join(parts)


def _set(inside: bytes) -> bytes:
    """Return the regular expression for what is between brackets; an upside-down range is empty."""
    is_negated = inside.startswith(b"!")
    members = inside[is_negated:]
    parts: list[bytes] = []
    position = 0
    while position < len(members):
        first = last = members[position : position + 1]
        if members[position + 1 : position + 2] == b"-" and position + 2 < len(members):
            last = members[position + 2 : position + 3]
            position += 2
        position += 1
        if first <= last:
            parts.append(re.escape(first) + b"-" + re.escape(last))
    if not parts:
        return b"." if is_negated else b"(?!)"
    return b"[" + (b"^" if is_negated else b"") + b"".join(parts) + b"]"


def escaped(path: bytes) -> tuple[bytes, ...]:
    """Return the pattern that matches this path and no other, by its names."""
    return tuple(re.sub(rb"([*?\[])", rb"[\1]", name) for name in path.split(b"/") if name)


class PathPatterns:
    """What a user drops, asked about one folder at a time."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns: PatternSet[None] = PatternSet()
        for pattern in patterns:
            names = components(pattern)
            self._patterns.add(names, None)
            if names[-1] == _ANY_DEPTH and len(names) > 1:
                self._patterns.add(names[:-1], None)

    def covers(self, folder: bytes) -> bool:
        """Tell whether the folder is dropped, or everything in it."""
        state = self._patterns.start()
        for name in folder.split(b"/"):
            if any(True for _ in self._patterns.values(state, name)):
                return True
            state = self._patterns.step(state, name)
        return False
