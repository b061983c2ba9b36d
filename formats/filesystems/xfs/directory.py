"""Folders: names and inode numbers.

"XFS Algorithms & Data Structures", "Directories". A small folder is in its inode; a larger one has
blocks with names, found through hashes in further blocks ("leaf" and "node" forms) that nobody
needs who wants all names: those lie behind the first 32 GiB of the folder and are not looked at.
"""

from __future__ import annotations

import struct

from formats.core.entry import check_name
from formats.core.errors import CorruptError, LimitError
from formats.core.origin import Origin
from formats.filesystems.walk import Names
from formats.filesystems.xfs.superblock import REPAIR_HINT, Superblock

NAMES_END_BYTES = 32 << 30
"""where in a folder the blocks with names end, whatever there is of them"""

_ENTRY = struct.Struct(">QB")  # inode, length of the name; then name, [type], padding, tag
_UNUSED = struct.Struct(">HH")  # mark, length; then at the end a tag
_UNUSED_MARK = 0xFFFF
_TAG = struct.Struct(">H")
_TAIL = struct.Struct(">I4x")  # number of hashes in front of it; unused ones
_HASH_BYTES = 8
_ALIGNMENT = 8
_HEADER_BYTES = {4: 16, 5: 64}
_DATA_MAGIC = {4: b"XD2D", 5: b"XDD3"}
_WHOLE_MAGIC = {4: b"XD2B", 5: b"XDB3"}
"""of the block of a folder that has just one, which holds the hashes, too"""

_SHORT_HEADER_BYTES = 2
_SHORT_ENTRY_BYTES = 3
_DOTS = frozenset({b".", b".."})


class FolderParser:
    """Collects the names of one folder.

    :param most: how many it may have.
    """

    def __init__(self, superblock: Superblock, origin: Origin, most: int) -> None:
        self._version = superblock.version
        self._type_bytes = int(superblock.has_file_types)
        self._origin = origin
        self._most = most
        self.names: Names = []

    def add_short(self, fork: bytes, offset: int) -> None:
        """Take the names of a folder that is in its inode ("shortform").

        :param fork: the folder, as long as the inode's size says.
        :param offset: where the inode is on the volume, for messages.
        :raises CorruptError: if an entry does not fit, or has a name that no system allows.
        :raises LimitError: if there are too many.
        """
        if len(fork) < _SHORT_HEADER_BYTES:
            raise self._damaged("a folder is cut short", offset)
        count, large = fork[0], fork[1]
        inode_bytes = 8 if large else 4
        position = _SHORT_HEADER_BYTES + inode_bytes
        for _ in range(count):
            if position >= len(fork):
                raise self._damaged("a folder is cut short", offset)
            start = position + _SHORT_ENTRY_BYTES
            inode_start = start + fork[position] + self._type_bytes
            position = inode_start + inode_bytes
            if position > len(fork):
                raise self._damaged("a folder is cut short", offset)
            name = fork[start : inode_start - self._type_bytes]
            self._take(name, int.from_bytes(fork[inode_start:position], "big"))
        if position != len(fork):
            raise self._damaged(f"a folder of {len(fork)} bytes has {position} in use", offset)

    def add_block(self, block: bytes, offset: int, *, is_only: bool) -> None:
        """Take the names of one block.

        :param offset: where it is on the volume, for messages.
        :param is_only: whether the folder has no other.
        :raises CorruptError: as above.
        :raises LimitError: as above.
        """
        end = len(block)
        magic = block[:4]
        if magic == _WHOLE_MAGIC[self._version] and is_only:
            end -= _TAIL.size
            end -= _TAIL.unpack_from(block, end)[0] * _HASH_BYTES
        elif magic != _DATA_MAGIC[self._version]:
            raise self._damaged(f"a block of a folder has magic {magic!r}", offset)
        position = _HEADER_BYTES[self._version]
        if end < position:
            raise self._damaged("a block of a folder has more hashes than fit", offset)
        # What is behind the name: its type, and the tag; then up to the next multiple of 8.
        behind = self._type_bytes + _TAG.size + _ALIGNMENT - 1
        entry, tag, name_start = _ENTRY.unpack_from, _TAG.unpack_from, _ENTRY.size
        while position < end:
            mark, following = _UNUSED.unpack_from(block, position)
            is_unused = mark == _UNUSED_MARK
            if is_unused:
                following += position
            elif position + name_start > end:
                following = position
            else:
                inode, length = entry(block, position)
                name_end = position + name_start + length
                following = (name_end + behind) & -_ALIGNMENT
            if not position < following <= end or following % _ALIGNMENT:
                raise self._damaged("an entry of a folder does not fit", offset + position)
            if tag(block, following - _TAG.size)[0] != position:
                raise self._damaged("an entry of a folder has a wrong tag", offset + position)
            if not is_unused:
                self._take(block[position + name_start : name_end], inode)
            position = following

    def _take(self, name: bytes, inode: int) -> None:
        if name in _DOTS:
            return
        if not name or b"/" in name or b"\0" in name:
            check_name(name, self._origin)
        self.names.append((name, inode))
        if len(self.names) > self._most:
            raise LimitError(f"has more than {self._most:,} names in it", origin=self._origin)

    def _damaged(self, what: str, offset: int) -> CorruptError:
        return CorruptError(what, origin=self._origin, offset=offset, hint=REPAIR_HINT)
