"""The root that packages are put into: paths as they are so far, on top of a base.

Every path of the base is in it too, so that a package's path leads where it would lead on the
machine: through ``/bin`` to ``/usr/bin``, through ``/var/run`` to ``/run``. What comes out in the
end is what is new or changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import NamedTuple

from formats.core.entry import Entry, Kind, join
from formats.core.errors import LimitError, quoted
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.origin import Origin
from formats.core.source import BytesLike
from formats.core.tree import Tree

FILES = frozenset({Kind.FILE, Kind.HARDLINK})
_SETGID = 0o2000
BASE = "the base"
"""What stands for a package's name at the paths of the base."""


class Stored(NamedTuple):
    """Content that a tree has, by the tree's own entry.

    :ivar copy: the path of a copy, which is a file of its own.
    """

    tree: Tree
    entry: Entry
    copy: bytes | None = None

    @property
    def file(self) -> tuple[int, bytes, bytes | None]:
        """What is equal for all names of one file."""
        entry = self.entry
        is_link = entry.kind is Kind.HARDLINK and entry.target is not None
        return id(self.tree), (entry.target or b"") if is_link else entry.path, self.copy


@dataclass(frozen=True, slots=True)
class Item:
    """A path of the root.

    :ivar entry: hard links are files here, with the same :attr:`Stored.file`.
    :ivar content: None for what has none.
    :ivar owner: names of user and group that are looked up in the end; "" where the number counts.
    :ivar package: who brought it; "" for what is made.
    :ivar is_base: whether it is in the base just so.
    """

    entry: Entry
    content: Stored | bytes | None = None
    owner: tuple[str, str] = ("", "")
    package: str = ""
    is_base: bool = False

    def blocks(self) -> Iterator[BytesLike]:
        """Yield what is in a file, in blocks; nothing for what has no content."""
        if isinstance(self.content, Stored):
            yield from self.content.tree.read(self.content.entry)
        elif self.content:
            yield self.content


