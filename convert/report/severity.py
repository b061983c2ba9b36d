"""How much a finding matters to the person who has to act on it."""

from __future__ import annotations

from enum import StrEnum
from functools import cache

from convert.reasons import Confidence
from convert.secrets.kinds import CONFIG_RULE, all_kinds
from formats.core.finding import Action, Finding


class Severity(StrEnum):
    """Most urgent first."""

    HIGH = "high"
    """Content is lost, or a secret stays."""
    MEDIUM = "medium"
    """Worth knowing: it may not work as it did on the machine, or looks like a secret."""
    LOW = "low"
    """Routine, done by a rule."""


_LOST = frozenset({Action.DROPPED, Action.EMPTIED})
_MADE_AGAIN = {
    "socket": Severity.LOW,
    "special-file": Severity.MEDIUM,
    "xattr": Severity.MEDIUM,
}
"""Losses that a service or a runtime makes up for, at least in most cases."""


def severity_of(finding: Finding, *, by_rule: bool) -> Severity:
    """Return how much a finding matters.

    :param by_rule: a rule of the profile did it, which ``--keep`` undoes.
    """
    if by_rule:
        return Severity.LOW
    if finding.action in _LOST:
        return _MADE_AGAIN.get(finding.rule, Severity.HIGH)
    if _is_secret_left(finding):
        return Severity.HIGH
    return Severity.MEDIUM if finding.action is Action.REPORTED else Severity.LOW


def _is_secret_left(finding: Finding) -> bool:
    return finding.action is Action.REPORTED and finding.rule in _certain_secrets()


@cache
def _certain_secrets() -> frozenset[str]:
    """Return the rules of secrets that are more than a name that sounds like one."""
    found = (kind.rule for kind in all_kinds() if kind.confidence is not Confidence.LOW)
    return frozenset((CONFIG_RULE, *found))
