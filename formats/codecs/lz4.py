"""LZ4 blocks, without a frame around them, as squashfs and EROFS have them.

Specification: https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md
"""

from __future__ import annotations

from lz4.block import LZ4BlockError, decompress

from formats.core.errors import CorruptError
from formats.core.source import BytesLike

_SHORTEST_MATCH = 4
_MORE = 12
_CONTINUED = 15
"""A length of this goes on in the bytes that follow, up to the first below 255."""
_MOST_BEYOND = 16 << 20
"""How far a sequence may go beyond what is wanted: all of it is decoded. No unit is larger."""


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


def lz4_decompress_start(data: BytesLike, size: int) -> bytes:
    """Return the first ``size`` bytes that a block decodes to; anything may follow its end.

    The library takes whole blocks only. So the sequences that are wanted are counted out, and
    become a block of their own with an end that it takes: some more literals.

    :raises CorruptError: without origin and offset; if the block is damaged or gives less.
    """
    position = decoded = 0
    try:
        while True:
            start = position
            literals, first = _length(data, data[start] >> 4, start + 1)
            position = first + literals
            decoded += literals
            if decoded >= size:
                end = _literals(bytes(data[first:position]))
                break
            token = data[start]
            match, position = _length(data, token & 15, position + 2)
            decoded += match + _SHORTEST_MATCH
            if decoded >= size:
                start, end = position, _literals(b"")
                break
    except IndexError:
        raise CorruptError("an LZ4 block has no end") from None
    if position > len(data):
        raise CorruptError("an LZ4 block has no end")
    if decoded - size > _MOST_BEYOND:
        raise CorruptError(f"an LZ4 block goes on for {decoded:,} bytes")
    return lz4_decompress(bytes(data[:start]) + end, decoded + _MORE)[:size]


def _literals(literals: bytes) -> bytes:
    """Return a last sequence: these literals and :data:`_MORE`.

    That many, as the library takes a sequence that ends within eight bytes of the block's end for
    the last one.
    """
    literals += bytes(_MORE)
    if len(literals) < _CONTINUED:
        return bytes([len(literals) << 4]) + literals
    more, last = divmod(len(literals) - _CONTINUED, 255)
    return b"\xf0" + b"\xff" * more + bytes([last]) + literals


def _length(data: BytesLike, bits: int, position: int) -> tuple[int, int]:
    """Return a length and where the bytes end that continue it."""
    if bits < _CONTINUED:
        return bits, position
    length = _CONTINUED
    while data[position] == 255:
        length += 255
        position += 1
    return length + data[position], position + 1
