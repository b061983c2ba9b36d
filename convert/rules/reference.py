"""The rules as documentation shows them."""

from __future__ import annotations

from collections.abc import Iterator

from convert.rules.table import all_rules


def rule_rows() -> Iterator[tuple[str, str, str, str]]:
    """Yield, for each rule, its id, the profiles that apply it, what it takes away and why."""
    for rule in all_rules():
        profiles = ", ".join(f"`{profile.value}`" for profile in rule.profiles)
        yield f"`{rule.id}`", profiles, rule.what, rule.why
