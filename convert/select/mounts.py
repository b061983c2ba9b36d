"""Laying volumes over a root, as its ``/etc/fstab`` and its partition table say.

What fstab does not mention is found as systemd-gpt-auto-generator(8) does: partitions whose GPT
type says ``/usr``, ``/var``, ``/home`` or ``/srv`` (Discoverable Partitions Specification), on the
root's own disk, over folders that are empty. Two of one type are never chosen between. The check
that ``/var`` belongs to this machine (an HMAC of its id) is left out: images are made before they
have one.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from convert.select.crypttab import opened_as
from convert.select.fstab import FstabLine, MountKind
from convert.select.refusal import told
from convert.select.subvolumes import are_subvolumes, meant_by, nested_in, subvolume_of
from convert.select.survey import CONTENT_ROLES, Content, Survey
from convert.trees import ComposedTree
from formats.core.entry import Entry, Kind, join
from formats.core.errors import (
    AmbiguousError,
    ConvertError,
    LimitError,
    UnsupportedError,
    quoted,
)
from formats.core.finding import Action, Finding
from formats.core.limits import Limits
from formats.core.opener import Node
from formats.core.origin import Origin, printable
from formats.core.reader import Role
from formats.core.tree import Tree

NOT_MOUNTED = "volume-not-mounted"
HIDDEN = "hidden-by-mount"
LEFT_OUT = "volume-left-out"
SNAPSHOTS = "snapshots-left-out"

_SYSTEM_FOLDERS = frozenset(
    {b"bin", b"etc", b"lib", b"lib64", b"sbin", b"usr", b"usr/lib", b"var", b"var/lib"}
)
"""Folders without which the rest makes no sense: not to have them is an error."""
_BOOT_FOLDERS = frozenset({b"boot", b"boot/efi", b"efi", b"boot/firmware"})
"""Folders that a container does without: not to have them loses nothing."""

_AUTO_ROLES = {Role.USR: b"usr", Role.VAR: b"var", Role.HOME: b"home", Role.SRV: b"srv"}

_MOUNTS_MAX = 64
"""One volume may be mounted at many places, so that little input can ask for much output.

