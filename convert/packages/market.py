"""All packages that can be part of a root, by what they stand for.

Those that were given come first, then those of the base, then those of pools: by name before by
what they provide, of one name the newest, of several the one of the highest priority, then the
shortest name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import IntEnum

from convert.packages.matching import agrees, is_for, offered_by, reaches
from convert.packages.pool import Pools
from convert.packages.pools.files import Candidate
from formats.core.package import Package, PackageSystem, Relation
from formats.packages.deb.version import version_key as deb_key
from formats.packages.rpm.version import version_key as rpm_key

_PRIORITIES = ("required", "important", "standard", "optional", "extra")
_UDEB = "udeb"
_MERGED = ("/bin/", "/sbin/", "/lib/", "/lib64/")
_USR = "/usr"


class Stand(IntEnum):
    """Where a package stands; smaller ones are taken first."""

    GIVEN = 0
    BASE = 1
    POOL = 2


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A package that can be part of the root; each is equal to itself only.

    :ivar candidate: where it can be had, of a pool's.
    """

    package: Package
    stand: Stand
    candidate: Candidate | None = None


class Market:
    """Finds packages by what is asked for.

    :param given: packages that are part of the root in any case.
    :param installed: those of the base, but for the ones that are given in another version.
    :param architecture: of the root.
    :param has_file: tells whether an absolute path is in a given package or the base.
    """

    def __init__(
        self,
        given: Sequence[Package],
        installed: Sequence[Package],
        pools: Pools,
        architecture: str,
        has_file: Callable[[str], bool],
    ) -> None:
        self.architecture = architecture
        self.given = tuple(Item(package, Stand.GIVEN) for package in given)
        self.pools = pools
        self._has_file = has_file
        self._asked: set[str] = set()
        self._ranked: dict[tuple[Relation, str], tuple[Item, ...]] = {}
        self._offers: dict[str, list[Item]] = {}
        """What stands for a name, in some version or other."""
        self._having: dict[str, list[Item]] = {}
        """The same of paths that no package says it provides."""
        self._items: dict[Candidate, Item] = {}
        names = {package.name for package in given}
        system = system_of(given, installed, pools)
        self.system = system
        self.base = tuple(
            Item(package, Stand.BASE)
            for package in installed
            if package.name not in names and package.system is system
        )
        for candidate in pools.candidates:
            package = candidate.package
            if (
                package.system is system
                and package.name not in names
                and package.facts.get("package-type") != _UDEB
                and is_for(package, architecture)
            ):
                self._items[candidate] = Item(package, Stand.POOL, candidate)
        for item in (*self.given, *self.base, *self._items.values()):
            self._offers.setdefault(item.package.name, []).append(item)
            for offered in item.package.provides:
                self._offers.setdefault(offered.name, []).append(item)

    def items(self) -> Iterable[Item]:
        """Return what can be had of pools."""
        return self._items.values()

    def is_there(self, relation: Relation) -> bool:
        """Tell whether a relation is a path that is there already."""
        return any(map(self._has_file, _forms(relation.name)))

    def called(self, name: str) -> list[Package]:
        """Return the packages that stand for a name, in whatever version."""
        return [item.package for item in self._offers.get(name, ())]

    def look_up(self, relations: Iterable[Relation]) -> None:
        """Look for paths that no package says it provides in the lists of all their files."""
        paths = {form for relation in relations for form in _forms(relation.name)}
        paths = {path for path in paths if path not in self._offers} - self._asked
        if not paths:
            return
        self._asked |= paths
        for path, candidate in self.pools.having(paths):
            item = self._items.get(candidate)
            if item is not None:
                self._having.setdefault(path, []).append(item)
        self._ranked.clear()

    def meeting(self, relation: Relation, needer: Package) -> tuple[Item, ...]:
        """Return the packages that meet a relation of another, best first."""
        key = relation, needer.architecture
        if key not in self._ranked:
            self._ranked[key] = tuple(self._rank(self._found(relation, needer), relation.name))
        return self._ranked[key]

    def _found(self, relation: Relation, needer: Package) -> Iterable[Item]:
        found: dict[Item, None] = {}
        for name in _forms(relation.name) or (relation.name,):
            offering = (
                item
                for item in self._offers.get(name, ())
                if any(
                    offered.name == name and agrees(item.package.system, offered, relation)
                    for offered in offered_by(item.package)
                )
            )
            for item in (*offering, *self._having.get(name, ())):
                if reaches(item.package, relation, needer, self.architecture):
                    found[item] = None
        return found

    def _rank(self, found: Iterable[Item], name: str) -> list[Item]:
        key = rpm_key if self.system is PackageSystem.RPM else deb_key
        newest = sorted(found, key=lambda item: key(item.package.version), reverse=True)
        return sorted(newest, key=lambda item: _order(item, name))


def _order(item: Item, name: str) -> tuple[int, bool, int, int, str]:
    package = item.package
    priority = package.facts.get("priority", "optional")
    rank = _PRIORITIES.index(priority) if priority in _PRIORITIES else len(_PRIORITIES)
    return item.stand, package.name != name, rank, len(package.name), package.name


def _forms(name: str) -> tuple[str, ...]:
    """Return a path, and the other one that it has where ``/bin`` is a link to ``/usr/bin``.

    Nothing for what is no path.
    """
    if not name.startswith("/"):
        return ()
    if name.startswith(_MERGED):
        return name, _USR + name
    bare = name.removeprefix(_USR)
    return (name, bare) if bare != name and bare.startswith(_MERGED) else (name,)


def system_of(
    given: Sequence[Package], installed: Sequence[Package], pools: Pools
) -> PackageSystem | None:
    """Return whose packages are meant: the given, the base's, the pools'; None if unclear."""
    for packages in (given, installed):
        if packages:
            return packages[0].system
    systems: AbstractSet[PackageSystem] = {item.package.system for item in pools.candidates}
    return next(iter(systems)) if len(systems) == 1 else None