class World:
    """All paths by name. Paths are as in :class:`~formats.core.entry.Entry`, after :meth:`real`.

    :param mtime_ns: time of everything that is made here.
    """

    def __init__(
        self, base: Tree | None, origin: Origin, limits: Limits = DEFAULT_LIMITS, mtime_ns: int = 0
    ) -> None:
        self.origin = origin
        self.limits = limits
        self.mtime_ns = mtime_ns
        self._items: dict[bytes, Item] = {}
        self._children: dict[bytes, set[bytes]] = {}
        self._names: dict[tuple[int, bytes, bytes | None], set[bytes]] = {}
        """Paths of each file, which may have several names."""
        self._base: dict[bytes, Item] = {}
        if base is None:
            self._items[b""] = Item(Entry(b"", Kind.FOLDER, 0o755, mtime_ns=mtime_ns))
            return
        for entry in base.entries():
            shown = replace(entry, kind=Kind.FILE, target=None) if _is_link(entry) else entry
            content = Stored(base, entry) if entry.kind in FILES else None
            self.put(Item(shown, content, package=BASE, is_base=True))
        self._base = dict(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def get(self, path: bytes) -> Item | None:
        """Return what is at exactly this path."""
        return self._items.get(path)

    def replaced(self) -> Iterator[tuple[Item, Item]]:
        """Yield what is in the place of something that the base has, with that."""
        for path, below in self._base.items():
            item = self._items.get(path)
            if item is not None and not item.is_base:
                yield item, below

    def names(self, item: Item) -> int:
        """Return how many names a file has."""
        return len(self._names[item.content.file]) if isinstance(item.content, Stored) else 1

    def items(self) -> Iterator[Item]:
        """Yield everything, in no order."""
        yield from self._items.values()

    def real(self, path: bytes, *, follow: bool = True) -> bytes | None:
        """Return the path that ``path`` leads to, whether or not anything is there.

        :param follow: whether a link at the very end is followed.
        :return: None where it leads through a file, or in circles, or is no path at all.
        """
        if b"\0" in path:
            return None
        pending = [part for part in path.split(b"/") if part not in {b"", b"."}][::-1]
        here = b""
        hops = 0
        while pending:
            part = pending.pop()
            if part == b"..":
                here = here.rpartition(b"/")[0]
                continue
            following = join(here, part)
            item = self._items.get(following)
            if item is not None and item.entry.kind is Kind.SYMLINK and (pending or follow):
                hops += 1
                if hops > self.limits.symlink_hops:
                    return None
                target = item.entry.target or b""
                here = b"" if target.startswith(b"/") else here
                pending += [word for word in target.split(b"/") if word not in {b"", b"."}][::-1]
            elif item is not None and item.entry.kind is not Kind.FOLDER and pending:
                return None
            else:
                here = following
        return here

    def find(self, path: bytes, *, follow: bool = True) -> Item | None:
        """Return what a path leads to; None if nothing is there."""
        real = self.real(path, follow=follow)
        return None if real is None else self._items.get(real)

    def children(self, path: bytes) -> list[Item]:
        """Return what is in a folder, sorted; empty if it is none."""
        folder = self.find(path)
        names = self._children.get(folder.entry.path, ()) if folder is not None else ()
        return [self._items[name] for name in sorted(names)]

    def matching(self, pattern: bytes) -> list[bytes]:
        """Return the paths that a shell's pattern stands for, sorted, as the pattern has them."""
        found = [b""]
        for part in pattern.split(b"/"):
            is_pattern = not {b"*", b"?", b"["}.isdisjoint(
                part[i : i + 1] for i in range(len(part))
            )
            following: list[bytes] = []
            for folder in found:
                if len(following) >= self.limits.folder_entries:
                    break
                if not is_pattern:
                    following.append(join(folder, part) if part else folder)
                    continue
                hidden = part.startswith(b".")
                names = (child.entry.name for child in self.children(folder))
                following += [
                    join(folder, name)
                    for name in names
                    if fnmatchcase(name.decode("latin-1"), part.decode("latin-1"))
                    and (hidden or not name.startswith(b"."))
                ]
            found = following[: self.limits.folder_entries]
        return [path for path in found if self.find(path, follow=False) is not None]

    def content(self, path: bytes, limit: int = 1 << 20) -> bytes | None:
        """Return the content of a small file, links followed; None where there is none such."""
        item = self.find(path)
        if item is None or item.entry.kind is not Kind.FILE or item.entry.size > limit:
            return None
        return b"".join(item.blocks())

    def put(self, item: Item) -> None:
        """Have an item at its path, in the place of what is there; its folders are made.

        :raises LimitError: for too many or too long paths.
        """
        path = item.entry.path
        limits = self.limits
        if len(self._items) >= limits.entries:
            message = f"there are more than {limits.entries:,} paths"
            raise LimitError(message, origin=self.origin)
        if len(path) > limits.path_bytes or path.count(b"/") >= limits.depth:
            message = (
                f"a path of {len(path):,} bytes, {quoted(path[:100])} …, is longer than"
                f" {limits.path_bytes:,} or has more than {limits.depth:,} folders"
            )
            raise LimitError(message, origin=self.origin)
        if path:
            self._make_parents(path)
            self._children.setdefault(item.entry.parent, set()).add(path)
        self._forget_name(path)
        self._items[path] = item
        if isinstance(item.content, Stored):
            self._names.setdefault(item.content.file, set()).add(path)

    def _make_parents(self, path: bytes) -> None:
        missing: list[bytes] = []
        while (path := path.rpartition(b"/")[0]) and path not in self._items:
            missing.append(path)
        for folder in reversed(missing):
            self.make(folder, Kind.FOLDER, 0o755)

    def _forget_name(self, path: bytes) -> None:
        former = self._items.get(path)
        if former is not None and isinstance(former.content, Stored):
            self._names[former.content.file].discard(path)

    def change(self, path: bytes, alter: Callable[[Item], Item]) -> None:
        """Change an item's metadata; all names of a file change together."""
        item = self._items[path]
        names = self._names[item.content.file] if isinstance(item.content, Stored) else {path}
        for name in names:
            self._items[name] = replace(alter(self._items[name]), is_base=False)

    def make(self, path: bytes, kind: Kind, mode: int, *, target: bytes | None = None) -> None:
        """Make a folder, link or empty file, root's; nothing is there yet.

        In a folder that is setgid it has that one's group, and a folder is setgid, too: inode(7).
        """
        path = self.real(path, follow=False) or path
        content = b"" if kind is Kind.FILE else None
        gid, bits = self.inherited(path)
        mode |= bits if kind is Kind.FOLDER else 0
        entry = Entry(path, kind, mode, gid=gid, mtime_ns=self.mtime_ns, target=target)
        self.put(Item(entry, content))

    def inherited(self, path: bytes) -> tuple[int, int]:
        """Return the group of what is made at a path, and the setgid bit if a folder has it."""
        around = self._items.get(path.rpartition(b"/")[0])
        if around is None or not around.entry.mode & _SETGID:
            return 0, 0
        return around.entry.gid, _SETGID

    def write(self, path: bytes, content: bytes, mode: int = 0o644) -> None:
        """Give a file new content; one that is there keeps its owner and mode."""
        path = self.real(path) or path
        former = self._items.get(path)
        if former is None or former.entry.kind is not Kind.FILE:
            former = Item(Entry(path, Kind.FILE, mode, gid=self.inherited(path)[0]))
        entry = replace(former.entry, size=len(content), mtime_ns=self.mtime_ns)
        self.put(replace(former, entry=entry, content=content, is_base=False))

    def below(self, path: bytes) -> list[bytes]:
        """Return a path and all below it, folders last."""
        found: list[bytes] = []
        pending = [path]
        while pending:
            here = pending.pop()
            found.append(here)
            pending += self._children.get(here, ())
        return found[::-1]

    def remove(self, path: bytes) -> None:
        """Take a path away, with all below it."""
        for gone in self.below(path):
            self._forget_name(gone)
            del self._items[gone]
            self._children.get(gone.rpartition(b"/")[0], set()).discard(gone)
            self._children.pop(gone, None)

    def move(self, path: bytes, new: bytes) -> None:
        """Move a path with all below it to where nothing is."""
        moved = [self._items[old] for old in self.below(path)[::-1]]
        self.remove(path)
        for item in moved:
            entry = replace(item.entry, path=new + item.entry.path[len(path) :])
            self.put(replace(item, entry=entry, is_base=False))


def _is_link(entry: Entry) -> bool:
    return entry.kind is Kind.HARDLINK
