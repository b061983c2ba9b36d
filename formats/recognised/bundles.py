"""Archives and compressed files that are recognised and not read."""

from __future__ import annotations

from collections.abc import Callable

from formats.core.limits import MIB
from formats.core.reader import Category, Signature
from formats.core.source import ByteSource
from formats.recognised.row import RecognisedFormat

_SEARCHED_BYTES = MIB


def _is_compress(source: ByteSource) -> bool:
    """Tell whether the byte of flags, behind two of magic, says how many bits codes have."""
    flags = bytes(source.read_at(2, 1))
    return bool(flags) and not flags[0] & 0x60 and 9 <= flags[0] & 0x1F <= 16


def _is_pe(source: ByteSource) -> bool:
    """Tell whether the old header of DOS leads to one of PE ("PE Format" by Microsoft)."""
    place = int.from_bytes(bytes(source.read_at(0x3C, 4)), "little")
    return bytes(source.read_at(place, 4)) == b"PE\0\0"


def _pe_with(*marks: bytes) -> Callable[[ByteSource], bool]:
    """Return what tells whether a program for Windows has one of these near its start."""

    def check(source: ByteSource) -> bool:
        return _is_pe(source) and any(
            mark in bytes(source.read_at(0, _SEARCHED_BYTES)) for mark in marks
        )

    return check


def _is_shar(source: ByteSource) -> bool:
    return b"# This is a shell archive" in bytes(source.read_at(0, 1024))


def _installer(name: str, title: str, *marks: bytes) -> RecognisedFormat:
    return RecognisedFormat(
        name,
        Category.PACKAGE,
        (Signature(0, b"MZ"),),
        f"an installer for Windows made with {title}",
        "it is for Windows; look for the same software for Linux",
        check=_pe_with(*marks),
        supersedes=frozenset({"pe"}),
    )


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
    RecognisedFormat(
        "shar",
        Category.ARCHIVE,
        (Signature(0, b"#!"), Signature(0, b"# This is a shell archive")),
        "a shell archive (shar)",
        "run it in an empty folder where you trust it, and give that folder",
        check=_is_shar,
        supersedes=frozenset({"script"}),
    ),
    RecognisedFormat(
        "pe",
        Category.PACKAGE,
        (Signature(0, b"MZ"),),
        "a program for Windows or EFI",
        "it cannot run on Linux; look for the same software for Linux",
        check=_is_pe,
    ),
    _installer("nsis", "NSIS", b"\xef\xbe\xad\xdeNullsoftInst"),
    _installer("inno-setup", "Inno Setup", "Inno Setup".encode("utf-16-le"), b"Inno Setup Setup"),
    _installer("installshield", "InstallShield", "InstallShield".encode("utf-16-le")),
)
