"""What an image has and its tree has not, or not openly: to be told once, when all was seen."""

from __future__ import annotations

from formats.core.finding import Action, Finding
from formats.core.origin import printable

_SHOWN = 5

# Rule, what was done, and what the things are that it is about.
_RULES = {
    "iso-associated-file": (Action.DROPPED, "associated files, which systems other than Macs hide"),
    "iso-hidden-file": (Action.REPORTED, "files that are marked as hidden and are shown here"),
    "iso-relocation-folder": (
        Action.DROPPED,
        "folders that only held what is nested too deep for ISO 9660; it is in its own place",
    ),
}


class Omissions:
    """Names by the rule that they fall under."""

    def __init__(self) -> None:
        self._names: dict[str, dict[bytes, None]] = {}

    def note(self, rule: str, name: bytes) -> None:
        """Take a name down."""
        self._names.setdefault(rule, {})[name] = None

    def findings(self, place: bytes) -> list[Finding]:
        """Return a finding for each rule."""
        return [
            Finding(rule, place, _RULES[rule][0], f"{_RULES[rule][1]}: {listed(list(names))}")
            for rule, names in sorted(self._names.items())
        ]


def listed(names: list[bytes]) -> str:
    """Return the first few names, and how many more there are."""
    shown = ", ".join(printable(name) for name in names[:_SHOWN])
    more = len(names) - _SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown
