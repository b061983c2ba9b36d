"""Putting the files of one package into the root, as dpkg(1) and rpm(8) do where paths meet."""

from __future__ import annotations

from dataclasses import replace

from convert.packages.system import DeedError, System
from convert.packages.world import FILES, Item, Stored
from formats.core.entry import Entry, Kind, join
from formats.core.finding import Action
from formats.core.origin import printable
from formats.packages.tree import PackageTree


def unpack(system: System, package: PackageTree) -> None:
    """Put all paths of a package into the root.

    Folders merge, and the first one's owner and mode stay. A symlink to a folder stays where a
    package has a folder, and a folder where one has a symlink. Of files of two packages the later
    counts, with a finding unless it is the same file, or one package replaces the other.
    """
    for entry in package.entries():
        if entry.path:
            _put(system, package, entry)


def _put(system: System, package: PackageTree, entry: Entry) -> None:
    world = system.world
    name = package.package.name
    folder = world.real(entry.parent)
    if folder is None:
        _conflict(system, entry.path, f"{name} has it, and the way there leads through a file")
        return
    path = join(folder, entry.name)
    diverted = system.diversions.get(path)
    if diverted is not None and diverted[1] != name:
        path = diverted[0]
    there = world.get(path)
    item = _item(package, entry, path)
    if there is None:
        world.put(item)
        _override(system, path)
    elif there.entry.kind is Kind.FOLDER or entry.kind is Kind.FOLDER:
        _meet_folder(system, there, item, name)
    elif _may_replace(system, there, item, package):
        world.put(item)
        _override(system, path)


def _item(package: PackageTree, entry: Entry, path: bytes) -> Item:
    is_link = entry.kind is Kind.HARDLINK
    shown = replace(
        entry,
        path=path,
        kind=Kind.FILE if is_link else entry.kind,
        target=None if is_link else entry.target,
    )
    owner = package.owners.get(entry.path)
    if owner is None and is_link:
        owner = package.owners.get(entry.target or b"")
    content = Stored(package, entry) if entry.kind in FILES else None
    return Item(shown, content, owner or ("", ""), package.package.name)


def _override(system: System, path: bytes) -> None:
    """Give a path what dpkg-statoverride(1) was told before it was there."""
    line = system.overrides.get(path)
    if line is None:
        return
    user, group, mode, shown = line.split(" ", 3)
    by = "by dpkg-statoverride"
    try:
        system.set_owner(shown, user, group, by)
        system.set_mode(shown, lambda _: int(mode, 8) & 0o7777, by)
    except DeedError as error:
        system.told("package-owner", path, Action.REPORTED, f"{error}, {by}")


def _meet_folder(system: System, there: Item, item: Item, name: str) -> None:
    world = system.world
    path = item.entry.path
    if there.entry.kind is item.entry.kind:
        if not (there.package or there.is_base):
            world.put(item)  # it was only made because something lies in it
        return
    if {there.entry.kind, item.entry.kind} != {Kind.FOLDER, Kind.SYMLINK}:
        _conflict(system, path, f"{_owner(there)} has a {there.entry.kind.value}, {name} another")
    elif there.entry.kind is Kind.SYMLINK:
        leads_to = world.find(path)
        if leads_to is None or leads_to.entry.kind is not Kind.FOLDER:
            _conflict(system, path, f"{name} has a folder, and the link there leads to none")
    elif not (world.children(path) or there.package or there.is_base):
        world.remove(path)
        world.put(item)
    else:
        _conflict(system, path, f"{name} has a symlink, and the folder there is not empty")


def _may_replace(system: System, there: Item, item: Item, package: PackageTree) -> bool:
    """Tell whether a package's file takes the place of what is there."""
    path = item.entry.path
    name = package.package.name
    if item.entry.kind is Kind.SYMLINK and _leads_to_itself(system, item):
        return False  # /usr/bin/x as a link to /bin/x, of a package from before /usr was merged
    if there.entry.kind is Kind.SYMLINK and _leads_to_itself(system, there):
        return True
    if there.is_base:
        original = item.content.entry.path if isinstance(item.content, Stored) else path
        if original in package.package.configuration:
            system.told(
                "package-conffile", path, Action.REPORTED, f"the base's stays, not that of {name}"
            )
            return False
        return True
    if not there.package or there.package == name or there.package in system.replaced[name]:
        return True
    if name in system.replaced.get(there.package, frozenset()):
        return False
    if not _is_same(there, item):
        _conflict(system, path, f"{there.package} has it, too; that of {name} counts")
    return True


def _leads_to_itself(system: System, item: Item) -> bool:
    target = item.entry.target or b""
    path = item.entry.path
    absolute = target if target.startswith(b"/") else join(item.entry.parent, target)
    return system.world.real(absolute, follow=False) == path


def _is_same(one: Item, other: Item) -> bool:
    first, second = one.entry, other.entry
    if (first.kind, first.size, first.target) != (second.kind, second.size, second.target):
        return False
    if first.kind is not Kind.FILE:
        return True
    digests = [_digest(one), _digest(other)]
    return digests[0] == digests[1] is not None


def _digest(item: Item) -> tuple[str, str] | None:
    content = item.content
    if not isinstance(content, Stored) or not isinstance(content.tree, PackageTree):
        return None
    return content.tree.package.digests.get(content.entry.path)


def _owner(item: Item) -> str:
    return item.package or "a script"


def _conflict(system: System, path: bytes, evidence: str) -> None:
    system.told("file-conflict", path, Action.REPORTED, printable(evidence))
