"""The tree of a filesystem that gives the content of files itself, decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from formats.core.entry import Entry
from formats.core.errors import ConvertError
from formats.core.origin import Origin, file_origin
from formats.core.source import BytesLike, ByteSource
from formats.core.tree import TreeInfo
from formats.filesystems.walk import Walkable, check_size, naming, walk


class ContentFilesystem(Walkable, Protocol):
    """What such a filesystem knows of its inodes, beside what walking needs."""

    def content(self, number: int) -> Iterator[BytesLike]:
        """Yield the content of a file.

        :raises CorruptError: if it cannot be read.
        """
        ...

    def open(self, number: int, origin: Origin) -> ByteSource:
        """Return the content of a file as a source of that origin.

        :raises CorruptError: if where it lies cannot be read.
        """
        ...

    def will_read(self, numbers: Sequence[int]) -> None:
        """Take the hint that these files will be read next, in this order; never fail."""
        ...


class ContentTree:
    """The tree of one filesystem; see :class:`formats.core.tree.Tree`."""

    def __init__(self, filesystem: ContentFilesystem, info: TreeInfo) -> None:
        self._filesystem = filesystem
        self._info = info

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
        check_size(entry, self._filesystem.limits, self.origin)
        if not entry.size:
            return
        try:
            yield from self._filesystem.content(entry.node)
        except ConvertError as error:
            raise naming(entry.path, error) from error

    def open(self, entry: Entry) -> ByteSource:
        """See :meth:`formats.core.tree.OpenableTree.open`.

        :raises CorruptError: if where the content lies cannot be read.
        :raises LimitError: if the file is larger than a file may be.
        """
        check_size(entry, self._filesystem.limits, self.origin)
        try:
            return self._filesystem.open(entry.node, file_origin(self.origin, entry.path))
        except ConvertError as error:
            raise naming(entry.path, error) from error

    def will_read(self, entries: Sequence[Entry]) -> None:
        """See :meth:`formats.core.tree.Tree.will_read`."""
        most = self._filesystem.limits.file_bytes
        self._filesystem.will_read([entry.node for entry in entries if 0 < entry.size <= most])
