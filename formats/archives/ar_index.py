"""What is in an ar archive and where; packages of Debian and static libraries are such archives.

Specification: deb(5), "Format"; ar(5) of FreeBSD for the header and both kinds of long names
(BSD's ``#1/LENGTH``, and the table ``//`` of System V and GNU).

Refused by name: thin archives, which only refer to files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from formats.core.errors import CorruptError, LimitError, UnsupportedError, quoted
from formats.core.limits import DEFAULT_LIMITS, MIB, Limits
from formats.core.source import ByteSource, read_exact

MAGIC = b"!<arch>\n"
THIN_MAGIC = b"!<thin>\n"
HEADER_BYTES = 60

_END = b"`\n"
_NAME_TABLE = b"//"
_NAME_TABLE_BYTES = MIB
_BSD_LONG_NAME = b"#1/"
_DECIMAL = re.compile(rb"([0-9]*) *")
_OCTAL = re.compile(rb"([0-7]*) *")
_FIELDS = {
    "time": slice(16, 28),
    "owner": slice(28, 34),
    "group": slice(34, 40),
    "mode": slice(40, 48),
    "size": slice(48, 58),
}


@dataclass(frozen=True, slots=True)
class ArMember:
    """One member as its header describes it.

    :ivar name: without the slash or blanks that end it; ``/``, ``/SYM64/`` and ``__.SYMDEF…`` are
        tables of symbols.
    :ivar mtime: seconds since 1970.
    :ivar mode: with the type of file, as in ``stat(2)``.
    :ivar offset: where the archive holds the content.
    """

    name: bytes
    mtime: int
    uid: int
    gid: int
    mode: int
    size: int
    offset: int
    header_offset: int

    @property
    def is_symbol_table(self) -> bool:
        """Whether it is the linker's and no file."""
        return self.name in {b"/", b"/SYM64/"} or self.name.startswith(b"__.SYMDEF")


def ar_members(source: ByteSource, limits: Limits = DEFAULT_LIMITS) -> Iterator[ArMember]:
    """Yield the members in their order; only headers are read, and the table of long names.

    :raises CorruptError: for headers that cannot be right, and content that is cut short.
    :raises UnsupportedError: for thin archives.
    :raises LimitError: for too many members, too long names.
    """
    magic = bytes(source.read_at(0, len(MAGIC)))
    if magic == THIN_MAGIC:
        raise UnsupportedError(
            "is a thin ar archive, which only names the files that were put in",
            origin=source.origin,
            hint="give the files themselves",
        )
    if magic != MAGIC:
        raise CorruptError("is no ar archive", origin=source.origin, offset=0)
    names = b""
    offset, count = len(MAGIC), 0
    while offset < source.size:
        count += 1
        if count > limits.entries:
            raise LimitError(f"has more than {limits.entries:,} members", origin=source.origin)
        member = _member(source, offset, names, limits)
        if member.name == _NAME_TABLE:
            names = _name_table(source, member)
        else:
            yield member
        end = member.offset + member.size
        offset = end + (end & 1)  # members begin at even places


def _member(source: ByteSource, offset: int, names: bytes, limits: Limits) -> ArMember:
    header = bytes(read_exact(source, offset, HEADER_BYTES, "the header of an ar member"))
    if header[58:] != _END:
        raise CorruptError(
            "the header of an ar member has no end", origin=source.origin, offset=offset
        )
    size = _number(header, "size", offset, source)
    start = offset + HEADER_BYTES
    if size > source.size - start:
        raise CorruptError(
            f"an ar member has {size:,} bytes, and {source.size - start:,} are left",
            origin=source.origin,
            offset=offset,
            hint="the file may be truncated: fetch it again",
        )
    name, used = _name(header[:16].rstrip(b" "), source, start, size, names)
    if len(name) > limits.path_bytes:
        raise LimitError(
            f"has a name of {len(name):,} bytes, more than the {limits.path_bytes:,} allowed",
            origin=source.origin,
            offset=offset,
        )
    return ArMember(
        name=name,
        mtime=_number(header, "time", offset, source),
        uid=_number(header, "owner", offset, source),
        gid=_number(header, "group", offset, source),
        mode=_number(header, "mode", offset, source),
        size=size - used,
        offset=start + used,
        header_offset=offset,
    )


def _number(header: bytes, field: str, offset: int, source: ByteSource) -> int:
    """Return a number in digits, padded with blanks; blanks alone are zero."""
    raw = header[_FIELDS[field]]
    is_octal = field == "mode"
    match = (_OCTAL if is_octal else _DECIMAL).fullmatch(raw)
    if match is None or (field == "size" and not match[1]):
        raise CorruptError(
            f"the header of an ar member has the {field} {quoted(raw)}",
            origin=source.origin,
            offset=offset + _FIELDS[field].start,
        )
    return int(match[1] or b"0", 8 if is_octal else 10)


def _name(raw: bytes, source: ByteSource, start: int, size: int, names: bytes) -> tuple[bytes, int]:
    """Return a member's name, and how many bytes of its content are the name."""
    if raw.startswith(_BSD_LONG_NAME) and raw[3:].isdigit():
        length = int(raw[3:])
        if not 0 < length <= min(size, _NAME_TABLE_BYTES):
            raise CorruptError(
                f"an ar member of {size:,} bytes has a name of {length:,}",
                origin=source.origin,
                offset=start - HEADER_BYTES,
            )
        name = bytes(read_exact(source, start, length, "the name of an ar member"))
        return name.rstrip(b"\0"), length
    if raw[:1] == b"/" and raw[1:].isdigit():
        place = int(raw[1:])
        end = names.find(b"\n", place)
        if place >= len(names) or end < 0:
            raise CorruptError(
                f"the table of names of the ar archive has none at {place:,}",
                origin=source.origin,
                offset=start - HEADER_BYTES,
            )
        return names[place:end].removesuffix(b"/"), 0
    if raw in {b"/", b"/SYM64/", _NAME_TABLE}:
        return raw, 0
    return raw.removesuffix(b"/"), 0


def _name_table(source: ByteSource, member: ArMember) -> bytes:
    if member.size > _NAME_TABLE_BYTES:
        raise LimitError(
            f"has {member.size:,} bytes of names, more than the {_NAME_TABLE_BYTES:,} allowed",
            origin=source.origin,
            offset=member.header_offset,
        )
    return bytes(read_exact(source, member.offset, member.size, "the table of names"))
