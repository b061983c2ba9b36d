"""Archives and compressed files that are recognised and not read."""

from __future__ import annotations

from formats.core.reader import Category, Signature
from formats.core.source import ByteSource
from formats.recognised.row import RecognisedFormat


def _is_compress(source: ByteSource) -> bool:
    """Tell whether the byte of flags, behind two of magic, says how many bits codes have."""
    flags = bytes(source.read_at(2, 1))
    return bool(flags) and not flags[0] & 0x60 and 9 <= flags[0] & 0x1F <= 16


BUNDLES: tuple[RecognisedFormat, ...] = (
    RecognisedFormat(
        "7z",
        Category.ARCHIVE,
        (Signature(0, b"7z\xbc\xaf\x27\x1c"),),
        "a 7z archive",
        "unpack it with '7z x' and give the folder, or pack that with tar",
    ),
    RecognisedFormat(
        "rar",
        Category.ARCHIVE,
        (Signature(0, b"Rar!\x1a\x07"),),
        "a RAR archive",
        "unpack it with 'unrar x' and give the folder, or pack that with tar",
    ),
    RecognisedFormat(
        "compress",
        Category.COMPRESSION,
        (Signature(0, b"\x1f\x9d"),),
        "a file compressed with compress (.Z)",
        "decompress it with 'gzip -d'",
        check=_is_compress,
    ),
    RecognisedFormat(
        "lzop",
        Category.COMPRESSION,
        (Signature(0, b"\x89LZO\0\r\n\x1a\n"),),
        "a file compressed with lzop",
        "decompress it with 'lzop -d'",
    ),
)
