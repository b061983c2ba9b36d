"""LZO1X blocks, as squashfs and Btrfs have them.

Written from the kernel's "LZO stream format as understood by Linux's LZO decompressor"
(Documentation/staging/lzo.rst), version 0 of the bitstream: version 1, LZO-RLE, is zram's.

lzallright decodes where it is installed and cannot be made to allocate much; the decoder here does
otherwise: it is some forty times slower, and stops at the first byte that is too much.
"""

from __future__ import annotations

from types import ModuleType

from formats.core.errors import CorruptError
from formats.core.source import BytesLike

try:
    import lzallright
except ImportError:  # no wheel for this machine
    _LZALLRIGHT: ModuleType | None = None
else:
    _LZALLRIGHT = lzallright

_UNBOUNDED_BYTES = 64 << 20
"""What a decoder without a bound may be made to allocate."""

_FIRST_LITERALS = 17
"""In a first byte above this, what is above it is a count of literals."""

_MIDDLE = 2048
_FAR = 16384
"""What is added to the distances of instructions 0-15 after a run of literals, and of 16-31."""

_END_LENGTH = 3
_LONG_LITERALS = 4
"""The state after a run of literals: what matters is that they were more than three."""


def lzo1x_decompress(data: BytesLike, max_bytes: int) -> bytes:
    """Return what one LZO1X stream decodes to.

    :param data: the stream, with nothing behind its end.
    :raises CorruptError: without origin and offset, which the caller knows; if the stream is
        damaged or gives more than ``max_bytes``.
    """
    stream = bytes(data)
    if _LZALLRIGHT is None or _most(stream) > _UNBOUNDED_BYTES:
        return _decompress(stream, max_bytes)
    try:
        decoded: bytes = _LZALLRIGHT.LZOCompressor.decompress(stream, max_bytes)
    except _LZALLRIGHT.LZOError as error:
        raise CorruptError(f"an LZO stream is damaged ({type(error).__name__})") from error
    if len(decoded) > max_bytes:
        raise _too_long(max_bytes)
    return decoded


def _most(stream: bytes) -> int:
    """Return what a stream cannot decode to more than.

    The best of the plain instructions (32-63) gives 33 bytes for three. Three codes can go on with
    bytes that continue the length: zeros, each for 255, and one last byte for up to that.
    """
    continued = stream.count(b"\x10") + stream.count(b"\x18") + stream.count(b"\x20")
    return 11 * len(stream) + 288 * continued + 255 * stream.count(0)


def _decompress(stream: bytes, max_bytes: int) -> bytes:
    """Do the same in Python."""
    decoder = _Decoder(stream, max_bytes)
    try:
        decoder.run()
    except IndexError:
        raise CorruptError("an LZO stream has no end") from None
    unused = len(stream) - decoder.position
    if unused:
        raise CorruptError(f"an LZO stream ends {unused:,} bytes before its block does")
    return bytes(decoder.out)


class _Decoder:
    """The state of decoding one stream. Reading beyond its end raises IndexError."""

    def __init__(self, stream: bytes, max_bytes: int) -> None:
        self.position = 0
        self.out = bytearray()
        self._stream = stream
        self._max_bytes = max_bytes

    def run(self) -> None:
        """Execute instructions up to the end of the stream."""
        stream = self._stream
        state = self._first_literals()
        while True:
            code = stream[self.position]
            self.position += 1
            if code >= 64:
                distance = (stream[self.position] << 3) + (code >> 2 & 7) + 1
                self.position += 1
                self._copy(distance, (code >> 5) + 1)
                state = code & 3
            elif code >= 32:
                length = self._length(code & 31, 31) + 2
                operand = self._operand()
                self._copy((operand >> 2) + 1, length)
                state = operand & 3
            elif code >= 16:
                length = self._length(code & 7, 7) + 2
                operand = self._operand()
                distance = (code & 8) << 11 | operand >> 2
                if not distance:
                    break
                self._copy(_FAR + distance, length)
                state = operand & 3
            elif state == 0:
                self._literals(self._length(code, 15) + 3)
                state = _LONG_LITERALS
                continue
            else:
                distance = (stream[self.position] << 2) + (code >> 2) + 1
                self.position += 1
                if state == _LONG_LITERALS:
                    self._copy(distance + _MIDDLE, 3)
                else:
                    self._copy(distance, 2)
                state = code & 3
            if state:
                self._literals(state)
        if length != _END_LENGTH:
            raise CorruptError("an LZO stream has an end of no known form")

    def _first_literals(self) -> int:
        """Execute what the first byte says if it is about literals; return the state after it."""
        length = self._stream[0] - _FIRST_LITERALS
        if length <= 0:
            return 0
        self.position = 1
        self._literals(length)
        return min(length, _LONG_LITERALS)

    def _length(self, bits: int, most: int) -> int:
        """Return a length from the bits of an instruction and the bytes that continue it."""
        if bits:
            return bits
        stream, position = self._stream, self.position
        while not stream[position]:
            position += 1
        length = most + (position - self.position) * 255 + stream[position]
        self.position = position + 1
        return length

    def _operand(self) -> int:
        low, high = self._stream[self.position], self._stream[self.position + 1]
        self.position += 2
        return low | high << 8

    def _literals(self, length: int) -> None:
        end = self.position + length
        self._room_for(length)
        self.out += self._stream[self.position : end]
        self.position = end  # if that is beyond the stream, the next instruction is, too

    def _copy(self, distance: int, length: int) -> None:
        """Repeat what is in the output already; the end of it may be part of the result."""
        out = self.out
        start = len(out) - distance
        if start < 0:
            raise CorruptError("an LZO stream repeats what is not there")
        self._room_for(length)
        if distance >= length:
            out += out[start : start + length]
        else:
            out += (out[start:] * (length // distance + 1))[:length]

    def _room_for(self, length: int) -> None:
        if len(self.out) + length > self._max_bytes:
            raise _too_long(self._max_bytes)


def _too_long(max_bytes: int) -> CorruptError:
    return CorruptError(f"an LZO stream gives more than {max_bytes:,} bytes")
