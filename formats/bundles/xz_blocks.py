"""The blocks of an ``.xz`` stream, decoded side by side.

Specification: "The .xz File Format" 1.1.0, sections 2 to 4. ``xz -T`` and ``dpkg-deb`` begin a new
block every 24 MiB or so. Each can be decoded by itself: the index at the stream's end says where it
is. It is given to the decoder as a stream of one block, whose checks are verified as always.
"""

from __future__ import annotations

import lzma
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from formats.codecs.ahead import thread_count
from formats.core.limits import MIB
from formats.core.source import ByteSource, read_exact

_HEADER_BYTES = _FOOTER_BYTES = 12
_MAGIC, _END_MAGIC = b"\xfd7zXZ\0", b"YZ"
_INDEX_BYTES = MIB
_BLOCK_BYTES = 32 * MIB
"""Larger ones are decoded one after the other, in little memory. One more than there are threads
is kept."""
PIECE_BYTES = MIB
_THREADS = 3


@dataclass(frozen=True, slots=True)
class XzBlock:
    """Where a block is.

    :ivar unpadded: its bytes, without what fills them up to a multiple of four.
    :ivar size: what it decodes to, in bytes.
    """

    offset: int
    unpadded: int
    size: int

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.offset + _padded(self.unpadded)


def xz_blocks(source: ByteSource) -> list[XzBlock]:
    """Return the blocks of a stream that are worth decoding side by side; none if there are none.

    A source with anything but one sound stream in it has none: decoding it from the front says what
    is wrong. So it is where there is one processor only.
    """
    if source.size < 2 * _HEADER_BYTES + _FOOTER_BYTES or thread_count() < 2:
        return []
    header = bytes(source.read_at(0, _HEADER_BYTES))
    footer = bytes(source.read_at(source.size - _FOOTER_BYTES, _FOOTER_BYTES))
    flags = header[6:8]
    is_sound = (
        header[:6] == _MAGIC
        and footer[8:] == flags + _END_MAGIC
        and footer[:4] == _crc(footer[4:10])
    )
    index_bytes = (int.from_bytes(footer[4:8], "little") + 1) * 4
    start = source.size - _FOOTER_BYTES - index_bytes
    if not is_sound or start < _HEADER_BYTES or index_bytes > _INDEX_BYTES:
        return []
    blocks = _listed(bytes(source.read_at(start, index_bytes)))
    fits = bool(blocks) and blocks[-1].end == start
    return blocks if fits and len(blocks) > 1 and _are_small(blocks) else []


def _are_small(blocks: list[XzBlock]) -> bool:
    return max(block.size for block in blocks) <= _BLOCK_BYTES


def _listed(index: bytes) -> list[XzBlock]:
    """Return what an index lists; nothing if it is damaged."""
    body = index[:-4]
    if index[:1] != b"\0" or index[-4:] != _crc(body):
        return []
    numbers = _numbers(body[1:])
    count, offset = next(numbers, 0), _HEADER_BYTES
    blocks: list[XzBlock] = []
    for unpadded, size in zip(numbers, numbers, strict=False):
        if len(blocks) == count:
            break
        blocks.append(XzBlock(offset, unpadded, size))
        offset = blocks[-1].end
    return blocks if len(blocks) == count else []


def _numbers(data: bytes) -> Iterator[int]:
    """Yield integers of seven bits a byte (section 1.2)."""
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            yield value
            value = shift = 0


def decode_blocks(
    source: ByteSource, blocks: list[XzBlock], window_bytes: int
) -> Iterator[tuple[XzBlock, list[bytes]]]:
    """Yield blocks and what they decode to, in their order; in pieces, as a block is large.

    :param window_bytes: memory that each decoder may ask for.
    :raises lzma.LZMAError: if one is damaged, or asks for more.
    """
    from concurrent.futures import Future, ThreadPoolExecutor  # noqa: PLC0415 - few streams need it

    header = bytes(source.read_at(0, _HEADER_BYTES))
    threads = min(thread_count(), _THREADS)
    waiting = iter(blocks)
    with ThreadPoolExecutor(threads, "xz-block") as pool:

        def started(count: int) -> Iterator[tuple[XzBlock, Future[list[bytes]]]]:
            for block in islice(waiting, count):
                yield block, pool.submit(_decoded, source, block, header, window_bytes)

        running = deque(started(threads))
        while running:
            block, decoding = running.popleft()
            pieces = decoding.result()
            running += started(1)
            yield block, pieces


def _decoded(source: ByteSource, block: XzBlock, header: bytes, window_bytes: int) -> list[bytes]:
    data = read_exact(source, block.offset, block.end - block.offset, "a block of xz")
    record = b"\0\1" + _encoded(block.unpadded) + _encoded(block.size)
    record += bytes(-len(record) % 4)
    index = record + _crc(record)
    fields = (len(index) // 4 - 1).to_bytes(4, "little") + header[6:8]
    stream = b"".join((header, data, index, _crc(fields), fields, _END_MAGIC))
    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, window_bytes)
    pieces: list[bytes] = []
    left = block.size
    piece = decoder.decompress(stream, min(PIECE_BYTES, left + 1))
    while piece:
        pieces.append(piece)
        left -= len(piece)
        piece = (
            decoder.decompress(b"", min(PIECE_BYTES, left + 1))
            if left >= 0 and not decoder.eof
            else b""
        )
    if left or not decoder.eof:
        raise lzma.LZMAError("Corrupt input data")
    return pieces


def _encoded(value: int) -> bytes:
    """Return an integer of seven bits a byte."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*encoded, value))


def _crc(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "little")


def _padded(length: int) -> int:
    return length + -length % 4
