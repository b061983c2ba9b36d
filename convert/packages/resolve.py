"""Which packages of pools are needed beside those that were asked for.

What is asked for is followed from need to need. Of the alternatives of a need the first is taken
that can be installed with all that it needs in turn, but for what is there anyhow: chosen already,
or in the base. Where two that were chosen cannot be beside each other, the search starts again
without the one, and without the other, the shortest lists of exceptions first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from convert.packages.explain import unmet
from convert.packages.market import Item, Market, Stand
from convert.packages.matching import STRONG, excludes, is_newer, meant, offered_by
from convert.packages.pool import Pools
from convert.packages.pools.files import Candidate
from formats.core.errors import UnsupportedError
from formats.core.package import Package, PackageSystem, Requirement

_ATTEMPTS = 256


@dataclass(frozen=True, slots=True)
class Addition:
    """A package that is added.

    :ivar reason: "because of nginx: Depends: libc6 (>= 2.36)".
    :ivar is_named: whether it was asked for by name.
    :ivar former: the version in the base, which it takes the place of.
    """

    candidate: Candidate
    reason: str
    is_named: bool = False
    former: Package | None = None


@dataclass(frozen=True, slots=True)
class Resolution:
    """What is needed.

    :ivar additions: those asked for by name first, then what is needed, in the order in which it
        was found.
    :ivar present: what was asked for by name, and is in the base already, in no older version than
        pools have.
    :ivar conflicts: packages that say that they cannot be beside others which are there: given, or
        in the base.
    """

    additions: tuple[Addition, ...]
    present: tuple[Package, ...] = ()
    conflicts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Need:
    """What one package, or the request, needs.

    :ivar groups: what meets each of the alternatives, best first.
    :ivar is_there: whether it is a path that is there already.
    """

    requirement: Requirement
    groups: tuple[tuple[Item, ...], ...]
    is_there: bool = False


class _ClashError(Exception):
    """Two packages that cannot be beside each other."""

    def __init__(self, wanted: Item, there: Item, text: str) -> None:
        super().__init__(text)
        self.wanted = wanted
        self.there = there


def resolve(
    requested: Sequence[Package],
    names: Sequence[str],
    pools: Pools,
    installed: Sequence[Package] = (),
    architecture: str = "",
    has_file: Callable[[str], bool] = lambda _: False,
) -> Resolution:
    """Return what packages need that are given, or named.

    :param requested: packages that are given.
    :param names: of packages to take from pools, or of what they provide; ``name=version`` for
        one of several versions.
    :param installed: packages of the base.
    :param architecture: of the root, in the words of its system.
    :param has_file: tells whether an absolute path is in a given package or the base.
    :raises UnsupportedError: for what cannot be had, all of it, with who needs it; for packages
        that cannot be installed beside each other.
    """
    market = Market(requested, installed, pools, architecture, has_file)
    request = _Request(market, names)
    graph = _Graph(market, request)
    waiting: deque[frozenset[Item]] = deque([frozenset()])
    seen: set[frozenset[Item]] = set()
    first: _ClashError | None = None
    while waiting and len(seen) < _ATTEMPTS:
        avoided = waiting.popleft()
        if avoided in seen:
            continue
        seen.add(avoided)
        bad = graph.uninstallable(avoided)
        lacks = [pair for pair in graph.roots() if not graph.can_be_met(pair[1], bad)]
        if lacks:
            if not avoided:
                raise unmet(lacks, graph.needs, bad, market)
            continue
        try:
            return _Choice(graph, market, bad).resolution()
        except _ClashError as clash:
            first = first or clash
            for item in (clash.there, clash.wanted):
                if item.stand is Stand.POOL:
                    waiting.append(avoided | {item})
    raise UnsupportedError(
        f"{first}" if first is not None else "no choice of packages fits together",
        hint="leave out one of them, or name another version: --with NAME=VERSION",
    )


class _Request:
    """What was asked for by name."""

    def __init__(self, market: Market, names: Sequence[str]) -> None:
        self.needs: list[Need] = []
        self.present: list[Package] = []
        needer = Package(market.system or PackageSystem.DEB, "", "", market.architecture)
        for name in dict.fromkeys(names):
            requirement = Requirement((meant(name),), "")
            market.look_up(requirement.alternatives)
            found = market.meeting(requirement.alternatives[0], needer)
            own = tuple(item for item in found if item.stand is not Stand.BASE)
            if found and found[0].stand is Stand.BASE:
                there = found[0].package
                own = tuple(item for item in own if _is_update(item.package, there))
                if not own:
                    self.present.append(there)
                    continue
            self.needs.append(Need(requirement, (own,)))


def _is_update(package: Package, there: Package) -> bool:
    return package.name == there.name and is_newer(package, there)


class _Graph:
    """What everything needs that can come to be needed.

    :ivar needs: of all packages that can be reached.
    """

    def __init__(self, market: Market, request: _Request) -> None:
        self.market = market
        self.request = request
        self.needs: dict[Item, tuple[Need, ...]] = {}
        frontier = [*market.given, *(item for need in request.needs for item in need.groups[0])]
        while frontier:
            relations = [
                relation
                for item in frontier
                for requirement in item.package.requirements
                if requirement.when in STRONG
                for relation in requirement.alternatives
            ]
            market.look_up(relations)
            following: dict[Item, None] = {}
            for item in frontier:
                if item in self.needs:
                    continue
                self.needs[item] = tuple(self._of(item.package))
                following |= dict.fromkeys(
                    found
                    for need in self.needs[item]
                    for group in need.groups
                    for found in group
                    if found.stand is Stand.POOL
                )
            frontier = [item for item in following if item not in self.needs]

    def roots(self) -> Iterator[tuple[Item | None, Need]]:
        """Yield what has to be met in any case, with who needs it; None is the request."""
        for need in self.request.needs:
            yield None, need
        for item in self.market.given:
            for need in self.needs[item]:
                yield item, need

    def uninstallable(self, avoided: frozenset[Item]) -> set[Item]:
        """Return what cannot be installed, since something that it needs in the end is not there.

        What needs each other is not the reason that it cannot. Conflicts are not looked at.
        """
        needers: dict[Item, list[tuple[Item, int]]] = {}
        left: dict[tuple[Item, int], int] = {}
        bad: set[Item] = set()
        waiting = [item for item in self.needs if item in avoided]
        for item, needs in self.needs.items():
            for number, need in enumerate(needs):
                choice = {found for group in need.groups for found in group}
                if need.is_there or any(found.stand is not Stand.POOL for found in choice):
                    continue
                left[item, number] = len(choice)
                for found in choice:
                    needers.setdefault(found, []).append((item, number))
                if not choice:
                    waiting.append(item)
        while waiting:
            item = waiting.pop()
            if item in bad:
                continue
            bad.add(item)
            for key in needers.get(item, ()):
                left[key] -= 1
                if not left[key]:
                    waiting.append(key[0])
        return bad

    @staticmethod
    def can_be_met(need: Need, bad: set[Item]) -> bool:
        """Tell whether something that can be installed meets a need."""
        return need.is_there or any(item not in bad for group in need.groups for item in group)

    def _of(self, package: Package) -> Iterator[Need]:
        for requirement in package.requirements:
            if requirement.when not in STRONG:
                continue
            groups = tuple(
                self.market.meeting(relation, package) for relation in requirement.alternatives
            )
            is_there = any(map(self.market.is_there, requirement.alternatives))
            yield Need(requirement, groups, is_there)


@dataclass(slots=True)
class _Choice:
    """One attempt to choose."""

    graph: _Graph
    market: Market
    bad: set[Item]
    chosen: dict[Item, str] = field(default_factory=dict)
    by_name: dict[str, Item] = field(default_factory=dict)
    standing_for: dict[str, list[Item]] = field(default_factory=dict)
    """What is given or chosen, by the names it stands for."""
    against: dict[str, list[Item]] = field(default_factory=dict)
    """The same by the names that it conflicts with."""

    def resolution(self) -> Resolution:
        """Choose all that is needed.

        :raises _ClashError: if two packages cannot be beside each other.
        """
        self.by_name = {item.package.name: item for item in self.market.base}
        for item in self.market.given:
            self._add(item)
        for need in self.graph.request.needs:
            self._meet(need, "asked for by name")
        named = frozenset(self.chosen)
        is_settled = False
        while not is_settled:  # what takes the place of a base's package may not meet what that met
            known = len(self.chosen)
            self._follow([*self.market.given, *self.chosen])
            is_settled = len(self.chosen) == known
        return self._result(named)

    def _follow(self, waiting: list[Item]) -> None:
        pending = deque(waiting)
        while pending:
            item = pending.popleft()
            for need in self.graph.needs[item]:
                reason = f"because of {item.package.name}: {need.requirement.when}: "
                found = self._meet(need, reason + str(need.requirement))
                if found is not None:
                    pending.append(found)

    def _meet(self, need: Need, reason: str) -> Item | None:
        """Choose what meets a need; return what was not chosen before."""
        if need.is_there or any(self._is_present(item) for group in need.groups for item in group):
            return None
        first: _ClashError | None = None
        for group in need.groups:
            for item in group:
                if item.stand is not Stand.POOL or item in self.bad:
                    continue
                clash = self._clash(item, reason)
                if clash is None:
                    self.chosen[item] = reason
                    self._add(item)
                    return item
                first = first or clash
        if first is None:  # a base's package met it, whose place another one took
            there = next(item for group in need.groups for item in group)
            taker = self.by_name[there.package.name]
            text = f"{taker.package} is needed, and not what it takes the place of: {reason}"
            raise _ClashError(taker, taker, text)
        raise first

    def _is_present(self, item: Item) -> bool:
        return self.by_name.get(item.package.name) is item

    def _clash(self, item: Item, reason: str) -> _ClashError | None:
        """Return why a package cannot be added to what is there; the base's may be replaced."""
        there = self.by_name.get(item.package.name)
        if there is not None and there.stand is not Stand.BASE:
            before = self.chosen.get(there, "given")
            text = f"{item.package} ({reason}) and {there.package} ({before}) are both needed"
            return _ClashError(item, there, text)
        for other in self._opponents(item):
            why = excludes(item.package, other.package)
            by = item if why is not None else other
            why = why or excludes(other.package, item.package)
            if why is not None:
                before = self.chosen.get(other, "given")
                text = (
                    f"{item.package} ({reason}) cannot be beside {other.package} ({before}):"
                    f" {by.package.name} conflicts with {why}"
                )
                return _ClashError(item, other, text)
        return None

    def _add(self, item: Item) -> None:
        self.by_name[item.package.name] = item
        for offered in offered_by(item.package):
            self.standing_for.setdefault(offered.name, []).append(item)
        for relation in item.package.conflicts:
            self.against.setdefault(relation.name, []).append(item)

    def _opponents(self, item: Item) -> Iterator[Item]:
        """Yield what may conflict with a package, as one of both names the other."""
        for relation in item.package.conflicts:
            yield from self.standing_for.get(relation.name, ())
        for offered in offered_by(item.package):
            yield from self.against.get(offered.name, ())

    def _result(self, named: frozenset[Item]) -> Resolution:
        base = {item.package.name: item.package for item in self.market.base}
        additions = [
            Addition(item.candidate, reason, item in named, base.get(item.package.name))
            for item, reason in self.chosen.items()
            if item.candidate is not None
        ]
        additions.sort(key=lambda addition: not addition.is_named)
        return Resolution(
            tuple(additions), tuple(self.graph.request.present), tuple(self._conflicts())
        )

    def _conflicts(self) -> Iterator[str]:
        """Yield conflicts among what is there anyhow: given packages, and the base's."""
        new = [*self.market.given, *self.chosen]
        kept = [item for item in self.market.base if self._is_present(item)]
        for item in new:
            others = kept if item.stand is Stand.POOL else [*self.market.given, *kept]
            for other in others:
                why = excludes(item.package, other.package)
                if why is not None:
                    yield f"{item.package} conflicts with {other.package}: {why}"
