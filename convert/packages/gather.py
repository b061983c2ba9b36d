"""From the packages that were named to one tree: what they need, opened and put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from convert.options import ConvertOptions
from convert.packages.assemble import assemble
from formats.core.errors import AmbiguousError, UnsupportedError
from formats.core.finding import Action, Finding
from formats.core.package import Operator, Package, PackageSystem, Relation, Requirement
from formats.core.tree import Tree, TreeIndex
from formats.packages.deb.version import satisfies
from formats.packages.rpm.version import overlaps
from formats.packages.tree import PackageTree

_STRONG = frozenset({"Depends", "Pre-Depends", "Requires"})


@dataclass(frozen=True, slots=True)
class Gathered:
    """Packages in one root.

    :ivar packages: those asked for first.
    :ivar requested: how many were asked for.
    """

    tree: Tree
    findings: tuple[Finding, ...]
    packages: tuple[Package, ...]
    requested: int


def gather_packages(
    packages: Sequence[PackageTree],
    options: ConvertOptions,
    below: TreeIndex | None,
) -> Gathered:
    """Put packages together, over a base where there is one.

    What they need and nobody gave is told, a finding for each relation.

    :raises AmbiguousError: if a package is given in two versions.
    :raises UnsupportedError: for packages of two systems.
    """
    _check(packages)
    requested = [tree.package for tree in packages]
    assembled = assemble(
        packages,
        requested=[package.name for package in requested],
        base=below.tree if below is not None else None,
        limits=options.limits,
    )
    lacks = tuple(_lacks(requested)) if below is None else ()
    return Gathered(assembled.tree, (*assembled.findings, *lacks), tuple(requested), len(requested))


def _check(packages: Sequence[PackageTree]) -> None:
    seen: dict[str, Package] = {}
    for tree in packages:
        package = tree.package
        known = seen.setdefault(package.name, package)
        if known is not package:
            raise AmbiguousError(f"is given twice, as {known} and {package}", origin=tree.origin)
        if package.system is not packages[0].package.system:
            raise UnsupportedError(
                f"is a {package.system.value}, and others are {packages[0].package.system.value}",
                origin=tree.origin,
                hint="convert the packages of one system at a time",
            )


def _lacks(packages: Sequence[Package]) -> Iterator[Finding]:
    """Yield a finding for each requirement that none of the packages meets."""
    told: set[str] = set()
    for package in packages:
        for requirement in package.requirements:
            text = str(requirement)
            if requirement.when not in _STRONG or text in told or _is_met(requirement, packages):
                continue
            told.add(text)
            evidence = f"needs {text} ({requirement.when}), which is not among the packages"
            yield Finding("dependency-missing", package.name.encode(), Action.REPORTED, evidence)


def _is_met(requirement: Requirement, packages: Sequence[Package]) -> bool:
    return any(
        meets(package, relation) for relation in requirement.alternatives for package in packages
    )


def meets(package: Package, relation: Relation) -> bool:
    """Tell whether a package is, or provides, what a relation means."""
    own = Relation(package.name, Operator.EQUAL, package.version)
    for offered in (own, *package.provides):
        if offered.name == relation.name and _overlaps(package.system, offered, relation):
            return True
    return package.system is PackageSystem.RPM and relation.name.encode()[1:] in package.digests


def _overlaps(system: PackageSystem, offered: Relation, wanted: Relation) -> bool:
    if system is PackageSystem.RPM:
        return overlaps(offered, wanted)
    if wanted.operator is Operator.ANY:
        return True
    # deb-control(5): only what is provided with a version meets a relation with one
    is_stated = offered.operator is Operator.EQUAL
    return is_stated and satisfies(offered.version, wanted.operator, wanted.version)
