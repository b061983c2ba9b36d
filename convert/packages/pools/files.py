"""The files of one pool, and what is found in them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from formats.core.entry import Kind
from formats.core.errors import CorruptError
from formats.core.finding import Action, Finding
from formats.core.inner import file_source
from formats.core.limits import MIB, Limits
from formats.core.origin import Origin, file_origin
from formats.core.package import Package
from formats.core.reader import OpenContext
from formats.core.source import ByteSource, FileSource
from formats.core.tree import TreeIndex

_FILES = frozenset({Kind.FILE, Kind.HARDLINK})


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A package that can be had; each is equal to itself only.

    :ivar package: what the index says of it, or its own header; what only a database needs is not
        kept.
    :ivar files: where it lies.
    :ivar path: of its file there.
    :ivar size: bytes of its file; None where no index says it.
    :ivar digest: of its file: (algorithm as :mod:`hashlib` names it, lower-case hexadecimal); None
        where no index says it.
    """

    package: Package
    files: PoolFiles
    path: bytes
    size: int | None = None
    digest: tuple[str, str] | None = None


@dataclass(slots=True)
class Stock:
    """What was found in one pool.

    :ivar candidates: in the order in which they were found.
    :ivar absent: packages that an index lists, and whose files are not there.
    :ivar tops: folders whose packages an index lists: what lies there besides is not looked at.
    :ivar repositories: tops of rpm repositories, which have lists of files.
    :ivar paths: of the files in packages that no index lists, with a NUL around each.
    """

    candidates: list[Candidate] = field(default_factory=list)
    absent: set[str] = field(default_factory=set)
    tops: set[bytes] = field(default_factory=set)
    repositories: list[bytes] = field(default_factory=list)
    paths: list[tuple[Candidate, bytes]] = field(default_factory=list)


class PoolFiles:
    """The tree that a pool is."""

    def __init__(self, index: TreeIndex, context: OpenContext) -> None:
        self.index = index
        self.context = context

    @property
    def origin(self) -> Origin:
        """Breadcrumb of the pool."""
        return self.index.tree.origin

    @property
    def limits(self) -> Limits:
        """Limits to hold to."""
        return self.context.limits

    def has(self, path: bytes) -> bool:
        """Tell whether there is a file, links followed inside the pool."""
        entry = self.index.resolve(path)
        return entry is not None and entry.kind in _FILES

    def source(self, path: bytes) -> ByteSource | None:
        """Return a file; None if there is none."""
        entry = self.index.resolve(path)
        if entry is None or entry.kind not in _FILES:
            return None
        return file_source(self.index.tree, entry, self.context)

    def note(self, rule: str, path: bytes, evidence: str) -> None:
        """Tell of something in the pool."""
        where = str(file_origin(self.origin, path)).encode("utf-8", "surrogateescape")
        self.context.note(Finding(rule, where, Action.REPORTED, evidence))


def release(source: ByteSource) -> None:
    """Close a file of the host: a pool has more of them than a process may have open."""
    if isinstance(source, FileSource):
        source.close()


def verify(source: ByteSource, digest: tuple[str, str], said_by: str) -> None:
    """Hold a file against its checksum.

    :raises CorruptError: if it is another file.
    """
    algorithm, expected = digest
    state = hashlib.new(algorithm, usedforsecurity=False)
    for block in _blocks(source):
        state.update(block)
    if state.hexdigest() != expected:
        raise CorruptError(
            f"has the {algorithm} checksum {state.hexdigest()}, and {said_by} says {expected}",
            origin=source.origin,
            hint="the pool is incomplete or was changed: fetch it again",
        )


def _blocks(source: ByteSource) -> Iterator[bytes]:
    for offset in range(0, source.size, MIB):
        yield bytes(source.read_at(offset, MIB))


def is_below(path: bytes, top: bytes) -> bool:
    """Tell whether a path is in a folder, however deep; ``b""`` is the top of the pool."""
    return not top or path.startswith(top + b"/")


def plain(path: str) -> bytes:
    """Return a path of an index without ``./``; one with ``..`` leads nowhere."""
    parts = path.encode("utf-8", "surrogateescape").split(b"/")
    return b"/".join(part for part in parts if part not in {b"", b"."})
