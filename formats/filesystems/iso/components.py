"""Component records: what symlinks (SL) and extended attributes (AL) are made of.

The records of all entries of one kind follow each other; one may even go on in the next entry
(IEEE P1282, 4.1.3.1).
"""

from __future__ import annotations

from collections.abc import Iterator

from formats.core.errors import CorruptError, LimitError, UnsupportedError
from formats.core.limits import Limits

_CONTINUE = 1
_CURRENT = 2
_PARENT = 4
_ROOT = 8
_HEADER_BYTES = 2


def symlink_target(area: bytes, limits: Limits) -> bytes:
    """Return what a symlink holds; empty without any record.

    :raises CorruptError: if the records are damaged.
    :raises UnsupportedError: for components that only older versions had.
    """
    parts: list[bytes] = []
    for flags, content in _whole(area):
        if flags & _ROOT:
            parts = [b""]
        elif flags & _CURRENT:
            parts.append(b".")
        elif flags & _PARENT:
            parts.append(b"..")
        elif flags:
            raise UnsupportedError(f"is a symlink with a component of the kind {flags:#x}")
        else:
            parts.append(content)
    target = b"/" if parts == [b""] else b"/".join(parts)
    if len(target) > limits.symlink_target_bytes:
        raise LimitError(
            f"is a symlink of {len(target):,} bytes, more than {limits.symlink_target_bytes:,}"
        )
    return target


def attribute_components(area: bytes) -> list[bytes]:
    """Return the components of an attribute list; names and values take turns.

    :raises CorruptError: if the records are damaged.
    """
    return [content for _, content in _whole(area)]


def _whole(area: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield flags, without that for continuing, and content of every component."""
    pieces: list[bytes] = []
    for flags, content in _records(area):
        pieces.append(content)
        if not flags & _CONTINUE:
            yield flags, b"".join(pieces)
            pieces.clear()
    if pieces:
        raise CorruptError("its last component record is to be continued")


def _records(area: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(area):
        start = position + _HEADER_BYTES
        end = start + area[position + 1] if start <= len(area) else start
        if end > len(area):
            raise CorruptError("its last component record is cut short")
        yield area[position], area[start:end]
        position = end
