"""One path of a normalised tree."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from formats.core.errors import CorruptError, quoted
from formats.core.origin import Origin


class Kind(Enum):
    """What a path is."""

    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symlink"
    HARDLINK = "hardlink"
    CHARACTER_DEVICE = "character-device"
    BLOCK_DEVICE = "block-device"
    FIFO = "fifo"
    SOCKET = "socket"


MODE_KINDS = {
    0x1000: Kind.FIFO,
    0x2000: Kind.CHARACTER_DEVICE,
    0x4000: Kind.FOLDER,
    0x6000: Kind.BLOCK_DEVICE,
    0x8000: Kind.FILE,
    0xA000: Kind.SYMLINK,
    0xC000: Kind.SOCKET,
}
"""What the type bits of ``st_mode`` stand for."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A path with everything that is known of it.

    :ivar path: bytes as the guest has them, relative, ``/`` between components, no empty, ``.``
        or ``..`` component, no NUL. The root folder itself is ``b""``.
    :ivar mode: permission, setuid, setgid and sticky bits (``0o7777`` at the most).
    :ivar mtime_ns: nanoseconds since 1970-01-01 UTC; negative before.
    :ivar size: bytes of content; 0 for all but files and hard links to files.
    :ivar target: what a symlink holds, or the path of the entry that a hard link is one more
        name of. That entry comes earlier in the same tree.
    :ivar device: major and minor number of a device.
    :ivar xattrs: name and value, sorted by name. ACLs in the form of ``system.posix_acl_*``
        version 2 (linux/posix_acl_xattr.h).
    :ivar node: the reader's own handle (an inode number, say); equal for all links of one file.
    """

    path: bytes
    kind: Kind
    mode: int
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    size: int = 0
    target: bytes | None = None
    device: tuple[int, int] | None = None
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    node: int = 0

    @property
    def name(self) -> bytes:
        """The last component of the path."""
        return self.path.rpartition(b"/")[2]

    @property
    def parent(self) -> bytes:
        """The path of the folder it is in."""
        return self.path.rpartition(b"/")[0]


def check_name(name: bytes, origin: Origin) -> None:
    """Refuse a name that could lead out of its folder.

    :raises CorruptError: for an empty name, ``.``, ``..``, and any with ``/`` or NUL.
    """
    if name in {b"", b".", b".."} or b"/" in name or b"\0" in name:
        raise CorruptError(f"a file is named {quoted(name)}, which no system allows", origin=origin)


def join(folder: bytes, name: bytes) -> bytes:
    """Return the path of ``name`` in ``folder``; both as in :class:`Entry`."""
    return folder + b"/" + name if folder else name
