"""Selection: from an opened artifact to the one tree that is meant.

::

    survey every volume ─► choose the root ─► lay over it what it mounts ─► one tree
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convert.rules.globs import PathPatterns
from convert.select.machines import machine_view
from convert.select.mounts import Mounted, mount_all
from convert.select.names import is_wrapping
from convert.select.refusal import (
    choose_volume,
    no_root,
    no_volume,
    refuse_other_system,
    several_roots,
    several_volumes,
)
from convert.select.remembered import RememberedTree
from convert.select.request import ANYTHING, Request
from convert.select.subvolumes import are_subvolumes, meant_by
from convert.select.survey import Content, Survey
from formats.core.errors import UnsupportedError
from formats.core.finding import Action, Finding
from formats.core.machine import Machine
from formats.core.opener import Artifact, Node
from formats.core.origin import Origin, printable
from formats.core.tree import Tree


@dataclass(frozen=True, slots=True)
class Selected:
    """The tree to convert.

    :ivar root: breadcrumb of the volume with the root.
    :ivar mounts: what is laid over it: folder (``/var``) and breadcrumb of the volume.
    :ivar mount_points: the same folders as paths of the tree.
    :ivar findings: what could not be mounted, is hidden, or is left out.
    :ivar machine: what a descriptor says of the machine that the root belongs to.
    :ivar is_system: whether there is an operating system in it.
    """

    tree: Tree
    root: Origin
    mounts: tuple[tuple[str, Origin], ...] = ()
    mount_points: tuple[bytes, ...] = ()
    findings: tuple[Finding, ...] = ()
    machine: Machine | None = None
    is_system: bool = True


def select_root(artifact: Artifact, request: Request = ANYTHING) -> Selected:
    """Return the root of an artifact with everything that it mounts.

    :raises AmbiguousError: if there are several systems, or the name of the root means several
        volumes.
    :raises UnsupportedError: if there is no Linux system, no volume of that name, or a system
        folder is missing.
    :raises formats.core.errors.ConvertError: why the root cannot be read.
    """
    survey = _survey(artifact, request)
    root = _chosen_root(survey, request.root)
    refuse_other_system(survey, root)
    mounted = mount_all(survey, root, PathPatterns(request.drop).covers, is_lenient=False)
    return _selected(root, mounted)


def select_volume(artifact: Artifact, request: Request = ANYTHING) -> Tree:
    """Return the tree of one volume, untouched: the root's, or the only one, or the one named.

    :raises AmbiguousError: if it takes a choice.
    :raises formats.core.errors.ConvertError: why it cannot be read.
    """
    return _chosen_volume(_survey(artifact, request), request.root).tree


def select_browsable(artifact: Artifact, request: Request = ANYTHING) -> Tree:
    """Return a tree to look into: a root with what it mounts, as far as that can be read.

    A volume that is no root, and was asked for, is shown as it is.

    :raises AmbiguousError: if it takes a choice.
    :raises formats.core.errors.ConvertError: why it cannot be read.
    """
    survey = _survey(artifact, request)
    content = _chosen_volume(survey, request.root)
    if not content.is_root:
        return content.tree
    return mount_all(survey, content, _nothing, is_lenient=True).tree


def _survey(artifact: Artifact, request: Request) -> Survey:
    return Survey(machine_view(artifact, request.machine), request.limits, request.engine)


def _nothing(path: bytes) -> bool:
    del path
    return False


def _selected(root: Content, mounted: Mounted) -> Selected:
    findings = mounted.findings
    if not root.is_root:
        evidence = "no two of os-release, init and programs are there; files are taken as they are"
        no_system = Finding("no-system", str(root.node.origin).encode(), Action.REPORTED, evidence)
        findings = (no_system, *findings)
    tree = RememberedTree(mounted.tree) if mounted.mounts else mounted.tree
    shown = tuple((f"/{printable(path)}", origin) for path, origin in mounted.mounts.items())
    points, machine = tuple(mounted.mounts), root.node.machine
    return Selected(tree, root.node.origin, shown, points, findings, machine, root.is_root)


def _chosen_root(survey: Survey, wanted: str | None) -> Content:
    if wanted is not None:
        return _wanted(survey, wanted)
    roots = survey.roots()
    if len(roots) == 1:
        return roots[0]
    if roots:
        raise several_roots(survey, [(root.node, root.title) for root in roots])
    if survey.media.refusals and not survey.obstacles():
        raise survey.media.refusals[0][1]
    lone = _lone_tree(survey)
    if lone is not None:
        return lone
    raise no_root(survey)


def _chosen_volume(survey: Survey, wanted: str | None) -> Content:
    if wanted is not None:
        return _wanted(survey, wanted)
    if survey.roots():
        return _chosen_root(survey, None)
    contents = survey.contents()
    if len(contents) == 1 and not survey.obstacles():
        return contents[0]
    raise choose_volume(survey) if contents else no_root(survey)


def _lone_tree(survey: Survey) -> Content | None:
    """Return the content of an artifact that is nothing but a tree: it is its own root.

    That it comes as a disk makes no difference, a table of partitions does.
    """
    node, *others = survey.artifact.nodes
    while len(node.children) == 1 and is_wrapping(node):
        node = node.children[0]
    if others or node.tree is None or survey.problem(node) is not None:
        return None
    content = survey.content(node)
    return None if content.is_empty else content


def _wanted(survey: Survey, wanted: str) -> Content:
    """Return the volume that the user names; a whole disk stands for the one root on it."""
    nodes = survey.names.matching(wanted) or _on_media(survey, wanted)
    if not nodes:
        raise no_volume(survey, wanted)
    if len(nodes) == 1 and not nodes[0].children:
        return survey.needed(nodes[0])
    if len(nodes) > 1 and not _are_of_one_filesystem(survey, nodes):
        raise several_volumes(survey, wanted, nodes)
    inside = [inner for node in nodes for inner in node.walk()]
    roots = [root for root in survey.roots() if _is_among(root.node, inside)]
    if len(roots) > 1:
        raise several_roots(survey, [(root.node, root.title) for root in roots])
    if not roots:
        return _default_or_none(survey, nodes)
    return roots[0]


def _on_media(survey: Survey, wanted: str) -> list[Node]:
    """Return the volumes on media that the user names.

    Where that is a medium's own tree, what is on the medium need not be read.
    """
    nodes: list[Node] = []
    while survey.open_media():
        nodes = survey.names.matching(wanted)
        if nodes and all(survey.media.was_looked_at(node) for node in nodes):
            break
    return nodes


def _are_of_one_filesystem(survey: Survey, nodes: Sequence[Node]) -> bool:
    beside = survey.names.beside(nodes[0])
    return are_subvolumes(nodes) and all(_is_among(node, beside) for node in nodes)


def _default_or_none(survey: Survey, nodes: Sequence[Node]) -> Content:
    """Return what is mounted of a filesystem without a root in it; a disk has nothing like that."""
    if are_subvolumes(nodes):
        for node in meant_by(nodes, ()):
            return survey.content(node)
    raise UnsupportedError("is a disk without a Linux root", origin=nodes[0].origin)


def _is_among(node: Node, nodes: Sequence[Node]) -> bool:
    return any(other is node for other in nodes)
