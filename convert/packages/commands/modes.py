"""Modes as chmod(1) takes them, and capabilities as setcap(8) does."""

from __future__ import annotations

import re
from collections.abc import Callable

from convert.packages.system import DeedError
from formats.core.entry import Entry, Kind
from formats.core.errors import CorruptError
from formats.packages.capabilities import capability_xattr

_SYMBOLIC = re.compile(r"([ugoa]*)([-+=])([rwxXst]*)")
_SHIFTS = {"u": 6, "g": 3, "o": 0}
_BITS = {"r": 4, "w": 2, "x": 1}


def mode_change(text: str) -> Callable[[Entry], int]:
    """Return what turns an entry's mode into the one that is asked for.

    :raises DeedError: if it is no mode.
    """
    if re.fullmatch(r"[0-7]{1,5}", text):
        wanted = int(text, 8) & 0o7777

        def absolute(entry: Entry) -> int:
            # chmod(1): of a folder, a short number leaves setuid and setgid as they are
            is_kept = entry.kind is Kind.FOLDER and len(text) < 5
            return wanted | (entry.mode & 0o6000 if is_kept else 0)

        return absolute
    clauses = [_SYMBOLIC.fullmatch(clause) for clause in text.split(",")]
    known = [clause for clause in clauses if clause is not None]
    if len(known) < len(clauses):
        raise DeedError(f"'{text}' is no mode")

    def symbolic(entry: Entry) -> int:
        mode = entry.mode
        for clause in known:
            mode = _applied(mode, clause[1], clause[2], clause[3], entry.kind)
        return mode

    return symbolic


def _applied(mode: int, who: str, operator: str, letters: str, kind: Kind) -> int:
    """Return a mode after one clause; the mask is 022, as when packages are installed."""
    everyone = not who or "a" in who
    classes = "ugo" if everyone else who
    may_run = kind is Kind.FOLDER or bool(mode & 0o111)
    bits = sum(_BITS[letter] for letter in set(letters) & set(_BITS))
    if "X" in letters and may_run:
        bits |= 1
    wanted = 0
    mask = 0
    for name in set(classes):
        wanted |= bits << _SHIFTS[name]
        mask |= 7 << _SHIFTS[name]
    if not who:
        wanted &= ~0o022
    if "s" in letters:
        wanted |= (0o4000 if "u" in classes else 0) | (0o2000 if "g" in classes else 0)
    if "t" in letters:
        wanted |= 0o1000
    if operator == "+":
        return mode | wanted
    if operator == "-":
        return mode & ~wanted
    # what "=" clears: of folders, only what is named (chmod(1), "SETUID AND SETGID BITS")
    for name, bit in (("u", 0o4000), ("g", 0o2000), ("o", 0o1000)):
        if name in classes and (kind is not Kind.FOLDER or name == "o"):
            mask |= bit
    return mode & ~mask | wanted


def file_capabilities(text: str) -> bytes:
    """Return ``security.capability`` for what setcap(8) is given: ``cap_net_raw+ep``.

    :raises DeedError: if that makes no sense, or takes all capabilities away.
    """
    try:
        value = capability_xattr(text)
    except CorruptError as error:
        raise DeedError(f"'{text}' is no set of capabilities") from error
    if value is None:
        raise DeedError(f"'{text}' gives no capabilities")
    return value
