"""The way through a tree that every writer takes: bounded, announced, each file's size checked."""

from __future__ import annotations

from collections.abc import Iterator

from formats.core.entry import Entry, Kind
from formats.core.errors import CorruptError, LimitError, quoted
from formats.core.limits import MIB, Limits
from formats.core.source import BytesLike
from formats.core.tree import Tree

_LOOK_AHEAD_BYTES = 16 * MIB
_LOOK_AHEAD_ENTRIES = 2048

_FILE = Kind.FILE


def announced(
    tree: Tree, limits: Limits, look_ahead_bytes: int = _LOOK_AHEAD_BYTES
) -> Iterator[Entry]:
    """Yield all entries, each after its tree was told that its content will be read.

    Between one and two look-aheads of content are told of and not yet read
    (:meth:`~formats.core.tree.Tree.will_read`).

    :param look_ahead_bytes: content that is told of at once.
    :raises LimitError: for too many entries, or too large a file.
    """
    waiting: list[Entry] = []
    for batch in _batches(tree, limits, look_ahead_bytes):
        files = [entry for entry in batch if entry.size and entry.kind is _FILE]
        if files:
            tree.will_read(files)
        yield from waiting
        waiting = batch
    yield from waiting


def _batches(tree: Tree, limits: Limits, look_ahead_bytes: int) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    content_bytes = 0
    for number, entry in enumerate(tree.entries(), start=1):
        if number > limits.entries:
            raise LimitError(f"holds more than {limits.entries:,} entries", origin=tree.origin)
        if entry.kind is _FILE:
            if entry.size > limits.file_bytes:
                raise LimitError(
                    f"{quoted(entry.path)} has {entry.size:,} bytes, more than the"
                    f" {limits.file_bytes:,} that one file may have; holes count",
                    origin=tree.origin,
                    hint="drop it with --drop, or raise the limit if the input is trusted",
                )
            content_bytes += entry.size
        batch.append(entry)
        if content_bytes >= look_ahead_bytes or len(batch) >= _LOOK_AHEAD_ENTRIES:
            yield batch
            batch, content_bytes = [], 0
    yield batch


def content(tree: Tree, entry: Entry) -> Iterator[BytesLike]:
    """Yield the content of a file: ``entry.size`` bytes, uncopied.

    :raises CorruptError: if the tree gives fewer or more.
    """
    missing = entry.size
    for chunk in tree.read(entry):
        missing -= len(chunk)
        if missing < 0:
            break
        yield chunk
    if missing:
        given = "more" if missing < 0 else f"only {entry.size - missing:,}"
        raise CorruptError(
            f"{quoted(entry.path)} is said to have {entry.size:,} bytes and has {given}",
            origin=tree.origin,
        )
