"""The tar encoder: a tree in, the bytes of a layer out, the same bytes for the same tree.

POSIX.1-2017 ``pax`` interchange format over ``ustar`` headers. A pax header comes only where
``ustar`` does not do: names over 100/255 bytes, ids over 2,097,151, files of 8 GiB and more, times
before 1970 or from 2242 on, and xattrs (``SCHILY.xattr.NAME``, the one spelling that container
engines apply). Names are bytes and stay what they are in both.

What is fixed so that equal trees give equal bytes: uname, gname and every field that does not
apply are empty, times are whole seconds (rounded down, as ``stat(2)`` splits them), no atime and
ctime, pax records in one order, and after the two blocks of zeros that end an archive nothing is
padded.

The root folder is ``./``; every other path is relative, without ``./``, folders end in ``/``.
Holes are written as zeros: container engines do not read sparse members. Sockets, and xattr
names with ``=`` cannot be written; :mod:`convert.layers.representable` takes them out.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from struct import Struct
from zlib import adler32

from convert.layers.walk import announced, content
from formats.core.entry import Entry, Kind
from formats.core.errors import CorruptError, UnsupportedError, quoted
from formats.core.limits import DEFAULT_LIMITS, MIB, Limits
from formats.core.origin import Origin
from formats.core.source import BytesLike
from formats.core.tree import Tree

TAR_BLOCK_BYTES = 512
PAX_HEADER_BYTES = MIB
"""The largest pax header: Go's archive/tar, and with it containerd and Docker, takes no more."""

_END = bytes(2 * TAR_BLOCK_BYTES)
_PADDING = tuple(bytes(-length % TAR_BLOCK_BYTES) for length in range(TAR_BLOCK_BYTES))

_NAME_BYTES = 100
_PREFIX_BYTES = 155
_LARGEST_ID = 0o7777777
_LARGEST_DEVICE = 0o7777777
_LARGEST_NUMBER = 0o77777777777
"""For sizes and times: 8 GiB - 1, and a second in 2242."""
_SECOND_NS = 10**9

_HEADER = Struct(
    "100s"  # name
    "24s"  # mode, uid, gid
    "24s"  # size, mtime
    "8s"  # checksum
    "1s"  # typeflag
    "100s"  # linkname
    "8s"  # magic and version
    "64x"  # uname, gname
    "16s"  # devmajor, devminor
    "155s"  # prefix
    "12x"
)
_MAGIC = b"ustar\x0000"
_NO_CHECKSUM = b" " * 8
_NO_DEVICE = b"0000000\x000000000\x00"
_CHECKSUM = slice(148, 156)
_HALF = 257
"""Where linkname ends. Neither half of a header can sum up to adler32's modulus, 65,521."""
_PAX_NAME = b"PaxHeaders/entry"
"""Never seen by a reader of pax; short and constant."""

_FILE = Kind.FILE
_TYPEFLAGS = {
    Kind.HARDLINK: b"1",
    Kind.SYMLINK: b"2",
    Kind.CHARACTER_DEVICE: b"3",
    Kind.BLOCK_DEVICE: b"4",
    Kind.FOLDER: b"5",
    Kind.FIFO: b"6",
}
_WITH_TARGET = frozenset({Kind.HARDLINK, Kind.SYMLINK})
_DEVICES = frozenset({Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE})


def encode_tar(
    tree: Tree, *, mtime_limit: int | None = None, limits: Limits = DEFAULT_LIMITS
) -> Iterator[BytesLike]:
    """Yield a tree as a tar archive, in pieces of any size; content is passed on uncopied.

    :param mtime_limit: no time is later than this, in seconds since 1970 (SOURCE_DATE_EPOCH).
    :raises CorruptError: if a file gives fewer or more bytes than its entry says.
    :raises LimitError: for too many entries, or too large a file.
    :raises UnsupportedError: for what tar cannot hold.
    """
    origin = tree.origin
    for entry in announced(tree, limits):
        yield _member_header(entry, mtime_limit, origin)
        if entry.size and entry.kind is _FILE:
            yield from content(tree, entry)
            yield _PADDING[entry.size % TAR_BLOCK_BYTES]
    yield _END


def _member_header(entry: Entry, mtime_limit: int | None, origin: Origin) -> bytes:
    """Return the header of one member, after its pax header if it needs one."""
    kind, path = entry.kind, entry.path
    if kind is _FILE:  # most entries; looking a Kind up costs as much as all the formatting
        size, typeflag, target, device = entry.size, b"0", b"", _NO_DEVICE
    else:
        size, typeflag, target, device = 0, *_special_fields(entry, origin)
        if kind is Kind.FOLDER:
            path = path + b"/" if path else b"./"
    if b"\0" in path:
        raise CorruptError(f"{quoted(entry.path)} has a NUL in its name", origin=origin)
    mtime = entry.mtime_ns // _SECOND_NS
    if mtime_limit is not None and mtime > mtime_limit:
        mtime = mtime_limit

    records: list[bytes] = []
    prefix, name = b"", path
    if len(path) > _NAME_BYTES:
        prefix, name = _split(path)
        if not name:
            records.append(_record(b"path", path))
            name = path[:_NAME_BYTES]
    if len(target) > _NAME_BYTES:
        records.append(_record(b"linkpath", target))
        target = target[:_NAME_BYTES]
    uid, gid = entry.uid, entry.gid
    if not (0 <= size <= _LARGEST_NUMBER and 0 <= mtime <= _LARGEST_NUMBER):
        size, mtime = _large_numbers(size, mtime, records)
    if uid > _LARGEST_ID or gid > _LARGEST_ID:
        uid, gid = _large_ids(uid, gid, records)
    if entry.xattrs and kind is not Kind.HARDLINK:  # a link has what its target has
        records += _xattr_records(entry, origin)

    numbers = b"%011o\0%011o\0" % (size, mtime)
    owner = _owner_fields(entry.mode, uid, gid)
    header = _header(name, owner, numbers, typeflag, target, device, prefix)
    return _pax_header(records, entry, origin) + header if records else header


