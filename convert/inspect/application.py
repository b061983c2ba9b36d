"""What to start of an application that is no system: a package, an archive, a script.

In this order: the command of a Procfile, the script itself, the only program in a folder for
programs, the only one at the top. What is not the only one is never guessed.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from convert.inspect.entrypoint import PATH, EntrypointDecision
from convert.inspect.guest import Guest
from convert.inspect.text import can_be_said
from convert.reasons import Confidence
from formats.core.entry import Entry, Kind, join
from formats.core.origin import printable
from formats.core.tree import TreeIndex

_PROGRAM_FOLDERS = frozenset({b"bin", b"sbin", b"games"})
_PROCFILE = b"Procfile"
_PREFERRED_PROCESS = "web"
_PROGRAM_STARTS = (b"\x7fELF", b"#!")
_NAMED = 5
"""Programs that are named where there are several."""


@dataclass(frozen=True, slots=True)
class Application:
    """What was added to a tree, to be looked at for something to start.

    :ivar index: of everything, whatever it lies on included.
    :ivar entries: what is new.
    :ivar top: folder that it was put into.
    :ivar script: path of a lone script.
    """

    index: TreeIndex
    entries: Sequence[Entry]
    top: bytes = b""
    script: bytes | None = None


def decide_application(application: Application) -> EntrypointDecision:
    """Choose what to start; nothing, with the reason, where that would be a guess."""
    if application.script is not None:
        return _program(application.script, "it is the script", Confidence.HIGH)
    of_procfile = _of_procfile(application)
    if of_procfile is not None:
        return of_procfile
    programs = list(_programs(application))
    in_folders = [entry for entry in programs if _is_in_program_folder(entry.path)]
    at_top = [entry for entry in programs if entry.parent == application.top]
    for found, where in ((in_folders, "in a folder for programs"), (at_top, "at its top")):
        if len(found) == 1:
            return _program(found[0].path, f"it is the only program {where}")
        if found:
            names = ", ".join(f"/{printable(entry.path)}" for entry in found[:_NAMED])
            more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
            return _nothing(f"{len(found)} programs {where} ({names}{more}); choose: --entrypoint")
    return _nothing("no service and no program in it; say what to start with --entrypoint")


def _nothing(why: str) -> EntrypointDecision:
    return EntrypointDecision((), (), (f"nothing to start: {why}",), Confidence.LOW)


def _program(
    path: bytes, why: str, confidence: Confidence = Confidence.MEDIUM
) -> EntrypointDecision:
    shown = f"/{printable(path)}"
    word = "/" + path.decode("utf-8", "surrogateescape")
    if not can_be_said(word):
        return _nothing(f"the name of {shown} cannot be written into a config")
    return EntrypointDecision((word,), (), (f"{shown}: {why}",), confidence)


def _of_procfile(application: Application) -> EntrypointDecision | None:
    """Return the web process of a Procfile, or its only one."""
    path = join(application.top, _PROCFILE)
    guest = Guest(application.index)
    processes: dict[str, tuple[int, str]] = {}
    for number, line in guest.lines(path):
        name, colon, command = line.partition(":")
        if colon and name.strip() and command.strip() and not line.startswith("#"):
            processes.setdefault(name.strip(), (number, command.strip()))
    if not processes:
        return None
    if len(processes) > 1 and _PREFERRED_PROCESS not in processes:
        names = ", ".join(sorted(processes))
        return _nothing(f"/{printable(path)} has several processes ({printable(names)})")
    name = _PREFERRED_PROCESS if _PREFERRED_PROCESS in processes else next(iter(processes))
    number, command = processes[name]
    if not can_be_said(command):
        return _nothing(f"the command in /{printable(path)} cannot be written into a config")
    folder = "/" + application.top.decode("utf-8", "surrogateescape")
    entrypoint, cmd = _command_of(command)
    decision = EntrypointDecision(
        entrypoint, cmd, (f"process {printable(name)} of /{printable(path)}:{number}",)
    )
    return replace(decision, working_dir=folder, env=(("PATH", _path_with(folder)),))


def _command_of(command: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return entrypoint and cmd: the words, or a shell where the command needs one."""
    if not any(sign in command for sign in "$&|;<>*?`(){}~"):
        try:
            words = tuple(shlex.split(command))
        except ValueError:
            words = ()
        if words:
            return words[:1], words[1:]
    return ("/bin/sh", "-c", command), ()


def _path_with(folder: str) -> str:
    return f"{folder.rstrip('/')}/bin:{PATH}" if can_be_said(folder) and ":" not in folder else PATH


def _programs(application: Application) -> Iterator[Entry]:
    """Yield the new files that are made to be started."""
    for entry in application.entries:
        is_file = entry.kind in {Kind.FILE, Kind.HARDLINK}
        if is_file and entry.mode & 0o111 and entry.size:
            is_placed = _is_in_program_folder(entry.path) or entry.parent == application.top
            if is_placed and _starts_as_program(application.index, entry.path):
                yield entry


def _starts_as_program(index: TreeIndex, path: bytes) -> bool:
    entry = index.get(path)
    return entry is not None and index.head(entry, 4).startswith(_PROGRAM_STARTS)


def _is_in_program_folder(path: bytes) -> bool:
    folder = path.rpartition(b"/")[0]
    return folder.rpartition(b"/")[2] in _PROGRAM_FOLDERS
