"""How one service is run without an init system: as a process that stays in the foreground."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace

from convert.inspect.accounts import Accounts
from convert.inspect.config_files import ConfigLine, config_lines
from convert.inspect.data_folders import data_folders_of
from convert.inspect.evidence import Evidence
from convert.inspect.facts import DataFolder, Facts, Port, RuntimeFolder, Service
from convert.inspect.first_process import Handler, needed_handler
from convert.inspect.guest import Guest
from convert.inspect.ports import ports_of
from convert.inspect.programs import Program, is_umbrella, program_of, program_position
from convert.inspect.shell import exports
from convert.inspect.text import can_be_said, encoded
from formats.core.entry import Kind

_STAYS = frozenset({"simple", "exec", "notify", "notify-reload", "idle"})
"""Types whose main process is the one that ExecStart= starts: systemd.service(5)."""

_SHELL = "/bin/sh"
_PROGRAM_FOLDERS = ("/usr/bin", "/usr/sbin", "/bin", "/sbin")
_APPLET_BINARIES = (b"busybox", b"toybox")

_SIGNAL = re.compile(r"(?:SIG)?([A-Z][A-Z0-9]*(?:[+-]\d{1,2})?)|(\d{1,2})")


@dataclass(frozen=True, slots=True)
class Form:
    """A service ready to be an entrypoint.

    :ivar fixed_words: how many of ``argv`` are no arguments that a user may replace.
    :ivar user: ``uid`` or ``uid:gid``; None for root.
    :ivar ports: also those that only the service itself reaches.
    :ivar data: the folders that it keeps its data in.
    :ivar evidence: where each part comes from, a sentence each.
    """

    service: Service
    argv: tuple[str, ...]
    fixed_words: int = 1
    user: str | None = None
    environment: tuple[tuple[str, str], ...] = ()
    ports: tuple[Port, ...] = ()
    stop_signal: str | None = None
    runtime_folders: tuple[RuntimeFolder, ...] = ()
    data: tuple[DataFolder, ...] = ()
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


def foreground_form(
    service: Service, facts: Facts, guest: Guest, accounts: Accounts
) -> Form | NotRun | NeedsInit:
    """Return the command that keeps a service in the foreground, with what it needs.

    The table of programs knows better than the unit: it takes out what only makes sense under
    systemd. Without a row, a unit whose process stays in the foreground anyway is taken as it is.
    """
    program = program_of(service, is_applet=_is_applet(service, guest))
    refusal = _refusal(service, program, facts)
    if refusal is not None:
        return refusal
    own = service.start[0].argv if service.start else ()
    lines: list[ConfigLine] = []
    if program is not None:
        lines = list(config_lines(guest, program, service))
    argv = own if program is None else _foreground(program, own, lines, guest)
    if not argv or not _is_program(guest, argv[0]):
        return NotRun(service, f"its program {argv[0] if argv else ''} is not in the tree")
    if not all(map(can_be_said, argv)):
        return NeedsInit(service, "its command is not UTF-8, which an image config has to be")
    user = _user(service, program, accounts)
    if isinstance(user, NeedsInit):
        return user
    stop_signal = _signal(service.kill_signal) or (program.stop_signal if program else None)
    handler = None
    if program is None and _is_program(guest, _SHELL):
        handler = needed_handler(guest, argv, service.working_dir, stop_signal)
    started = _in_shell(program, handler, argv, guest)
    return Form(
        service=service,
        argv=started,
        fixed_words=1 + len(started) - len(argv),
        user=user,
        environment=_environment(service, program, guest),
        ports=ports_of(service, program, facts.sockets, argv, lines),
        stop_signal=stop_signal,
        runtime_folders=_folders(service, program, facts, accounts),
        data=data_folders_of(service, program, argv, lines, guest),
        evidence=tuple(_evidence(service, program, handler)),
    )


def _refusal(service: Service, program: Program | None, facts: Facts) -> NotRun | NeedsInit | None:
    """Return why there is no such command, as far as the unit tells."""
    if service.kind == "oneshot" and (program is None or not is_umbrella(service)):
        return NotRun(service, "runs once and ends; it is not run in the container")
    if service.root_dir is not None and service.root_dir != "/":
        return NeedsInit(service, f"has {service.root_dir} for its root folder")
    for socket in facts.sockets:
        if socket.service != service.name:
            continue
        if socket.is_per_connection:
            return NeedsInit(service, f"runs once per connection to {socket.name}.socket")
        if program is None:
            return NeedsInit(service, f"systemd hands it the connections of {socket.name}.socket")
    if program is not None:
        return None
    if not service.start:
        return NeedsInit(service, f"{service.evidence} does not say which program it starts")
    if service.kind == "dbus":
        return NeedsInit(service, "needs the system's message bus")
    if service.kind not in _STAYS:
        name = service.start[0].argv[0]
        return NeedsInit(service, f"{name} goes to the background, and no other way is known")
    return None


def _foreground(
    program: Program, own: tuple[str, ...], lines: list[ConfigLine], guest: Guest
) -> tuple[str, ...]:
    """Return the service's own command in the form that the table gives its program."""
    position = program_position(own)
    interpreter, executable = own[:position], own[position] if own else ""
    folder, _, own_name = executable.rpartition("/")
    arguments = own[position + 1 :]
    for name in program.programs:
        path = name if name.startswith("/") else f"{folder}/{name}"
        if _is_program(guest, path):
            if path.rpartition("/")[2] != own_name:  # what is for a wrapper is not for the program
                arguments = ()
            interpreter, executable = (), path
            break
    kept = program.own_arguments(arguments)
    unless = program.append_unless
    if unless and any(unless.search(text) for text in (*kept, *(line.text for line in lines))):
        return (*interpreter, executable, *kept)
    return (*interpreter, executable, *kept, *program.append)


