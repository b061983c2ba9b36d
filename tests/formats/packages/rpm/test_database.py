"""Tests of the database of installed packages, against the one that rpm writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from formats.core.errors import CorruptError
from formats.core.limits import DEFAULT_LIMITS
from formats.core.origin import Origin
from formats.core.source import FileSource
from formats.packages.rpm.database import rpmdb_sqlite
from formats.packages.rpm.files import files_of
from formats.packages.rpm.header import Header
from formats.packages.rpm.package import describe, read_package
from tests.formats.packages.rpm.support import installed
from tests.images.rpm import EVERYTHING, rpmbuild, small_spec
from tests.support.programs import corpus, need, run

_AT = 1_700_000_000
_CORPUS = (
    "rpmlint__ngircd-22-2.fc22.x86_64.rpm",
    "rpmlint__xtables-addons-kmp-default-2.14_k4.12.14_lp151.16-lp151.3.10.x86_64.rpm",
    "rpm__hlinktest-1.0-1.noarch.rpm",
    "rpm__hello-2.0-1.x86_64-signed.rpm",
    "rpm__imatest-1.0-1.fc34.noarch.rpm",
    "rpm__obsolete-foo-1.0-1.noarch.rpm",
    "rpm-rs__v4__rpm-basic-with-rsa4096-2.3.4-5.el9.noarch.rpm",
    "rpm-rs__v6__rpm-rich-deps-1.0-1.noarch.rpm",
    "rpm-rs__v6__rpm-scriptlets-1.0-1.noarch.rpm",
    "rpmlint__python39-evtx-0.7.4-29.1.noarch.rpm",
)
_DIFFERS = frozenset({"Packages", "Installtid", "sqlite_sequence", "sqlite_stat1"})
"""Tables that hold when packages were installed, or what SQLite counts for itself."""


def _records(packages: Sequence[Path]) -> list[bytes]:
    found = []
    for path in packages:
        source = FileSource(path)
        found.append(read_package(source, DEFAULT_LIMITS)[0].record)
        source.close()
    return found


def _write(root: Path, packages: Sequence[Path]) -> Path:
    folder = root / "var/lib/rpm"
    folder.mkdir(parents=True)
    (folder / "rpmdb.sqlite").write_bytes(rpmdb_sqlite(_records(packages), installed_at=_AT))
    return folder / "rpmdb.sqlite"


def _rpm(root: Path, *words: str) -> str:
    need("rpm")
    done = run("rpm", "--root", root, "--dbpath", "/var/lib/rpm", *words, check=False)
    return (done.stdout + done.stderr).decode("utf-8", "backslashreplace")


def _rows(database: Path) -> dict[str, set[tuple[int, int, bytes]]]:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    connection.text_factory = bytes
    tables = [
        row[0].decode()
        for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    ]
    found = {
        table: set(connection.execute(f"SELECT hnum, idx, key FROM '{table}'"))  # noqa: S608
        for table in tables
        if table not in _DIFFERS
    }
    connection.close()
    return found


def _schema(database: Path) -> set[tuple[str, str]]:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite%'")
    found = set(rows)
    connection.close()
    return found


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("database")
    return [
        rpmbuild(folder / "everything", EVERYTHING),
        rpmbuild(folder / "second", small_spec("second", "2-1", "Requires: everything")),
    ]


def test_the_database_has_the_rows_that_rpm_writes(built: list[Path], tmp_path: Path) -> None:
    theirs = installed(tmp_path / "theirs", built)
    ours = _write(tmp_path / "ours", built)
    assert _schema(ours) == _schema(theirs)
    assert _rows(ours) == _rows(theirs)


def test_packages_of_others_have_the_rows_that_rpm_writes(tmp_path: Path) -> None:
    packages = [corpus(f"rpm/{name}") for name in _CORPUS]
    theirs = installed(tmp_path / "theirs", packages)
    ours = _write(tmp_path / "ours", packages)
    assert _rows(ours) == _rows(theirs)


def test_rpm_tells_of_packages_what_it_tells_of_those_that_it_installed(
    built: list[Path], tmp_path: Path
) -> None:
    installed(tmp_path / "theirs", built)
    _write(tmp_path / "ours", built)
    for question in (
        ["-qa", "--qf", "%{NEVRA} %{SUMMARY} %{SIGMD5} %{SHA256HEADER} %{ARCHIVESIZE}\n"],
        ["-ql", "--state", "everything"],
        ["-q", "--scripts", "--triggers", "--filetriggers", "everything"],
        ["-q", "--whatrequires", "everything"],
        ["-q", "--whatprovides", "mail-transport"],
        ["-qf", "/usr/share/everything/numbers"],
        ["-q", "--requires", "--provides", "--conflicts", "--obsoletes", "everything"],
    ):
        answers = [_rpm(tmp_path / side, *question) for side in ("ours", "theirs")]
        assert answers[0] == answers[1]
        assert "everything" in answers[0] or "second" in answers[0]


def test_rpm_verifies_files_against_the_database(built: list[Path], tmp_path: Path) -> None:
    second = built[1]
    _write(tmp_path, [second])
    run("sh", "-ec", 'rpm2archive -n - < "$0" | tar -xpC "$1"', second, tmp_path)
    assert _rpm(tmp_path, "-V", "--nodeps", "second") == ""
    (tmp_path / "usr/share/second/file").write_text("other")
    assert "S.5" in _rpm(tmp_path, "-V", "--nodeps", "second")


def test_a_package_of_rpm_3_can_be_asked_for_its_files(tmp_path: Path) -> None:
    _write(tmp_path, [corpus("rpm/rpm__hello-1.0-1.x86_64.rpm-v3.rpm")])
    listed = _rpm(tmp_path, "-qa", "-l").split()
    assert "/usr/local/bin/hello" in listed
    assert _rpm(tmp_path, "-qf", "/usr/local/bin/hello").strip() == "hello-1.0-1.x86_64"


def test_the_same_packages_give_the_same_bytes(built: list[Path]) -> None:
    records = _records(built)
    one = rpmdb_sqlite(records, installed_at=_AT)
    assert one == rpmdb_sqlite(records, installed_at=_AT)
    assert one != rpmdb_sqlite(records, installed_at=_AT + 1)


def test_headers_that_rpm_keeps_are_described_as_those_of_packages(
    built: list[Path], tmp_path: Path
) -> None:
    database = installed(tmp_path / "root", built)
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    blobs = [row[0] for row in connection.execute("SELECT blob FROM Packages ORDER BY hnum")]
    connection.close()
    for blob, path in zip(blobs, built, strict=True):
        source = FileSource(path)
        package, paths = read_package(source, DEFAULT_LIMITS)
        source.close()
        header = Header(blob, Origin(("db",)))
        files = files_of(header, DEFAULT_LIMITS)
        kept = describe(header, files)
        assert tuple(file.path for file in files) == paths
        for name in ("name", "version", "requirements", "provides", "conflicts", "digests"):
            assert getattr(kept, name) == getattr(package, name)


def test_a_record_that_is_no_header_is_an_error() -> None:
    with pytest.raises(CorruptError):
        rpmdb_sqlite([bytes(6) + b"\1\1"], installed_at=_AT)
