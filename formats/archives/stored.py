"""Content that an archive holds as it is: one piece of a source for each member."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from formats.core.entry import Entry
from formats.core.limits import MIB
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource, read_exact, slice_source

Place: TypeAlias = tuple[int, int]
"""Offset in the archive and bytes there."""

BLOCK_BYTES = MIB


class StoredContents:
    """See :class:`~formats.archives.member_tree.Contents`; handles are places in ``archive``."""

    def __init__(self, archive: ByteSource) -> None:
        self._archive = archive

    def read(self, content: Place, entry: Entry) -> Iterator[BytesLike]:
        """Yield what is there."""
        del entry
        offset, length = content
        return read_blocks(self._archive, offset, length)

    def open(self, content: Place, origin: Origin) -> ByteSource:
        """Return the piece of the archive."""
        return slice_source(self._archive, *content, origin)

    def will_read(self, contents: Sequence[Place]) -> None:
        """Pass the hint on to the archive."""
        self._archive.will_need(contents)


def read_blocks(source: ByteSource, offset: int, length: int) -> Iterator[BytesLike]:
    """Yield ``length`` bytes from ``offset`` on in blocks.

    :raises CorruptError: if the source ends before.
    """
    stop = offset + length
    while offset < stop:
        block = read_exact(source, offset, min(BLOCK_BYTES, stop - offset), "the content")
        yield block
        offset += len(block)
