"""From the packages that were named to one tree: what they need, opened and put together.

::

    packages given ─┐
    names (--with) ─┴─► resolve against pools and base ─► open ─► put together
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from convert.options import ConvertOptions
from convert.packages.assemble import assemble
from convert.packages.matching import STRONG, agrees, offered_by
from formats.core.errors import AmbiguousError, UnsupportedError, UsageError
from formats.core.finding import Action, Finding
from formats.core.opener import Artifact
from formats.core.package import Package, PackageSystem, Relation, Requirement
from formats.core.tree import Tree, TreeIndex
from formats.packages.tree import PackageTree


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
    artifact: Artifact,
    packages: Sequence[PackageTree],
    options: ConvertOptions,
    below: TreeIndex | None,
) -> Gathered:
    """Put packages together with what they need, over a base where there is one.

    Without pools, what they need and nobody gave is told, a finding for each relation. Packages
    that the base has in the same version are not added again.

    :param artifact: what the packages are of; pools are closed with it.
    :param packages: those that were given as files.
    :param below: the base.
    :raises AmbiguousError: if a package is given in two versions, or it is not clear whose packages
        or which architecture is meant.
    :raises UnsupportedError: for packages of two systems; if the base has all of them; with pools,
        for everything that is needed and not in them.
    :raises UsageError: if packages are named and there is no pool.
    """
    _check(packages)
    installed = _installed(below)
    known = frozenset(map(_identity, installed))
    present = [tree.package for tree in packages if _identity(tree.package) in known]
    packages = [tree for tree in packages if _identity(tree.package) not in known]
    given = [tree.package for tree in packages]
    if not options.pools:
        if options.packages:
            raise UsageError(
                f"there is no pool to take {options.packages[0]} from",
                hint="name a folder, repository or medium with packages: --pool",
            )
        _refuse_nothing(packages, present)
        has_file = _files_of(packages, below)
        findings = (*_present(present), *_lacks(given, installed, has_file))
        return _together(packages, given, options, below, findings)
    from convert.packages.from_pools import take_from_pools  # noqa: PLC0415 - not without pools

    taken = take_from_pools(
        artifact, given, options, installed, _files_of(packages, below), is_alone=below is None
    )
    present += taken.present
    together = [*packages, *taken.packages]
    _refuse_nothing(together, present)
    findings = (*taken.findings, *_present(present), *taken.left_out)
    return _together(together, [*given, *taken.named], options, below, findings)


def _installed(below: TreeIndex | None) -> tuple[Package, ...]:
    if below is None:
        return ()
    from convert.packages.installed import installed_packages  # noqa: PLC0415 - of a base only

    return installed_packages(below)


def _together(
    packages: Sequence[PackageTree],
    requested: Sequence[Package],
    options: ConvertOptions,
    below: TreeIndex | None,
    findings: Sequence[Finding],
) -> Gathered:
    assembled = assemble(
        packages,
        requested=[package.name for package in requested],
        base=below.tree if below is not None else None,
        limits=options.limits,
    )
    names = {package.name for package in requested}
    others = [tree.package for tree in packages if tree.package.name not in names]
    return Gathered(
        assembled.tree,
        (*findings, *assembled.findings),
        (*requested, *others),
        len(requested),
    )


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


def _files_of(packages: Sequence[PackageTree], below: TreeIndex | None) -> Callable[[str], bool]:
    """Return what tells whether an absolute path is in one of the packages, or the base."""
    paths: set[bytes] = set()
    for tree in packages:
        if tree.package.system is PackageSystem.RPM:  # others do not ask for paths
            paths.update(entry.path for entry in tree.entries())

    def has_file(path: str) -> bool:
        name = path.strip("/").encode("utf-8", "surrogateescape")
        return name in paths or (below is not None and below.resolve(name) is not None)

    return has_file


def _identity(package: Package) -> tuple[PackageSystem, str, str, str]:
    return package.system, package.name, package.version, package.architecture


def _refuse_nothing(packages: Sequence[PackageTree], present: Sequence[Package]) -> None:
    if not packages:
        raise UnsupportedError(
            f"the base has everything already: {', '.join(map(str, present))}",
            hint="nothing has to be added: use the base as it is",
        )


def _present(packages: Iterable[Package]) -> Iterator[Finding]:
    for package in packages:
        evidence = f"{package.version} is in the base already; it is not added again"
        yield Finding("package-present", package.name.encode(), Action.REPORTED, evidence)


def _lacks(
    packages: Sequence[Package],
    installed: Sequence[Package],
    has_file: Callable[[str], bool],
) -> Iterator[Finding]:
    """Yield a finding for each requirement that nothing meets."""
    there: dict[str, list[tuple[Package, Relation]]] = {}
    for package in (*packages, *installed):
        for offered in offered_by(package):
            there.setdefault(offered.name, []).append((package, offered))
    told: set[str] = set()
    for package in packages:
        for requirement in package.requirements:
            text = str(requirement)
            if requirement.when not in STRONG or text in told:
                continue
            if _is_met(requirement, there, has_file):
                continue
            told.add(text)
            evidence = f"needs {text} ({requirement.when}), which is not among the packages"
            yield Finding("dependency-missing", package.name.encode(), Action.REPORTED, evidence)


def _is_met(
    requirement: Requirement,
    there: dict[str, list[tuple[Package, Relation]]],
    has_file: Callable[[str], bool],
) -> bool:
    return any(
        (relation.name.startswith("/") and has_file(relation.name))
        or any(
            agrees(package.system, offered, relation)
            for package, offered in there.get(relation.name, ())
        )
        for relation in requirement.alternatives
    )
