"""The image's config: what inspection decided, what the user asked for, and why it is so."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from convert.inspect.entrypoint import PATH, EntrypointDecision
from convert.inspect.facts import DataFolder, Facts
from convert.machine import machine_labels, machine_ports
from convert.oci.config import ImageConfig, timestamp
from convert.oci.descriptor import Platform
from convert.options import ConvertOptions, Volumes
from convert.reasons import Confidence, Reason, Rejected
from formats.core.errors import UnsupportedError
from formats.core.machine import Machine
from formats.core.origin import Origin
from formats.core.package import Package

_UNKNOWN = "unknown"
"""An architecture in the words of docker's attestations, which are for none."""
_BY_OPTION = ("given as an option",)
_BY_IMAGE = "the config of the image itself, or of its base"

LABEL_TITLE = "org.opencontainers.image.title"
LABEL_VERSION = "org.opencontainers.image.version"
LABEL_CREATED = "org.opencontainers.image.created"
LABEL_SERVICE = "dev.oci-convert.service"


@dataclass(frozen=True, slots=True)
class ConfigDecision:
    """A config with a reason for each of its values, in the order a reader wants them."""

    config: ImageConfig
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Subject:
    """What a config is for, beside what was found in its tree.

    :ivar origin: of the root, for messages.
    :ivar created: seconds since 1970; see :func:`convert.pipeline.convert_artifact`.
    :ivar machine: what a descriptor says of the whole.
    :ivar package: what the image is made for, where it is made of packages.
    :ivar below: the config of the image that it lies on, or that it was.
    :ivar needs_platform: otherwise the architecture is ``unknown`` where nothing tells it.
    """

    origin: Origin
    created: int
    machine: Machine | None = None
    package: Package | None = None
    below: ImageConfig | None = None
    needs_platform: bool = True


def decide_config(
    facts: Facts, decision: EntrypointDecision, options: ConvertOptions, subject: Subject
) -> ConfigDecision:
    """Put the config together; what the user asked for wins, field by field.

    From the image below come its platform, ports, volumes, variables, labels and author. What is
    run, by whom, where, and how it is stopped belong together and are in ``decision``.

    :raises UnsupportedError: if nothing tells the architecture.
    :raises UsageError: for a value that no runtime would take.
    """
    machine, below = subject.machine, subject.below
    platform, platform_reason = _platform(facts, options, subject)
    entrypoint, cmd = _command(decision, options)
    environment = _environment(decision, options, below)
    ports = _ports(decision, options, machine, below)
    user = decision.user or "" if options.user is None else options.user
    workdir = decision.working_dir or "" if options.workdir is None else options.workdir
    stop_signal = options.stop_signal or _stop_signal(decision, options)
    labels = _labels(facts, decision, options, subject)
    volumes = _volumes(facts, decision, options, below)
    config = ImageConfig(
        platform=platform,
        entrypoint=entrypoint,
        cmd=cmd,
        env=tuple(f"{name}={value}" for name, value in environment.items()),
        user=user,
        working_dir=workdir,
        exposed_ports=ports,
        volumes=tuple(sorted(volumes)),
        stop_signal=stop_signal,
        labels=tuple(sorted(labels.items())),
        created=subject.created,
        author=below.author if below is not None else None,
    )
    reasons = (
        platform_reason,
        *_command_reasons(config, decision, options),
        *_port_reasons(config, decision, options, machine, below),
        _user_reason(user, decision, options, below),
        *_environment_reasons(facts, decision, options, environment, below),
        *volumes.values(),
        *_optional(
            "workdir",
            workdir,
            _why_workdir(decision, options, below),
            _overridden(decision.working_dir, options.workdir),
        ),
        *_optional(
            "stop-signal",
            stop_signal,
            _BY_OPTION if options.stop_signal is not None else decision.evidence[:1],
            _overridden(_stop_signal(decision, options), options.stop_signal),
        ),
    )
    return ConfigDecision(config, reasons)


def _platform(facts: Facts, options: ConvertOptions, subject: Subject) -> tuple[Platform, Reason]:
    if options.platform is not None:
        system, architecture, variant = options.platform
        platform = Platform(architecture, system, variant)
        name = facts.architecture.name
        found = Platform(name, variant=facts.architecture.variant) if name is not None else None
        rejected = _overridden(str(found) if found is not None else None, str(platform))
        return platform, Reason("platform", str(platform), _BY_OPTION, rejected=rejected)
    if subject.below is not None:
        platform = subject.below.platform
        return platform, Reason("platform", str(platform), (_BY_IMAGE,))
    stated = facts.architecture
    if stated.name is None and not subject.needs_platform:
        why = f"nothing tells: {stated.reason}"
        return Platform(_UNKNOWN), Reason("platform", _UNKNOWN, (why,), Confidence.LOW)
    if stated.name is None:
        raise UnsupportedError(
            f"nothing in it tells for which processor it is made: {stated.reason}",
            origin=subject.origin,
            hint="say so, with --platform linux/amd64 for example",
        )
    platform = Platform(stated.name, variant=stated.variant)
    return platform, Reason("platform", str(platform), (str(stated.evidence),))


