"""What was found in a system beyond its services, in a few lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from convert.cli.output import wrapped
from convert.inspect.facts import Application, Facts, Obstacle
from formats.core.origin import printable

_SHOWN = 6
"""Applications, and kinds of obstacles; there is always ``--json``."""
_EACH_SHOWN = 3
_TOLD_ELSEWHERE = frozenset({"job"})


def found_lines(facts: Facts) -> Iterator[str]:
    """Yield the lines of a summary: packages, applications, people, obstacles by kind."""
    systems = list(dict.fromkeys(package.system.value for package in facts.packages))
    if systems:
        count = f"{len(facts.packages):,} package{'s' * (len(facts.packages) != 1)}"
        yield from wrapped("  installed   ", f"{count} ({', '.join(systems)})")
    lines = [_application(item) for item in facts.applications]
    yield from _listed("  application ", lines, "applications")
    if facts.accounts:
        names = [printable(account.name) for account in facts.accounts]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        yield from wrapped("  people      ", ", ".join(names[:_SHOWN]) + more)
    groups: dict[str, list[Obstacle]] = {}
    for obstacle in facts.obstacles:
        if obstacle.kind not in _TOLD_ELSEWHERE:
            groups.setdefault(obstacle.kind, []).append(obstacle)
    told = [_group(kind, items) for kind, items in groups.items()]
    yield from _listed("  obstacles   ", told, "kinds")


def _listed(lead: str, lines: Sequence[str], what: str) -> Iterator[str]:
    for line in lines[:_SHOWN]:
        yield from wrapped(lead, line)
        lead = " " * len(lead)
    if len(lines) > _SHOWN:
        yield from wrapped(lead, f"… and {len(lines) - _SHOWN} more {what}: --json lists all")


def _application(item: Application) -> str:
    name = " ".join(filter(None, (printable(item.name), item.version)))
    runtime = f", {item.runtime}" if item.runtime is not None else ""
    return f"{name}: {item.kind} in /{printable(item.path)}{runtime}"


def _group(kind: str, items: Sequence[Obstacle]) -> str:
    """Return the first of a kind with their places, how many more there are, and what to do."""
    first = [f"{item.what}, {item.evidence}" for item in items[:_EACH_SHOWN]]
    more = f"; and {len(items) - _EACH_SHOWN} more" if len(items) > _EACH_SHOWN else ""
    return f"{kind}: {'; '.join(first)}{more}: {items[0].advice}"
