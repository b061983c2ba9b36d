"""Where an inode has its forks, and what replaying changes beside them.

"XFS Algorithms & Data Structures", "Inode Core".
"""

from __future__ import annotations

from typing import NamedTuple

from formats.filesystems.xfs.superblock import Superblock

CORE_BYTES = 100
CORE_V3_BYTES = 176

_FORK_OFFSET = 82
_FORK_UNIT = 8
_FLAGS2 = slice(120, 128)
_FLAG2_NREXT64 = 0x10
_FORM, _ATTRIBUTE_FORM = 5, 83
_COUNT, _COUNT64 = slice(76, 80), slice(24, 32)
_ATTRIBUTE_COUNT, _ATTRIBUTE_COUNT64 = slice(80, 82), slice(76, 80)


class Fork(NamedTuple):
    """A fork of an inode.

    :ivar place: where it is in the inode; empty if there is none.
    :ivar form: where the inode has its form.
    :ivar extents: where the inode has the number of its extents.
    """

    place: slice
    form: int
    extents: slice

    @property
    def bytes(self) -> int:
        """How long it is."""
        return int(self.place.stop - self.place.start)


def forks(superblock: Superblock, record: bytearray) -> tuple[Fork, Fork] | None:
    """Return the data fork and the attribute fork; None if they do not fit into the inode."""
    has_v3 = superblock.has_checksums
    begin, end = CORE_V3_BYTES if has_v3 else CORE_BYTES, len(record)
    middle = begin + record[_FORK_OFFSET] * _FORK_UNIT
    if middle > end:
        return None
    flags2 = int.from_bytes(record[_FLAGS2], "big") if has_v3 else 0
    count, attribute_count = _COUNT, _ATTRIBUTE_COUNT
    if flags2 & _FLAG2_NREXT64:
        count, attribute_count = _COUNT64, _ATTRIBUTE_COUNT64
    if middle == begin:
        middle = end
    return (
        Fork(slice(begin, middle), _FORM, count),
        Fork(slice(middle, end), _ATTRIBUTE_FORM, attribute_count),
    )
