"""Directory blocks (kernel documentation, "EROFS", "Directories").

A block begins with entries of fixed size; their names follow in the same order. Where the first
name begins says how many entries there are. A name ends where the next one begins, the last one at
the first NUL or the end of the block.
"""

from __future__ import annotations

import struct

from formats.core.entry import check_name
from formats.core.errors import CorruptError, LimitError
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.filesystems.walk import Names

_ENTRY = struct.Struct("<QHBx")  # inode, offset of the name, file type
_DOTS = frozenset({b".", b".."})


def add_names(block: bytes, names: Names, origin: Origin, limits: Limits) -> None:
    """Add the names in a block of a folder, but ``.`` and ``..``.

    :raises CorruptError: if an entry does not fit, or has a name that no system allows.
    :raises LimitError: for too many, or too long names.
    """
    if len(block) < _ENTRY.size:
        raise CorruptError("a directory block is cut short", origin=origin)
    first = _ENTRY.unpack_from(block)[1]
    if not first or first % _ENTRY.size or first > len(block):
        raise CorruptError(f"a directory block has its names at byte {first:,}", origin=origin)
    entries = list(_ENTRY.iter_unpack(block[:first]))
    if len(names) + len(entries) > limits.folder_entries:
        raise LimitError(f"has more than {limits.folder_entries:,} names in it", origin=origin)
    ends = [start for _, start, _ in entries[1:]]
    for (number, start, _), end in zip(entries, [*ends, len(block)], strict=True):
        if not first <= start < end <= len(block):
            raise CorruptError("a directory entry has its name elsewhere", origin=origin)
        name = block[start:end].partition(b"\0")[0]
        if name in _DOTS:
            continue
        if len(name) > limits.name_bytes:
            raise LimitError(
                f"has a name of {len(name):,} bytes, more than {limits.name_bytes}", origin=origin
            )
        if not name or b"/" in name:
            check_name(name, origin)
        names.append((name, number))
