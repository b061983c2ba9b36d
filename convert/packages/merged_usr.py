"""Merged ``/usr``: ``/bin``, ``/sbin`` and ``/lib*`` as links into it, before anything is put.

https://www.freedesktop.org/wiki/Software/systemd/TheCaseForTheUsrMerge/
Packages may still have paths below ``/bin``: they lead through the links.
"""

from __future__ import annotations

from collections.abc import Sequence

from convert.packages.system import System
from formats.core.entry import Kind
from formats.core.finding import Action
from formats.packages.tree import PackageTree

_ALIASES = (b"bin", b"lib", b"lib32", b"lib64", b"libo32", b"libx32", b"sbin")
_SAY_SO = frozenset({"usr-is-merged", "usrmerge"})


def merge_usr(system: System, packages: Sequence[PackageTree]) -> None:
    """Make the links that the root needs and does not have.

    All of them where a package of the closure says that ``/usr`` is merged (usr-is-merged,
    usrmerge, or links that a package brings); or else, for one that no package puts anything into,
    if there is its counterpart in ``/usr``: that is how programs find their interpreter in
    ``/lib64``.
    """
    above: set[bytes] = set()
    below_usr: set[bytes] = set()
    linked: set[bytes] = set()
    for package in packages:
        for entry in package.entries():
            top, _, rest = entry.path.partition(b"/")
            if top in _ALIASES:
                if rest:
                    above.add(top)
                elif entry.kind is Kind.SYMLINK:
                    linked.add(top)
            elif top == b"usr" and rest.partition(b"/")[0] in _ALIASES and b"/" in rest:
                below_usr.add(rest.partition(b"/")[0])
    names = {package.package.name for package in packages}
    says_so = bool(linked) or not names.isdisjoint(_SAY_SO)
    made: list[bytes] = []
    for alias in _ALIASES:
        wanted = (says_so and alias in above | below_usr | linked) or (
            alias in below_usr and alias not in above
        )
        if wanted and system.world.get(alias) is None:
            target = b"usr/" + alias
            system.world.make(alias, Kind.SYMLINK, 0o777, target=target)
            if system.world.get(target) is None:
                system.world.make(target, Kind.FOLDER, 0o755)
            made.append(alias)
    if made:
        shown = ", ".join("/" + alias.decode() for alias in made)
        why = "a package says that it is" if says_so else "nothing is in them but by way of /usr"
        evidence = f"/usr is merged: {shown} lead there; {why}"
        system.told("merged-usr", b"usr", Action.ADDED, evidence)
