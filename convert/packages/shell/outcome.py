"""A command as a script would start it, and what is known of what it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from convert.inspect.text import ARGUMENT_MAX
from convert.packages.shell.values import Value


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command comes to.

    :ivar status: whether it succeeds; None where that is not known.
    :ivar output: what it prints; None where that is not known.
    """

    status: bool | None = True
    output: str | None = ""


DONE = Outcome()
FAILED = Outcome(status=False)
UNKNOWN = Outcome(None, None)


def after(first: Outcome, second: Outcome) -> Outcome:
    """Return what two commands come to, one after the other."""
    if first.output is None or second.output is None:
        return Outcome(second.status, None)
    output = first.output + second.output
    return Outcome(second.status, output if len(output) <= ARGUMENT_MAX else None)


@dataclass(frozen=True, slots=True)
class Call:
    """A command with its arguments.

    :ivar words: the name first; None where a word is not known.
    :ivar stdin: what it is given to read; None where that is not known.
    :ivar doubt: why it might not be started at all; "" where it is.
    """

    words: tuple[Value, ...]
    line: int
    stdin: str | None = None
    doubt: str = ""

    @property
    def name(self) -> str:
        """The command's name; "" where it is not known."""
        return self.words[0] or ""

    @property
    def known(self) -> tuple[str, ...] | None:
        """The arguments, if all of them are known."""
        known = tuple(word for word in self.words[1:] if word is not None)
        return known if len(known) == len(self.words) - 1 else None

    def __str__(self) -> str:
        return " ".join("…" if word is None else word for word in self.words)


class Host(Protocol):
    """Where a script's commands are looked up."""

    def call(self, call: Call) -> Outcome:
        """Return what a command comes to, and do it if it is understood and not in doubt."""
        ...

    def write(self, path: str, content: str | None, call: Call, *, appends: bool) -> None:
        """Take what a command's output is redirected into; the content may not be known."""
        ...

    def read(self, path: str) -> str | None:
        """Return a file's text; None where it is not known."""
        ...

    def matching(self, pattern: str) -> Sequence[str]:
        """Return the paths that a pattern stands for."""
        ...

    def cannot(self, line: int, reason: str) -> None:
        """Take note that something was not followed."""
        ...
