"""What is decided about an artifact before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convert.additions import with_runtime_folders
from convert.configuration import ConfigDecision, decide_config
from convert.inspect.entrypoint import EntrypointDecision, decide_entrypoint
from convert.inspect.facts import Facts
from convert.inspect.tree import inspect_tree
from convert.layers.representable import fit_layer
from convert.losses import losses_in, totals
from convert.opening import request_of
from convert.options import ConvertOptions
from convert.rules.normalise import normalise
from convert.select import select_root
from formats.core.finding import Finding
from formats.core.machine import Machine
from formats.core.opener import Artifact
from formats.core.origin import Origin
from formats.core.tree import Tree, TreeIndex


@dataclass(frozen=True, slots=True)
class Decisions:
    """What was found out and decided about an artifact before anything is written.

    :ivar root: breadcrumb of the volume that the root was found in.
    :ivar mounts: what is laid over it: folder, and breadcrumb of the volume.
    :ivar machine: what a descriptor says of the machine that the root belongs to.
    :ivar entries: paths that the result has.
    :ivar content_bytes: size of all files in it, hard links once.
    :ivar applied: what the rules of the profile took away or changed; ``--keep`` undoes each.
    :ivar findings: everything else that is worth knowing, losses among it.
    """

    root: Origin
    mounts: tuple[tuple[str, Origin], ...]
    machine: Machine | None
    facts: Facts
    entrypoint: EntrypointDecision
    config: ConfigDecision
    entries: int
    content_bytes: int
    applied: tuple[Finding, ...]
    findings: tuple[Finding, ...]

    @property
    def losses(self) -> tuple[Finding, ...]:
        """Content that is lost although no rule of the profile says so."""
        return losses_in(self.findings)


@dataclass(frozen=True, slots=True)
class Plan:
    """A tree that can be encoded, and the decisions that led to it."""

    tree: Tree
    decisions: Decisions


def make_plan(artifact: Artifact, options: ConvertOptions, notes: Sequence[Finding] = ()) -> Plan:
    """Decide everything about an opened artifact; its tree can be read while that is open.

    :param notes: findings from before it was opened.
    """
    selected = select_root(artifact, request_of(options))
    index = TreeIndex(selected.tree, options.limits)
    facts = inspect_tree(index)
    entrypoint = decide_entrypoint(facts, index)
    normalised = normalise(
        index,
        profile=options.profile,
        keep=options.keep,
        drop=options.drop,
        mount_points=selected.mount_points,
    )
    tree, additions = with_runtime_folders(normalised.tree, entrypoint.runtime_folders)
    fitted = fit_layer(tree)
    entries, content_bytes = totals(fitted.tree)
    config = decide_config(
        facts,
        entrypoint,
        options,
        origin=selected.tree.origin,
        created=_created(fitted.tree, options),
        machine=selected.machine,
    )
    findings = (
        *notes,
        *artifact.findings,
        *selected.findings,
        *facts.findings,
        *additions,
        *fitted.findings,
    )
    return Plan(
        fitted.tree,
        Decisions(
            root=selected.root,
            mounts=selected.mounts,
            machine=selected.machine,
            facts=facts,
            entrypoint=entrypoint,
            config=config,
            entries=entries,
            content_bytes=content_bytes,
            applied=normalised.findings,
            findings=findings,
        ),
    )


def _created(tree: Tree, options: ConvertOptions) -> int:
    """Return seconds since 1970: of the newest file, so that equal trees give equal images."""
    if options.source_date_epoch is not None:
        return options.source_date_epoch
    return max((entry.mtime_ns for entry in tree.entries()), default=0) // 10**9
