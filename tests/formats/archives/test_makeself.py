"""Self-extracting scripts, as makeself makes them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from formats.core.errors import CorruptError, EncryptedError, UnsupportedError
from tests.formats.archives.support import files, opened_tree, problem, told
from tests.images.volumes import opened, patch, reader_name
from tests.support.programs import need, run


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("makeself") / "top"
    (top / "bin").mkdir(parents=True)
    (top / "bin/tool").write_text("#!/bin/sh\n")
    (top / "setup.sh").write_text("touch /canary\n")
    (top / "setup.sh").chmod(0o755)
    return top


def pack(top: Path, path: Path, *options: str) -> Path:
    need("makeself")
    run("makeself", *options, top, path, "A label", "./setup.sh", "--now")
    return path


@pytest.mark.parametrize("method", ["gzip", "bzip2", "xz", "zstd", "nocomp", "lz4"])
def test_what_was_packed_is_read(top: Path, tmp_path: Path, method: str) -> None:
    path = pack(top, tmp_path / "x.run", f"--{method}")
    assert reader_name(path) == "makeself"
    assert files(path) == {
        b"bin/tool": b"#!/bin/sh\n",
        b"setup.sh": b"touch /canary\n",
    }


def test_no_script_is_run_and_that_is_said(top: Path, tmp_path: Path) -> None:
    path = pack(top, tmp_path / "x.run")
    assert told(path)[0] == (
        "self-extracting: x.run: is a script that unpacks itself; read as an archive, not run, nor"
        " is ./setup.sh, which it would start"
    )
    assert not Path("/canary").exists()
    with opened(path) as artifact:
        facts = artifact.nodes[0].facts
    assert (facts["label"], facts["starts"], facts["target"]) == ("A label", "./setup.sh", "top")


def test_files_that_were_appended_are_there(top: Path, tmp_path: Path) -> None:
    path = pack(top, tmp_path / "x.run")
    (tmp_path / "more").mkdir()
    (tmp_path / "more/extra").write_text("extra")
    run("makeself", "--append", tmp_path / "more", path)
    assert files(path)[b"extra"] == b"extra"


@pytest.mark.parametrize("options", [(), ("--sha256",), ("--nomd5",)])
def test_damage_is_found_by_the_checksums_or_the_compression(
    top: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    path = pack(top, tmp_path / "x.run", *options)
    size = path.stat().st_size
    patch(path, size - 20, bytes([path.read_bytes()[-20] ^ 0xFF]))
    error = problem(path)
    assert isinstance(error, CorruptError)
    if "--nomd5" not in options:
        name = "SHA" if options else "MD5"
        assert f"another checksum ({name})" in error.message


def test_a_script_cut_short_is_an_error(top: Path, tmp_path: Path) -> None:
    path = pack(top, tmp_path / "x.run")
    data = path.read_bytes()
    for size in (len(data) - 1, len(data) - 100, 3000):
        path.write_bytes(data[:size])
        error = problem(path)
        assert isinstance(error, CorruptError)
        assert "is cut short" in error.message or size == 3000


def test_encrypted_archives_are_refused(top: Path, tmp_path: Path) -> None:
    need("openssl")
    path = pack(top, tmp_path / "x.run", "--ssl-encrypt", "--ssl-passwd", "secret")
    assert isinstance(problem(path), EncryptedError)


def test_archives_in_base64_are_refused_by_name(top: Path, tmp_path: Path) -> None:
    error = problem(pack(top, tmp_path / "x.run", "--base64"))
    assert isinstance(error, UnsupportedError)
    assert "base64" in error.message


def _old(path: Path, payload: bytes, *, lines: int = 7, size: int | None = None) -> Path:
    """Write the marks of a script of version 2.1, with an archive behind it."""
    script = (
        "#!/bin/sh\n"
        "# This script was generated using Makeself 2.1.5\n"
        f'MD5="{hashlib.md5(payload, usedforsecurity=False).hexdigest()}"\n'
        'label="old"\n'
        f'filesizes="{len(payload) if size is None else size}"\n'
        f'offset=`head -n {lines} "$0" | wc -c | tr -d " "`\n'
        "exit 0\n"
    )
    path.write_bytes(script.encode() + payload)
    return path


def test_scripts_of_old_versions_are_read(top: Path, tmp_path: Path) -> None:
    need("tar")
    run("tar", "-czf", tmp_path / "x.tgz", "-C", top, ".")
    path = _old(tmp_path / "x.run", (tmp_path / "x.tgz").read_bytes())
    assert set(files(path)) == {b"bin/tool", b"setup.sh"}


@pytest.mark.parametrize(("lines", "size"), [(900_000, 10), (7, 10**17), (7, 10**30)])
def test_numbers_that_cannot_be_are_refused(tmp_path: Path, lines: int, size: int) -> None:
    path = _old(tmp_path / "x.run", b"payload", lines=lines, size=size)
    assert isinstance(problem(path), CorruptError)


def test_digits_that_are_no_decimal_ones_are_no_numbers(tmp_path: Path) -> None:
    path = _old(tmp_path / "x.run", b"payload")
    text = path.read_bytes()
    path.write_bytes(text.replace(b'filesizes="7"', 'filesizes="²"'.encode()))
    assert "cut short" in problem(path).message
    path.write_bytes(text.replace(b"offset=", 'skip="²"\noffset='.encode()))
    assert "of a makeself that is not known" in problem(path).message


def test_a_script_of_no_known_version_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x.run"
    path.write_text("#!/bin/sh\n# This script was generated using Makeself 99\nexit 1\n")
    assert "of a makeself that is not known" in problem(path).message
    with pytest.raises(UnsupportedError), opened_tree(path):
        pass