def _command(
    decision: EntrypointDecision, options: ConvertOptions
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Return entrypoint and cmd; a new entrypoint does not get the arguments of the old one."""
    if options.entrypoint is not None:
        return options.entrypoint, options.cmd
    cmd = decision.cmd if options.cmd is None else options.cmd
    return decision.entrypoint or None, cmd or None


def _stop_signal(decision: EntrypointDecision, options: ConvertOptions) -> str:
    """Return the signal of what was decided; another program may take it for something else."""
    return "" if options.entrypoint is not None else decision.stop_signal or ""


def _ports(
    decision: EntrypointDecision,
    options: ConvertOptions,
    machine: Machine | None,
    below: ImageConfig | None,
) -> tuple[str, ...]:
    """Return the ports: those asked for, or else of the service, the descriptor, and the base.

    A service that was added is started in place of the base's, whose ports nothing serves then.
    """
    found = [str(port) for port in decision.ports]
    of_base = below.exposed_ports if below is not None and decision.service is None else ()
    return options.ports or tuple(dict.fromkeys([*found, *machine_ports(machine), *of_base]))


def data_paths(
    facts: Facts, decision: EntrypointDecision, options: ConvertOptions
) -> frozenset[str]:
    """Return the volumes that are not a base's: of what is started, of fstab, those asked for."""
    found = _data_folders(facts, decision, options)
    return frozenset((*(folder.path for folder in found), *options.volume_paths))


def _data_folders(
    facts: Facts, decision: EntrypointDecision, options: ConvertOptions
) -> tuple[DataFolder, ...]:
    if options.volumes is Volumes.NONE:
        return ()
    own = decision.volumes if options.entrypoint is None else ()
    return (*own, *(folder for folder in facts.volumes if folder.service is None))


def _volumes(
    facts: Facts,
    decision: EntrypointDecision,
    options: ConvertOptions,
    below: ImageConfig | None,
) -> dict[str, Reason]:
    """Return the volumes, each with its reason: of what is started, of fstab, of a base."""
    found: dict[str, Reason] = {}
    for folder in _data_folders(facts, decision, options):
        found[folder.path] = Reason("volume", folder.path, (str(folder.evidence),))
    if options.volumes is not Volumes.NONE:
        for path in below.volumes if below is not None else ():
            found.setdefault(path, Reason("volume", path, (_BY_IMAGE,)))
    for path in options.volume_paths:
        found[path] = Reason("volume", path, _BY_OPTION)
    return {path: found[path] for path in sorted(found)}


def _environment(
    decision: EntrypointDecision, options: ConvertOptions, below: ImageConfig | None
) -> dict[str, str]:
    """Return the variables by name: ``PATH`` first, then sorted."""
    of_base = _pairs(below.env) if below is not None else {}
    merged = of_base | dict(decision.env)
    if "PATH" in of_base and merged["PATH"] == PATH:
        merged["PATH"] = of_base["PATH"]
    for item in options.env:
        name, _, value = item.partition("=")
        merged[name] = value
    return {name: merged[name] for name in sorted(merged, key=lambda name: (name != "PATH", name))}


def _pairs(items: Iterable[str]) -> dict[str, str]:
    return {name: value for name, _, value in (item.partition("=") for item in items)}


def _labels(
    facts: Facts,
    decision: EntrypointDecision,
    options: ConvertOptions,
    subject: Subject,
) -> dict[str, str]:
    """Return labels by name. None tells of the source file: equal content, equal digest."""
    machine, package, below = subject.machine, subject.package, subject.below
    labels = dict(below.labels) if below is not None else {}
    labels[LABEL_CREATED] = timestamp(subject.created)
    system = facts.operating_system
    if package is not None:
        labels[LABEL_TITLE] = package.name
        labels[LABEL_VERSION] = package.version
    elif system is not None and below is None:
        labels[LABEL_TITLE] = system.pretty_name
        if system.version_id is not None:
            labels[LABEL_VERSION] = system.version_id
    if machine is not None:
        labels.update(machine_labels(machine))
        if machine.title is not None:
            labels[LABEL_TITLE] = machine.title
            labels.pop(LABEL_VERSION, None)  # of the system, not of the product
        if machine.version is not None:
            labels[LABEL_VERSION] = machine.version
    if decision.service is not None and options.entrypoint is None:
        labels[LABEL_SERVICE] = decision.service
    for item in options.labels:
        name, _, value = item.partition("=")
        labels[name] = value
    return labels


def _command_reasons(
    config: ImageConfig, decision: EntrypointDecision, options: ConvertOptions
) -> Iterator[Reason]:
    by_option = options.entrypoint is not None
    why = _BY_OPTION if by_option else decision.evidence
    confidence = Confidence.HIGH if by_option else decision.confidence
    losers = tuple(Rejected(loser.name, loser.reason) for loser in decision.losers)
    if config.entrypoint:
        given = shlex.join(config.entrypoint)
        rejected = _overridden(shlex.join(decision.entrypoint), given) if by_option else ()
        yield Reason("entrypoint", given, why, confidence, (*rejected, *losers))
        why, losers = why[:1], ()
    if options.cmd is not None:
        why, confidence = _BY_OPTION, Confidence.HIGH
    if config.cmd or not config.entrypoint:
        given = shlex.join(config.cmd or ())
        is_given = by_option or options.cmd is not None
        rejected = _overridden(shlex.join(decision.cmd), given) if is_given else ()
        yield Reason("cmd", given, why, confidence, (*rejected, *losers))


def _port_reasons(
    config: ImageConfig,
    decision: EntrypointDecision,
    options: ConvertOptions,
    machine: Machine | None,
    below: ImageConfig | None,
) -> Iterator[Reason]:
    stated = machine_ports(machine)
    evidence = {port: f"the machine is meant to serve it: {stated[port].where}" for port in stated}
    evidence |= {str(port): str(port.evidence) for port in decision.ports}
    if below is not None:
        evidence = dict.fromkeys(below.exposed_ports, _BY_IMAGE) | evidence
    sure = {str(port): Confidence(port.confidence) for port in decision.ports}
    if not options.ports:
        for port in config.exposed_ports:
            yield Reason("port", port, (evidence[port],), sure.get(port, Confidence.HIGH))
        return
    others = tuple(
        Rejected(port, f"the ports are given as options; {where}")
        for port, where in evidence.items()
        if port not in config.exposed_ports
    )
    for port in config.exposed_ports:
        yield Reason("port", port, _BY_OPTION, rejected=others)
        others = ()


def _user_reason(
    user: str, decision: EntrypointDecision, options: ConvertOptions, below: ImageConfig | None
) -> Reason:
    is_said = options.user is not None or decision.user is not None or decision.service is not None
    return Reason(
        "user",
        user or "root",
        _why_user(decision, options, below),
        Confidence.HIGH if is_said else Confidence.MEDIUM,
        _overridden(decision.user, options.user),
    )


def _why_user(
    decision: EntrypointDecision, options: ConvertOptions, below: ImageConfig | None
) -> tuple[str, ...]:
    if options.user is not None:
        return _BY_OPTION
    if below is not None and decision.service is None and decision.user == below.user:
        return (_BY_IMAGE,)
    if decision.user is not None:
        return (f"the service runs as this user: {decision.evidence[0]}",)
    return ("nothing asks for another user",)


def _why_workdir(
    decision: EntrypointDecision, options: ConvertOptions, below: ImageConfig | None
) -> tuple[str, ...]:
    if options.workdir:
        return _BY_OPTION
    if below is not None and decision.service is None and decision.working_dir == below.working_dir:
        return (_BY_IMAGE,)
    return decision.evidence[:1]


def _environment_reasons(
    facts: Facts,
    decision: EntrypointDecision,
    options: ConvertOptions,
    environment: dict[str, str],
    below: ImageConfig | None,
) -> Iterator[Reason]:
    given = {item.partition("=")[0] for item in options.env}
    of_base = _pairs(below.env) if below is not None else {}
    found = dict(decision.env)
    of_machine = {item.name: item for item in facts.environment}
    for name, value in environment.items():
        why: tuple[str, ...]
        if name in given:
            why = _BY_OPTION
        elif of_base.get(name) == value:
            why = (_BY_IMAGE,)
        elif name == "PATH":
            why = ("the search path of a login; runtimes need one",)
        elif name in of_machine and of_machine[name].value == value:
            why = (f"the machine gives it to all services: {of_machine[name].evidence}",)
        else:
            why = decision.evidence[:1]
        decided = f"{name}={found[name]}" if name in found else None
        rejected = _overridden(decided, f"{name}={value}") if name in given else ()
        yield Reason("env", f"{name}={value}", why, rejected=rejected)


def _optional(
    field: str, value: str, why: tuple[str, ...], rejected: tuple[Rejected, ...]
) -> Iterator[Reason]:
    if value:
        yield Reason(field, value, why, rejected=rejected)


def _overridden(decided: str | None, given: str | None) -> tuple[Rejected, ...]:
    """Return what would have been decided, where an option says otherwise."""
    if given is None or not decided or decided == given:
        return ()
    return (Rejected(decided, "an option says otherwise"),)
