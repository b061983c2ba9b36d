"""What the page shows, put together from a preview; the template only lays it out."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from convert.plan import Decisions
from convert.preview import Preview
from convert.reasons import Reason, Rejected
from convert.report.groups import Group, Top, grouped
from convert.report.html.facts import Listing, listings, shown
from convert.report.severity import Severity, severity_of
from convert.report.weights import Weight, Weights
from convert.report.words import counted_words, human_size
from convert.rules.table import all_rules
from convert.structure import Part
from convert.version import DISTRIBUTION, VERSION
from formats.core.errors import ConvertError
from formats.core.finding import Finding
from formats.core.reader import Role

_PATHS_OF_A_RULE = 200
_FINDINGS = 2000
"""How many are on the page; the rest is counted, and in ``convert plan --json``."""
_SPREAD_ROWS = 25


@dataclass(frozen=True, slots=True)
class Card:
    """A number at the top, with where it is explained."""

    label: str
    value: str
    note: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Lost:
    """Candidates that lost for one reason."""

    values: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Choice:
    """A field of the config, and why it is so."""

    field: str
    value: str
    confidence: str
    why: tuple[str, ...]
    lost: tuple[Lost, ...]


@dataclass(frozen=True, slots=True)
class PathRow:
    """A path that a rule treated; ``note`` says what is below it."""

    path: str
    note: str
    size: str


@dataclass(frozen=True, slots=True)
class RuleRow:
    """What one rule did.

    :ivar what: what the rule is about; "" for ``--drop``.
    :ivar omitted: how many paths are not listed.
    """

    rule: str
    action: str
    what: str
    why: str
    count: str
    size: str
    paths: tuple[PathRow, ...]
    omitted: int


@dataclass(frozen=True, slots=True)
class FindingRow:
    """A finding, or an obstacle, for a person."""

    severity: Severity
    rule: str
    action: str
    where: str
    what: str


@dataclass(frozen=True, slots=True)
class PartRow:
    """One thing in the artifact, at its depth."""

    depth: int
    name: str
    format: str
    size: str
    note: str
    problem: str


@dataclass(frozen=True, slots=True)
class Spread:
    """How bytes are spread in one way.

    :ivar rows: name, size, share in percent and files of the heaviest, for the table.
    """

    name: str
    title: str
    rows: tuple[tuple[str, str, str, str], ...]


@dataclass(frozen=True, slots=True)
class View:
    """Everything on the page."""

    tool: str
    title: str
    subtitle: str
    command: str
    runs_as: str
    ports: str
    problem: ConvertError | None
    cards: tuple[Card, ...]
    choices: tuple[Choice, ...]
    listings: tuple[Listing, ...]
    spreads: tuple[Spread, ...]
    weights: dict[str, object]
    rules: tuple[RuleRow, ...]
    findings: tuple[FindingRow, ...]
    omitted_findings: int
    counts: dict[str, int]
    parts: tuple[PartRow, ...]
    config: str


def view_of(preview: Preview) -> View:
    """Return what a page about a preview shows."""
    seen = preview.inspection
    decisions = seen.decisions
    config = decisions.config.config if decisions is not None else None
    noted = (*preview.findings, *(seen.findings if decisions is None else decisions.findings))
    every = sorted(
        _finding_rows(decisions, noted), key=lambda row: list(Severity).index(row.severity)
    )
    counts = {severity.value: 0 for severity in Severity}
    for row in every:
        counts[row.severity.value] += 1
    groups = grouped(preview.treated)
    return View(
        tool=f"{DISTRIBUTION} {VERSION}",
        title=_title(seen.parts),
        subtitle=_subtitle(decisions),
        command=_command(decisions),
        runs_as=shown(f"user {config.user}" if config is not None and config.user else "root"),
        ports=", ".join(config.exposed_ports) if config is not None else "",
        problem=seen.problem,
        cards=tuple(_cards(decisions, groups, counts)),
        choices=tuple(_choices(decisions.config.reasons)) if decisions is not None else (),
        listings=tuple(listings(decisions)) if decisions is not None else (),
        spreads=tuple(_spreads(preview.weights)),
        weights=_as_json(preview.weights),
        rules=tuple(_rule_rows(groups)),
        findings=tuple(every[:_FINDINGS]),
        omitted_findings=max(len(every) - _FINDINGS, 0),
        counts=counts,
        parts=tuple(_part_rows(seen.parts, 0)),
        config=_config(decisions),
    )


def _title(parts: Sequence[Part]) -> str:
    return shown(", ".join(part.name for part in parts)) or "packages"


def _subtitle(decisions: Decisions | None) -> str:
    if decisions is None:
        return ""
    system = decisions.facts.operating_system
    name = shown(system.pretty_name) if system is not None else "no os-release"
    return f"{name}, {decisions.config.config.platform}"


def _command(decisions: Decisions | None) -> str:
    if decisions is None:
        return ""
    config = decisions.config.config
    return shown(shlex.join((*(config.entrypoint or ()), *(config.cmd or ()))))


def _cards(
    decisions: Decisions | None, groups: Sequence[Group], counts: dict[str, int]
) -> Iterator[Card]:
    if decisions is None:
        return
    size = human_size(decisions.content_bytes)
    where = "In the image" if decisions.base is None else "In the new layer"
    yield Card(where, size, counted_words(decisions.entries, "path"), "space")
    if groups:
        taken = human_size(sum(group.size for group in groups))
        paths = counted_words(sum(group.paths for group in groups), "path")
        yield Card("Taken out or changed", taken, f"{paths}, by rules", "removed")
    yield _card_of_program(decisions)
    high, medium = counts[Severity.HIGH.value], counts[Severity.MEDIUM.value]
    urgent = f"{high:,} of them urgent" if high else "nothing urgent"
    yield Card("To look at", f"{high + medium:,}", urgent, "findings")


def _card_of_program(decisions: Decisions) -> Card:
    config = decisions.config.config
    command = (*(config.entrypoint or ()), *(config.cmd or ()))
    program = command[0].rpartition("/")[2] if command else "nothing"
    services = len(decisions.facts.services)
    note = f"of {counted_words(services, 'service')} that start" if services else ""
    name = decisions.entrypoint.service or program
    return Card("Runs", shown(name), note or "no service starts by itself", "decided")


def _choices(reasons: Iterable[Reason]) -> Iterator[Choice]:
    told: set[str] = set()
    for reason in reasons:
        # an answer that several fields share is given once
        why = tuple(dict.fromkeys(shown(sentence) for sentence in reason.why))
        fresh = tuple(sentence for sentence in why if sentence not in told) or why[:1]
        told.update(why)
        yield Choice(
            reason.field,
            shown(reason.value) or "none",
            reason.confidence.value,
            fresh,
            tuple(_lost(reason.rejected)),
        )


def _lost(rejected: Iterable[Rejected]) -> Iterator[Lost]:
    """Yield the candidates, those with the same reason together, large groups last."""
    groups: dict[str, list[str]] = {}
    for item in rejected:
        groups.setdefault(shown(item.why), []).append(shown(item.value))
    for why, values in sorted(groups.items(), key=lambda item: len(item[1])):
        yield Lost(tuple(values), why)


def _rule_rows(groups: Iterable[Group]) -> Iterator[RuleRow]:
    about = {rule.id: rule.what for rule in all_rules()}
    for group in sorted(groups, key=lambda item: (-item.size, item.deed.rule)):
        rule, action, why = group.deed
        listed = group.tops[:_PATHS_OF_A_RULE]
        yield RuleRow(
            rule=rule,
            action=action.value,
            what=about.get(rule, ""),
            why=shown(why),
            count=counted_words(group.paths, "path"),
            size=human_size(group.size) if group.size else "",
            paths=tuple(map(_path_row, listed)),
            omitted=len(group.tops) - len(listed),
        )


def _path_row(top: Top) -> PathRow:
    slash = "/" if top.is_folder else ""
    below = f"and {counted_words(top.paths - 1, 'path')} below" if top.paths > 1 else ""
    size = human_size(top.size) if top.size else ""
    return PathRow(f"/{shown(top.path)}{slash}", below, size)


def _finding_rows(decisions: Decisions | None, noted: Iterable[Finding]) -> Iterator[FindingRow]:
    for finding in noted:
        yield _finding_row(finding, by_rule=False)
    if decisions is None:
        return
    for obstacle in decisions.facts.obstacles:
        yield FindingRow(
            Severity.MEDIUM,
            obstacle.kind,
            "obstacle",
            shown(str(obstacle.evidence)),
            shown(f"{obstacle.what}: {obstacle.advice}"),
        )
    for finding in decisions.applied:
        yield _finding_row(finding, by_rule=True)


def _finding_row(finding: Finding, *, by_rule: bool) -> FindingRow:
    line = f":{finding.line}" if finding.line is not None else ""
    return FindingRow(
        severity_of(finding, by_rule=by_rule),
        finding.rule,
        finding.action.value,
        ("/" if by_rule else "") + shown(finding.path) + line,
        shown(finding.evidence),
    )


def _part_rows(parts: Iterable[Part], depth: int) -> Iterator[PartRow]:
    for part in parts:
        words = [part.role.value] if part.role is not Role.DATA else []
        words += [f"'{shown(part.label)}'"] if part.label else []
        words += [f"{human_size(part.used)} used"] if part.used is not None else []
        words += [f"from {', '.join(map(shown, part.made_of))}"] if part.made_of else []
        is_problem = part.problem is not None and part.role is not Role.SWAP
        yield PartRow(
            depth,
            shown(part.name),
            part.format or "nothing known",
            human_size(part.size) if part.size else "",
            ", ".join(words),
            shown(part.problem.message) if part.problem is not None and is_problem else "",
        )
        yield from _part_rows(part.parts, depth + 1)


def _config(decisions: Decisions | None) -> str:
    if decisions is None:
        return ""
    return json.dumps(decisions.config.config.as_json(), indent=2, ensure_ascii=True)


def _spreads(weights: Weights | None) -> Iterator[Spread]:
    if weights is None:
        return
    for name, title, weight in (
        ("folders", "By folder", weights.folders),
        ("packages", "By package", weights.packages),
        ("layers", "By layer", weights.layers),
    ):
        if weight is not None and weight.size:
            rows = (_spread_row(part, weight.size) for part in weight.parts[:_SPREAD_ROWS])
            yield Spread(name, title, tuple(rows))


def _spread_row(part: Weight, whole: int) -> tuple[str, str, str, str]:
    files = f"{part.files:,}" if part.files else ""
    return part.name, human_size(part.size), f"{100 * part.size / whole:.1f}", files


def _as_json(weights: Weights | None) -> dict[str, object]:
    """Return the weights as the page's script takes them: name, bytes, files, parts."""
    if weights is None:
        return {}
    found = {"folders": weights.folders, "packages": weights.packages, "layers": weights.layers}
    return {
        name: _node(weight) for name, weight in found.items() if weight is not None and weight.size
    }


def _node(weight: Weight) -> list[object]:
    return [weight.name, weight.size, weight.files, [_node(part) for part in weight.parts]]
