"""Files inside of trees as sources: a disk on an ISO, a root filesystem in a squashfs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from formats.core.entry import Entry, Kind
from formats.core.errors import LimitError, UnsupportedError, quoted
from formats.core.origin import file_origin
from formats.core.reader import OpenContext
from formats.core.source import BytesLike, ByteSource
from formats.core.spooled import spooled
from formats.core.tree import OpenableTree, Tree


@runtime_checkable
class DelegatingTree(Protocol):
    """A tree made of others, which have the content."""

    def underlying(self, entry: Entry) -> tuple[Tree, Entry]:
        """Return the tree that has an entry's content, and the entry there."""
        ...


def file_source(tree: Tree, entry: Entry, context: OpenContext) -> ByteSource:
    """Return the content of a file (or of a hard link's target) as a source.

    It is read where it lies if the tree can open its files at any place, and otherwise copied into
    a temporary file, of which the user is told.

    :raises UnsupportedError: if the entry is no file.
    :raises CorruptError: if the content cannot be read.
    :raises LimitError: if it is too large to be copied.
    :raises OutputError: if there is no room for a copy.
    """
    if entry.kind not in {Kind.FILE, Kind.HARDLINK}:
        raise UnsupportedError(
            f"{quoted(entry.path)} is a {entry.kind.value}, not a file", origin=tree.origin
        )
    while isinstance(tree, DelegatingTree):
        tree, entry = tree.underlying(entry)
    if isinstance(tree, OpenableTree):
        return tree.open(entry)
    return _copied(tree, entry, context)


def _copied(tree: Tree, entry: Entry, context: OpenContext) -> ByteSource:
    origin = file_origin(tree.origin, entry.path)
    limits = context.limits
    if entry.size > limits.file_bytes:
        raise LimitError(
            f"has {entry.size:,} bytes, more than the {limits.file_bytes:,} that a file may have",
            origin=origin,
        )
    return spooled(_counted(tree, entry, context), origin, context, "copied")


def _counted(tree: Tree, entry: Entry, context: OpenContext) -> Iterator[BytesLike]:
    """Yield the content, and tell how much of it was."""
    done = 0
    for block in tree.read(entry):
        yield block
        done += len(block)
        context.progress("copying", done, entry.size)
