"""The conditions of ``test`` and ``[``: POSIX.1-2017, test(1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from convert.packages.shell.values import Value
from convert.packages.system import System
from convert.packages.world import Item
from formats.core.entry import Entry, Kind

_MACHINE = re.compile(r"/(?:proc|sys|dev)(?:/|$)")
"""What only a running machine has."""

_STAND_INS = frozenset({"/usr/bin/deb-systemd-helper", "/usr/lib/systemd/systemd-update-helper"})
"""Programs whose work is done here, whether or not they are in the root."""

_OF_PATH: dict[str, Callable[[Entry], bool]] = {
    "-e": lambda _: True,
    "-f": lambda entry: entry.kind is Kind.FILE,
    "-d": lambda entry: entry.kind is Kind.FOLDER,
    "-p": lambda entry: entry.kind is Kind.FIFO,
    "-S": lambda entry: entry.kind is Kind.SOCKET,
    "-b": lambda entry: entry.kind is Kind.BLOCK_DEVICE,
    "-c": lambda entry: entry.kind is Kind.CHARACTER_DEVICE,
    "-r": lambda _: True,
    "-w": lambda _: True,
    "-x": lambda entry: entry.kind is Kind.FOLDER or bool(entry.mode & 0o111),
    "-s": lambda entry: entry.size > 0,
    "-u": lambda entry: bool(entry.mode & 0o4000),
    "-g": lambda entry: bool(entry.mode & 0o2000),
    "-k": lambda entry: bool(entry.mode & 0o1000),
    "-O": lambda entry: entry.uid == 0,
    "-G": lambda entry: entry.gid == 0,
}
_OF_NUMBERS: dict[str, Callable[[int, int], bool]] = {
    "-eq": lambda one, other: one == other,
    "-ne": lambda one, other: one != other,
    "-gt": lambda one, other: one > other,
    "-ge": lambda one, other: one >= other,
    "-lt": lambda one, other: one < other,
    "-le": lambda one, other: one <= other,
}
_MOST_WORDS = 64
"""test(1) says what more than four mean only where they are joined."""
_NEGATED = {True: False, False: True, None: None}


def holds(words: Sequence[Value], system: System) -> bool | None:
    """Tell whether a condition holds; None where that is not known."""
    if len(words) > _MOST_WORDS:
        return None
    for joint, decisive in (("-o", True), ("-a", False)):
        place = _joint(words, joint)
        if place is not None:
            left = holds(words[:place], system)
            right = holds(words[place + 1 :], system)
            if decisive in {left, right}:
                return decisive
            return None if None in {left, right} else not decisive
    if len(words) > 1 and words[0] == "!" and not (len(words) == 3 and words[1] in {"=", "!="}):
        return _NEGATED[holds(words[1:], system)]
    if len(words) > 2 and words[0] == "(" and words[-1] == ")":
        return holds(words[1:-1], system)
    return _plain(words, system)


def _joint(words: Sequence[Value], joint: str) -> int | None:
    """Return where ``-o`` or ``-a`` joins two conditions."""
    depth = 0
    for place, word in enumerate(words[1:-1], start=1):
        depth += {"(": 1, ")": -1}.get(word or "", 0)
        if word == joint and not depth and len(words) > 3:
            return place
    return None


def _plain(words: Sequence[Value], system: System) -> bool | None:
    if not words:
        return False
    if len(words) == 1:
        return None if words[0] is None else bool(words[0])
    if len(words) == 2:
        return _unary(words[0], words[1], system)
    if len(words) == 3:
        return _binary(words[0], words[1], words[2])
    return None


def _unary(operator: Value, word: Value, system: System) -> bool | None:
    if operator == "-t":
        return False
    if word is None or operator is None:
        return None
    if operator == "-n":
        return bool(word)
    if operator == "-z":
        return not word
    if not word:
        return False
    if not word.startswith("/") or _MACHINE.match(word):
        return None
    if operator in {"-h", "-L"}:
        item = system.item(word, follow=False)
        return item is not None and item.entry.kind is Kind.SYMLINK
    if word in _STAND_INS and operator in {"-e", "-f", "-x", "-r"}:
        return True
    check = _OF_PATH.get(operator)
    return None if check is None else _is(system.item(word), check)


def _is(item: Item | None, check: Callable[[Entry], bool]) -> bool:
    return item is not None and check(item.entry)


def _binary(left: Value, operator: Value, right: Value) -> bool | None:
    if left is None or right is None:
        return None
    if operator in {"=", "=="}:
        return left == right
    if operator == "!=":
        return left != right
    compare = _OF_NUMBERS.get(operator or "")
    if compare is None:
        return None
    numbers = [re.fullmatch(r"\s*-?\d{1,18}\s*", text) for text in (left, right)]
    if None in numbers:
        return False
    return compare(int(left), int(right))
