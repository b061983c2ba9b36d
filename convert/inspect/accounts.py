"""Users and groups of the guest: passwd(5), group(5)."""

from __future__ import annotations

from dataclasses import dataclass

from convert.inspect.text import lines_of
from formats.core.tree import TreeIndex


@dataclass(frozen=True, slots=True)
class User:
    """One line of ``/etc/passwd``."""

    name: str
    uid: int
    gid: int
    home: str


class Accounts:
    """The guest's users and groups by name."""

    def __init__(self, index: TreeIndex) -> None:
        self.users: dict[str, User] = {}
        self.groups: dict[str, int] = {}
        for _, line in lines_of(index, b"etc/passwd"):
            fields = line.split(":")
            if len(fields) == 7 and is_number(fields[2]) and is_number(fields[3]):
                user = User(fields[0], int(fields[2]), int(fields[3]), fields[5])
                self.users.setdefault(user.name, user)
        for _, line in lines_of(index, b"etc/group"):
            fields = line.split(":")
            if len(fields) == 4 and is_number(fields[2]):
                self.groups.setdefault(fields[0], int(fields[2]))

    def user(self, name: str) -> User | None:
        """Return the user of that name or number."""
        if is_number(name):
            number = int(name)
            matching = (user for user in self.users.values() if user.uid == number)
            return next(matching, User(name, number, number, "/"))
        return self.users.get(name)

    def group_id(self, name: str) -> int | None:
        """Return the number of a group, given by name or number."""
        return int(name) if is_number(name) else self.groups.get(name)


def is_number(text: str) -> bool:
    """Tell whether a text is a user's or group's number (ten digits are more than 32 bits hold)."""
    return text.isascii() and text.isdigit() and len(text) <= 10
