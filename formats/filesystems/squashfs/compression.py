"""The compressors of squashfs, by their number in the superblock.

"Squashfs Binary Format" 3 lists lzo and lzma the other way round; what counts is what mksquashfs
writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from formats.codecs.lz4 import lz4_decompress
from formats.codecs.lzo import lzo1x_decompress
from formats.codecs.units import decode_zstd, inflate_zlib
from formats.codecs.xz import lzma_decompress, xz_decompress
from formats.core.errors import CorruptError
from formats.core.source import BytesLike

Decompress: TypeAlias = Callable[[BytesLike, int], BytesLike]
"""Takes a block and the most bytes that it may give; raises CorruptError without a place."""


@dataclass(frozen=True, slots=True)
class Compression:
    """One compressor.

    :ivar name: as in ``mksquashfs -comp``.
    """

    name: str
    decompress: Decompress


def _zlib(data: BytesLike, max_bytes: int) -> BytesLike:
    return _bounded(inflate_zlib(data, max_bytes + 1, at_least=0), max_bytes, "deflate")


def _zstd(data: BytesLike, max_bytes: int) -> BytesLike:
    return _bounded(decode_zstd(data, max_bytes + 1, at_least=0), max_bytes, "zstd")


def _bounded(decoded: BytesLike, max_bytes: int, codec: str) -> BytesLike:
    """Refuse what is longer than it may be: those decoders stop where they are told to."""
    if len(decoded) > max_bytes:
        raise CorruptError(f"a {codec} stream gives more than {max_bytes:,} bytes")
    return decoded


COMPRESSIONS: Mapping[int, Compression] = {
    1: Compression("gzip", _zlib),
    2: Compression("lzma", lzma_decompress),
    3: Compression("lzo", lzo1x_decompress),
    4: Compression("xz", xz_decompress),
    5: Compression("lz4", lz4_decompress),
    6: Compression("zstd", _zstd),
}
