"""One finding for many members: an archive may have a million of which the same is to be said."""

from __future__ import annotations

from formats.core.errors import quoted
from formats.core.finding import Action, Finding

_TOLD_PATHS = 3


class Tally:
    """Counts paths; the first few are named.

    :param what: evidence, said of each of them.
    """

    def __init__(self, rule: str, action: Action, what: str) -> None:
        self._rule = rule
        self._action = action
        self._what = what
        self._paths: list[bytes] = []
        self._count = 0

    def add(self, path: bytes) -> None:
        """Count one more path."""
        self._count += 1
        if len(self._paths) < _TOLD_PATHS:
            self._paths.append(path)

    def finding(self) -> Finding | None:
        """Return what is to be said; None if of no member."""
        if not self._count:
            return None
        evidence = self._what
        if self._count > 1:
            evidence += f"; so are {self._count - 1:,} more"
            if self._paths[1:]:
                evidence += f": {', '.join(quoted(path) for path in self._paths[1:])}"
            if self._count > len(self._paths):
                evidence += ", …"
        return Finding(self._rule, self._paths[0], self._action, evidence)
