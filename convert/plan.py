"""What is decided about an artifact before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from convert.additions import with_runtime_folders
from convert.configuration import ConfigDecision, Subject, data_paths, decide_config
from convert.content import Content, gather
from convert.inspect.entrypoint import EntrypointDecision
from convert.inspect.facts import Facts
from convert.layers.representable import fit_layer
from convert.losses import losses_in, totals
from convert.oci.config import ImageConfig
from convert.options import ConvertOptions, Volumes
from convert.rules.ledger import Treated
from convert.rules.normalise import Normalised, normalise
from convert.secrets.identity import rules_left_out
from convert.secrets.scan import Found
from convert.secrets.shown import (
    look_for_secrets,
    masked_decision,
    masked_entrypoint,
    masked_facts,
    masked_findings,
    secrets_of_image,
)
from convert.workload import decide_services, decide_workload, inspect_content
from formats.core.errors import UnsupportedError
from formats.core.finding import Finding
from formats.core.machine import Machine
from formats.core.opener import Artifact
from formats.core.origin import Origin
from formats.core.package import Package
from formats.core.tree import Tree, TreeIndex

if TYPE_CHECKING:
    from convert.data_volumes import DataVolume
    from convert.images.opening import OpenedImage


_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
"""Of the years 1 and 9999: RFC 3339 has no others, and files of odd clocks do."""
_TOLD = 5
"""Services in one message."""


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
    :ivar data: what is written beside the image instead of into it.
    :ivar guest: what inspection saw.
    """

    tree: Tree
    base: OpenedImage | None
    config: ImageConfig
    decisions: Decisions
    treated: tuple[Treated, ...] = ()
    data: tuple[DataVolume, ...] = ()
    guest: TreeIndex | None = None

    def with_findings(self, more: Sequence[Finding]) -> Plan:
        """Return the plan with more findings at the end."""
        findings = (*self.decisions.findings, *more)
        return replace(self, decisions=replace(self.decisions, findings=findings))


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
    ground = _surveyed(artifact, options, notes)
    entrypoint, lacks = decide_workload(ground.content, ground.facts, ground.whole, options.service)
    init = entrypoint.init if options.entrypoint is None else None
    layer = _laid_out(ground, [entrypoint], options, init)
    return _planned(ground, layer, entrypoint, options, lacks, needs_platform=needs_platform)


def make_plans(
    artifact: Artifact, options: ConvertOptions, notes: Sequence[Finding] = ()
) -> tuple[Plan, ...]:
    """Decide the same where each workload gets an image of its own; all have the same tree.

    :raises UnsupportedError: if none can run by itself.
    """
    ground = _surveyed(artifact, options, notes)
    entrypoints, losers = decide_services(ground.content, ground.facts, ground.whole)
    if not entrypoints:
        why = "; ".join(f"{loser.name}: {loser.reason}" for loser in losers[:_TOLD])
        raise UnsupportedError(
            f"there is no service that could be split off{f' ({why})' if why else ''}",
            origin=ground.content.tree.origin,
            hint="leave --split out, or say what to start: --entrypoint",
        )
    layer = _laid_out(ground, entrypoints, options, None)
    return tuple(_planned(ground, layer, entrypoint, options) for entrypoint in entrypoints)


@dataclass(frozen=True, slots=True)
class _Ground:
    """What there is before anything is decided."""

    content: Content
    whole: TreeIndex
    index: TreeIndex
    facts: Facts
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _LaidOut:
    """The tree of the layer, and what was done to it."""

    tree: Tree
    entries: int
    content_bytes: int
    data: tuple[DataVolume, ...]
    normalised: Normalised
    secrets: Found
    findings: tuple[Finding, ...]


def _surveyed(artifact: Artifact, options: ConvertOptions, notes: Sequence[Finding]) -> _Ground:
    content = gather(artifact, options)
    whole = TreeIndex(content.whole, options.limits)
    index = whole if content.base is None else TreeIndex(content.tree, options.limits)
    facts = inspect_content(content, whole)
    findings = (*notes, *artifact.findings, *content.findings, *facts.findings)
    return _Ground(content, whole, index, facts, findings)


def _laid_out(
    ground: _Ground,
    entrypoints: Sequence[EntrypointDecision],
    options: ConvertOptions,
    init: str | None,
) -> _LaidOut:
    """Return the tree of the layer, with what all that is started from it needs."""
    normalised = normalise(
        ground.index,
        profile=options.profile,
        keep=(*options.keep, *rules_left_out(options.secrets)),
        drop=options.drop,
        mount_points=ground.content.mount_points,
        init=init,
    )
    needed = {folder.path: folder for item in entrypoints for folder in item.runtime_folders}
    tree, additions = with_runtime_folders(normalised.tree, tuple(needed.values()))
    data: tuple[DataVolume, ...] = ()
    taken: tuple[Finding, ...] = ()
    if options.volumes is Volumes.EXTRACT:
        from convert.data_volumes import set_apart  # noqa: PLC0415 - few ask for it

        paths = {path for item in entrypoints for path in data_paths(ground.facts, item, options)}
        tree, data, taken = set_apart(tree, sorted(paths), options.limits)
    fitted = fit_layer(tree)
    entries, content_bytes = totals(fitted.tree)
    findings = (*additions, *normalised.notes, *taken, *fitted.findings)
    secrets = look_for_secrets(fitted.tree, options)
    return _LaidOut(fitted.tree, entries, content_bytes, data, normalised, secrets, findings)


def _planned(
    ground: _Ground,
    layer: _LaidOut,
    entrypoint: EntrypointDecision,
    options: ConvertOptions,
    lacks: Sequence[Finding] = (),
    *,
    needs_platform: bool = True,
) -> Plan:
    """Return the plan of one image with this layer."""
    content, facts, normalised = ground.content, ground.facts, layer.normalised
    config = decide_config(
        facts,
        entrypoint,
        options,
        Subject(
            content.tree.origin,
            _created(layer.tree, options),
            content.machine,
            content.packages[0] if content.packages else None,
            content.config_below,
            needs_platform,
        ),
    )
    secrets, mask = secrets_of_image(layer.secrets, config.config, options)
    findings = (*ground.findings, *lacks, *layer.findings, *secrets)
    return Plan(
        layer.tree,
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
            entries=layer.entries,
            content_bytes=layer.content_bytes,
            applied=normalised.findings,
            findings=masked_findings(findings, mask),
        ),
        normalised.treated,
        layer.data,
        ground.whole,
    )


def _created(tree: Tree, options: ConvertOptions) -> int:
    """Return seconds since 1970: of the newest file, so that equal trees give equal images."""
    if options.source_date_epoch is not None:
        return options.source_date_epoch
    newest = max((entry.mtime_ns for entry in tree.entries()), default=0) // 10**9
    return min(max(newest, _FIRST_SECOND), _LAST_SECOND)
