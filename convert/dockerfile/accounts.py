"""Which users and groups the image has to get, as lines of passwd(5) and group(5).

Those that own something that is copied, that run the service, and people. They are added before
packages are installed, with the numbers that they have on the machine: packages find their users
there and leave them. Lines are appended, since ``useradd`` is not in every official image, and no
tool of all images makes a user whose number is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from convert.inspect.accounts import is_number
from formats.core.limits import MIB
from formats.core.tree import TreeIndex

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?")
_FIRST_OF_MACHINE = 100
"""Below are users that official images bring: base-passwd of Debian, setup of Fedora."""
_FILE_BYTES = MIB


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file of accounts; ``name`` is what it begins with."""

    name: str
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Accounts:
    """The users and groups of a machine, by number; names that Dockerfiles can have.

    :ivar users: lines of passwd(5), each without a password.
    :ivar primary: the number of the group of each user, by the user's.
    """

    users: dict[int, Line]
    groups: dict[int, Line]
    primary: dict[int, int]

    def owner(self, uid: int, gid: int) -> str:
        """Return an owner as ``--chown`` and chown(1) take it."""
        user, group = self.users.get(uid), self.groups.get(gid)
        return f"{user.name if user else uid}:{group.name if group else gid}"

    def needed(self, uids: Iterable[int], gids: Iterable[int]) -> tuple[list[Line], list[Line]]:
        """Return the groups and users to add, so that these numbers are known."""
        wanted_users = {uid for uid in uids if uid >= _FIRST_OF_MACHINE and uid in self.users}
        wanted_groups = {*gids, *(self.primary[uid] for uid in wanted_users)}
        groups = [
            self.groups[gid]
            for gid in sorted(wanted_groups)
            if gid >= _FIRST_OF_MACHINE and gid in self.groups
        ]
        return groups, [self.users[uid] for uid in sorted(wanted_users)]


def read_accounts(index: TreeIndex) -> Accounts:
    """Return the accounts of a root; of two with one number, the first."""
    users: dict[int, Line] = {}
    primary: dict[int, int] = {}
    for fields in _lines(index, b"etc/passwd", 7):
        uid = int(fields[2])
        if is_number(fields[3]) and uid not in users:
            users[uid] = Line(fields[0], uid, ":".join([fields[0], "x", *fields[2:]]))
            primary[uid] = int(fields[3])
    groups: dict[int, Line] = {}
    for fields in _lines(index, b"etc/group", 4):
        gid = int(fields[2])
        members = ",".join(name for name in fields[3].split(",") if _NAME.fullmatch(name))
        groups.setdefault(gid, Line(fields[0], gid, f"{fields[0]}:x:{gid}:{members}"))
    return Accounts(users, groups, primary)


def _lines(index: TreeIndex, path: bytes, count: int) -> Iterator[list[str]]:
    """Yield the fields of the lines that are of the right form, and can be said in a Dockerfile."""
    content = index.content(path, _FILE_BYTES) or b""
    for line in content.decode("utf-8", "replace").split("\n"):
        fields = line.split(":")
        can_be_said = line.isprintable() and "\ufffd" not in line
        is_account = len(fields) == count and is_number(fields[2])
        if can_be_said and is_account and _NAME.fullmatch(fields[0]):
            yield fields
