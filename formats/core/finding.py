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
    """

    rule: str
    path: bytes
    action: Action
    evidence: str

    def as_dict(self) -> dict[str, str]:
        """Return the finding as a JSON-ready object; the path is made printable."""
        return {
            "rule": self.rule,
            "path": printable(self.path),
            "action": self.action.value,
            "evidence": self.evidence,
        }

    def __str__(self) -> str:
        if self.action is Action.REPORTED:
            return f"{self.rule}: {printable(self.path)}: {self.evidence}"
        return f"{self.rule}: {self.action.value} {printable(self.path)} ({self.evidence})"
