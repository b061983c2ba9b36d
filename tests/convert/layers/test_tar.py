"""The tar encoder, read by GNU tar, bsdtar and Python's tarfile."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given

from convert.layers.tar import PAX_HEADER_BYTES, encode_tar
from formats.core.entry import Entry, Kind
from formats.core.errors import CorruptError, LimitError, UnsupportedError
from formats.core.limits import DEFAULT_LIMITS, GIB
from formats.core.tree import Tree
from tests.support.everything import EVERYTHING
from tests.support.listing import difference, kernel_listing, tree_listing
from tests.support.memory_tree import MemoryTree, memory_tree
from tests.support.programs import need, need_root, run
from tests.support.tree_strategies import trees

SECOND_NS = 10**9


def archive(tree: Tree, path: Path) -> Path:
    with path.open("wb") as file:
        file.writelines(encode_tar(tree))
    return path


def encoded(tree: Tree) -> bytes:
    return b"".join(encode_tar(tree))


def test_gnu_tar_unpacks_the_very_tree(tmp_path: Path) -> None:
    need("tar")
    need_root()
    tar, folder = archive(EVERYTHING, tmp_path / "x.tar"), tmp_path / "x"
    folder.mkdir()
    flags = ("--warning=no-timestamp", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf")
    done = run("tar", "-C", folder, *flags, tar)
    assert done.stderr == b""
    assert difference(kernel_listing(folder), tree_listing(EVERYTHING)) == []


def test_bsdtar_unpacks_all_but_acls_in_xattrs_and_the_time_of_the_root(tmp_path: Path) -> None:
    need("bsdtar")
    need_root()
    tar, folder = archive(EVERYTHING, tmp_path / "x.tar"), tmp_path / "x"
    folder.mkdir()
    done = run("bsdtar", "-C", folder, "--numeric-owner", "--xattrs", "-xpf", tar)
    assert done.stderr == b""
    found, expected = kernel_listing(folder), tree_listing(EVERYTHING)
    expected[b""] = replace(expected[b""], mtime_ns=found[b""].mtime_ns)
    expected[b"var/acl"] = replace(expected[b"var/acl"], xattrs=())
    assert difference(found, expected) == []


def test_pythons_tarfile_reads_every_field(tmp_path: Path) -> None:
    kinds = {
        Kind.FILE: tarfile.REGTYPE,
        Kind.FOLDER: tarfile.DIRTYPE,
        Kind.SYMLINK: tarfile.SYMTYPE,
        Kind.HARDLINK: tarfile.LNKTYPE,
        Kind.CHARACTER_DEVICE: tarfile.CHRTYPE,
        Kind.BLOCK_DEVICE: tarfile.BLKTYPE,
        Kind.FIFO: tarfile.FIFOTYPE,
    }
    with tarfile.open(archive(EVERYTHING, tmp_path / "x.tar"), errors="surrogateescape") as tar:
        for member, entry in zip(tar, EVERYTHING.entries(), strict=True):
            assert os.fsencode(member.name) == (entry.path or b".")
            assert member.type == kinds[entry.kind]
            assert (member.mode, member.uid, member.gid) == (entry.mode, entry.uid, entry.gid)
            assert member.mtime == entry.mtime_ns // SECOND_NS
            assert member.size == (entry.size if entry.kind is Kind.FILE else 0)
            assert os.fsencode(member.linkname) == (entry.target or b"")
            assert (member.uname, member.gname) == ("", "")
            if entry.device and entry.kind is not Kind.HARDLINK:
                assert (member.devmajor, member.devminor) == entry.device


@given(trees())
def test_any_tree_without_sockets_is_read_back(tree: MemoryTree) -> None:
    entries = list(tree.entries())
    if any(entry.kind is Kind.SOCKET for entry in entries):
        return
    with tarfile.open(fileobj=io.BytesIO(encoded(tree)), errors="surrogateescape") as tar:
        for member, entry in zip(tar, entries, strict=True):
            assert os.fsencode(member.name) == (entry.path or b".")
            if entry.kind is Kind.FILE:
                file = tar.extractfile(member)
                assert file is not None
                assert file.read() == b"".join(tree.read(entry))


class Endless:
    """One file of any size, all of zeros."""

    def __init__(self, size: int) -> None:
        self._file = Entry(b"disk.img", Kind.FILE, 0o644, size=size)
        self.origin = EVERYTHING.origin
        self.info = EVERYTHING.info

    def entries(self) -> Iterator[Entry]:
        yield Entry(b"", Kind.FOLDER, 0o755)
        yield self._file

    def read(self, entry: Entry) -> Iterator[bytes]:
        chunk = bytes(1 << 20)
        return (chunk for _ in range(entry.size >> 20))

    def will_read(self, _: object) -> None:
        pass


@pytest.mark.parametrize("size", [8 * GIB - 1, 8 * GIB, 20 * GIB])
def test_sizes_around_and_above_eight_gib_are_read(size: int, tmp_path: Path) -> None:
    need("tar", "bsdtar")
    chunks = encode_tar(Endless(size))
    path = tmp_path / "sparse.tar"
    with path.open("wb") as file:  # the headers as they are, the content as a hole
        file.write(next(chunks))
        file.write(next(chunks))
        file.truncate(file.tell() + size + -size % 512 + 1024)
    for program in ("tar", "bsdtar"):
        listed = run(program, "--numeric-owner", "-tvf", path).stdout.decode()
        assert str(size) in listed.splitlines()[1].split()


def test_a_pax_header_comes_only_where_it_has_to() -> None:
    long_path = f"{'p' * 99}/{'p' * 55}/{'q' * 100}"
    at_the_limits = memory_tree(f"f 644 2097151:0 {'n' * 100} x\nf 644 0:0 {long_path}")
    assert len(encoded(at_the_limits)) == 512 * (5 + 1 + 2)  # headers, content, end
    beyond = memory_tree("f 644 2097152:0 n x")
    assert len(encoded(beyond)) == 512 * (2 + 2 + 1 + 2)


def test_a_pax_record_of_any_length_says_how_long_it_is() -> None:
    values = {f"user.{size:04}": size for size in (*range(60, 110), *range(960, 1010))}
    xattrs = tuple((name.encode(), b"v" * size) for name, size in values.items())
    tree = MemoryTree([Entry(b"a", Kind.FILE, 0o644, xattrs=xattrs)])
    with tarfile.open(fileobj=io.BytesIO(encoded(tree))) as tar:
        headers = tar.getmember("a").pax_headers
    assert headers == {f"SCHILY.xattr.{name}": "v" * size for name, size in values.items()}


def test_times_are_rounded_down_and_limited() -> None:
    times = {b"a": -1_500_000_000, b"b": 5_999_999_999, b"c": 9_000_000_000}
    tree = MemoryTree([Entry(name, Kind.FIFO, 0, mtime_ns=time) for name, time in times.items()])
    with tarfile.open(fileobj=io.BytesIO(b"".join(encode_tar(tree, mtime_limit=7)))) as tar:
        assert {member.name: member.mtime for member in tar} == {".": 0, "a": -2, "b": 5, "c": 7}


def test_an_archive_ends_with_two_blocks_and_nothing_else() -> None:
    content = encoded(memory_tree(""))
    assert len(content) == 3 * 512
    assert content[512:] == bytes(1024)


def test_content_is_passed_on_uncopied() -> None:
    tree = memory_tree("f 644 0:0 a *5000", chunk_bytes=1000)
    views = [chunk for chunk in encode_tar(tree) if isinstance(chunk, memoryview)]
    assert [len(view) for view in views] == [1000] * 5


def entry(kind: Kind, **changes: object) -> MemoryTree:
    plain = Entry(b"x", kind, 0o644)
    return MemoryTree([replace(plain, **changes)])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tree", "error", "message"),
    [
        (entry(Kind.SOCKET), UnsupportedError, "'x' is a socket, which tar cannot hold"),
        (entry(Kind.SYMLINK), CorruptError, "no usable target"),
        (entry(Kind.HARDLINK, target=b"a\0b"), CorruptError, "no usable target"),
        (entry(Kind.BLOCK_DEVICE), CorruptError, "no usable number"),
        (entry(Kind.BLOCK_DEVICE, device=(1 << 22, 0)), CorruptError, "no usable number"),
        (entry(Kind.FILE, path=b"a\0b"), CorruptError, "has a NUL in its name"),
        (entry(Kind.FILE, xattrs=((b"user.a=b", b""),)), UnsupportedError, "tar cannot name"),
        (
            entry(Kind.FILE, xattrs=((b"user.a", bytes(PAX_HEADER_BYTES)),)),
            UnsupportedError,
            "more than container engines read",
        ),
        (entry(Kind.FILE, size=1), CorruptError, "has only 0"),
        (entry(Kind.FILE, size=DEFAULT_LIMITS.file_bytes + 1), LimitError, "holes count"),
    ],
)
def test_what_tar_cannot_hold_is_an_error(
    tree: MemoryTree, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        encoded(tree)
