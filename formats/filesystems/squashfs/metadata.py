"""Metadata blocks, and the tables that are made of them.

Squashfs Binary Format, "Packing Metadata" and "Storing Lookup Tables": all but file content is in
blocks of 8 KiB before compression, each after a header of 16 bits with its stored length. What is
larger than a block, or begins near its end, goes on in the block that follows in the image.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from formats.core.errors import CorruptError
from formats.core.source import ByteSource, read_exact
from formats.filesystems.squashfs.compression import Decompress

BLOCK_BYTES = 8192

_HEADER_BYTES = 2
_STORED_PLAIN = 0x8000
_PLACE = struct.Struct("<Q")
_BLOCKS_KEPT = 1024
"""Eight megabytes: the inodes and names of some 200,000 files."""
_PLACES_KEPT = 4096


class Metadata:
    """Reads the metadata of one image. May be used from several threads.

    :param end: where the image ends, without padding.
    """

    def __init__(self, source: ByteSource, decompress: Decompress, end: int) -> None:
        self.source = source
        self._decompress = decompress
        self._end = end
        self.block = lru_cache(_BLOCKS_KEPT)(self._block)
        """Return a block's content and where the next one is, given where it is."""
        self._place_at = lru_cache(_PLACES_KEPT)(self._place)

    def _block(self, place: int) -> tuple[bytes, int]:
        start = place + _HEADER_BYTES
        if start > self._end:
            raise self.damaged("a metadata block lies outside of the image", place)
        # one read for both, as nearly every block is shorter than that
        data = memoryview(self.source.read_at(place, _HEADER_BYTES + BLOCK_BYTES))
        header = int.from_bytes(data[:_HEADER_BYTES], "little")
        length = header & ~_STORED_PLAIN
        if not 0 < length <= BLOCK_BYTES or start + length > self._end:
            raise self.damaged(f"a metadata block claims {length:,} bytes", place)
        stored = data[_HEADER_BYTES : _HEADER_BYTES + length]
        if header & _STORED_PLAIN:
            return bytes(stored), start + length
        try:
            content = bytes(self._decompress(stored, BLOCK_BYTES))
        except CorruptError as error:
            raise self.damaged(
                f"a metadata block cannot be read: {error.message}", place
            ) from error
        if not content:
            raise self.damaged("a metadata block is empty", place)
        return content, start + length

    def at_most(self, place: int, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes; fewer where blocks end.

        For records whose size is known once they are read: what follows the last block of a table
        need not be a block.

        :raises CorruptError: if not even the first block can be read.
        """
        content, following = self.block(place)
        data = content[offset : offset + length]
        if len(data) < length and offset <= len(content) and following < self._end:
            try:
                data += self.block(following)[0][: length - len(data)]
            except CorruptError:  # the end of the table
                return data
        return data

    def read(self, place: int, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes, over as many blocks as they take.

        :raises CorruptError: if they are not there.
        """
        stream = MetadataStream(self, place, offset, length)
        stream.want(length)
        return stream.take(length)

    def lookup(self, table: int, index: int, size: int) -> bytes:
        """Return one record of a lookup table.

        :param table: where its list of blocks is.
        :param size: bytes of each record; a divisor of :data:`BLOCK_BYTES`.
        :raises CorruptError: if it is not there.
        """
        number, offset = divmod(index * size, BLOCK_BYTES)
        place = self._place_at(table + number * _PLACE.size)
        record = self.block(place)[0][offset : offset + size]
        if len(record) != size:
            raise self.damaged(f"a lookup table has no record {index:,}", place)
        return record

    def _place(self, entry: int) -> int:
        """Return where a block of a lookup table is, given where that is written."""
        if entry + _PLACE.size > self._end:
            raise self.damaged("a lookup table lies outside of the image", entry)
        place: int
        (place,) = _PLACE.unpack(read_exact(self.source, entry, _PLACE.size, "a lookup table"))
        return place

    def damaged(self, what: str, place: int) -> CorruptError:
        """Return the error that says what is wrong, and where."""
        return CorruptError(what, origin=self.source.origin, offset=place)


class MetadataStream:
    """A range of metadata, taken from front to back.

    :param length: bytes in all; none behind them are given.
    :ivar buffer: what is at hand; what is before ``position`` is taken already.
    """

    def __init__(self, metadata: Metadata, place: int, offset: int, length: int) -> None:
        self.origin = metadata.source.origin
        self._metadata = metadata
        self._place = place
        self._offset = offset
        self._missing = length
        self.buffer = b""
        self.position = 0

    def want(self, length: int) -> bool:
        """Have ``length`` bytes at hand, or all that are left; tell whether any are.

        :raises CorruptError: if a block cannot be read, or ends before the range begins.
        """
        while self._missing and len(self.buffer) - self.position < length:
            content, following = self._metadata.block(self._place)
            if self._offset > len(content):
                raise self._metadata.damaged("a metadata block is too short", self._place)
            piece = content[self._offset : self._offset + self._missing]
            self.buffer = self.buffer[self.position :] + piece
            self.position = 0
            self._missing -= len(piece)
            self._place, self._offset = following, 0
        return self.position < len(self.buffer)

    def take(self, length: int) -> bytes:
        """Return the next ``length`` bytes.

        :raises CorruptError: if there are fewer.
        """
        if len(self.buffer) - self.position < length:
            self.want(length)
        data = self.buffer[self.position : self.position + length]
        if len(data) != length:
            raise self.cut_short()
        self.position += length
        return data

    def cut_short(self) -> CorruptError:
        """Return the error of a record that goes on beyond the range."""
        return self._metadata.damaged("a record is cut short", self._place)
