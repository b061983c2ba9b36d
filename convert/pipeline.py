"""The story, from top to bottom: files in, an image out.

::

    open ─► select the root ─► inspect ─► decide ─► normalise ─► fit ─► encode ─► write

Everything up to ``write`` only reads. What is decided by then is a :class:`Plan`; whoever wants to
know what would happen makes one and looks at it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from convert.destination import ImageDestination, parse_image
from convert.layers.compress import Compression, compression
from convert.layers.tar import encode_tar
from convert.losses import refuse_findings
from convert.oci.image import Image
from convert.oci.write import (
    LayerInput,
    check_attachable,
    check_base,
    check_codec,
    default_codec,
    write_image,
)
from convert.opening import Progress, Source, byte_counter, opened
from convert.options import ConvertOptions
from convert.plan import Decisions, Plan, make_plan, make_plans
from convert.version import VERSION
from formats.core.errors import ConvertError
from formats.core.finding import Finding
from formats.core.opener import Artifact
from formats.core.stacked import StackedTree
from formats.core.tree import Tree

if TYPE_CHECKING:
    from convert.data_volumes import ExtractedVolume
    from convert.oci.referrer import Attachment
    from convert.structure import Part
    from convert.verify import Verification

DEFAULT_OPTIONS = ConvertOptions()


@dataclass(frozen=True, slots=True)
class Conversion:
    """What :func:`convert_artifact` wrote.

    :ivar destination: as it can be given to other tools: ``oci:out:latest``.
    :ivar volumes: archives with the data that is not in the image: ``--volumes extract``.
    """

    destination: str
    image: Image
    compression: Compression
    decisions: Decisions
    volumes: tuple[ExtractedVolume, ...] = ()


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


def convert_artifact(
    sources: Source | Sequence[Source],
    destination: str,
    options: ConvertOptions = DEFAULT_OPTIONS,
    *,
    progress: Progress | None = None,
    stdout: BinaryIO | None = None,
    on_plan: Callable[[Artifact, Plan], object] | None = None,
) -> Conversion:
    """Convert an artifact into an image.

    The image appears at the destination whole, or not at all. Its digest depends on the content of
    the tree, on the options and on the version of the compressor; not on the form of the disk, the
    clock, the machine or the number of jobs. ``created`` is the time of the newest file, or
    ``options.source_date_epoch``.

    :param sources: a file, or all disks of one machine in their order.
    :param destination: ``oci:DIR[:TAG]``, ``oci-archive:FILE[:TAG]`` or
        ``docker-archive:FILE[:NAME:TAG]``; ``-`` as FILE is ``stdout``.
    :param on_plan: called with what was decided before it is carried out, while all can be read.
    :raises formats.core.errors.ConvertError: any of its subclasses; nothing is left behind then.
    """
    target = parse_image(destination)
    how, notes = compression_for(target, options)
    if options.attach_report:
        check_attachable(target)
    with opened(sources, options, progress) as artifact:
        plan = _checked_base(make_plan(artifact, options, notes), target)
        refuse_findings(plan.decisions.findings, options)
        if on_plan is not None:
            on_plan(artifact, plan)
        attach = _attached(sources, target, how, plan) if options.attach_report else None
        volumes, lost = _write_data(plan, target, options)
        try:
            image = _write(plan, target, how, options, progress, stdout, attach)
        except BaseException:
            _remove_data(volumes)
            raise
    return Conversion(str(target), image, how, plan.with_findings(lost).decisions, volumes)


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
        return inspect_opened(artifact, options)[0]


def inspect_opened(artifact: Artifact, options: ConvertOptions) -> tuple[Inspection, Plan | None]:
    """Do the same for an artifact that is open; return the plan as well, where there is one."""
    from convert.structure import structure  # noqa: PLC0415 - nothing else needs it

    plan, problem = None, None
    try:
        plan = make_plan(artifact, options)
    except ConvertError as error:
        problem = error
    decisions = plan.decisions if plan is not None else None
    seen = Inspection(structure(artifact), decisions, problem, tuple(artifact.findings))
    return seen, plan


def verify_artifact(
    image: str,
    sources: Source | Sequence[Source] = (),
    options: ConvertOptions = DEFAULT_OPTIONS,
    *,
    split: bool = False,
    progress: Progress | None = None,
) -> Verification:
    """Recompute every claim of an image; with ``sources``, hold it against their tree as well.

    :param image: as a destination is given: ``oci:out:latest``.
    :param options: the same that the image was made with.
    :param split: it is one of several that :func:`convert.services.split.split_services` wrote.
    :raises formats.core.errors.ConvertError: if something cannot be opened, or is too large. What
        is wrong with the image is in the result.
    """
    from convert.verify import verify_image  # noqa: PLC0415 - nothing else needs it

    where = parse_image(image)
    counter = byte_counter(progress, 0, "verifying")
    if not sources:
        return verify_image(where, limits=options.limits, progress=counter)
    with opened(sources, options, progress) as artifact:
        plan = make_plans(artifact, options)[0] if split else make_plan(artifact, options)
        return verify_image(
            where,
            _as_run(plan, options),
            mtime_limit=options.source_date_epoch,
            limits=options.limits,
            progress=counter,
        )


def compression_for(
    target: ImageDestination, options: ConvertOptions
) -> tuple[Compression, list[Finding]]:
    """Return how layers are compressed, and what is worth knowing about it.

    :raises UsageError: if that cannot be at this destination.
    """
    codec = options.compression or default_codec(target)
    notes = check_codec(target, codec)
    return compression(codec, options.level), notes


def _checked_base(plan: Plan, target: ImageDestination) -> Plan:
    """Add to a plan what is to be said of its base at this destination."""
    if plan.base is None:
        return plan
    notes = check_base(target, plan.base.base())
    return plan.with_findings(notes)


def _write_data(
    plan: Plan, target: ImageDestination, options: ConvertOptions
) -> tuple[tuple[ExtractedVolume, ...], tuple[Finding, ...]]:
    """Write what goes beside the image; return it, and what its archives cannot hold."""
    if not plan.data:
        return (), ()
    from convert.data_volumes import write_volumes  # noqa: PLC0415 - few ask for it

    limit = options.source_date_epoch
    return write_volumes(plan.data, target, mtime_limit=limit, limits=options.limits)


def _remove_data(volumes: Sequence[ExtractedVolume]) -> None:
    if volumes:
        from convert.data_volumes import remove_volumes  # noqa: PLC0415 - likewise

        remove_volumes(volumes)


def _write(
    plan: Plan,
    target: ImageDestination,
    how: Compression,
    options: ConvertOptions,
    progress: Progress | None,
    stdout: BinaryIO | None,
    attach: Callable[[Image], Attachment] | None,
) -> Image:
    decisions = plan.decisions
    base = plan.base.base() if plan.base is not None else None
    return write_image(
        [layer_of(plan, options)],
        plan.config,
        target,
        compression=how,
        base=base,
        jobs=options.jobs,
        progress=byte_counter(progress, decisions.content_bytes),
        stdout=stdout,
        budget_bytes=options.limits.total_output_bytes,
        attach=attach,
    )


def layer_of(plan: Plan, options: ConvertOptions) -> LayerInput:
    """Return the layer that a plan makes; it can be written once."""
    chunks = encode_tar(plan.tree, mtime_limit=options.source_date_epoch, limits=options.limits)
    return LayerInput(chunks, f"oci-convert {VERSION}: {_what_is_in(plan.decisions)}")


def _attached(
    sources: Source | Sequence[Source], target: ImageDestination, how: Compression, plan: Plan
) -> Callable[[Image], Attachment]:
    from convert.report.attached import attached_report  # noqa: PLC0415 - it builds on this module

    return attached_report(sources, target, how, plan.decisions)


def _as_run(plan: Plan, options: ConvertOptions) -> Tree:
    """Return what a container sees: the new layer over the base."""
    if plan.base is None:
        return plan.tree
    return StackedTree([plan.base.tree(), plan.tree], limits=options.limits)


def _what_is_in(decisions: Decisions) -> str:
    """Return what the history says of the layer; nothing in it tells of the source's name."""
    if decisions.packages:
        names = [f"{package.name} {package.version}" for package in decisions.packages]
        more = f" and {len(names) - 1} more packages" if len(names) > 1 else ""
        return names[0] + more
    system = decisions.facts.operating_system
    if system is not None and decisions.base is None:
        return system.pretty_name
    return "an application" if decisions.base is not None else "a root filesystem"
