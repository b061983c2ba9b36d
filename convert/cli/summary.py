"""Results in words: what a person at a terminal wants to know, on one screen."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from convert.cli.found import found_lines
from convert.cli.output import table, wrapped
from convert.export import Export
from convert.inspect.entrypoint import Loser
from convert.layers.compress import Codec
from convert.losses import secrets_in
from convert.pipeline import Conversion, Inspection
from convert.plan import Decisions
from convert.reasons import Confidence, Reason
from convert.report.counts import counted
from convert.report.words import human_size
from convert.secrets.kinds import RULE_PREFIX, most_certain_first
from convert.structure import Part
from convert.verify import Verification
from formats.core.finding import Action, Finding
from formats.core.machine import Machine
from formats.core.origin import printable
from formats.core.package import Package
from formats.core.reader import Role

if TYPE_CHECKING:
    from convert.data_volumes import ExtractedVolume
    from convert.services.split import Split

_FINDINGS_SHOWN = 8
_NAMES_SHOWN = 4
_SECRETS_SHOWN = 4
_HARMLESS = frozenset({Action.REPORTED, Action.ADDED})
_SET_UP = ("package-", "merged-usr", "library-cache")
_MADE = frozenset({Action.ADDED, Action.CHANGED})
_SCHEDULERS = frozenset({"cron", "crond"})
_QUIET_FIELDS = frozenset({"env"})
"""Fields that a summary leaves out where they only say the usual."""


def summary_of_run(done: Conversion) -> list[str]:
    """Return the lines that ``convert run`` ends with."""
    image = done.image
    how = done.compression
    stored = "uncompressed" if how.codec is Codec.NONE else f"{how.codec.value} level {how.level}"
    content = sum(layer.uncompressed_size for layer in image.layers)
    return [
        *_decided(done.decisions),
        "",
        done.destination,
        *_indented(
            table(
                [
                    ("digest", str(image.digest)),
                    ("platform", str(image.platform)),
                    ("size", f"{human_size(image.size)} of {human_size(content)}, {stored}"),
                    *_archives(done.volumes),
                ]
            )
        ),
    ]


def _archives(volumes: Sequence[ExtractedVolume]) -> Iterator[tuple[str, str]]:
    for volume in volumes:
        size = human_size(volume.content_bytes)
        yield "volume", f"{printable(volume.path)} is in {volume.file}, {size}"


def summary_of_split(done: Split) -> list[str]:
    """Return the lines that ``convert run --split`` ends with."""
    lines: list[str] = []
    for item in done.images:
        conversion = item.conversion
        config = conversion.decisions.config.config
        command = shlex.join((*(config.entrypoint or ()), *(config.cmd or ())))
        rows = [("digest", str(conversion.image.digest)), ("runs", printable(command))]
        if config.exposed_ports:
            rows.append(("ports", ", ".join(config.exposed_ports)))
        lines += [conversion.destination, *_indented(table(rows))]
    shared = done.images[0].conversion
    for name, text in _archives(shared.volumes):
        lines += wrapped(f"{name}  ", text)
    for name, why in done.left_out.items():
        if name in _workloads(shared.decisions):
            lines += wrapped("! ", f"{printable(name)} has no image: {printable(why)}")
    return [*lines, f"compose file: {done.compose}"]


def _workloads(decisions: Decisions) -> frozenset[str]:
    services = decisions.facts.services
    return frozenset(item.name for item in services if item.not_workload is None)


def summary_of_export(done: Export) -> list[str]:
    """Return the lines that ``convert export`` ends with."""
    size = human_size(done.content_bytes)
    return [
        str(done.root),
        *_applied(done.applied),
        *_indented(_listed(done.findings)),
        f"{done.destination}: {done.entries:,} entries, {size} of files",
    ]


def summary_of_verification(image: str, found: Verification) -> list[str]:
    """Return what ``convert verify`` shows."""
    rows = [("platform", str(found.platform))] if found.platform is not None else []
    if found.digest is not None:
        rows.insert(0, ("digest", str(found.digest)))
    checked = f"{found.layers} layer{'s' * (found.layers != 1)}, {found.entries:,} entries"
    rows.append(("checked", f"{checked}, {human_size(found.size)}"))
    if found.is_compared:
        rows.append(("compared", "every path with the source"))
    if not found.problem_count:
        rows.append(("result", "all claims hold"))
    problems = [f"! {problem}" for problem in found.problems[:_FINDINGS_SHOWN]]
    return [image, *_indented(table(rows)), *_indented(problems)]


def summary_of_inspection(seen: Inspection) -> list[str]:
    """Return what ``convert inspect`` shows: what is inside what, and what run would decide."""
    lines = table(row for part in seen.parts for row in _part_rows(part, "", ""))
    lines += [""]
    if seen.decisions is not None:
        return lines + _decided(seen.decisions)
    lines += _indented(_listed(seen.findings))
    return [*lines, f"cannot be converted: {seen.problem}"]


def _part_rows(part: Part, lead: str, inner_lead: str) -> Iterator[tuple[str, str, str, str]]:
    size = human_size(part.size) if part.size else ""
    yield f"{lead}{part.name}", part.format or "nothing known", size, _about(part)
    for number, inner in enumerate(part.parts, start=1):
        is_last = number == len(part.parts)
        branch, below = ("└─ ", "   ") if is_last else ("├─ ", "│  ")
        yield from _part_rows(inner, inner_lead + branch, inner_lead + below)


def _about(part: Part) -> str:
    """Return the last column: role, label, use, and what stands in the way."""
    words = [f"machine {part.machine.name}"] if part.machine is not None else []
    if part.role is not Role.DATA:
        words.append(part.role.value)
    if part.label:
        words.append(f"'{part.label}'")
    if part.used is not None:
        words.append(f"{human_size(part.used)} used")
    if part.made_of:
        words.append(f"from {', '.join(part.made_of)}")
    if part.problem is not None and part.role is not Role.SWAP:
        words.append(part.problem.message)
    return ", ".join(words)


def _decided(decisions: Decisions) -> list[str]:
    system = decisions.facts.operating_system
    name = system.pretty_name if system is not None else "no os-release"
    lines = [
        str(decisions.root),
        f"  {name}, {decisions.entries:,} entries, {human_size(decisions.content_bytes)} of files",
    ]
    if decisions.machine is not None:
        lines += wrapped("  machine     ", _described(decisions.machine))
    lines += [f"  {folder} from {origin}" for folder, origin in decisions.mounts]
    if decisions.packages:
        lines += wrapped("  packages    ", _told(decisions.packages))
    if decisions.base is not None:
        lines += wrapped("  base        ", decisions.base)
    lines += ["", *_reasons(decisions.config.reasons)]
    if decisions.entrypoint.losers:
        lines += _losers(decisions.entrypoint.losers)
    lines += found_lines(decisions.facts)
    if decisions.facts.jobs and decisions.entrypoint.service not in _SCHEDULERS:
        count = len(decisions.facts.jobs)
        lines += wrapped("  jobs        ", _not_run(count))
    lines += _applied(decisions.applied)
    done = [finding for finding in decisions.findings if _is_set_up(finding)]
    if done:
        told = ", ".join(f"{rule} {count:,}" for rule, count in counted(done).items())
        lines += wrapped("  set up      ", told)
    secrets = secrets_in(decisions.findings)
    lines += _secrets(secrets)
    told_already = {*done, *secrets}
    rest = [finding for finding in decisions.findings if finding not in told_already]
    return lines + _indented(_listed(rest))


def _secrets(found: Sequence[Finding]) -> Iterator[str]:
    """Yield how many secrets of each kind stay in the image, and where the first are."""
    if not found:
        return
    kinds = (
        f"{rule.removeprefix(RULE_PREFIX)} {count:,}" for rule, count in counted(found).items()
    )
    yield from wrapped("  secrets     ", f"{', '.join(kinds)}: left in the image")
    for finding in most_certain_first(found)[:_SECRETS_SHOWN]:
        yield from wrapped(" " * 14 + "· ", _place_of(finding))
    if len(found) > _SECRETS_SHOWN:
        yield " " * 14 + f"… and {len(found) - _SECRETS_SHOWN:,} more: --json lists all"


def _place_of(finding: Finding) -> str:
    line = f":{finding.line}" if finding.line is not None else ""
    where = f"/{printable(finding.path)}{line}: " if finding.path else ""
    return where + finding.evidence


def _not_run(jobs: int) -> str:
    are = "periodic job is" if jobs == 1 else "periodic jobs are"
    return f"{jobs} {are} not run: --json lists {'it' if jobs == 1 else 'them'}"


def _is_set_up(finding: Finding) -> bool:
    """Tell whether it is what installing packages does: nothing that a person has to look at."""
    return finding.rule.startswith(_SET_UP) and finding.action in _MADE


def _told(packages: Sequence[Package]) -> str:
    """Return the first packages by name and version, and how many more there are."""
    names = [f"{package.name} {package.version}" for package in packages[:_NAMES_SHOWN]]
    more = len(packages) - len(names)
    return ", ".join(names) + (f" and {more:,} more" if more else "")


def _described(machine: Machine) -> str:
    """Return a machine's name, and product and vendor as far as they are known."""
    product = " ".join(filter(None, (machine.title, machine.version)))
    maker = f" by {machine.vendor}" if machine.vendor else ""
    return f"{machine.name}: {product}{maker}" if product + maker else machine.name


