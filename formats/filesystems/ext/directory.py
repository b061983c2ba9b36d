"""Directory blocks: names and inode numbers (kernel documentation, "Directory Entries").

Hash trees are not searched: their index blocks look like blocks with nothing but unused entries,
so that every name is found by going through all blocks.
"""

from __future__ import annotations

import struct

from formats.core.entry import check_name
from formats.core.errors import CorruptError, LimitError
from formats.core.origin import Origin
from formats.filesystems.ext.checksums import crc32c
from formats.filesystems.walk import Names

_ENTRY = struct.Struct("<IHBB")  # inode, record length, name length, type (or its high byte)
_LARGEST_BLOCK = 1 << 16
_WHOLE_LARGEST_BLOCK = frozenset({0, 0xFFFF})
_TAIL = struct.Struct("<IHBBI")  # an unused entry that holds the block's checksum
_TAIL_TYPE = 0xDE
_DOTS = frozenset({b".", b".."})


class DirectoryParser:
    """Collects the names in the blocks of one folder.

    :param seed: what the checksums of its blocks start from; None where there are none.
    :param has_types: whether entries have the type byte of the ``filetype`` feature.
    :param most: how many names the folder may have.
    """

    def __init__(self, origin: Origin, seed: int | None, *, has_types: bool, most: int) -> None:
        self._origin = origin
        self._seed = seed
        self._has_types = has_types
        self._most = most
        self.names: Names = []

    def add(self, block: bytes, offset: int) -> None:
        """Take the names of one block, or of one part of an inline folder.

        :param offset: where it is on the volume, for messages.
        :raises CorruptError: if an entry does not fit, or has a name that no system allows.
        :raises LimitError: if there are too many.
        """
        size, position, length, unpack = len(block), 0, 0, _ENTRY.unpack_from
        while position < size:
            if position + _ENTRY.size > size:
                raise self._damaged("is cut short", offset + position)
            inode, length, name_length, kind = unpack(block, position)
            if size == _LARGEST_BLOCK:
                length = _long_record(length)
            name_start = position + _ENTRY.size
            name_end = name_start + name_length
            following = position + length
            if length & 3 or not name_end <= following <= size or length < _ENTRY.size:
                raise self._damaged(f"claims {length:,} bytes", offset + position)
            if inode:
                if kind and not self._has_types:
                    raise self._damaged("has a name of over 255 bytes", offset + position)
                self._take(block[name_start:name_end], inode)
            position = following
        if self._seed is not None and length == _TAIL.size:
            self._verify(block, offset, self._seed)

    def _take(self, name: bytes, inode: int) -> None:
        if name in _DOTS:
            return
        if not name or b"/" in name or b"\0" in name:
            check_name(name, self._origin)
        self.names.append((name, inode))
        if len(self.names) > self._most:
            raise LimitError(f"has more than {self._most:,} names in it", origin=self._origin)

    def _verify(self, block: bytes, offset: int, seed: int) -> None:
        """Compare the checksum of a block whose last entry is a tail.

        Blocks of the hash tree have another one. The tree's root was a folder's first block once,
        and what was its tail is still there: only an entry that begins there makes it one.
        """
        tail = len(block) - _TAIL.size
        inode, length, name_length, kind, stored = _TAIL.unpack_from(block, tail)
        if (inode, length, name_length, kind) != (0, _TAIL.size, 0, _TAIL_TYPE):
            return
        computed = crc32c(block[:tail], seed)
        if computed != stored:
            raise CorruptError(
                f"a directory block has checksum {stored:08x}, not {computed:08x}",
                origin=self._origin,
                offset=offset,
                hint="run 'e2fsck' on a copy",
            )

    def _damaged(self, what: str, offset: int) -> CorruptError:
        return CorruptError(
            f"a directory entry {what}",
            origin=self._origin,
            offset=offset,
            hint="run 'e2fsck' on a copy",
        )


def _long_record(length: int) -> int:
    """Return a record length in a 64 KiB block: its two low bits are bits 16 and 17."""
    if length in _WHOLE_LARGEST_BLOCK:
        return _LARGEST_BLOCK
    return (length & 0xFFFC) | (length & 3) << 16
