"""Values of words as far as they are known: expansion, POSIX.1-2017 2.6.

What is not known is None, and what is made of it is not known either: nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import NamedTuple, TypeAlias

from convert.inspect.text import ARGUMENT_MAX
from convert.packages.shell.syntax import Arithmetic, Node, Output, Part, Text, Variable, Word

Value: TypeAlias = str | None

_TRIMMED_MAX = 4096
"""Of a value that a pattern is taken off from; paths are never longer."""
_PATTERN_MAX = 1024
_FIELD_EFFORT = 16
_PATTERN_EFFORT = 4
"""Of each character: a pattern is compiled."""
_TRIED_AT_ONCE = 32
"""Characters that a pattern is held against in the time that it takes to hand one over."""
_EFFORT_MAX = 4_000_000
_DEPTH_MAX = 80


@dataclass(slots=True)
class Effort:
    """What following a script may still take; a few lines can ask for any amount of it.

    :ivar left: characters to be handled, and what else takes as long; below 0, no more is known.
    :ivar depth: commands inside commands and words inside words by now.
    """

    left: int = _EFFORT_MAX
    depth: int = 0

    def spend(self, amount: int) -> bool:
        """Take from what is left; tell whether there was as much."""
        self.left -= amount
        return self.left >= 0

    @property
    def is_deep(self) -> bool:
        """Whether there is to be nothing inside of what is followed now."""
        return self.depth >= _DEPTH_MAX


class Piece(NamedTuple):
    """A part of a word after expansion."""

    text: Value
    is_quoted: bool


@dataclass(slots=True)
class Variables:
    """What is assigned: parameters by name, and the positional ones.

    :ivar named: a name that is missing is not set.
    :ivar positional: None where even their number is not known.
    """

    named: dict[str, Value] = field(default_factory=dict)
    positional: list[Value] | None = field(default_factory=list)
    name: str = "sh"
    status: Value = "0"

    def get(self, name: str) -> tuple[Value, bool]:
        """Return a parameter's value, and whether it is set."""
        if name == "?":
            return self.status, True
        if name == "0":
            return self.name, True
        if name in {"$", "!", "-"}:
            return None, True
        if self.positional is None and (name.isdigit() or name in {"#", "@", "*"}):
            return None, True
        positional = self.positional or []
        if name == "#":
            return str(len(positional)), True
        if name in {"@", "*"}:
            known = [value for value in positional if value is not None]
            whole = " ".join(known) if len(known) == len(positional) else None
            return whole, bool(positional)
        if name.isdigit():
            number = int(name) if len(name) < 6 else 0
            is_there = 0 < number <= len(positional)
            return (positional[number - 1], True) if is_there else ("", False)
        return self.named.get(name, ""), name in self.named


