"""The database of installed packages, as rpm 4.16 and later keep it: a file of SQLite.

Specification: rpm.org "Database backends"; the tables and their rows are those that rpm 4.18 makes
itself, which the tests compare row by row.

Headers are in one table, and every other table is an index of one tag: value, number of the header,
place of the value in the tag. The same headers give the same bytes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from formats.core.origin import Origin
from formats.packages.rpm import tags
from formats.packages.rpm.header import Header, as_text
from formats.packages.rpm.record import installed_record
from formats.packages.rpm.relations import names_in

_PAGE_BYTES = 4096
_LIBRARY_VERSION_OFFSET = 96
_LIBRARY_VERSION = (3_040_001).to_bytes(4, "big")
"""What the file says to have been written by (sqlite.org/fileformat2.html, 1.3.22), fixed so that
the bytes do not depend on the library."""

_ONLY_FOR_INSTALLING = (
    tags.SENSE_PRETRANS
    | tags.SENSE_POSTTRANS
    | tags.SENSE_SCRIPT_PRE
    | tags.SENSE_SCRIPT_POST
    | tags.SENSE_RPMLIB
    | tags.SENSE_KEYRING
)
_ALSO_FOR_ERASING = tags.SENSE_SCRIPT_PREUN | tags.SENSE_SCRIPT_POSTUN


class _Index(NamedTuple):
    """One table: the values of one tag.

    :ivar is_text: as which kind of value SQLite has the key.
    :ivar by_key: whether rpm makes an index of the keys, and
    :ivar by_header: of the numbers of headers.
    """

    table: str
    tag: int
    is_text: bool = True
    by_key: bool = True
    by_header: bool = True


_INDEXES = (
    _Index("Name", tags.NAME, by_header=False),
    _Index("Basenames", tags.BASENAMES),
    _Index("Group", tags.GROUP, by_header=False),
    _Index("Requirename", tags.REQUIRENAME),
    _Index("Providename", tags.PROVIDENAME),
    _Index("Conflictname", tags.CONFLICTNAME),
    _Index("Obsoletename", tags.OBSOLETENAME),
    _Index("Triggername", tags.TRIGGERNAME),
    _Index("Dirnames", tags.DIRNAMES),
    _Index("Installtid", tags.INSTALLTID, is_text=False, by_key=False, by_header=False),
    _Index("Sigmd5", tags.SIGMD5, is_text=False, by_key=False, by_header=False),
    _Index("Sha1header", tags.SIG_SHA1, by_header=False),
    _Index("Filetriggername", tags.FILETRIGGERNAME),
    _Index("Transfiletriggername", tags.TRANSFILETRIGGERNAME),
    _Index("Recommendname", tags.RECOMMENDNAME),
    _Index("Suggestname", tags.SUGGESTNAME),
    _Index("Supplementname", tags.SUPPLEMENTNAME),
    _Index("Enhancename", tags.ENHANCENAME),
)


_FILE_TRIGGERS = {
    tags.FILETRIGGERNAME: tags.FILETRIGGERINDEX,
    tags.TRANSFILETRIGGERNAME: tags.TRANSFILETRIGGERINDEX,
}
_DEPENDENCIES = frozenset(
    {
        tags.REQUIRENAME,
        tags.CONFLICTNAME,
        tags.RECOMMENDNAME,
        tags.SUGGESTNAME,
        tags.SUPPLEMENTNAME,
        tags.ENHANCENAME,
    }
)
"""Those that may be boolean."""


def rpmdb_sqlite(records: Sequence[bytes], *, installed_at: int) -> bytes:
    """Return the file ``rpmdb.sqlite`` of a system with these packages.

    :param records: :attr:`Package.record` of each, in the order of installing.
    :param installed_at: seconds since 1970-01-01, of all of them.
    :raises CorruptError: if a record is no header.
    """
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        _make_tables(connection)
        for number, record in enumerate(records, start=1):
            origin = Origin((f"rpm header {number}",))
            blob = installed_record(Header(record, origin), number, installed_at)
            connection.execute("INSERT INTO Packages VALUES (?, ?)", (number, blob))
            _add_keys(connection, Header(blob, origin), number)
        connection.commit()
        data = bytearray(connection.serialize())
    finally:
        connection.close()
    data[_LIBRARY_VERSION_OFFSET : _LIBRARY_VERSION_OFFSET + 4] = _LIBRARY_VERSION
    return bytes(data)


def _make_tables(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB NOT NULL)"
    )
    for index in _INDEXES:
        kind = "TEXT" if index.is_text else "BLOB"
        connection.execute(
            f"CREATE TABLE '{index.table}' (key '{kind}' NOT NULL, hnum INTEGER NOT NULL,"
            " idx INTEGER NOT NULL, FOREIGN KEY (hnum) REFERENCES 'Packages'(hnum))"
        )
        for column, wanted in (("key", index.by_key), ("hnum", index.by_header)):
            if wanted:
                connection.execute(
                    f"CREATE INDEX '{index.table}_{column}_idx' ON '{index.table}'({column} ASC)"
                )


def _add_keys(connection: sqlite3.Connection, header: Header, number: int) -> None:
    for index in _INDEXES:
        key = "CAST(? AS TEXT)" if index.is_text else "?"
        keys = _keys(header, index.tag)
        if index.tag in _DEPENDENCIES:
            keys = _with_names_inside(keys)
        connection.executemany(
            f"INSERT INTO '{index.table}' VALUES ({key}, ?, ?)",  # noqa: S608 - names of our own
            ((value, number, place) for place, value in keys),
        )


def _keys(header: Header, tag: int) -> Iterator[tuple[int, bytes]]:
    """Yield places and values of a tag, without those that rpm has no use for."""
    if tag == tags.INSTALLTID:  # in the byte order of the machine, nearly always this one
        yield from enumerate(value.to_bytes(4, "little") for value in header.numbers(tag))
    elif tag == tags.SIGMD5:
        yield from ((0, header.binary(tag)),) if tag in header else ()
    elif tag == tags.REQUIRENAME:
        senses = header.numbers(tags.REQUIREFLAGS)
        for place, value in enumerate(header.strings(tag)):
            sense = senses[place] if place < len(senses) else 0
            if not sense & _ONLY_FOR_INSTALLING or sense & _ALSO_FOR_ERASING:
                yield place, value
    elif tag in _FILE_TRIGGERS:  # their place is that of the script
        scripts = header.numbers(_FILE_TRIGGERS[tag])
        yield from zip(scripts, header.strings(tag), strict=False)
    elif tag == tags.TRIGGERNAME:
        yield from _first_of_each(header.strings(tag))
    elif tag == tags.GROUP:
        yield 0, header.string(tag) if tag in header else b"Unknown"
    else:
        yield from enumerate(header.strings(tag))


def _with_names_inside(keys: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Yield keys, and behind boolean dependencies the names that are in them."""
    for place, value in keys:
        yield place, value
        if value.startswith(b"("):
            for name in sorted(set(names_in(as_text(value)))):
                yield place, name.encode()


def _first_of_each(values: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    seen: set[bytes] = set()
    for place, value in enumerate(values):
        if value not in seen:
            seen.add(value)
            yield place, value
