"""The indexes of compressed files (kernel documentation, "EROFS", "Data compression").

A file is cut into *logical clusters* of a block each; an index says of each whether an extent of
compressed data begins in it (HEAD, or PLAIN if that is not compressed after all), and where that
is, or that it goes on (NONHEAD). An extent ends where the next one begins. Indexes are there in two
forms: of eight bytes each, or packed into 14 or 16 bits, where only each pack has an address.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from enum import IntEnum, IntFlag
from typing import NamedTuple

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.source import ByteSource, read_exact
from formats.filesystems.erofs.inode import Inode, Layout
from formats.filesystems.erofs.superblock import Incompat, Superblock

_HEADER = struct.Struct("<IHBB")  # fragment or tail, advice, algorithms, size of clusters
_WHOLE_FRAGMENT = struct.Struct("<Q")
_IN_PACKED_INODE = 0x80
_INDEX = struct.Struct("<HHI")  # advice, offset in the cluster, block (or two distances)
_PARTIAL = 0x8000
_BLOCK_COUNT = 1 << 11
_ADDRESS = struct.Struct("<I")
_KIND_BITS = 2
_HEADER_ALIGNMENT = 8
_FULL_GAP = 8
"""Between the header and indexes of eight bytes."""
_SMALL_PACK, _SMALL_PACK_BYTES = 2, 8
_LARGE_PACK, _LARGE_PACK_BYTES = 16, 32
_WITH_HEADER = Incompat.BIG_PCLUSTER | Incompat.ZTAILPACKING | Incompat.FRAGMENTS
_INDEXES_AT_ONCE = 1024
MOST_DECODED = 12 << 20
"""``Z_EROFS_PCLUSTER_MAX_DSIZE``"""
_MOST_STORED = 1 << 20
"""``Z_EROFS_PCLUSTER_MAX_SIZE``"""


class Advice(IntFlag):
    """``h_advise``."""

    COMPACTED_2B = 0x1
    BIG_PCLUSTER_1 = 0x2
    BIG_PCLUSTER_2 = 0x4
    INLINE_PCLUSTER = 0x8
    INTERLACED_PCLUSTER = 0x10
    FRAGMENT_PCLUSTER = 0x20


_KNOWN_ADVICE = 0x3F


class Codec(IntEnum):
    """How an extent is stored: one of the compressors, or how it is without one."""

    LZ4 = 0
    LZMA = 1
    DEFLATE = 2
    ZSTD = 3
    PLAIN = 16
    INTERLACED = 17
    FRAGMENT = 18


class _Kind(IntEnum):
    PLAIN = 0
    HEAD1 = 1
    NONHEAD = 2
    HEAD2 = 3


class Extent(NamedTuple):
    """A piece of a file.

    :ivar start: its first byte in the file.
    :ivar size: bytes of the file.
    :ivar place: byte offset in the image; of a fragment, in the packed inode.
    :ivar stored: bytes there.
    :ivar is_partial: what is stored decodes to more than the piece.
    """

    start: int
    size: int
    place: int
    stored: int
    codec: Codec
    is_partial: bool = False


class _Cluster(NamedTuple):
    """An index: where an extent begins in its cluster, and the block; or a count of blocks."""

    kind: int
    offset: int
    block: int
    is_partial: bool = False


class IndexReader:
    """Reads the indexes of compressed files."""

    def __init__(self, source: ByteSource, superblock: Superblock) -> None:
        self._source = source
        self._superblock = superblock

    def extents(self, inode: Inode) -> Iterator[Extent]:
        """Yield what a file is made of, in order, without gaps.

        :raises CorruptError: if the indexes are damaged.
        :raises UnsupportedError: for what is not read, by name.
        """
        if not inode.size:
            return
        header = _Header(self._source, self._superblock, inode)
        if header.whole_fragment is not None:
            yield Extent(0, inode.size, header.whole_fragment, inode.size, Codec.FRAGMENT)
            return
        block_bytes = self._superblock.block_bytes
        head: _Cluster | None = None
        start = blocks = 0
        for number, cluster in enumerate(header.clusters()):
            if cluster.kind == _Kind.NONHEAD:
                blocks = cluster.block or blocks
                continue
            begin = number * block_bytes + cluster.offset
            if head is not None and begin == inode.size:
                break  # mkfs.erofs says where the last extent ends, too
            is_right = begin == 0 if head is None else start < begin < inode.size
            if cluster.offset >= block_bytes or not is_right:
                raise header.damaged("has extents that do not adjoin")
            if head is not None:
                yield header.extent(head, start, begin, blocks)
            head, start, blocks = cluster, begin, 1
        if head is None:
            raise header.damaged("has no extents")
        yield header.last_extent(head, start, blocks)


class _Header:
    """What is in front of the indexes of a file, and what it says of them.

    :ivar whole_fragment: where in the packed inode the whole file is; None if it is not there.
    """

    def __init__(self, source: ByteSource, superblock: Superblock, inode: Inode) -> None:
        self._source = source
        self._superblock = superblock
        self._inode = inode
        self._place = -(-inode.end // _HEADER_ALIGNMENT) * _HEADER_ALIGNMENT
        self._count = -(-inode.size // superblock.block_bytes)
        data = bytes(read_exact(source, self._place, _HEADER.size, "a header of indexes"))
        self._detail, advice, algorithms, cluster_bits = _HEADER.unpack(data)
        if inode.layout is Layout.COMPRESSED_FULL and not superblock.incompat & _WITH_HEADER:
            self._detail = advice = algorithms = cluster_bits = 0  # there was none before
        self._advice = Advice(advice)
        self._algorithms = (algorithms & 15, algorithms >> 4)
        self.whole_fragment: int | None = None
        if cluster_bits & _IN_PACKED_INODE:
            self.whole_fragment = _WHOLE_FRAGMENT.unpack(data)[0] & ~(1 << 63)
        elif cluster_bits or advice & ~_KNOWN_ADVICE:
            raise UnsupportedError(
                f"is compressed with clusters of kind {cluster_bits:#x} and advice {advice:#x},"
                " which is not read",
                origin=source.origin,
            )

    def clusters(self) -> Iterator[_Cluster]:
        """Yield the index of each cluster."""
        if self._inode.layout is Layout.COMPRESSED_FULL:
            return self._full()
        return self._packed()

    def _full(self) -> Iterator[_Cluster]:
        place = self._place + _HEADER.size + _FULL_GAP
        for first in range(0, self._count, _INDEXES_AT_ONCE):
            count = min(_INDEXES_AT_ONCE, self._count - first)
            start, length = place + first * _INDEX.size, count * _INDEX.size
            indexes = read_exact(self._source, start, length, "the indexes of a file")
            for advice, offset, block in _INDEX.iter_unpack(indexes):
                kind = advice & 3
                if kind == _Kind.NONHEAD:
                    distance = block & 0xFFFF
                    counted = distance & ~_BLOCK_COUNT if distance & _BLOCK_COUNT else 0
                    yield _Cluster(kind, 0, counted)
                else:
                    yield _Cluster(kind, offset, block, bool(advice & _PARTIAL))

    def _packs(self) -> Iterator[tuple[int, int, int]]:
        """Yield the place of each pack, its bytes, and how many indexes are in it.

        They are of two indexes of 16 bits up to a multiple of 32 bytes, of sixteen of 14 bits as
        long as those are full, if that is advised, and of two again at the end.
        """
        place, left = self._place + _HEADER.size, self._count
        before = -place % _LARGE_PACK_BYTES // _SMALL_PACK_BYTES * _SMALL_PACK
        large = 0
        if Advice.COMPACTED_2B in self._advice and before < left:
            large = (left - before) // _LARGE_PACK
        small = -(-min(before, left) // _SMALL_PACK)
        for is_large, packs in ((False, small), (True, large), (False, left)):
            size, count = (_LARGE_PACK_BYTES, _LARGE_PACK) if is_large else (8, _SMALL_PACK)
            for _ in range(packs):
                if left <= 0:
                    return
                yield place, size, min(count, left)
                place += size
                left -= count

    def _packed(self) -> Iterator[_Cluster]:
        is_big = bool(self._advice & (Advice.BIG_PCLUSTER_1 | Advice.BIG_PCLUSTER_2))
        low_bits = max(self._superblock.block_log, _BLOCK_COUNT.bit_length())
        for place, size, count in self._packs():
            pack = bytes(read_exact(self._source, place, size, "a pack of indexes"))
            bits = int.from_bytes(pack[: -_ADDRESS.size], "little")
            (block,) = _ADDRESS.unpack_from(pack, size - _ADDRESS.size)
            width = (size - _ADDRESS.size) * 8 // (_LARGE_PACK if size > 8 else _SMALL_PACK)
            if width < low_bits + _KIND_BITS:
                raise UnsupportedError(
                    f"has packed indexes for blocks of {self._superblock.block_bytes:,} bytes,"
                    " which is not read",
                    origin=self._source.origin,
                )
            yield from _unpacked(bits, width, low_bits, count, block, is_big=is_big)

    def extent(self, head: _Cluster, start: int, end: int, blocks: int) -> Extent:
        """Return an extent in blocks."""
        place = head.block << self._superblock.block_log
        stored = blocks << self._superblock.block_log
        return self._checked(head, Extent(start, end - start, place, stored, self._codec(head)))

    def last_extent(self, head: _Cluster, start: int, blocks: int) -> Extent:
        """Return the last extent, which may be in a fragment, or behind the indexes."""
        size = self._inode.size - start
        if Advice.FRAGMENT_PCLUSTER in self._advice:
            is_full = self._inode.layout is Layout.COMPRESSED_FULL
            place = self._detail | (head.block << 32 if is_full else 0)
            return Extent(start, size, place, size, Codec.FRAGMENT)
        stored = self._detail >> 16
        if Advice.INLINE_PCLUSTER in self._advice and stored:
            place = self._behind()
            if place % self._superblock.block_bytes + stored > self._superblock.block_bytes:
                raise self.damaged("has an inline tail of more than a block")
            codec = self._codec(head)
            codec = Codec.PLAIN if codec is Codec.INTERLACED else codec
            return self._checked(head, Extent(start, size, place, stored, codec))
        return self.extent(head, start, self._inode.size, blocks)

    def _behind(self) -> int:
        """Return the byte offset of what follows the indexes."""
        if self._inode.layout is Layout.COMPRESSED_FULL:
            return self._place + _HEADER.size + _FULL_GAP + self._count * _INDEX.size
        ((place, size, _),) = deque(self._packs(), 1)
        return place + size

    def _codec(self, head: _Cluster) -> Codec:
        if head.kind == _Kind.PLAIN:
            is_interlaced = Advice.INTERLACED_PCLUSTER in self._advice
            return Codec.INTERLACED if is_interlaced else Codec.PLAIN
        algorithm = self._algorithms[head.kind == _Kind.HEAD2]
        if algorithm > Codec.ZSTD:
            raise UnsupportedError(
                f"is compressed with algorithm {algorithm}, which is not known",
                origin=self._source.origin,
            )
        return Codec(algorithm)

    def _checked(self, head: _Cluster, extent: Extent) -> Extent:
        is_plain = extent.codec >= Codec.PLAIN
        if extent.stored > _MOST_STORED or extent.size > MOST_DECODED:
            raise self.damaged(f"has an extent of {extent.size:,} bytes in {extent.stored:,}")
        if is_plain and extent.size > extent.stored:
            raise self.damaged("has an extent that is larger than its blocks")
        return extent._replace(is_partial=head.is_partial)

    def damaged(self, what: str) -> CorruptError:
        """Return the error that says what is wrong."""
        return CorruptError(f"the file {what}", origin=self._source.origin, offset=self._place)


def _unpacked(
    bits: int, width: int, low_bits: int, count: int, block: int, *, is_big: bool
) -> Iterator[_Cluster]:
    """Yield the indexes of a pack.

    :param block: the pack's address. Without big clusters, it is the one before the first extent
        that begins in the pack, and each takes a block; with them, it is that of the first whose
        size is in the pack, or that begins in it.
    """
    mask = (1 << low_bits) - 1
    pending = 0
    if not is_big:
        block += 1
    for _ in range(count):
        kind, low = bits >> low_bits & 3, bits & mask
        bits >>= width
        if kind == _Kind.NONHEAD:
            counted = low & ~_BLOCK_COUNT if is_big and low & _BLOCK_COUNT else 0
            if counted:
                block, pending = block + counted, 0
            yield _Cluster(kind, 0, counted)
        else:
            block += pending
            pending = 1
            yield _Cluster(kind, low, block)