def _applied(applied: Sequence[Finding]) -> list[str]:
    if not applied:
        return []
    told = ", ".join(f"{rule} {count:,}" for rule, count in counted(applied).items())
    return wrapped("  taken out   ", told)


def _losers(losers: Sequence[Loser]) -> Iterator[str]:
    """Yield the services that are not run, a line for each reason, the large groups last."""
    groups: dict[str, list[str]] = {}
    for loser in losers:
        groups.setdefault(loser.reason, []).append(loser.name)
    lead = "  not run     "
    for reason, names in sorted(groups.items(), key=lambda item: len(item[1])):
        shown = ", ".join(names) if len(names) <= _NAMES_SHOWN else f"{len(names)} services"
        yield from wrapped(lead, f"{shown}: {reason}")
        lead = " " * len(lead)


def _reasons(reasons: Iterable[Reason]) -> Iterator[str]:
    told: set[str] = set()
    for reason in reasons:
        if reason.field in _QUIET_FIELDS and reason.value.startswith("PATH="):
            continue
        unsure = (
            "" if reason.confidence is Confidence.HIGH else f"  ({reason.confidence} confidence)"
        )
        yield from wrapped(f"  {reason.field:<12}", (reason.value or "none") + unsure)
        for sentence in reason.why:
            if sentence in told:
                continue
            told.add(sentence)
            yield from wrapped(" " * 14 + "· ", sentence)


def _listed(findings: Sequence[Finding]) -> list[str]:
    """Return findings as lines, losses first; the rest of many is counted."""
    ordered = sorted(findings, key=lambda item: item.action in _HARMLESS)
    lines: list[str] = []
    for finding in ordered[:_FINDINGS_SHOWN]:
        lines += wrapped("· " if finding.action in _HARMLESS else "! ", str(finding))
    if len(ordered) > _FINDINGS_SHOWN:
        lines.append(f"… and {len(ordered) - _FINDINGS_SHOWN:,} more: --json shows all")
    return lines


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]
