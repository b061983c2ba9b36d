"""Directory entries: names short and long, times, attributes.

Specification: Microsoft "FAT: General Overview of On-Disk Format" 1.03, "FAT Directory Structure",
"FAT Long Directory Entries", "Name Limits and Character Sets".

What a short name looks like is the kernel's default, vfat(5): code page 437, and lower case where
Windows NT's two bits say so.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from formats.core.entry import check_name
from formats.core.origin import Origin

ENTRY_BYTES = 32

_ENTRY = struct.Struct("<8s3sBBBHHHHHHHI")
_LONG = struct.Struct("<B10sBBB12sH4s")

_READ_ONLY = 0x01
_VOLUME = 0x08
_FOLDER = 0x10
_LONG_NAME = 0x0F
_ATTRIBUTES = 0x3F

_END = 0x00
_DELETED = 0xE5
_REALLY_E5 = 0x05
_LOWER_BASE = 0x08
_LOWER_EXTENSION = 0x10

_LAST_LONG = 0x40
_MOST_LONG = 20
_CODE_PAGE = "cp437"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND_NS = 1_000_000_000
_FIRST_YEAR = 1980


class DirectoryEntry(NamedTuple):
    """A file, a folder, or the label of the volume.

    :ivar offset: of the short entry, in the bytes that were parsed.
    :ivar short: the 11 bytes of the short name.
    :ivar cluster: the first of its content; 0 for none.
    """

    offset: int
    short: bytes
    attributes: int
    case: int
    mtime_ns: int
    cluster: int
    size: int

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return bool(self.attributes & _FOLDER)

    @property
    def is_label(self) -> bool:
        """Whether it is the label of the volume."""
        return bool(self.attributes & _VOLUME)

    @property
    def is_dots(self) -> bool:
        """Whether it is ``.`` or ``..``."""
        return self.short.rstrip(b" ") in {b".", b".."}

    @property
    def mode(self) -> int:
        """Permission bits as the kernel's default has them: umask 022, folders never read-only."""
        is_read_only = self.attributes & _READ_ONLY and not self.is_folder
        return 0o555 if is_read_only else 0o755

    @property
    def short_name(self) -> bytes:
        """The short name in UTF-8, ``BASE.EXT``."""
        raw = self.short
        if raw[0] == _REALLY_E5:
            raw = bytes([_DELETED]) + raw[1:]
        base = raw[:8].decode(_CODE_PAGE).rstrip(" ")
        extension = raw[8:].decode(_CODE_PAGE).rstrip(" ")
        if self.case & _LOWER_BASE:
            base = base.lower()
        if self.case & _LOWER_EXTENSION:
            extension = extension.lower()
        return (f"{base}.{extension}" if extension else base).encode()


class LongName:
    """Collects the entries of a long name, which come last piece first, before the short entry."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._expected = 0
        self._checksum = -1

    def add(self, raw: bytes) -> None:
        """Take one entry; one that does not continue the others begins anew or ends them."""
        order, first, _, _, checksum, second, _, third = _LONG.unpack(raw)
        number = order & ~_LAST_LONG
        if order & _LAST_LONG:
            self._pieces, self._expected, self._checksum = [], number, checksum
        if number != self._expected or not 0 < number <= _MOST_LONG or checksum != self._checksum:
            self._pieces, self._expected = [], -1
            return
        self._pieces.append(first + second + third)
        self._expected -= 1

    def take(self, short: bytes) -> bytes | None:
        """Return the name in UTF-8 if it is whole and that of this short name, and forget it.

        A program that knows only short names leaves long ones behind that belong to nothing.
        """
        pieces, expected, self._pieces, self._expected = self._pieces, self._expected, [], -1
        if not pieces or expected or self._checksum != short_name_checksum(short):
            return None
        units = b"".join(reversed(pieces))
        ends = [at for at in range(0, len(units), 2) if units[at : at + 2] == b"\0\0"]
        text = units[: ends[0]] if ends else units
        # Half a surrogate pair is no character, and must not make two names one.
        return text.decode("utf-16-le", "surrogatepass").encode("utf-8", "surrogatepass")


def short_name_checksum(short: bytes) -> int:
    """Return what each entry of a long name has of its short name (``ChkSum()``)."""
    total = 0
    for byte in short:
        total = ((total & 1) << 7) + (total >> 1) + byte & 0xFF
    return total


def parse_entry(raw: bytes, offset: int) -> DirectoryEntry:
    """Return a short entry."""
    base, extension, attributes, case, _, _, _, _, high, time, date, low, size = _ENTRY.unpack(raw)
    return DirectoryEntry(
        offset, base + extension, attributes, case, _mtime_ns(date, time), high << 16 | low, size
    )


def parse_folder(data: bytes, origin: Origin) -> Iterator[tuple[bytes, DirectoryEntry]]:
    """Yield what a folder has, with its name; without ``.`` and ``..``, with volume labels.

    :raises CorruptError: for a name that no system allows.
    """
    long_name = LongName()
    for offset in range(0, len(data) - ENTRY_BYTES + 1, ENTRY_BYTES):
        raw = data[offset : offset + ENTRY_BYTES]
        if raw[0] == _END:
            return
        if raw[0] == _DELETED:
            long_name = LongName()
            continue
        if raw[11] & _ATTRIBUTES == _LONG_NAME:
            long_name.add(raw)
            continue
        entry = parse_entry(raw, offset)
        name = long_name.take(entry.short)
        if entry.is_label or entry.is_dots:
            yield b"", entry
            continue
        name = name or entry.short_name
        check_name(name, origin)
        yield name, entry


def _mtime_ns(date: int, time: int) -> int:
    """Return a time in nanoseconds since 1970, taken as UTC; even seconds is all there are.

    Numbers out of range are what they are counted on: the kernel has them so, and an error in a
    time must not cost a file.
    """
    month = min(max(date >> 5 & 0x0F, 1), 12)
    first = datetime(_FIRST_YEAR + (date >> 9), month, 1, tzinfo=UTC)
    days = (first - _EPOCH).days + max(date & 0x1F, 1) - 1
    seconds = (time >> 11) * 3600 + (time >> 5 & 0x3F) * 60 + (time & 0x1F) * 2
    return (days * 86_400 + seconds) * _SECOND_NS
