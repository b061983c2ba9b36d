"""What the shell's own commands do to its variables: POSIX.1-2017, 2.14."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from convert.packages.shell.outcome import DONE, UNKNOWN, Call, Host, Outcome
from convert.packages.shell.syntax import Node
from convert.packages.shell.values import Variables


class LeaveError(Exception):
    """Leaves loops, functions and the script.

    :ivar kind: ``break``, ``continue``, ``return`` or ``exit``.
    :ivar levels: of loops.
    :ivar output: what was printed since what is left began; None where that is not known.
    """

    def __init__(self, kind: str, levels: int = 1, status: bool | None = None) -> None:
        super().__init__(kind)
        self.kind = kind
        self.levels = levels
        self.status = status
        self.output: str | None = ""


class Shell(Protocol):
    """What builtins see of the shell."""

    host: Host
    variables: Variables
    functions: dict[str, Node]

    def called(self, call: Call) -> Outcome:
        """Carry out another command."""
        ...


def _leave(shell: Shell, call: Call) -> Outcome:
    words = call.words[1:]
    if words:
        status = {"0": True, None: None}.get(words[0], False)
    else:
        status = True if shell.variables.status == "0" else None
    levels = 1
    if call.name in {"break", "continue"} and words:
        word = words[0] or ""
        levels = int(word) if word.isdecimal() and len(word) < 3 else 1
    raise LeaveError(call.name, levels, status)


def _assign(shell: Shell, call: Call) -> Outcome:
    for word in call.words[1:]:
        name, equals, value = (word or "").partition("=")
        if equals:
            shell.variables.named[name] = value
    return DONE


def _unset(shell: Shell, call: Call) -> Outcome:
    for word in call.words[1:]:
        shell.variables.named.pop(word or "", None)
        shell.functions.pop(word or "", None)
    return DONE


def _shift(shell: Shell, call: Call) -> Outcome:
    count = call.words[1] if len(call.words) > 1 else "1"
    positional = shell.variables.positional
    if count is None or not count.isdecimal() or len(count) > 4 or positional is None:
        shell.variables.positional = None
    else:
        shell.variables.positional = positional[int(count) :]
    return DONE


def _set(shell: Shell, call: Call) -> Outcome:
    words = list(call.words[1:])
    if "--" in words:
        shell.variables.positional = words[words.index("--") + 1 :]
    elif words and not (words[0] or "-").startswith(("-", "+")):
        shell.variables.positional = words
    return DONE


def _eval(shell: Shell, call: Call) -> Outcome:
    if any(word is None or word for word in call.words[1:]):
        shell.host.cannot(call.line, "'eval' is not followed")
        return UNKNOWN
    return DONE


def _read(shell: Shell, call: Call) -> Outcome:
    for word in call.words[1:]:
        if word and not word.startswith("-"):
            shell.variables.named[word] = None
    return UNKNOWN


def _again(shell: Shell, call: Call) -> Outcome:
    """Carry out ``command name …`` and ``exec name …`` as the command alone."""
    words = call.words
    is_last = False
    while words and words[0] in {"command", "exec", "-p", "--"}:  # even several of them
        is_last = is_last or words[0] == "exec"
        words = words[1:]
    if words and words[0] in {"-v", "-V"}:
        return shell.host.call(Call(("which", *words[1:]), call.line, None, call.doubt))
    if not words:
        return DONE
    outcome = shell.called(Call(words, call.line, call.stdin, call.doubt))
    if is_last:
        raise LeaveError("exit", status=outcome.status)
    return outcome


BUILTINS: dict[str, Callable[[Shell, Call], Outcome]] = {
    **dict.fromkeys(("exit", "return", "break", "continue"), _leave),
    **dict.fromkeys(("export", "readonly", "local"), _assign),
    **dict.fromkeys(("command", "exec"), _again),
    "unset": _unset,
    "shift": _shift,
    "set": _set,
    "eval": _eval,
    "read": _read,
}
