"""Users and groups that packages declare: sysusers.d(5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from convert.inspect.accounts import is_number
from convert.packages.accounts import NO_LOGIN, AccountError, User
from convert.packages.declared import declared_lines
from convert.packages.system import System
from convert.packages.world import World
from formats.core.finding import Action

_FIELDS = 5
_UNSET = "-"


@dataclass(frozen=True, slots=True)
class Declared:
    """One line.

    :ivar kind: ``u``, ``g`` or ``m``.
    :ivar number: what stands in the third field.
    :ivar where: file and line.
    """

    kind: str
    name: str
    number: str
    comment: str
    home: str
    shell: str
    where: str


def declared_users(world: World) -> Iterator[Declared]:
    """Yield what all files declare: groups first, then users, then members."""
    found = [_declared(words, where) for words, where in declared_lines(world, b"sysusers.d")]
    for kind in "gum":
        yield from (line for line in found if line.kind == kind)


def _declared(words: list[str], where: str) -> Declared:
    name, number, comment, home, shell = [*words[1:], *[_UNSET] * _FIELDS][:_FIELDS]
    return Declared(words[0].rstrip("!"), name, number, comment, home, shell, where)


def add_declared(system: System) -> None:
    """Add all that are declared and not there."""
    for line in declared_users(system.world):
        try:
            _add(system, line)
        except AccountError as error:
            evidence = f"{line.name} is not made: {error}, {line.where}"
            system.told("package-user", b"etc/passwd", Action.REPORTED, evidence)


def _add(system: System, line: Declared) -> None:
    accounts = system.accounts
    if "%" in line.name:
        raise AccountError("its name depends on the machine")
    if line.kind == "m":
        if line.number == _UNSET:
            raise AccountError("the group is missing")
        if line.name not in accounts.users:
            _user(system, line, User(line.name, 0, 0))
        accounts.add_group(line.number)
        if accounts.add_member(line.name, line.number):
            evidence = f"user {line.name} in group {line.number}, by {line.where}"
            system.told("package-group", b"etc/group", Action.CHANGED, evidence)
        return
    uid, _, group = line.number.partition(":")
    wanted = int(uid) if is_number(uid) else None
    if line.kind == "g":
        _group(system, line, wanted)
        return
    home = "/" if line.home == _UNSET else line.home
    shell = NO_LOGIN if line.shell == _UNSET else line.shell
    if wanted == 0 and line.shell == _UNSET:
        shell = "/bin/sh"
    comment = "" if line.comment == _UNSET else line.comment
    user = User(line.name, -1 if wanted is None else wanted, -1, comment, home, shell)
    if group:
        gid = accounts.gid(group)
        if gid is None:
            raise AccountError(f"there is no group '{group}'")
        user.gid = gid
    _user(system, line, user)


def _group(system: System, line: Declared, wanted: int | None) -> int:
    accounts = system.accounts
    is_new = line.name not in accounts.groups
    taken = {group.gid for group in accounts.groups.values()}
    group = accounts.add_group(line.name, None if wanted in taken else wanted)
    if is_new:
        evidence = f"group {line.name} ({group.gid}), by {line.where}"
        system.told("package-group", b"etc/group", Action.ADDED, evidence)
    return group.gid


def _user(system: System, line: Declared, user: User) -> None:
    """Add a user; the group of its name is its own, with the same number if that is free."""
    accounts = system.accounts
    if user.name in accounts.users:
        return
    known = accounts.groups.get(user.name)
    taken = {other.uid for other in accounts.users.values()}
    if user.uid <= 0 and user.name != "root":
        user.uid = accounts.free_id(known.gid if known is not None else None)
    elif user.uid in taken:
        user.uid = accounts.free_id()
    if user.gid <= 0 and user.name != "root":
        user.gid = _group(system, line, user.uid)
    accounts.add_user(user)
    evidence = f"user {user.name} ({user.uid}), by {line.where}"
    system.told("package-user", b"etc/passwd", Action.ADDED, evidence)
