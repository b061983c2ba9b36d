"""Opening an artifact: from the files that the user named to every volume and tree inside.

::

    files ─► match reader ─┬► Volumes ─► each volume again …          (under limits)
                           ├► Tree
                           └► Member ─► once all are known: assemble ─► Volumes ─► …

What cannot be read is kept as the node's ``problem`` and not raised: a foreign partition beside
the root must not stop the root from being converted. Who needs the node raises it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from formats.core.errors import (
    ConvertError,
    CorruptError,
    LimitError,
    OutputError,
    UnsupportedError,
)
from formats.core.finding import Finding
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.machine import Machine
from formats.core.origin import Origin, printable
from formats.core.reader import (
    Category,
    GroupReader,
    Member,
    OpenContext,
    Opened,
    Reader,
    Siblings,
    Volume,
    Volumes,
)
from formats.core.registry import Registry, default_registry
from formats.core.siblings import FolderSiblings, NoSiblings
from formats.core.source import ByteSource, FileSource
from formats.core.tree import Tree

Progress = Callable[[str, int, int], None]
Input: TypeAlias = Path | Volume
"""A file of the host, or a volume from elsewhere: a snapshot in a cloud."""


@dataclass(slots=True)
class Node:
    """One thing found: a file, a partition, a logical volume, and what it turned out to be.

    :ivar disk: 0 for what is on the first disk, and so on: files that the user named, in their
        order, each with the disks of a bundle in theirs.
    :ivar reader: None where nothing known is in it. What is in a tree or machine among others was
        read by the reader of what is around it.
    :ivar members: of a group's node, the nodes that it was put together from.
    :ivar machine: the machine that it belongs to, where a descriptor names one.
    """

    volume: Volume
    disk: int
    reader: Reader | None = None
    facts: dict[str, str] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)
    tree: Tree | None = None
    problem: ConvertError | None = None
    members: tuple[Node, ...] = ()
    machine: Machine | None = None

    @property
    def origin(self) -> Origin:
        """Breadcrumb of the volume itself."""
        return self.volume.source.origin

    @property
    def holds_disks(self) -> bool:
        """Whether what is inside are disks or files, and not parts of one disk."""
        if self.reader is None:  # a machine from elsewhere, whose disks are known already
            return isinstance(self.volume.content, Volumes)
        return self.reader.category in {Category.BUNDLE, Category.ARCHIVE}

    def walk(self) -> Iterator[Node]:
        """Yield this node and all inside it, parents first."""
        yield self
        for child in self.children:
            yield from child.walk()


class Artifact:
    """An opened artifact; close it, or use it as a context manager.

    :ivar nodes: a node for each thing the user named, then one for each assembled group.
    :ivar findings: what readers noted while opening.
    """

    def __init__(self, nodes: list[Node], opener: _Opener) -> None:
        self.nodes = nodes
        self.findings = opener.findings
        self._opener = opener

    @property
    def limits(self) -> Limits:
        """Limits that it was opened under."""
        return self._opener.limits

    @property
    def keys(self) -> Sequence[bytes]:
        """Passphrases and keys that it was opened with."""
        return self._opener.keys

    def walk(self) -> Iterator[Node]:
        """Yield all nodes, parents first."""
        for node in self.nodes:
            yield from node.walk()

    def view(self, nodes: list[Node]) -> Artifact:
        """Return some of the nodes as an artifact, which ends when this one is closed."""
        return Artifact(nodes, self._opener)

    def reopen(self, node: Node, source: ByteSource) -> None:
        """Open a node whose bytes could not be had, and come from elsewhere now."""
        node.volume = replace(node.volume, source=source, problem=None)
        found = self._opener.open_volume(node.volume, node.disk, _Depth(1), node)
        node.reader, node.tree, node.problem = found.reader, found.tree, found.problem
        node.children, node.facts = found.children, {**node.facts, **found.facts}
        self.nodes += self._opener.assemble_groups()

    def open_inside(self, node: Node, volumes: Sequence[Volume]) -> None:
        """Open further volumes that were found in a node by other means than its reader."""
        node.children += [
            self._opener.open_volume(volume, node.disk, _Depth(1), node) for volume in volumes
        ]
        self.nodes += self._opener.assemble_groups()

    def lend(self) -> OpenContext:
        """Return what readers are lent, for who opens more than what the user named."""
        return _Context(self._opener, NoSiblings(), _Depth(1))

    def divide(self, node: Node, find: Callable[[OpenContext], Volumes | None]) -> bool:
        """Let a node whose tree holds systems be these instead, and open them.

        Whether a tree is a medium takes a walk over all of it, which for most trees is for
        nothing; so no reader does this, but who has walked it and found no system there.

        :param find: given what readers are lent; returns None if there is nothing inside.
        :returns: whether there was anything.
        :raises ConvertError: what ``find`` raises.
        """
        volumes = find(self.lend())
        if volumes is None:
            return False
        node.facts.update(volumes.facts)
        node.tree = None
        self.open_inside(node, volumes.volumes)
        return True

    def progress(self, stage: str, done: int, total: int) -> None:
        """Report the progress of long work to whoever opened the artifact."""
        self._opener.progress(stage, done, total)

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when the artifact is closed, last come first called."""
        self._opener.on_close(callback)

    def close(self) -> None:
        """Close all files and remove all temporary copies."""
        self._opener.resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_artifact(
    inputs: Sequence[Input],
    *,
    registry: Registry | None = None,
    limits: Limits = DEFAULT_LIMITS,
    allow_backing: Sequence[Path] = (),
    keys: Sequence[bytes] = (),
    spool_parent: Path | None = None,
    progress: Progress | None = None,
) -> Artifact:
    """Open files that belong together (one disk image, or all disks of one machine).

    :param allow_backing: further folders from which backing images may come.
    :param keys: passphrases and contents of key files to try on encrypted volumes.
    :param spool_parent: where decompressed copies go; default: the system's temporary folder.
    :param progress: called with a stage's name, bytes done and bytes in all.
    :raises InputReadError: if one of ``inputs`` cannot be opened.
    """
    resources = ExitStack()
    try:
        opener = _Opener(
            registry=registry or default_registry(),
            limits=limits,
            allow_backing=allow_backing,
            keys=keys,
            spool_parent=spool_parent,
            progress=progress or _silent,
            resources=resources,
        )
        nodes = [opener.open_input(item) for item in inputs]
        nodes += opener.assemble_groups()
    except BaseException:
        resources.close()
        raise
    return Artifact(nodes, opener)


