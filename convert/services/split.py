"""One image for each service of a machine, all of the same layers, and a compose file for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from convert.data_volumes import remove_volumes, write_volumes
from convert.destination import LayoutDestination, parse_image
from convert.inspect.guest import Guest
from convert.losses import refuse_findings
from convert.oci.write import check_base, write_images
from convert.opening import Progress, Source, byte_counter, opened
from convert.options import ConvertOptions
from convert.pipeline import DEFAULT_OPTIONS, Conversion, compression_for, layer_of
from convert.plan import Plan, make_plans
from convert.services.compose import ComposeService, compose_document, names_of, yaml_of
from convert.services.health import health_check
from convert.services.order import care_of
from convert.staging import free_place, output_error
from formats.core.errors import UsageError
from formats.core.origin import printable
from formats.core.tree import TreeIndex

COMPOSE_FILE: Final = "compose.yaml"
_HEADER: Final = """\
# Written by oci-convert for the services of one machine. They share a network and /run, as they did
# there: leave network_mode out, and use the services' names instead of 127.0.0.1, to part them.
# The images are in the layout beside it; an engine gets them by
#
{commands}
"""


@dataclass(frozen=True, slots=True)
class ServiceImage:
    """The image of one service.

    :ivar service: its name in the guest.
    """

    service: str
    conversion: Conversion


@dataclass(frozen=True, slots=True)
class Split:
    """What :func:`split_services` wrote.

    :ivar compose: the compose file.
    :ivar left_out: services that have no image → why.
    """

    images: tuple[ServiceImage, ...]
    compose: Path
    left_out: dict[str, str]


def split_services(
    sources: Source | Sequence[Source],
    destination: str,
    options: ConvertOptions = DEFAULT_OPTIONS,
    *,
    compose: Path | None = None,
    progress: Progress | None = None,
) -> Split:
    """Convert an artifact into an image for each of its services.

    All images appear at once or not at all. Their layers are the same and are written once; only
    the configs differ. The tag of each is the service's name, before ``-TAG`` if one was given.

    :param destination: ``oci:DIR[:TAG]``.
    :param compose: where the compose file goes; default: ``compose.yaml`` in the layout's folder's
        own folder. It is never replaced.
    :raises UsageError: for a destination that holds one image only.
    :raises UnsupportedError: if no service can run by itself.
    :raises formats.core.errors.ConvertError: any of its subclasses; nothing is left behind then.
    """
    _refuse_options_for_one(options)
    target = parse_image(destination)
    if not isinstance(target, LayoutDestination):
        raise UsageError(
            f"'{destination}' holds one image, and --split writes several",
            hint="write them to a layout: oci:DIR",
        )
    file = compose if compose is not None else target.folder.parent / COMPOSE_FILE
    free_place(file)
    how, notes = compression_for(target, options)
    with opened(sources, options, progress) as artifact:
        plans = make_plans(artifact, options, notes)
        base = plans[0].base.base() if plans[0].base is not None else None
        notes = check_base(target, base) if base is not None else []
        for plan in plans:
            refuse_findings((*plan.decisions.findings, *notes), options)
        tags = _tags(plans, target)
        volumes, lost = write_volumes(
            plans[0].data,
            target,
            mtime_limit=options.source_date_epoch,
            limits=options.limits,
        )
        text = _compose_text(plans, tags)
        try:
            with _new_file(file, text):
                images = write_images(
                    [layer_of(plans[0], options)],
                    [(plan.config, tag) for plan, tag in zip(plans, tags, strict=True)],
                    compression=how,
                    base=base,
                    jobs=options.jobs,
                    progress=byte_counter(progress, plans[0].decisions.content_bytes),
                    budget_bytes=options.limits.total_output_bytes,
                )
        except BaseException:
            remove_volumes(volumes)
            raise
    conversions = [
        Conversion(str(tag), image, how, plan.with_findings((*notes, *lost)).decisions, volumes)
        for plan, tag, image in zip(plans, tags, images, strict=True)
    ]
    return Split(
        tuple(
            ServiceImage(_service(plan), conversion)
            for plan, conversion in zip(plans, conversions, strict=True)
        ),
        file,
        _left_out(plans),
    )


def _refuse_options_for_one(options: ConvertOptions) -> None:
    """Refuse options that would make all services the same.

    :raises UsageError: if there is one.
    """
    given = {
        "--service": options.service,
        "--entrypoint": options.entrypoint,
        "--cmd": options.cmd,
        "--port": options.ports or None,
        "--user": options.user,
        "--workdir": options.workdir,
        "--stop-signal": options.stop_signal,
    }
    for option, value in given.items():
        if value is not None:
            raise UsageError(
                f"{option} is for one service, and --split writes an image for each",
                hint=f"leave {option} out, or convert a service by itself: --service NAME",
            )


def _service(plan: Plan) -> str:
    return plan.decisions.entrypoint.service or ""


def _left_out(plans: Sequence[Plan]) -> dict[str, str]:
    taken = {_service(plan) for plan in plans}
    losers = plans[0].decisions.entrypoint.losers
    return {loser.name: loser.reason for loser in losers if loser.name not in taken}


def _tags(plans: Sequence[Plan], target: LayoutDestination) -> list[LayoutDestination]:
    named = names_of(map(_service, plans))
    ending = f"-{target.tag}" if target.tag is not None else ""
    return [LayoutDestination(target.folder, f"{named[_service(plan)]}{ending}") for plan in plans]


def _compose_text(plans: Sequence[Plan], tags: Sequence[LayoutDestination]) -> str:
    """Return the compose file; images are called as podman calls those that it pulls from oci:."""
    guest = Guest(plans[0].guest) if plans[0].guest is not None else None
    chosen = {_service(plan) for plan in plans}
    facts = plans[0].decisions.facts
    among = [service for service in facts.services if service.name in chosen]
    cares = care_of(among, guest) if guest is not None else {}
    services = [
        ComposeService(
            name=_service(plan),
            image=_image_name(tag),
            config=plan.config,
            care=cares[_service(plan)],
            health=_health(plan, plans[0].guest),
            hidden=_hidden(plan),
        )
        for plan, tag in zip(plans, tags, strict=True)
    ]
    commands = "\n".join(
        f"#   skopeo copy oci:{printable(tag.folder.name)}:{tag.tag}"
        f" containers-storage:{_image_name(tag)}"
        for tag in tags
    )
    return _HEADER.format(commands=commands) + yaml_of(compose_document(services))


def _health(plan: Plan, index: TreeIndex | None) -> tuple[str, ...] | None:
    if index is None:
        return None
    entrypoint = plan.decisions.entrypoint
    ports = [port.number for port in (*entrypoint.ports, *entrypoint.local_ports)]
    return health_check(_service(plan), ports, index)


def _hidden(plan: Plan) -> frozenset[str]:
    """Return the variables whose values are secrets: they are in the image, and not shown."""
    shown = set(plan.decisions.config.config.env)
    return frozenset(item.partition("=")[0] for item in plan.config.env if item not in shown)


def _image_name(tag: LayoutDestination) -> str:
    (name,) = names_of([tag.folder.name]).values()
    return f"localhost/{name}:{tag.tag}"


@contextmanager
def _new_file(file: Path, text: str) -> Iterator[None]:
    """Write a file that must not be there, and take it away again if what follows fails.

    :raises OutputError: if it cannot be written.
    """
    try:
        output = file.open("x", encoding="utf-8")
    except OSError as error:
        raise output_error(error, file) from error
    try:
        try:
            with output:
                output.write(text)
        except OSError as error:
            raise output_error(error, file) from error
        yield
    except BaseException:
        file.unlink(missing_ok=True)
        raise
