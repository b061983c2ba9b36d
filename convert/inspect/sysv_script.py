"""How an init script starts its program: the line with start-stop-daemon, or what stands for it.

start-stop-daemon(8) of Debian; init-d-script(5); ``start_daemon`` of the Linux Standard Base 5,
"Init Script Functions"; ``daemon`` of Red Hat's ``/etc/init.d/functions``. A script is read line by
line, never run: which branch a line stands in does not count, and a command line that only a shell
could work out is left alone.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from convert.inspect.guest import Guest
from convert.inspect.shell import Assignment, assignments, assignments_in, whole_lines
from convert.inspect.text import encoded, replaced
from formats.core.limits import KIB

_SOURCED = re.compile(r"(?:^|.*[\s;&{])\.\s+[\"']?(/etc/(?:default|sysconfig|conf\.d)/[^\s\"';]+)")
_RUNNER = re.compile(r"(?:^|[\s;&|!({])(start-stop-daemon|start_daemon|daemon)\s+(\S.*)")
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?-([^${}]{0,256}))?\}|(\w+))")
_SOURCED_MAX = 16
_STARTS_MAX = 64
_COMMAND_MAX = 8 * KIB
"""Of files, lines and characters: more than any script has."""

_UNKNOWN = "\0"
_OPERATORS = frozenset("();<>|&{}")
_WORD_OF_ENVIRONMENT = re.compile(r"[A-Za-z_]\w*=")
_NAMED_BY_SCRIPT = re.compile(rb"#!\s*/lib/init/init-d-script\b")

_LONG_WITH_VALUE = frozenset(
    {
        "--exec",
        "--startas",
        "--pidfile",
        "--chuid",
        "--user",
        "--group",
        "--chdir",
        "--chroot",
        "--umask",
        "--nicelevel",
        "--procsched",
        "--iosched",
        "--retry",
        "--signal",
        "--name",
        "--output",
        "--ppid",
        "--notify-timeout",
        "--pid",
    }
)
_SHORT_WITH_VALUE = frozenset("xapcugdrkNPIRsnO")
_LONG_OF_SHORT = {
    "x": "--exec",
    "a": "--startas",
    "c": "--chuid",
    "g": "--group",
    "d": "--chdir",
    "b": "--background",
    "S": "--start",
    "t": "--test",
}
_DAEMON_WITH_VALUE = frozenset({"--check", "--user", "--pidfile", "-p", "-n", "-u"})


@dataclass(frozen=True, slots=True)
class Start:
    """A command that a script starts.

    :ivar argv: nothing is left to expand.
    :ivar stays: it stays in the foreground: it was put into the background for it.
    """

    argv: tuple[str, ...]
    line: int
    user: str | None = None
    group: str | None = None
    folder: str | None = None
    stays: bool = False


def script_variables(guest: Guest, path: bytes) -> list[Assignment]:
    """Return what a script assigns, with the settings that it reads in the place where it does.

    :returns: in their order; the lines are those of the script for its own only.
    """
    lines = list(guest.lines(path))
    found: list[Assignment] = []
    known: dict[str, str] = {}
    start = count = 0
    for position, (_, line) in enumerate(lines):
        match = None if line.lstrip().startswith("#") else _SOURCED.match(line)
        if match is None or count == _SOURCED_MAX:
            continue
        count += 1
        _add(found, known, assignments_in(lines[start:position], known))
        sourced = encoded(_expanded(match[1], known))
        _add(found, known, assignments(guest, sourced, known))
        start = position + 1
    _add(found, known, assignments_in(lines[start:], known))
    return found


def _add(found: list[Assignment], known: dict[str, str], new: Iterator[Assignment]) -> None:
    for item in list(new):
        found.append(item)
        known[item.name] = item.value


def starts_of(guest: Guest, path: bytes) -> Iterator[Start]:
    """Yield the commands that a script starts, in the order of their lines."""
    known = {item.name: item.value for item in script_variables(guest, path)}
    for number, match in islice(_runners(guest, path), _STARTS_MAX):
        words = _words(match[2], known)
        start = _of_runner(match[1], words, number) if words is not None else None
        if start is not None:
            yield _without_unknown(start)
    entry = guest.index.resolve(path)
    if entry is not None and _NAMED_BY_SCRIPT.match(guest.index.head(entry, 64)):
        words = _words("$DAEMON $DAEMON_ARGS $DAEMON_OPTS", known)
        if words:
            yield _without_unknown(Start(tuple(words), 1))


def _runners(guest: Guest, path: bytes) -> Iterator[tuple[int, re.Match[str]]]:
    """Yield the lines that start something, or stop it."""
    for number, line in whole_lines(guest.lines(path)):
        match = None if line.lstrip().startswith("#") else _RUNNER.search(line.replace("\n", " "))
        if match is not None:
            yield number, match


def _without_unknown(start: Start) -> Start:
    """Return a command as a shell starts it in which nothing sets the unknown variables."""
    program, *arguments = (word.replace(_UNKNOWN, "") for word in start.argv)
    return replace(
        start,
        argv=(program, *filter(None, arguments)),
        user=_known(start.user),
        group=_known(start.group),
        folder=_known(start.folder),
    )


def _known(value: str | None) -> str | None:
    return None if value is None or _UNKNOWN in value else value


def _expanded(text: str, known: dict[str, str], *, unknown: str = "") -> str:
    def value_of(match: re.Match[str]) -> str:
        return known.get(match[1] or match[3]) or match[2] or unknown

    return replaced(_VARIABLE, text, value_of)


def _words(text: str, known: dict[str, str]) -> list[str] | None:
    """Return the words up to the end of the command; None if only a shell can tell.

    A variable that nothing was seen to set leaves :data:`_UNKNOWN`, as the value of an option say.
    """
    expanded = _expanded(text, known, unknown=_UNKNOWN)
    if len(expanded) > _COMMAND_MAX:
        return None
    lexer = shlex.shlex(expanded, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    words: list[str] = []
    try:
        for word in lexer:
            if word and set(word) <= _OPERATORS:
                if ">" in word and words and words[-1].isdigit():
                    words.pop()  # the number of the file that is redirected
                break
            words.append(word)
    except ValueError:  # quotes that are not closed
        return None
    return None if any("$" in word or "`" in word for word in words) else words


def _of_runner(runner: str, words: list[str], line: int) -> Start | None:
    if runner == "start-stop-daemon":
        return _of_start_stop_daemon(words, line)
    return _of_daemon_function(words, line)


def _of_start_stop_daemon(words: list[str], line: int) -> Start | None:
    end = words.index("--") if "--" in words else len(words)
    options = dict(_options(words[:end]))
    program = options.get("--startas") or options.get("--exec")
    if program is None or "--start" not in options or "--test" in options:
        return None
    user, _, group = options.get("--chuid", "").partition(":")
    return Start(
        (program, *words[end + 1 :]),
        line,
        user=user or None,
        group=group or options.get("--group") or None,
        folder=options.get("--chdir"),
        stays="--background" in options,
    )


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    """Yield each option by its long name, with its value; "" where it has none."""
    remaining = iter(words)
    for word in remaining:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            if name in _LONG_WITH_VALUE and not equals:
                value = next(remaining, "")
            yield name, value
        elif word.startswith("-"):
            for position, letter in enumerate(word[1:], start=2):
                name = _LONG_OF_SHORT.get(letter, letter)
                if letter in _SHORT_WITH_VALUE:
                    yield name, word[position:] or next(remaining, "")
                    break
                yield name, ""


def _of_daemon_function(words: list[str], line: int) -> Start | None:
    """Read ``daemon`` and ``start_daemon``: their own options, then the command.

    The command may be one word in quotes, since ``daemon`` gives it to a shell.
    """
    user: str | None = None
    position = 0
    while position < len(words) and words[position].startswith(("-", "+")):
        name, equals, value = words[position].partition("=")
        if name in _DAEMON_WITH_VALUE and not equals:
            position += 1
            value = words[position] if position < len(words) else ""
        if name in {"--user", "-u"}:
            user = value or None
        position += 1
    try:
        command = [part for word in words[position:] for part in shlex.split(word)]
    except ValueError:
        return None
    while command and _WORD_OF_ENVIRONMENT.match(command[0]):
        command.pop(0)
    return Start(tuple(command), line, user=user) if command else None
