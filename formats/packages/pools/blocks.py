"""The text of an index, whatever it is compressed with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from formats.bundles.lz4_frames import FRAME_MAGIC as LZ4_MAGIC
from formats.bundles.lz4_frames import unlz4
from formats.bundles.streams import Compressed, Decoder, bunzip2, gunzip, unxz, unzstd
from formats.bundles.zstd_frames import FRAME_MAGIC as ZSTD_MAGIC
from formats.core.limits import KIB, Limits
from formats.core.source import BytesLike, ByteSource

_DECODERS: Mapping[bytes, Decoder] = {
    b"\x1f\x8b": gunzip,
    b"\xfd7zXZ\0": unxz,
    b"BZh": bunzip2,
    ZSTD_MAGIC: unzstd,
    LZ4_MAGIC: unlz4,  # how apt keeps its copies where it is told to keep them small
}
_MAGIC_BYTES = 8
_BLOCK_BYTES = 256 * KIB


def index_blocks(source: ByteSource, limits: Limits) -> Iterator[BytesLike]:
    """Return the text of an index in blocks, decompressed while they are taken.

    :raises CorruptError: if decompressing fails.
    """
    head = bytes(source.read_at(0, _MAGIC_BYTES))
    for magic, decode in _DECODERS.items():
        if head.startswith(magic):
            return decode(Compressed(source), limits)
    return (source.read_at(offset, _BLOCK_BYTES) for offset in range(0, source.size, _BLOCK_BYTES))
