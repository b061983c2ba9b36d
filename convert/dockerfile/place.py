"""How files get into the image: as files of the build context where ``COPY`` keeps what they are.

``COPY`` of a folder onto one that exists is not the same everywhere: buildah gives the folder, and
all on the way, the owner of the copy, and puts a folder where a link to one was, which other
builders need not do. So only new folders are copied whole, and only if all in them has one owner;
files go one by one into folders that are there. Links are made by ``ln``, since ``COPY`` follows
them. Set-id bits (buildah drops them), xattrs and names that no instruction can have go into one
tar, which ``ADD`` unpacks with all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from convert.dockerfile.accounts import Accounts
from convert.dockerfile.instructions import COMMAND_BYTES, can_be_written, is_plain_path
from formats.core.entry import Entry, Kind
from formats.core.over import TreeOver
from formats.core.tree import TreeIndex, walk_order

CONTEXT_FOLDER = "rootfs"
_MOST_COPIES = 60
"""An image can have 127 layers, each ``COPY`` is one, and the official image has some."""
_SPECIAL_BITS = 0o7000
_READABLE, _ENTERABLE = 0o400, 0o700
_PLAIN_FOLDER = (0o755, 0, 0)


@dataclass(frozen=True, slots=True)
class Copy:
    """A ``COPY``: paths of sources and target without the slash in front; owner None for root."""

    sources: tuple[str, ...]
    target: str
    owner: str | None
    is_folder: bool


@dataclass(slots=True)
class Placed:
    """How entries get into the image, in this order.

    :ivar folders: to be made before, with owner and mode.
    :ivar files: what lies in the build context, with its folders.
    :ivar special: what goes into the tar.
    """

    folders: list[Entry] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)
    links: list[Entry] = field(default_factory=list)
    files: list[Entry] = field(default_factory=list)
    special: list[Entry] = field(default_factory=list)


def place(entries: Sequence[Entry], accounts: Accounts) -> Placed:
    """Decide how entries get into the image.

    :param entries: files, links, and folders that no package brings; parents first.
    """
    placed = _Placing(entries, accounts).placed
    too_long = sum(len(link.path) + len(link.target or b"") for link in placed.links)
    too_long = max(too_long, sum(len(folder.path) + 32 for folder in placed.folders))
    if len(placed.copies) > _MOST_COPIES or too_long > COMMAND_BYTES:
        return Placed(special=list(entries))
    return placed


class _Placing:
    def __init__(self, entries: Sequence[Entry], accounts: Accounts) -> None:
        self.placed = Placed()
        self._accounts = accounts
        self._children: dict[bytes, list[Entry]] = {}
        folders = {entry.path for entry in entries if entry.kind is Kind.FOLDER}
        tops = []
        for entry in entries:
            if entry.parent in folders:
                self._children.setdefault(entry.parent, []).append(entry)
            else:
                tops.append(entry)
        self._filled: set[bytes] = set()
        """Folders with something else than folders in them."""
        self._mixed: set[bytes] = set()
        """Folders that cannot be copied with all that is in them."""
        self._look_at(entries)
        self._place(tops)

    def _look_at(self, entries: Sequence[Entry]) -> None:
        owners = {entry.path: (entry.uid, entry.gid) for entry in entries}
        for entry in reversed(entries):  # what is in a folder comes before it
            around = owners.get(entry.parent)
            is_folder = entry.kind is Kind.FOLDER
            if not is_folder or entry.path in self._filled:
                self._filled.add(entry.parent)
            is_own = around is None or around == owners[entry.path]
            if not _is_plain(entry):
                self._mixed.add(entry.path)
            if entry.path in self._mixed or not is_own:
                self._mixed.add(entry.parent)

    def _place(self, entries: Iterable[Entry]) -> None:
        """Place entries of any folders; a stack, since folders can be nested without end."""
        singles: dict[tuple[bytes, int, int], list[Entry]] = {}
        pending = list(entries)[::-1]
        while pending:
            entry = pending.pop()
            if entry.kind is Kind.FOLDER:
                pending += self._place_folder(entry)[::-1]
            elif entry.kind is Kind.SYMLINK and _can_be_linked(entry):
                self.placed.links.append(entry)
            elif entry.kind is Kind.SYMLINK or not _is_plain(entry) or not _is_source(entry):
                self.placed.special.append(entry)
            else:
                singles.setdefault((entry.parent, entry.uid, entry.gid), []).append(entry)
        for (parent, uid, gid), files in singles.items():
            self._copy([_text(file.path) for file in files], _text(parent), uid, gid)
            self.placed.files += files

    def _place_folder(self, folder: Entry) -> list[Entry]:
        """Place a folder, and return what of it has to be placed by itself."""
        has_content = folder.path in self._filled
        if not has_content and (folder.mode, folder.uid, folder.gid) == _PLAIN_FOLDER:
            return self._children.get(folder.path, [])
        if has_content and _is_source(folder) and folder.path not in self._mixed:
            path = _text(folder.path)
            self._copy([path], path, folder.uid, folder.gid, is_folder=True)
            self.placed.files += [folder, *self._below(folder)]
            return []
        is_made = can_be_written(_text(folder.path)) and not folder.xattrs
        (self.placed.folders if is_made else self.placed.special).append(folder)
        return self._children.get(folder.path, [])

    def _below(self, folder: Entry) -> Iterator[Entry]:
        pending = self._children.get(folder.path, [])[::-1]
        while pending:
            entry = pending.pop()
            yield entry
            pending += self._children.get(entry.path, [])[::-1]

    def _copy(
        self, sources: Sequence[str], target: str, uid: int, gid: int, *, is_folder: bool = False
    ) -> None:
        owner = self._accounts.owner(uid, gid) if uid or gid else None
        self.placed.copies.append(Copy(tuple(sources), target, owner, is_folder))


def _is_plain(entry: Entry) -> bool:
    """Tell whether ``COPY`` keeps all that an entry is, its owner apart."""
    if not can_be_written(_text(entry.path)) or entry.xattrs:
        return False
    if entry.kind is Kind.SYMLINK:
        return True
    needed = _ENTERABLE if entry.kind is Kind.FOLDER else _READABLE
    return not entry.mode & _SPECIAL_BITS and entry.mode & needed == needed


def _is_source(entry: Entry) -> bool:
    return is_plain_path(_text(entry.path))


def _can_be_linked(entry: Entry) -> bool:
    texts = (_text(entry.path), _text(entry.target or b""))
    return all(map(can_be_written, texts)) and not (entry.uid or entry.gid or entry.xattrs)


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


class PickedTree(TreeOver):
    """Some entries of a tree, with the folders they are in; hard links are files of their own.

    :param owner: for files on the host: everything belongs to this user and group, and folders on
        the way are plain.
    """

    def __init__(
        self, index: TreeIndex, picked: Iterable[Entry], owner: tuple[int, int] | None = None
    ) -> None:
        originals = {entry.path: entry for entry in picked}
        found = dict(originals)
        for path in list(found):
            folder = path
            while folder:
                folder = folder.rpartition(b"/")[0]
                if folder in found:
                    break
                found[folder] = self._folder(index, folder, owner)
        found.setdefault(b"", self._folder(index, b"", owner))
        entries = [_as_written(found[path], owner) for path in walk_order(found)]
        super().__init__(index.tree, entries, originals)

    @staticmethod
    def _folder(index: TreeIndex, path: bytes, owner: tuple[int, int] | None) -> Entry:
        known = index.get(path) if owner is None else None
        return known or Entry(path, Kind.FOLDER, 0o755)


def _as_written(entry: Entry, owner: tuple[int, int] | None) -> Entry:
    if entry.kind is Kind.HARDLINK:
        entry = replace(entry, kind=Kind.FILE, target=None)
    if owner is not None:
        entry = replace(entry, uid=owner[0], gid=owner[1])
    return entry
