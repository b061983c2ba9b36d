"""``rpmdb.sqlite``: a database of SQLite 3 with a table ``Packages`` of numbers and headers.

Specification: rpm.org "Database"; sqlite.org "Database File Format", sections 1.3 and 4.

SQLite itself reads it, from memory. It cannot take a write-ahead log there, so what is committed
in the log is put into the pages first.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing

from formats.core.errors import CorruptError, LimitError
from formats.core.limits import Limits
from formats.core.origin import Origin

_MAGIC = b"SQLite format 3\0"
_VERSIONS_AT = 18
_WITHOUT_LOG = b"\x01\x01"
"""Write and read version of a file that has no write-ahead log."""
_LOG_MAGICS = {0x377F0682: "<", 0x377F0683: ">"}
"""Order of the bytes in which checksums of a log are reckoned."""
_LOG_HEADER = struct.Struct(">IIIIII")
_FRAME = struct.Struct(">II")
_LOG_HEADER_BYTES, _FRAME_BYTES = 32, 24
_MOST_GROWTH = 4
"""A log brings the pages that a database grows by, but for some that are free."""
_STEPS = 1 << 20
_MOST_STEPS = 32
"""Of so many instructions of SQLite's machine; a sound database of 100,000 packages needs two."""


def read_sqlite(
    data: bytes, log: bytes, origin: Origin, limits: Limits
) -> Iterator[tuple[int, bytes]]:
    """Yield package numbers and headers.

    :param log: the write-ahead log; empty if there is none.
    :raises CorruptError: if it is damaged.
    """
    if not data.startswith(_MAGIC):
        raise CorruptError("is no SQLite database", origin=origin)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        steps = 0

        def is_too_long() -> bool:
            nonlocal steps
            steps += 1
            return steps > _MOST_STEPS

        try:
            connection.deserialize(bytes(_current(data, log, origin)))
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA query_only = ON")
            connection.set_progress_handler(is_too_long, _STEPS)
            rows = connection.execute("SELECT hnum, blob FROM Packages ORDER BY hnum")
            for count, (number, blob) in enumerate(rows, 1):
                if count > limits.entries:
                    raise LimitError(f"lists more than {limits.entries:,} packages", origin=origin)
                if not isinstance(number, int) or not isinstance(blob, bytes):
                    raise CorruptError("has a package that is no header", origin=origin)
                yield number, blob
        except (sqlite3.Error, OverflowError) as error:
            raise CorruptError(f"is no sound SQLite database: {error}", origin=origin) from error


def _current(data: bytes, log: bytes, origin: Origin) -> bytearray:
    """Return the database as its log says, in a form that needs none."""
    pages = bytearray(data)
    most = _MOST_GROWTH * (len(data) + len(log))
    for offset, page in _committed(log, most, origin):
        if len(pages) < offset:
            pages.extend(bytes(offset - len(pages)))
        pages[offset : offset + len(page)] = page
    pages[_VERSIONS_AT : _VERSIONS_AT + 2] = _WITHOUT_LOG
    return pages


def _committed(log: bytes, most: int, origin: Origin) -> Iterator[tuple[int, bytes]]:
    """Yield the pages of whole transactions with their offsets; what is behind them is void.

    :param most: the largest offset that is believed.
    """
    if len(log) < _LOG_HEADER_BYTES:
        return
    magic, _, page_bytes, _, *salts = _LOG_HEADER.unpack_from(log)
    order = _LOG_MAGICS.get(magic)
    if order is None or not 512 <= page_bytes <= 65536 or page_bytes & (page_bytes - 1):
        raise CorruptError("its write-ahead log has no sound header", origin=origin)
    sums = _sums((0, 0), log[:24], order)
    if sums != struct.unpack_from(">II", log, 24):  # the log was begun, and not written
        return
    pending: list[tuple[int, bytes]] = []
    for start in range(_LOG_HEADER_BYTES, len(log), _FRAME_BYTES + page_bytes):
        frame = log[start : start + _FRAME_BYTES]
        page = log[start + _FRAME_BYTES : start + _FRAME_BYTES + page_bytes]
        if len(page) != page_bytes or frame[8:16] != struct.pack(">II", *salts):
            return
        sums = _sums(_sums(sums, frame[:8], order), page, order)
        if sums != struct.unpack_from(">II", frame, 16):
            return
        number, size_after_commit = _FRAME.unpack_from(frame)
        if not number:
            return
        pending.append(((number - 1) * page_bytes, page))
        if size_after_commit:
            last = max(offset for offset, _ in pending)
            if last > size_after_commit * page_bytes or last > most:
                raise CorruptError("its log has a page far behind its end", origin=origin)
            yield from pending
            pending.clear()


def _sums(sums: tuple[int, int], data: bytes, order: str) -> tuple[int, int]:
    """Return the checksums of a log after some more of it ("Checksum Algorithm")."""
    first, second = sums
    for one, other in struct.iter_unpack(f"{order}II", data):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second
