"""The tree of a filesystem whose files are runs of blocks, stored as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from formats.core.entry import Entry
from formats.core.errors import ConvertError
from formats.core.limits import KIB
from formats.core.origin import Origin, file_origin
from formats.core.source import BytesLike, ByteSource, MemorySource
from formats.core.tree import TreeInfo
from formats.filesystems.runs import Run, read_runs, run_source
from formats.filesystems.walk import Walkable, check_size, naming, walk

_ANNOUNCED = 16_384
_MOST_WITHOUT_RUNS = 64 * KIB
"""Content that is no run is with the inode, or in a block at the most."""


class RunFilesystem(Walkable, Protocol):
    """What such a filesystem knows of its inodes, beside what walking needs."""

    @property
    def source(self) -> ByteSource:
        """The volume."""
        ...

    @property
    def block_bytes(self) -> int:
        """Size of the blocks that runs count."""
        ...

    def runs(self, number: int, size: int) -> list[Run]:
        """Return where on the volume the first ``size`` bytes of a file are.

        What no run covers reads as zeros. Content that is no run (inline data) gives none.

        :raises CorruptError: if the mapping is damaged.
        """
        ...

    def content(self, number: int, size: int) -> Iterator[BytesLike]:
        """Yield the first ``size`` bytes of a file, whatever form it has.

        :raises CorruptError: if they cannot be read.
        """
        ...


class RunTree:
    """The tree of one filesystem; see :class:`formats.core.tree.Tree`."""

    def __init__(self, filesystem: RunFilesystem, info: TreeInfo) -> None:
        self._filesystem = filesystem
        self._info = info
        self._announced: dict[int, list[Run]] = {}
        """Where the content of announced files is, by inode, until it is read."""

    @property
    def origin(self) -> Origin:
        """See :attr:`formats.core.tree.Tree.origin`."""
        return self._filesystem.origin

    @property
    def info(self) -> TreeInfo:
        """See :attr:`formats.core.tree.Tree.info`."""
        return self._info

    def entries(self) -> Iterator[Entry]:
        """See :meth:`formats.core.tree.Tree.entries` and :func:`~formats.filesystems.walk.walk`."""
        return walk(self._filesystem)

    def read(self, entry: Entry) -> Iterator[BytesLike]:
        """See :meth:`formats.core.tree.Tree.read`.

        :raises CorruptError: if the content cannot be read whole.
        :raises LimitError: if the file is larger than a file may be.
        """
        filesystem, size = self._filesystem, entry.size
        check_size(entry, self._filesystem.limits, self.origin)
        if not size:
            return
        try:
            runs = self._announced.pop(entry.node, None)
            if runs:
                yield from read_runs(filesystem.source, runs, filesystem.block_bytes, size)
            else:
                yield from filesystem.content(entry.node, size)
        except ConvertError as error:
            raise naming(entry.path, error) from error

    def open(self, entry: Entry) -> ByteSource:
        """See :meth:`formats.core.tree.OpenableTree.open`.

        :raises CorruptError: if where the content lies cannot be read.
        :raises LimitError: if the file is larger than a file may be.
        """
        filesystem, size = self._filesystem, entry.size
        origin = file_origin(self.origin, entry.path)
        check_size(entry, self._filesystem.limits, self.origin)
        try:
            runs = filesystem.runs(entry.node, size)
            if not runs and 0 < size <= _MOST_WITHOUT_RUNS:
                return MemorySource(b"".join(filesystem.content(entry.node, size)), origin)
            return run_source(filesystem.source, runs, filesystem.block_bytes, size, origin)
        except ConvertError as error:
            raise naming(entry.path, error) from error

    def will_read(self, entries: Sequence[Entry]) -> None:
        """See :meth:`formats.core.tree.Tree.will_read`."""
        filesystem = self._filesystem
        ranges: list[tuple[int, int]] = []
        if len(self._announced) + len(entries) > _ANNOUNCED:
            self._announced.clear()  # of a walk that was given up
        block_bytes = filesystem.block_bytes
        for entry in entries:
            if not 0 < entry.size <= filesystem.limits.file_bytes:
                continue
            try:
                runs = filesystem.runs(entry.node, entry.size)
            except ConvertError:  # a hint never fails: read() says what is wrong
                continue
            self._announced[entry.node] = runs
            for _, count, start in runs:
                _append_range(ranges, start * block_bytes, count * block_bytes)
        filesystem.source.will_need(ranges)


def _append_range(ranges: list[tuple[int, int]], offset: int, length: int) -> None:
    """Add a range, or lengthen the last one that it continues."""
    if ranges and sum(ranges[-1]) == offset:
        offset, length = ranges[-1][0], ranges.pop()[1] + length
    ranges.append((offset, length))
