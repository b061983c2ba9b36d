"""Trees of zip archives, against the folders that Info-ZIP, bsdtar and 7-Zip packed."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from formats.core.entry import Kind
from formats.core.errors import CorruptError, EncryptedError, UnsupportedError
from formats.core.limits import MIB
from formats.core.tree import OpenableTree
from tests.formats.archives.support import files, listing, opened_tree, problem, told
from tests.images.volumes import reader_name
from tests.support.listing import Row, difference, kernel_listing
from tests.support.programs import need, run

STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with everything that zip archives can hold."""
    top = tmp_path_factory.mktemp("zip") / "top"
    (top / "app/bin").mkdir(parents=True)
    (top / "app/empty").mkdir(mode=0o700)
    (top / "app/bin/run").write_bytes(b"#!/bin/sh\n" + b"echo x\n" * 40_000)
    (top / "app/bin/run").chmod(0o4755)
    (top / "app/current").symlink_to("../app/bin")
    (top / "dangling").symlink_to("/nowhere")
    (top / "nothing").touch(mode=0o600)
    (top / "noise").write_bytes(os.urandom(3 * MIB))
    (top / "zeros").write_bytes(bytes(5 * MIB))
    (top / "grüße – 漢字.txt").write_text("text")
    Path(os.fsdecode(os.fsencode(top) + b"/latin-\xe4")).write_bytes(b"latin")
    (top / "back\\slash").write_text("a name on Unix")
    os.utime(top / "nothing", (0, 1_700_000_001))
    for folder, names, found in os.walk(top, topdown=False):
        for path in [Path(folder, name) for name in (*names, *found)]:
            os.chown(path, 1234, 70_000, follow_symlinks=False)
            os.utime(path, (0, int(path.lstat().st_mtime)), follow_symlinks=False)
    return top


def _expected(top: Path, *, owners: bool, root: Row) -> dict[bytes, Row]:
    """Return the listing of a folder as zip archives hold it."""
    rows = {path: replace(row, xattrs=()) for path, row in kernel_listing(top).items()}
    if not owners:
        rows = {path: replace(row, uid=0, gid=0) for path, row in rows.items()}
    rows[b""] = root
    return rows


def test_an_archive_of_info_zip_gives_what_was_packed(top: Path, tmp_path: Path) -> None:
    need("zip")
    run("zip", "-qry", tmp_path / "x.zip", ".", cwd=top)
    found = listing(tmp_path / "x.zip")
    assert difference(_expected(top, owners=True, root=found[b""]), found) == []


def test_it_gives_the_same_where_it_was_packed_into_a_pipe(top: Path, tmp_path: Path) -> None:
    """Sizes are behind the content then, and Zip64 is used to be safe."""
    need("zip")
    run("sh", "-c", 'cd "$1" && zip -qr - noise zeros | cat > "$2"', "sh", top, tmp_path / "x.zip")
    flags = struct.unpack_from("<H", (tmp_path / "x.zip").read_bytes(), 6)[0]
    assert flags & 8
    names = ("noise", "zeros")
    assert files(tmp_path / "x.zip") == {name.encode(): (top / name).read_bytes() for name in names}


def test_an_archive_of_bsdtar_gives_what_was_packed(top: Path, tmp_path: Path) -> None:
    need("bsdtar")
    run("bsdtar", "--format=zip", "-cf", tmp_path / "x.zip", "-C", top, ".")
    found = listing(tmp_path / "x.zip")
    expected = _expected(top, owners=True, root=found[b""])
    assert difference(expected, found) == []


@pytest.mark.parametrize("method", ["Copy", "Deflate", "BZip2", "LZMA"])
def test_members_of_every_method_that_7_zip_writes_are_read(
    top: Path, tmp_path: Path, method: str
) -> None:
    need("7z")
    names = ["noise", "zeros", "app/bin/run"]
    run("7z", "a", "-tzip", f"-mm={method}", tmp_path / "x.zip", *names, "nothing", cwd=top)
    assert files(tmp_path / "x.zip") == {name.encode(): (top / name).read_bytes() for name in names}


@pytest.mark.parametrize("method", ["Deflate64", "PPMd"])
def test_members_of_other_methods_are_refused_by_name(
    top: Path, tmp_path: Path, method: str
) -> None:
    need("7z")
    run("7z", "a", "-tzip", f"-mm={method}", tmp_path / "x.zip", "zeros", cwd=top)
    error = problem(tmp_path / "x.zip")
    assert isinstance(error, UnsupportedError)
    assert f"'zeros' is compressed with {method}" in error.message


