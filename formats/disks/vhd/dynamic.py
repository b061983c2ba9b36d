"""Dynamic and differencing VHDs: their header, parent locators, and where blocks are.

Specification: Microsoft "Virtual Hard Disk Image Format Specification" 1.0, "Dynamic Disk Header
Format", "Block Allocation Table and Data Blocks".
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.source import ByteSource, read_exact
from formats.disks.blocks import ABSENT, Block, BlockTable, sector_flags
from formats.disks.vhd.footer import SECTOR_BYTES, checksum

_COOKIE = b"cxsparse"
_HEADER_BYTES = 1024
_FIELDS = struct.Struct(">8sQQIIII16sI4x512s")
_CHECKSUM = slice(36, 40)
_MAJOR_VERSION = 1
_LOCATORS_OFFSET = 576
_LOCATORS = 8
_LOCATOR = struct.Struct(">4sIII Q")
_MOST_LOCATOR_BYTES = 1 << 16
_LARGEST_BLOCK = 256 << 20

_RELATIVE = b"W2ru"
_ABSOLUTE = b"W2ku"
_MAC_URL = b"MacX"

_UNUSED = 0xFFFFFFFF
_KEPT_BITMAPS = 64


@dataclass(frozen=True, slots=True)
class DynamicHeader:
    """The header of a dynamic or differencing disk.

    :ivar parent_timestamp: when the parent was last changed, in seconds since 2000-01-01 UTC; 0 if
        that was not noted.
    :ivar parent_paths: where the parent may be, the likeliest first.
    """

    table_offset: int
    entries: int
    block_bytes: int
    parent_uuid: uuid.UUID
    parent_timestamp: int
    parent_paths: tuple[str, ...]
    has_sound_checksum: bool


def read_header(file: ByteSource, offset: int, *, is_differencing: bool) -> DynamicHeader:
    """Read the header at ``offset``; what is about a parent only in a differencing disk.

    :raises CorruptError: if there is none, or if it cannot be true.
    :raises UnsupportedError: for versions that are not known.
    """
    data = bytes(read_exact(file, offset, _HEADER_BYTES, "the header of the dynamic disk"))
    (
        cookie,
        _next,
        table_offset,
        version,
        entries,
        block_bytes,
        stored,
        parent_identity,
        parent_timestamp,
        parent_name,
    ) = _FIELDS.unpack_from(data)
    if cookie != _COOKIE:
        raise CorruptError(
            "has no header of a dynamic disk where its footer says",
            origin=file.origin,
            offset=offset,
        )
    if version >> 16 != _MAJOR_VERSION:
        raise UnsupportedError(
            f"has a header of version {version >> 16}.{version & 0xFFFF}, which is not known",
            origin=file.origin,
            offset=offset + 24,
        )
    is_power_of_two = block_bytes & (block_bytes - 1) == 0
    if not (is_power_of_two and SECTOR_BYTES <= block_bytes <= _LARGEST_BLOCK):
        raise CorruptError(
            f"has blocks of {block_bytes:,} bytes", origin=file.origin, offset=offset + 32
        )
    paths: list[tuple[int, str]] = []
    if is_differencing:
        paths = [*_locators(file, data), (1, _utf16(parent_name, "be"))]
    return DynamicHeader(
        table_offset=table_offset,
        entries=entries,
        block_bytes=block_bytes,
        parent_uuid=uuid.UUID(bytes=parent_identity),
        parent_timestamp=parent_timestamp,
        parent_paths=tuple(path for _, path in sorted(paths) if path),
        has_sound_checksum=checksum(data, _CHECKSUM) == stored,
    )


def _locators(file: ByteSource, header: bytes) -> Iterator[tuple[int, str]]:
    """Yield the paths of the parent locator entries, each with its rank.

    The length of a path is in bytes. Aliases of classic Mac OS and codes that are deprecated are
    passed over: the name in the header is there in any case.
    """
    for index in range(_LOCATORS):
        code, _space, length, _, offset = _LOCATOR.unpack_from(
            header, _LOCATORS_OFFSET + index * _LOCATOR.size
        )
        if code not in {_RELATIVE, _ABSOLUTE, _MAC_URL} or not 0 < length <= _MOST_LOCATOR_BYTES:
            continue
        data = bytes(read_exact(file, offset, length, "the locator of the parent"))
        if code == _RELATIVE:
            yield 0, _windows_path(data)
        elif code == _ABSOLUTE:
            yield 2, _windows_path(data)
        else:
            yield 3, _url_path(data)


def _windows_path(data: bytes) -> str:
    """Return a path in UTF-16; the order of bytes is not specified, and programs differ."""
    path = _utf16(data, "be" if data[0] == 0 else "le")
    # ".\parent.vhd" is "parent.vhd", which is how a sibling is spelled.
    return path.removeprefix(".\\")


def _utf16(data: bytes, order: str) -> str:
    whole = data[: len(data) // 2 * 2]
    return whole.decode(f"utf-16-{order}", "replace").partition("\0")[0]


def _url_path(data: bytes) -> str:
    try:
        return unquote(urlsplit(data.rstrip(b"\0").decode("utf-8", "replace")).path)
    except ValueError:  # no URL
        return ""


class VhdBlocks:
    """Where the blocks of a VHD are; see :class:`~formats.disks.blocks.Blocks`.

    A block starts with a bitmap of its sectors. In a differencing disk it says which are here. In a
    dynamic one it says which were ever written, and is not looked at, as in QEMU: a new block is
    all zeros, so that it changes nothing.
    """

    sector_bytes = SECTOR_BYTES

    def __init__(self, file: ByteSource, header: DynamicHeader, *, is_differencing: bool) -> None:
        self.block_bytes = header.block_bytes
        self._file = file
        self._table = BlockTable(
            file,
            header.table_offset,
            header.entries,
            code="I",
            byteorder="big",
            what="the block allocation table",
        )
        self._bitmap_bytes = -(-header.block_bytes // SECTOR_BYTES // 8)
        sectors = -(-self._bitmap_bytes // SECTOR_BYTES)
        self._data_offset = sectors * SECTOR_BYTES
        self._is_differencing = is_differencing
        self._flags = lru_cache(maxsize=_KEPT_BITMAPS)(self._read_flags)

    def locate(self, index: int, most: int) -> Block:
        """See :meth:`~formats.disks.blocks.Blocks.locate`."""
        entry, count = self._table.repeated(index, most)
        if entry == _UNUSED:
            return Block(ABSENT, count)
        offset = entry * SECTOR_BYTES
        flags = self._flags(offset) if self._is_differencing else None
        return Block(offset + self._data_offset, 1, flags)

    def _read_flags(self, offset: int) -> bytes | None:
        bitmap = read_exact(self._file, offset, self._bitmap_bytes, "the bitmap of a block")
        return sector_flags(bitmap, is_high_first=True)
