"""The headers of a database, in the order of their numbers."""

from __future__ import annotations

from collections.abc import Iterator

from formats.core.errors import CorruptError
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.packages.rpm.header import Header
from formats.packages.rpm.installed.berkeley import read_berkeley
from formats.packages.rpm.installed.ndb import read_ndb
from formats.packages.rpm.installed.sqlite import read_sqlite

SQLITE, NDB, BERKELEY = b"rpmdb.sqlite", b"Packages.db", b"Packages"
LOG = SQLITE + b"-wal"
"""What was written to SQLite's last, and is not in the file itself yet."""
FILES = (SQLITE, NDB, BERKELEY)
"""Names of databases; where one was converted into another, the first is the one in use."""


def read_headers(
    name: bytes, data: bytes, log: bytes, origin: Origin, limits: Limits
) -> Iterator[Header]:
    """Yield the headers of a database.

    :param name: of its file, one of :data:`FILES`.
    :param data: the whole file; ``log`` that of SQLite's write-ahead log.
    :raises CorruptError: if it is damaged.
    :raises LimitError: if it holds more packages than ``limits.entries``.
    """
    if name == SQLITE:
        found = read_sqlite(data, log, origin, limits)
    elif name == NDB:
        found = read_ndb(data, origin, limits)
    else:
        found = read_berkeley(data, origin, limits)
    for number, blob in found:
        try:
            yield Header(blob, origin)
        except CorruptError as error:
            error.message = f"package number {number:,}: {error.message}"
            raise