def test_members_in_zstandard_and_xz_are_read(tmp_path: Path) -> None:
    need("zstd", "xz")
    content = b"some text\n" * 5000
    (tmp_path / "raw").write_bytes(content)
    for program, number in (("zstd", 93), ("zstd", 20), ("xz", 95)):
        packed = run(program, "-c", tmp_path / "raw").stdout
        path = _stored_as(tmp_path / "x.zip", packed, content, number)
        assert files(path) == {b"file": content}


def _stored_as(path: Path, packed: bytes, content: bytes, method: int) -> Path:
    """Write an archive of one file that another program has compressed."""
    with zipfile.ZipFile(path, "w", STORED) as target:
        target.writestr("file", packed)
    data = bytearray(path.read_bytes())
    directory = data.index(b"PK\x01\x02")
    for at in (8, directory + 10):
        struct.pack_into("<H", data, at, method)
        struct.pack_into("<L", data, at + 6, zlib.crc32(content))
        struct.pack_into("<L", data, at + 14, len(content))
    path.write_bytes(data)
    return path


def test_encrypted_members_are_refused(tmp_path: Path, top: Path) -> None:
    need("zip", "7z")
    run("zip", "-qP", "secret", tmp_path / "a.zip", "zeros", cwd=top)
    run("7z", "a", "-tzip", "-psecret", "-mem=AES256", tmp_path / "b.zip", "zeros", cwd=top)
    for name, kind in (("a.zip", "a password"), ("b.zip", "AES")):
        error = problem(tmp_path / name)
        assert isinstance(error, EncryptedError)
        assert f"'zeros' is encrypted with {kind}" in error.message


def test_parts_of_an_archive_are_refused(tmp_path: Path, top: Path) -> None:
    need("zip")
    run("zip", "-qs", "1m", tmp_path / "x.zip", "noise", cwd=top)
    error = problem(tmp_path / "x.zip")
    assert isinstance(error, UnsupportedError)
    assert "is one part of a zip archive in several" in error.message
    assert reader_name(tmp_path / "x.z01") == "zip"


def _archive(
    path: Path, *members: tuple[str, bytes], mode: int = 0o644, method: int = DEFLATED
) -> Path:
    with zipfile.ZipFile(path, "w", method) as target:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            info.external_attr = mode << 16
            info.compress_type = method
            target.writestr(info, content)
    return path


def test_a_self_extracting_archive_is_read_and_its_program_not(tmp_path: Path) -> None:
    archive = _archive(tmp_path / "a.zip", ("file", b"content"))
    program = b"MZ" + bytes(2 * MIB)
    (tmp_path / "x.exe").write_bytes(program + archive.read_bytes())
    assert files(tmp_path / "x.exe") == {b"file": b"content"}
    assert told(tmp_path / "x.exe") == [
        "leading-data: x.exe: 2,097,154 bytes are in front of the archive; not run, not read"
    ]
    need("zip")
    run("zip", "-qA", tmp_path / "x.exe")  # with offsets that count from the file's start
    assert files(tmp_path / "x.exe") == {b"file": b"content"}


def test_a_disk_with_an_archive_in_its_last_sectors_is_none(tmp_path: Path) -> None:
    archive = _archive(tmp_path / "a.zip", ("file", b"content")).read_bytes()
    (tmp_path / "disk").write_bytes(bytes(MIB - len(archive)) + archive)
    assert reader_name(tmp_path / "disk") is None


def test_comments_and_what_follows_are_no_matter(tmp_path: Path) -> None:
    path = _archive(tmp_path / "x.zip", ("file", b"content"))
    with zipfile.ZipFile(path, "a") as target:
        target.comment = b"c" * 65_535
    assert files(path) == {b"file": b"content"}
    assert told(path) == []
    with path.open("ab") as file:
        file.write(b"more")
    path = _archive(tmp_path / "y.zip", ("file", b"content"))
    with path.open("ab") as file:
        file.write(b"more")
    assert told(path) == ["trailing-data: y.zip: 4 bytes follow the zip archive; not read"]


def test_an_archive_in_the_comment_of_another_is_refused(tmp_path: Path) -> None:
    inner = _archive(tmp_path / "a.zip", ("evil", b"x")).read_bytes()
    path = _archive(tmp_path / "x.zip", ("good", b"x"))
    with zipfile.ZipFile(path, "a") as target:
        target.comment = inner
    error = problem(path)
    assert isinstance(error, CorruptError)
    assert "has two ends, each of another archive" in error.message


