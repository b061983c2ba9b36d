"""What each volume of an artifact holds: a root, other files, or what keeps it from being read.

A root is known by what is in it, never by its place or size: of a release file, an init and
programs it has two, and an ``/etc`` beside them. A link that leads nowhere counts as what it should
lead to: with ``/usr`` on another volume, ``/etc/os-release`` and ``/sbin`` are such links.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from convert.inspect.guest import Guest
from convert.inspect.os_release import operating_system
from convert.select.fstab import FstabLine, MountKind, fstab_of
from convert.select.media import MediaSearch
from convert.select.names import VolumeNames
from convert.select.remembered import RememberedTree
from convert.select.request import SecondEngine
from convert.select.subvolumes import meant_by
from formats.core.entry import Kind
from formats.core.errors import ConvertError, UnsupportedError
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.opener import Artifact, Node
from formats.core.reader import Role
from formats.core.tree import Tree, TreeIndex

CONTENT_ROLES = frozenset({Role.DATA, Role.ROOT, Role.USR, Role.VAR, Role.HOME, Role.SRV})
"""Volumes that may hold what belongs to a tree: not those for booting or swapping."""

_SIGNS: tuple[tuple[bytes, ...], ...] = (
    (
        b"etc/os-release",
        b"usr/lib/os-release",
        b"etc/lsb-release",
        b"etc/debian_version",
        b"etc/redhat-release",
        b"etc/system-release",
        b"etc/SuSE-release",
        b"etc/alpine-release",
        b"etc/arch-release",
        b"etc/gentoo-release",
        b"etc/slackware-version",
    ),
    (
        b"sbin/init",
        b"usr/sbin/init",
        b"lib/systemd/systemd",
        b"usr/lib/systemd/systemd",
        b"bin/init",
        b"init",
    ),
    (b"bin/sh", b"usr/bin/sh", b"usr/bin/env", b"bin/busybox", b"usr/lib", b"usr/lib64"),
)
"""A release file, an init, programs: one path of each line is enough."""
_SIGNS_NEEDED = 2

_KERNEL_FOLDERS = (b"usr", b"dev", b"proc", b"sys")
"""A root has some of these, for others to be mounted on; a volume for /usr has none."""


@dataclass(frozen=True, slots=True)
class Content:
    """A volume that could be read.

    :ivar index: of its tree, walked once.
    :ivar is_root: whether there is an operating system in it.
    """

    node: Node
    index: TreeIndex
    is_root: bool

    @property
    def tree(self) -> Tree:
        """Its files."""
        return self.index.tree

    @property
    def title(self) -> str:
        """What the system calls itself."""
        system = operating_system(Guest(self.index))
        return system.pretty_name if system is not None else "a Linux system"

    @property
    def fstab(self) -> list[FstabLine]:
        """What it mounts."""
        return fstab_of(self.index)

    @property
    def names_itself(self) -> bool:
        """Whether its fstab mounts this very subvolume as the root."""
        for line in self.fstab:
            if line.kind is MountKind.VOLUME and not line.path:
                with suppress(UnsupportedError):
                    return bool(meant_by([self.node], line.options))
        return False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing but what mke2fs(8) makes."""
        return all(entry.path in {b"", b"lost+found"} for entry in self.index.entries())


