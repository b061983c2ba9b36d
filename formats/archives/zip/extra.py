"""Extra fields of zip members: what the headers themselves have no room for.

Specification: APPNOTE 4.5 (Extensible data fields), 4.5.3 (Zip64), 4.5.5 (NTFS), 4.6.9 (Unicode
Path); Info-ZIP's ``extrafld.txt`` for ``UT``, ``ux`` and ``Ux``.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

ZIP64, NTFS, AES = 0x0001, 0x000A, 0x9901
UNIX_TIME, UNIX_IDS, UNICODE_PATH = 0x5455, 0x7875, 0x7075
OLD_UNIX, OLD_UNIX_IDS = 0x5855, 0x7855
"""Both have the owner only in the member's own header."""

_FIELD = struct.Struct("<HH")
_UNICODE_PATH = struct.Struct("<BI")
_NTFS_TIMES_TAG = 1
_NTFS_EPOCH = 116_444_736_000_000_000
"""1970 in units of 100 ns since 1601."""
_HAS_MTIME = 1
_WHOLE_32, _WHOLE_16 = 0xFFFFFFFF, 0xFFFF


def extra_fields(data: bytes) -> Mapping[int, bytes]:
    """Return extra fields by their id; of several with one id, the first.

    Many archivers pad the end, or write fields that are cut: what comes from there on is left.
    """
    found: dict[int, bytes] = {}
    position = 0
    while position + _FIELD.size <= len(data):
        number, length = _FIELD.unpack_from(data, position)
        position += _FIELD.size
        if position + length > len(data):
            break
        found.setdefault(number, data[position : position + length])
        position += length
    return found


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes and place of a member, wherever they are written."""

    size: int
    compressed: int
    offset: int
    disk: int


def whole_sizes(sizes: Sizes, field: bytes | None) -> Sizes | None:
    """Return sizes with those that had no room taken from the Zip64 field; None if it lacks them.

    The field has only what is marked in the header, in a fixed order.
    """
    values, field = [], field or b""
    position = 0
    for value, mark, length in (
        (sizes.size, _WHOLE_32, 8),
        (sizes.compressed, _WHOLE_32, 8),
        (sizes.offset, _WHOLE_32, 8),
        (sizes.disk, _WHOLE_16, 4),
    ):
        if value == mark and field:
            if position + length > len(field):
                return None
            value = int.from_bytes(field[position : position + length], "little")  # noqa: PLW2901
            position += length
        values.append(value)
    return Sizes(*values)


def mtime_ns(fields: Mapping[int, bytes]) -> int | None:
    """Return when a file was changed, as its extra fields say; None if they do not."""
    unix = fields.get(UNIX_TIME, b"")
    if len(unix) >= 5 and unix[0] & _HAS_MTIME:
        return int.from_bytes(unix[1:5], "little", signed=True) * 10**9
    ntfs = fields.get(NTFS, b"")
    times = extra_fields(ntfs[4:]).get(_NTFS_TIMES_TAG, b"")
    if len(times) >= 8:
        return (int.from_bytes(times[:8], "little") - _NTFS_EPOCH) * 100
    old = fields.get(OLD_UNIX, b"")
    if len(old) >= 8:
        return int.from_bytes(old[4:8], "little", signed=True) * 10**9
    return None


def owner(fields: Mapping[int, bytes]) -> tuple[int, int]:
    """Return the numbers of user and group; root's where none are written."""
    for number, place in ((OLD_UNIX, 8), (OLD_UNIX_IDS, 0)):
        old = fields.get(number, b"")[place : place + 4]
        if UNIX_IDS not in fields and len(old) == 4:
            return int.from_bytes(old[:2], "little"), int.from_bytes(old[2:], "little")
    field = fields.get(UNIX_IDS, b"")
    numbers: list[int] = []
    position = 1  # behind the version
    while position < len(field) and len(numbers) < 2:
        length = field[position]
        numbers.append(int.from_bytes(field[position + 1 : position + 1 + length], "little"))
        position += 1 + length
    if len(numbers) < 2 or position > len(field) or max(numbers) >= _WHOLE_32:
        return 0, 0
    return numbers[0], numbers[1]


def unicode_path(fields: Mapping[int, bytes], name: bytes) -> bytes | None:
    """Return the UTF-8 name beside the plain one, if it still is that one's."""
    field = fields.get(UNICODE_PATH, b"")
    if len(field) <= _UNICODE_PATH.size:
        return None
    version, checksum = _UNICODE_PATH.unpack_from(field)
    if version != 1 or checksum != zlib.crc32(name):  # someone renamed it since
        return None
    return field[_UNICODE_PATH.size :]
