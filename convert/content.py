"""What a new layer is made of: a system, packages, an archive, a script; and what it lies on.

::

    artifact ─► packages ─► pool: what they need ─► put together ─┐
             ─► archive ─► --strip-top, --prefix ─► on the base ──┼─► Content
             ─► system ─► its root with what it mounts ───────────┘
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from convert.moved import MovedTree, SettledTree, path_of_prefix, single_top
from convert.opening import open_base, request_of, source_config
from convert.options import ConvertOptions
from convert.select.names import is_wrapping
from formats.archives.facts import INTERPRETER, MACOS, PLATFORM, SOURCE_TREE
from formats.core.errors import UnsupportedError, UsageError
from formats.core.finding import Finding
from formats.core.machine import Machine
from formats.core.opener import Artifact, Node
from formats.core.origin import Origin
from formats.core.package import Package
from formats.core.stacked import StackedTree
from formats.core.tree import Tree, TreeIndex

if TYPE_CHECKING:
    from convert.images.opening import OpenedImage
    from convert.oci.config import ImageConfig
    from formats.packages.tree import PackageTree

INTERPRETED_FORMATS = frozenset({"script", "jar"})
"""Of trees that are one file, which a program of a base has to run."""


class Nature(Enum):
    """What a source is, and so where its entrypoint is looked for."""

    SYSTEM = "system"
    IMAGE = "image"
    PACKAGES = "packages"
    ARCHIVE = "archive"
    SCRIPT = "script"


@dataclass(frozen=True, slots=True)
class Content:
    """What the new layer is made of, before normalisation.

    :ivar tree: what the layer will hold.
    :ivar whole: the same over the base: what a container would see.
    :ivar root: breadcrumb of the volume, package or archive.
    :ivar mounts: what is laid over a system's root: folder, and breadcrumb of the volume.
    :ivar mount_points: the same folders as paths.
    :ivar machine: what a descriptor says of the machine that it belongs to.
    :ivar packages: the packages in it, those asked for first.
    :ivar requested: how many of them were asked for.
    :ivar top: folder that an archive was put into.
    :ivar base: the image that it lies on.
    :ivar own_config: of a source that is an image itself.
    """

    nature: Nature
    tree: Tree
    whole: Tree
    root: Origin
    mounts: tuple[tuple[str, Origin], ...] = ()
    mount_points: tuple[bytes, ...] = ()
    findings: tuple[Finding, ...] = ()
    machine: Machine | None = None
    packages: tuple[Package, ...] = ()
    requested: int = 0
    top: bytes = b""
    base: OpenedImage | None = None
    own_config: ImageConfig | None = None

    @property
    def config_below(self) -> ImageConfig | None:
        """The config that is gone by where nothing new is said: a base's, or the image's own."""
        return self.base.config if self.base is not None else self.own_config


def gather(artifact: Artifact, options: ConvertOptions) -> Content:
    """Return what an artifact's layer is made of.

    :raises UsageError: for options that do not go with the artifact.
    :raises UnsupportedError: for what cannot be an image, and packages that need what is not there.
    :raises formats.core.errors.ConvertError: why something cannot be read.
    """
    packages = list(_packages(artifact))
    if packages or options.packages:
        return _of_packages(artifact, packages, options)
    if options.pools:
        raise UsageError(
            "--pool is for packages, and the source is none",
            hint="name packages, or take some from the pool with --with",
        )
    return _of_tree(artifact, options)


def _packages(artifact: Artifact) -> Iterator[PackageTree]:
    """Yield the packages that an artifact consists of; nothing if it is none.

    :raises UsageError: if only a part of it are packages.
    """
    trees = [_single(node).tree for node in artifact.nodes]
    if not any(tree is not None and tree.info.package is not None for tree in trees):
        return
    from formats.packages.tree import PackageTree  # noqa: PLC0415 - only packages need it

    for node, tree in zip(artifact.nodes, trees, strict=True):
        inner = _single(node)
        if inner.problem is not None:
            raise inner.problem
        if not isinstance(tree, PackageTree):
            raise UsageError(
                f"{node.origin} is no package, and the others are",
                hint="convert packages by themselves; --base puts them on an image",
            )
        yield tree


def _single(node: Node) -> Node:
    """Return what is in wrappings of one thing: compression."""
    while len(node.children) == 1 and is_wrapping(node):
        node = node.children[0]
    return node


def _of_packages(
    artifact: Artifact, packages: Sequence[PackageTree], options: ConvertOptions
) -> Content:
    from convert.packages.gather import gather_packages  # noqa: PLC0415 - only packages need it

    if options.strip_top or options.prefix is not None:
        raise UsageError(
            "--strip-top and --prefix are for archives", hint="packages have their places"
        )
    base = _base(artifact, options)
    below = TreeIndex(base.tree(), options.limits) if base is not None else None
    gathered = gather_packages(artifact, packages, options, below)
    tree = gathered.tree
    whole = tree if below is None else _over(below.tree, tree, options)
    return Content(
        Nature.PACKAGES,
        tree,
        whole,
        tree.origin,
        findings=(*_of_base(base), *gathered.findings),
        packages=gathered.packages,
        requested=gathered.requested,
        base=base,
    )


def _of_tree(artifact: Artifact, options: ConvertOptions) -> Content:
    from convert.select.root import select_root  # noqa: PLC0415 - packages are put together without

    selected = select_root(artifact, request_of(options))
    tree = selected.tree
    nature = _nature(artifact, tree, is_system=selected.is_system)
    if nature is Nature.ARCHIVE and SOURCE_TREE in tree.info.facts:
        raise UnsupportedError(
            f"is source code ({tree.info.facts[SOURCE_TREE]}), which has to be built first",
            origin=tree.origin,
            hint="build and install it into an empty folder (make install DESTDIR=…), and convert"
            " that folder; 'convert export --raw' writes the sources as they are",
        )
    if tree.info.facts.get(PLATFORM) == MACOS:
        raise UnsupportedError(
            "holds programs for macOS, which no Linux can run",
            origin=tree.origin,
            hint="take the bottle for Linux: its name ends in _linux.bottle.tar.gz",
        )
    is_application = nature in {Nature.ARCHIVE, Nature.SCRIPT}
    if not is_application:
        _refuse_placing(options, tree.origin)
    base = _base(artifact, options) if is_application else None
    top = b""
    if nature is Nature.ARCHIVE:
        tree, top = _placed(tree, options)
    whole = tree
    if base is not None:
        below = TreeIndex(base.tree(), options.limits)
        tree = SettledTree(tree, below)
        whole = _over(below.tree, tree, options)
    elif nature is Nature.SCRIPT:
        raise UnsupportedError(
            f"is a {tree.info.format} for {tree.info.facts.get(INTERPRETER, 'an interpreter')},"
            " which is not in it",
            origin=tree.origin,
            hint="put it on an image that has it: --base oci:DIR:TAG",
        )
    return Content(
        nature,
        tree,
        whole,
        selected.root,
        selected.mounts,
        selected.mount_points,
        (*_of_base(base), *selected.findings),
        selected.machine,
        top=top,
        base=base,
        own_config=source_config(artifact) if nature is Nature.IMAGE else None,
    )


def _nature(artifact: Artifact, tree: Tree, *, is_system: bool) -> Nature:
    if source_config(artifact) is not None:
        return Nature.IMAGE
    if tree.info.format in INTERPRETED_FORMATS:
        return Nature.SCRIPT
    return Nature.SYSTEM if is_system else Nature.ARCHIVE


def _refuse_placing(options: ConvertOptions, origin: Origin) -> None:
    given = {
        "--base": options.base is not None,
        "--strip-top": options.strip_top,
        "--prefix": options.prefix is not None,
    }
    for option, is_given in given.items():
        if is_given:
            raise UsageError(
                f"{origin}: {option} is for packages, archives and scripts, and this is a system",
                hint=f"leave {option} out",
            )


def _placed(tree: Tree, options: ConvertOptions) -> tuple[Tree, bytes]:
    """Return an archive's tree where the user wants it, and the folder that it is in."""
    top = single_top(tree) if options.strip_top else b""
    prefix = path_of_prefix(options.prefix or "/", tree.origin)
    if not top and not prefix:
        return tree, b""
    return MovedTree(tree, top=top, prefix=prefix, limits=options.limits), prefix


def _base(artifact: Artifact, options: ConvertOptions) -> OpenedImage | None:
    if options.base is None:
        return None
    return open_base(options.base, options, artifact.on_close, progress=artifact.progress)


def _of_base(base: OpenedImage | None) -> tuple[Finding, ...]:
    return (*base.findings, *base.tree().findings) if base is not None else ()


def _over(below: Tree, tree: Tree, options: ConvertOptions) -> Tree:
    return StackedTree([below, tree], limits=options.limits, origin=tree.origin, info=tree.info)
