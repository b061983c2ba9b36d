"""A strict reader of layer tars, one member after the other, from a stream.

Written from pax(1) of POSIX.1-2008 ("ustar Interchange Format", "pax Header Block") and from the
GNU tar manual ("Basic Tar Format", "GNU Extensions"), for verification: whatever two clients could
understand differently is an error here. The standard library's ``tarfile`` is no substitute. It
ends names at a NUL, decodes them, takes sparse members, ignores damage after the first member and
costs about 70 µs a member.

Read: ustar, pax headers (``path``, ``linkpath``, ``size``, ``uid``, ``gid``, ``mtime``,
``SCHILY.xattr.*``), GNU long names and binary numbers. Refused: sparse members, any other type, and
global pax headers that say more than a comment, since only some clients heed them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from formats.core.entry import Kind
from formats.core.errors import CorruptError, LimitError, UnsupportedError, quoted
from formats.core.limits import DEFAULT_LIMITS, MIB, Limits
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource, read_exact

BLOCK_BYTES = 512
_PIECE_BYTES = MIB
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_EXTENSION_BYTES = MIB
_NO_BLOCK = bytes(BLOCK_BYTES)
_XATTR = b"SCHILY.xattr."
_KINDS = {
    b"0": Kind.FILE,
    b"\0": Kind.FILE,  # before POSIX
    b"7": Kind.FILE,  # "contiguous", which no system tells apart
    b"1": Kind.HARDLINK,
    b"2": Kind.SYMLINK,
    b"3": Kind.CHARACTER_DEVICE,
    b"4": Kind.BLOCK_DEVICE,
    b"5": Kind.FOLDER,
    b"6": Kind.FIFO,
}
_LINKS = frozenset({b"1", b"2"})
_DEVICES = frozenset({b"3", b"4"})


@dataclass(frozen=True, slots=True)
class TarMember:
    """A member as it stands in the archive.

    :ivar name: as it is spelled there: may be absolute, end in a slash, or hold ``..``.
    :ivar mtime: seconds since 1970, rounded down.
    :ivar target: what a symlink holds or the name of a hard link's target, as spelled.
    :ivar xattrs: sorted by name.
    :ivar content_offset: bytes from the archive's beginning to the content.
    """

    name: bytes
    kind: Kind
    mode: int
    uid: int
    gid: int
    mtime: int
    size: int
    target: bytes | None
    device: tuple[int, int] | None
    xattrs: tuple[tuple[bytes, bytes], ...]
    content_offset: int


class TarInput(Protocol):
    """Where the bytes of an archive come from, front to back."""

    @property
    def origin(self) -> Origin:
        """Breadcrumb for messages."""
        ...

    @property
    def position(self) -> int:
        """Bytes taken so far."""
        ...

    def take(self, length: int) -> BytesLike:
        """Return the next bytes; fewer at the end only."""
        ...

    def skip(self, length: int) -> int:
        """Pass over bytes and return how many there were."""
        ...


class StreamInput:
    """Chunks of any size as a :class:`TarInput`."""

    def __init__(self, chunks: Iterator[BytesLike], origin: Origin) -> None:
        self.origin = origin
        self.position = 0
        self._chunks = chunks
        self._chunk: BytesLike = b""

    def _next(self, length: int) -> BytesLike:
        """Return what is at hand, up to ``length`` bytes; nothing at the end."""
        while not self._chunk:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._chunk = memoryview(chunk)
        taken, self._chunk = self._chunk[:length], self._chunk[length:]
        self.position += len(taken)
        return taken

    def take(self, length: int) -> BytesLike:
        """See :class:`TarInput`."""
        first = self._next(length)
        if len(first) == length:
            return first
        parts = [first]
        missing = length - len(first)
        while missing and (part := self._next(missing)):
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def skip(self, length: int) -> int:
        """See :class:`TarInput`."""
        missing = length
        while missing and (part := self._next(missing)):
            missing -= len(part)
        return length - missing


class SourceInput:
    """A file with random access as a :class:`TarInput`; what is passed over is not read."""

    def __init__(self, source: ByteSource) -> None:
        self.origin = source.origin
        self.position = 0
        self._source = source

    def take(self, length: int) -> BytesLike:
        """See :class:`TarInput`."""
        available = min(length, self._source.size - self.position)
        data = read_exact(self._source, self.position, available, "a tar header")
        self.position += available
        return data

    def skip(self, length: int) -> int:
        """See :class:`TarInput`."""
        available = min(length, self._source.size - self.position)
        self.position += available
        return available


@dataclass(slots=True)
class _Extensions:
    """What pax and GNU headers say of the member that follows them."""

    records: dict[bytes, bytes] = field(default_factory=dict)
    long_name: bytes | None = None
    long_target: bytes | None = None


class TarReader:
    """Iterates over an archive's members; :meth:`content` gives the bytes of the present one.

    :raises CorruptError: while iterating, where the archive contradicts itself or ends early.
    :raises UnsupportedError: for members of a type that is not read.
    :raises LimitError: for too many members.
    """

    def __init__(self, source: TarInput, limits: Limits = DEFAULT_LIMITS) -> None:
        self._input = source
        self._limits = limits
        self._missing = 0
        self._padding = 0

    def __iter__(self) -> Iterator[TarMember]:
        extensions = _Extensions()
        count = 0
        while (block := self._header_block()) is not None:
            count += 1
            if count > self._limits.entries:
                raise LimitError(
                    f"the archive has more than {self._limits.entries:,} members",
                    origin=self._input.origin,
                )
            type_flag = block[156:157]
            if type_flag in {b"x", b"g", b"L", b"K"}:
                self._read_extension(type_flag, block, extensions)
                continue
            member = self._member(block, extensions)
            extensions = _Extensions()
            self._missing = member.size
            self._padding = -member.size % BLOCK_BYTES
            yield member
        if extensions != _Extensions():
            raise self._corrupt("a header of the next member is followed by none")

    def content(self) -> Iterator[BytesLike]:
        """Yield the content of the member that iteration gave last."""
        while self._missing:
            piece = self._exactly(min(self._missing, _PIECE_BYTES), "a file")
            self._missing -= len(piece)
            yield piece

    def _corrupt(self, problem: str) -> CorruptError:
        return CorruptError(problem, origin=self._input.origin, offset=self._input.position)

    def _exactly(self, length: int, what: str) -> BytesLike:
        data = self._input.take(length)
        if len(data) != length:
            raise self._corrupt(f"the archive ends within {what}")
        return data

    def _header_block(self) -> bytes | None:
        """Return the next header, or None at the two empty blocks that end an archive."""
        rest = self._missing + self._padding
        if rest and self._input.skip(rest) != rest:
            raise self._corrupt("the archive ends within a file")
        self._missing = self._padding = 0
        block = bytes(self._exactly(BLOCK_BYTES, "a header"))
        if block == _NO_BLOCK:
            if self._exactly(BLOCK_BYTES, "its end mark") != _NO_BLOCK:
                raise self._corrupt("a single empty block stands between members")
            self._check_rest()
            return None
        # POSIX: the sum of all bytes, those of the sum itself counted as spaces
        if sum(block) - sum(block[148:156]) + 8 * ord(" ") != self._number(block[148:156], "sum"):
            raise self._corrupt("a header has a wrong checksum")
        return block

    def _check_rest(self) -> None:
        """Refuse anything but zeros behind the end mark: nobody would see it, but all store it."""
        while rest := self._input.take(_PIECE_BYTES):
            if bytes(rest).strip(b"\0"):
                raise self._corrupt("there is data behind the end of the archive")

    def _number(self, text: bytes, what: str) -> int:
        value = _parsed_number(text)
        if value is None:
            raise self._corrupt(f"a header has {quoted(text)} for its {what}")
        return value

    def _read_extension(self, type_flag: bytes, block: bytes, extensions: _Extensions) -> None:
        size = self._number(block[124:136], "size")
        if not 0 <= size <= _EXTENSION_BYTES:
            raise self._corrupt(f"an extended header has {size:,} bytes")
        data = bytes(self._exactly(size, "an extended header"))
        self._padding = -size % BLOCK_BYTES
        if type_flag == b"L":
            extensions.long_name = data.removesuffix(b"\0")
        elif type_flag == b"K":
            extensions.long_target = data.removesuffix(b"\0")
        elif type_flag == b"x":
            extensions.records.update(self._records(data))
        elif self._records(data).keys() - {b"comment"}:
            raise UnsupportedError("global pax headers are not read", origin=self._input.origin)

    def _records(self, data: bytes) -> dict[bytes, bytes]:
        r"""Read ``LENGTH KEY=VALUE\n`` records; the length counts the whole record."""
        found: dict[bytes, bytes] = {}
        start = 0
        while start < len(data):
            space = data.find(b" ", start, start + 9)
            digits = data[start : max(space, start)]
            length = int(digits) if digits.isdigit() else 0
            record = data[start + len(digits) + 1 : start + length]
            key, equals, value = record[:-1].partition(b"=")
            if not (key and equals and record.endswith(b"\n") and start + length <= len(data)):
                raise self._corrupt("a pax record is damaged")
            if key in found:
                raise self._corrupt(f"a pax header has {quoted(key)} twice")
            found[key] = value
            start += length
        return found

    def _member(self, block: bytes, extensions: _Extensions) -> TarMember:
        (name, mode, uid, gid, size, mtime, _sum, type_flag, link, magic, _uname, _gname,
         major, minor, prefix) = _HEADER.unpack(block)  # fmt: skip
        kind = _KINDS.get(type_flag)
        records = extensions.records
        is_sparse = any(key.startswith(b"GNU.sparse.") for key in records)
        if kind is None or is_sparse:
            what = "sparse members" if is_sparse else f"members of type {quoted(type_flag)}"
            raise UnsupportedError(f"{what} are not read", origin=self._input.origin)
        name, link = _up_to_nul(name), _up_to_nul(link)
        if magic == b"ustar\x0000" and (front := _up_to_nul(prefix)):
            name = front + b"/" + name
        path = records.get(b"path", extensions.long_name or name)
        target = records.get(b"linkpath", extensions.long_target or link)
        if b"\0" in path or b"\0" in target:
            raise self._corrupt(f"the name {quoted(path)} holds a NUL")
        device = None
        if type_flag in _DEVICES:
            device = self._number(major, "device"), self._number(minor, "device")
        owner = self._decimal(records, b"uid", self._number(uid, "owner"))
        group = self._decimal(records, b"gid", self._number(gid, "group"))
        if owner < 0 or group < 0:
            raise self._corrupt(f"{quoted(path)} belongs to {owner}:{group}")
        length = self._decimal(records, b"size", self._number(size, "size"))
        if length < 0 or (kind is not Kind.FILE and length):
            raise self._corrupt(f"{quoted(path)} has a size of {length:,}")
        return TarMember(
            name=path,
            kind=kind,
            # some tools put the file type here as well, which everybody ignores
            mode=self._number(mode, "mode") & 0o7777,
            uid=owner,
            gid=group,
            mtime=self._decimal(records, b"mtime", self._number(mtime, "time")),
            size=length,
            target=target if type_flag in _LINKS else None,
            device=device,
            xattrs=_xattrs(records),
            content_offset=self._input.position,
        )

    def _decimal(self, records: dict[bytes, bytes], key: bytes, default: int) -> int:
        """Return a number from a pax record, rounded down, or the header's own."""
        text = records.get(key)
        if text is None:
            return default
        whole, point, fraction = text.partition(b".")
        digits = whole.removeprefix(b"-")
        if not digits.isdigit() or len(digits) > 20 or (point and not fraction.isdigit()):
            raise self._corrupt(f"a pax header has {quoted(text)} for {quoted(key)}")
        value = int(whole)
        return value - 1 if whole.startswith(b"-") and fraction.strip(b"0") else value


@lru_cache(maxsize=4096)
def _parsed_number(text: bytes) -> int | None:
    """Read a number: octal digits, or binary where the first bit is set (GNU)."""
    if text[0] & 0x80:
        value = int.from_bytes(text, "big") - (0x80 << (8 * (len(text) - 1)))
        # 0xff begins a negative one, in two's complement
        return value - (1 << (8 * len(text) - 1)) if text[0] & 0x40 else value
    digits = text.rstrip(b"\0 ").lstrip(b" ")
    if digits.strip(b"01234567"):
        return None
    return int(digits, 8) if digits else 0


def _xattrs(records: dict[bytes, bytes]) -> tuple[tuple[bytes, bytes], ...]:
    if not records:
        return ()
    found = [(key, value) for key, value in records.items() if key.startswith(_XATTR)]
    return tuple(sorted((key[len(_XATTR) :], value) for key, value in found))


def _up_to_nul(text: bytes) -> bytes:
    return text.partition(b"\0")[0]
