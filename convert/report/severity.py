"""How much a finding matters to the person who has to act on it."""

from __future__ import annotations

from enum import StrEnum

from formats.core.finding import Action, Finding


class Severity(StrEnum):
    """Most urgent first."""

    HIGH = "high"
    """Content is lost, or a secret stays."""
    MEDIUM = "medium"
    """Worth knowing: it may not work as it did on the machine."""
    LOW = "low"
    """Routine, done by a rule."""


_LOST = frozenset({Action.DROPPED, Action.EMPTIED})
_SECRETS = "secret"


def severity_of(finding: Finding, *, by_rule: bool) -> Severity:
    """Return how much a finding matters.

    :param by_rule: a rule of the profile did it, which ``--keep`` undoes.
    """
    if by_rule:
        return Severity.LOW
    if finding.action in _LOST or _is_secret_left(finding):
        return Severity.HIGH
    return Severity.MEDIUM if finding.action is Action.REPORTED else Severity.LOW


def _is_secret_left(finding: Finding) -> bool:
    return finding.action is Action.REPORTED and finding.rule.startswith(_SECRETS)