def _silent(stage: str, done: int, total: int) -> None:
    del stage, done, total


@dataclass(frozen=True, slots=True)
class _Depth:
    """How deep a source lies; each kind of step has its own limit."""

    nesting: int = 0
    compression: int = 0
    backing: int = 0


class _Opener:
    """The state of one :func:`open_artifact`."""

    def __init__(
        self,
        *,
        registry: Registry,
        limits: Limits,
        allow_backing: Sequence[Path],
        keys: Sequence[bytes],
        spool_parent: Path | None,
        progress: Progress,
        resources: ExitStack,
    ) -> None:
        self.registry = registry
        self.limits = limits
        self.progress = progress
        self.resources = resources
        self.keys = tuple(keys)
        self.findings: list[Finding] = []
        self._disks = 0
        self._allow_backing = allow_backing
        self._spool_parent = spool_parent
        self._spool: Path | None = None
        self._members: dict[tuple[str, str, str], list[tuple[Node, Member]]] = {}

    def open_input(self, item: Input) -> Node:
        """Open one thing that the user named, and everything in it."""
        volume = self._file(item) if isinstance(item, Path) else item
        return self.open_volume(volume, self._next_disk(), _Depth())

    def _next_disk(self) -> int:
        self._disks += 1
        return self._disks - 1

    def _file(self, path: Path) -> Volume:
        source = FileSource(path)
        self.resources.callback(source.close)
        siblings = FolderSiblings(path.parent, self._allow_backing, self.on_close)
        return Volume(source, printable(path.name), siblings=siblings)

    def open_volume(
        self, volume: Volume, disk: int, depth: _Depth, around: Node | None = None
    ) -> Node:
        """Find out what a volume is and open all that is inside; problems stay with the node."""
        machine = around.machine if around is not None else None
        node = Node(volume, disk, problem=volume.problem, machine=machine)
        if node.problem is not None:
            return node
        try:
            if volume.content is not None:
                node.reader = around.reader if around is not None else None
                self._take(node, volume.content, depth)
            else:
                self._open_into(node, depth)
        except ConvertError as error:
            node.problem = error.at(node.origin)
        except RecursionError as error:
            node.problem = _recursion(node, error)
        return node

    def _open_into(self, node: Node, depth: _Depth) -> None:
        volume = node.volume
        node.reader = self.registry.match(volume.source)
        if node.reader is None:
            return
        siblings = volume.siblings or NoSiblings()
        depth = self._deeper(depth, node)
        opened = node.reader.open(volume.source, _Context(self, siblings, depth))
        self._take(node, opened, depth)

    def _take(self, node: Node, opened: Opened, depth: _Depth) -> None:
        """Hang what was opened below its node, and open that in turn."""
        if isinstance(opened, Volumes):
            node.facts.update(opened.facts)
            node.machine = opened.machine or node.machine
            for number, inner in enumerate(opened.volumes):
                disk = self._next_disk() if number and node.holds_disks else node.disk
                node.children.append(self.open_volume(inner, disk, depth, node))
        elif isinstance(opened, Member):
            node.facts.update(opened.facts)
            key = (node.reader.name if node.reader else "", _scope(node), opened.group)
            self._members.setdefault(key, []).append((node, opened))
        else:
            node.tree = opened

    def _deeper(self, depth: _Depth, node: Node) -> _Depth:
        is_compression = node.reader is not None and node.reader.category is Category.COMPRESSION
        deeper = _Depth(
            depth.nesting + 1, depth.compression + 1 if is_compression else 0, depth.backing
        )
        if deeper.nesting > self.limits.nesting:
            raise LimitError(
                f"containers are nested more than {self.limits.nesting} deep", origin=node.origin
            )
        if deeper.compression > self.limits.stacked_compression:
            raise LimitError(
                f"is compressed more than {self.limits.stacked_compression} times over",
                origin=node.origin,
            )
        return deeper

    def assemble_groups(self) -> list[Node]:
        """Put groups together, and again what groups inside groups are found by that."""
        nodes: list[Node] = []
        rounds = 0
        while self._members:
            rounds += 1
            pending, self._members = self._members, {}
            for (reader_name, *_), found in sorted(pending.items(), key=lambda item: item[0]):
                nodes.append(self._assemble(reader_name, found, _Depth(nesting=rounds)))
        return nodes

    def _assemble(self, reader_name: str, found: list[tuple[Node, Member]], depth: _Depth) -> Node:
        reader = self.registry.get(reader_name)
        first = found[0][0]
        node = Node(
            first.volume,
            first.disk,
            reader,
            members=tuple(member for member, _ in found),
            machine=first.machine,
        )
        if not isinstance(reader, GroupReader):
            node.problem = UnsupportedError(
                f"the reader '{reader_name}' gives members and cannot assemble them",
                origin=first.origin,
            )
            return node
        try:
            depth = self._deeper(depth, node)
            context = _Context(self, NoSiblings(), depth)
            volumes = reader.assemble([member for _, member in found], context)
        except ConvertError as error:
            node.problem = error.at(node.origin)
            return node
        node.facts.update(volumes.facts)
        for inner in volumes.volumes:
            node.children.append(self.open_volume(inner, first.disk, depth, node))
        return node

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when the artifact is closed."""
        self.resources.callback(callback)

    def spool_folder(self) -> Path:
        """Return the private folder for decompressed copies, made at the first call.

        :raises OutputError: if it cannot be made.
        """
        if self._spool is None:
            try:
                made = tempfile.mkdtemp(prefix="oci-convert-", dir=self._spool_parent)
            except OSError as error:
                where = self._spool_parent or tempfile.gettempdir()
                raise OutputError(
                    f"no decompressed copy can be kept in {where}: {error.strerror}",
                    hint="name another folder with --spool DIR",
                ) from error
            self._spool = Path(made)
            self.resources.callback(shutil.rmtree, self._spool, ignore_errors=True)
        return self._spool

    def open_as(self, name: str, source: ByteSource, siblings: Siblings, depth: _Depth) -> Opened:
        """See :meth:`OpenContext.open_as`."""
        if depth.backing >= self.limits.backing_chain:
            raise LimitError(
                f"the chain of backing images is longer than {self.limits.backing_chain}",
                origin=source.origin,
                hint="a chain that long is usually a loop: look at it with 'qemu-img info'",
            )
        reader = self.registry.get(name)
        if not reader.probe(source):
            raise CorruptError(f"is not of the format '{name}'", origin=source.origin)
        deeper = _Depth(depth.nesting, depth.compression, depth.backing + 1)
        return reader.open(source, _Context(self, siblings, deeper))


def _scope(node: Node) -> str:
    """Return what keeps the volume groups of two machines apart; clones have equal UUIDs."""
    return node.machine.name if node.machine is not None else ""


def _recursion(node: Node, error: RecursionError) -> ConvertError:
    problem = CorruptError("its structures are nested without end", origin=node.origin)
    problem.__cause__ = error
    return problem


class _Context:
    """One reader's view of the opener."""

    def __init__(self, opener: _Opener, siblings: Siblings, depth: _Depth) -> None:
        self._opener = opener
        self._depth = depth
        self.siblings = siblings
        self.limits = opener.limits
        self.keys = opener.keys

    @property
    def spool_folder(self) -> Path:
        return self._opener.spool_folder()

    def note(self, finding: Finding) -> None:
        self._opener.findings.append(finding)

    def progress(self, stage: str, done: int, total: int) -> None:
        self._opener.progress(stage, done, total)

    def on_close(self, callback: Callable[[], None]) -> None:
        self._opener.on_close(callback)

    def open_as(self, reader: str, source: ByteSource, siblings: Siblings | None = None) -> Opened:
        return self._opener.open_as(reader, source, siblings or self.siblings, self._depth)
