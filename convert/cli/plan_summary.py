"""A plan in words: paths by rule, counted, and the config as it will be."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from convert.cli.output import table
from convert.plan import Decisions
from convert.report.groups import Group, Top, grouped
from convert.report.words import counted_words, human_size
from convert.rules.ledger import Treated
from formats.core.finding import Action, Finding
from formats.core.origin import printable

_TOPS_SHOWN = 10


def summary_of_plan(
    decisions: Decisions, treated: Iterable[Treated], *, with_all: bool
) -> Iterator[str]:
    """Yield the lines of ``convert plan``.

    :param with_all: name each path.
    """
    yield str(decisions.root)
    size = human_size(decisions.content_bytes)
    yield f"  {decisions.entries:,} entries with {size} of files in the new layer"
    for group in grouped(treated, each=with_all):
        yield from _told(group, len(group.tops) if with_all else _TOPS_SHOWN)
    done = [finding for finding in decisions.findings if finding.action is not Action.REPORTED]
    yield from _findings("also done, by no rule", done)
    noted = [finding for finding in decisions.findings if finding.action is Action.REPORTED]
    yield from _findings("to know", noted)
    yield ""
    yield "config, but for rootfs and history"
    config = json.dumps(decisions.config.config.as_json(), indent=2, ensure_ascii=False)
    yield from (f"  {line}" for line in config.splitlines())


def _told(group: Group, shown: int) -> Iterator[str]:
    rule, action, why = group.deed
    size = f", {human_size(group.size)}" if group.size else ""
    yield ""
    yield f"{rule}: {action.value} {counted_words(group.paths, 'path')}{size}"
    yield f"  {why}"
    rows = (
        ("    " + _name(top), human_size(top.size) if top.size else "")
        for top in group.tops[:shown]
    )
    yield from table(rows)
    if shown < len(group.tops):
        yield f"    … and {len(group.tops) - shown:,} more: --all shows each"


def _name(top: Top) -> str:
    slash = "/" if top.is_folder else ""
    below = f" and {counted_words(top.paths - 1, 'path')} below" if top.paths > 1 else ""
    return f"/{printable(top.path)}{slash}{below}"


def _findings(title: str, findings: Sequence[Finding]) -> Iterator[str]:
    if findings:
        yield ""
        yield title
        yield from (f"  {finding}" for finding in findings)
