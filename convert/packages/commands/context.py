"""What a command's counterpart here is given, and how its arguments are read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from convert.packages.shell.outcome import Call, Outcome
from convert.packages.system import DeedError, System
from formats.core.package import Package


@dataclass(frozen=True, slots=True)
class Context:
    """A command in a script.

    :ivar arguments: all of them are known.
    :ivar by: who asks, for findings: ``by nginx's postinst, line 7``.
    """

    call: Call
    arguments: tuple[str, ...]
    system: System
    package: Package
    by: str


Handler: TypeAlias = Callable[[Context], Outcome]
"""Does what a command would do.

Raises :class:`~convert.packages.system.DeedError` or
:class:`~convert.packages.accounts.AccountError` for what cannot be done.
"""


@dataclass(frozen=True, slots=True)
class Options:
    """Arguments, sorted.

    :ivar given: each option with its value, "" for a flag; the last one counts.
    """

    given: dict[str, str]
    operands: list[str]

    def has(self, *names: str) -> bool:
        """Tell whether one of these was given."""
        return any(name in self.given for name in names)

    def value(self, *names: str) -> str | None:
        """Return the value of the first of these that was given."""
        return next((self.given[name] for name in names if name in self.given), None)

    def only(self, known: frozenset[str]) -> None:
        """Refuse options that are not known.

        :raises DeedError: naming the first.
        """
        for name in self.given:
            if name not in known:
                raise DeedError(f"its option {name} is not known")


def options_of(words: Sequence[str], with_value: frozenset[str] = frozenset()) -> Options:
    """Sort arguments as getopt_long(3) does, options anywhere; short ones may stand together.

    :param with_value: options that take a value: ``-m``, ``--mode``.
    :raises DeedError: if a value is missing.
    """
    given: dict[str, str] = {}
    operands: list[str] = []
    rest = deque(words)
    while rest:
        word = rest.popleft()
        if word == "--":
            operands += rest
            break
        if not word.startswith("-") or word == "-":
            operands.append(word)
        elif word.startswith("--"):
            name, equals, value = word.partition("=")
            given[name] = value if equals else _next(rest, name) if name in with_value else ""
        else:
            _take_short(word, with_value, given, rest)
    return Options(given, operands)


def _take_short(
    word: str, with_value: frozenset[str], given: dict[str, str], rest: deque[str]
) -> None:
    for position, letter in enumerate(word[1:], start=2):
        name = f"-{letter}"
        if name in with_value:
            given[name] = word[position:] or _next(rest, name)
            return
        given[name] = ""


def _next(rest: deque[str], name: str) -> str:
    if not rest:
        raise DeedError(f"{name} has no value")
    return rest.popleft()