class Survey:
    """All volumes of an artifact, looked into when they are asked for.

    :ivar names: what they are called.
    :ivar media: what was found in trees that are no roots.
    """

    def __init__(
        self,
        artifact: Artifact,
        limits: Limits = DEFAULT_LIMITS,
        engine: SecondEngine | None = None,
    ) -> None:
        self.artifact = artifact
        self.limits = limits
        self.names = VolumeNames(artifact)
        self.media = MediaSearch(artifact)
        self._engine = engine
        self._seen: dict[int, Content | ConvertError] = {}
        if engine is not None and engine.replaces_native:
            self._hand_over(self.leaves())

    def content(self, node: Node) -> Content:
        """Return what a volume holds.

        :raises formats.core.errors.ConvertError: why it cannot be read.
        """
        seen = self._seen.get(id(node))
        if seen is None:
            seen = self._seen[id(node)] = self._look(node)
        if isinstance(seen, ConvertError):
            raise seen
        return seen

    def needed(self, node: Node) -> Content:
        """Return what a volume holds, read by whatever can read it.

        :raises formats.core.errors.ConvertError: why nothing can.
        """
        if self.problem(node) is not None:
            self._ask_engine([node])
        return self.content(node)

    def problem(self, node: Node) -> ConvertError | None:
        """Return why a volume cannot be read; None if it can."""
        try:
            self.content(node)
        except ConvertError as problem:
            return problem
        return None

    def leaves(self) -> list[Node]:
        """Return the volumes that hold content themselves, readable or not.

        A table of partitions, a part of a volume group and a swap area are none: they were read,
        and had neither files nor a problem. A group that could not be put together is one.
        """
        volumes = [
            node
            for node in self.names.nodes
            if not node.children and (node.tree or node.problem or node.reader is None)
        ]
        groups = [node for node in self.artifact.nodes if node.members and node.problem]
        return volumes + groups

    def is_unknown(self, node: Node) -> bool:
        """Tell whether nothing known is in a volume."""
        return node.tree is None and node.problem is None

    def obstacles(self) -> list[tuple[Node, ConvertError]]:
        """Return the volumes that may hold what is looked for, and why they cannot be read."""
        return [
            (node, problem)
            for node in self.leaves()
            if node.volume.role in CONTENT_ROLES
            and not self.is_unknown(node)
            and (problem := self.problem(node)) is not None
        ]

    def contents(self) -> list[Content]:
        """Return what can be read; of snapshots only those that are mounted by default."""
        looked_at = [node for node in self.leaves() if not _is_history(node)]
        return [self.content(node) for node in looked_at if self.problem(node) is None]

    def roots(self) -> list[Content]:
        """Return the volumes with an operating system that is not a part of another.

        A whole system that another one mounts below its own root (a chroot, a backup) is content.
        Of the subvolumes of one filesystem, copies of each other as a rule, one is chosen where
        the filesystem or the system says which.
        """
        found = self._found_roots()
        if not found:
            while self.open_media():
                pass
            found = self._found_roots()
        if not found and self._ask_engine():
            found = self._found_roots()
        found = [root for copies in self._by_filesystem(found) for root in _current(copies)]
        if len(found) < 2:
            return found
        parts = {id(node) for content in found for node in self._mounted_by(content)}
        independent = [content for content in found if id(content.node) not in parts]
        return independent or found

    def open_media(self) -> bool:
        """Look for systems inside of volumes that have none; return whether there were any.

        Those are volumes from then on, and may be media in turn. Only where there is no other root:
        a disk image among a machine's files is no system of it.
        """
        was_found = self.media.divide(self.contents())
        if was_found:
            self.names = VolumeNames(self.artifact)
        return was_found

    def _found_roots(self) -> list[Content]:
        found = [content for content in self.contents() if content.is_root]
        if not found:
            snapshots = [
                node
                for node in self.leaves()
                if _is_history(node) and not node.volume.is_alternative
            ]
            found = [
                self.content(node)
                for node in snapshots
                if self.problem(node) is None and self.content(node).is_root
            ]
        return found

    def _ask_engine(self, wanted: Sequence[Node] = ()) -> bool:
        """Let the second engine try what could not be read; return whether it was asked.

        It is asked once, for everything that may be needed: it starts slowly.

        :param wanted: what is needed in any case.
        """
        if self._engine is None:
            return False
        unread = [
            node
            for node in self.leaves()
            if node.volume.role in CONTENT_ROLES
            and not _is_history(node)
            and self.problem(node) is not None
        ]
        asked = [
            node
            for node in {id(node): node for node in (*wanted, *unread)}.values()
            if self._engine.may_read(node, is_wanted=any(node is item for item in wanted))
        ]
        if wanted and not any(node is item for node in asked for item in wanted):
            return False
        return self._hand_over(asked)

    def _hand_over(self, nodes: Sequence[Node]) -> bool:
        engine, self._engine = self._engine, None
        if engine is None or not nodes:
            return False
        engine.take(self.artifact, nodes)
        for node in nodes:
            self._seen.pop(id(node), None)
        self.names = VolumeNames(self.artifact)
        return True

    def _by_filesystem(self, found: list[Content]) -> list[list[Content]]:
        """Return the same in groups: the subvolumes of one filesystem together."""
        groups: dict[int, list[Content]] = {}
        for content in found:
            is_subvolume = content.node.volume.subvolume is not None
            beside = self.names.beside(content.node) if is_subvolume else [content.node]
            groups.setdefault(id(beside[0]), []).append(content)
        return list(groups.values())

    def _mounted_by(self, content: Content) -> list[Node]:
        nodes: list[Node] = []
        for line in content.fstab:
            if line.path:
                nodes += self.names.named(line.spec.decode("utf-8", "surrogateescape"))
        return nodes

    def _look(self, node: Node) -> Content | ConvertError:
        if node.problem is not None:
            return node.problem
        if node.tree is None:
            return UnsupportedError("holds nothing known", origin=node.origin)
        try:
            index = TreeIndex(RememberedTree(node.tree), self.limits)
            return Content(node, index, is_root=_is_root(index))
        except ConvertError as problem:
            return problem.at(node.origin)


def _is_history(node: Node) -> bool:
    """Tell whether a volume is another state of one beside it, and not the one in use."""
    if node.volume.is_alternative:
        return True
    subvolume = node.volume.subvolume
    return subvolume is not None and subvolume.is_snapshot and not subvolume.is_default


def _current(roots: list[Content]) -> list[Content]:
    """Return which of the roots in one filesystem is the system, if that can be said.

    The kernel starts from the default subvolume. Where another one is given to it, by the boot
    loader, the same is in the system's own fstab. Copies of a system have copies of its fstab,
    which name the original.
    """
    default = [root for root in roots if _is_default(root)]
    if default or len(roots) < 2:
        return default or roots
    named = [root for root in roots if root.names_itself]
    return named if len(named) == 1 else roots


def _is_default(root: Content) -> bool:
    subvolume = root.node.volume.subvolume
    return subvolume is not None and subvolume.is_default


def _is_root(index: TreeIndex) -> bool:
    if not _leads_somewhere(index, b"etc"):
        return False
    if not any(index.get(path) is not None for path in _KERNEL_FOLDERS):
        return False
    signs = sum(any(_leads_somewhere(index, path) for path in paths) for paths in _SIGNS)
    return signs >= _SIGNS_NEEDED


def _leads_somewhere(index: TreeIndex, path: bytes) -> bool:
    """Tell whether a path is there, or would be if another volume were mounted."""
    if index.resolve(path) is not None:
        return True
    parts = path.split(b"/")
    ways = (b"/".join(parts[:count]) for count in range(1, len(parts) + 1))
    return any((entry := index.get(way)) is not None and entry.kind is Kind.SYMLINK for way in ways)
