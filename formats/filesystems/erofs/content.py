"""The content of files and folders, in all layouts (kernel documentation, "EROFS")."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache

from formats.codecs.lz4 import lz4_decompress, lz4_decompress_start
from formats.codecs.units import decode_zstd, inflate_raw
from formats.codecs.xz import microlzma_decompress
from formats.core.errors import CorruptError, UnsupportedError
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource, MappedSource, Segment, read_exact
from formats.filesystems.erofs.compressed import Codec, Extent, IndexReader
from formats.filesystems.erofs.inode import Inode, InodeTable, Layout
from formats.filesystems.erofs.superblock import Incompat, Superblock
from formats.filesystems.pieces import PieceSource
from formats.filesystems.runs import Run, coalesce, read_runs, run_source

_CHUNK_BITS = 0x1F
_CHUNK_INDEXES = 0x20
_CHUNK_FORMAT = _CHUNK_BITS | _CHUNK_INDEXES
_HOLE = 0xFFFF_FFFF
_ADDRESS = struct.Struct("<I")
_INDEX = struct.Struct("<2xHI")  # device, block
_CHUNKS_AT_ONCE = 4096
_MOST_PACKED_EXTENTS = 1 << 20
_EXTENTS_KEPT = 8
_FLAT = frozenset({Layout.PLAIN, Layout.INLINE})
_COMPRESSED = frozenset({Layout.COMPRESSED_FULL, Layout.COMPRESSED_COMPACT})


class ContentReader:
    """Reads the content of an image's inodes. May be used from several threads."""

    def __init__(self, source: ByteSource, superblock: Superblock, inodes: InodeTable) -> None:
        self._source = source
        self._superblock = superblock
        self._inodes = inodes
        self._indexes = IndexReader(source, superblock)
        self._kept_extent = lru_cache(_EXTENTS_KEPT)(self._decoded)

    def read(self, inode: Inode) -> Iterator[BytesLike]:
        """Yield the content of an inode.

        :raises CorruptError: if it cannot be read.
        :raises UnsupportedError: for what is not read, by name.
        """
        if inode.layout in _COMPRESSED:
            for extent in self._indexes.extents(inode):
                if extent.codec is Codec.FRAGMENT:
                    yield from self.packed(extent.place, extent.size)
                else:
                    yield self._decoded(extent)
            return
        if inode.layout is Layout.CHUNKS:
            yield from self._chunks(inode)
            return
        plain = inode.size - self._inline_bytes(inode)
        runs = [Run(0, -(-plain // self._superblock.block_bytes), inode.detail)] if plain else []
        yield from read_runs(self._source, runs, self._superblock.block_bytes, plain)
        if plain < inode.size:
            yield self._inline(inode, 0, inode.size - plain)

    def _inline_bytes(self, inode: Inode) -> int:
        """Return how much of the end of an inode's content is behind the inode."""
        if inode.layout is not Layout.INLINE or not inode.size:
            return 0
        return (inode.size - 1) % self._superblock.block_bytes + 1

    def _inline(self, inode: Inode, skip: int, size: int) -> BytesLike:
        end = inode.end % self._superblock.block_bytes + skip + size
        if end > self._superblock.block_bytes:
            raise self._inodes.damaged("has an inline tail of more than a block", inode.number)
        return read_exact(self._source, inode.end + skip, size, "an inline tail")

    def _chunks(self, inode: Inode) -> Iterator[BytesLike]:
        """Yield the content of a file in chunks, some thousand of them at a time."""
        for size, runs in self._chunk_batches(inode):
            yield from read_runs(self._source, runs, self._superblock.block_bytes, size)

    def _chunk_batches(self, inode: Inode) -> Iterator[tuple[int, list[Run]]]:
        """Yield how much of a file some thousand chunks are, and where they are."""
        form = inode.detail & 0xFFFF
        if form & ~_CHUNK_FORMAT:
            raise UnsupportedError(
                f"has chunks of format {form:#x}, which is not read", origin=self._source.origin
            )
        record = _INDEX if form & _CHUNK_INDEXES else _ADDRESS
        place = -(-inode.end // record.size) * record.size
        chunk_blocks = 1 << (form & _CHUNK_BITS)
        chunk_bytes = chunk_blocks << self._superblock.block_log
        missing = inode.size
        while missing:
            count = min(_CHUNKS_AT_ONCE, -(-missing // chunk_bytes))
            data = read_exact(self._source, place, count * record.size, "the chunks of a file")
            found = self._chunk_runs(record.iter_unpack(data), chunk_blocks)
            size = min(missing, count * chunk_bytes)
            yield size, coalesce(found, -(-size // self._superblock.block_bytes))
            missing -= size
            place += count * record.size

    def _chunk_runs(self, records: Iterable[tuple[int, ...]], blocks: int) -> Iterator[Run]:
        """Yield where chunks are; holes are left out."""
        for number, (*device, block) in enumerate(records):
            if block == _HOLE:
                continue
            if any(device):
                raise UnsupportedError(
                    f"has a chunk on device {device[-1]}, which is not read",
                    origin=self._source.origin,
                )
            yield Run(number * blocks, blocks, block)

    def _decoded(self, extent: Extent) -> BytesLike:
        """Return the content of an extent that is no fragment."""
        if extent.codec is Codec.PLAIN:
            return read_exact(self._source, extent.place, extent.size, "an extent")
        stored = read_exact(self._source, extent.place, extent.stored, "an extent")
        if extent.codec is Codec.INTERLACED:
            turn = extent.start % self._superblock.block_bytes
            return (bytes(stored[turn:]) + bytes(stored[:turn]))[: extent.size]
        try:
            return self._decompressed(extent, bytes(stored))
        except CorruptError as error:
            raise CorruptError(
                f"an extent cannot be read: {error.message}",
                origin=self._source.origin,
                offset=extent.place,
            ) from error

    def _decompressed(self, extent: Extent, stored: bytes) -> BytesLike:
        size, is_padded = extent.size, Incompat.ZERO_PADDING in self._superblock.incompat
        if is_padded:  # in front, so that it ends with its blocks
            first = self._superblock.block_bytes - extent.place % self._superblock.block_bytes
            padding = min(first, len(stored)) - len(stored[:first].lstrip(b"\0"))
            stored = stored[padding:]
        if extent.codec is Codec.LZ4:
            if extent.is_partial or not is_padded:
                return lz4_decompress_start(stored, size)
            data = lz4_decompress(stored, size)
            if len(data) != size:
                raise CorruptError(f"an LZ4 block gives {len(data):,} of {size:,} bytes")
            return data
        if extent.codec is Codec.LZMA:
            return microlzma_decompress(stored, size)
        if extent.codec is Codec.DEFLATE:
            return inflate_raw(stored, size)
        return decode_zstd(stored, size)

    @cached_property
    def _packed_extents(self) -> tuple[list[int], list[Extent]]:
        """The extents of the inode that holds the tails of files, and where each starts."""
        inode = self._inodes.read(self._superblock.packed)
        if not self._superblock.packed or inode.layout not in _COMPRESSED:
            return [], []
        extents: list[Extent] = []
        for extent in self._indexes.extents(inode):
            extents.append(extent)
            if extent.codec is Codec.FRAGMENT or len(extents) > _MOST_PACKED_EXTENTS:
                raise self._inodes.damaged("holds tails and has one itself", inode.number)
        return [extent.start for extent in extents], extents

    def packed(self, offset: int, size: int) -> Iterator[BytesLike]:
        """Yield a piece of the inode that holds the tails of files.

        :raises CorruptError: if it is not there.
        """
        if not self._superblock.packed:
            raise self._inodes.damaged("has tails of files, and is not there", 0)
        inode = self._inodes.read(self._superblock.packed)
        if offset + size > inode.size:
            raise self._inodes.damaged("ends inside of a file's tail", inode.number)
        if inode.layout not in _COMPRESSED:
            yield self._flat_piece(inode, offset, size)
            return
        starts, extents = self._packed_extents
        while size:
            extent = extents[bisect_right(starts, offset) - 1]
            skip = offset - extent.start
            piece = memoryview(self._kept_extent(extent))[skip : skip + size]
            yield piece
            offset += len(piece)
            size -= len(piece)

    def _flat_piece(self, inode: Inode, offset: int, size: int) -> BytesLike:
        """Return a piece of an inode that is not compressed."""
        if inode.layout is Layout.CHUNKS:
            raise UnsupportedError(
                "keeps the tails of files in chunks, which is not read", origin=self._source.origin
            )
        plain = inode.size - self._inline_bytes(inode)
        parts: list[BytesLike] = []
        if offset < plain:
            place = (inode.detail << self._superblock.block_log) + offset
            parts.append(read_exact(self._source, place, min(size, plain - offset), "a tail"))
        if offset + size > plain:
            skip = max(offset - plain, 0)
            parts.append(self._inline(inode, skip, offset + size - plain - skip))
        return b"".join(parts)

    def open(self, inode: Inode, origin: Origin) -> ByteSource:
        """Return the content of an inode as a source of that origin.

        :raises CorruptError: if where it lies cannot be read.
        :raises UnsupportedError: for what is not read, by name.
        """
        if inode.layout in _COMPRESSED:
            extents = list(self._indexes.extents(inode))
            return PieceSource(_Extents(self, extents), inode.size, origin)
        block_bytes = self._superblock.block_bytes
        segments: list[Segment] = []
        if inode.layout is Layout.CHUNKS:
            position = 0
            for size, runs in self._chunk_batches(inode):
                batch = run_source(self._source, runs, block_bytes, size, origin)
                segments.append(Segment(position, size, batch))
                position += size
            return MappedSource(segments, origin)
        plain = inode.size - self._inline_bytes(inode)
        segments.append(Segment(0, plain, self._source, inode.detail * block_bytes))
        if plain < inode.size:
            tail = inode.size - plain
            self._inline(inode, 0, tail)  # that it is there, and in its block
            segments.append(Segment(plain, tail, self._source, inode.end))
        return MappedSource(segments, origin)

    def piece(self, extent: Extent, skip: int, length: int) -> BytesLike:
        """Return some bytes of an extent.

        :raises CorruptError: if they cannot be read.
        """
        if extent.codec is Codec.FRAGMENT:
            return b"".join(self.packed(extent.place + skip, length))
        return memoryview(self._kept_extent(extent))[skip : skip + length]

    def ranges(self, inodes: Iterable[Inode]) -> Iterator[tuple[int, int]]:
        """Yield offset and length of what these inodes have in adjoining blocks."""
        for inode in inodes:
            plain = inode.size - self._inline_bytes(inode)
            if plain and inode.layout in _FLAT:
                yield inode.detail << self._superblock.block_log, plain


class _Extents:
    """The extents of one compressed file; see :class:`formats.filesystems.pieces.Pieces`."""

    def __init__(self, content: ContentReader, extents: Sequence[Extent]) -> None:
        self.starts: Sequence[int] = [extent.start for extent in extents]
        self._content = content
        self._extents = extents

    def read(self, index: int, skip: int, length: int) -> BytesLike:
        return self._content.piece(self._extents[index], skip, length)

    def is_hole(self, index: int) -> bool:
        """Return False: zeros are compressed like everything else."""
        del index
        return False

    def will_need(self, indexes: Iterator[int]) -> None:
        """Do nothing: extents are not decoded ahead."""
