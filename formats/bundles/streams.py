"""Decoding compressed files from front to back, in bounded memory, for any input.

Each decoder yields blocks of :data:`BLOCK_BYTES` at the most. A stream may be made of several
members, one after the other, as ``cat a.gz b.gz`` makes it; zeros behind the last one are padding
(tapes and block devices leave it), anything else there is told and not read.

Specifications: gzip RFC 1952; bzip2 has none but its manual; xz "The .xz File Format" 1.1.0; lzma
"LZMA specification" of the LZMA SDK; Zstandard RFC 8878.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Protocol, TypeAlias, cast

import zstandard

from formats.bundles.xz_blocks import XzBlock, decode_blocks, xz_blocks
from formats.bundles.zstd_frames import frames_end
from formats.core.errors import ConvertError, CorruptError, LimitError
from formats.core.limits import KIB, MIB, Limits
from formats.core.source import BytesLike, ByteSource

inflate_errors: tuple[type[Exception], ...] = (zlib.error,)
"""What an :data:`inflater` raises."""
inflater: Callable[[int], _Inflater] = zlib.decompressobj
"""Makes a decompressor of deflate, by its window as :mod:`zlib` counts it."""
crc32: Callable[[BytesLike, int], int] = zlib.crc32
try:
    from isal import isal_zlib
except ImportError:  # no wheel for this machine
    pass
else:
    inflater = isal_zlib.decompressobj
    crc32 = isal_zlib.crc32
    inflate_errors += (cast("type[Exception]", isal_zlib.error),)  # its stub says: an instance

BLOCK_BYTES = MIB
INPUT_BYTES = 128 * KIB  # what a decoder leaves of it is copied for every block
_GZIP_WINDOW_BITS = 16 + zlib.MAX_WBITS
_GZIP_FLAGS_OFFSET = 3
_GZIP_HAS_HEADER_CHECKSUM = 1 << 1


class _Inflater(Protocol):
    """What the decompressors of zlib and isal have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def unconsumed_tail(self) -> bytes: ...
    def decompress(self, data: BytesLike, max_length: int = 0, /) -> bytes: ...


class Compressed:
    """A compressed file that is read once, from front to back.

    :ivar position: bytes of it that were decoded.
    :ivar trailing_bytes: bytes behind the last member that are no padding; known at the end.
    """

    def __init__(self, source: ByteSource) -> None:
        self.source = source
        self.position = 0
        self.trailing_bytes = 0
        self._pending: BytesLike = b""

    def next_input(self) -> BytesLike:
        """Return input that is not decoded yet; nothing at the end."""
        if not len(self._pending):
            self._pending = self.source.read_at(self.position, INPUT_BYTES)
        return self._pending

    def leave(self, rest: BytesLike) -> None:
        """Say that ``rest`` of the last input is still to be decoded."""
        self.position += len(self._pending) - len(rest)
        self._pending = rest

    def has_member(self, magic: bytes, *, is_padded: bool = False) -> bool:
        """Tell whether one more member follows; count what is there instead.

        :param is_padded: zeros in front of it are no part of it.
        """
        start = _padding_end(self.source, self.position) if is_padded else self.position
        if bytes(self.source.read_at(start, len(magic))) == magic:
            self.position = start
            return True
        self.end(self.position)
        return False

    def end(self, offset: int) -> None:
        """Say that the last member ends there."""
        is_padding = _padding_end(self.source, offset) == self.source.size
        self.trailing_bytes = 0 if is_padding else self.source.size - offset

    def damaged(self, problem: str) -> CorruptError:
        """Return the error that says where."""
        return CorruptError(problem, origin=self.source.origin, offset=self.position)

    def cut_short(self, name: str) -> CorruptError:
        """Return the error of a member without an end."""
        return CorruptError(
            f"is cut short: the {name} stream has no end",
            origin=self.source.origin,
            offset=self.source.size,
            hint="fetch it again",
        )


Decoder: TypeAlias = Callable[[Compressed, Limits], Iterator[bytes]]


def gunzip(file: Compressed, limits: Limits) -> Iterator[bytes]:
    """Decode gzip members; their checksums are verified."""
    del limits  # the window of deflate is 32 KiB
    while True:
        flags = bytes(file.source.read_at(file.position + _GZIP_FLAGS_OFFSET, 1))
        # isal fails where a header's checksum lies on both sides of an input's end
        is_plain = not (flags and flags[0] & _GZIP_HAS_HEADER_CHECKSUM)
        new_inflater = inflater if is_plain else zlib.decompressobj
        member: _Inflater = new_inflater(_GZIP_WINDOW_BITS)
        while not member.eof:
            data = file.next_input()
            if not len(data):
                raise file.cut_short("gzip")
            try:
                block = member.decompress(data, BLOCK_BYTES)
            except inflate_errors as error:
                raise file.damaged(f"the gzip stream is damaged ({error})") from error
            file.leave(member.unconsumed_tail or member.unused_data)
            if block:
                yield block
        if not file.has_member(b"\x1f\x8b"):
            return


