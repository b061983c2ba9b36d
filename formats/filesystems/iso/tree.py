"""The tree of an ISO 9660 image; see :class:`formats.core.tree.OpenableTree`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from formats.core.entry import Entry
from formats.core.errors import ConvertError
from formats.core.origin import Origin, file_origin
from formats.core.source import BytesLike, ByteSource
from formats.core.tree import TreeInfo
from formats.filesystems.iso.filesystem import IsoFilesystem
from formats.filesystems.run_tree import RunTree
from formats.filesystems.walk import check_size, naming


class IsoTree:
    """One tree of an image."""

    def __init__(self, filesystem: IsoFilesystem, info: TreeInfo) -> None:
        self._filesystem = filesystem
        self._files = RunTree(filesystem, info)

    @property
    def origin(self) -> Origin:
        """See :attr:`formats.core.tree.Tree.origin`."""
        return self._filesystem.origin

    @property
    def info(self) -> TreeInfo:
        """See :attr:`formats.core.tree.Tree.info`."""
        return self._files.info

    def entries(self) -> Iterator[Entry]:
        """See :meth:`formats.core.tree.Tree.entries` and :func:`~formats.filesystems.walk.walk`."""
        return self._files.entries()

    def read(self, entry: Entry) -> Iterator[BytesLike]:
        """See :meth:`formats.core.tree.Tree.read`."""
        return self._files.read(entry)

    def open(self, entry: Entry) -> ByteSource:
        """See :meth:`formats.core.tree.OpenableTree.open`.

        :raises CorruptError: if where the content lies cannot be read.
        :raises LimitError: if the file is larger than a file may be.
        """
        check_size(entry, self._filesystem.limits, self.origin)
        try:
            origin = file_origin(self.origin, entry.path)
            compressed = self._filesystem.compressed(entry.node, origin)
        except ConvertError as error:
            raise naming(entry.path, error) from error
        return compressed or self._files.open(entry)

    def will_read(self, entries: Sequence[Entry]) -> None:
        """See :meth:`formats.core.tree.Tree.will_read`."""
        self._files.will_read(entries)
