"""All that goes into a Dockerfile, before it is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from convert.dockerfile.accounts import Accounts, Line, read_accounts
from convert.dockerfile.bases import Base, base_of
from convert.dockerfile.choose import Chosen, choose_packages
from convert.dockerfile.differ import (
    Circumstances,
    Differences,
    find_differences,
    folders_of_service,
)
from convert.dockerfile.originals import Originals, read_originals
from convert.dockerfile.place import Placed, place
from convert.dockerfile.sources import Sources, third_party_sources
from convert.dockerfile.wanted import Wanted, wanted_packages
from convert.inspect.entrypoint import PATH
from convert.inspect.facts import RuntimeFolder
from convert.inspect.text import encoded
from convert.options import ConvertOptions, Secrets
from convert.packages.installed import installed_packages
from convert.plan import Plan
from convert.secrets.kinds import RULE_PREFIX
from convert.services.health import health_check
from formats.core.entry import Entry, Kind, join
from formats.core.errors import UnsupportedError
from formats.core.finding import Action, Finding
from formats.core.tree import TreeIndex

RECORD_RULE = "dockerfile-package-record"
_LOGINS = frozenset({"ssh", "sshd", "dropbear"})


@dataclass(frozen=True, slots=True)
class Draft:
    """What a Dockerfile says.

    :ivar index: the tree, as an image of it would have it.
    :ivar groups: lines of group(5) to add; ``users`` likewise of passwd(5).
    :ivar before: files that are there before packages are installed.
    :ivar after: files that lie over what packages brought.
    :ivar health: a command that succeeds when the service answers; None where none is known.
    :ivar runtime_folders: what a service needs below ``/run``, which nothing else makes.
    :ivar findings: what of the machine is not in it.
    """

    plan: Plan
    index: TreeIndex
    base: Base
    wanted: Wanted
    chosen: Chosen
    sources: Sources
    accounts: Accounts
    groups: tuple[Line, ...]
    users: tuple[Line, ...]
    before: Placed
    after: Placed
    differences: Differences
    runtime_folders: tuple[RuntimeFolder, ...]
    has_certificates: bool
    health: tuple[str, ...] | None
    findings: tuple[Finding, ...]


def draft_of(plan: Plan, options: ConvertOptions) -> Draft:
    """Decide what a Dockerfile of a system says.

    :raises UnsupportedError: if there is no official image of it, or it is no system.
    :raises formats.core.errors.ConvertError: if its package database cannot be read.
    """
    decisions = plan.decisions
    origin = plan.tree.origin
    if plan.base is not None or decisions.packages:
        raise UnsupportedError(
            "is no system with a package manager of its own",
            origin=origin,
            hint="'convert run' makes an image of packages and archives",
        )
    base = base_of(decisions.facts.operating_system, origin)
    index = TreeIndex(plan.tree, options.limits)
    packages = installed_packages(index)
    system = base.manager.system
    wanted, problem = wanted_packages(index, packages, system)
    originals = read_originals(index)
    entrypoint = decisions.entrypoint
    chosen = choose_packages(
        wanted, packages, system, _started(plan, index, originals), init=entrypoint.init is not None
    )
    sources = third_party_sources(index, originals, system)
    around = _circumstances(plan, options, chosen, sources)
    differences = find_differences(index, originals, around)
    hidden = [entry for entry in sources.entries if entry.path in around.secrets]
    open_sources = [entry for entry in sources.entries if entry.path not in around.secrets]
    accounts = read_accounts(index)
    groups, users = _people(plan, accounts, differences.entries, entrypoint.runtime_folders)
    return Draft(
        plan,
        index,
        base,
        wanted,
        chosen,
        sources,
        accounts,
        tuple(groups),
        tuple(users),
        place(open_sources, accounts),
        place(differences.entries, accounts),
        differences,
        tuple(folders_of_service(entrypoint.runtime_folders)),
        any(_is_certificate(entry) for entry in differences.entries),
        _health(plan, index, originals, chosen),
        (*_of_record(problem), *_of_hidden(hidden, around.secrets), *differences.findings),
    )


def _started(plan: Plan, index: TreeIndex, originals: Originals) -> Iterator[str]:
    """Yield the packages of what is started: of its unit, and of each program that is named."""
    config, decisions = plan.config, plan.decisions
    paths = [
        service.evidence.path
        for service in decisions.facts.services
        if service.name == decisions.entrypoint.service
    ]
    words = map(encoded, (*(config.entrypoint or ()), *(config.cmd or ())))
    paths += [word for word in words if word.startswith(b"/") and _is_program(index, word)]
    for path in paths:
        folder, _, name = path.strip(b"/").rpartition(b"/")
        around, found = index.resolve(folder), index.resolve(path)
        places = [join(around.path, name)] if around is not None else []
        places += [found.path] if found is not None else []  # /sbin/init is a link to systemd
        for packaged in places:
            owner = originals.owners.get(packaged)
            if owner is not None:
                yield owner


def _is_program(index: TreeIndex, path: bytes) -> bool:
    found = index.resolve(path)
    return found is not None and found.kind is not Kind.FOLDER and bool(found.mode & 0o111)


def _health(
    plan: Plan, index: TreeIndex, originals: Originals, chosen: Chosen
) -> tuple[str, ...] | None:
    """Return how to ask the service whether it answers, with a program that the image has."""
    decision = plan.decisions.entrypoint
    if decision.service is None or plan.config.entrypoint != decision.entrypoint:
        return None
    test = health_check(decision.service, [port.number for port in decision.ports], index)
    if test is None:
        return None
    for folder in PATH.split(":"):
        found = index.resolve(encoded(f"{folder}/{test[0]}"))
        if found is not None:
            is_there = originals.owners.get(found.path) not in {None, *chosen.weak}
            return test if is_there else None
    return None


def _circumstances(
    plan: Plan, options: ConvertOptions, chosen: Chosen, sources: Sources
) -> Circumstances:
    decisions = plan.decisions
    data = [volume.path for volume in decisions.facts.volumes]
    folders = {encoded(path.strip("/")) for path in (*data, *plan.config.volumes)}
    secrets = {} if options.secrets is Secrets.KEEP else _secrets(decisions.findings)
    by_rules = {item.entry.path for item in plan.treated}
    return Circumstances(
        init=decisions.entrypoint.init is not None,
        service=decisions.entrypoint.service,
        absent=chosen.absent,
        treated=frozenset(by_rules | {entry.path for entry in sources.entries}),
        secrets=secrets,
        data=tuple(sorted(folder for folder in folders if folder)),
    )


def _secrets(findings: Iterable[Finding]) -> Mapping[bytes, str]:
    """Return what is secret about files: the kind, without the prefix of rules."""
    return {
        finding.path: finding.rule.removeprefix(RULE_PREFIX)
        for finding in findings
        if finding.rule.startswith(RULE_PREFIX) and finding.path
    }


def _people(
    plan: Plan, accounts: Accounts, entries: Iterable[Entry], folders: Iterable[RuntimeFolder]
) -> tuple[list[Line], list[Line]]:
    uids = {entry.uid for entry in entries} | {folder.uid for folder in folders}
    gids = {entry.gid for entry in entries} | {folder.gid for folder in folders}
    user, _, group = plan.config.user.partition(":")
    uids |= {
        line.number for line in accounts.users.values() if user in {line.name, str(line.number)}
    }
    gids |= {
        line.number for line in accounts.groups.values() if group in {line.name, str(line.number)}
    }
    if plan.decisions.entrypoint.service in _LOGINS:
        uids |= {account.uid for account in plan.decisions.facts.accounts}
    return accounts.needed(uids, gids)


def _is_certificate(entry: Entry) -> bool:
    return entry.kind is not Kind.FOLDER and entry.path.startswith(
        (b"usr/local/share/ca-certificates/", b"etc/pki/ca-trust/source/anchors/")
    )


def _of_record(problem: str | None) -> Iterator[Finding]:
    if problem is not None:
        yield Finding(RECORD_RULE, b"", Action.REPORTED, problem)


def _of_hidden(hidden: Iterable[Entry], secrets: Mapping[bytes, str]) -> Iterator[Finding]:
    for entry in hidden:
        evidence = f"it holds a secret ({secrets[entry.path]}), and packages come from there"
        yield Finding("dockerfile-left-out", entry.path, Action.DROPPED, evidence)
