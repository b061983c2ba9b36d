"""What is found on a medium, and looking for it by name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from formats.core.entry import Entry, Kind
from formats.core.errors import LimitError
from formats.core.stacked import Whiteouts
from formats.core.tree import TreeIndex

_IMAGE_HEAD_BYTES = 1028
_SQUASHFS_MAGIC = b"hsqs"
_EROFS_MAGIC = b"\xe2\xe1\xf5\xe0"
_EXT_MAGIC = b"\x53\xef"
_EXT_MAGIC_AT = 0x438


@dataclass(frozen=True, slots=True)
class LiveSystem:
    """A system that is started from the medium without being installed.

    :ivar name: what tells it from others on the same medium: ``minimal.standard``.
    :ivar layers: paths of the images it is made of, bottom first.
    :ivar whiteouts: how its layers say what they delete.
    :ivar is_default: whether it is the one that is started; of others, one is taken only when it
        is asked for.
    """

    name: str
    layers: tuple[bytes, ...]
    whiteouts: Whiteouts = Whiteouts.OVERLAYFS
    is_default: bool = True


@dataclass(frozen=True, slots=True)
class Installer:
    """A medium that is no system itself.

    :ivar title: "a Debian installation medium".
    :ivar hint: what can be done with it.
    """

    title: str
    hint: str


@dataclass(frozen=True, slots=True)
class Pool:
    """Packages on a medium.

    :ivar system: ``deb``, ``rpm`` or ``apk``.
    :ivar folder: path of the folder that indexes or packages are in.
    :ivar packages: how many package files lie there, however deep.
    """

    system: str
    folder: bytes
    packages: int


@dataclass(frozen=True, slots=True)
class Medium:
    """What a tree is when it is a medium.

    :ivar title: the kind of medium: "Debian live".
    :ivar systems: what can be started from it.
    :ivar installer: what it is instead, if there is no system.
    :ivar pools: packages on it.
    :ivar facts: what else it says of itself.
    :ivar changes: paths where a stick keeps what its users changed; they are no part of a system.
    """

    title: str
    systems: tuple[LiveSystem, ...] = ()
    installer: Installer | None = None
    pools: tuple[Pool, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)
    changes: tuple[bytes, ...] = ()


class MediumFiles:
    """Files of a tree by name, whatever their case: FAT and plain ISO 9660 do not keep it."""

    def __init__(self, index: TreeIndex) -> None:
        self._index = index

    @cached_property
    def _names(self) -> dict[bytes, bytes]:
        return {entry.path.lower(): entry.path for entry in reversed(list(self._index.entries()))}

    def get(self, path: bytes) -> Entry | None:
        """Return what is at a path, given in lower case."""
        found = self._names.get(path)
        return self._index.get(found) if found is not None else None

    def file(self, path: bytes) -> Entry | None:
        """Return the file at a path, given in lower case; None for an empty one, too."""
        entry = self.get(path)
        return entry if entry is not None and is_file(entry) and entry.size else None

    def has(self, *paths: bytes) -> bool:
        """Tell whether all of these are there."""
        return all(path in self._names for path in paths)

    def inside(self, folder: bytes, pattern: str) -> list[Entry]:
        """Return the files directly in a folder whose whole names match, by name.

        :param folder: in lower case.
        :param pattern: regular expression of ASCII characters; case makes no difference.
        """
        entry = self.get(folder)
        if entry is None:
            return []
        wanted = re.compile(pattern.encode(), re.IGNORECASE)
        files = [item for item in self._index.children(entry.path) if is_file(item) and item.size]
        return [item for item in files if wanted.fullmatch(item.name)]

    def matching(self, pattern: str) -> Iterator[Entry]:
        """Yield the files whose whole paths match, in the tree's order."""
        wanted = re.compile(pattern.encode(), re.IGNORECASE)
        for entry in self._index.entries():
            if is_file(entry) and entry.size and wanted.fullmatch(entry.path):
                yield entry

    def text(self, path: bytes) -> str:
        """Return a small text file; "" where there is none, or it is too large for one."""
        entry = self.get(path)
        if entry is None:
            return ""
        try:
            content = self._index.content(entry.path)
        except LimitError:
            return ""
        return content.decode("utf-8", "replace") if content is not None else ""

    def head(self, entry: Entry, length: int) -> bytes:
        """Return how a file starts."""
        return self._index.head(entry, length)

    def is_image(self, entry: Entry) -> bool:
        """Tell whether a file is a filesystem that systems are packed in."""
        head = self.head(entry, _IMAGE_HEAD_BYTES)
        if head.startswith(_SQUASHFS_MAGIC) or head[1024:1028] == _EROFS_MAGIC:
            return True
        more = self.head(entry, _EXT_MAGIC_AT + len(_EXT_MAGIC))
        return more[_EXT_MAGIC_AT:] == _EXT_MAGIC


def is_file(entry: Entry) -> bool:
    """Tell whether an entry has content; media repeat some files as hard links."""
    return entry.kind in {Kind.FILE, Kind.HARDLINK}
