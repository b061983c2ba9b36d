"""What a shell script is made of: POSIX.1-2017, "Shell Command Language", 2.10.

Only what :mod:`convert.packages.shell.parser` reads: bash's own syntax is not in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Text:
    """Characters that stand for themselves; unquoted ones may be patterns."""

    text: str
    is_quoted: bool = False


@dataclass(frozen=True, slots=True)
class Variable:
    """``$NAME`` or ``${NAME<operator>argument}`` (2.6.2).

    :ivar name: a name, a digit, or one of ``@ * # ? - $ !``.
    :ivar operator: ``:-``, ``-``, ``:=``, ``+``, ``##``, ``#``, ``%`` …, and ``length`` for
        ``${#NAME}``.
    """

    name: str
    operator: str = ""
    argument: Word = ()
    is_quoted: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    """``$(…)``: what commands print."""

    body: Node
    is_quoted: bool = False


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """``$((…))``: not evaluated."""


Part: TypeAlias = Text | Variable | Output | Arithmetic
Word: TypeAlias = tuple[Part, ...]


@dataclass(slots=True)
class HereDocument:
    """Text that follows in the script; it is filled in once its line has ended."""

    body: Word = ()


@dataclass(frozen=True, slots=True)
class Redirection:
    """``2>file``, ``<<EOF``.

    :ivar descriptor: None where the operator's own is meant: 0 for input, 1 for output.
    """

    descriptor: int | None
    operator: str
    target: Word | HereDocument


@dataclass(frozen=True, slots=True)
class Simple:
    """A command with its arguments, or assignments alone."""

    line: int
    assignments: tuple[tuple[str, Word], ...] = ()
    words: tuple[Word, ...] = ()
    redirections: tuple[Redirection, ...] = ()


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands of which each reads what the one before prints."""

    commands: tuple[Node, ...]
    is_negated: bool = False


@dataclass(frozen=True, slots=True)
class AndOr:
    """``first && second || third``: each of the rest with the operator before it."""

    first: Node
    rest: tuple[tuple[str, Node], ...]


@dataclass(frozen=True, slots=True)
class Sequence:
    """Commands one after the other."""

    commands: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class If:
    """``if … then … elif … else … fi``."""

    branches: tuple[tuple[Node, Node], ...]
    otherwise: Node | None
    line: int


@dataclass(frozen=True, slots=True)
class Case:
    """``case word in pattern) … ;; esac``."""

    word: Word
    arms: tuple[tuple[tuple[Word, ...], Node], ...]
    line: int


@dataclass(frozen=True, slots=True)
class For:
    """``for name in words``; ``words`` is None for the positional parameters."""

    name: str
    words: tuple[Word, ...] | None
    body: Node
    line: int


@dataclass(frozen=True, slots=True)
class While:
    """``while`` and ``until``."""

    condition: Node
    body: Node
    is_until: bool
    line: int


@dataclass(frozen=True, slots=True)
class Group:
    """A compound command with redirections, or one in a shell of its own."""

    body: Node
    redirections: tuple[Redirection, ...] = ()
    is_subshell: bool = False


@dataclass(frozen=True, slots=True)
class Function:
    """A function's definition."""

    name: str
    body: Node


Node: TypeAlias = Simple | Pipeline | AndOr | Sequence | If | Case | For | While | Group | Function


@dataclass(frozen=True, slots=True)
class Script:
    """A whole script."""

    body: Node = field(default_factory=Sequence)
