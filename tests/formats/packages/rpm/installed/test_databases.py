"""Tests of databases of installed packages, against rpm, SQLite and Berkeley DB."""

from __future__ import annotations

import hashlib
import re
import sqlite3
import struct
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.core.errors import ConvertError, CorruptError, LimitError, UnsupportedError
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.origin import Origin
from formats.core.source import FileSource
from formats.packages.rpm import tags
from formats.packages.rpm.header import Header
from formats.packages.rpm.installed.berkeley import read_berkeley
from formats.packages.rpm.installed.headers import BERKELEY, NDB, SQLITE, read_headers
from formats.packages.rpm.installed.ndb import read_ndb
from formats.packages.rpm.installed.sqlite import read_sqlite
from formats.packages.rpm.package import read_headers as headers_of
from formats.packages.rpm.package import version_of
from tests.images import rpm_ndb
from tests.images.rpm import EVERYTHING, rpmbuild, small_spec
from tests.support.programs import need, run

_ORIGIN = Origin(("database",))


@pytest.fixture(scope="module")
def rpms(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("rpms")
    specs = (EVERYTHING, small_spec("lib"), small_spec("other", "3-2"))
    return [rpmbuild(folder / str(number), spec) for number, spec in enumerate(specs)]


@pytest.fixture(scope="module")
def blobs(rpms: Sequence[Path]) -> list[bytes]:
    """Headers as databases have them."""
    found = []
    for path in rpms:
        source = FileSource(path)
        found.append(headers_of(source).header.blob)
        source.close()
    return found


def _names(name: bytes, data: bytes, log: bytes = b"") -> list[str]:
    found = read_headers(name, data, log, _ORIGIN, DEFAULT_LIMITS)
    return sorted(header.text(tags.NAME) for header in found)


# SQLite


def test_what_rpm_wrote_is_read(rpms: Sequence[Path], tmp_path: Path) -> None:
    need("rpm")
    options = ("--root", tmp_path, "--dbpath", "/db")
    run("rpm", *options, "-i", "--justdb", "--nodeps", "--noscripts", *rpms, timeout=60)
    data = (tmp_path / "db/rpmdb.sqlite").read_bytes()
    assert _names(SQLITE, data) == ["everything", "lib", "other"]


def _logged(folder: Path, blobs: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return a database with one package, and a log with the others, the last not committed."""
    path = folder / "rpmdb.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA page_size = 1024")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
    insert = "INSERT INTO Packages (blob) VALUES (?)"
    connection.execute(insert, (blobs[0],))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute(insert, (blobs[1],))
    connection.execute("PRAGMA cache_size = 1")  # so that pages are written before the commit
    connection.execute("BEGIN")
    for _ in range(40):
        connection.execute(insert, (blobs[2],))
    found = path.read_bytes(), path.with_name("rpmdb.sqlite-wal").read_bytes()
    connection.execute("ROLLBACK")
    connection.close()
    return found


def test_what_is_committed_in_a_log_counts(blobs: Sequence[bytes], tmp_path: Path) -> None:
    data, log = _logged(tmp_path, blobs)
    assert _names(SQLITE, data) == ["everything"]
    assert _names(SQLITE, data, log) == ["everything", "lib"]


def test_a_log_of_which_any_byte_is_wrong_counts_up_to_there(
    blobs: Sequence[bytes], tmp_path: Path
) -> None:
    """What SQLite itself makes of the same two files is the oracle."""
    data, log = _logged(tmp_path, blobs)
    for place in (4, 9, 17, 25, 33, 41, 49, 60, 500, 1100, len(log) - 5):
        damaged = bytearray(log)
        damaged[place] ^= 0x40
        folder = tmp_path / f"at-{place}"
        folder.mkdir()
        (folder / "x").write_bytes(data)
        (folder / "x-wal").write_bytes(damaged)
        connection = sqlite3.connect(folder / "x")
        try:
            expected = [row[0] for row in connection.execute("SELECT blob FROM Packages")]
        except sqlite3.Error:
            expected = []
        connection.close()
        try:
            found = [blob for _, blob in read_sqlite(data, bytes(damaged), _ORIGIN, DEFAULT_LIMITS)]
        except CorruptError:
            continue
        assert found == expected, place


def _sealed(frames: Sequence[tuple[int, int, bytes]]) -> bytes:
    """Return a log with right checksums; of each frame number, size after it, and page."""
    head = struct.pack(">6I", 0x377F0682, 3007000, len(frames[0][2]), 0, 1, 2)
    sums = _summed((0, 0), head)
    log = head + struct.pack(">II", *sums)
    for number, size, page in frames:
        frame = struct.pack(">II", number, size)
        sums = _summed(sums, frame + page)
        log += frame + struct.pack(">4I", 1, 2, *sums) + page
    return log


def _summed(sums: tuple[int, int], data: bytes) -> tuple[int, int]:
    first, second = sums
    for one, other in struct.iter_unpack("<II", data):
        first = (first + one + second) % (1 << 32)
        second = (second + other + first) % (1 << 32)
    return first, second


@pytest.mark.parametrize("number", [1 << 20, (1 << 32) - 1])
def test_a_log_does_not_make_a_database_huge(
    blobs: Sequence[bytes], tmp_path: Path, number: int
) -> None:
    log = _sealed([(number, (1 << 32) - 1, bytes(65536))])
    with pytest.raises(CorruptError, match="a page far behind its end"):
        list(read_sqlite(_sqlite(blobs, tmp_path), log, _ORIGIN, DEFAULT_LIMITS))


def test_a_table_that_is_a_program_is_ended(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "db")
    connection.execute(
        "CREATE VIEW Packages AS WITH RECURSIVE n(hnum) AS (SELECT 1 UNION ALL SELECT hnum + 1"
        " FROM n) SELECT hnum, x'00' AS blob FROM n WHERE hnum < 0"
    )
    connection.commit()
    connection.close()
    with pytest.raises(CorruptError, match="interrupted"):
        list(read_sqlite((tmp_path / "db").read_bytes(), b"", _ORIGIN, DEFAULT_LIMITS))


# Berkeley DB


def _berkeley(
    folder: Path, blobs: Sequence[bytes], *, page_bytes: int = 4096, order: str = "<"
) -> bytes:
    need("db_load")
    lines = ["VERSION=3", "format=bytevalue", "type=hash", f"db_pagesize={page_bytes}"]
    lines += [f"db_lorder={1234 if order == '<' else 4321}", "HEADER=END"]
    for number, blob in enumerate([bytes(4), *blobs]):
        lines += [f" {struct.pack(f'{order}I', number).hex()}", f" {blob.hex()}"]
    path = folder / "Packages"
    path.unlink(missing_ok=True)
    text = "\n".join([*lines, "DATA=END", ""]).encode()
    subprocess.run(["db_load", path], input=text, check=True, timeout=60)
    return path.read_bytes()


@pytest.mark.parametrize("page_bytes", [512, 4096, 65536])
@pytest.mark.parametrize("order", ["<", ">"])
def test_hash_tables_are_read_whatever_machine_wrote_them(
    blobs: Sequence[bytes], tmp_path: Path, page_bytes: int, order: str
) -> None:
    many = [blobs[number % 3] for number in range(60)]
    data = _berkeley(tmp_path, many, page_bytes=page_bytes, order=order)
    assert list(read_berkeley(data, _ORIGIN, DEFAULT_LIMITS)) == list(enumerate(many, 1))


def test_rpm_lists_the_same_packages_of_a_hash_table(
    blobs: Sequence[bytes], tmp_path: Path
) -> None:
    need("rpm")
    data = _berkeley(tmp_path, blobs)
    options = ("--dbpath", tmp_path, "--define", "_db_backend bdb_ro")
    listed = run("rpm", "-qa", *options, "--qf", "%{NAME}\n").stdout.decode().split()
    assert _names(BERKELEY, data) == sorted(listed) == ["everything", "lib", "other"]


def test_pages_that_are_free_are_not_read(blobs: Sequence[bytes], tmp_path: Path) -> None:
    table = bytearray(_berkeley(tmp_path, blobs))
    for page in range(4096, len(table), 4096):
        table[page + 25] = 0  # P_INVALID, as a page is marked that is given back
    assert list(read_berkeley(bytes(table), _ORIGIN, DEFAULT_LIMITS)) == []


# rpm's own


def test_the_packages_of_an_ndb_database_are_those_that_rpm_listed() -> None:
    headers = read_headers(NDB, rpm_ndb.database(), b"", _ORIGIN, DEFAULT_LIMITS)
    numbered = zip(read_ndb(rpm_ndb.database(), _ORIGIN, DEFAULT_LIMITS), headers, strict=True)
    found = []
    for (number, blob), header in numbered:
        covered = Header(blob, _ORIGIN).region_bytes(tags.HEADERIMMUTABLE)
        digest = hashlib.sha1(covered, usedforsecurity=False).hexdigest()
        found.append(f"{number} {header.text(tags.NAME)} {version_of(header)} {digest}")
    assert found == rpm_ndb.listed()


def test_an_ndb_database_has_room_for_slots_that_are_free() -> None:
    data = rpm_ndb.database()
    pages = int.from_bytes(data[12:16], "little")
    assert pages == 2
    assert len(_slots(data)) == len(rpm_ndb.listed()) < pages * 256 - 2


def _slots(data: bytes) -> list[int]:
    """Return where the slots of packages are, by their number."""
    used = (place for place in range(32, 8192, 16) if any(data[place + 4 : place + 8]))
    return sorted(used, key=lambda place: int.from_bytes(data[place + 4 : place + 8], "little"))


@pytest.mark.parametrize(
    ("part", "place", "value", "problem"),
    [
        ("file", 0, b"RpmQ", "is no database of packages"),
        ("file", 4, b"\1", "of version 1"),
        ("file", 12, b"\xff\xff\xff\xff", "has no room for"),
        ("slot", 0, b"Slat", "without its mark"),
        ("slot", 4, b"\x09", "number 9 twice"),
        ("slot", 8, b"\xff\xff\xff\xff", "blocks at block"),
        ("slot", 12, b"\1\0", "blocks at block"),
        ("slot", 12, b"\xff\xff\xff\xff", "lie on one another"),
        ("package", 0, b"BlbX", "is not where its slot says"),
        ("package", 4, b"\x09", "is not where its slot says"),
        ("package", 12, b"\1\0", "is not where its slot says"),
        ("package", 40, b"\xff", "has a wrong checksum"),
    ],
)
def test_what_makes_no_sense_in_it_is_named(
    part: str, place: int, value: bytes, problem: str
) -> None:
    data = bytearray(rpm_ndb.database())
    slot = _slots(bytes(data))[0]
    package = 16 * int.from_bytes(data[slot + 8 : slot + 12], "little")
    place += {"file": 0, "slot": slot, "package": package}[part]
    data[place : place + len(value)] = value
    with pytest.raises(ConvertError, match=re.escape(problem)):
        list(read_ndb(bytes(data), _ORIGIN, DEFAULT_LIMITS))


# all of them


def _sqlite(blobs: Sequence[bytes], folder: Path) -> bytes:
    connection = sqlite3.connect(folder / "db")
    connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
    connection.executemany("INSERT INTO Packages (blob) VALUES (?)", [(blob,) for blob in blobs])
    connection.commit()
    connection.close()
    return (folder / "db").read_bytes()


@pytest.fixture(scope="module")
def databases(
    blobs: Sequence[bytes], tmp_path_factory: pytest.TempPathFactory
) -> dict[bytes, bytes]:
    folder = tmp_path_factory.mktemp("databases")
    need("db_load")
    return {
        SQLITE: _sqlite(blobs, folder),
        NDB: rpm_ndb.database(),
        BERKELEY: _berkeley(folder, blobs),
    }


@pytest.mark.parametrize("name", [SQLITE, NDB, BERKELEY])
def test_more_packages_than_the_limit_are_refused(
    databases: dict[bytes, bytes], name: bytes
) -> None:
    with pytest.raises(LimitError, match="more than 2 packages"):
        list(read_headers(name, databases[name], b"", _ORIGIN, Limits(entries=2)))


@pytest.mark.parametrize("name", [SQLITE, NDB, BERKELEY])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_is_an_error_with_a_reason_or_no_matter(
    databases: dict[bytes, bytes], name: bytes, data: st.DataObject
) -> None:
    damaged = bytearray(databases[name])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(damaged) - 1) | st.integers(0, 600))
        damaged[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)) | st.just(len(damaged)))
    with suppress(ConvertError):
        list(read_headers(name, bytes(damaged[:cut]), b"", _ORIGIN, DEFAULT_LIMITS))


def test_a_chain_that_leads_into_itself_is_refused(databases: dict[bytes, bytes]) -> None:
    data = bytearray(databases[BERKELEY])
    chained = [page for page in range(0, len(data), 4096) if data[page + 25] == 7]
    for page in chained:
        struct.pack_into("<IIHH", data, page + 12, 0, page // 4096, 1, 1)
    with pytest.raises(ConvertError):
        list(read_headers(BERKELEY, bytes(data), b"", _ORIGIN, DEFAULT_LIMITS))


@pytest.mark.parametrize(
    ("place", "value", "error"),
    [
        (12, bytes(4), UnsupportedError),
        (24, b"\1", UnsupportedError),
        (25, b"\x09", CorruptError),
        (20, b"\1", CorruptError),
        (32, b"\xff\xff", CorruptError),
    ],
)
def test_other_files_of_berkeley_db_are_named(
    databases: dict[bytes, bytes], place: int, value: bytes, error: type[ConvertError]
) -> None:
    data = bytearray(databases[BERKELEY])
    data[place : place + len(value)] = value
    with pytest.raises(error):
        list(read_berkeley(bytes(data), _ORIGIN, DEFAULT_LIMITS))
