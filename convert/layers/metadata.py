"""Giving a file of the host the owner, xattrs, mode and time of a guest's entry.

What the system refuses is a loss and no error: a normal user cannot give files away, few
filesystems hold all that others do. As the guest's names are not to be trusted, a file is always
named by the handle of its folder and its own name in it, and symlinks are never followed.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from dataclasses import dataclass

from formats.core.entry import Entry, Kind
from formats.core.finding import Action, Finding
from formats.core.origin import printable

_SET_ID = stat.S_ISUID | stat.S_ISGID
_NO_ID = 0xFFFFFFFF
"""Means "leave it as it is" to chown(2)."""
_OWNER_ERRORS = frozenset({errno.EPERM, errno.EINVAL})
"""EINVAL: an id that the user namespace has no place for."""
_XATTR_ERRORS = frozenset({errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.EINVAL}) | {
    errno.ENOSPC,  # so says ext4 of values that are too large for it
    errno.E2BIG,
    errno.ERANGE,
}
_PROC_NAME = b"/proc/self/fd/%d/%b"
"""For setxattr(2), which takes no handle of a folder; setxattrat(2) is too new (Linux 6.13)."""


class Losses:
    """What the host would not take."""

    def __init__(self) -> None:
        self._each: list[Finding] = []
        self._counted: dict[tuple[str, str], tuple[bytes, int]] = {}
        """First path and number of paths, by rule and evidence."""

    def note(self, rule: str, path: bytes, action: Action, evidence: str) -> None:
        """Add a finding for one path."""
        self._each.append(Finding(rule, path, action, evidence))

    def count(self, rule: str, path: bytes, evidence: str) -> None:
        """Add one more path to the finding for all that were changed in the same way."""
        first, count = self._counted.get((rule, evidence), (path, 0))
        self._counted[rule, evidence] = first, count + 1

    def findings(self) -> tuple[Finding, ...]:
        """Return all."""
        counted = (
            Finding(rule, path, Action.CHANGED, f"{evidence}; the first of {count:,} paths")
            for (rule, evidence), (path, count) in self._counted.items()
        )
        return (*self._each, *counted)


@dataclass(frozen=True, slots=True)
class Place:
    """A file: the handle of the folder it is in, and its name there."""

    folder: int
    name: bytes


def describe(place: Place, entry: Entry, losses: Losses) -> None:
    """Give a file that was just made what ``entry`` says of it.

    The order matters: a new owner clears set-id bits and capabilities, and an ACL changes the mode.

    :raises OSError: for what is no loss but a failure.
    """
    has_owner = _give_owner(place, entry, losses)
    for name, value in entry.xattrs:
        _give_xattr(place, entry, name, value, losses)
    if entry.kind is not Kind.SYMLINK:
        _give_mode(place, entry, losses, has_owner=has_owner)
    _give_time(place, entry, losses)


def _give_owner(place: Place, entry: Entry, losses: Losses) -> bool:
    try:
        if entry.uid < _NO_ID and entry.gid < _NO_ID:
            os.chown(place.name, entry.uid, entry.gid, dir_fd=place.folder, follow_symlinks=False)
            return True
    except OSError as error:
        if error.errno not in _OWNER_ERRORS:
            raise
    losses.count("owner", entry.path, "cannot be given away here")
    return False


def _give_xattr(place: Place, entry: Entry, name: bytes, value: bytes, losses: Losses) -> None:
    path = _PROC_NAME % (place.folder, place.name)
    try:
        os.setxattr(path, name, value, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _XATTR_ERRORS:
            raise
        losses.count("xattr", entry.path, f"{printable(name)}: {error.strerror}")


def _give_mode(place: Place, entry: Entry, losses: Losses, *, has_owner: bool) -> None:
    mode = entry.mode
    if mode & _SET_ID and not has_owner and entry.kind is not Kind.FOLDER:
        losses.note("set-id", entry.path, Action.CHANGED, "has another owner now")
        mode &= ~_SET_ID
    os.chmod(place.name, mode, dir_fd=place.folder)  # follows symlinks, which this is not


def _give_time(place: Place, entry: Entry, losses: Losses) -> None:
    wanted = entry.mtime_ns
    with suppress(OverflowError):  # more seconds than the system has bits for
        os.utime(place.name, ns=(wanted, wanted), dir_fd=place.folder, follow_symlinks=False)
    status = os.stat(place.name, dir_fd=place.folder, follow_symlinks=False)
    if status.st_mtime_ns != wanted:
        losses.count("mtime", entry.path, "this filesystem does not hold such a time")
