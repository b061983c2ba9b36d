"""Paths by what was done to them: a line for a folder stands for all that is in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from convert.rules.ledger import Deed, Treated
from formats.core.entry import Kind


@dataclass(slots=True)
class Top:
    """A path that is in no other one that was treated likewise.

    :ivar paths: itself and those below it that were.
    :ivar size: bytes of files among them.
    """

    path: bytes
    is_folder: bool
    paths: int = 0
    size: int = 0


@dataclass(slots=True)
class Group:
    """All paths that one rule treated in one way.

    :ivar size: bytes of files, hard links once.
    """

    deed: Deed
    paths: int = 0
    size: int = 0
    tops: list[Top] = field(default_factory=list)


def grouped(treated: Iterable[Treated], *, each: bool = False) -> list[Group]:
    """Return the paths by deed, in the order in which the tree comes to each for the first time.

    :param each: give every path a line of its own.
    """
    groups: dict[Deed, Group] = {}
    for entry, deed in treated:
        group = groups.setdefault(deed, Group(deed))
        size = entry.size if entry.kind is Kind.FILE else 0
        group.paths += 1
        group.size += size
        top = group.tops[-1] if group.tops else None
        if each or top is None or not entry.path.startswith(top.path + b"/"):
            top = Top(entry.path, entry.kind is Kind.FOLDER)
            group.tops.append(top)
        top.paths += 1
        top.size += size
    return list(groups.values())
