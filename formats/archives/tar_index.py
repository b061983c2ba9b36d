"""What is in a tar archive and where, so that members can be read in place.

Specification: POSIX.1-2017 ``pax`` (the ustar and pax interchange formats); GNU tar manual, "Basic
Tar Format" and "Storing Sparse Files"; tar(5) of libarchive for what v7 did.

Read: v7, ustar, pax and GNU archives, long names, numbers in base 256, sparse members of GNU tar
(old GNU format and pax 0.0, 0.1 and 1.0). Refused by name: archives in several volumes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from formats.archives.tar_sparse import (
    SPARSE_KEYWORDS,
    Regions,
    old_gnu_regions,
    pax_regions,
    sparse_source,
)
from formats.core.entry import Kind
from formats.core.errors import CorruptError, LimitError, UnsupportedError, quoted
from formats.core.limits import DEFAULT_LIMITS, KIB, MIB, Limits
from formats.core.origin import Origin
from formats.core.source import ByteSource, slice_source

BLOCK_BYTES = 512

_RECORDS_BYTES = MIB
"""Largest pax header and longest name that is read."""
_WINDOW_BYTES = 16 * KIB
_MAX_GLOBAL_RECORDS = 64
"""Each member gets all of them."""
_CHECKSUM = slice(148, 156)
_MAGIC_OFFSET = 257
_MAGIC_START = b"ustar"
_POSIX_MAGIC = b"ustar\0"
_GNU_MAGIC = b"ustar  \0"

_KINDS: Mapping[bytes, Kind] = {
    b"0": Kind.FILE,
    b"\0": Kind.FILE,
    b"7": Kind.FILE,  # contiguous
    b"S": Kind.FILE,  # sparse, old GNU format
    b"1": Kind.HARDLINK,
    b"2": Kind.SYMLINK,
    b"3": Kind.CHARACTER_DEVICE,
    b"4": Kind.BLOCK_DEVICE,
    b"5": Kind.FOLDER,
    b"D": Kind.FOLDER,  # of GNU incremental archives; its content lists names
    b"6": Kind.FIFO,
}
_LISTED_FOLDER = b"D"
_LONG_NAME, _LONG_TARGET = b"L", b"K"
_VOLUME_LABEL, _CONTINUED = b"V", b"M"
_OWN_RECORDS, _SUN_RECORDS, _GLOBAL_RECORDS = b"x", b"X", b"g"

_NO_RECORDS: Mapping[bytes, bytes] = MappingProxyType({})

_OWNER_NAMES = slice(265, 329)
_NUMBERS = slice(100, 148)
_PLAIN_NUMBERS = re.compile(rb"([0-7]{7})[ \0]" * 3 + rb"([0-7]{11})[ \0]" * 2)
"""Mode, user, group, size and time, as nearly every program writes them."""
_OCTAL = re.compile(rb"[ \0]*([0-7]*)(?:[ \0].*)?", re.DOTALL)
_DECIMAL = re.compile(rb"-?[0-9]{1,20}(\.[0-9]*)?")


class TarMember(NamedTuple):
    """One member as its headers describe it; a named tuple, as archives have very many.

    :ivar path: as written: it may be absolute, or lead out of the archive; see :func:`inner_path`.
    :ivar size: bytes of content, holes included; 0 for all but files.
    :ivar offset: where the archive holds the content.
    :ivar stored_bytes: how many bytes it holds.
    :ivar header_offset: where the member's own header is.
    :ivar target: of links.
    :ivar user: name of the owner where it was packed; b"" if there is none.
    :ivar group: likewise.
    :ivar records: pax records that apply, by keyword.
    :ivar regions: where the stored bytes belong, for sparse members.
    """

    path: bytes
    kind: Kind
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    offset: int
    stored_bytes: int
    header_offset: int
    target: bytes | None = None
    device: tuple[int, int] | None = None
    user: bytes = b""
    group: bytes = b""
    records: Mapping[bytes, bytes] = _NO_RECORDS
    regions: Regions | None = None

    def without_records(self) -> TarMember:
        """Return the member without what only the content of a tree needs; it may be large."""
        return self._replace(records=_NO_RECORDS) if self.records else self

    def source(self, archive: ByteSource, origin: Origin) -> ByteSource:
        """Return the content, read in place.

        :raises CorruptError: if a sparse member's pieces do not fit together.
        """
        if self.regions is None:
            return slice_source(archive, self.offset, self.stored_bytes, origin)
        return sparse_source(
            archive, self.offset, self.stored_bytes, self.size, self.regions, origin
        )


def inner_path(path: bytes) -> bytes | None:
    """Return a member's path below the archive's top; None where it leads out of it."""
    if path.startswith(b"/"):
        return None
    parts = [part for part in path.split(b"/") if part not in {b"", b"."}]
    return None if b".." in parts else b"/".join(parts)


def is_tar(source: ByteSource) -> bool:
    """Tell whether a tar archive begins here: its first header has a sound checksum."""
    header = bytes(source.read_at(0, BLOCK_BYTES))
    return len(header) == BLOCK_BYTES and header[:1] != b"\0" and _is_header(header)


def tar_members(source: ByteSource, limits: Limits = DEFAULT_LIMITS) -> Iterator[TarMember]:
    """Return the members in their order; only headers are read.

    The archive ends at the first block of zeros, as GNU tar has it, or where the file ends.

    :raises CorruptError: for headers that cannot be right, and content that is cut short.
    :raises UnsupportedError: for one of several volumes.
    :raises LimitError: for too many members, too long names.
    """
    return _Walk(source, limits).members()


def _is_header(header: bytes) -> bool:
    field = header[_CHECKSUM]
    match = _OCTAL.fullmatch(field)
    if match is None or not match[1]:
        return False
    stored = int(match[1], 8)
    # with blanks for the checksum; most of a header is zeros, which are not worth adding up
    total = sum(header.translate(None, b"\0")) - sum(field) + len(field) * ord(" ")
    if total == stored:
        return True
    # some early systems added up signed characters
    rest = header[: _CHECKSUM.start] + header[_CHECKSUM.stop :]
    return total - 256 * sum(byte >> 7 for byte in rest) == stored


@lru_cache(maxsize=256)
def _owner_names(field: bytes) -> tuple[bytes, bytes]:
    """Return the names of user and group; an archive has few of them."""
    return field[:32].partition(b"\0")[0], field[32:].partition(b"\0")[0]


class _Walk:
    """Goes from header to header; what special headers say is kept for the next plain one."""

    def __init__(self, source: ByteSource, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._global: dict[bytes, bytes] = {}
        self._own: dict[bytes, bytes] = {}
        self._sparse_pairs: list[bytes] = []
        self._name: bytes | None = None
        self._target: bytes | None = None
        self._window = b""
        self._window_start = 0

    def _read(self, offset: int, length: int) -> bytes:
        """Return what is there, fewer bytes where the archive ends; headers lie close together."""
        at = offset - self._window_start
        if at < 0 or at + length > len(self._window):
            self._window = bytes(self._source.read_at(offset, max(length, _WINDOW_BYTES)))
            self._window_start, at = offset, 0
        return self._window[at : at + length]

    def members(self) -> Iterator[TarMember]:
        offset = count = 0
        while True:
            header = self._read(offset, BLOCK_BYTES)
            if not header.strip(b"\0"):
                break
            if len(header) < BLOCK_BYTES or not _is_header(header):
                what = "is cut short" if len(header) < BLOCK_BYTES else "has a wrong checksum"
                raise self._corrupt(f"a tar header {what}", offset)
            kind = header[156:157]
            if kind == _CONTINUED:
                raise UnsupportedError(
                    "is one part of a tar archive in several volumes",
                    origin=self._source.origin,
                    offset=offset,
                    hint="unpack it with 'tar --multi-volume' and give what is in it",
                )
            if kind in {_LONG_NAME, _LONG_TARGET, _OWN_RECORDS, _SUN_RECORDS, _GLOBAL_RECORDS}:
                offset = self._special(kind, header, offset)
                continue
            count += 1
            if count > self._limits.entries:
                raise LimitError(
                    f"has more than {self._limits.entries:,} members", origin=self._source.origin
                )
            member = self._member(kind, header, offset)
            self._own, self._sparse_pairs, self._name, self._target = {}, [], None, None
            if kind != _VOLUME_LABEL:
                yield member
            offset = self._end(member.offset, member.stored_bytes)

    def _special(self, kind: bytes, header: bytes, offset: int) -> int:
        """Take a header that tells of the next one; return where that is."""
        size = self._number(header, 124, 12, offset)
        if size > _RECORDS_BYTES:
            raise LimitError(
                f"has a tar header of {size:,} bytes, more than the {_RECORDS_BYTES:,} allowed",
                origin=self._source.origin,
                offset=offset,
            )
        start = offset + BLOCK_BYTES
        data = self._read(start, size)
        if len(data) < size:
            raise self._corrupt("a tar header is cut short", start)
        if kind == _LONG_NAME:
            self._name = data.partition(b"\0")[0]
        elif kind == _LONG_TARGET:
            self._target = data.partition(b"\0")[0]
        elif kind == _GLOBAL_RECORDS:
            self._records(data, start, self._global)
            if len(self._global) > _MAX_GLOBAL_RECORDS:
                raise LimitError(
                    f"has more than {_MAX_GLOBAL_RECORDS} global pax records",
                    origin=self._source.origin,
                    offset=offset,
                )
        else:
            self._own, self._sparse_pairs = {}, []
            self._records(data, start, self._own)
        return self._end(start, size)

    def _records(self, data: bytes, start: int, into: dict[bytes, bytes]) -> None:
        """Take ``length keyword=value`` lines."""
        position = 0
        while position < len(data):
            digits, blank, _ = data[position : position + 21].partition(b" ")
            length = int(digits) if blank and digits.isdigit() else 0
            line = data[position + len(digits) + 1 : position + length]
            keyword, is_record, value = line[:-1].partition(b"=")
            if not is_record or line[-1:] != b"\n" or position + length > len(data):
                raise self._corrupt("a pax header makes no sense", start + position)
            if keyword in {b"GNU.sparse.offset", b"GNU.sparse.numbytes"}:
                self._sparse_pairs.append(value)  # format 0.0 repeats them, in pairs
            into[keyword] = value
            position += length

    def _member(self, kind: bytes, header: bytes, offset: int) -> TarMember:
        records = {**self._global, **self._own} if self._global else self._own
        path = self._path(header, records, offset)
        entry_kind = _KINDS.get(kind, Kind.FILE)  # POSIX: unknown types are files
        if entry_kind is Kind.FILE and path.endswith(b"/"):  # how v7 marks folders
            entry_kind = Kind.FOLDER
        mode, uid, gid, stored, mtime_ns = self._numbers(kind, entry_kind, header, offset, records)
        start, size = offset + BLOCK_BYTES, stored
        regions: Regions | None = None
        if kind == b"S":
            start, size, regions = old_gnu_regions(self._source, header, offset)
        elif records and not SPARSE_KEYWORDS.isdisjoint(records):
            used, size, regions = pax_regions(
                self._source, start, stored, records, self._sparse_pairs
            )
            start, stored = start + used, stored - used
        self._check_inside(start, stored, offset)
        target: bytes | None = None
        device: tuple[int, int] | None = None
        if entry_kind is not Kind.FILE:
            size = 0
            target = self._link_target(entry_kind, header, records)
            device = self._device(entry_kind, header, offset)
        user = group = b""
        if header.startswith(_MAGIC_START, _MAGIC_OFFSET):  # v7 archives have no names
            user, group = _owner_names(header[_OWNER_NAMES])
            if records:
                user, group = records.get(b"uname") or user, records.get(b"gname") or group
        return TarMember(
            path,
            entry_kind,
            mode & 0o7777,
            uid,
            gid,
            mtime_ns,
            size,
            start,
            stored,
            offset,
            target,
            device,
            user,
            group,
            records,
            regions,
        )

    def _numbers(
        self,
        kind: bytes,
        entry_kind: Kind,
        header: bytes,
        offset: int,
        records: Mapping[bytes, bytes],
    ) -> tuple[int, int, int, int, int]:
        """Return mode, user, group, stored bytes and time."""
        plain = _PLAIN_NUMBERS.fullmatch(header[_NUMBERS])
        if plain is None:
            return (
                self._number(header, 100, 8, offset),
                self._record_number(records, b"uid", header, 108, offset),
                self._record_number(records, b"gid", header, 116, offset),
                self._size(kind, entry_kind, header, offset, records),
                self._time(records, header, offset),
            )
        mode, uid, gid, size, seconds = plain.groups()
        is_plain_size = entry_kind is Kind.FILE and b"size" not in records
        return (
            int(mode, 8),
            self._record_number(records, b"uid", header, 108, offset)
            if b"uid" in records
            else int(uid, 8),
            self._record_number(records, b"gid", header, 116, offset)
            if b"gid" in records
            else int(gid, 8),
            int(size, 8)
            if is_plain_size
            else self._size(kind, entry_kind, header, offset, records),
            self._time(records, header, offset) if b"mtime" in records else int(seconds, 8) * 10**9,
        )

    def _size(
        self,
        kind: bytes,
        entry_kind: Kind,
        header: bytes,
        offset: int,
        records: Mapping[bytes, bytes],
    ) -> int:
        """Return how many bytes the member takes; all but files take none, whatever they say."""
        if entry_kind is not Kind.FILE and kind != _LISTED_FOLDER:
            return 0
        if (text := records.get(b"size")) is None:
            return self._number(header, 124, 12, offset)
        if not re.fullmatch(rb"[0-9]{1,19}", text):
            raise self._corrupt(f"a pax header says that a size is {quoted(text[:40])}", offset)
        return int(text)

    def _path(self, header: bytes, records: Mapping[bytes, bytes], offset: int) -> bytes:
        path = records.get(b"GNU.sparse.name") or records.get(b"path") or self._name
        if path is None:
            path = header[:100].partition(b"\0")[0]
            if header[345] and header.startswith(_POSIX_MAGIC, _MAGIC_OFFSET):
                path = header[345:500].partition(b"\0")[0] + b"/" + path
        if len(path) > self._limits.path_bytes:
            raise LimitError(
                f"has a name of {len(path):,} bytes, more than the {self._limits.path_bytes:,}"
                " allowed",
                origin=self._source.origin,
                offset=offset,
            )
        if b"\0" in path:
            raise self._corrupt(f"a member is named {quoted(path)}", offset)
        return path

    def _link_target(
        self, kind: Kind, header: bytes, records: Mapping[bytes, bytes]
    ) -> bytes | None:
        if kind is not Kind.SYMLINK and kind is not Kind.HARDLINK:
            return None
        return records.get(b"linkpath") or self._target or header[157:257].partition(b"\0")[0]

    def _device(self, kind: Kind, header: bytes, offset: int) -> tuple[int, int] | None:
        if kind is not Kind.CHARACTER_DEVICE and kind is not Kind.BLOCK_DEVICE:
            return None
        return self._number(header, 329, 8, offset), self._number(header, 337, 8, offset)

    def _record_number(
        self, records: Mapping[bytes, bytes], keyword: bytes, header: bytes, at: int, offset: int
    ) -> int:
        text = records.get(keyword)
        if text is None:
            return self._number(header, at, 8, offset)
        if not re.fullmatch(rb"[0-9]{1,19}", text):
            raise self._corrupt(f"a pax header says {keyword.decode()} {quoted(text[:40])}", offset)
        return int(text)

    def _time(self, records: Mapping[bytes, bytes], header: bytes, offset: int) -> int:
        text = records.get(b"mtime")
        if text is None:
            return self._number(header, 136, 12, offset, is_signed=True) * 10**9
        if not _DECIMAL.fullmatch(text) or abs(int(text.partition(b".")[0])) >= 1 << 63:
            raise self._corrupt(f"a pax header says mtime {quoted(text[:40])}", offset)
        seconds, _, fraction = text.partition(b".")
        part = int(fraction[:9].ljust(9, b"0") or b"0")
        return int(seconds) * 10**9 + (-part if text.startswith(b"-") else part)

    def _number(
        self, header: bytes, at: int, length: int, offset: int, *, is_signed: bool = False
    ) -> int:
        """Return a number field: octal digits, or base 256 where its highest bit is set."""
        raw = header[at : at + length]
        if raw[0] & 0x80:
            top = 1 << (8 * length - 1)
            value = int.from_bytes(raw, "big") - top
            value -= top if raw[0] & 0x40 else 0
            if value.bit_length() > 63 or (value < 0 and not is_signed):
                raise self._corrupt(f"a tar header has the number {value:,}", offset + at)
            return value
        text = raw.strip(b" \0")
        if not text.isdigit():  # garbage behind the end of the number is no part of it
            match = _OCTAL.fullmatch(raw)
            if match is None:
                raise self._corrupt(f"a tar header has the number {quoted(raw)}", offset + at)
            text = match[1] or b"0"
        try:
            return int(text, 8)
        except ValueError:
            raise self._corrupt(f"a tar header has the number {quoted(raw)}", offset + at) from None

    def _check_inside(self, start: int, length: int, offset: int) -> None:
        if start + length > self._source.size:
            raise CorruptError(
                f"is cut short: a member of {length:,} bytes at {start:,} ends behind its"
                f" {self._source.size:,} bytes",
                origin=self._source.origin,
                offset=offset,
                hint="the file may be truncated: compare its size with the original",
            )

    @staticmethod
    def _end(start: int, length: int) -> int:
        return start + (length + BLOCK_BYTES - 1) // BLOCK_BYTES * BLOCK_BYTES

    def _corrupt(self, problem: str, offset: int) -> CorruptError:
        return CorruptError(problem, origin=self._source.origin, offset=offset)
