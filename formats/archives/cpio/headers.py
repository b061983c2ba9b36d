"""Headers of cpio archives, in each of the four forms.

``070701`` (newc) and ``070702`` (the same with checksums) have hexadecimal numbers, ``070707``
(odc, of POSIX) octal ones; the oldest has binary words of 16 bits in the order of the machine that
wrote it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from formats.core.entry import MODE_KINDS, Kind
from formats.core.errors import CorruptError, LimitError, quoted
from formats.core.limits import Limits
from formats.core.source import ByteSource, read_exact

MAGIC_BYTES = 6
TRAILER = b"TRAILER!!!"
"""Name of the member that ends an archive."""

_NEW, _NEW_SUMMED, _PORTABLE = b"070701", b"070702", b"070707"
_OLD_LITTLE, _OLD_BIG = b"\xc7\x71", b"\x71\xc7"
MAGICS = (_NEW, _NEW_SUMMED, _PORTABLE, _OLD_LITTLE, _OLD_BIG)

_HEXADECIMAL = re.compile(rb"[0-9A-Fa-f]+")
_OCTAL = re.compile(rb"[0-7]+")
_PORTABLE_WIDTHS = (6, 6, 6, 6, 6, 6, 6, 11, 6, 11)


class CpioHeader(NamedTuple):
    """One member.

    :ivar offset: of the header.
    :ivar kind: None for the trailer.
    :ivar inode: device and inode number, equal for links of one file.
    :ivar start: where the content is, ``size`` bytes: for a symlink, what it holds.
    :ivar end: where the next header is.
    :ivar checksum: sum of the content's bytes; None in forms without it.
    """

    offset: int
    path: bytes
    kind: Kind | None
    mode: int
    uid: int
    gid: int
    mtime: int
    links: int
    inode: tuple[int, ...]
    device: tuple[int, int]
    size: int
    start: int
    end: int
    checksum: int | None
    is_new: bool


class _Fields(NamedTuple):
    """The numbers of a header, whatever its form."""

    mode: int
    uid: int
    gid: int
    links: int
    mtime: int
    size: int
    name_bytes: int
    inode: tuple[int, ...]
    device: tuple[int, int]
    checksum: int | None


class _Form(NamedTuple):
    header_bytes: int
    alignment: int
    read: Callable[[bytes], _Fields | None]


def _new(header: bytes) -> _Fields | None:
    numbers = _numbers(header, (8,) * 13, _HEXADECIMAL, 16)
    if numbers is None:
        return None
    inode, mode, uid, gid, links, mtime, size, *rest = numbers
    major, minor, device_major, device_minor, name_bytes, checksum = rest
    return _Fields(
        mode,
        uid,
        gid,
        links,
        mtime,
        size,
        name_bytes,
        (major, minor, inode),
        (device_major, device_minor),
        checksum if header.startswith(_NEW_SUMMED) else None,
    )


def _portable(header: bytes) -> _Fields | None:
    numbers = _numbers(header, _PORTABLE_WIDTHS, _OCTAL, 8)
    return _old_fields(numbers) if numbers is not None else None


def _binary(order: str) -> Callable[[bytes], _Fields]:
    words = struct.Struct(f"{order}13H")

    def read(header: bytes) -> _Fields:
        values = words.unpack(header)
        # numbers of two words have the upper one first in either order
        mtime, size = values[8] << 16 | values[9], values[11] << 16 | values[12]
        return _old_fields((*values[1:8], mtime, values[10], size))

    return read


def _old_fields(numbers: Sequence[int]) -> _Fields:
    device, inode, mode, uid, gid, links, special, mtime, name_bytes, size = numbers
    return _Fields(
        mode,
        uid,
        gid,
        links,
        mtime,
        size,
        name_bytes,
        (device, inode),
        (special >> 8, special & 0xFF),
        None,
    )


def _numbers(
    header: bytes, widths: Sequence[int], digits: re.Pattern[bytes], base: int
) -> list[int] | None:
    if digits.fullmatch(header, MAGIC_BYTES) is None:
        return None
    found: list[int] = []
    position = MAGIC_BYTES
    for width in widths:
        found.append(int(header[position : position + width], base))
        position += width
    return found


_FORMS: Mapping[bytes, _Form] = {
    _NEW: _Form(110, 4, _new),
    _NEW_SUMMED: _Form(110, 4, _new),
    _PORTABLE: _Form(76, 1, _portable),
    _OLD_LITTLE: _Form(26, 2, _binary("<")),
    _OLD_BIG: _Form(26, 2, _binary(">")),
}


def form_magic(head: bytes) -> bytes | None:
    """Return the magic of the form that these bytes begin in; None if they are no header."""
    return next((magic for magic in MAGICS if head.startswith(magic)), None)


def is_header(source: ByteSource, offset: int = 0) -> bool:
    """Tell whether a plausible header is there: the magic of the binary form is short."""
    magic = form_magic(bytes(source.read_at(offset, MAGIC_BYTES)))
    if magic is None:
        return False
    form = _FORMS[magic]
    header = bytes(source.read_at(offset, form.header_bytes))
    fields = form.read(header) if len(header) == form.header_bytes else None
    if fields is None:
        return magic not in {_OLD_LITTLE, _OLD_BIG}  # damaged, and still an archive
    name_end = bytes(source.read_at(offset + form.header_bytes + fields.name_bytes - 1, 1))
    is_kind = fields.mode & 0xF000 in MODE_KINDS or not fields.mode
    return fields.name_bytes > 1 and is_kind and name_end == b"\0"


def read_header(source: ByteSource, offset: int, limits: Limits) -> CpioHeader:
    """Return the member whose header is at ``offset``.

    :raises CorruptError: if there is none that can be right, or it is cut short.
    :raises LimitError: for too long names.
    """
    magic = form_magic(bytes(source.read_at(offset, MAGIC_BYTES)))
    if magic is None:
        what = "has no cpio header where one must be"
        if offset >= source.size:
            what = f"is cut short: there is no member {TRAILER.decode()}, which ends an archive"
        raise CorruptError(
            what,
            origin=source.origin,
            offset=offset,
            hint="the file may be truncated: compare its size with the original",
        )
    form = _FORMS[magic]
    header = bytes(read_exact(source, offset, form.header_bytes, "a cpio header"))
    fields = form.read(header)
    if fields is None:
        raise CorruptError(
            "a cpio header has a number that is none", origin=source.origin, offset=offset
        )
    path = _path(source, offset, offset + form.header_bytes, fields.name_bytes, limits)
    start = _aligned(offset, form.header_bytes + fields.name_bytes, form.alignment)
    kind = None if path == TRAILER else MODE_KINDS.get(fields.mode & 0xF000)
    if kind is None and path != TRAILER:
        raise CorruptError(
            f"{quoted(path)} has the mode {fields.mode:o}, which is of no kind of file",
            origin=source.origin,
            offset=offset,
        )
    size = fields.size if kind in {Kind.FILE, Kind.SYMLINK} else 0
    if start + size > source.size:
        raise CorruptError(
            f"is cut short: {quoted(path)} has {size:,} bytes at {start:,}, and ends behind the"
            f" {source.size:,} that there are",
            origin=source.origin,
            offset=offset,
            hint="the file may be truncated: compare its size with the original",
        )
    return CpioHeader(
        offset,
        path,
        kind,
        fields.mode & 0o7777,
        fields.uid,
        fields.gid,
        fields.mtime,
        fields.links,
        fields.inode,
        fields.device,
        size,
        start,
        _aligned(start, size, form.alignment),
        fields.checksum,
        magic in {_NEW, _NEW_SUMMED},
    )


def _aligned(start: int, length: int, alignment: int) -> int:
    """Return where ``length`` bytes from ``start`` on and their padding end."""
    return start + -(-length // alignment) * alignment


def _path(source: ByteSource, at: int, start: int, name_bytes: int, limits: Limits) -> bytes:
    if name_bytes > limits.path_bytes + 1:
        raise LimitError(
            f"has a name of {name_bytes:,} bytes, more than the {limits.path_bytes:,} allowed",
            origin=source.origin,
            offset=at,
        )
    name = bytes(read_exact(source, start, name_bytes, "a member's name"))
    if not name.endswith(b"\0") or b"\0" in name[:-1] or name_bytes == 1:
        raise CorruptError(f"a member is named {quoted(name)}", origin=source.origin, offset=start)
    return name[:-1]
