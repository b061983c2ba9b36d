"""Which rules take out secrets of the machine, and what ``--secrets`` makes of them."""

from __future__ import annotations

from convert.options import Secrets
from convert.rules.table import all_rules

_UNTOUCHED = frozenset({Secrets.REPORT, Secrets.KEEP})


def rules_left_out(secrets: Secrets) -> tuple[str, ...]:
    """Return the rules that are not applied because nothing is to be taken out for being secret."""
    if secrets not in _UNTOUCHED:
        return ()
    return tuple(rule.id for rule in all_rules() if rule.is_secret)
