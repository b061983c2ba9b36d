"""Users and groups of the root: passwd(5), group(5), shadow(5); new ones get the lowest free id.

Numbers that programs make up are from 100 to 999, as :manpage:`adduser.conf(5)` has it, from below
and in the order in which packages ask: equal packages give equal numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from convert.inspect.accounts import is_number
from convert.packages.fixed_ids import DEBIAN, FixedIds

_FIRST, _LAST = 100, 999
NOBODY = 65534
LOCKED = "*"
"""What no password is equal to."""
NO_LOGIN = "/usr/sbin/nologin"
MINIMAL_PASSWD = (
    f"root:*:0:0:root:/root:/bin/sh\nnobody:*:{NOBODY}:{NOBODY}:nobody:/nonexistent:{NO_LOGIN}\n"
)
_GROUP_OF_NOBODY = {"deb": "nogroup", "rpm": "nobody"}


def minimal_group(system: str) -> str:
    """Return the groups of a root that has no file of them."""
    return f"root:*:0:\n{_GROUP_OF_NOBODY[system]}:*:{NOBODY}:\n"


class AccountError(ValueError):
    """A user or group that cannot be made."""


@dataclass(slots=True)
class User:
    """A line of passwd(5)."""

    name: str
    uid: int
    gid: int
    comment: str = ""
    home: str = "/nonexistent"
    shell: str = NO_LOGIN
    locked: str = LOCKED

    def __str__(self) -> str:
        fields = (self.name, self.locked, str(self.uid), str(self.gid))
        return ":".join((*fields, self.comment, self.home, self.shell))


@dataclass(slots=True)
class Group:
    """A line of group(5)."""

    name: str
    gid: int
    members: list[str] = field(default_factory=list)
    locked: str = LOCKED

    def __str__(self) -> str:
        return f"{self.name}:{self.locked}:{self.gid}:{','.join(self.members)}"


class AccountBook:
    """The users and groups that there are, in the order of their files.

    :param passwd: text of ``/etc/passwd``; lines that are none stay where they are.
    :param locked: what new lines have for a password: ``x`` where there is ``/etc/shadow``.
    :param fixed: users and groups that are added once they are asked for by name.
    :ivar new_users: names of those that were added.
    """

    def __init__(
        self, passwd: str, group: str, locked: str = LOCKED, fixed: FixedIds = DEBIAN
    ) -> None:
        self._locked = locked
        self._fixed = fixed
        self.users: dict[str, User] = {}
        self.groups: dict[str, Group] = {}
        self._passwd = _parsed(passwd, self._take_user)
        self._group = _parsed(group, self._take_group)
        self.new_users: list[str] = []
        self.new_groups: list[str] = []
        self.is_changed = False

    def _take_user(self, fields: list[str]) -> User | None:
        if len(fields) != 7 or not (is_number(fields[2]) and is_number(fields[3])):
            return None
        name, password, uid, gid, comment, home, shell = fields
        user = User(name, int(uid), int(gid), comment, home, shell, password)
        return user if self.users.setdefault(name, user) is user else None

    def _take_group(self, fields: list[str]) -> Group | None:
        if len(fields) != 4 or not is_number(fields[2]):
            return None
        name, password, gid, members = fields
        group = Group(name, int(gid), [word for word in members.split(",") if word], password)
        return group if self.groups.setdefault(name, group) is group else None

    @property
    def passwd(self) -> str:
        """The text of ``/etc/passwd``."""
        return _text([*self._passwd, *(self.users[name] for name in self.new_users)])

    @property
    def group(self) -> str:
        """The text of ``/etc/group``."""
        return _text([*self._group, *(self.groups[name] for name in self.new_groups)])

    def uid(self, name: str) -> int | None:
        """Return a user's number, given by name or number."""
        if is_number(name):
            return int(name)
        known = self.users.get(name)
        fixed = self._fixed.users.get(name)
        if known is None and fixed is not None:
            known = self.add_user(User(name, fixed.uid, fixed.gid, name, fixed.home))
        return known.uid if known is not None else None

    def gid(self, name: str) -> int | None:
        """Return a group's number, given by name or number."""
        if is_number(name):
            return int(name)
        known = self.groups.get(name)
        if known is None and name in self._fixed.groups:
            known = self.add_group(name)
        return known.gid if known is not None else None

    def free_id(self, wanted: int | None = None) -> int:
        """Return a number that neither a user nor a group has.

        :raises AccountError: if all are taken.
        """
        taken = {user.uid for user in self.users.values()}
        taken |= {group.gid for group in self.groups.values()}
        if wanted is not None and wanted not in taken:
            return wanted
        return _lowest(taken)

    def add_group(self, name: str, gid: int | None = None) -> Group:
        """Return a group of that name, added if there is none.

        :raises AccountError: if the name is none, or all numbers are taken.
        """
        _check_name(name)
        known = self.groups.get(name)
        if known is not None:
            return known
        if gid is None:
            taken = {group.gid for group in self.groups.values()}
            fixed = self._fixed.groups.get(name)
            gid = _lowest(taken) if fixed is None or fixed in taken else fixed
        group = self.groups[name] = Group(name, gid, [], self._locked)
        self.new_groups.append(name)
        self.is_changed = True
        return group

    def add_user(self, user: User) -> User:
        """Return a user of that name, added as given if there is none.

        :raises AccountError: if the name, home or shell cannot be in the file.
        """
        _check_name(user.name)
        if any(":" in text or "\n" in text for text in (user.comment, user.home, user.shell)):
            raise AccountError(f"what is said of '{user.name}' cannot be in /etc/passwd")
        known = self.users.get(user.name)
        if known is not None:
            return known
        user.locked = self._locked
        self.users[user.name] = user
        self.new_users.append(user.name)
        self.is_changed = True
        return user

    def free_uid(self) -> int:
        """Return a number that no user has.

        :raises AccountError: if all are taken.
        """
        return _lowest({user.uid for user in self.users.values()})

    def add_member(self, user: str, group: str) -> bool:
        """Put a user into a group; tell whether it was not in it.

        :raises AccountError: if there is no such group.
        """
        if self.gid(group) is None or group not in self.groups:
            raise AccountError(f"there is no group '{group}'")
        known = self.groups[group]
        if user in known.members:
            return False
        known.members.append(user)
        self.is_changed = True
        return True

    def shadow_lines(self) -> str:
        """Return what ``/etc/shadow`` needs of the new users: no password, no ageing."""
        return "".join(f"{name}:!*:::::::\n" for name in self.new_users)

    def gshadow_lines(self) -> str:
        """Return what ``/etc/gshadow`` needs of the new groups."""
        return "".join(f"{name}:!::\n" for name in self.new_groups)


def _parsed(text: str, take: Callable[[list[str]], User | Group | None]) -> list[object]:
    return [take(line.split(":")) or line for line in text.split("\n") if line]


def _text(lines: Iterable[object]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _lowest(taken: set[int]) -> int:
    for number in range(_FIRST, _LAST + 1):
        if number not in taken:
            return number
    raise AccountError(f"all numbers from {_FIRST} to {_LAST} are taken")


def _check_name(name: str) -> None:
    if not name or len(name) > 32 or not name.isprintable() or set(name) & set(":, /\\\n"):
        raise AccountError(f"'{name}' can be no user or group")
