"""Findings: what was dropped, changed or noticed, where, and on what evidence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from formats.core.origin import printable


class Action(Enum):
    """What was done about it."""

    ADDED = "added"
    DROPPED = "dropped"
    EMPTIED = "emptied"
    CHANGED = "changed"
    REPORTED = "reported"


@dataclass(frozen=True, slots=True)
class Finding:
    """One decision that a user may want to know of.

    :ivar rule: kebab-case id of the rule, as listed in the docs and taken by ``--keep``.
    :ivar path: path in the tree, or a breadcrumb where it is not about a path.
    :ivar evidence: why, in a few words.
    :ivar line: counted from 1, where it is about one line of the file.
    """

    rule: str
    path: bytes
    action: Action
    evidence: str
    line: int | None = None

    def as_dict(self) -> dict[str, str | int | None]:
        """Return the finding as a JSON-ready object; the path is made printable."""
        return {
            "rule": self.rule,
            "path": printable(self.path),
            "action": self.action.value,
            "evidence": self.evidence,
            "line": self.line,
        }

    def __str__(self) -> str:
        if self.action is Action.REPORTED:
            line = f":{self.line}" if self.line is not None else ""
            return f"{self.rule}: {printable(self.path)}{line}: {self.evidence}"
        return f"{self.rule}: {self.action.value} {printable(self.path)} ({self.evidence})"
