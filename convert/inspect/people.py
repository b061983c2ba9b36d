"""The guest's people: accounts that someone logs in as, passwd(5), login.defs(5), shells(5)."""

from __future__ import annotations

from collections.abc import Iterator

from convert.inspect.accounts import is_number
from convert.inspect.evidence import Evidence
from convert.inspect.facts import Account
from convert.inspect.guest import Guest
from convert.inspect.text import can_be_said

_FIRST, _LAST = 1000, 60_000
"""UID_MIN and UID_MAX where ``/etc/login.defs`` does not say: login.defs(5)."""
_HOMES = "/home/"
_NO_LOGIN = frozenset({"nologin", "false", "true", "sync", "halt", "shutdown", "git-shell"})
_PEOPLE_MAX = 1000


def people(guest: Guest) -> tuple[Account, ...]:
    """Return the accounts of people, in the order of ``/etc/passwd``; root is not one of them.

    That is whoever can log in, and has a number that ``useradd`` gives, or a home in ``/home``.
    """
    first, last = _numbers(guest)
    found: list[Account] = []
    for account in _accounts(guest):
        is_regular = first <= account.uid <= last or account.home.startswith(_HOMES)
        can_log_in = account.shell.rpartition("/")[2] not in _NO_LOGIN
        if is_regular and can_log_in and len(found) < _PEOPLE_MAX:
            found.append(account)
    return tuple(found)


def _accounts(guest: Guest) -> Iterator[Account]:
    path = b"etc/passwd"
    for number, line in guest.lines(path):
        fields = line.rstrip("\r").split(":")
        if len(fields) != 7 or not (is_number(fields[2]) and is_number(fields[3])):
            continue
        name, uid, gid, home, shell = fields[0], int(fields[2]), int(fields[3]), *fields[5:]
        if uid and name and all(map(can_be_said, fields)):
            evidence = Evidence(path, number, "passwd")
            yield Account(name, uid, gid, home, shell or "/bin/sh", evidence)


def _numbers(guest: Guest) -> tuple[int, int]:
    """Return the first and the last number of people; Red Hat's began at 500 for long."""
    limits = {"UID_MIN": _FIRST, "UID_MAX": _LAST}
    for _, line in guest.lines(b"etc/login.defs"):
        words = line.split()
        if len(words) >= 2 and words[0] in limits and is_number(words[1]):
            limits[words[0]] = int(words[1])
    return limits["UID_MIN"], limits["UID_MAX"]
