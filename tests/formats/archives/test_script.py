"""Lone scripts, and programs that are one file with an archive in it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from formats.core.entry import Kind
from formats.core.errors import UnsupportedError
from tests.formats.archives.support import files, listing, opened_tree, problem
from tests.images.volumes import reader_name


def _script(path: Path, first: str) -> Path:
    path.write_text(f"{first}\nprint 1\n")
    return path


@pytest.mark.parametrize(
    ("first", "interpreter", "program"),
    [
        ("#!/bin/sh", "/bin/sh", "/bin/sh"),
        ("#! /usr/bin/perl -w", "/usr/bin/perl", "/usr/bin/perl"),
        ("#!/usr/bin/env python3", "/usr/bin/env", "python3"),
        ("#!/usr/bin/env -S ruby --jit", "/usr/bin/env", "ruby"),
        ("#!/usr/bin/env LANG=C bash", "/usr/bin/env", "bash"),
        ("#!/usr/bin/env", "/usr/bin/env", "/usr/bin/env"),
        ("#!\t/bin/bash\t-e", "/bin/bash", "/bin/bash"),
    ],
)
def test_the_first_line_says_what_runs_it(
    tmp_path: Path, first: str, interpreter: str, program: str
) -> None:
    path = _script(tmp_path / "backup.sh", first)
    with opened_tree(path) as (tree, findings):
        assert tree.info.format == "script"
        assert tree.info.facts["interpreter"] == interpreter
        assert tree.info.facts["runs-with"] == program
        assert findings == []


def test_a_script_is_a_program_in_usr_local_bin(tmp_path: Path) -> None:
    rows = listing(_script(tmp_path / "backup.sh", "#!/bin/sh"))
    assert list(rows) == [b"", b"usr", b"usr/local", b"usr/local/bin", b"usr/local/bin/backup.sh"]
    assert rows[b"usr/local/bin/backup.sh"].mode == 0o755
    assert rows[b"usr/local/bin/backup.sh"].kind is Kind.FILE
    assert files(tmp_path / "backup.sh") == {
        b"usr/local/bin/backup.sh": (tmp_path / "backup.sh").read_bytes()
    }


def test_line_ends_of_windows_are_refused_with_the_way_out(tmp_path: Path) -> None:
    error = problem(_script(tmp_path / "x.sh", "#!/bin/sh\r"))
    assert isinstance(error, UnsupportedError)
    assert error.hint == "convert it with 'dos2unix'"


@pytest.mark.parametrize("first", ["#!", "#!   ", "#!\0/bin/sh", "#! /usr/bin/vmware", "# no"])
def test_what_names_no_interpreter_is_no_script(tmp_path: Path, first: str) -> None:
    assert reader_name(_script(tmp_path / "x", first)) != "script"


def test_a_zipapp_is_a_script(tmp_path: Path) -> None:
    path = tmp_path / "app.pyz"
    path.write_bytes(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(path, "a") as target:
        target.writestr("__main__.py", "print(1)")
    assert reader_name(path) == "zip"
    with opened_tree(path) as (tree, _):
        assert tree.info.format == "script"
        assert tree.info.facts["runs-with"] == "python3"
    assert files(path) == {b"usr/local/bin/app.pyz": path.read_bytes()}


def test_a_java_program_is_one_file_with_its_main_class(tmp_path: Path) -> None:
    path = tmp_path / "app.jar"
    with zipfile.ZipFile(path, "w") as target:
        target.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\r\nMain-Class: a.Main\r\n")
        target.writestr("a/Main.class", b"\xca\xfe\xba\xbe")
    with opened_tree(path) as (tree, _):
        assert tree.info.format == "jar"
        assert tree.info.facts["main-class"] == "a.Main"
    assert files(path) == {b"usr/local/lib/app.jar": path.read_bytes()}


def test_a_java_library_is_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "library.jar"
    with zipfile.ZipFile(path, "w") as target:
        target.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\r\n")
    assert set(files(path)) == {b"META-INF/MANIFEST.MF"}
