"""The story, from top to bottom: files in, an image out.

::

    open ─► select the root ─► inspect ─► decide ─► normalise ─► fit ─► encode ─► write

Everything up to ``write`` only reads. What is decided by then is a :class:`Plan`; whoever wants to
know what would happen makes one and looks at it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from convert.additions import with_runtime_folders
from convert.configuration import ConfigDecision, decide_config
from convert.destination import (
    FolderDestination,
    ImageDestination,
    TarDestination,
    parse_destination,
    parse_image,
)
from convert.handover import second_engine
from convert.inspect.entrypoint import EntrypointDecision, decide_entrypoint
from convert.inspect.facts import Facts
from convert.inspect.tree import inspect_tree
from convert.keys import read_keys
from convert.layers.compress import Compression, compression
from convert.layers.folder import write_folder
from convert.layers.representable import fit_layer, fit_tar
from convert.layers.tar import encode_tar
from convert.layers.tar_file import write_tar
from convert.oci.image import Image
from convert.oci.write import LayerInput, check_codec, default_codec, write_image
from convert.options import ConvertOptions, OpenOptions
from convert.rules.normalise import normalise
from convert.select import Request, select_root, select_volume
from convert.structure import Part, structure
from convert.trees import FilteredTree
from convert.version import VERSION
from formats.bundles.ami.access import Account
from formats.bundles.ami.image import is_in_cloud, open_in_cloud
from formats.core.entry import Kind
from formats.core.errors import ConvertError, FindingsError, UsageError
from formats.core.finding import Action, Finding
from formats.core.machine import Machine
from formats.core.opener import Artifact, Input, open_artifact
from formats.core.origin import Origin
from formats.core.tree import Tree, TreeIndex

if TYPE_CHECKING:
    from convert.verify import Verification

Source: TypeAlias = str | PathLike[str]
Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with a stage's name, bytes done and bytes in all (0 where that is not known)."""

DEFAULT_OPTIONS = ConvertOptions()


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
        return _losses(self.findings)


@dataclass(frozen=True, slots=True)
class Plan:
    """A tree that can be encoded, and the decisions that led to it."""

    tree: Tree
    decisions: Decisions


@dataclass(frozen=True, slots=True)
class Conversion:
    """What :func:`convert_artifact` wrote.

    :ivar destination: as it can be given to other tools: ``oci:out:latest``.
    """

    destination: str
    image: Image
    compression: Compression
    decisions: Decisions


@dataclass(frozen=True, slots=True)
class Inspection:
    """What an artifact is, and what :func:`convert_artifact` would decide.

    :ivar parts: what is inside what.
    :ivar decisions: None where it cannot be converted; ``problem`` says why.
    :ivar findings: what readers noted while opening.
    """

    parts: tuple[Part, ...]
    decisions: Decisions | None
    problem: ConvertError | None
    findings: tuple[Finding, ...]


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


def convert_artifact(
    sources: Source | Sequence[Source],
    destination: str,
    options: ConvertOptions = DEFAULT_OPTIONS,
    *,
    progress: Progress | None = None,
    stdout: BinaryIO | None = None,
) -> Conversion:
    """Convert an artifact into an image.

    The image appears at the destination whole, or not at all. Its digest depends on the content of
    the tree, on the options and on the version of the compressor; not on the form of the disk, the
    clock, the machine or the number of jobs. ``created`` is the time of the newest file, or
    ``options.source_date_epoch``.

    :param sources: a file, or all disks of one machine in their order.
    :param destination: ``oci:DIR[:TAG]``, ``oci-archive:FILE[:TAG]`` or
        ``docker-archive:FILE[:NAME:TAG]``; ``-`` as FILE is ``stdout``.
    :raises formats.core.errors.ConvertError: any of its subclasses; nothing is left behind then.
    """
    target = parse_image(destination)
    how, notes = _compression(target, options)
    with opened(sources, options, progress) as artifact:
        plan = make_plan(artifact, options, notes)
        if options.strict:
            _refuse_losses(plan.decisions.losses)
        image = _write(plan, target, how, options, progress, stdout)
    return Conversion(str(target), image, how, plan.decisions)


def inspect_artifact(
    sources: Source | Sequence[Source],
    options: ConvertOptions = DEFAULT_OPTIONS,
    *,
    progress: Progress | None = None,
) -> Inspection:
    """Find out what an artifact is and what :func:`convert_artifact` would decide. Writes nothing.

    :raises formats.core.errors.ConvertError: if a source cannot be opened at all. What cannot be
        converted, or not be read in part, is told in the result.
    """
    with opened(sources, options, progress) as artifact:
        decisions, problem = None, None
        try:
            decisions = make_plan(artifact, options).decisions
        except ConvertError as error:
            problem = error
        return Inspection(structure(artifact), decisions, problem, tuple(artifact.findings))


