"""Trees over trees: drop, change and add paths; lay mounted filesystems over folders.

Both keep every promise of :class:`formats.core.tree.Tree`, whatever is dropped or hidden: folders
of what is kept stay, a hard link whose target went away becomes the file itself, and the order
holds. Content is never copied; a tree over a tree asks the one underneath.

The entries that are kept unchanged are the very objects of the tree underneath, so that a stack of
filters costs a reference for each path and not a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TypeAlias

from formats.core.entry import Entry, Kind, join
from formats.core.errors import ConvertError, UnsupportedError, quoted
from formats.core.origin import Origin
from formats.core.over import TreeOver
from formats.core.source import BytesLike
from formats.core.tree import Tree, TreeInfo, walk_order


@dataclass(frozen=True, slots=True)
class Replacement:
    """An entry with content of its own.

    :ivar entry: what is at the path from now on. Its size is taken from ``content``; a hard link
        becomes a file.
    :ivar content: all bytes of a file; nothing for other kinds.
    """

    entry: Entry
    content: bytes = b""


Decision: TypeAlias = Entry | Replacement | None
"""The entry as it is or with other metadata, an entry with other content, or None to drop it."""

Decide: TypeAlias = Callable[[Entry], Decision]


class FilteredTree(TreeOver):
    """A tree with paths dropped, changed and added.

    A decision is about one path, never about the file behind it:

    - Of a file with several names, any can be dropped or changed. The others keep the content:
      the first that is left becomes the file, the rest link to it.
    - A folder that is dropped stays, as it was, if anything below it is kept.
    - Metadata given to a hard link whose target is kept is ignored: they are one file, and the
      target's counts.

    :param decide: called once for each path, here and now, in the order of the tree. A hard link
        whose target was dropped or replaced is shown as what it becomes (a file, a device, …), any
        other as a hard link. Changing the path, or the size without new content, is a bug.
    :param added: further entries. One at a path that is there already stands for the decision
        about it; a new one needs its folder, kept or added.
    :raises ConvertError: for a decision that cannot be carried out; nothing of the input causes it.
    """

    def __init__(self, tree: Tree, decide: Decide, added: Sequence[Replacement] = ()) -> None:
        outcome = _Outcome(tree.origin, decide, added)
        for entry in tree.entries():
            outcome.take(entry)
        super().__init__(tree, outcome.in_order(), outcome.originals)
        self._contents = outcome.contents

    def read(self, entry: Entry) -> Iterator[BytesLike]:
        """See :class:`~formats.core.tree.Tree`."""
        path = self._content_path(entry)
        content = self._contents.get(path)
        if content is not None:
            return iter((content,) if content else ())
        return self._tree.read(self._originals.get(path, entry))

    def will_read(self, entries: Sequence[Entry]) -> None:
        """See :class:`~formats.core.tree.Tree`."""
        contents, originals = self._contents, self._originals
        self._tree.will_read(
            [
                originals.get(path, entry)
                for entry in entries
                if (path := self._content_path(entry)) not in contents
            ]
        )

    def _content_path(self, entry: Entry) -> bytes:
        if entry.kind is Kind.HARDLINK and entry.target is not None:
            return entry.target
        return entry.path


class _Outcome:
    """What becomes of each path while a :class:`FilteredTree` is made."""

    def __init__(self, origin: Origin, decide: Decide, added: Sequence[Replacement]) -> None:
        self.origin = origin
        self.entries: list[Entry] = []
        self.originals: dict[bytes, Entry] = {}
        """The entry underneath, where the new one would not lead to its content."""
        self.contents: dict[bytes, bytes] = {}
        self._decide = decide
        self._added = {replacement.entry.path: replacement for replacement in added}
        self._detached: dict[bytes, Entry] = {}
        """Files that were dropped or replaced, as they were: their links must do without."""
        self._leaders: dict[bytes, Entry] = {}
        """What further links of a changed or detached file go to, by the path they name."""
        self._dropped_folders: list[Entry] = []
        """Folders around the present path that come back if anything in them is kept."""

    def take(self, entry: Entry) -> None:
        """Decide on one path and record the consequence."""
        if entry.kind is Kind.HARDLINK:
            self._take_link(entry)
            return
        decision = self._decision(entry)
        if decision is entry:
            self._keep(entry)
        elif decision is None and entry.kind is Kind.FOLDER:
            self._drop_folder(entry)
        elif decision is None:
            self._detached[entry.path] = entry
        else:
            changed = self._carry_out(entry, decision)
            if isinstance(decision, Replacement) or _is_other_file(entry, changed):
                self._detached[entry.path] = entry
            else:
                self._leaders[entry.path] = changed

    def _take_link(self, link: Entry) -> None:
        target = link.target or b""
        leader = self._leaders.get(target)
        if leader is None and target in self._detached:
            self._take_orphan(link, self._detached[target])
            return
        decision = self._decision(link)
        if decision is None:
            return
        if isinstance(decision, Replacement) or decision.kind is not Kind.HARDLINK:
            self._carry_out(link, decision)
        else:
            self._keep(link if leader is None else _linked(link, leader))

    def _take_orphan(self, link: Entry, detached: Entry) -> None:
        """Let the first link that is left be the file that the dropped or replaced one was."""
        promoted = replace(
            link,
            kind=detached.kind,
            target=detached.target,
            device=detached.device,
            size=detached.size,
        )
        decision = self._decision(promoted)
        if decision is None:
            return
        changed = self._carry_out(promoted, decision, original=link)
        if not isinstance(decision, Replacement) and not _is_other_file(promoted, changed):
            self._leaders[detached.path] = changed

    def _decision(self, entry: Entry) -> Decision:
        return self._added.pop(entry.path, None) or self._decide(entry)

    def _carry_out(
        self, entry: Entry, decision: Entry | Replacement, original: Entry | None = None
    ) -> Entry:
        """Keep what was decided for ``entry``; ``original`` is what the tree underneath reads."""
        changed = _with_content(decision) if isinstance(decision, Replacement) else decision
        self._check(entry, changed)
        if isinstance(decision, Replacement):
            if changed.kind is Kind.FILE:
                self.contents[entry.path] = decision.content
        elif changed.kind is Kind.FILE:
            if changed.size != entry.size or entry.kind not in {Kind.FILE, Kind.HARDLINK}:
                raise self._bug(entry, "new content needs a Replacement")
            original = original or entry
            if changed.kind is not original.kind or changed.node != original.node:
                self.originals[entry.path] = original
        self._keep(changed)
        return changed

    def _check(self, entry: Entry, changed: Entry) -> None:
        if changed.path != entry.path:
            raise self._bug(entry, f"it cannot be renamed to {quoted(changed.path)}")
        if (changed.kind is Kind.FOLDER) is not (entry.kind is Kind.FOLDER):
            raise self._bug(entry, "a folder cannot become something else, nor the reverse")
        if changed.kind is Kind.HARDLINK:
            raise self._bug(entry, "a file cannot be made a hard link")

    def _drop_folder(self, folder: Entry) -> None:
        if not folder.path:
            raise self._bug(folder, "the root folder cannot be dropped")
        self._leave_folders(folder.path)
        self._dropped_folders.append(folder)

    def _leave_folders(self, path: bytes) -> None:
        pending = self._dropped_folders
        while pending and not path.startswith(pending[-1].path + b"/"):
            pending.pop()

    def _keep(self, entry: Entry) -> None:
        if self._dropped_folders:
            self._leave_folders(entry.path)
            self.entries += self._dropped_folders
            self._dropped_folders.clear()
        self.entries.append(entry)

    def in_order(self) -> list[Entry]:
        """Return all entries, those that are wholly new at their places."""
        if not self._added:
            return self.entries
        by_path = {entry.path: entry for entry in self.entries}
        for path in walk_order(self._added):
            replacement = self._added[path]
            folder = by_path.get(replacement.entry.parent)
            if folder is None or folder.kind is not Kind.FOLDER:
                raise self._bug(replacement.entry, "an added entry needs its folder")
            entry = by_path[path] = _with_content(replacement)
            if entry.kind is Kind.FILE:
                self.contents[path] = replacement.content
        return [by_path[path] for path in walk_order(by_path)]

    def _bug(self, entry: Entry, message: str) -> ConvertError:
        return ConvertError(f"{quoted(entry.path)}: {message}", origin=self.origin)


def _with_content(replacement: Replacement) -> Entry:
    entry = replacement.entry
    if entry.kind in {Kind.FILE, Kind.HARDLINK}:
        return replace(entry, kind=Kind.FILE, size=len(replacement.content), target=None)
    return entry


def _is_other_file(entry: Entry, changed: Entry) -> bool:
    return (entry.kind, entry.target, entry.device) != (
        changed.kind,
        changed.target,
        changed.device,
    )


def _linked(link: Entry, leader: Entry) -> Entry:
    """Return a hard link to ``leader`` at the path of ``link``."""
    return replace(leader, path=link.path, kind=Kind.HARDLINK, target=leader.path, node=link.node)


@dataclass(frozen=True, slots=True)
class _Mount:
    """A tree at a path.

    :ivar number: from 1, below ``numbers``: what keeps its nodes apart from those of the others.
    """

    path: bytes
    tree: Tree
    number: int
    numbers: int

    def outward(self, entry: Entry) -> Entry:
        """Return the entry as the composed tree shows it."""
        return self._moved(
            entry,
            join(self.path, entry.path) if entry.path else self.path,
            lambda target: join(self.path, target),
            (entry.node * self.numbers + self.number) << _NODE_BITS,
        )

    def inward(self, entry: Entry) -> Entry:
        """Return the entry as the mounted tree knows it."""
        skip = len(self.path) + 1
        return self._moved(
            entry,
            entry.path[skip:],
            lambda target: target[skip:],
            (entry.node >> _NODE_BITS) // self.numbers,
        )

    def _moved(self, entry: Entry, path: bytes, move: Callable[[bytes], bytes], node: int) -> Entry:
        target = entry.target
        if entry.kind is Kind.HARDLINK and target is not None:
            target = move(target)
        return replace(entry, path=path, target=target, node=node)


_NODE_BITS = 64
"""Nodes of the root stay as they are; those of mounts, and of mounts in mounts, lie above."""


class ComposedTree:
    """Filesystems laid over folders of a root, as the kernel shows them when they are mounted.

    What lies below a mount point is hidden, and the mounted root's owner, mode and times take the
    place of the mount point's. A mount point that is missing is made, with its folders (mode 755,
    root's), as ``systemd.mount(5)`` does.

    :param mounts: trees by path, as in :class:`~formats.core.entry.Entry`; symlinks resolved by
        the caller. One may lie inside another.
    :raises UnsupportedError: if a mount point is there and not a folder.
    """

    def __init__(self, root: Tree, mounts: Mapping[bytes, Tree]) -> None:
        paths = walk_order(mounts)
        if b"" in mounts:
            raise ConvertError("nothing can be mounted over the root", origin=root.origin)
        direct: list[bytes] = []
        for path in paths:
            if not direct or not path.startswith(direct[-1] + b"/"):
                direct.append(path)
        self._mounts: dict[bytes, _Mount] = {}
        for number, path in enumerate(direct, start=1):
            inside = {
                inner[len(path) + 1 :]: mounts[inner]
                for inner in paths
                if inner.startswith(path + b"/")
            }
            tree = ComposedTree(mounts[path], inside) if inside else mounts[path]
            self._mounts[path] = _Mount(path, tree, number, len(direct) + 1)
        self._root = _with_mount_points(root, self._mounts)

    @property
    def origin(self) -> Origin:
        """Breadcrumb of the root."""
        return self._root.origin

    @property
    def info(self) -> TreeInfo:
        """What the root says of itself."""
        return self._root.info

    def entries(self) -> Iterator[Entry]:
        """See :class:`~formats.core.tree.Tree`."""
        mounts = self._mounts
        for entry in self._root.entries():
            mount = mounts.get(entry.path)
            if mount is None:
                yield entry
            else:
                yield from map(mount.outward, mount.tree.entries())

    def read(self, entry: Entry) -> Iterator[BytesLike]:
        """See :class:`~formats.core.tree.Tree`."""
        mount = self._mount_of(entry.path)
        if mount is None:
            return self._root.read(entry)
        return mount.tree.read(mount.inward(entry))

    def will_read(self, entries: Sequence[Entry]) -> None:
        """Pass the hint on, to one tree after the other as they take turns."""
        for mount, group in groupby(entries, lambda entry: self._mount_of(entry.path)):
            if mount is None:
                self._root.will_read(list(group))
            else:
                mount.tree.will_read([mount.inward(entry) for entry in group])

    def _mount_of(self, path: bytes) -> _Mount | None:
        for mount in self._mounts.values():
            if path.startswith(mount.path) and path[len(mount.path) :][:1] in {b"", b"/"}:
                return mount
        return None


def _with_mount_points(root: Tree, mounts: Mapping[bytes, _Mount]) -> FilteredTree:
    """Return the root with everything below mount points hidden and all mount points there."""
    below = tuple(path + b"/" for path in mounts)
    wanted = {folder for path in mounts for folder in _ancestry(path)}
    kinds: dict[bytes, Kind] = {}

    def decide(entry: Entry) -> Entry | None:
        if entry.path in wanted:
            kinds[entry.path] = entry.kind
        return None if entry.path.startswith(below) else entry

    hidden = FilteredTree(root, decide)
    for path in walk_order(kinds):
        if kinds[path] is not Kind.FOLDER:
            raise UnsupportedError(
                f"{quoted(path)} is a {kinds[path].value}, so nothing can be mounted there",
                origin=root.origin,
            )
    missing = [path for path in walk_order(wanted) if path not in kinds]
    if not missing:
        return hidden
    made = [Replacement(Entry(path, Kind.FOLDER, 0o755)) for path in missing]
    return FilteredTree(hidden, lambda entry: entry, made)


def _ancestry(path: bytes) -> Iterator[bytes]:
    """Yield the path and every folder above it but the root."""
    while path:
        yield path
        path = path.rpartition(b"/")[0]
