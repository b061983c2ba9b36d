"""Trees of cpio archives, against the folders that GNU cpio and bsdtar packed."""

from __future__ import annotations

import gzip
import os
import random
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from formats.core.entry import Kind
from formats.core.errors import ConvertError, CorruptError, LimitError, UnsupportedError
from formats.core.limits import DEFAULT_LIMITS, KIB, MIB, Limits
from formats.core.tree import OpenableTree
from tests.formats.archives import support
from tests.formats.archives.support import (
    files,
    in_whole_seconds,
    listing,
    opened_tree,
    problem,
    told,
)
from tests.images.volumes import patch, reader_name
from tests.support.listing import Row, difference, kernel_listing
from tests.support.programs import need, run

FORMS = ("newc", "crc", "odc", "bin")
EACH_FORM = pytest.mark.parametrize("form", FORMS)
COMPRESSIONS = ("gzip", "bzip2", "xz", "lzma", "zstd", "lz4")


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = support.everything(tmp_path_factory.mktemp("cpio") / "top")
    os.utime(top / "empty", (0, 0))  # times are unsigned
    return top


def pack(top: Path, archive: Path, form: str = "newc") -> Path:
    need("cpio", "find")
    script = 'cd "$1" && find . -print0 | sort -z | cpio --quiet -0 -o -H "$3" > "$2"'
    run("sh", "-c", script, "sh", top, archive, form)
    return archive


def expected(top: Path, form: str) -> dict[bytes, Row]:
    rows = in_whole_seconds(kernel_listing(top))
    if form in {"odc", "bin"}:  # both have 8 bits for each number of a device
        rows.pop(b"disk")
    return rows


@EACH_FORM
def test_an_archive_gives_what_was_packed(top: Path, tmp_path: Path, form: str) -> None:
    found = listing(pack(top, tmp_path / "x.cpio", form))
    if form in {"odc", "bin"}:
        assert found.pop(b"disk").kind is Kind.BLOCK_DEVICE
    assert difference(expected(top, form), found) == []


@pytest.mark.parametrize("form", ["newc", "odc"])
def test_an_archive_of_bsdtar_gives_what_was_packed(top: Path, tmp_path: Path, form: str) -> None:
    need("bsdtar")
    run("bsdtar", f"--format={form}", "-cf", tmp_path / "x.cpio", "-C", top, ".")
    found = listing(tmp_path / "x.cpio")
    if form == "odc":
        assert found.pop(b"disk").kind is Kind.BLOCK_DEVICE
    assert difference(expected(top, form), found) == []


def test_words_of_the_other_byte_order_are_read(top: Path, tmp_path: Path) -> None:
    archive = pack(top / "usr", tmp_path / "little", "bin")
    data = bytearray(archive.read_bytes())
    position = 0
    while position + 26 <= len(data) and data[position : position + 2] == b"\xc7\x71":
        name = int.from_bytes(data[position + 20 : position + 22], "little")
        high = int.from_bytes(data[position + 22 : position + 24], "little")
        size = high << 16 | int.from_bytes(data[position + 24 : position + 26], "little")
        for at in range(position, position + 26, 2):
            data[at], data[at + 1] = data[at + 1], data[at]
        position += 26 + name + name % 2 + size + size % 2
    (tmp_path / "big").write_bytes(data)
    assert reader_name(tmp_path / "big") == "cpio"
    assert listing(tmp_path / "big") == listing(archive)


@pytest.mark.parametrize("program", COMPRESSIONS)
def test_an_initramfs_is_all_of_its_archives(top: Path, tmp_path: Path, program: str) -> None:
    """Microcode comes first and uncompressed; what is compressed follows after zeros."""
    early = tmp_path / "early"
    (early / "kernel/x86/microcode").mkdir(parents=True)
    (early / "kernel/x86/microcode/GenuineIntel.bin").write_bytes(b"microcode" * 1000)
    first = pack(early, tmp_path / "first").read_bytes()
    need(program)
    main = run(program, "-c", pack(top, tmp_path / "main")).stdout
    path = tmp_path / "initrd.img"
    path.write_bytes(first + bytes(-len(first) % 512 + 512) + main)
    found = listing(path)
    for name in (b"kernel", b"kernel/x86", b"kernel/x86/microcode"):
        assert found.pop(name).kind is Kind.FOLDER
    assert found.pop(b"kernel/x86/microcode/GenuineIntel.bin").size == 9000
    assert difference(expected(top, "newc"), found) == []
    with opened_tree(path) as (tree, _):
        assert tree.info.facts == {"archives": "2", "microcode": "for early loading"}