def export_artifact(
    sources: Source | Sequence[Source],
    destination: str,
    options: ConvertOptions = DEFAULT_OPTIONS,
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
        if options.strict:
            _refuse_losses(_losses(findings))
        entries, content_bytes = _totals(tree)
        counter = _counter(progress, content_bytes)
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


def verify_artifact(
    image: str,
    sources: Source | Sequence[Source] = (),
    options: ConvertOptions = DEFAULT_OPTIONS,
    *,
    progress: Progress | None = None,
) -> Verification:
    """Recompute every claim of an image; with ``sources``, hold it against their tree as well.

    :param image: as a destination is given: ``oci:out:latest``.
    :param options: the same that the image was made with.
    :raises formats.core.errors.ConvertError: if something cannot be opened, or is too large. What
        is wrong with the image is in the result.
    """
    from convert.verify import verify_image  # noqa: PLC0415 - nothing else needs it

    where = parse_image(image)
    counter = _counter(progress, 0, "verifying")
    if not sources:
        return verify_image(where, limits=options.limits, progress=counter)
    with opened(sources, options, progress) as artifact:
        return verify_image(
            where,
            make_plan(artifact, options).tree,
            mtime_limit=options.source_date_epoch,
            limits=options.limits,
            progress=counter,
        )


@contextmanager
def opened(
    sources: Source | Sequence[Source], options: OpenOptions, progress: Progress | None = None
) -> Iterator[Artifact]:
    """Open an artifact as ``options`` say, and close it at the end."""
    named = [sources] if isinstance(sources, str | PathLike) else list(sources)
    if not named:
        raise UsageError("no file was named")
    with ExitStack() as resources:
        inputs = [_input(os.fspath(source), options, resources) for source in named]
        artifact = open_artifact(
            inputs,
            limits=options.limits,
            allow_backing=options.allow_backing,
            keys=read_keys(options.passphrase_files, options.key_files),
            spool_parent=options.spool,
            progress=progress,
        )
        resources.callback(artifact.close)
        yield artifact


def _input(source: str, options: OpenOptions, resources: ExitStack) -> Input:
    """Return a file's path, or what its name means elsewhere."""
    if not is_in_cloud(source):
        return Path(source)
    account = Account(options.region, options.aws_profile, options.endpoint_url)
    return open_in_cloud(source, account, resources.callback, options.limits)


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
    entries, content_bytes = _totals(fitted.tree)
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


def request_of(options: OpenOptions) -> Request:
    """Return which tree ``options`` ask for."""
    drop = options.drop if isinstance(options, ConvertOptions) else ()
    return Request(
        root=options.root,
        machine=options.vm,
        drop=drop,
        limits=options.limits,
        engine=second_engine(options.engine),
    )


def _compression(
    target: ImageDestination, options: ConvertOptions
) -> tuple[Compression, list[Finding]]:
    codec = options.compression or default_codec(target)
    notes = check_codec(target, codec)
    return compression(codec, options.level), notes


def _write(
    plan: Plan,
    target: ImageDestination,
    how: Compression,
    options: ConvertOptions,
    progress: Progress | None,
    stdout: BinaryIO | None,
) -> Image:
    decisions = plan.decisions
    chunks = encode_tar(plan.tree, mtime_limit=options.source_date_epoch, limits=options.limits)
    system = decisions.facts.operating_system
    what = system.pretty_name if system is not None else "a root filesystem"
    return write_image(
        [LayerInput(chunks, created_by=f"oci-convert {VERSION}: {what}")],
        decisions.config.config,
        target,
        compression=how,
        jobs=options.jobs,
        progress=_counter(progress, decisions.content_bytes),
        stdout=stdout,
        budget_bytes=options.limits.total_output_bytes,
    )


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
    plan = make_plan(artifact, options)
    return plan.tree, plan.decisions.applied, plan.decisions.findings


def _losses(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    lost = {Action.DROPPED, Action.EMPTIED}
    return tuple(finding for finding in findings if finding.action in lost)


def _refuse_losses(losses: Sequence[Finding]) -> None:
    if not losses:
        return
    others = f", and {len(losses) - 1:,} more" if len(losses) > 1 else ""
    raise FindingsError(
        f"content would be lost: {losses[0]}{others}",
        hint="'convert inspect' lists all; leave --strict out to accept them",
    )


def _totals(tree: Tree) -> tuple[int, int]:
    """Return the number of entries, and the bytes of all files."""
    entries = content_bytes = 0
    for entry in tree.entries():
        entries += 1
        if entry.kind is Kind.FILE:
            content_bytes += entry.size
    return entries, content_bytes


def _clamped(tree: Tree, mtime_limit: int | None) -> Tree:
    """Return the tree with no time later than the limit, in seconds since 1970."""
    if mtime_limit is None:
        return tree
    latest = mtime_limit * 10**9
    return FilteredTree(
        tree,
        lambda entry: entry if entry.mtime_ns <= latest else replace(entry, mtime_ns=latest),
    )


def _created(tree: Tree, options: ConvertOptions) -> int:
    """Return seconds since 1970: of the newest file, so that equal trees give equal images."""
    if options.source_date_epoch is not None:
        return options.source_date_epoch
    return max((entry.mtime_ns for entry in tree.entries()), default=0) // 10**9


def _counter(
    progress: Progress | None, total: int, stage: str = "writing"
) -> Callable[[int], None] | None:
    """Return what adds bytes up for ``progress``; headers and padding are in them too."""
    if progress is None:
        return None
    done = 0

    def count(length: int) -> None:
        nonlocal done
        done += length
        progress(stage, min(done, total) if total else done, total)

    return count