Subvolumes that lie in others do not count: each lies at one place."""

_LOST_AND_FOUND = b"lost+found"
_GIVE_ALL = "give all disks of the machine together"


@dataclass(frozen=True, slots=True)
class Mounted:
    """A root with volumes over it.

    :ivar mounts: each folder, and the volume that is there.
    """

    tree: Tree
    mounts: dict[bytes, Origin]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Wish:
    """Something that should be mounted.

    :ivar nodes: the volumes that are meant by it: one, if all is well.
    :ivar said_by: where that is written.
    :ivar missing: what is wrong if there is none, and what to do.
    :ivar options: of the mount, as in fstab.
    :ivar is_nested_in: the tree that shows it at this place by itself, if nothing covers that.
    """

    path: bytes
    nodes: Sequence[Node]
    said_by: str
    missing: tuple[str, str] = ("", "")
    is_optional: bool = False
    options: tuple[str, ...] = ()
    is_nested_in: Content | None = None


def mount_all(
    survey: Survey, root: Content, is_dropped: Callable[[bytes], bool], *, is_lenient: bool
) -> Mounted:
    """Return a root with everything that belongs to it.

    :param is_dropped: whether the user does without a folder.
    :param is_lenient: report what a conversion could not do without, and go on.
    :raises UnsupportedError: if a system folder is on a volume that is not there, or is not known.
    :raises LimitError: if there is more to mount than a machine has.
    :raises formats.core.errors.ConvertError: why such a volume cannot be read.
    """
    return _Mounting(survey, root, is_dropped, is_lenient=is_lenient).result()


class _Mounting:
    """One root being put together."""

    def __init__(
        self,
        survey: Survey,
        root: Content,
        is_dropped: Callable[[bytes], bool],
        *,
        is_lenient: bool,
    ) -> None:
        self._survey = survey
        self._root = root
        self._is_dropped = is_dropped
        self._is_lenient = is_lenient
        self._layers = _Layers(root, survey.limits)
        self._findings: list[Finding] = []
        self._opened = opened_as(root.index, survey.names)
        self._considered = {id(root.node)}
        self._placed = {id(root.node)}
        self._mounts = 0

    def result(self) -> Mounted:
        lines = self._root.fstab
        wishes = list(self._wishes(lines))
        self._placed.update(id(node) for wish in wishes for node in _meant(wish))
        self._grant_all([*wishes, *self._nested(b"", self._root)])
        for wish in self._automatic({line.path for line in lines}):
            self._grant(wish)
        self._check_usr()
        self._report_rest()
        mounts = self._layers.mounted()
        tree = self._root.tree
        if mounts:
            tree = ComposedTree(tree, {path: content.tree for path, content in mounts.items()})
        return Mounted(
            tree,
            {path: content.node.origin for path, content in mounts.items()},
            tuple(self._findings),
        )

    def _grant_all(self, wishes: Iterable[_Wish]) -> None:
        """Mount what is wished for, outer folders first, and the subvolumes that lie in it."""
        pending = [(wish.path.split(b"/"), number, wish) for number, wish in enumerate(wishes)]
        heapq.heapify(pending)
        number = len(pending)
        while pending:
            *_, wish = heapq.heappop(pending)
            granted = self._grant(wish)
            if granted is None:
                continue
            for inner in self._nested(*granted):
                number += 1
                heapq.heappush(pending, (inner.path.split(b"/"), number, inner))

    def _nested(self, point: bytes, content: Content) -> Iterator[_Wish]:
        """Yield the subvolumes that lie in another, which the kernel shows without being told."""
        if content.node.volume.subvolume is None:
            return
        snapshots = 0
        for path, node in nested_in(content.node, self._survey.names.beside(content.node)):
            subvolume = subvolume_of(node)
            if subvolume.is_snapshot and subvolume.is_read_only:
                snapshots += 1
                continue
            if id(node) in self._placed:  # the kernel would show its files twice
                evidence = f"{self._names([node])} is shown at its own place only"
                self._report(join(point, path), evidence)
                continue
            yield _Wish(join(point, path), (node,), "it lies there", is_nested_in=content)
        if snapshots:
            evidence = f"{snapshots:,} read-only snapshots lie below it, and stay out"
            self._findings.append(Finding(SNAPSHOTS, point, Action.REPORTED, evidence))

    def _wishes(self, lines: Sequence[FstabLine]) -> Iterator[_Wish]:
        """Yield what fstab wants from volumes, and report what it wants from elsewhere."""
        known: set[bytes] = set()
        for line in lines:
            where = f"/etc/fstab:{line.number}"
            spec = line.spec.decode("utf-8", "surrogateescape")
            if line.kind in {MountKind.SWAP, MountKind.IN_MEMORY}:
                continue
            if line.kind is not MountKind.VOLUME:
                what = f"{printable(spec)} is {line.kind.value}"
                if line.path in _SYSTEM_FOLDERS and line.is_mounted_at_boot:
                    missing = (what, "copy what it holds to where it is mounted")
                    yield _Wish(line.path, (), where, missing, is_optional=line.is_optional)
                else:
                    self._report(line.path, f"{where}: {what}; mount it at run time")
                continue
            nodes = self._survey.names.named(spec) or self._opened.get(spec, [])
            if not line.path:
                self._compare_root(nodes, where, line)
            elif line.path in known:
                self._report(line.path, f"{where} mounts there for the second time")
            elif line.is_mounted_at_boot:
                known.add(line.path)
                missing = (f"no volume here is {printable(spec)}{self._unread()}", _GIVE_ALL)
                optional = line.is_optional
                yield _Wish(line.path, nodes, where, missing, optional, line.options)
            elif nodes:
                with suppress(ConvertError):
                    nodes = meant_by(nodes, line.options) if are_subvolumes(nodes) else nodes
                self._considered.update(map(id, nodes))
                self._report(line.path, f"{where} says noauto: {self._names(nodes)} is left out")

    def _automatic(self, mentioned: set[bytes]) -> Iterator[_Wish]:
        """Yield what the types of the partitions around the root say."""
        siblings = self._siblings()
        for role, path in _AUTO_ROLES.items():
            nodes = [node for node in siblings if node.volume.role is role]
            if nodes and path not in mentioned and not self._layers.names_in(path):
                yield _Wish(path, nodes, f"the type of {self._names(nodes)}")

    def _siblings(self) -> list[Node]:
        for node in self._survey.names.nodes:
            if any(child is self._root.node for child in node.children):
                return [child for child in node.children if child is not self._root.node]
        return []

    def _grant(self, wish: _Wish) -> tuple[bytes, Content] | None:
        """Mount a volume and return where that is and what; or say why not."""
        self._considered.update(map(id, wish.nodes))
        if wish.is_nested_in is not None and not self._layers.shows(wish.path, wish.is_nested_in):
            return None  # something else is mounted there, or around it
        try:
            point = self._layers.mount_point(wish.path)
            content = self._content(wish)
        except ConvertError as problem:
            self._deny(wish, problem)
            return None
        hidden = self._layers.count_below(point)
        if hidden:
            evidence = f"{hidden:,} paths are hidden by the volume that is mounted there"
            self._findings.append(Finding(HIDDEN, point, Action.REPORTED, evidence))
        self._layers.add(point, content)
        self._mounts += wish.is_nested_in is None
        self._check_limits()
        return point, content

    def _check_limits(self) -> None:
        limits = self._survey.limits
        mounted = self._layers.mounted().values()
        entries = len(self._root.index) + sum(len(content.index) for content in mounted)
        if self._mounts > _MOUNTS_MAX or entries > limits.entries:
            raise LimitError(
                f"mounts {len(mounted):,} volumes with {entries:,} paths, more than"
                f" {_MOUNTS_MAX:,} or {limits.entries:,}",
                origin=self._root.node.origin,
            )

    def _content(self, wish: _Wish) -> Content:
        """Return what is to be mounted.

        :raises formats.core.errors.ConvertError: why that is not to be had.
        """
        if not wish.nodes:
            message, hint = wish.missing
            raise UnsupportedError(message, hint=hint)
        nodes = wish.nodes
        if are_subvolumes(nodes) and wish.is_nested_in is None:
            nodes = meant_by(nodes, wish.options)
        if len(nodes) > 1:
            nodes = [node for node in nodes if node.disk == self._root.node.disk] or nodes
        if len(nodes) > 1:
            raise AmbiguousError(
                f"{self._names(nodes)} are meant alike", hint="give only one of the copies"
            )
        if nodes[0] is self._root.node:
            raise UnsupportedError(
                "that is the root itself", hint="give the disks in the order the machine has them"
            )
        try:
            return self._survey.needed(nodes[0])
        except ConvertError as problem:
            message = f"{self._names(nodes)}: {problem.message}"
            raise type(problem)(message, offset=problem.offset, hint=problem.hint) from problem

    def _deny(self, wish: _Wish, problem: ConvertError) -> None:
        path = f"/{printable(wish.path)}"
        is_needed = wish.path in _SYSTEM_FOLDERS and not wish.is_optional
        if is_needed and not self._is_dropped(wish.path) and not self._is_lenient:
            raise type(problem)(
                f"{path} is a volume of its own ({wish.said_by}), and {problem.message}",
                origin=self._root.node.origin,
                offset=problem.offset,
                hint=f"{problem.hint or 'give it in a form that can be read'};"
                f" --drop {path} does without it",
            ) from problem
        self._report(
            wish.path,
            f"{wish.said_by}: {problem.message}",
            Action.REPORTED if wish.path in _BOOT_FOLDERS else Action.DROPPED,
        )

    def _check_usr(self) -> None:
        """See that the links of a root whose /usr is elsewhere lead somewhere by now."""
        entry = self._root.index.get(b"bin")
        is_merged = entry is not None and entry.kind is Kind.SYMLINK
        if not (self._root.is_root and is_merged) or self._layers.names_in(b"usr"):
            return
        if self._is_dropped(b"usr") or self._is_lenient:
            return
        if any(line.path == b"usr" for line in self._root.fstab):
            return  # said already, and accepted
        raise UnsupportedError(
            "its /usr is empty, and neither /etc/fstab nor the partition table says which volume"
            f" belongs there{self._unread()}",
            origin=self._root.node.origin,
            hint=f"{_GIVE_ALL}; --drop /usr does without it",
        )

    def _compare_root(self, nodes: Sequence[Node], where: str, line: FstabLine) -> None:
        """Say so if the root's own fstab names another volume as the root."""
        said = printable(line.spec)
        if are_subvolumes(nodes):
            try:
                nodes = meant_by(nodes, line.options)
            except UnsupportedError as problem:
                self._report(b"", f"{where} says that the root is on {said}: {problem.message}")
                return
        if nodes and not any(node is self._root.node for node in nodes):
            self._report(
                b"", f"{where} says that the root is {said}, which is {self._names(nodes)}"
            )

    def _report_rest(self) -> None:
        """Say which volumes are not a part of the result."""
        snapshots: dict[Origin, int] = {}
        for node in self._survey.leaves():
            if id(node) in self._considered or node.volume.role not in CONTENT_ROLES:
                continue
            subvolume = node.volume.subvolume
            if subvolume is not None and subvolume.is_snapshot:
                around = Origin(node.origin.parts[:-1])
                snapshots[around] = snapshots.get(around, 0) + 1
                continue
            problem = self._survey.problem(node)
            evidence = problem.message if problem is not None else "the root does not mount it"
            self._report_left_out(node.origin, evidence)
        for around, count in snapshots.items():
            self._report_left_out(around, f"{count:,} snapshots in it")

    def _report_left_out(self, origin: Origin, evidence: str) -> None:
        place = str(origin).encode()
        self._findings.append(Finding(LEFT_OUT, place, Action.REPORTED, evidence))

    def _unread(self) -> str:
        """Return the words for volumes that may be the one that is missing."""
        words = told(self._survey, self._survey.obstacles())
        return f" ({words})" if words else ""

    def _names(self, nodes: Sequence[Node]) -> str:
        return " and ".join(map(self._survey.names.name, nodes))

    def _report(self, path: bytes, evidence: str, action: Action = Action.REPORTED) -> None:
        self._findings.append(Finding(NOT_MOUNTED, path, action, evidence))


