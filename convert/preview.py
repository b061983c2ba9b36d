"""What a conversion would do, path by path, and what its image would be made of.

More than :func:`~convert.pipeline.inspect_artifact` tells, and as little is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convert.opening import Progress, Source, opened
from convert.options import ConvertOptions
from convert.packages.owners import file_owners
from convert.pipeline import DEFAULT_OPTIONS, Inspection, inspect_opened
from convert.plan import Plan
from convert.report.weights import Weights, weigh
from convert.rules.ledger import Treated
from formats.core.errors import ConvertError
from formats.core.finding import Action, Finding
from formats.core.opener import Artifact
from formats.core.tree import TreeIndex


@dataclass(frozen=True, slots=True)
class Preview:
    """An inspection, and what it comes to.

    :ivar treated: every path that rules would drop or change, in the order of the tree.
    :ivar weights: None if it was not asked for, or nothing can be converted.
    :ivar findings: what was noticed while weighing.
    """

    inspection: Inspection
    treated: tuple[Treated, ...] = ()
    weights: Weights | None = None
    findings: tuple[Finding, ...] = ()


def preview_artifact(
    sources: Source | Sequence[Source],
    options: ConvertOptions = DEFAULT_OPTIONS,
    *,
    weighing: bool = False,
    progress: Progress | None = None,
) -> Preview:
    """Find out what :func:`~convert.pipeline.convert_artifact` would do. Writes nothing.

    :param weighing: also find out what the bytes of the image would be: folders, packages, layers.
    :raises formats.core.errors.ConvertError: if a source cannot be opened at all. Why it cannot be
        converted is in the result.
    """
    with opened(sources, options, progress) as artifact:
        seen, plan = inspect_opened(artifact, options)
        if plan is None:
            return Preview(seen)
        if not weighing:
            return Preview(seen, plan.treated)
        return _with_weights(seen, plan, options)


def preview_of(artifact: Artifact, plan: Plan, options: ConvertOptions) -> Preview:
    """Return the same with weights for a plan that was made, while its artifact is open."""
    from convert.structure import structure  # noqa: PLC0415 - nothing else needs it

    seen = Inspection(structure(artifact), plan.decisions, None, tuple(artifact.findings))
    return _with_weights(seen, plan, options)


def _with_weights(seen: Inspection, plan: Plan, options: ConvertOptions) -> Preview:
    weights, findings = _weighed(plan, options)
    return Preview(seen, plan.treated, weights, findings)


def _weighed(plan: Plan, options: ConvertOptions) -> tuple[Weights, tuple[Finding, ...]]:
    index = TreeIndex(plan.tree, options.limits)
    findings: tuple[Finding, ...] = ()
    try:
        owners = file_owners(index)
    except ConvertError as error:  # a damaged database is no reason to show nothing at all
        owners = {}
        where = str(error.origin or plan.tree.origin).encode()
        findings = (Finding("package-files", where, Action.REPORTED, error.message),)
    base = plan.base.base() if plan.base is not None else None
    return weigh(list(index.entries()), owners, base), findings
