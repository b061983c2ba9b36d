"""Counting what was done to paths, so that a folder of thousands has one finding and not thousands.

A finding stands for the topmost path that was treated; what was treated alike below it is counted.
If more than a few of one folder are topmost, they have one finding together, at that folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from formats.core.entry import Entry, Kind
from formats.core.errors import quoted
from formats.core.finding import Action, Finding

_FINDINGS_OF_A_FOLDER = 16


class Deed(NamedTuple):
    """What was done, by which rule, and why."""

    rule: str
    action: Action
    why: str


class Treated(NamedTuple):
    """One path that something was done to, as it was before; what was added, as it is."""

    entry: Entry
    deed: Deed


@dataclass(slots=True)
class _Tally:
    """What is told of one path.

    :ivar is_own: whether the path itself was treated.
    :ivar paths: how many below it were.
    """

    path: bytes
    is_own: bool = False
    paths: int = 0
    content_bytes: int = 0


@dataclass(slots=True)
class _Group:
    """The topmost paths of one folder.

    :ivar few: the first of them.
    :ivar rest: all others, counted.
    """

    rest: _Tally
    few: list[_Tally] = field(default_factory=list)


class Ledger:
    """All deeds of one run over a tree."""

    def __init__(self) -> None:
        self._groups: dict[tuple[bytes, Deed], _Group] = {}
        self._folders: dict[tuple[bytes, Deed], _Tally] = {}
        """The tallies that more can be counted in."""
        self.treated: list[Treated] = []
        """Every path, in the order of the tree."""

    def __bool__(self) -> bool:
        return bool(self._groups)

    def record(self, entry: Entry, deed: Deed, top: bytes) -> None:
        """Count one path.

        :param top: the path itself, or a folder around it that is told of instead.
        """
        self.treated.append(Treated(entry, deed))
        tally = self._folders.get((top, deed)) or self._opened(entry, deed, top)
        if tally.path == entry.path:
            tally.is_own = True
        else:
            tally.paths += 1
        if entry.kind is Kind.FILE:
            tally.content_bytes += entry.size

    def _opened(self, entry: Entry, deed: Deed, top: bytes) -> _Tally:
        folder = top.rpartition(b"/")[0]
        group = self._groups.get((folder, deed))
        if group is None:
            group = self._groups[folder, deed] = _Group(_Tally(folder))
        tally = group.rest
        if not folder or len(group.few) < _FINDINGS_OF_A_FOLDER:
            tally = _Tally(top)
            group.few.append(tally)
        if entry.path != top or entry.kind is Kind.FOLDER:
            self._folders[top, deed] = tally
        return tally

    def findings(self) -> Iterator[Finding]:
        """Yield what was done, in the order of the tree."""
        for (folder, deed), group in self._groups.items():
            if group.rest.paths:
                evidence = f"{deed.why}; {_all_in(group)}"
                yield Finding(deed.rule, folder, deed.action, evidence)
            else:
                for tally in group.few:
                    yield Finding(deed.rule, tally.path, deed.action, deed.why + _below(tally))


def _all_in(group: _Group) -> str:
    tallies = [*group.few, group.rest]
    amount = _amount(
        sum(tally.paths + tally.is_own for tally in tallies),
        sum(tally.content_bytes for tally in tallies),
    )
    return f"{amount} in it, {quoted(group.few[0].path.rpartition(b'/')[2])} is the first"


def _below(tally: _Tally) -> str:
    if not tally.paths:
        return ""
    kept = "" if tally.is_own else ", the folders stay"
    return f"; {_amount(tally.paths, tally.content_bytes)} below it{kept}"


def _amount(paths: int, content_bytes: int) -> str:
    return f"{_counted(paths, 'path')} with {_counted(content_bytes, 'byte')}"


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"