def _in_shell(
    program: Program | None, handler: Handler | None, argv: tuple[str, ...], guest: Guest
) -> tuple[str, ...]:
    """Return a command as what it needs before it, or the script of its row, starts it."""
    if handler is not None:
        return (_SHELL, "-c", handler.script, *argv)
    if program is None or program.shell is None or not _is_program(guest, _SHELL):
        return argv
    needed = program.shell_needs
    if needed is not None and not any(
        _is_program(guest, f"{folder}/{needed}") for folder in _PROGRAM_FOLDERS
    ):
        return argv
    return (_SHELL, "-c", program.shell, *argv)


def _is_applet(service: Service, guest: Guest) -> bool:
    """Tell whether the command is a name of busybox or toybox, whose options are its own."""
    entry = guest.index.resolve(encoded(service.start[0].argv[0])) if service.start else None
    return entry is not None and entry.name.startswith(_APPLET_BINARIES)


def _is_program(guest: Guest, path: str) -> bool:
    entry = guest.index.resolve(encoded(path))
    return entry is not None and entry.kind in {Kind.FILE, Kind.HARDLINK} and entry.mode & 0o111 > 0


def _user(service: Service, program: Program | None, accounts: Accounts) -> str | NeedsInit | None:
    """Return the user as numbers, since a runtime need not read the passwd file; None for root.

    Without the group where there are further ones: a runtime that is told one takes no others.
    """
    name = service.user
    if name is None and program is not None and program.user and accounts.user(program.user):
        name = program.user
    account = accounts.user(name or "root")
    if name is not None and account is None:
        return NeedsInit(service, f"its user '{name}' is not in /etc/passwd")
    uid, gid = (account.uid, account.gid) if account is not None else (0, 0)
    if service.group is not None:
        stated = accounts.group_id(service.group)
        if stated is None:
            return NeedsInit(service, f"its group '{service.group}' is not in /etc/group")
        if stated != gid:
            return f"{uid}:{stated}"
    if uid == 0:
        return None
    return str(uid) if account is not None and account.has_groups else f"{uid}:{gid}"


def _signal(stated: str | None) -> str | None:
    """Return a signal as an image config names it: ``SIGTERM``, ``SIGRTMIN+3``, or a number."""
    match = _SIGNAL.fullmatch(stated or "")
    if match is None:
        return None
    return match[2] or f"SIG{match[1].removeprefix('SIG')}"


def _environment(
    service: Service, program: Program | None, guest: Guest
) -> tuple[tuple[str, str], ...]:
    environment: dict[str, str] = {}
    if program is not None:
        environment |= dict(program.environment)
        if program.environment_file is not None:
            environment |= exports(guest, program.environment_file)
    environment |= dict(service.environment)
    return tuple(item for item in sorted(environment.items()) if can_be_said(item[1]))


def _folders(
    service: Service, program: Program | None, facts: Facts, accounts: Accounts
) -> tuple[RuntimeFolder, ...]:
    """Return the folders it needs, by path; what is made last before it starts has the last word.

    That is: its own script's, as the table has them; those of tmpfiles.d; those of its unit.
    """
    evidence = replace(service.evidence, rule="program-table")
    found: dict[bytes, RuntimeFolder] = {}
    for folder in program.folders if program is not None else ():
        owner = accounts.user(folder.owner)
        if owner is not None:
            found[folder.path] = RuntimeFolder(
                folder.path, folder.mode, owner.uid, owner.gid, evidence
            )
    found |= {folder.path: folder for folder in (*facts.runtime_folders, *service.runtime_folders)}
    return tuple(found[path] for path in sorted(found))


def _evidence(service: Service, program: Program | None, handler: Handler | None) -> Iterator[str]:
    command: Evidence = service.start[0].evidence if service.start else service.evidence
    if program is not None:
        yield f"its command is that of {command}, in the foreground form of {program.name}"
    else:
        yield f"its command is that of {command}, in the foreground by itself ({service.kind})"
    if handler is not None:
        yield handler.why
    if service.user is None and program is not None and program.user is not None:
        yield f"no user is stated; {program.name} runs as {program.user} where there is one"
    if service.umask is not None:
        yield f"not set, since an image config cannot say it: UMask={service.umask}"
    for step in service.start_pre:
        yield f"not run before it: {shlex.join(step.argv)}, {step.evidence}"
    for step in service.start_post:
        yield f"not run after it: {shlex.join(step.argv)}, {step.evidence}"