def test_links_do_not_reach_from_one_archive_into_the_next(tmp_path: Path) -> None:
    """Each archive numbers its files anew."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}-a").write_text(name)
        os.link(tmp_path / name / f"{name}-a", tmp_path / name / f"{name}-b")
    need("cpio")
    script = 'cd "$1" && find . | sort | cpio --quiet --reproducible -o -H newc > "$2"'
    for name in ("one", "two"):
        run("sh", "-c", script, "sh", tmp_path / name, tmp_path / f"{name}.cpio")
    data = [(tmp_path / f"{name}.cpio").read_bytes() for name in ("one", "two")]
    (tmp_path / "both").write_bytes(b"".join(data))
    assert files(tmp_path / "both") == {
        b"one-a": b"one",
        b"one-b": b"one",
        b"two-a": b"two",
        b"two-b": b"two",
    }


def test_a_later_archive_replaces_files_of_an_earlier_one(tmp_path: Path) -> None:
    data = b""
    for text in ("old", "new"):
        (tmp_path / text).mkdir()
        (tmp_path / text / "init").write_text(text)
        data += pack(tmp_path / text, tmp_path / "x").read_bytes()
    (tmp_path / "both").write_bytes(data)
    assert files(tmp_path / "both") == {b"init": b"new"}
    (text,) = [text for text in told(tmp_path / "both") if text.startswith("duplicate-member")]
    assert "init" in text


def test_files_are_opened_in_place(top: Path, tmp_path: Path) -> None:
    with opened_tree(pack(top, tmp_path / "x")) as (tree, _):
        assert isinstance(tree, OpenableTree)
        (entry,) = [entry for entry in tree.entries() if entry.path == b"text"]
        assert bytes(tree.open(entry).read_at(5, 5)) == b"text\n"


def test_what_follows_and_is_no_archive_is_told(top: Path, tmp_path: Path) -> None:
    path = pack(top / "usr/bin", tmp_path / "x")
    with path.open("ab") as file:
        file.write(b"signature")
    assert told(path) == ["trailing-data: x: 9 bytes follow the archive; not read"]


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        (b"\x02\x21\x4c\x18" + bytes(20), "the old frames of lz4"),
        (b"\x89LZO\0\r\n\x1a\n", "lzop"),
    ],
)
def test_archives_compressed_in_other_ways_are_refused_by_name(
    top: Path, tmp_path: Path, tail: bytes, reason: str
) -> None:
    path = pack(top / "usr/bin", tmp_path / "x")
    with path.open("ab") as file:
        file.write(tail)
    error = problem(path)
    assert isinstance(error, UnsupportedError)
    assert f"compressed with {reason}" in error.message


def _header(path: bytes, mode: int = 0o100644, content: bytes = b"", **fields: int) -> bytes:
    """Return a member in the new form."""
    numbers = {
        "inode": 1,
        "mode": mode,
        "uid": 0,
        "gid": 0,
        "links": 1,
        "mtime": 0,
        "size": len(content),
        "major": 0,
        "minor": 0,
        "rmajor": 0,
        "rminor": 0,
        "name": len(path) + 1,
        "check": 0,
    } | fields
    head = b"070701" + b"".join(b"%08x" % number for number in numbers.values()) + path + b"\0"
    return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)


END = _header(b"TRAILER!!!", 0)


def _archive(path: Path, *members: bytes) -> Path:
    path.write_bytes(b"".join(members) + END)
    return path


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([_header(b"../escaped")], "leads out of the archive"),
        ([_header(b"a/../../escaped")], "leads out of the archive"),
        (
            [_header(b"s", 0o120777, b"/etc"), _header(b"s/passwd")],
            "leads through the symlink 's'",
        ),
        ([_header(b"a\0b")], "a member is named"),
        ([_header(b"a", 0)], "has the mode 0, which is of no kind of file"),
        ([_header(b"a", size=0xFFFFFFFF)], "is cut short: 'a' has 4,294,967,295 bytes"),
        ([_header(b"a", name=0xFFFFFFFF)], "has a name of 4,294,967,295 bytes"),
        ([_header(b"a", name=0)], "a member is named ''"),
        ([_header(b"s", 0o120777)], "'s' is a symlink to ''"),
        ([_header(b"a").replace(b"000081a4", b"0000-1a4")], "a number that is none"),
        ([_header(b"a", content=b"1234"), b"junk"], "no cpio header where one must be"),
    ],
)
def test_hostile_and_damaged_members_are_refused(
    tmp_path: Path, members: list[bytes], reason: str
) -> None:
    path = _archive(tmp_path / "x", _header(b"first", content=b"content"), *members)
    assert reason in problem(path).message


def test_a_wrong_checksum_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    (tmp_path / "top/file").write_bytes(b"content")
    path = pack(tmp_path / "top", tmp_path / "x", "crc")
    assert files(path) == {b"file": b"content"}
    patch(path, path.read_bytes().index(b"content"), b"C")
    assert "'file': has a wrong checksum" in problem(path).message


@EACH_FORM
def test_an_archive_cut_anywhere_is_an_error(tmp_path: Path, form: str) -> None:
    (tmp_path / "top").mkdir()
    (tmp_path / "top/file").write_bytes(b"content" * 20)
    data = pack(tmp_path / "top", tmp_path / "x", form).read_bytes()
    end = data.index(b"TRAILER!!!") + 11
    for size in range(30, end, 17):
        (tmp_path / "cut").write_bytes(data[:size])
        assert isinstance(problem(tmp_path / "cut"), CorruptError), size


def test_a_compressed_archive_that_expands_too_far_is_refused(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb"
    bomb.write_bytes(_header(b"zeros", content=bytes(8 * MIB)) + END)
    need("bzip2")
    path = tmp_path / "x"
    path.write_bytes(_header(b"first") + END + run("bzip2", "-c", bomb).stdout)
    limits = replace(DEFAULT_LIMITS, expansion_grace_bytes=MIB, expansion_ratio=100)
    assert isinstance(problem(path, limits), LimitError)


def test_what_is_compressed_twice_is_not_read_and_told(tmp_path: Path) -> None:
    inner = gzip.compress(_header(b"inner") + END)
    path = tmp_path / "x"
    path.write_bytes(_header(b"first") + END + gzip.compress(_header(b"second") + END + inner))
    assert set(listing(path)) == {b"", b"first", b"second"}
    assert f"{len(inner)} bytes follow the archive; not read" in "\n".join(told(path))


def test_too_many_members_and_archives_are_refused(tmp_path: Path) -> None:
    path = _archive(tmp_path / "x", *(_header(b"%d" % number) for number in range(5)))
    assert isinstance(problem(path, Limits(entries=4)), LimitError)
    _archive(path, *[_header(b"same")] * 5)
    assert isinstance(problem(path, Limits(entries=4)), LimitError)
    path.write_bytes((_header(b"a") + END) * 65)
    assert "more than 64 archives in a row" in problem(path).message


def test_bytes_that_only_begin_like_a_binary_archive_are_none(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xc7\x71" + random.Random(1).randbytes(4 * KIB))
    assert reader_name(tmp_path / "x") is None


@EACH_FORM
def test_any_damage_gives_a_tree_or_an_error(top: Path, tmp_path: Path, form: str) -> None:
    whole = pack(top / "usr", tmp_path / "x", form).read_bytes()
    chance = random.Random(form)
    for _ in range(100):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(6, len(data))] = chance.randrange(256)
        (tmp_path / "x").write_bytes(data)
        with suppress(ConvertError):
            listing(tmp_path / "x")


@pytest.mark.timeout(20)
def test_zeros_that_are_holes_are_not_read(top: Path, tmp_path: Path) -> None:
    path = pack(top, tmp_path / "x.cpio")
    os.truncate(path, 4 << 40)
    assert told(path) == []
    with path.open("r+b") as file:
        file.seek((4 << 40) - 100)
        file.write(b"x" * 100)
    (text,) = told(path)
    assert text.startswith("trailing-data: x.cpio")
