"""An inode's extended attributes, gathered from all places where they can be.

"XFS Algorithms & Data Structures", "Extended Attributes": in the inode; in one leaf block; in a
tree whose leaves are chained; and large values in blocks of their own ("remote").
"""

from __future__ import annotations

import bisect
import struct
from collections.abc import Iterator

from formats.core.errors import CorruptError, LimitError
from formats.core.limits import Limits
from formats.core.source import ByteSource
from formats.filesystems.xfs import xattrs
from formats.filesystems.xfs.blocks import ATTRIBUTE_HEADER, REMOTE_HEADER, Blocks
from formats.filesystems.xfs.forks import Forks
from formats.filesystems.xfs.inode import FORMAT_EXTENTS, FORMAT_LOCAL, Inode
from formats.filesystems.xfs.superblock import REPAIR_HINT, Superblock
from formats.filesystems.xfs.xattrs import Attribute

NamesAndValues = tuple[tuple[bytes, bytes], ...]

_BLOCK_HEADER = struct.Struct(">I4xH")  # next of the same level, the one before; magic
_LEAF_MAGIC = {4: 0xFBEE, 5: 0x3BEE}
_NODE_MAGIC = {4: 0xFEBE, 5: 0x3EBE}
_NODE_COUNT = struct.Struct(">HH")  # entries, level
_NODE_COUNT_OFFSET = {4: 12, 5: 56}
_NODE_FIRST_CHILD_OFFSET = {4: 20, 5: 68}
_CHILD = struct.Struct(">I")
_MAX_LEVEL = 5
_VALUE_MAGIC = b"XARM"
_VALUE_HEADER = struct.Struct(">4sII")  # magic, offset in the value, bytes of it
_VALUE_HEADER_BYTES = {4: 0, 5: 56}
_BLOCK = "a block of attributes"


class AttributeReader:
    """Reads the attributes of a filesystem's inodes."""

    def __init__(
        self, source: ByteSource, superblock: Superblock, forks: Forks, limits: Limits
    ) -> None:
        self._superblock = superblock
        self._forks = forks
        self._limits = limits
        self._blocks = Blocks(source, superblock)

    def of(self, inode: Inode) -> NamesAndValues:
        """Return names and values, sorted by name.

        :raises CorruptError: if they are damaged, or a name is there twice.
        :raises LimitError: if there are too many, or one is too large.
        """
        form = inode.attribute_format
        if not inode.fork_offset or (form == FORMAT_EXTENTS and not inode.attributes_extents):
            return ()
        if form == FORMAT_LOCAL:
            found = [
                xattrs.final(attribute.name, attribute.value or b"")
                for attribute in self._bounded(xattrs.in_inode(inode.attribute_fork))
            ]
        else:
            fork = _AttributeFork(self._superblock, self._blocks, self._forks, inode)
            found = [
                xattrs.final(attribute.name, fork.value(attribute))
                for attribute in self._bounded(fork.attributes())
            ]
        found.sort()
        if len({name for name, _ in found}) != len(found):
            raise self._damaged("an attribute is there twice", inode)
        return tuple(found)

    def _bounded(self, attributes: Iterator[Attribute]) -> Iterator[Attribute]:
        limits = self._limits
        for number, attribute in enumerate(attributes, 1):
            if number > limits.xattrs_per_file:
                raise LimitError(
                    f"has more than {limits.xattrs_per_file} extended attributes",
                    origin=self._blocks.origin,
                )
            if attribute.size > limits.xattr_value_bytes:
                raise LimitError(
                    f"its attribute {attribute.name!r} has {attribute.size:,} bytes, more than"
                    f" {limits.xattr_value_bytes:,}",
                    origin=self._blocks.origin,
                )
            yield attribute

    def _damaged(self, what: str, inode: Inode) -> CorruptError:
        message = f"inode {inode.number:,}: {what}"
        return CorruptError(message, origin=self._blocks.origin, hint=REPAIR_HINT)


class _AttributeFork:
    """The blocks with one inode's attributes."""

    def __init__(self, superblock: Superblock, blocks: Blocks, forks: Forks, inode: Inode) -> None:
        self._superblock = superblock
        self._version = superblock.version
        self._blocks = blocks
        self._number = inode.number
        self._runs = forks.attribute_runs(inode)
        self._firsts = [run.first for run in self._runs]

    def attributes(self) -> Iterator[Attribute]:
        """Yield what is in all leaves, from the first along the chain that they are."""
        number = self._first_leaf()
        visited: set[int] = set()
        while True:
            visited.add(number)
            block, place = self._read(number)
            following, magic = _BLOCK_HEADER.unpack_from(block)
            if magic != _LEAF_MAGIC[self._version]:
                raise self._blocks.damaged(f"{_BLOCK} has magic {magic:#06x}", place)
            yield from xattrs.in_leaf(block, self._version)
            if not following:
                return
            if following in visited:
                raise self._blocks.damaged(f"{_BLOCK} leads back to an earlier one", place)
            number = following

    def _first_leaf(self) -> int:
        number, level = 0, _MAX_LEVEL + 1
        while True:
            block, place = self._read(number)
            if _BLOCK_HEADER.unpack_from(block)[1] != _NODE_MAGIC[self._version]:
                return number
            count, own_level = _NODE_COUNT.unpack_from(block, _NODE_COUNT_OFFSET[self._version])
            if not count or not 0 < own_level < level:
                raise self._blocks.damaged(
                    f"{_BLOCK} has level {own_level} below {level}, and {count:,} entries", place
                )
            level = own_level
            (number,) = _CHILD.unpack_from(block, _NODE_FIRST_CHILD_OFFSET[self._version])

    def _read(self, number: int) -> tuple[bytes, int]:
        """Return a block of the fork, verified, and where on the volume it is."""
        place = self._place(number)
        block = self._blocks.read(place, self._superblock.block_bytes, _BLOCK)
        self._blocks.verify(block, place, self._number, ATTRIBUTE_HEADER, _BLOCK)
        return block, place

    def _place(self, number: int) -> int:
        index = bisect.bisect_right(self._firsts, number) - 1
        if index >= 0:
            first, count, start = self._runs[index]
            if number < first + count:
                return start + number - first
        raise CorruptError(
            f"inode {self._number:,} has no block {number:,} of attributes",
            origin=self._blocks.origin,
            hint=REPAIR_HINT,
        )

    def value(self, attribute: Attribute) -> bytes:
        """Return an attribute's value, fetched from blocks of its own if it is there.

        In version 5 each of these has a header.
        """
        if attribute.value is not None:
            return attribute.value
        what = "a block with an attribute's value"
        header_bytes = _VALUE_HEADER_BYTES[self._version]
        parts: list[bytes] = []
        done, number = 0, attribute.block
        while done < attribute.size:
            place = self._place(number)
            block = self._blocks.read(place, self._superblock.block_bytes, what)
            part = block[header_bytes : header_bytes + attribute.size - done]
            if header_bytes:
                magic, offset, length = _VALUE_HEADER.unpack_from(block)
                if (magic, offset, length) != (_VALUE_MAGIC, done, len(part)):
                    raise self._blocks.damaged(
                        f"{what} has magic {magic!r}, bytes {offset:,} to {offset + length:,}"
                        f" of it instead of {done:,} to {done + len(part):,}",
                        place,
                    )
                self._blocks.verify(block, place, self._number, REMOTE_HEADER, what)
            parts.append(part)
            done += len(part)
            number += 1
        return b"".join(parts)
