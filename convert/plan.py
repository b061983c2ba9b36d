"""What is decided about an artifact before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from convert.additions import with_runtime_folders
from convert.configuration import ConfigDecision, Subject, decide_config
from convert.content import gather
from convert.inspect.entrypoint import EntrypointDecision
from convert.inspect.facts import Facts
from convert.layers.representable import fit_layer
from convert.losses import losses_in, totals
from convert.oci.config import ImageConfig
from convert.options import ConvertOptions
from convert.rules.ledger import Treated
from convert.rules.normalise import normalise
from convert.secrets.identity import rules_left_out
from convert.secrets.shown import (
    look_for_secrets,
    masked_decision,
    masked_entrypoint,
    masked_facts,
    masked_findings,
)
from convert.workload import decide_workload, inspect_content
from formats.core.finding import Finding
from formats.core.machine import Machine
from formats.core.opener import Artifact
from formats.core.origin import Origin
from formats.core.package import Package
from formats.core.tree import Tree, TreeIndex

if TYPE_CHECKING:
    from convert.images.opening import OpenedImage


@dataclass(frozen=True, slots=True)
class Decisions:
    """What was found out and decided about an artifact before anything is written.

    All of it can be shown: values of secrets are masked, in the config as well.

    :ivar root: breadcrumb of the volume that the root was found in.
    :ivar mounts: what is laid over it: folder, and breadcrumb of the volume.
    :ivar machine: what a descriptor says of the machine that the root belongs to.
    :ivar packages: what the new layer is made of, those asked for first.
    :ivar base: the image that the layer is put on, as the user named it.
    :ivar entries: paths that the new layer has.
    :ivar content_bytes: size of all files in it, hard links once.
    :ivar applied: what the rules of the profile took away or changed; ``--keep`` undoes each.
    :ivar findings: everything else that is worth knowing, losses among it.
    """

    root: Origin
    mounts: tuple[tuple[str, Origin], ...]
    machine: Machine | None
    packages: tuple[Package, ...]
    base: str | None
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
    """A tree that can be encoded, and the decisions that led to it.

    :ivar base: the image that the tree's layer is put on.
    :ivar config: as the image gets it, with values that are not to be shown.
    :ivar treated: every path that the rules of the profile dropped or changed.
    """

    tree: Tree
    base: OpenedImage | None
    config: ImageConfig
    decisions: Decisions
    treated: tuple[Treated, ...] = ()


def make_plan(
    artifact: Artifact,
    options: ConvertOptions,
    notes: Sequence[Finding] = (),
    *,
    needs_platform: bool = True,
) -> Plan:
    """Decide everything about an opened artifact; its tree can be read while that is open.

    :param notes: findings from before it was opened.
    :param needs_platform: an image has to name one; a tree by itself does without.
    """
    content = gather(artifact, options)
    whole = TreeIndex(content.whole, options.limits)
    index = whole if content.base is None else TreeIndex(content.tree, options.limits)
    facts = inspect_content(content, whole)
    entrypoint, lacks = decide_workload(content, facts, whole, options.service)
    normalised = normalise(
        index,
        profile=options.profile,
        keep=(*options.keep, *rules_left_out(options.secrets)),
        drop=options.drop,
        mount_points=content.mount_points,
        init=entrypoint.init if options.entrypoint is None else None,
    )
    tree, additions = with_runtime_folders(normalised.tree, entrypoint.runtime_folders)
    fitted = fit_layer(tree)
    entries, content_bytes = totals(fitted.tree)
    config = decide_config(
        facts,
        entrypoint,
        options,
        Subject(
            content.tree.origin,
            _created(fitted.tree, options),
            content.machine,
            content.packages[0] if content.packages else None,
            content.config_below,
            needs_platform,
        ),
    )
    secrets, mask = look_for_secrets(fitted.tree, config.config, options)
    findings = (
        *notes,
        *artifact.findings,
        *content.findings,
        *facts.findings,
        *lacks,
        *additions,
        *normalised.notes,
        *fitted.findings,
        *secrets,
    )
    return Plan(
        fitted.tree,
        content.base,
        config.config,
        Decisions(
            root=content.root,
            mounts=content.mounts,
            machine=content.machine,
            packages=content.packages,
            base=None if content.base is None else content.base.reference,
            facts=masked_facts(facts, mask),
            entrypoint=masked_entrypoint(entrypoint, mask),
            config=masked_decision(config, mask),
            entries=entries,
            content_bytes=content_bytes,
            applied=normalised.findings,
            findings=masked_findings(findings, mask),
        ),
        normalised.treated,
    )


def _created(tree: Tree, options: ConvertOptions) -> int:
    """Return seconds since 1970: of the newest file, so that equal trees give equal images."""
    if options.source_date_epoch is not None:
        return options.source_date_epoch
    return max((entry.mtime_ns for entry in tree.entries()), default=0) // 10**9