def _meant(wish: _Wish) -> Sequence[Node]:
    """Return the volumes that a wish is about, as far as that can be said before it is granted."""
    if not are_subvolumes(wish.nodes):
        return wish.nodes
    with suppress(UnsupportedError):
        return meant_by(wish.nodes, wish.options)
    return ()


class _Layers:
    """The volumes that are mounted by now, looked at as one tree."""

    def __init__(self, root: Content, limits: Limits) -> None:
        self._limits = limits
        self._layers: dict[bytes, Content] = {b"": root}

    def add(self, point: bytes, content: Content) -> None:
        """Lay a volume over a folder."""
        self._layers[point] = content

    def mounted(self) -> dict[bytes, Content]:
        """Return all but the root, by folder."""
        return {point: content for point, content in self._layers.items() if point}

    def mount_point(self, path: bytes) -> bytes:
        """Return where ``path`` really is, every link followed. What is missing is made later.

        :raises UnsupportedError: if nothing can be mounted there.
        """
        hops = self._limits.symlink_hops
        pending = path.split(b"/")[::-1]
        here = b""
        while pending:
            part = pending.pop()
            if part in {b"", b"."}:
                continue
            if part == b"..":
                here = here.rpartition(b"/")[0]
                continue
            entry = self._get(join(here, part))
            if entry is not None and entry.kind is Kind.SYMLINK:
                target = entry.target or b""
                here = b"" if target.startswith(b"/") else here
                pending += target.split(b"/")[::-1]
                hops -= 1
            elif entry is not None and entry.kind is not Kind.FOLDER:
                raise UnsupportedError(f"{quoted(join(here, part))} is a {entry.kind.value}")
            else:
                here = join(here, part)
            if hops < 0:
                raise UnsupportedError(f"{quoted(path)} is a link without end")
        if here in self._layers:
            raise UnsupportedError(f"another volume is mounted at /{printable(here)}")
        return here

    def shows(self, path: bytes, content: Content) -> bool:
        """Tell whether what is seen at ``path`` is of this volume, and of none over it."""
        return self._layer(path)[1] is content

    def names_in(self, path: bytes) -> list[bytes]:
        """Return what is in a folder, by name; empty if it is not there."""
        point, content = self._layer(path)
        inner = path[len(point) :].strip(b"/")
        names = [entry.name for entry in content.index.children(inner)]
        return [name for name in names if name != _LOST_AND_FOUND]

    def count_below(self, point: bytes) -> int:
        """Return how many paths a volume mounted there would hide."""
        outer, content = self._layer(point)
        start = point[len(outer) :].strip(b"/") + b"/"
        found = (entry.path for entry in content.index.entries())
        return sum(path.startswith(start) and path != start + _LOST_AND_FOUND for path in found)

    def _get(self, path: bytes) -> Entry | None:
        point, content = self._layer(path)
        return content.index.get(path[len(point) :].strip(b"/"))

    def _layer(self, path: bytes) -> tuple[bytes, Content]:
        """Return the innermost volume that a path is in, and where that is mounted."""
        point = path
        while point not in self._layers:
            point = point.rpartition(b"/")[0]
        return point, self._layers[point]
