"""How one service is run without an init system: as a process that stays in the foreground."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from convert.inspect.accounts import Accounts
from convert.inspect.facts import Evidence, Facts, Port, RuntimeFolder, Service
from convert.inspect.ports import ports_of
from convert.inspect.programs import Program, is_umbrella, program_of
from convert.inspect.text import assignments
from formats.core.entry import Kind
from formats.core.tree import TreeIndex


@dataclass(frozen=True, slots=True)
class Form:
    """A service ready to be an entrypoint.

    :ivar user: ``uid:gid``; None for root.
    :ivar evidence: where each part comes from, a sentence each.
    """

    service: Service
    argv: tuple[str, ...]
    user: str | None = None
    environment: tuple[tuple[str, str], ...] = ()
    ports: tuple[Port, ...] = ()
    stop_signal: str | None = None
    runtime_folders: tuple[RuntimeFolder, ...] = ()
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotRun:
    """A service that the container does without."""

    service: Service
    reason: str


@dataclass(frozen=True, slots=True)
class NeedsInit:
    """A workload that only an init system can run."""

    service: Service
    reason: str


_STAYS = frozenset({"simple", "exec", "notify", "notify-reload", "idle"})
"""Types whose main process is the one that ExecStart= starts: systemd.service(5)."""


def foreground_form(
    service: Service, facts: Facts, index: TreeIndex, accounts: Accounts
) -> Form | NotRun | NeedsInit:
    """Return the command that keeps a service in the foreground, with what it needs.

    The table of programs knows better than the unit: it takes out what only makes sense under
    systemd. Without a row, a unit whose process stays in the foreground anyway is taken as it is.
    """
    program = program_of(service)
    refusal = _refusal(service, program)
    if refusal is not None:
        return refusal
    argv = _argv(service, program, index)
    if not argv or not _is_program(index, argv[0]):
        return NotRun(service, f"its program {argv[0] if argv else ''} is not in the tree")
    if not all(_can_be_said(word) for word in argv):
        return NeedsInit(service, "its command is not UTF-8, which an image config has to be")
    user = _user(service, program, accounts)
    if isinstance(user, NeedsInit):
        return user
    environment = _environment(service, program, index)
    return Form(
        service=service,
        argv=argv,
        user=user,
        environment=tuple(item for item in environment if _can_be_said("".join(item))),
        ports=ports_of(index, service, program, facts.sockets, argv),
        stop_signal=service.kill_signal or (program.stop_signal if program else None),
        runtime_folders=(*service.runtime_folders, *_folders(service, program, index, accounts)),
        evidence=tuple(_evidence(service, program)),
    )


def _refusal(service: Service, program: Program | None) -> NotRun | NeedsInit | None:
    if service.kind == "oneshot" and (program is None or not is_umbrella(service)):
        return NotRun(service, "runs once and ends; it is not run in the container")
    if program is not None:
        return None
    if not service.start:
        reason = f"the script {service.evidence} does not say which program it starts"
        return NeedsInit(service, reason)
    if service.kind == "dbus":
        return NeedsInit(service, "needs the system's message bus")
    if service.kind not in _STAYS:
        name = service.start[0].argv[0]
        return NeedsInit(service, f"{name} goes to the background, and no other way is known")
    return None


def _argv(service: Service, program: Program | None, index: TreeIndex) -> tuple[str, ...]:
    own = service.start[0].argv if service.start else ()
    if program is None:
        return own
    executable = own[0] if own else ""
    folder = executable.rpartition("/")[0]
    for name in program.programs:
        path = name if name.startswith("/") else f"{folder}/{name}"
        if _is_program(index, path):
            same = path.rpartition("/")[2] == executable.rpartition("/")[2]
            return (path, *program.foreground_arguments(own[1:] if same else ()))
    if not executable:
        return ()
    return (executable, *program.foreground_arguments(own[1:]))


def _is_program(index: TreeIndex, path: str) -> bool:
    entry = index.resolve(path.encode("utf-8", "surrogateescape"))
    return entry is not None and entry.kind in {Kind.FILE, Kind.HARDLINK} and entry.mode & 0o111 > 0


def _can_be_said(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" or character == "\0" for character in text)


def _user(service: Service, program: Program | None, accounts: Accounts) -> str | NeedsInit | None:
    """Return ``uid:gid``, None for root; numbers, since a runtime may not read the passwd file."""
    name = service.user
    if name is None and program is not None and program.user in accounts.users:
        name = program.user
    if name is None or name == "root":
        return None
    account = accounts.user(name)
    if account is None:
        return NeedsInit(service, f"its user '{name}' is not in /etc/passwd")
    gid = accounts.group_id(service.group) if service.group else account.gid
    if gid is None:
        return NeedsInit(service, f"its group '{service.group}' is not in /etc/group")
    return f"{account.uid}:{gid}"


def _environment(
    service: Service, program: Program | None, index: TreeIndex
) -> list[tuple[str, str]]:
    environment: dict[str, str] = {}
    if program is not None:
        environment |= dict(program.environment)
        if program.environment_file is not None:
            environment |= _exports(index, program.environment_file)
    environment |= dict(service.environment)
    return sorted(environment.items())


def _exports(index: TreeIndex, path: bytes) -> dict[str, str]:
    """Return what a shell file exports, its own variables expanded; nothing else is run."""
    known: dict[str, str] = {}
    exported: dict[str, str] = {}
    for item in assignments(index, path):
        value = re.sub(
            r"\$(?:\{(\w+)\}|(\w+))",
            lambda match: known.get(match[1] or match[2], ""),
            item.value,
        )
        known[item.name] = value
        if item.is_exported:
            exported[item.name] = value
    return exported


def _folders(
    service: Service, program: Program | None, index: TreeIndex, accounts: Accounts
) -> Iterator[RuntimeFolder]:
    for folder in program.folders if program is not None else ():
        owner = accounts.user(folder.owner)
        if owner is None or index.resolve(folder.path.partition(b"/")[0]) is None:
            continue
        evidence = Evidence(service.evidence.path, service.evidence.line, "program-table")
        yield RuntimeFolder(folder.path, folder.mode, owner.uid, owner.gid, evidence)


def _evidence(service: Service, program: Program | None) -> Iterator[str]:
    command = service.start[0].evidence if service.start else service.evidence
    if program is not None:
        yield f"its command is that of {command}, in the foreground form of {program.name}"
    else:
        yield f"its command is that of {command}, in the foreground by itself ({service.kind})"
    for step in service.start_pre:
        yield f"not run before it: {' '.join(step.argv)}, {step.evidence}"
