"""Files compressed as a whole in the rarer ways; apart, so that others need not import these."""

from __future__ import annotations

from formats.bundles.compressed import CompressedReader
from formats.bundles.lz4_frames import FRAME_MAGIC, unlz4
from formats.bundles.lzip import MAGIC, unlzip
from formats.bundles.streams import unlzma
from formats.core.reader import ReaderDoc, Signature
from formats.core.source import ByteSource

LZMA_SIGNATURE = Signature(0, b"\x5d\0\0")
"""The properties that everyone uses, and a dictionary of at least 64 KiB."""

_UNKNOWN_SIZE = b"\xff" * 8
_LARGEST = 1 << 38
_LZIP_SMALLEST_DICTIONARY, _LZIP_LARGEST_DICTIONARY = 12, 29


def _is_lzma(source: ByteSource) -> bool:
    """Tell whether sizes are as ``lzma`` writes them: the format has no magic."""
    head = bytes(source.read_at(0, 14))
    if len(head) < 14 or head[13]:  # what every stream of LZMA begins with
        return False
    dictionary = int.from_bytes(head[1:5], "little")
    # one or two bits next to each other: 2^n, or 2^n + 2^(n-1)
    lowest = dictionary & -dictionary
    if not dictionary or dictionary not in {lowest, 3 * lowest}:
        return False
    return head[5:13] == _UNKNOWN_SIZE or int.from_bytes(head[5:13], "little") < _LARGEST


def _is_lzip(source: ByteSource) -> bool:
    coded = bytes(source.read_at(5, 1))
    bits = coded[0] & 0x1F if coded else 0
    return _LZIP_SMALLEST_DICTIONARY <= bits <= _LZIP_LARGEST_DICTIONARY


def _is_frame(source: ByteSource) -> bool:
    del source
    return True


READERS: tuple[CompressedReader, ...] = (
    CompressedReader(
        "lz4",
        (Signature(0, FRAME_MAGIC),),
        unlz4,
        ((".lz4", ""),),
        ReaderDoc("lz4-compressed file", (".lz4",), "LZ4 Frame Format", "several frames in a row"),
        _is_frame,
    ),
    CompressedReader(
        "lzip",
        (Signature(0, MAGIC),),
        unlzip,
        ((".lz", ""), (".tlz", ".tar")),
        ReaderDoc("lzip-compressed file", (".lz",), "lzip manual", "several members in a row"),
        _is_lzip,
    ),
    CompressedReader(
        "lzma",
        (LZMA_SIGNATURE,),
        unlzma,
        ((".lzma", ""), (".tlz", ".tar")),
        ReaderDoc("lzma-compressed file", (".lzma",), "lzma-file-format.txt", "one stream"),
        _is_lzma,
    ),
)
