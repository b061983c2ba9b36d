"""Putting packages together into one root, as installing them would, without running anything.

::

    links of a merged /usr ─► for each package, in order: preinst, its files
      ─► sysusers.d ─► for each package: postinst ─► tmpfiles.d ─► units ─► certificates
      ─► ld.so.cache ─► owners by name ─► passwd, group ─► database ─► what the base has

What a script would do in its plain forms is done as data (:mod:`convert.packages.scripts`), each
with a finding; what is left of a script is one finding.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from convert.inspect.text import encoded
from convert.packages.certificates import make_bundle
from convert.packages.database import record_packages
from convert.packages.folders import make_declared
from convert.packages.ldcache import CACHE, find_libraries, has_glibc, read_cache, write_cache
from convert.packages.merged_usr import merge_usr
from convert.packages.order import in_order
from convert.packages.outset import GROUP, GSHADOW, PASSWD, SHADOW, make_needed, new_system
from convert.packages.scripts import follow_scripts, report_triggers
from convert.packages.system import System
from convert.packages.sysusers import add_declared
from convert.packages.tree import AssembledTree
from convert.packages.unchanged import leave_out_unchanged
from convert.packages.units import enable_units
from convert.packages.unpack import unpack
from convert.packages.world import Item, World
from formats.core.entry import Kind
from formats.core.errors import ConvertError
from formats.core.finding import Action, Finding
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.origin import Origin
from formats.core.package import Package
from formats.core.tree import Tree, TreeInfo
from formats.packages.tree import PackageTree

_BEFORE = ("%pretrans", "preinst", "%pre")
_AFTER = ("postinst", "%post", "%posttrans")
_ALTERNATIVES = b"var/lib/dpkg/alternatives/"


@dataclass(frozen=True, slots=True)
class Assembled:
    """Packages in one root.

    :ivar tree: what is new, with the folders of the base that it lies in.
    :ivar packages: in the order in which they were put together.
    """

    tree: Tree
    findings: tuple[Finding, ...]
    packages: tuple[Package, ...]


def assemble(
    packages: Sequence[PackageTree],
    *,
    requested: Collection[str],
    base: Tree | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Assembled:
    """Put packages together.

    The result depends on nothing but the packages, their order, and the base.

    :param packages: each once; those that others need may come in any place.
    :param requested: names of those that were asked for: their services are enabled.
    :param base: the whole tree that the result will lie on.
    :raises LimitError: for too many or too long paths.
    :raises CorruptError: where a package cannot be read.
    """
    if not packages:
        raise ConvertError("no package is to be put together")
    ordered = [packages[place] for place in in_order([item.package for item in packages])]
    findings: list[Finding] = []
    world = World(base, _origin(packages, requested), limits, _newest(packages))
    system = new_system(world, ordered, findings.append)
    merge_usr(system, ordered)
    for package in ordered:
        follow_scripts(system, package.package, _BEFORE)
        unpack(system, package)
    add_declared(system)
    for package in ordered:
        follow_scripts(system, package.package, _AFTER)
        report_triggers(system, package.package)
    make_declared(system)
    _record_alternatives(system)
    enable_units(system, frozenset(requested))
    make_bundle(system)
    if base is None:
        make_needed(system)
    _write_cache(system)
    _resolve_owners(system)
    _write_accounts(system)
    described = tuple(item.package for item in ordered)
    record_packages(system, described, has_base=base is not None)
    if base is not None:
        leave_out_unchanged(system, base)
    tree = AssembledTree(world, TreeInfo("packages"))
    return Assembled(tree, tuple(findings), described)


def _origin(packages: Sequence[PackageTree], requested: Collection[str]) -> Origin:
    """Return the breadcrumb of the package that was asked for, and how many came with it."""
    asked = [item for item in packages if item.package.name in requested] or packages
    others = len(packages) - 1
    return asked[0].origin.child(f"with {others} more") if others else asked[0].origin


def _newest(packages: Iterable[PackageTree]) -> int:
    return max((entry.mtime_ns for item in packages for entry in item.entries()), default=0)


def _record_alternatives(system: System) -> None:
    if system.world.find(_ALTERNATIVES) is None and not any(
        package.system.value == "deb" for package in system.packages.values()
    ):
        return
    for alternative in system.alternatives.new():
        path = _ALTERNATIVES + encoded(alternative.name)
        system.world.write(path, encoded(alternative.record()))


def _write_cache(system: System) -> None:
    world = system.world
    if not has_glibc(world):
        return
    found = find_libraries(world)
    for path, target in found.links:
        world.make(path, Kind.SYMLINK, 0o777, target=target)
    content = write_cache(found.libraries, is_little=found.is_little)
    known = world.content(CACHE, world.limits.descriptor_bytes)
    before = None if known is None else read_cache(known)
    if before is not None and set(before) == set(found.libraries):
        return
    world.write(CACHE, content)
    evidence = f"{len(found.libraries):,} libraries, as ldconfig finds them"
    action = Action.ADDED if known is None else Action.CHANGED
    system.told("library-cache", CACHE, action, evidence)


def _resolve_owners(system: System) -> None:
    """Give what packages own by name the numbers of this root."""
    missing: dict[tuple[str, str], int] = {}
    accounts = system.accounts
    for item in list(system.world.items()):
        if item.owner == ("", ""):
            continue
        user, group = item.owner
        uid = accounts.uid(user) if user else item.entry.uid
        gid = accounts.gid(group) if group else item.entry.gid
        for kind, name, number in (("user", user, uid), ("group", group, gid)):
            if number is None:
                missing[kind, name] = missing.get((kind, name), 0) + 1
        system.world.change(item.entry.path, _numbered(uid or 0, gid or 0))
    for (kind, name), count in missing.items():
        evidence = f"there is no {kind} '{name}': {count:,} paths are root's"
        system.told("package-owner", b"", Action.CHANGED, evidence)


def _numbered(uid: int, gid: int) -> Callable[[Item], Item]:
    return lambda item: replace(item, entry=replace(item.entry, uid=uid, gid=gid), owner=("", ""))


def _write_accounts(system: System) -> None:
    world, accounts = system.world, system.accounts
    texts = ((PASSWD, accounts.passwd), (GROUP, accounts.group))
    for path, text in texts:
        content = encoded(text)
        if world.content(path) != content:
            world.write(path, content)
    for path, lines in ((SHADOW, accounts.shadow_lines()), (GSHADOW, accounts.gshadow_lines())):
        former = world.content(path)
        if former is not None and lines:
            world.write(path, former + encoded(lines))
