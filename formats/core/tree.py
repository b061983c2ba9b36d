"""Trees: the one form that every filesystem and package is brought to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from formats.core.entry import Entry, Kind, join
from formats.core.errors import LimitError, quoted
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.origin import Origin
from formats.core.package import Package
from formats.core.source import BytesLike, ByteSource


@dataclass(frozen=True, slots=True)
class TreeInfo:
    """What a filesystem says of itself.

    :ivar format: reader's word for the exact kind: ``ext4``, ``ext2``.
    :ivar uuid: lower case with dashes, as in ``blkid``.
    :ivar facts: further things worth showing: block size, state of the journal.
    :ivar package: what the package says of itself, where the tree is one.
    """

    format: str
    uuid: str | None = None
    label: str | None = None
    size_bytes: int = 0
    used_bytes: int | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    package: Package | None = None


class Tree(Protocol):
    """A filesystem's or package's content.

    Entries come parents first, depth first, siblings sorted by the bytes of their name; the root
    folder (path ``b""``) is first; a hard link follows its target. Both methods can be called
    again and give the same.
    """

    @property
    def origin(self) -> Origin:
        """Breadcrumb for messages."""
        ...

    @property
    def info(self) -> TreeInfo:
        """Identity and facts."""
        ...

    def entries(self) -> Iterator[Entry]:
        """Yield every path.

        :raises CorruptError: where the tree cannot be read; never a silent omission.
        """
        ...

    def read(self, entry: Entry) -> Iterator[BytesLike]:
        """Yield the content of a file (or of a hard link's target), ``entry.size`` bytes in all."""
        ...

    def will_read(self, entries: Sequence[Entry]) -> None:
        """Take the hint that these files will be read next, in this order."""
        ...


@runtime_checkable
class OpenableTree(Tree, Protocol):
    """A tree whose files can be read at any place without reading what comes before.

    What needs that (a disk image on an ISO, a root filesystem in a squashfs) asks
    :func:`formats.core.inner.file_source`, which copies the file where a tree is not of this kind.
    """

    def open(self, entry: Entry) -> ByteSource:
        """Return the content of a file as a source; its origin names the file.

        :raises CorruptError: if where it lies cannot be read.
        """
        ...


class TreeIndex:
    """A tree's entries by path, with links resolved inside the tree, never outside of it."""

    def __init__(self, tree: Tree, limits: Limits = DEFAULT_LIMITS) -> None:
        self.tree = tree
        self.limits = limits
        self._by_path = {entry.path: entry for entry in tree.entries()}
        self._children: dict[bytes, list[bytes]] | None = None

    def __len__(self) -> int:
        return len(self._by_path)

    def entries(self) -> Iterator[Entry]:
        """Yield all entries in the tree's order."""
        yield from self._by_path.values()

    def get(self, path: bytes) -> Entry | None:
        """Return the entry at exactly this path; a symlink is not followed."""
        return self._by_path.get(path)

    def resolve(self, path: bytes) -> Entry | None:
        """Return what ``path`` leads to when every symlink is followed, as the guest would.

        Absolute targets start at the tree's root, ``..`` stops there. None where nothing is, or
        after ``limits.symlink_hops`` links.
        """
        hops = 0
        pending = [part for part in path.split(b"/") if part not in {b"", b"."}][::-1]
        here = b""
        while pending:
            part = pending.pop()
            if part == b"..":
                here = here.rpartition(b"/")[0]
                continue
            entry = self._by_path.get(join(here, part))
            if entry is None:
                return None
            if entry.kind is not Kind.SYMLINK:
                here = entry.path
                continue
            hops += 1
            if hops > self.limits.symlink_hops:
                return None
            target = entry.target or b""
            if target.startswith(b"/"):
                here = b""
            pending += [item for item in target.split(b"/") if item not in {b"", b"."}][::-1]
        return self._by_path.get(here)

    def children(self, path: bytes) -> list[Entry]:
        """Return what is in the folder that ``path`` resolves to, sorted; empty if none."""
        folder = self.resolve(path)
        if folder is None or folder.kind is not Kind.FOLDER:
            return []
        if self._children is None:
            self._children = {}
            for known in self._by_path:
                if known:
                    self._children.setdefault(known.rpartition(b"/")[0], []).append(known)
        return [self._by_path[child] for child in self._children.get(folder.path, ())]

    def content(self, path: bytes, limit: int | None = None) -> bytes | None:
        """Return a whole small file, symlinks followed; None if there is no such file.

        :raises LimitError: if it is larger than ``limit`` (default: ``descriptor_bytes``).
        """
        entry = self.resolve(path)
        if entry is None or entry.kind not in {Kind.FILE, Kind.HARDLINK}:
            return None
        limit = self.limits.descriptor_bytes if limit is None else limit
        if entry.size > limit:
            raise LimitError(
                f"{quoted(entry.path)} has {entry.size:,} bytes, more than the {limit:,} expected",
                origin=self.tree.origin,
            )
        return b"".join(self.tree.read(entry))

    def head(self, entry: Entry, length: int) -> bytes:
        """Return the first ``length`` bytes of a file, fewer if it is shorter."""
        return first_bytes(self.tree, entry, length)


def first_bytes(tree: Tree, entry: Entry, length: int) -> bytes:
    """Return the first ``length`` bytes of a file, fewer if it is shorter."""
    parts: list[BytesLike] = []
    missing = length
    for chunk in tree.read(entry):
        parts.append(chunk[:missing])
        missing -= len(parts[-1])
        if missing <= 0:
            break
    return b"".join(parts)


def walk_order(paths: Iterable[bytes]) -> list[bytes]:
    """Return paths in the order that :class:`Tree` promises."""
    return sorted(paths, key=lambda path: path.split(b"/"))
