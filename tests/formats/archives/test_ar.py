"""Ar archives, against those that GNU ar and bsdtar write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from formats.core.errors import CorruptError, LimitError, UnsupportedError
from formats.core.limits import Limits
from tests.formats.archives.support import files, listing, problem, told
from tests.images import debs
from tests.images.volumes import reader_name
from tests.support.listing import difference, kernel_listing
from tests.support.programs import need, run

NAMES = ("short.o", "exactly-15-byte", "sixteen-byte-nam", "a name with blanks", "n" * 200)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """Files of odd and even sizes."""
    top = tmp_path / "top"
    top.mkdir()
    for number, name in enumerate(NAMES):
        (top / name).write_bytes(name.encode() * (number + 1))
        (top / name).chmod(0o640 + number % 2)
        os.utime(top / name, (number, 1_600_000_000 + number))
    return top


@pytest.mark.parametrize("command", ["ar rcU", "bsdtar --format=arbsd -cf"])
def test_members_are_what_was_packed(top: Path, tmp_path: Path, command: str) -> None:
    program, *options = command.split()
    need(program)
    run(program, *options, tmp_path / "x.a", *NAMES, cwd=top)
    assert reader_name(tmp_path / "x.a") == "ar"
    expected = kernel_listing(top)
    found = listing(tmp_path / "x.a")
    del expected[b""], found[b""]  # the archive has no folder
    assert difference(expected, found) == []


def test_a_table_of_symbols_is_left_out_and_told(tmp_path: Path) -> None:
    need("ar", "cc")
    (tmp_path / "x.c").write_text("int answer = 42;\n")
    run("cc", "-c", "x.c", cwd=tmp_path)
    run("ar", "rcs", "x.a", "x.o", cwd=tmp_path)
    assert files(tmp_path / "x.a") == {b"x.o": (tmp_path / "x.o").read_bytes()}
    assert any(finding.startswith("symbol-table: dropped /") for finding in told(tmp_path / "x.a"))


def test_of_two_members_with_one_name_the_last_counts(tmp_path: Path) -> None:
    (tmp_path / "x.a").write_bytes(debs.ar((b"x", b"first"), (b"x", b"last")))
    assert files(tmp_path / "x.a") == {b"x": b"last"}


def test_a_thin_archive_is_named(tmp_path: Path) -> None:
    need("ar")
    (tmp_path / "x").write_text("x")
    run("ar", "rcT", "x.a", "x", cwd=tmp_path)
    error = problem(tmp_path / "x.a")
    assert isinstance(error, UnsupportedError)
    assert "is a thin ar archive" in str(error)


@pytest.mark.parametrize("name", [b"../x", b"..", b"#1/4"])
def test_names_that_lead_outside_are_refused(tmp_path: Path, name: bytes) -> None:
    (tmp_path / "x.a").write_bytes(debs.ar((name, b"../x")))
    assert isinstance(problem(tmp_path / "x.a"), CorruptError)


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (b"x/".ljust(48) + b"10".ljust(10) + b"`\n", "has 10 bytes, and 4 are left"),
        (b"x/".ljust(48) + b"-1".ljust(10) + b"`\n", "has the size '-1"),
        (b"x/".ljust(48) + b"".ljust(10) + b"`\n", "has the size"),
        (b"x/".ljust(48) + b"4".ljust(10) + b"xx", "has no end"),
        (b"x/".ljust(16) + b"yesterday".ljust(32) + b"4".ljust(10) + b"`\n", "has the time"),
        (b"x/".ljust(40) + b"100888".ljust(8) + b"4".ljust(10) + b"`\n", "has the mode"),
        (b"/7".ljust(48) + b"4".ljust(10) + b"`\n", "the table of names"),
        (b"#1/9".ljust(48) + b"4".ljust(10) + b"`\n", "of 4 bytes has a name of 9"),
        (b"x/".ljust(20), "lies outside of the"),
    ],
)
def test_headers_that_cannot_be_right_are_refused(tmp_path: Path, header: bytes, text: str) -> None:
    (tmp_path / "x.a").write_bytes(b"!<arch>\n" + header + b"1234")
    error = problem(tmp_path / "x.a")
    assert isinstance(error, CorruptError)
    assert text in str(error)


@pytest.mark.parametrize("place", [1, 3, 9])
def test_a_name_that_the_table_does_not_end_is_refused(tmp_path: Path, place: int) -> None:
    (tmp_path / "x.a").write_bytes(debs.ar((b"//", b"abc"), (b"/%d" % place, b"")))
    assert (
        f"the table of names of the ar archive has none at {place}"
        in problem(tmp_path / "x.a").message
    )


def test_too_many_names_and_members_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.a").write_bytes(debs.ar((b"//", bytes(2 << 20))))
    assert isinstance(problem(tmp_path / "x.a"), LimitError)
    (tmp_path / "x.a").write_bytes(debs.ar(*((b"%d" % number, b"") for number in range(4))))
    assert isinstance(problem(tmp_path / "x.a", Limits(entries=3)), LimitError)
