"""One path on a line, as ``ls -l`` shows it, and as an object."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from formats.core.entry import Entry, Kind
from formats.core.origin import printable

EntryObject: TypeAlias = dict[str, str | int | list[int] | dict[str, str] | None]

_TYPE_BITS: Final = {
    Kind.FILE: stat.S_IFREG,
    Kind.HARDLINK: stat.S_IFREG,
    Kind.FOLDER: stat.S_IFDIR,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.CHARACTER_DEVICE: stat.S_IFCHR,
    Kind.BLOCK_DEVICE: stat.S_IFBLK,
    Kind.FIFO: stat.S_IFIFO,
    Kind.SOCKET: stat.S_IFSOCK,
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def short_line(entry: Entry) -> str:
    """Return the path, from ``/``."""
    return "/" + printable(entry.path)


def long_line(entry: Entry) -> str:
    """Return mode, numeric owner, size or device, time in UTC, path and target."""
    mode = stat.filemode(entry.mode | _TYPE_BITS[entry.kind])
    size = f"{entry.device[0]},{entry.device[1]}" if entry.device else f"{entry.size:,}"
    line = f"{mode} {entry.uid:>5} {entry.gid:>5} {size:>14} {_time(entry)} {short_line(entry)}"
    if entry.target is None:
        return line
    arrow = "->" if entry.kind is Kind.SYMLINK else "link to"
    slash = "" if entry.kind is Kind.SYMLINK else "/"
    return f"{line} {arrow} {slash}{printable(entry.target)}"


def as_object(entry: Entry) -> EntryObject:
    """Return the entry as a JSON-ready object; xattr values in hexadecimal."""
    return {
        "path": short_line(entry),
        "kind": entry.kind.value,
        "mode": f"{entry.mode:04o}",
        "uid": entry.uid,
        "gid": entry.gid,
        "size": entry.size,
        "mtime_ns": entry.mtime_ns,
        "target": None if entry.target is None else printable(entry.target),
        "device": None if entry.device is None else list(entry.device),
        "xattrs": {printable(name): value.hex() for name, value in entry.xattrs},
    }


def _time(entry: Entry) -> str:
    try:
        when = _EPOCH + timedelta(seconds=entry.mtime_ns // 10**9)
    except OverflowError:  # a damaged filesystem may say anything
        return f"@{entry.mtime_ns // 10**9}"
    return when.strftime("%Y-%m-%d %H:%M")
