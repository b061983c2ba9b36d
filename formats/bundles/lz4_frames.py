"""Decoding LZ4 frames from front to back, as ``lz4`` writes them and apt keeps its indexes.

Specification: https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md
"""

from __future__ import annotations

from collections.abc import Iterator

from lz4.frame import LZ4FrameDecompressor

from formats.bundles.streams import BLOCK_BYTES, Compressed
from formats.core.limits import Limits

FRAME_MAGIC = b"\x04\x22\x4d\x18"


def unlz4(file: Compressed, limits: Limits) -> Iterator[bytes]:
    """Decode LZ4 frames; their checksums, where they have them, are verified.

    :raises CorruptError: if one is damaged or cut short.
    """
    del limits  # a block has 4 MiB at the most
    while True:
        frame = LZ4FrameDecompressor()
        while not frame.eof:
            data = file.next_input() if frame.needs_input else b""
            if frame.needs_input and not len(data):
                raise file.cut_short("lz4")
            try:
                block: bytes = frame.decompress(bytes(data), BLOCK_BYTES)
            except RuntimeError as error:  # how the library says it
                raise file.damaged(f"the lz4 stream is damaged ({error})") from error
            if len(data):
                file.leave(b"")
            if block:
                yield block
        file.position -= len(frame.unused_data or b"")
        if not file.has_member(FRAME_MAGIC):
            return