def _header(
    name: bytes,
    owner: bytes,
    numbers: bytes,
    typeflag: bytes,
    target: bytes = b"",
    device: bytes = _NO_DEVICE,
    prefix: bytes = b"",
) -> bytes:
    blank = _HEADER.pack(
        name, owner, numbers, _NO_CHECKSUM, typeflag, target, _MAGIC, device, prefix
    )
    # The low half of adler32 from 0 is the sum of the bytes, forty times as fast as sum().
    checksum = (adler32(blank[:_HALF], 0) & 0xFFFF) + (adler32(blank[_HALF:], 0) & 0xFFFF)
    return b"%b%06o\0 %b" % (blank[: _CHECKSUM.start], checksum, blank[_CHECKSUM.stop :])


@lru_cache(maxsize=1024)
def _owner_fields(mode: int, uid: int, gid: int) -> bytes:
    return b"%07o\0%07o\0%07o\0" % (mode & 0o7777, uid, gid)


def _split(path: bytes) -> tuple[bytes, bytes]:
    """Return prefix and name for ``ustar``, both empty if the path does not fit."""
    slash = path.rfind(b"/", 1, min(_PREFIX_BYTES + 1, len(path) - 1))
    if slash < 0 or len(path) - slash - 1 > _NAME_BYTES:
        return b"", b""
    return path[:slash], path[slash + 1 :]


def _special_fields(entry: Entry, origin: Origin) -> tuple[bytes, bytes, bytes]:
    """Return typeflag, linkname and device numbers of what is not a file."""
    typeflag = _TYPEFLAGS.get(entry.kind)
    if typeflag is None:
        raise UnsupportedError(
            f"{quoted(entry.path)} is a {entry.kind.value}, which tar cannot hold", origin=origin
        )
    target, device = b"", _NO_DEVICE
    if entry.kind in _WITH_TARGET:
        target = entry.target or b""
        if not target or b"\0" in target:
            raise CorruptError(f"the link {quoted(entry.path)} has no usable target", origin=origin)
    elif entry.kind in _DEVICES:
        major, minor = entry.device or (-1, -1)
        if not (0 <= major <= _LARGEST_DEVICE and 0 <= minor <= _LARGEST_DEVICE):
            raise CorruptError(
                f"the device {quoted(entry.path)} has no usable number", origin=origin
            )
        device = b"%07o\0%07o\0" % (major, minor)
    return typeflag, target, device


def _large_numbers(size: int, mtime: int, records: list[bytes]) -> tuple[int, int]:
    if size > _LARGEST_NUMBER:
        records.append(_record(b"size", b"%d" % size))
        size = 0
    if not 0 <= mtime <= _LARGEST_NUMBER:
        records.append(_record(b"mtime", b"%d" % mtime))
        mtime = 0
    return size, mtime


def _large_ids(uid: int, gid: int, records: list[bytes]) -> tuple[int, int]:
    if uid > _LARGEST_ID:
        records.append(_record(b"uid", b"%d" % uid))
        uid = 0
    if gid > _LARGEST_ID:
        records.append(_record(b"gid", b"%d" % gid))
        gid = 0
    return uid, gid


def _xattr_records(entry: Entry, origin: Origin) -> Iterator[bytes]:
    for name, value in entry.xattrs:
        if not name or b"=" in name or b"\0" in name:
            raise UnsupportedError(
                f"{quoted(entry.path)} has an xattr {quoted(name)}, which tar cannot name",
                origin=origin,
            )
        yield _record(b"SCHILY.xattr." + name, value)


def _record(key: bytes, value: bytes) -> bytes:
    """Return a pax record; the length in front counts itself."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) > len(str(rest)):
        length += 1
    return b"%d %b=%b\n" % (length, key, value)


def _pax_header(records: list[bytes], entry: Entry, origin: Origin) -> bytes:
    data = b"".join(records)
    if len(data) > PAX_HEADER_BYTES:
        raise UnsupportedError(
            f"{quoted(entry.path)} has {len(data):,} bytes of names and xattrs, more than"
            f" container engines read ({PAX_HEADER_BYTES:,})",
            origin=origin,
        )
    numbers = b"%011o\0%011o\0" % (len(data), 0)
    header = _header(_PAX_NAME, _owner_fields(0o644, 0, 0), numbers, b"x")
    return header + data + _PADDING[len(data) % TAR_BLOCK_BYTES]
