"""The central directory of a zip archive, and the members that it describes.

Names are bytes: UTF-8 where the archive says so, by a flag or by Info-ZIP's Unicode Path. Others
are kept as they are. The standard calls them IBM code page 437, and archives have what the machine
had that made them: Japanese ones cp932, those of Unix UTF-8 without the flag. A guess would break
the names that are right.

Times without an extra field are local times of an unknown zone; they are taken as UTC.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from formats.archives.member import Member
from formats.archives.tally import Tally
from formats.archives.zip.contents import HEADER_BYTES, ZipContent, ZipContents
from formats.archives.zip.decoders import DECODERS, NOT_DECODED
from formats.archives.zip.ending import Ending
from formats.archives.zip.extra import (
    AES,
    OLD_UNIX,
    OLD_UNIX_IDS,
    ZIP64,
    Sizes,
    extra_fields,
    mtime_ns,
    owner,
    unicode_path,
    whole_sizes,
)
from formats.core.entry import MODE_KINDS, Kind
from formats.core.errors import CorruptError, EncryptedError, LimitError, UnsupportedError, quoted
from formats.core.finding import Action, Finding
from formats.core.limits import MIB, Limits
from formats.core.source import ByteSource, read_exact

_HEADER = struct.Struct("<4s6H3L5H2L")
_MOST_HEADER_BYTES = _HEADER.size + 3 * 0xFFFF
_MAGIC = b"PK\x01\x02"
_ENCRYPTED, _UTF8, _MASKED = 1 << 0, 1 << 11, 1 << 13
_AES_METHOD = 99
_UNIX_HOSTS = frozenset({3, 19})  # Unix, macOS
_BACKSLASH_HOSTS = frozenset({0, 10, 11, 14})  # FAT, NTFS, MVS, VFAT
_DOS_READ_ONLY, _DOS_FOLDER = 0x01, 0x10
_READ_BYTES = MIB
_MAC_METADATA = b"__MACOSX/"
_SPECIAL = frozenset({Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE})


class _Header(NamedTuple):
    """One header of the directory; ``at`` is where it is."""

    at: int
    made_by: int
    flags: int
    method: int
    time: int
    date: int
    checksum: int
    attributes: int
    sizes: Sizes
    name: bytes
    extra: bytes


class Directory:
    """The members of an archive.

    :raises CorruptError: for headers that cannot be right, and members that overlap.
    :raises EncryptedError: for encrypted ones.
    :raises UnsupportedError: for compression that is not read, by name.
    :raises LimitError: for too many.
    """

    def __init__(self, archive: ByteSource, ending: Ending, limits: Limits) -> None:
        self._archive = archive
        self._ending = ending
        self._limits = limits
        self._headers = list(self._read())
        stops = self._stops()
        self._contents = [
            _content(header, stop, ending.prefix_bytes)
            for header, stop in zip(self._headers, stops, strict=True)
        ]
        for header in self._headers:
            self._check_readable(header)

    @property
    def names(self) -> frozenset[bytes]:
        """The names as written."""
        return frozenset(header.name for header in self._headers)

    def find(self, name: bytes) -> ZipContent | None:
        """Return what is in the member of that name as written; None if there is none."""
        for header, content in zip(self._headers, self._contents, strict=True):
            if header.name == name:
                return content
        return None

    def members(
        self, contents: ZipContents, note: Callable[[Finding], None]
    ) -> Iterator[Member[ZipContent]]:
        """Yield the members; targets of symlinks are read, as they are content."""
        tallies = _Tallies()
        for header, content in zip(self._headers, self._contents, strict=True):
            member = self._member(header, content, contents, tallies)
            if member is not None:
                yield member
        for finding in tallies.findings():
            note(finding)

    def _read(self) -> Iterator[_Header]:
        """Yield the headers in their order."""
        ending = self._ending
        position, stop = ending.offset, ending.offset + ending.length
        window, window_at = b"", position
        count = 0
        while position < stop:
            window_end = window_at + len(window)
            if window_end < stop and position + _MOST_HEADER_BYTES > window_end:
                length = min(_READ_BYTES, stop - position)
                window_at = position
                window = bytes(read_exact(self._archive, position, length, "the directory"))
            header, taken = self._header(window, position - window_at, position)
            count += 1
            if count > self._limits.entries:
                raise LimitError(
                    f"has more than {self._limits.entries:,} members", origin=self._archive.origin
                )
            yield header
            position += taken
        if count != ending.entries and (ending.is_zip64 or count & 0xFFFF != ending.entries):
            raise self._corrupt(
                f"says that it has {ending.entries:,} members, and its directory has {count:,}",
                ending.offset,
            )

    def _header(self, window: bytes, start: int, at: int) -> tuple[_Header, int]:
        """Return a header and how many bytes it takes."""
        if start + _HEADER.size > len(window):
            raise self._corrupt("its directory is cut short", at)
        fields = _HEADER.unpack_from(window, start)
        magic, made_by, _, flags, method, time, date, checksum, compressed, size = fields[:10]
        name_bytes, extra_bytes, comment_bytes, disk, _, attributes, offset = fields[10:]
        if magic != _MAGIC:
            raise self._corrupt("its directory has something that is no header", at)
        extra_start = start + _HEADER.size + name_bytes
        end = extra_start + extra_bytes + comment_bytes
        if end > len(window):
            raise self._corrupt("its directory is cut short", at)
        name = window[start + _HEADER.size : extra_start]
        extra = window[extra_start : extra_start + extra_bytes]
        sizes: Sizes | None = Sizes(size, compressed, offset, disk)
        if extra and 0xFFFFFFFF in {size, compressed, offset}:
            sizes = whole_sizes(
                Sizes(size, compressed, offset, disk), extra_fields(extra).get(ZIP64)
            )
        if sizes is None:
            raise self._corrupt(f"{quoted(name)} has a Zip64 field that is cut short", at)
        if sizes.disk:
            raise UnsupportedError(
                "is one part of a zip archive in several",
                origin=self._archive.origin,
                offset=at,
                hint="join them with 'zip -s 0 FILE.zip --out WHOLE.zip'",
            )
        header = _Header(
            at, made_by, flags, method, time, date, checksum, attributes, sizes, name, extra
        )
        return header, end - start

    def _stops(self) -> list[int]:
        """Return where each member has to end: where the next one begins.

        What overlaps is how 42 kB become 5 GB.
        """
        prefix, directory = self._ending.prefix_bytes, self._ending.offset
        order = sorted(
            range(len(self._headers)), key=lambda number: self._headers[number].sizes.offset
        )
        stops = [directory] * len(order)
        for number, following in pairwise(order):
            stops[number] = self._headers[following].sizes.offset + prefix
        for number in order:
            header = self._headers[number]
            sizes = header.sizes
            start = sizes.offset + prefix
            least = start + HEADER_BYTES + len(header.name) + sizes.compressed
            if least > stops[number]:
                what = "the directory" if stops[number] == directory else "another member"
                raise self._corrupt(f"{quoted(header.name)} overlaps with {what}", start)
        return stops

    def _check_readable(self, header: _Header) -> None:
        if header.flags & (_ENCRYPTED | _MASKED) or header.method == _AES_METHOD:
            kind = "AES" if AES in extra_fields(header.extra) else "a password"
            raise EncryptedError(
                f"{quoted(header.name)} is encrypted with {kind}",
                origin=self._archive.origin,
                offset=header.at,
                hint="unpack it with '7z x' and the password, and give what is in it",
            )
        if header.method not in DECODERS:
            name = NOT_DECODED.get(header.method, f"method {header.method}")
            raise UnsupportedError(
                f"{quoted(header.name)} is compressed with {name}, which is not read",
                origin=self._archive.origin,
                offset=header.at,
                hint="unpack it with '7z x' and pack it again",
            )

    def _member(
        self, header: _Header, content: ZipContent, contents: ZipContents, tallies: _Tallies
    ) -> Member[ZipContent] | None:
        fields = extra_fields(header.extra) if header.extra else {}
        host = header.made_by >> 8
        name = header.name
        if not header.flags & _UTF8:
            name = unicode_path(fields, name) or name
        if name.startswith(_MAC_METADATA):
            tallies.mac.add(name)
            return None
        if host in _BACKSLASH_HOSTS and b"\\" in name and b"/" not in name:
            tallies.backslashes.add(name)
            name = name.replace(b"\\", b"/")
        if not _is_utf8(name):
            tallies.names.add(name)
        kind, mode = _kind_and_mode(header, host, name)
        if kind in _SPECIAL:
            tallies.devices.add(name)
            return None
        target = self._target(content, contents, name) if kind is Kind.SYMLINK else None
        time = mtime_ns(fields) if fields else None
        if OLD_UNIX in fields or OLD_UNIX_IDS in fields:
            fields = contents.own_fields(content)
        uid, gid = owner(fields) if fields else (0, 0)
        return Member(
            path=name,
            kind=kind,
            mode=mode,
            content=content,
            uid=uid,
            gid=gid,
            mtime_ns=_dos_time(header.date, header.time) if time is None else time,
            size=content.size if kind is Kind.FILE else 0,
            target=target,
        )

    def _target(self, content: ZipContent, contents: ZipContents, name: bytes) -> bytes:
        most = self._limits.symlink_target_bytes
        if content.size > most:
            raise LimitError(
                f"{quoted(name)} is a symlink with a target of more than {most:,} bytes",
                origin=self._archive.origin,
                offset=content.offset,
            )
        return b"".join(contents.read(content))

    def _corrupt(self, problem: str, offset: int) -> CorruptError:
        return CorruptError(problem, origin=self._archive.origin, offset=offset)


class _Tallies:
    """What there is to say of members, each once."""

    def __init__(self) -> None:
        self.mac = Tally("mac-metadata", Action.DROPPED, "is what macOS keeps beside a file")
        self.backslashes = Tally(
            "zip-backslashes", Action.CHANGED, "has backslashes where slashes belong"
        )
        self.names = Tally(
            "zip-name-encoding", Action.REPORTED, "is no UTF-8, and no encoding is stated: kept"
        )
        self.devices = Tally(
            "zip-device", Action.DROPPED, "is a device, whose numbers a zip archive does not have"
        )

    def findings(self) -> Iterator[Finding]:
        for tally in (self.mac, self.backslashes, self.names, self.devices):
            finding = tally.finding()
            if finding is not None:
                yield finding


def _content(header: _Header, stop: int, prefix: int) -> ZipContent:
    sizes = header.sizes
    return ZipContent(
        sizes.offset + prefix,
        stop,
        sizes.compressed,
        sizes.size,
        header.checksum,
        header.method,
        header.flags,
        header.name,
    )


def _kind_and_mode(header: _Header, host: int, name: bytes) -> tuple[Kind, int]:
    """Return what a member is, by the attributes of the system that packed it."""
    is_folder = name.endswith(b"/")
    unix = header.attributes >> 16 if host in _UNIX_HOSTS else 0
    if unix:
        kind = MODE_KINDS.get(unix & 0xF000, Kind.FILE)
        return (Kind.FOLDER if is_folder else kind), unix & 0o7777
    if is_folder or header.attributes & _DOS_FOLDER:
        return Kind.FOLDER, 0o755
    return Kind.FILE, 0o444 if header.attributes & _DOS_READ_ONLY else 0o644


def _is_utf8(name: bytes) -> bool:
    if name.isascii():
        return True
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


@lru_cache(maxsize=1024)
def _dos_time(date: int, time: int) -> int:
    """Return nanoseconds; 0 for a date that there is none of."""
    try:
        moment = datetime(
            1980 + (date >> 9),
            date >> 5 & 0x0F,
            date & 0x1F,
            time >> 11,
            time >> 5 & 0x3F,
            min(59, 2 * (time & 0x1F)),
            tzinfo=UTC,
        )
    except ValueError:
        return 0
    return int(moment.timestamp()) * 10**9
