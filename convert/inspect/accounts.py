"""Users and groups of the guest: passwd(5), group(5)."""

from __future__ import annotations

from dataclasses import dataclass

from convert.inspect.guest import Guest

_NOBODY = 0xFFFFFFFF
"""The one number that stands for no user: chown(2)."""


@dataclass(frozen=True, slots=True)
class User:
    """One line of ``/etc/passwd``.

    :ivar has_groups: it belongs to more groups than its own.
    """

    name: str
    uid: int
    gid: int
    home: str
    has_groups: bool = False


class Accounts:
    """The guest's users and groups by name."""

    def __init__(self, guest: Guest) -> None:
        self._groups: dict[str, int] = {}
        members: set[str] = set()
        for _, line in guest.lines(b"etc/group"):
            fields = line.split(":")
            if len(fields) == 4 and is_number(fields[2]):
                self._groups.setdefault(fields[0], int(fields[2]))
                members.update(fields[3].split(","))
        self._users: dict[str, User] = {}
        self._by_number: dict[int, User] = {}
        for _, line in guest.lines(b"etc/passwd"):
            fields = line.split(":")
            if len(fields) == 7 and is_number(fields[2]) and is_number(fields[3]):
                name, uid, gid = fields[0], int(fields[2]), int(fields[3])
                user = self._users.setdefault(
                    name, User(name, uid, gid, fields[5], name in members)
                )
                self._by_number.setdefault(user.uid, user)

    def user(self, name: str) -> User | None:
        """Return the user of that name or number; a number need not be in the file."""
        if is_number(name):
            number = int(name)
            return self._by_number.get(number) or User(name, number, number, "/")
        return self._users.get(name)

    def group_id(self, name: str) -> int | None:
        """Return the number of a group, given by name or number."""
        return int(name) if is_number(name) else self._groups.get(name)


def is_number(text: str) -> bool:
    """Tell whether a text is a user's or group's number."""
    return text.isascii() and text.isdigit() and len(text) <= 10 and int(text) < _NOBODY
