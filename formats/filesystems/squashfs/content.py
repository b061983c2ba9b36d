"""File content (Squashfs Binary Format, "Data and Fragment Blocks").

A file is a list of blocks that adjoin in the image, each compressed on its own, and perhaps a tail
in a fragment: a block that holds the ends of several files. Of a block, only its stored size is in
the inode; none at all stands for zeros.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from formats.codecs.ahead import UnitCache
from formats.core.errors import ConvertError, CorruptError
from formats.core.limits import Limits
from formats.core.source import BytesLike, ByteSource, read_exact, zeros
from formats.filesystems.squashfs.inode import NONE, Inode, InodeTable
from formats.filesystems.squashfs.metadata import BLOCK_BYTES, Metadata
from formats.filesystems.squashfs.superblock import Superblock

_STORED_PLAIN = 1 << 24
_SIZE = struct.Struct("<I")
_FRAGMENT = struct.Struct("<QII")  # place, stored size, unused
_FRAGMENTS_KEPT = 1024
_SIZES_AT_ONCE = BLOCK_BYTES // _SIZE.size


class Block(NamedTuple):
    """A data block or a fragment.

    :ivar place: byte offset in the image.
    :ivar stored: its stored size, and :data:`_STORED_PLAIN` if it is not compressed; 0 for zeros.
    :ivar size: the most bytes that it may decode to.
    """

    place: int
    stored: int
    size: int


class ContentReader:
    """Reads the content of an image's files. May be used from several threads."""

    def __init__(
        self, metadata: Metadata, inodes: InodeTable, superblock: Superblock, limits: Limits
    ) -> None:
        self._source: ByteSource = metadata.source
        self._metadata = metadata
        self._inodes = inodes
        self._superblock = superblock
        self._fragment = lru_cache(_FRAGMENTS_KEPT)(self._find_fragment)
        self._cache = UnitCache(
            self._decode, unit_bytes=superblock.block_bytes, capacity_bytes=limits.cache_bytes
        )

    def close(self) -> None:
        """End the threads that decode ahead."""
        self._cache.close()

    def read(self, inode: Inode) -> Iterator[BytesLike]:
        """Yield the content of a file.

        :raises CorruptError: if a block is damaged or not there.
        """
        block_bytes = self._superblock.block_bytes
        missing = inode.size
        for block in self.blocks(inode):
            size = min(block_bytes, missing)
            missing -= size
            yield from self.block_content(block, size, is_last=not missing)
        if missing:
            yield self.tail(inode, missing)

    def block_content(self, block: Block, size: int, *, is_last: bool) -> Iterator[BytesLike]:
        """Yield the ``size`` bytes of a data block; only the last of a file must not be short."""
        if not block.stored:
            yield zeros(size)
            return
        data = self._plain(block) if block.stored & _STORED_PLAIN else self._cache.get(block)
        yield data
        if len(data) < size:
            if is_last:
                raise self._metadata.damaged(
                    f"a block holds {len(data):,} of {size:,} bytes", block.place
                )
            yield zeros(size - len(data))  # "the rest of the buffer is filled with 0 bytes"

    def tail(self, inode: Inode, size: int) -> BytesLike:
        """Return the ``size`` bytes that a file has in a fragment."""
        fragment = self._fragment(inode.fragment)
        tail = memoryview(self._cache.get(fragment))[inode.offset : inode.offset + size]
        if len(tail) != size:
            raise self._metadata.damaged("a fragment ends inside of a file", fragment.place)
        return tail

    def _find_fragment(self, index: int) -> Block:
        table, count = self._superblock.fragment_table, self._superblock.fragment_count
        if table is None or index >= count:
            what = f"there is no fragment {index:,}, only {count:,}"
            raise self._metadata.damaged(what, table or 0)
        record = self._metadata.lookup(table, index, _FRAGMENT.size)
        place, stored, _ = _FRAGMENT.unpack(record)
        return self._checked(place, stored, self._superblock.block_bytes)

    def blocks(self, inode: Inode) -> Iterator[Block]:
        """Yield the data blocks of a file, in order; their sizes are read as they are needed."""
        block_bytes = self._superblock.block_bytes
        count, rest = divmod(inode.size, block_bytes)
        if rest and inode.fragment == NONE:
            count += 1
        if not count:
            return
        stream = self._inodes.stream(inode.reference, inode.end + count * _SIZE.size)
        stream.take(inode.end)
        place, missing = inode.place, inode.size
        while count:
            step = min(count, _SIZES_AT_ONCE)
            count -= step
            for (stored,) in _SIZE.iter_unpack(stream.take(step * _SIZE.size)):
                block = self._checked(place, stored, min(block_bytes, missing))
                missing -= block.size
                place += stored & ~_STORED_PLAIN
                yield block

    def _checked(self, place: int, stored: int, size: int) -> Block:
        length = stored & ~_STORED_PLAIN
        if length > self._superblock.block_bytes:
            raise self._metadata.damaged(f"a block claims {length:,} stored bytes", place)
        if length and place + length > self._superblock.size_bytes:
            raise self._metadata.damaged("a block lies outside of the image", place)
        return Block(place, stored, size)

    def _decode(self, block: Block) -> BytesLike:
        if block.stored & _STORED_PLAIN:
            return self._plain(block)
        stored = read_exact(self._source, block.place, block.stored, "a block")
        try:
            return self._superblock.compression.decompress(stored, block.size)
        except CorruptError as error:
            what = f"a block cannot be read: {error.message}"
            raise self._metadata.damaged(what, block.place) from error

    def _plain(self, block: Block) -> BytesLike:
        length = block.stored & ~_STORED_PLAIN
        if length > block.size:
            what = f"a block holds {length:,} bytes, more than {block.size:,}"
            raise self._metadata.damaged(what, block.place)
        return read_exact(self._source, block.place, length, "a block")

    def will_need(self, inode: Inode, blocks: Iterable[Block | None]) -> None:
        """Decode blocks of one file ahead, in this order; None is its tail."""
        self._cache.will_need(
            block or self._fragment(inode.fragment)
            for block in blocks
            if block is None or (block.stored and not block.stored & _STORED_PLAIN)
        )

    def will_read(self, references: Iterable[int]) -> None:
        """Decode ahead what these files are made of, in this order."""
        self._cache.will_need(self._units(references))

    def _units(self, references: Iterable[int]) -> Iterator[Block]:
        last: Block | None = None
        for reference in references:
            try:
                inode = self._inodes.read(reference)
                for block in self.blocks(inode):
                    if block.stored and not block.stored & _STORED_PLAIN:
                        yield block
                if inode.fragment != NONE:
                    fragment = self._fragment(inode.fragment)
                    if fragment != last:
                        yield fragment
                    last = fragment
            except ConvertError:  # read() says what is wrong, when its turn comes
                continue
