"""Which packages meet which relations, by the rules of their system.

Specification: Debian Policy 7.1 and 7.5, "Multiarch specification" of the Debian wiki;
rpm.org "Dependencies".
"""

from __future__ import annotations

from collections.abc import Iterator

from formats.core.package import Operator, Package, PackageSystem, Relation
from formats.packages.deb.version import compare as compare_debs
from formats.packages.deb.version import satisfies
from formats.packages.rpm.version import compare as compare_rpms
from formats.packages.rpm.version import overlaps

STRONG = frozenset({"Depends", "Pre-Depends", "Requires"})
"""What must be met; other requirements are wishes."""

EVERY_ARCHITECTURE = frozenset({"all", "noarch"})

_RPM_FAMILIES = (
    frozenset({"i386", "i486", "i586", "i686", "athlon", "geode"}),
    frozenset({"x86_64", "amd64", "x86_64_v2"}),
    frozenset({"armv7hl", "armv7hnl", "armv6hl"}),
    frozenset({"ppc64le", "ppc64lep8"}),
)
"""Architectures whose packages are installed beside each other as if they were one."""


def is_newer(package: Package, other: Package) -> bool:
    """Tell whether a package is of a later version than another of its system."""
    compare = compare_rpms if package.system is PackageSystem.RPM else compare_debs
    return compare(package.version, other.version) > 0


def offered_by(package: Package) -> Iterator[Relation]:
    """Yield what a package stands for: itself, and what it provides."""
    yield Relation(package.name, Operator.EQUAL, package.version)
    yield from package.provides


def agrees(system: PackageSystem, offered: Relation, wanted: Relation) -> bool:
    """Tell whether what is offered under the same name is of a version that is wanted."""
    if system is PackageSystem.RPM:
        return overlaps(offered, wanted)
    if wanted.operator is Operator.ANY:
        return True
    # deb-control(5): only what is provided with a version meets a relation with one
    is_stated = offered.operator is Operator.EQUAL
    return is_stated and satisfies(offered.version, wanted.operator, wanted.version)


def is_for(package: Package, architecture: str) -> bool:
    """Tell whether a package belongs into a root of an architecture."""
    if package.architecture in EVERY_ARCHITECTURE or package.architecture == architecture:
        return True
    return package.system is PackageSystem.RPM and any(
        {package.architecture, architecture} <= family for family in _RPM_FAMILIES
    )


def reaches(package: Package, relation: Relation, needer: Package, native: str) -> bool:
    """Tell whether a package is of an architecture that a relation of another can mean.

    :param native: architecture of the root; packages for all count as of it.
    """
    if package.system is not PackageSystem.DEB:
        return True
    own = native if package.architecture in EVERY_ARCHITECTURE else package.architecture
    wanted = native if needer.architecture in EVERY_ARCHITECTURE else needer.architecture
    abilities = package.facts.get("multi-arch", "no")
    if relation.architecture == "any":
        return own == wanted or abilities == "allowed"
    if relation.architecture == "native":
        return own == native
    if relation.architecture:
        return own == relation.architecture
    return own == wanted or abilities == "foreign"


def excludes(package: Package, other: Package) -> Relation | None:
    """Return why a package says that it cannot be beside another; None if it does not.

    A package that conflicts with what it provides itself means all others that do (Policy 7.4).
    What rpm's Obsoletes name is looked for among what others provide, too, as for Conflicts, from
    which they are not told apart: at worst, an alternative is passed over.
    """
    if package.name == other.name:
        return None
    for relation in package.conflicts:
        for offered in offered_by(other):
            if offered.name == relation.name and agrees(package.system, offered, relation):
                return relation
    return None


def meant(name: str) -> Relation:
    """Return what a name of the command line means: ``name``, ``name=version``."""
    bare, equal, version = name.partition("=")
    return Relation(bare, Operator.EQUAL, version) if equal and version else Relation(name)
