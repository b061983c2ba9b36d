"""Writing an artifact's tree, as it is or as an image would have it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

from convert.destination import FolderDestination, TarDestination, parse_destination
from convert.layers.folder import write_folder
from convert.layers.representable import fit_tar
from convert.layers.tar_file import write_tar
from convert.losses import refuse_findings, totals
from convert.opening import Progress, Source, byte_counter, opened, request_of
from convert.options import ConvertOptions
from convert.select.root import select_volume
from convert.trees import FilteredTree
from formats.core.errors import UsageError
from formats.core.finding import Finding
from formats.core.opener import Artifact
from formats.core.origin import Origin
from formats.core.tree import Tree

_DEFAULT_OPTIONS = ConvertOptions()


@dataclass(frozen=True, slots=True)
class Export:
    """What :func:`export_artifact` wrote.

    :ivar root: breadcrumb of the volume.
    :ivar applied: what the rules of the profile took away or changed.
    :ivar findings: everything else that is worth knowing, losses among it.
    """

    destination: str
    root: Origin
    entries: int
    content_bytes: int
    applied: tuple[Finding, ...]
    findings: tuple[Finding, ...]


def export_artifact(
    sources: Source | Sequence[Source],
    destination: str,
    options: ConvertOptions = _DEFAULT_OPTIONS,
    *,
    raw: bool = False,
    progress: Progress | None = None,
    stdout: BinaryIO | None = None,
) -> Export:
    """Write the tree that an image would get as a tar archive or as a folder.

    :param destination: ``tar:FILE``, ``tar:-`` or ``dir:PATH``.
    :param raw: the one volume's tree as it is: no rules, nothing mounted over it, devices and all
        extended attributes kept.
    :raises formats.core.errors.ConvertError: any of its subclasses; nothing is left behind then.
    """
    target = parse_destination(destination)
    if not isinstance(target, TarDestination | FolderDestination):
        raise UsageError(
            f"'{destination}' is an image, not a tree", hint="export writes tar:FILE or dir:PATH"
        )
    with opened(sources, options, progress) as artifact:
        tree, applied, findings = _exported(artifact, target, options, raw=raw)
        refuse_findings(findings, options)
        entries, content_bytes = totals(tree)
        counter = byte_counter(progress, content_bytes)
        if isinstance(target, FolderDestination):
            tree = _clamped(tree, options.source_date_epoch)
            findings += write_folder(tree, target.folder, progress=counter, limits=options.limits)
        else:
            write_tar(
                tree,
                target.file,
                stdout=stdout,
                mtime_limit=options.source_date_epoch,
                jobs=options.jobs,
                progress=counter,
                limits=options.limits,
            )
    return Export(str(target), tree.origin, entries, content_bytes, applied, findings)


def _exported(
    artifact: Artifact,
    target: TarDestination | FolderDestination,
    options: ConvertOptions,
    *,
    raw: bool,
) -> tuple[Tree, tuple[Finding, ...], tuple[Finding, ...]]:
    """Return the tree, what rules did to it, and all other findings."""
    if raw:
        tree = select_volume(artifact, request_of(options))
        if isinstance(target, FolderDestination):  # which holds what no tar does
            return tree, (), tuple(artifact.findings)
        fitted = fit_tar(tree)
        return fitted.tree, (), (*artifact.findings, *fitted.findings)
    from convert.plan import make_plan  # noqa: PLC0415 - a raw export decides nothing

    plan = make_plan(artifact, options, needs_platform=False)
    return plan.tree, plan.decisions.applied, plan.decisions.findings


def _clamped(tree: Tree, mtime_limit: int | None) -> Tree:
    """Return the tree with no time later than the limit, in seconds since 1970."""
    if mtime_limit is None:
        return tree
    latest = mtime_limit * 10**9
    return FilteredTree(
        tree,
        lambda entry: entry if entry.mtime_ns <= latest else replace(entry, mtime_ns=latest),
    )
