"""LZ4 blocks, without a frame around them, as squashfs and EROFS have them.

Specification: https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md
"""

from __future__ import annotations

from lz4.block import LZ4BlockError, decompress

from formats.core.errors import CorruptError
from formats.core.source import BytesLike

_SHORTEST_MATCH = 4
_CONTINUED = 15
"""A length of this goes on in the bytes that follow, up to the first below 255."""


def lz4_decompress(data: BytesLike, max_bytes: int) -> bytes:
    """Return what one LZ4 block decodes to. The interpreter's lock is released meanwhile.

    :param data: the block, with nothing behind its end.
    :raises CorruptError: without origin and offset, which the caller knows; if the block is
        damaged or gives more than ``max_bytes``.
    """
    try:
        decoded: bytes = decompress(data, uncompressed_size=max_bytes)
    except LZ4BlockError as error:
        raise CorruptError(
            f"an LZ4 block is damaged, or gives more than {max_bytes:,} bytes"
        ) from error
    return decoded


def lz4_block_end(data: BytesLike, size: int) -> int:
    """Return where a block that decodes to ``size`` bytes ends; for data with padding behind it.

    Only lengths are looked at. The last sequence of a block has literals only.

    :raises CorruptError: without origin and offset; if there is no such end.
    """
    position = decoded = 0
    try:
        while True:
            token = data[position]
            literals, position = _length(data, token >> 4, position + 1)
            position += literals
            decoded += literals
            if decoded >= size:
                break
            match, position = _length(data, token & 15, position + 2)
            decoded += match + _SHORTEST_MATCH
    except IndexError:
        raise CorruptError("an LZ4 block has no end") from None
    if decoded > size or position > len(data):
        raise CorruptError(f"an LZ4 block does not end after {size:,} bytes")
    return position


def _length(data: BytesLike, bits: int, position: int) -> tuple[int, int]:
    """Return a length and where the bytes end that continue it."""
    if bits < _CONTINUED:
        return bits, position
    length = _CONTINUED
    while data[position] == 255:
        length += 255
        position += 1
    return length + data[position], position + 1
