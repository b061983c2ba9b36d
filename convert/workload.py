"""What to start of what was gathered: a system's service, a package's, an application, a base's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from convert.content import Content, Nature
from convert.inspect.application import Application, decide_application
from convert.inspect.arch import (
    architecture_named,
    architecture_of_packages,
    architecture_of_programs,
)
from convert.inspect.entrypoint import (
    PATH,
    EntrypointDecision,
    Loser,
    decide_each,
    decide_entrypoint,
)
from convert.inspect.evidence import Evidence
from convert.inspect.facts import Architecture, Facts, Service
from convert.inspect.guest import Guest
from convert.inspect.text import encoded
from convert.inspect.tree import inspect_tree
from convert.oci.config import ImageConfig
from formats.archives.facts import ARCHITECTURE, INTERPRETER, RUNS_WITH
from formats.core.entry import Entry, Kind
from formats.core.finding import Action, Finding
from formats.core.tree import TreeIndex

if TYPE_CHECKING:
    from convert.images.opening import OpenedImage

_JAR = "jar"


def inspect_content(content: Content, whole: TreeIndex) -> Facts:
    """Return what a container would find out about itself, and for which processor it is made."""
    is_packages = content.nature is Nature.PACKAGES
    facts = inspect_tree(
        whole, has_units=is_packages, is_all_packaged=is_packages and content.base is None
    )
    return replace(facts, architecture=_architecture(content, whole, facts.architecture))


def _architecture(content: Content, whole: TreeIndex, found: Architecture) -> Architecture:
    """Return the architecture: of a base, of the system, of packages, of any program."""
    config = content.config_below
    if config is not None:
        platform = config.platform
        where = "the base image" if content.base is not None else "the image's own config"
        return Architecture(platform.architecture, platform.variant, Evidence(b"", None, where))
    if content.packages:
        stated = architecture_of_packages(content.packages)
        if stated.name is not None:
            return stated
    stated_name = content.tree.info.facts.get(ARCHITECTURE, "")
    said = architecture_named(stated_name, "the archive says so")
    if found.name is None and said is not None:
        return said
    if found.name is None and content.nature is not Nature.SYSTEM:
        of_programs = architecture_of_programs(Guest(whole), content.tree.entries())
        return of_programs if of_programs.name is not None else found
    return found


def decide_workload(
    content: Content, facts: Facts, whole: TreeIndex, wanted: str | None = None
) -> tuple[EntrypointDecision, tuple[Finding, ...]]:
    """Choose what to run; what a base runs counts where nothing new is to be run.

    :param wanted: name of the service to take.
    :raises UsageError: if there is none of that name.
    :raises UnsupportedError: if it cannot run by itself.
    """
    if wanted is not None:
        return decide_entrypoint(facts, whole, wanted=wanted), ()
    if content.nature is Nature.IMAGE and content.own_config is not None:
        return _of_config(content.own_config, "the image's own config says so"), ()
    if content.nature is Nature.SYSTEM:
        return decide_entrypoint(facts, whole), ()
    entries = list(content.tree.entries())
    if content.nature is Nature.SCRIPT:
        of_script, lacks = _of_script(content, whole, entries)
        return _as_after_from(of_script, content.base), lacks
    decision = None
    if content.nature is Nature.PACKAGES:
        decision = _of_packages(facts, whole, entries)
    if decision is None:
        programs = _asked_for(content, entries)
        decision = decide_application(Application(whole, programs, content.top))
        decision = _as_after_from(decision, content.base)
    if not decision.entrypoint and content.base is not None:
        config = content.base.config
        if config.entrypoint or config.cmd:
            decision = _of_config(config, f"{decision.evidence[0]}; as in the base image")
    return decision, ()


def decide_services(
    content: Content, facts: Facts, whole: TreeIndex
) -> tuple[tuple[EntrypointDecision, ...], tuple[Loser, ...]]:
    """Return what is started in a container of its own each, and the services that are not."""
    if content.nature is Nature.PACKAGES:
        new = {entry.path for entry in content.tree.entries()}
        return decide_each(facts, whole, is_meant=lambda service: service.enabled_by.path in new)
    return decide_each(facts, whole)


def _as_after_from(decision: EntrypointDecision, base: OpenedImage | None) -> EntrypointDecision:
    """Return the decision for a program that does not say who runs it, and where: as its base.

    A service says so even where it says nothing: an init system then runs it as root, in ``/``.
    """
    if base is None:
        return decision
    return replace(
        decision,
        user=decision.user or base.config.user or None,
        working_dir=decision.working_dir or base.config.working_dir or None,
    )


def _of_script(
    content: Content, whole: TreeIndex, entries: list[Entry]
) -> tuple[EntrypointDecision, tuple[Finding, ...]]:
    """Return how a script or a jar is started, and what the base lacks for it."""
    path = next(entry.path for entry in entries if entry.kind is Kind.FILE)
    decision = decide_application(Application(whole, (), script=path))
    facts = content.tree.info.facts
    if content.tree.info.format == _JAR and decision.entrypoint:
        jar = decision.entrypoint[0]
        decision = replace(decision, entrypoint=("java",), cmd=("-jar", jar))
    wanted = dict.fromkeys(filter(None, (facts.get(INTERPRETER), facts.get(RUNS_WITH))))
    return decision, tuple(_lacks(whole, path, wanted))


def _of_packages(facts: Facts, whole: TreeIndex, entries: list[Entry]) -> EntrypointDecision | None:
    """Return the service that the packages bring; None if they bring none."""
    new = {entry.path for entry in entries}

    def is_meant(service: Service) -> bool:
        return service.enabled_by.path in new

    if not any(is_meant(service) for service in facts.services):
        return None
    meant = [
        replace(service, not_workload=None) if is_meant(service) else service
        for service in facts.services
    ]
    decision = decide_entrypoint(replace(facts, services=tuple(meant)), whole, is_meant=is_meant)
    return decision if decision.entrypoint else None


def _asked_for(content: Content, entries: list[Entry]) -> list[Entry]:
    """Return what is new of the packages that were asked for; all that is new if there are none."""
    asked = content.packages[: content.requested]
    paths = {path for package in asked for path in package.digests}
    if not paths:
        return entries
    return [entry for entry in entries if entry.path in paths or _unmerged(entry.path) in paths]


def _unmerged(path: bytes) -> bytes:
    """Return where a package has a file that lies below ``/usr`` by now."""
    return path.removeprefix(b"usr/")


def _of_config(config: ImageConfig, why: str) -> EntrypointDecision:
    env = dict(item.partition("=")[::2] for item in config.env)
    return EntrypointDecision(
        tuple(config.entrypoint or ()),
        tuple(config.cmd or ()),
        (why,),
        user=config.user or None,
        working_dir=config.working_dir or None,
        env=tuple(sorted(({"PATH": PATH} | env).items())),
        stop_signal=config.stop_signal or None,
    )


def _lacks(whole: TreeIndex, script: bytes, wanted: Iterable[str]) -> Iterator[Finding]:
    """Yield which of the programs that a script is run by are not there."""
    for program in wanted:
        folders = ("",) if program.startswith("/") else PATH.split(":")
        if not any(whole.resolve(encoded(f"{folder}/{program}")) for folder in folders):
            evidence = f"the base image has no {program}, which has to run it: it cannot start"
            yield Finding("interpreter-missing", script, Action.REPORTED, evidence)