def test_zip64_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", allowZip64=True) as target:
        with target.open("big", "w", force_zip64=True) as file:
            file.write(b"content")
        for number in range(65_600):
            target.writestr(f"{number}", b"")
    with opened_tree(tmp_path / "x.zip") as (tree, _):
        assert sum(1 for _ in tree.entries()) == 65_600 + 2
        (big,) = [entry for entry in tree.entries() if entry.path == b"big"]
        assert b"".join(tree.read(big)) == b"content"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../escaped", "leads out of the archive"),
        ("a/../../escaped", "leads out of the archive"),
        ("..\\escaped", None),
    ],
)
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str, reason: str | None) -> None:
    path = _archive(tmp_path / "x.zip", (name, b"x"))
    if reason is None:  # on Unix, a backslash is a letter
        assert files(path) == {b"..\\escaped": b"x"}
    else:
        assert reason in problem(path).message


def _by_windows(path: Path, name: str) -> Path:
    with zipfile.ZipFile(path, "w") as target:
        info = zipfile.ZipInfo("x" * len(name))
        info.create_system = 0
        target.writestr(info, b"x")
    path.write_bytes(path.read_bytes().replace(b"x" * len(name), name.encode()))
    return path


def test_backslashes_of_windows_are_slashes(tmp_path: Path) -> None:
    path = _by_windows(tmp_path / "x.zip", "folder\\file")
    assert files(path) == {b"folder/file": b"x"}
    assert told(path)[0] == (
        "zip-backslashes: changed folder\\\\file (has backslashes where slashes belong)"
    )
    assert "leads out" in problem(_by_windows(tmp_path / "y.zip", "..\\..\\file")).message


def test_a_member_below_a_symlink_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as target:
        link = zipfile.ZipInfo("link")
        link.create_system = 3
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        target.writestr(link, "/etc")
        target.writestr("link/passwd", "x")
    assert "leads through the symlink 'link'" in problem(path).message


def test_devices_have_no_numbers_and_are_left_out(tmp_path: Path) -> None:
    path = _archive(tmp_path / "x.zip", ("null", b""), ("file", b"x"), mode=stat.S_IFCHR | 0o666)
    with opened_tree(path) as (tree, findings):
        assert [entry.path for entry in tree.entries()] == [b""]
        assert findings[0].rule == "zip-device"


def test_folders_and_times_of_dos_are_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as target:
        info = zipfile.ZipInfo("read-only", (1999, 12, 31, 23, 59, 58))
        info.create_system, info.external_attr = 0, 0x01
        target.writestr(info, b"x")
        info = zipfile.ZipInfo("folder", (1999, 12, 31, 0, 0, 0))
        info.create_system, info.external_attr = 0, 0x10
        target.writestr(info, b"")
    rows = listing(tmp_path / "x.zip")
    assert (rows[b"read-only"].mode, rows[b"read-only"].mtime_ns) == (0o444, 946_684_798 * 10**9)
    assert rows[b"folder"].kind is Kind.FOLDER


def test_a_name_in_an_unknown_encoding_is_kept_and_told(tmp_path: Path) -> None:
    path = _archive(tmp_path / "x.zip", ("hhh", b"x"))
    path.write_bytes(path.read_bytes().replace(b"hhh", b"h\x94h"))
    assert files(path) == {b"h\x94h": b"x"}
    assert told(path) == [
        "zip-name-encoding: h\\x94h: is no UTF-8, and no encoding is stated: kept"
    ]


def test_stored_files_are_opened_in_place_and_others_copied(tmp_path: Path) -> None:
    for method, is_copied in ((STORED, False), (DEFLATED, True)):
        path = _archive(tmp_path / "x.zip", ("file", b"0123456789" * 100), method=method)
        with opened_tree(path) as (tree, findings):
            assert isinstance(tree, OpenableTree)
            source = tree.open(list(tree.entries())[1])
            assert bytes(source.read_at(5, 10)) == b"5678901234"
            assert [finding.rule for finding in findings] == ["spooled"] * is_copied


def test_files_beside_what_they_are_for_in_macos_are_left_out(tmp_path: Path) -> None:
    path = _archive(tmp_path / "x.zip", ("a", b"x"), ("__MACOSX/._a", b"y"))
    assert files(path) == {b"a": b"x"}
    assert told(path)[0].startswith("mac-metadata: dropped __MACOSX/._a")
