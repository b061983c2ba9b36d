"""``Packages.db``: rpm's own database, as openSUSE uses it.

There is no specification. What is read is what databases show that rpm 4.16 wrote, and the tests
hold it against what that rpm lists of them (tests/images/rpm_ndb.py makes one).

All numbers are little-endian and have 32 bits. Pages of 4096 bytes at the start of the file are
made of slots of 16 bytes. The first two are the header: ``RpmP``, version (0), a generation that
grows with each change, the number of such pages, the number that the next package gets. Each of
the others is ``Slot``, number of a package, and place and length of it in blocks of 16 bytes; zeros
where it is free. A package is ``BlbS``, its number, a generation, its length, the header and zeros,
and in the last 12 bytes of its blocks an Adler-32 checksum of all before, the length again, and
``BlbE``. Indexes are in a file of their own, which is not needed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from formats.core.errors import CorruptError, LimitError, UnsupportedError
from formats.core.limits import Limits
from formats.core.origin import Origin

_HEADER = struct.Struct("<4sIIII")
_SLOT = struct.Struct("<4sIII")
_HEAD = struct.Struct("<4sIII")
_TAIL = struct.Struct("<II4s")
_HEADER_SLOTS = 2
_PAGE_BYTES = 4096
_BLOCK_BYTES = 16


def read_ndb(data: bytes, origin: Origin, limits: Limits) -> Iterator[tuple[int, bytes]]:
    """Yield package numbers and headers, by number.

    :raises CorruptError: if it is damaged.
    :raises UnsupportedError: for another version of the format.
    """
    if len(data) < _HEADER.size:
        raise CorruptError("is too short for a database", origin=origin)
    magic, version, _, pages, _ = _HEADER.unpack_from(data)
    if magic != b"RpmP":
        raise CorruptError("is no database of packages", origin=origin, offset=0)
    if version:
        raise UnsupportedError(f"is a database of version {version}", origin=origin)
    if pages * _PAGE_BYTES > len(data):
        raise CorruptError(f"has no room for {pages:,} pages of slots", origin=origin, offset=12)
    found: dict[int, tuple[int, int, int]] = {}
    for place in range(_HEADER_SLOTS * _SLOT.size, pages * _PAGE_BYTES, _SLOT.size):
        mark, number, block, count = _SLOT.unpack_from(data, place)
        if mark != b"Slot":
            raise CorruptError("has a slot without its mark", origin=origin, offset=place)
        if not number:  # free
            continue
        if number in found:
            raise CorruptError(f"has package number {number:,} twice", origin=origin, offset=place)
        found[number] = block, count, place
    if len(found) > limits.entries:
        raise LimitError(f"lists more than {limits.entries:,} packages", origin=origin)
    if sum(count for _, count, _ in found.values()) * _BLOCK_BYTES > len(data):
        raise CorruptError("has packages that lie on one another", origin=origin)
    for number in sorted(found):
        block, count, _ = found[number]
        yield number, _package(data, number, block, count, origin)


def _package(data: bytes, number: int, block: int, count: int, origin: Origin) -> bytes:
    start, stop = block * _BLOCK_BYTES, (block + count) * _BLOCK_BYTES
    tail = stop - _TAIL.size
    if stop > len(data) or tail - start < _HEAD.size:
        raise CorruptError(
            f"package number {number:,} has {count:,} blocks at block {block:,}, of"
            f" {len(data) // _BLOCK_BYTES:,}",
            origin=origin,
        )
    mark, own, _, length = _HEAD.unpack_from(data, start)
    expected, again, end = _TAIL.unpack_from(data, tail)
    is_sound = (mark, end, own, again) == (b"BlbS", b"BlbE", number, length)
    if not is_sound or length > tail - start - _HEAD.size:
        raise CorruptError(
            f"package number {number:,} is not where its slot says", origin=origin, offset=start
        )
    if zlib.adler32(memoryview(data)[start:tail]) != expected:
        raise CorruptError(
            f"package number {number:,} has a wrong checksum", origin=origin, offset=start
        )
    return data[start + _HEAD.size : start + _HEAD.size + length]
