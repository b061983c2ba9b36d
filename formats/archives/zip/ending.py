"""The end of a zip archive: where its central directory is.

Specification: APPNOTE 4.3.14 to 4.3.16. The end is looked for from the back, as a comment of up to
64 KiB may follow it. Two ends that both fit are two archives in one file, and programs do not agree
which one counts: that is an error.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.source import ByteSource, read_exact

_MAGIC = b"PK\x05\x06"
_RECORD = struct.Struct("<4s4H2LH")
_MOST_COMMENT_BYTES = 0xFFFF
_ZIP64_LOCATOR = struct.Struct("<4sLQL")
_ZIP64_LOCATOR_MAGIC = b"PK\x06\x07"
_ZIP64_RECORD = struct.Struct("<4sQ2H2L4Q")
_ZIP64_RECORD_MAGIC = b"PK\x06\x06"
_WHOLE_32, _WHOLE_16 = 0xFFFFFFFF, 0xFFFF


@dataclass(frozen=True, slots=True)
class Ending:
    """What the end of an archive says.

    :ivar prefix_bytes: what comes before the archive: a program that unpacks it, a shebang.
    :ivar offset: of the central directory, in the file.
    :ivar entries: how many it has; for archives without Zip64, the lowest 16 bits of that.
    :ivar trailing_bytes: behind the archive and its comment.
    """

    prefix_bytes: int
    offset: int
    length: int
    entries: int
    is_zip64: bool
    trailing_bytes: int = 0


def has_ending(source: ByteSource) -> bool:
    """Tell whether an archive ends where the file does."""
    tail_start, tail = _tail(source)
    return any(_fits(tail, place, tail_start, source.size) for place in _places(tail))


def find_ending(source: ByteSource) -> Ending:
    """Return where the central directory is.

    :raises CorruptError: if there is none, or it lies outside of the file.
    :raises UnsupportedError: for archives in several parts.
    """
    tail_start, tail = _tail(source)
    places = _places(tail)
    exact = [place for place in places if _fits(tail, place, tail_start, source.size)]
    if len(exact) > 1:
        raise CorruptError(
            "has two ends, each of another archive",
            origin=source.origin,
            offset=tail_start + exact[0],
            hint="it is made to look different to different programs; do not trust it",
        )
    if not places:
        raise CorruptError(
            "has no end of its central directory",
            origin=source.origin,
            offset=source.size,
            hint="the file may be truncated, or one part of several",
        )
    place = exact[0] if exact else places[-1]
    return _ending(source, tail_start + place, tail[place : place + _RECORD.size])


def _tail(source: ByteSource) -> tuple[int, bytes]:
    start = max(0, source.size - _RECORD.size - _MOST_COMMENT_BYTES)
    return start, bytes(source.read_at(start, source.size - start))


def _places(tail: bytes) -> list[int]:
    """Return where whole records may begin, in order."""
    found: list[int] = []
    place = tail.find(_MAGIC)
    while 0 <= place <= len(tail) - _RECORD.size:
        found.append(place)
        place = tail.find(_MAGIC, place + 1)
    return found


def _fits(tail: bytes, place: int, tail_start: int, size: int) -> bool:
    """Tell whether a record's comment ends with the file."""
    comment_bytes: int = _RECORD.unpack_from(tail, place)[-1]
    return tail_start + place + _RECORD.size + comment_bytes == size


def _ending(source: ByteSource, at: int, record: bytes) -> Ending:
    _, disk, first_disk, here, entries, length, offset, comment = _RECORD.unpack(record)
    zip64 = _zip64(source, at, offset)
    end = at
    if zip64 is not None:
        end, (disk, first_disk, here, entries, length, offset) = zip64
    is_marked = _WHOLE_16 in {entries, here} or _WHOLE_32 in {length, offset}
    if (disk or first_disk or here != entries) and not (zip64 is None and is_marked):
        raise UnsupportedError(
            "is one part of a zip archive in several",
            origin=source.origin,
            offset=at,
            hint="join them with 'zip -s 0 FILE.zip --out WHOLE.zip'",
        )
    start = end - length
    if start < 0 or offset > start:
        raise CorruptError(
            f"says that its central directory has {length:,} bytes from byte {offset:,} on, which"
            f" is not before its end",
            origin=source.origin,
            offset=at,
            hint="the file may be truncated: compare its size with the original",
        )
    trailing = max(0, source.size - at - _RECORD.size - comment)
    return Ending(start - offset, start, length, entries, zip64 is not None, trailing)


def _zip64(
    source: ByteSource, at: int, offset: int
) -> tuple[int, tuple[int, int, int, int, int, int]] | None:
    """Return where the Zip64 record is, and what it says; None if there is none."""
    locator_at = at - _ZIP64_LOCATOR.size
    locator = bytes(source.read_at(locator_at, _ZIP64_LOCATOR.size)) if locator_at >= 0 else b""
    if not locator.startswith(_ZIP64_LOCATOR_MAGIC):
        return None
    _, _, record_offset, _ = _ZIP64_LOCATOR.unpack(locator)
    # what comes before the archive has moved the record: it is right before its locator then
    for place in (record_offset, locator_at - _ZIP64_RECORD.size):
        if not 0 <= place <= locator_at - _ZIP64_RECORD.size:
            continue
        data = bytes(read_exact(source, place, _ZIP64_RECORD.size, "the end of a Zip64 archive"))
        if data.startswith(_ZIP64_RECORD_MAGIC):
            _, _, _, _, disk, first_disk, here, entries, length, start = _ZIP64_RECORD.unpack(data)
            return place, (disk, first_disk, here, entries, length, start)
    if offset != _WHOLE_32:  # bytes in front that only look like a locator
        return None
    raise CorruptError("has no Zip64 end where it says", origin=source.origin, offset=locator_at)