class Expander:
    """Turns words into fields.

    :param output_of: what commands print; None where it is not known.
    :param matching: paths that a pattern stands for, as the guest's shell would find them.
    :param effort: is spent on what is expanded; without any left, nothing is known.
    """

    def __init__(
        self,
        variables: Variables,
        output_of: Callable[[Node], Value],
        matching: Callable[[str], Sequence[str]],
        effort: Effort,
    ) -> None:
        self.variables = variables
        self._output_of = output_of
        self._matching = matching
        self._effort = effort

    def fields(self, words: Sequence[Word]) -> list[Value]:
        """Return the fields of words: split, and patterns replaced by paths."""
        found: list[Value] = []
        for word in words:
            for pieces in self._split(word):
                found += self._paths(pieces)
        return found

    def text(self, word: Word) -> Value:
        """Return a word as one text, as in an assignment."""
        return self._joined([piece for part in word for piece in self._pieces(part)])

    def pattern(self, word: Word) -> Value:
        """Return a word as a pattern for :meth:`matches`."""
        return self._pattern([piece for part in word for piece in self._pieces(part)])

    def matches(self, text: str, pattern: str) -> bool:
        """Tell whether a whole text is what a shell's pattern stands for (2.13)."""
        return self._effort.spend(len(text)) and fnmatchcase(text, pattern)

    def _split(self, word: Word) -> list[list[Piece]]:
        """Return a word's fields, each in pieces; an empty one only if something is quoted."""
        separators, is_set = self.variables.get("IFS")
        if not is_set:
            separators = " \t\n"
        fields: list[list[Piece]] = [[]]
        for part in word:
            if isinstance(part, Variable) and part.name == "@" and part.is_quoted:
                self._add_positional(fields)
                continue
            for piece in self._pieces(part):
                if piece.is_quoted or isinstance(part, Text):
                    fields[-1].append(piece)
                elif not self._effort.spend(len(piece.text or "")):
                    return [[Piece(None, is_quoted=True)]]
                else:
                    _add_split(fields, piece.text, separators)
        if not self._effort.spend(len(fields) * _FIELD_EFFORT):
            return [[Piece(None, is_quoted=True)]]
        return [field for field in fields if field]

    def _add_positional(self, fields: list[list[Piece]]) -> None:
        positional = self.variables.positional
        values = [None] if positional is None else positional
        if not self._effort.spend(len(values) * _FIELD_EFFORT):
            values = [None]
        for number, value in enumerate(values):
            if number:
                fields.append([])
            fields[-1].append(Piece(value, is_quoted=True))

    def _paths(self, pieces: list[Piece]) -> list[Value]:
        text = self._joined(pieces)
        is_pattern = any(
            not piece.is_quoted and piece.text and not set(piece.text).isdisjoint("*?[")
            for piece in pieces
        )
        if text is None or not is_pattern:
            return [text]
        pattern = self._pattern(pieces)
        return list(self._matching(pattern or "")) or [text]

    def _pieces(self, part: Part) -> list[Piece]:
        if isinstance(part, Text):
            return [Piece(part.text, part.is_quoted)]
        if isinstance(part, Arithmetic):
            return [Piece(None, is_quoted=True)]
        if isinstance(part, Output):
            text = self._output_of(part.body)
            return [Piece(text if text is None else text.rstrip("\n"), part.is_quoted)]
        return self._variable(part)

    def _variable(self, part: Variable) -> list[Piece]:
        value, is_set = self.variables.get(part.name)
        operator = part.operator
        if not operator:
            return [Piece(value, part.is_quoted)]
        if operator == "length":
            return [Piece(None if value is None else str(len(value)), part.is_quoted)]
        if operator[-1] in "#%":
            return [Piece(self._trimmed(part, value), part.is_quoted)]
        if value is None and is_set and operator.startswith(":"):
            return [Piece(None, part.is_quoted)]
        stands = is_set and not (operator.startswith(":") and value == "")
        if operator.endswith("+"):
            stands = not stands
            value = ""
        if stands:
            return [Piece(value, part.is_quoted)]
        pieces = self._argument(part)
        if operator.endswith("="):
            self.variables.named[part.name] = self._joined(pieces)
        return [Piece(piece.text, piece.is_quoted or part.is_quoted) for piece in pieces]

    def _argument(self, part: Variable) -> list[Piece]:
        """Return what stands behind an expansion's operator; deep down, nothing is known of it."""
        if self._effort.is_deep:
            return [Piece(None, is_quoted=True)]
        self._effort.depth += 1
        try:
            return [piece for inner in part.argument for piece in self._pieces(inner)]
        finally:
            self._effort.depth -= 1

    def _joined(self, pieces: Sequence[Piece]) -> Value:
        texts = [piece.text for piece in pieces if piece.text is not None]
        length = sum(map(len, texts))
        if len(texts) < len(pieces) or length > ARGUMENT_MAX or not self._effort.spend(length):
            return None
        return "".join(texts)

    def _pattern(self, pieces: Sequence[Piece]) -> Value:
        texts = [piece.text for piece in pieces if piece.text is not None]
        length = sum(map(len, texts))
        if len(texts) < len(pieces) or length > _PATTERN_MAX:
            return None
        if not self._effort.spend(length * _PATTERN_EFFORT):
            return None
        return "".join(
            re.sub(r"([*?\[])", r"[\1]", text) if piece.is_quoted else text
            for piece, text in zip(pieces, texts, strict=True)
        )

    def _trimmed(self, part: Variable, value: Value) -> Value:
        """Return a value without the start or end that matches: ``#``, ``##``, ``%``, ``%%``."""
        pattern = self._pattern(self._argument(part))
        if value is None or pattern is None or len(value) > _TRIMMED_MAX:
            return None
        lengths = range(len(value) + 1)
        if not self._effort.spend(len(lengths) * (1 + len(value) // _TRIED_AT_ONCE)):
            return None
        operator = part.operator
        for length in reversed(lengths) if len(operator) == 2 else lengths:
            if operator[0] == "#" and fnmatchcase(value[:length], pattern):
                return value[length:]
            if operator[0] == "%" and fnmatchcase(value[len(value) - length :], pattern):
                return value[: len(value) - length]
        return value


def _add_split(fields: list[list[Piece]], text: Value, separators: Value) -> None:
    """Add an unquoted value to fields, split at separators; runs of them count as one."""
    if text is None or separators is None:
        fields[-1].append(Piece(None, is_quoted=False))
        return
    if not separators:
        fields[-1] += [Piece(text, is_quoted=False)] if text else []
        return
    kind = f"[{re.escape(separators)}]+"
    for number, part in enumerate(re.split(kind, text)):
        if number:
            fields.append([])
        if part:
            fields[-1].append(Piece(part, is_quoted=False))
