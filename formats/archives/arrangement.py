"""From members in any order and form to the entries that a tree promises.

Programs that unpack archives put one member after the other on a disk. That is not imitated where
it is what attacks use: a member below a symlink is an error whatever the order (CVE-2025-4330),
and a hard link stands for the member that had its target's path when the link came, whatever took
that path later.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic

from formats.archives.member import Content, Member
from formats.archives.tally import Tally
from formats.core.entry import Entry, Kind
from formats.core.errors import CorruptError, LimitError, quoted
from formats.core.finding import Action, Finding
from formats.core.limits import Limits
from formats.core.origin import Origin

NOT_A_MEMBER = -1
"""What :attr:`Entry.node` is for folders that no member describes."""

_FOLDER_MODE = 0o755
_LAST_ID = (1 << 32) - 1
"""Of a user or group; ids have 32 bits on Linux."""
_SYMLINK_MODE = 0o777
"""Of every symlink on Linux; other systems write others."""


class Arrangement(Generic[Content]):
    """Members by path while they are taken.

    :ivar members: those that are no hard links, by number.
    """

    def __init__(self, origin: Origin, limits: Limits, *, forward_links: bool) -> None:
        self.members: list[Member[Content]] = []
        self._origin = origin
        self._limits = limits
        self._forward_links = forward_links
        self._by_path: dict[bytes, int] = {}
        """Path → number of the member; of hard links, that of the one they are a name of."""
        self._pending: dict[bytes, bytes] = {}
        """Path of a hard link that came before its target → path of that."""
        self._absolute = Tally(
            "absolute-member", Action.CHANGED, "its path is absolute; it is taken from the root"
        )
        self._replaced = Tally(
            "duplicate-member", Action.DROPPED, "a later member has the same path, and counts"
        )
        self._made = Tally(
            "folder-without-member",
            Action.ADDED,
            f"no member describes the folder; it gets mode {_FOLDER_MODE:04o} and owner root",
        )

    def findings(self) -> Iterator[Finding]:
        """Yield what is to be said of the members."""
        for tally in (self._absolute, self._replaced, self._made):
            finding = tally.finding()
            if finding is not None:
                yield finding

    def add(self, member: Member[Content]) -> None:
        """Take one more member."""
        path = self._inner(member.path)
        kind = member.kind
        if member.uid > _LAST_ID or member.gid > _LAST_ID:
            raise self._corrupt(
                f"{quoted(path)} is owned by {member.uid:,}:{member.gid:,}, which no system has"
            )
        if not path and kind is not Kind.FOLDER:
            raise self._corrupt(f"has {quoted(member.path)} as a {kind.value}, which is its root")
        if kind is Kind.HARDLINK:
            self._add_link(path, member)
            return
        if kind is Kind.SYMLINK:
            self._check_target(path, member.target)
        if member.xattrs:
            self._check_xattrs(path, member.xattrs)
        number = len(self.members)
        self._replace(path, kind, member)
        self.members.append(member)
        self._by_path[path] = number
        if len(self._by_path) + len(self._pending) > self._limits.entries:
            raise self._too_much(path, f"is one more than {self._limits.entries:,} paths")

    def _add_link(self, path: bytes, member: Member[Content]) -> None:
        if not member.target:
            raise self._corrupt(f"{quoted(path)} is a hard link to nothing")
        target = self._inner(member.target, is_target=True)
        number = self._by_path.get(target)
        if number is None:
            if not self._forward_links:
                raise self._dangling(path, target)
            self._replace(path, Kind.HARDLINK, member)
            self._by_path.pop(path, None)
            self._pending[path] = target
            return
        self._link(path, target, number)

    def _link(self, path: bytes, target: bytes, number: int) -> None:
        if self.members[number].kind is Kind.FOLDER:
            raise self._corrupt(f"{quoted(path)} is a hard link to the folder {quoted(target)}")
        if self._by_path.get(path) != number:
            self._replace(path, Kind.HARDLINK, None)
        self._by_path[path] = number

    def _replace(self, path: bytes, kind: Kind, member: Member[Content] | None) -> None:
        """See to a member of the same path that came before, if there is one."""
        number = self._by_path.get(path)
        if number is None:
            if self._pending.pop(path, None) is not None:
                self._replaced.add(path)
            return
        earlier = self.members[number]
        if (earlier.kind is Kind.FOLDER) != (kind is Kind.FOLDER):
            raise self._corrupt(
                f"{quoted(path)} is there as a {earlier.kind.value} and as a {kind.value}"
            )
        if member is None or not _is_same_folder(earlier, member):
            self._replaced.add(path or b"/")

    def entries(self) -> list[Entry]:
        """Return all entries in the order of trees, with the folders that are missing."""
        self._resolve_pending()
        self._make_folders()
        folders: dict[bytes, int] = {}
        first_names: dict[int, bytes] = {}
        found: list[Entry] = []
        by_path = self._by_path
        # as a name has no NUL, this sorts as a list of names would
        for path in sorted(by_path, key=lambda path: path.replace(b"/", b"\0")):
            if path:
                self._check_folder(path, folders)
            entry = self._entry(path, by_path[path], first_names)
            if entry.kind is Kind.FOLDER:
                folders[path] = 0
            found.append(entry)
        return found

    def _check_folder(self, path: bytes, folders: dict[bytes, int]) -> None:
        """Count a path in its folder, which is known already as parents come first."""
        folder = path.rpartition(b"/")[0]
        count = folders.get(folder)
        if count is None:
            self._refuse_below(path, folder)
        elif count >= self._limits.folder_entries:
            most = self._limits.folder_entries
            raise self._too_much(folder, f"is a folder of more than {most:,} entries")
        else:
            folders[folder] = count + 1

    def _refuse_below(self, path: bytes, folder: bytes) -> None:
        kind = self.members[self._by_path[folder]].kind
        if kind is Kind.SYMLINK:
            raise CorruptError(
                f"{quoted(path)} leads through the symlink {quoted(folder)}",
                origin=self._origin,
                hint="such archives write outside of the folder they are unpacked in; pack it"
                " again with the folder itself if it is trusted",
            )
        raise self._corrupt(f"{quoted(path)} is in {quoted(folder)}, which is a {kind.value}")

    def _entry(self, path: bytes, number: int, first_names: dict[int, bytes]) -> Entry:
        if number == NOT_A_MEMBER:
            return Entry(path, Kind.FOLDER, _FOLDER_MODE, node=NOT_A_MEMBER)
        member = self.members[number]
        kind, target = member.kind, member.target if member.kind is Kind.SYMLINK else None
        first = first_names.setdefault(number, path)
        size = member.size if kind is Kind.FILE else 0
        if first is not path:
            kind, target = Kind.HARDLINK, first
        return Entry(
            path,
            kind,
            member.mode & 0o7777 if member.kind is not Kind.SYMLINK else _SYMLINK_MODE,
            member.uid,
            member.gid,
            member.mtime_ns,
            size,
            target,
            member.device,
            tuple(sorted(member.xattrs)) if member.xattrs else (),
            number,
        )

    def _resolve_pending(self) -> None:
        """Give hard links that came first what they are a name of."""
        pending = self._pending
        while pending:
            path, target = pending.popitem()
            chain = [path]  # links to links, each of which is looked at once
            while target in pending:
                chain.append(target)
                target = pending.pop(target)
            number = self._by_path.get(target)
            if number is None:
                raise self._dangling(path, target)
            for link in chain:
                self._link(link, target, number)

    def _make_folders(self) -> None:
        by_path = self._by_path
        missing: set[bytes] = set()
        for path in by_path:
            folder = path
            while folder:
                folder = folder.rpartition(b"/")[0]
                if folder in by_path or folder in missing:
                    break
                missing.add(folder)
            if len(by_path) + len(missing) > self._limits.entries:
                raise self._too_much(b"", f"has more than {self._limits.entries:,} paths in it")
        by_path.setdefault(b"", NOT_A_MEMBER)  # an archive hardly ever describes the root
        missing.discard(b"")
        for folder in sorted(missing):
            by_path[folder] = NOT_A_MEMBER
            self._made.add(folder)

    def _inner(self, written: bytes, *, is_target: bool = False) -> bytes:
        """Return a path below the root.

        :raises CorruptError: for a path that leads out of the tree.
        """
        path = written[2:] if written.startswith(b"./") else written
        if path.endswith(b"/"):
            path = path.rstrip(b"/")
        if not path or path[0] in b"./" or b"//" in path or b"/." in path:
            parts = [part for part in path.split(b"/") if part not in {b"", b"."}]
            if b".." in parts:
                what = "a hard link to" if is_target else "the member"
                raise self._corrupt(f"{what} {quoted(written)} leads out of the archive")
            path = b"/".join(parts)
        if written.startswith(b"/") and not is_target:
            self._absolute.add(written)
        self._check_path(path)
        return path

    def _check_path(self, path: bytes) -> None:
        limits = self._limits
        if b"\0" in path:
            raise self._corrupt(f"a member is named {quoted(path)}, which no system allows")
        if len(path) <= limits.name_bytes and len(path) <= limits.depth:
            return
        if len(path) > limits.path_bytes:
            raise self._too_much(path, f"is a path of more than {limits.path_bytes:,} bytes")
        names = path.split(b"/")
        if len(names) > limits.depth:
            raise self._too_much(path, "is nested too deep")
        if max(map(len, names)) > limits.name_bytes:
            raise self._too_much(path, f"has a name of more than {limits.name_bytes:,} bytes")

    def _check_target(self, path: bytes, target: bytes | None) -> None:
        if not target or b"\0" in target:
            raise self._corrupt(f"{quoted(path)} is a symlink to {quoted(target or b'')}")
        most = self._limits.symlink_target_bytes
        if len(target) > most:
            raise self._too_much(path, f"is a symlink with a target of more than {most:,} bytes")

    def _check_xattrs(self, path: bytes, xattrs: tuple[tuple[bytes, bytes], ...]) -> None:
        limits = self._limits
        if len(xattrs) > limits.xattrs_per_file:
            raise self._too_much(path, f"has more than {limits.xattrs_per_file:,} xattrs")
        for name, value in xattrs:
            if len(value) > limits.xattr_value_bytes:
                what = f"has an xattr {quoted(name)} of {len(value):,} bytes"
                raise self._too_much(path, what)

    def _dangling(self, path: bytes, target: bytes) -> CorruptError:
        return self._corrupt(
            f"{quoted(path)} is a hard link to {quoted(target)}, which no member"
            f"{'' if self._forward_links else ' before it'} has"
        )

    def _corrupt(self, problem: str) -> CorruptError:
        return CorruptError(problem, origin=self._origin)

    def _too_much(self, path: bytes, what: str) -> LimitError:
        return LimitError(f"{quoted(path or b'/')} {what}", origin=self._origin)


def _is_same_folder(earlier: Member[Content], later: Member[Content]) -> bool:
    """Tell whether two members say the same of a folder; many archivers repeat them."""
    return earlier.kind is Kind.FOLDER and (
        (earlier.mode, earlier.uid, earlier.gid, earlier.mtime_ns, earlier.xattrs)
        == (later.mode, later.uid, later.gid, later.mtime_ns, later.xattrs)
    )
