"""Programs that no signal would end in a container, and what starts them so that it does.

A signal that a program leaves to the kernel ends it, except where it is the first process of a
container: that one gets only what it has a handler for. An interpreter has none unless the program
that it runs makes one, so that stopping would wait out its time and then kill. A shell as the first
process, which hands the signal on, gives such a program what it had on the machine.

https://man7.org/linux/man-pages/man7/pid_namespaces.7.html, "The namespace init process"
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from posixpath import join

from convert.inspect.guest import TEXT_MAX_BYTES, Guest
from convert.inspect.text import encoded
from formats.core.entry import Kind

_INTERPRETERS = ("python*", "node", "nodejs", "perl*", "php", "php[0-9]*")
"""Names of those that leave SIGTERM to the kernel; Ruby and Java have handlers of their own."""

_SHEBANG = re.compile(rb"#! ?(\S+)(?: (\S+))?")
_SHEBANG_MAX = 256
_MODULE_OPTIONS = frozenset({"-m", "-c", "-e", "-r"})
_FILES = frozenset({Kind.FILE, Kind.HARDLINK})
_ENDINGS = ("", ".js", "/index.js", "/__main__.py")

_HANDED_ON = frozenset({"SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"})
"""What a shell starts in the background ignores SIGINT and SIGQUIT: POSIX, "Signals and Error
Handling"; those it could not hand on.
"""

_SCRIPT = (
    "stopped=; trap 'stopped=yes; kill -s {name} $!' {name}; "
    '"$0" "$@" & wait $!; code=$?; '
    '[ -z "$stopped" ] || {{ wait $!; code=$?; }}; exit $code'
)
"""The first wait ends when the signal comes, the second when the program does."""


@dataclass(frozen=True, slots=True)
class Handler:
    """A shell that hands a signal on.

    :ivar script: for ``sh -c``; the command is its ``$0`` and ``$@``.
    :ivar why: one sentence.
    """

    script: str
    why: str


def needed_handler(
    guest: Guest, argv: tuple[str, ...], working_dir: str | None, stop_signal: str | None
) -> Handler | None:
    """Return what a command has to be started by for its container to end; None if by nothing.

    That of a program whose own file names the signal is taken to handle it.

    :param argv: the command, whose program is in the tree.
    :param stop_signal: as an image config names it; None for SIGTERM.
    """
    signal = stop_signal or "SIGTERM"
    if signal not in _HANDED_ON:
        return None
    interpreter, script = _interpreted(guest, argv)
    if interpreter is None:
        return None
    if script is not None and signal in _text(guest, join(working_dir or "/", script)):
        return None
    why = (
        f"{interpreter} as the first process would not end by {signal}, which"
        f" {script or 'what it runs'} does not name: a shell hands it on"
    )
    return Handler(_SCRIPT.format(name=signal.removeprefix("SIG")), why)


def _interpreted(guest: Guest, argv: tuple[str, ...]) -> tuple[str | None, str | None]:
    """Return the name of the interpreter that a command ends up in, and the script it is given."""
    name = argv[0].rpartition("/")[2]
    if _is_interpreter(name):
        return name, _script_of(argv[1:])
    entry = guest.index.resolve(encoded(argv[0]))
    if entry is None or entry.kind not in _FILES:
        return None, None
    match = _SHEBANG.match(guest.index.head(entry, _SHEBANG_MAX))
    if match is None:
        return None, None
    program, argument = (part.decode("latin-1") for part in (match[1], match[2] or b""))
    name = argument if program.endswith("/env") else program
    name = name.rpartition("/")[2]
    return (name, argv[0]) if _is_interpreter(name) else (None, None)


def _is_interpreter(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in _INTERPRETERS)


def _script_of(arguments: tuple[str, ...]) -> str | None:
    """Return the first argument that is no option; None where the program is no file."""
    for word in arguments:
        if word in _MODULE_OPTIONS:
            return None
        if not word.startswith("-"):
            return word
    return None


def _text(guest: Guest, path: str) -> str:
    """Return a script's text; nothing where it is not to be had."""
    for ending in _ENDINGS:
        entry = guest.index.resolve(encoded(path + ending))
        if entry is not None and entry.kind in _FILES and entry.size <= TEXT_MAX_BYTES:
            return guest.text(entry.path) or ""
    return ""