class _Bounded(Protocol):
    """What the decompressors of bz2 and lzma have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: BytesLike, max_length: int = -1) -> bytes: ...


def bunzip2(file: Compressed, limits: Limits) -> Iterator[bytes]:
    """Decode bzip2 streams; their checksums are verified."""
    del limits  # a block of bzip2 has 900 kB
    return _members(file, "bzip2", b"BZh", bz2.BZ2Decompressor)


def unxz(file: Compressed, limits: Limits) -> Iterator[bytes]:
    """Decode xz streams; their checksums are verified.

    :raises LimitError: if the dictionary is larger than ``limits.window_bytes``.
    """
    blocks = xz_blocks(file.source) if not file.position else []
    if blocks:
        return _side_by_side(file, blocks, limits)
    return _members(
        file,
        "xz",
        b"\xfd7zXZ\x00",
        lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=limits.window_bytes),
        is_padded=True,  # 2.2 Stream Padding: between streams, too
    )


def _side_by_side(file: Compressed, blocks: list[XzBlock], limits: Limits) -> Iterator[bytes]:
    """Decode the blocks of a source that is one xz stream, in several threads."""
    try:
        for block, pieces in decode_blocks(file.source, blocks, limits.window_bytes):
            pieces.reverse()
            while pieces:  # so that a piece takes no room once it was taken
                yield pieces.pop()
            file.position = block.end
    except lzma.LZMAError as error:
        raise _lzma_problem(file, "xz", error) from error
    file.end(file.source.size)


def unlzma(file: Compressed, limits: Limits) -> Iterator[bytes]:
    """Decode an ``.lzma`` file, which has no checksum; there is one stream in it.

    :raises LimitError: if the dictionary is larger than ``limits.window_bytes``.
    """
    return _members(
        file,
        "lzma",
        None,
        lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=limits.window_bytes),
    )


def _members(
    file: Compressed,
    name: str,
    magic: bytes | None,
    new_decoder: Callable[[], _Bounded],
    *,
    is_padded: bool = False,
) -> Iterator[bytes]:
    """Decode members that begin with ``magic``; only one where there is no magic."""
    while True:
        member = new_decoder()
        while not member.eof:
            data = file.next_input() if member.needs_input else b""
            if member.needs_input and not len(data):
                raise file.cut_short(name)
            try:
                block = member.decompress(data, BLOCK_BYTES)
            except lzma.LZMAError as error:
                raise _lzma_problem(file, name, error) from error
            except (OSError, EOFError) as error:  # how bz2 says it
                raise file.damaged(f"the {name} stream is damaged ({error})") from error
            if len(data):
                file.leave(b"")
            if block:
                yield block
        file.position -= len(member.unused_data)
        if magic is None:
            file.end(file.position)
            return
        if not file.has_member(magic, is_padded=is_padded):
            return


def unzstd(file: Compressed, limits: Limits) -> Iterator[bytes]:
    """Decode zstd frames; their checksums, where they have them, are verified.

    :raises LimitError: if the window is larger than ``limits.window_bytes``.
    """
    end = frames_end(file.source)
    file.end(end)
    decoder = zstandard.ZstdDecompressor(max_window_size=limits.window_bytes)
    frames = cast("IO[bytes]", _Frames(file, end))  # only its read() is called
    reader = decoder.stream_reader(frames, INPUT_BYTES, read_across_frames=True)
    try:
        while block := reader.read(BLOCK_BYTES):
            yield block
    except zstandard.ZstdError as error:
        if "too much memory" in str(error):
            raise _too_much_memory(file) from error
        raise file.damaged(f"the zstd stream is damaged ({error})") from error


class _Frames:
    """The frames of a file, as zstandard reads them."""

    def __init__(self, file: Compressed, end: int) -> None:
        self._file = file
        self._end = end

    def read(self, length: int) -> BytesLike:
        """Return the next bytes; nothing at the end."""
        file = self._file
        data = file.source.read_at(file.position, min(length, self._end - file.position))
        file.position += len(data)
        return data


def _lzma_problem(file: Compressed, name: str, error: lzma.LZMAError) -> ConvertError:
    if "Memory usage limit" in str(error):
        return _too_much_memory(file)
    return file.damaged(f"the {name} stream is damaged ({error})")


def _too_much_memory(file: Compressed) -> LimitError:
    return LimitError(
        "asks for more memory than a decompressor may take",
        origin=file.source.origin,
        offset=file.position,
        hint="raise the limit on window_bytes if the input is trusted, or decompress it first",
    )


def _padding_end(source: ByteSource, offset: int) -> int:
    """Return where the first byte that is no zero lies, from ``offset`` on; or the end."""
    for position in range(offset, source.size, INPUT_BYTES):
        data = bytes(source.read_at(position, INPUT_BYTES))
        rest = len(data.lstrip(b"\0"))
        if rest:
            return position + len(data) - rest
    return source.size
