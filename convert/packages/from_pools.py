"""What packages need and nobody gave: found in pools, opened, and told with a reason for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from convert.options import ConvertOptions
from convert.packages.matching import EVERY_ARCHITECTURE
from convert.packages.pool import Pools, open_candidate, open_pools
from convert.packages.resolve import Resolution, resolve
from formats.core.errors import AmbiguousError
from formats.core.finding import Action, Finding
from formats.core.opener import Artifact
from formats.core.package import Package, PackageSystem
from formats.packages.tree import PackageTree

_DEB_ARCHITECTURES = {
    "386": "i386",
    "ppc64le": "ppc64el",
    "mips64le": "mips64el",
    "mipsle": "mipsel",
    "arm": "armhf",
    "loong64": "loong64",
}
_RPM_ARCHITECTURES = {
    "amd64": "x86_64",
    "arm64": "aarch64",
    "386": "i686",
    "arm": "armv7hl",
    "loong64": "loongarch64",
}
"""Architectures of images → those of packages, where they are not called the same."""
_MOST_NAMED = 12


@dataclass(frozen=True, slots=True)
class Taken:
    """What pools gave.

    :ivar named: those of the packages that were asked for by name.
    :ivar present: what was asked for by name, and is in the base already.
    :ivar findings: one for each package, with the reason.
    :ivar left_out: what is told of packages that were not taken.
    """

    packages: tuple[PackageTree, ...]
    named: tuple[Package, ...]
    present: tuple[Package, ...]
    findings: tuple[Finding, ...]
    left_out: tuple[Finding, ...]


def take_from_pools(
    artifact: Artifact,
    given: Sequence[Package],
    options: ConvertOptions,
    installed: Sequence[Package],
    has_file: Callable[[str], bool],
    *,
    is_alone: bool,
) -> Taken:
    """Take what ``options.packages`` name and what everything needs from ``options.pools``.

    :param artifact: pools are closed with it.
    :param installed: what the base has.
    :param has_file: whether an absolute path is in what was given, or the base.
    :param is_alone: there is no base.
    :raises AmbiguousError: if it is not clear which architecture is meant.
    :raises UnsupportedError: for everything that is needed and not in the pools.
    """
    pools = open_pools(options.pools, artifact, options.spool)
    architecture = _architecture(given, installed, options, pools)
    resolution = resolve(given, options.packages, pools, installed, architecture, has_file)
    context = artifact.lend()
    opened = [open_candidate(addition.candidate, context) for addition in resolution.additions]
    named = (
        tree.package
        for tree, addition in zip(opened, resolution.additions, strict=True)
        if addition.is_named
    )
    there = [*given, *(tree.package for tree in opened)]
    return Taken(
        tuple(opened),
        tuple(named),
        resolution.present,
        tuple(_told(resolution)),
        tuple(_essentials(there, pools)) if is_alone else (),
    )


def _architecture(
    given: Sequence[Package],
    installed: Sequence[Package],
    options: ConvertOptions,
    pools: Pools,
) -> str:
    """Return the architecture of the root: of what was given, the base, the platform, the pools.

    :raises AmbiguousError: if nothing says it, and pools have several.
    """
    pooled = [candidate.package for candidate in pools.candidates]
    for packages in (given, installed):
        found = _native(packages)
        if found:
            return found[0]
    system = next((package.system for package in (*given, *installed, *pooled)), None)
    if options.platform is not None:
        name = options.platform[1]
        is_rpm = system is PackageSystem.RPM
        return (_RPM_ARCHITECTURES if is_rpm else _DEB_ARCHITECTURES).get(name, name)
    found = sorted(_native(pooled))
    if len(found) > 1:
        raise AmbiguousError(
            f"the pools have packages for {', '.join(found[:_MOST_NAMED])}",
            hint="name one: --platform linux/amd64",
        )
    return found[0] if found else ""


def _native(packages: Sequence[Package]) -> list[str]:
    """Return architectures, each once, in their order."""
    return [
        name
        for name in dict.fromkeys(package.architecture for package in packages)
        if name not in EVERY_ARCHITECTURE
    ]


def _told(resolution: Resolution) -> Iterator[Finding]:
    for addition in resolution.additions:
        package = addition.candidate.package
        former = addition.former
        place = f", in place of the base's {former.version}" if former is not None else ""
        evidence = f"{package.version}, {addition.reason}{place}"
        yield Finding("package-added", package.name.encode(), Action.ADDED, evidence)
    for text in resolution.conflicts:
        name = text.partition(" ")[0].encode()
        yield Finding("package-conflict", name, Action.REPORTED, text)


def _essentials(packages: Sequence[Package], pools: Pools) -> Iterator[Finding]:
    """Tell which packages every system of the kind has, and this one will not.

    They are not added: a container seldom needs them, and who wants them takes a base.
    """
    there = {package.name for package in packages}
    names = {
        candidate.package.name
        for candidate in pools.candidates
        if candidate.package.is_essential and candidate.package.name not in there
    }
    if names:
        evidence = (
            f"essential packages that nothing depends on are not added: {', '.join(sorted(names))};"
            " take a base, or name those that are needed with --with"
        )
        yield Finding("essential-left-out", b"", Action.REPORTED, evidence)
