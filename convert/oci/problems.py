"""What can be wrong with a stored image."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from formats.core.errors import VerificationError

_KEPT = 1000
_TEXT_CHARACTERS = 10_000
"""Enough for two paths; names in a hostile tar can have a mebibyte."""


class Code(Enum):
    """What kind of claim does not hold. The words are stable: scripts read them."""

    DOCUMENT = "document"
    """a JSON document is damaged, or is not what it has to be."""
    DISAGREEMENT = "disagreement"
    """two documents say different things."""
    MISSING = "missing-blob"
    DIGEST = "digest"
    SIZE = "size"
    DIFF_ID = "diff-id"
    LAYER = "layer"
    """a layer cannot be unpacked."""
    PATH = "path"
    """clients may understand a path in different ways."""
    REPEATED_PATH = "repeated-path"
    NO_FOLDER = "no-folder"
    """the folder of a path does not come before it."""
    HARD_LINK = "hard-link"
    WHITEOUT = "whiteout"
    LOST_PATH = "lost-path"
    """it is in the tree and not in the image."""
    EXTRA_PATH = "extra-path"
    """it is in the image and not in the tree."""
    DIFFERENT_PATH = "different-path"


@dataclass(frozen=True, slots=True)
class Problem:
    """One claim that does not hold.

    :ivar where: the blob, or the path, printable.
    """

    code: Code
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


class ClaimError(VerificationError):
    """A claim does not hold, and nothing that depends on it can be looked at."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class Problems:
    """Collects problems: keeps the first thousand, and counts them all."""

    def __init__(self) -> None:
        self.total = 0
        self._kept: list[Problem] = []

    def add(self, code: Code, where: str, message: str) -> None:
        """Note a problem."""
        self.total += 1
        if len(self._kept) < _KEPT:
            self._kept.append(Problem(code, where[:_TEXT_CHARACTERS], message[:_TEXT_CHARACTERS]))

    @property
    def kept(self) -> tuple[Problem, ...]:
        """The first thousand."""
        return tuple(self._kept)
