"""Cheap looks at a source that spare importing readers which cannot be meant.

For readers whose formats have no signature. A glance may say yes where the reader's own probe then
says no, and never the other way round.
"""

from __future__ import annotations

from formats.core.source import ByteSource

_TAR_BLOCK_BYTES = 512
_TAR_CHECKSUM = slice(148, 156)
_OCTAL_FIELD = frozenset(b"01234567 \0")

_TEXT_BYTES = 256
_UTF16_STARTS = (b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<")

_PROGRAM_STARTS = (b"MZ", b"\x7fELF", b"#!")
_ZIP_END = b"PK\x05\x06"
_SECTOR_BYTES = 512
_ZIP_TAIL_BYTES = 22 + 0xFFFF

_MD_MAGICS = (b"\xfc\x4e\x2b\xa9", b"\xa9\x2b\x4e\xfc")
_MD_RESERVED_BYTES = 1 << 16


def may_be_tar(source: ByteSource) -> bool:
    """Tell whether the first block has a checksum in octal where tar has it."""
    block = bytes(source.read_at(0, _TAR_BLOCK_BYTES))
    checksum = block[_TAR_CHECKSUM]
    is_octal = bool(checksum.strip(b" \0")) and _OCTAL_FIELD.issuperset(checksum)
    return len(block) == _TAR_BLOCK_BYTES and bool(block[0]) and is_octal


def may_be_text(source: ByteSource) -> bool:
    """Tell whether the first bytes have no NUL, or are UTF-16."""
    head = bytes(source.read_at(0, _TEXT_BYTES))
    return b"\0" not in head or head.startswith(_UTF16_STARTS)


def may_have_md_superblock(source: ByteSource) -> bool:
    """Tell whether the magic number of md is at one of the places for it (see md(4))."""
    size = source.size
    last_sector = (size // 512 - 16) & ~7
    places = (0, 4096, last_sector * 512, (size & -_MD_RESERVED_BYTES) - _MD_RESERVED_BYTES)
    return any(
        place >= 0 and bytes(source.read_at(place, 4)) in _MD_MAGICS for place in set(places)
    )


def may_be_zip(source: ByteSource) -> bool:
    """Tell whether a zip archive begins here, or ends where the file does.

    One may follow a program or script. Disks have whole sectors, and may end in one by chance.
    """
    head = bytes(source.read_at(0, 4))
    if head.startswith(b"PK"):
        return True
    if not (source.size % _SECTOR_BYTES or head.startswith(_PROGRAM_STARTS)):
        return False
    tail_start = max(0, source.size - _ZIP_TAIL_BYTES)
    return _ZIP_END in bytes(source.read_at(tail_start, _ZIP_TAIL_BYTES))
