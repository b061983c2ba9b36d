"""Path patterns, as rules and ``--drop`` have them, all matched in one pass over a tree.

==================  ============================================================================
``/var/log/*``      starts at the root of the tree; the first ``/`` may be left out
``*`` ``?``         any characters, one character, of one name; a leading dot counts like others
``[a-c]`` ``[!a]``  one character of a set, or not of it; ``[*]`` is a star
``**``              as a whole name: any number of folders, or none; at the end all below
==================  ============================================================================

A pattern that matches a folder means all that is in it, too. Names are bytes, and case counts.

Matching walks a trie with the tree: what can still match below a folder is known from the folder,
so that most paths cost one look into a dict, however many patterns there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

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
    """A point that several patterns have come to.

    :ivar any_depth: where ``**`` leads: a node that is its own successor for every name.
    :ivar values: of the patterns that end here.
    """

    literal: dict[bytes, _Node[_Value]] = field(default_factory=dict)
    wild: dict[bytes, _Node[_Value]] = field(default_factory=dict)
    any_depth: _Node[_Value] | None = None
    is_any_depth: bool = False
    values: list[_Value] = field(default_factory=list)

    def successor(self, name: bytes) -> _Node[_Value]:
        """Return the node that one more name of a pattern leads to, made if need be."""
        if name == _ANY_DEPTH:
            if self.is_any_depth:
                return self
            self.any_depth = self.any_depth or _Node(is_any_depth=True)
            return self.any_depth
        return (self.literal if is_literal(name) else self.wild).setdefault(name, _Node())


class State(Generic[_Value]):
    """All points that the patterns have come to at one folder.

    A name that no pattern mentions there takes one look into a set and one regular expression.
    """

    __slots__ = ("_always", "_expressions", "_known", "_nodes", "_others", "_special", "_wild")

    def __init__(
        self, nodes: Sequence[_Node[_Value]], known: dict[frozenset[int], State[_Value]]
    ) -> None:
        self._nodes = nodes
        self._known = known
        self._special = {name for node in nodes for name in node.literal}
        wild = [(name, inner) for node in nodes for name, inner in node.wild.items()]
        expressions = [_expression(name) for name, _ in wild]
        self._wild = re.compile(b"|".join(expressions), re.DOTALL) if wild else None
        self._expressions = [
            (re.compile(expression, re.DOTALL), inner)
            for expression, (_, inner) in zip(expressions, wild, strict=True)
        ]
        self._always = tuple(node for node in nodes if node.is_any_depth)
        self._others: State[_Value] | None = None
        if self._always:
            self._others = self if self._always == tuple(nodes) else self._next(self._always)

    def values(self, name: bytes) -> Iterator[_Value]:
        """Yield the values of the patterns that match the path ``name`` in this folder."""
        for node in self._successors(name):
            yield from node.values

    def step(self, name: bytes) -> State[_Value] | None:
        """Return the state in the folder ``name``; None if nothing below it can match."""
        if not self._is_special(name):
            return self._others
        return self._next(self._successors(name))

    def _is_special(self, name: bytes) -> bool:
        return name in self._special or (
            self._wild is not None and self._wild.fullmatch(name) is not None
        )

    def _successors(self, name: bytes) -> Sequence[_Node[_Value]]:
        if not self._is_special(name):
            return self._always
        literal = (node.literal.get(name) for node in self._nodes)
        wild = (inner for expression, inner in self._expressions if expression.fullmatch(name))
        return (*self._always, *(node for node in literal if node is not None), *wild)

    def _next(self, successors: Iterable[_Node[_Value]]) -> State[_Value] | None:
        return _state(successors, self._known)


def _state(
    nodes: Iterable[_Node[_Value]], known: dict[frozenset[int], State[_Value]]
) -> State[_Value] | None:
    """Return the state of these nodes and of what ``**`` reaches from them without a name."""
    reached = {id(node): node for node in nodes}
    for node in tuple(reached.values()):
        if node.any_depth is not None:
            reached[id(node.any_depth)] = node.any_depth
    live = {
        key: node for key, node in reached.items() if node.literal or node.wild or node.is_any_depth
    }
    if not live:
        return None
    key = frozenset(live)
    if key not in known:
        known[key] = State(tuple(live.values()), known)
    return known[key]


class PatternSet(Generic[_Value]):
    """Patterns, each with a value."""

    def __init__(self) -> None:
        self._root: _Node[_Value] = _Node()

    def add(self, names: Iterable[bytes], value: _Value) -> None:
        """Add a pattern by its :func:`components`."""
        node = self._root
        for name in names:
            node = node.successor(name)
        node.values.append(value)

    def start(self) -> State[_Value] | None:
        """Return the state at the root folder, once all patterns are there; None if none is."""
        return _state([self._root], {})

    def covers(self, path: bytes) -> bool:
        """Tell whether a pattern matches a path, or a folder that it is in."""
        state = self.start()
        for name in path.split(b"/"):
            if state is None:
                return False
            if any(True for _ in state.values(name)):
                return True
            state = state.step(name)
        return False


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
        return self._patterns.covers(folder)
