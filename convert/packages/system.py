"""What packages change of a root beside their own files: the state that scripts work on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from convert.inspect.text import encoded
from convert.packages.accounts import AccountBook
from convert.packages.alternatives import Alternatives
from convert.packages.world import Item, Stored, World
from formats.core.entry import Entry, Kind
from formats.core.finding import Action, Finding
from formats.core.package import Package

KEPT_AS_DATA = frozenset(
    {b"etc/passwd", b"etc/group", b"etc/shadow", b"etc/gshadow", b"etc/ld.so.cache"}
)
"""Files that are written in the end, whatever scripts do to them."""


_LOOKS_MAX = 2_000_000
"""Paths that scripts may reach by way of a folder above them, counted as often as they are."""
_BYTES_A_LOOK = 256
"""Of files that scripts read, as many as take the time of a look at a path."""

_CAPABILITY = b"security.capability"
_SETUID, _SETGID, _GROUP_MAY_RUN = 0o4000, 0o2000, 0o010


class DeedError(ValueError):
    """Something that a script asks for and that cannot be done."""


@dataclass(slots=True)
class System:
    """A root on the way.

    :ivar packages: what is or will be in it, by name.
    :ivar units: units that scripts enable, and whose script it is: (package, unit), who asks.
    :ivar masked: units that are masked.
    :ivar diversions: where files of others go, by path: the new path, and whose package may stay.
    :ivar overrides: paths that have their owner and mode from dpkg-statoverride(1), with its line.
    :ivar replaced: for each package, those whose files it may take over.
    :ivar note: takes findings.
    """

    world: World
    accounts: AccountBook
    note: Callable[[Finding], None]
    replaced: Mapping[str, frozenset[str]] = field(default_factory=dict)
    architecture: str = "amd64"
    packages: Mapping[str, Package] = field(default_factory=dict)
    alternatives: Alternatives = field(default_factory=Alternatives)
    units: dict[tuple[str, str], str] = field(default_factory=dict)
    masked: dict[str, str] = field(default_factory=dict)
    diversions: dict[bytes, tuple[bytes, str]] = field(default_factory=dict)
    overrides: dict[bytes, str] = field(default_factory=dict)
    _looks_left: int = _LOOKS_MAX

    def enable(self, package: str, units: Sequence[str], by: str) -> None:
        """Remember that a package's script enables units."""
        for unit in units:
            self.units.setdefault((package, unit), by)

    def path(self, path: str, *, follow: bool = True) -> bytes:
        """Return where a path leads.

        :raises DeedError: where it leads nowhere, or is not absolute.
        """
        if not path.startswith("/"):
            raise DeedError(f"'{path}' is no absolute path")
        real = self.world.real(encoded(path), follow=follow)
        if real is None:
            raise DeedError(f"'{path}' leads nowhere")
        return real

    def item(self, path: str, *, follow: bool = True) -> Item | None:
        """Return what is at a path."""
        if not path.startswith("/"):
            return None
        return self.world.find(encoded(path), follow=follow)

    def content(self, path: str) -> bytes | None:
        """Return what is in a small file; None if there is none such.

        :raises DeedError: if scripts have looked at too much.
        """
        item = self.item(path)
        if item is None:
            return None
        content = self.world.content(item.entry.path)
        self._look(len(content or b"") // _BYTES_A_LOOK)
        return content

    def _look(self, count: int) -> None:
        self._looks_left -= count
        if self._looks_left < 0:
            raise DeedError("scripts look at too much")

    def make_folder(self, path: str, by: str, mode: int | None = None) -> bool:
        """Make a folder, and those above it; tell whether it was not there.

        :raises DeedError: if something else is there.
        """
        real = self.path(path)
        there = self.world.get(real)
        if there is not None:
            if there.entry.kind is not Kind.FOLDER:
                raise DeedError(f"'{path}' is no folder")
            return False
        self.world.make(real, Kind.FOLDER, 0o755 if mode is None else mode)
        self.told("package-folder", real, Action.ADDED, by)
        return True

    def make_link(self, path: str, target: str, by: str, *, replaces: bool) -> None:
        """Make a symlink.

        :raises DeedError: if something is there that must stay.
        """
        real = self.path(path, follow=False)
        there = self.world.get(real)
        if there is not None:
            is_same = there.entry.target == encoded(target)
            if there.entry.kind is Kind.SYMLINK and is_same:
                return
            if not replaces or there.entry.kind is Kind.FOLDER:
                raise DeedError(f"'{path}' is there already")
        if "\0" in target or not 0 < len(target) <= self.world.limits.symlink_target_bytes:
            raise DeedError("a symlink cannot lead there")
        self.world.make(real, Kind.SYMLINK, 0o777, target=encoded(target))
        self.told("package-link", real, Action.ADDED, f"to {target}, {by}")

    def write(self, path: str, content: bytes, by: str, mode: int = 0o644) -> None:
        """Give a file its content.

        :raises DeedError: for a folder, and for files that are kept otherwise.
        """
        real = self.path(path)
        there = self.world.get(real)
        if real in KEPT_AS_DATA:
            raise DeedError(f"'{path}' is not written by scripts")
        if there is not None and there.entry.kind is not Kind.FILE:
            raise DeedError(f"'{path}' is no file")
        if there is not None and self.world.content(real) == content:
            return
        self.world.write(real, content, mode)
        action = Action.ADDED if there is None else Action.CHANGED
        self.told("package-file", real, action, f"{len(content):,} bytes, {by}")

    def copy(self, path: str, new: str, by: str, mode: int | None = None) -> None:
        """Copy a file, with its mode unless another is given.

        :raises DeedError: if there is none, or something else is in the way.
        """
        if path == "/dev/null":
            self.write(new, b"", by, 0o644 if mode is None else mode)
            return
        item = self.item(path)
        if item is None or item.entry.kind is not Kind.FILE:
            raise DeedError(f"'{path}' is no file to copy")
        real = self.path(new)
        there = self.world.get(real)
        if real in KEPT_AS_DATA:
            raise DeedError(f"'{new}' is not written by scripts")
        if there is not None and there.entry.kind is not Kind.FILE:
            raise DeedError(f"'{new}' is no file")
        old = item.entry
        entry = Entry(
            real,
            Kind.FILE,
            old.mode if mode is None else mode,
            gid=self.world.inherited(real)[0],
            mtime_ns=self.world.mtime_ns,
            size=old.size,
        )
        content = item.content
        if isinstance(content, Stored):
            content = content._replace(copy=real)
        self.world.put(Item(entry, content))
        self.told("package-file", real, Action.ADDED, f"a copy of {path}, {by}")

    def remove(self, path: str, by: str, *, is_recursive: bool = False) -> None:
        """Take a path away, if it is there.

        :raises DeedError: for what the base has: the layers of it stay as they are.
        """
        real = self.path(path, follow=False)
        there = self.world.get(real)
        if there is None:
            return
        if not real or (self.world.children(real) and not is_recursive):
            raise DeedError(f"'{path}' is not empty")
        below = self.below(path) if there.entry.kind is Kind.FOLDER else [path]
        inside = (self.item(name, follow=False) for name in below)
        if any(item is not None and item.is_base for item in inside):
            raise DeedError(f"'{path}' is in the base, and stays")
        self.world.remove(real)
        self.told("package-removed", real, Action.DROPPED, by)

    def move(self, path: str, new: str, by: str) -> None:
        """Move what is at a path to where nothing is.

        :raises DeedError: for what the base has, and where something is.
        """
        real, there = self.path(path, follow=False), self.path(new, follow=False)
        item = self.world.get(real)
        if item is None:
            raise DeedError(f"'{path}' is not there")
        if item.is_base or not real or there.startswith(real + b"/"):
            raise DeedError(f"'{path}' cannot be moved")
        former = self.world.get(there)
        if former is not None and Kind.FOLDER in {former.entry.kind, item.entry.kind}:
            raise DeedError(f"'{new}' is there already")
        self.world.move(real, there)
        self.told("package-file", there, Action.CHANGED, f"it was {path}, {by}")

    def set_mode(
        self, path: str, mode: Callable[[Entry], int], by: str, *, tells: bool = True
    ) -> bool:
        """Change a mode; tell whether it was another.

        :param tells: whether that has a finding.
        :raises DeedError: if nothing is there.
        """
        real = self._there(path)
        before = self.world.get(real)
        if before is None or before.entry.mode == mode(before.entry):
            return False
        wanted = mode(before.entry)
        self.world.change(real, lambda item: replace(item, entry=replace(item.entry, mode=wanted)))
        if tells:
            evidence = f"{before.entry.mode:o} to {wanted:o}, {by}"
            self.told("package-mode", real, Action.CHANGED, evidence)
        return True

    def set_owner(
        self, path: str, user: str | None, group: str | None, by: str, *, tells: bool = True
    ) -> bool:
        """Change owners, given by name or number; tell whether they were others.

        :param user: None leaves the one that there is.
        :param tells: whether a change has a finding.
        :raises DeedError: if nothing is there, or there is no such user or group.
        """
        real = self._there(path)
        uid = None if user is None else self.accounts.uid(user)
        gid = None if group is None else self.accounts.gid(group)
        if user is not None and uid is None:
            raise DeedError(f"there is no user '{user}'")
        if group is not None and gid is None:
            raise DeedError(f"there is no group '{group}'")
        before = self.world.get(real)
        if before is None or _owned(before, uid, gid) == before:
            return False
        self.world.change(real, lambda item: _without_privileges(_owned(item, uid, gid)))
        if tells:
            self.told("package-owner", real, Action.CHANGED, f"{user or ''}:{group or ''}, {by}")
        return True

    def below(self, path: str) -> list[str]:
        """Return a path and all below it, folders last; how much may be looked at is limited.

        :raises DeedError: if nothing is there, or scripts have looked at too much.
        """
        names = self.world.below(self._there(path))
        self._look(len(names))
        return ["/" + name.decode("utf-8", "surrogateescape") for name in names]

    def set_capability(self, path: str, value: bytes, by: str) -> None:
        """Give a program file capabilities: the xattr ``security.capability``.

        :raises DeedError: if it is no file.
        """
        real = self._there(path)
        item = self.world.get(real)
        if item is None or item.entry.kind is not Kind.FILE:
            raise DeedError(f"'{path}' is no file")

        def capable(item: Item) -> Item:
            others = [pair for pair in item.entry.xattrs if pair[0] != _CAPABILITY]
            xattrs = tuple(sorted([*others, (_CAPABILITY, value)]))
            return replace(item, entry=replace(item.entry, xattrs=xattrs))

        self.world.change(real, capable)
        self.told("package-capability", real, Action.CHANGED, by)

    def show_alternative(self, name: str, by: str) -> None:
        """Make the links of a common name lead to the choice that counts now.

        :raises DeedError: if something else is where one of them would be.
        """
        alternative = self.alternatives.get(name)
        if alternative is None:
            return
        for path in alternative.unused_links():
            unused = self.item(path, follow=False)
            if unused is not None and not unused.is_base and unused.entry.kind is Kind.SYMLINK:
                self.world.remove(unused.entry.path)
        for path, target in alternative.links():
            there = self.item(path, follow=False)
            if there is not None and there.entry.kind is not Kind.SYMLINK:
                raise DeedError(f"'{path}' is there already")
            if there is not None and there.entry.target == encoded(target):
                continue
            real = self.path(path, follow=False)
            self.world.make(real, Kind.SYMLINK, 0o777, target=encoded(target))
            self.told("package-alternative", real, Action.ADDED, f"to {target}, {by}")

    def told(self, rule: str, path: bytes, action: Action, evidence: str) -> None:
        """Make a finding of what was done."""
        self.note(Finding(rule, path, action, evidence))

    def _there(self, path: str) -> bytes:
        real = self.path(path)
        if self.world.get(real) is None:
            raise DeedError(f"'{path}' is not there")
        return real


def _owned(item: Item, uid: int | None, gid: int | None) -> Item:
    entry = replace(
        item.entry,
        uid=item.entry.uid if uid is None else uid,
        gid=item.entry.gid if gid is None else gid,
    )
    user, group = item.owner
    return replace(
        item, entry=entry, owner=(user if uid is None else "", group if gid is None else "")
    )


def _without_privileges(item: Item) -> Item:
    """Return what chown(2) leaves of a file: no setuid, no setgid, no capabilities."""
    entry = item.entry
    if entry.kind is not Kind.FILE:
        return item
    lost = _SETUID | (_SETGID if entry.mode & _GROUP_MAY_RUN else 0)
    xattrs = tuple(pair for pair in entry.xattrs if pair[0] != _CAPABILITY)
    return replace(item, entry=replace(entry, mode=entry.mode & ~lost, xattrs=xattrs))
