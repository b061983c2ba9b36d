"""The tar reader, held against GNU tar, bsdtar and Python's tarfile; strict with all else."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert.layers.tar import encode_tar
from convert.oci.tarstream import SourceInput, StreamInput, TarMember, TarReader
from formats.core.entry import Kind
from formats.core.errors import ConvertError, CorruptError, LimitError, UnsupportedError
from formats.core.limits import DEFAULT_LIMITS, GIB
from formats.core.origin import Origin
from formats.core.source import MemorySource
from formats.core.tree import Tree
from tests.support.everything import EVERYTHING
from tests.support.listing import kernel_listing
from tests.support.memory_tree import MemoryTree, memory_tree
from tests.support.programs import need, need_root, run
from tests.support.tree_strategies import trees

ORIGIN = Origin(("x.tar",))
SECOND_NS = 10**9


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def read(data: bytes, chunk_bytes: int = 1000) -> list[tuple[TarMember, bytes]]:
    reader = TarReader(StreamInput(pieces(data, chunk_bytes), ORIGIN))
    return [(member, b"".join(reader.content())) for member in reader]


def encoded(tree: Tree) -> bytes:
    return b"".join(encode_tar(tree))


SMALL = encoded(memory_tree("f 644 1:2 a/file *700\nl 777 0:0 b a\nx a/file user.a 1"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree with everything, on a real filesystem."""
    need_root()
    need("tar")
    top = tmp_path_factory.mktemp("everything")
    (top / "x.tar").write_bytes(encoded(EVERYTHING))
    (top / "x").mkdir()
    flags = ("--warning=no-timestamp", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf")
    run("tar", "-C", top / "x", *flags, top / "x.tar")
    return top / "x"


PAX = ("--format=posix", "--xattrs", "--xattrs-include=*")
"""With sub-second times, and names in ``PaxHeaders`` that carry the process number."""


@pytest.mark.parametrize(
    ("command", "has_xattrs"),
    [
        (("tar", *PAX, "--numeric-owner", "-cf"), True),
        (("tar", "--format=gnu", "-cf"), False),
        (("tar", "--format=oldgnu", "--numeric-owner", "-cf"), False),
        (("bsdtar", "--format=pax", "--no-acls", "--no-fflags", "-cf"), True),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else None,
)
def test_what_other_programs_wrote_is_read_as_the_kernel_has_it(
    command: tuple[str, ...], folder: Path, tmp_path: Path, *, has_xattrs: bool
) -> None:
    need(command[0])
    run(*command, tmp_path / "x.tar", "-C", folder, ".")
    kernel = kernel_listing(folder)
    found = read((tmp_path / "x.tar").read_bytes())
    paths = [member.name.removeprefix(b"./").removesuffix(b"/") for member, _ in found]
    assert sorted(path.removesuffix(b".") for path in paths) == sorted(kernel)
    for (member, content), path in zip(found, paths, strict=True):
        row = kernel[path.removesuffix(b".")]
        if member.kind is Kind.HARDLINK:
            assert (member.target or b"").removeprefix(b"./") in row.links
            continue
        assert (member.kind, member.mode, member.target) == (row.kind, row.mode, row.target)
        assert (member.uid, member.gid, member.device) == (row.uid, row.gid, row.device)
        assert (member.mtime, member.size) == (row.mtime_ns // SECOND_NS, row.size)
        assert len(content) == row.size
        if has_xattrs and not path.startswith(b"var/acl"):  # bsdtar reads ACLs in its own way
            assert member.xattrs == row.xattrs


def test_python_writes_what_is_read() -> None:
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=form) as tar:
            info = tarfile.TarInfo("folder/" * 14 + "file")
            info.size, info.mtime, info.uid = 3, 1_700_000_000, 1000
            tar.addfile(info, io.BytesIO(b"abc"))
        ((member, content),) = read(file.getvalue())
        assert (member.name, content) == (b"folder/" * 14 + b"file", b"abc")
        assert (member.mtime, member.uid, member.size) == (1_700_000_000, 1000, 3)


@given(trees(), st.integers(1, 3000))
def test_our_own_layers_are_read_as_the_tree_they_were(tree: MemoryTree, chunk_bytes: int) -> None:
    kept = MemoryTree(
        [entry for entry in tree.entries() if entry.kind is not Kind.SOCKET], tree._contents
    )
    sockets = {entry.path for entry in tree.entries()} - {entry.path for entry in kept.entries()}
    if any(entry.target in sockets for entry in kept.entries() if entry.kind is Kind.HARDLINK):
        return
    found = read(encoded(kept), chunk_bytes)
    for (member, content), entry in zip(found, kept.entries(), strict=True):
        assert (member.kind, member.mode, member.uid) == (entry.kind, entry.mode, entry.uid)
        assert member.target == entry.target
        if entry.kind is not Kind.HARDLINK:  # which has what its target has
            assert (member.device, member.xattrs) == (entry.device, entry.xattrs)
        if entry.kind is Kind.FILE:
            assert content == b"".join(kept.read(entry))


def test_a_member_of_a_file_is_where_its_offset_says() -> None:
    (member,) = [
        member
        for member in TarReader(SourceInput(MemorySource(SMALL, ORIGIN)))
        if member.name == b"a/file"
    ]
    (content,) = [content for found, content in read(SMALL) if found.name == b"a/file"]
    assert SMALL[member.content_offset : member.content_offset + member.size] == content


@pytest.mark.parametrize("length", range(0, len(SMALL), 128))
def test_an_archive_that_ends_early_is_corrupt(length: int) -> None:
    with pytest.raises(CorruptError, match="ends within"):
        read(SMALL[:length])
    with pytest.raises(CorruptError, match="ends within"):
        list(TarReader(SourceInput(MemorySource(SMALL[:length], ORIGIN))))


@given(st.integers(0, len(SMALL) - 1), st.integers(1, 255))
def test_damage_to_a_header_is_noticed_and_to_content_is_content(offset: int, bits: int) -> None:
    damaged = bytearray(SMALL)
    damaged[offset] ^= bits
    try:
        found = read(bytes(damaged))
    except ConvertError:
        return
    sound = read(SMALL)
    # what is left to damage are the file's bytes, its padding, and the value of a pax record
    assert [replace(member, xattrs=()) for member, _ in found] == [
        replace(member, xattrs=()) for member, _ in sound
    ]


@given(st.binary(max_size=2048))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises((CorruptError, UnsupportedError)):
        read(data)


def with_header(offset: int, field: bytes) -> bytes:
    """Return an archive of one file with a field of its header replaced, and a right checksum."""
    block = bytearray(tarfile.TarInfo("file").tobuf(tarfile.USTAR_FORMAT))
    block[offset : offset + len(field)] = field
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + bytes(1024)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (with_header(100, b"0000abc\0"), "for its mode"),
        (with_header(124, b"00000000099\0"), "for its size"),
        (with_header(124, b"\xff" * 12), "has a size of -1"),
        (with_header(108, b"\xff" * 8), "belongs to -1:0"),
        (with_header(124, b"00000000001\0")[:512] + bytes(512), "ends within"),
        (SMALL + b"x" + bytes(511), "behind the end"),
        (SMALL[:512] + bytes(512) + SMALL[512:], "a single empty block"),
        (b"1" * 512 + bytes(1024), "checksum"),
    ],
)
def test_a_header_that_makes_no_sense_is_corrupt(data: bytes, problem: str) -> None:
    with pytest.raises(CorruptError, match=problem):
        read(data)


@pytest.mark.parametrize("typeflag", [b"S", b"V", b"M", b"D", b"N", b"A", b"9"])
def test_members_of_other_types_are_refused_by_name(typeflag: bytes) -> None:
    with pytest.raises(UnsupportedError, match="members of type"):
        read(with_header(156, typeflag))


def record(key: bytes, value: bytes) -> bytes:
    rest = len(key) + len(value) + 3
    return b"%d %b=%b\n" % (rest + len(str(rest + 2)), key, value)


def pax(typeflag: bytes, records: bytes, size: int | None = None) -> bytes:
    header = tarfile.TarInfo("PaxHeaders/x")
    header.type, header.size = typeflag, len(records) if size is None else size
    padding = bytes(-len(records) % 512)
    file = tarfile.TarInfo("file").tobuf(tarfile.USTAR_FORMAT)
    return header.tobuf(tarfile.USTAR_FORMAT) + records + padding + file + bytes(1024)


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        (b"9 path=a\n\n", "damaged"),
        (b"99 path=a\n", "damaged"),
        (b"x path=a\n", "damaged"),
        (b"9 patha\n\n", "damaged"),
        (b"6 =a\n\n", "damaged"),
        (b"0 path=a\n", "damaged"),
        (b"-1 path=a\n", "damaged"),
        (b"9 path=a\n9 path=b\n", "twice"),
        (record(b"path", b"a\0b"), "NUL"),
        (record(b"size", b"x"), "'size'"),
        (record(b"size", b"-1"), "has a size"),
        (record(b"mtime", b"1.x"), "'mtime'"),
        (record(b"uid", b"9") + b"9 uid=", "damaged"),
        (record(b"uid", b"9" * 21), "'uid'"),
    ],
)
def test_a_pax_header_that_makes_no_sense_is_corrupt(records: bytes, problem: str) -> None:
    with pytest.raises(CorruptError, match=problem):
        read(pax(b"x", records))


def test_a_fraction_of_a_second_before_1970_is_rounded_down_as_stat_does() -> None:
    for text, second in ((b"-1.5", -2), (b"-1.0", -1), (b"-1", -1), (b"1.9", 1), (b"-0.5", -1)):
        ((member, _),) = read(pax(b"x", record(b"mtime", text)))
        assert member.mtime == second


def test_a_pax_header_without_a_member_is_corrupt() -> None:
    archive = pax(b"x", b"9 path=a\n")
    with pytest.raises(CorruptError, match="is followed by none"):
        read(archive[:1024] + bytes(1024))


def test_an_extended_header_has_a_mebibyte_at_the_most() -> None:
    with pytest.raises(CorruptError, match="has 8,589,934,591 bytes"):
        read(pax(b"x", b"", size=8 * GIB - 1))


def test_a_global_header_may_only_be_a_comment() -> None:
    found = read(pax(b"g", record(b"comment", b"a note")))
    assert [member.name for member, _ in found] == [b"file"]
    with pytest.raises(UnsupportedError, match="global"):
        read(pax(b"g", b"9 path=a\n"))


def test_sparse_members_are_refused(tmp_path: Path) -> None:
    need("tar")
    with (tmp_path / "holes").open("wb") as file:
        file.truncate(1 << 20)
        file.write(b"x")
    for form in ("posix", "gnu"):
        run("tar", "--sparse", f"--format={form}", "-cf", tmp_path / "x", "-C", tmp_path, "holes")
        with pytest.raises(UnsupportedError, match=r"sparse|type 'S'"):
            read((tmp_path / "x").read_bytes())


def test_too_many_members_are_a_limit_error() -> None:
    limits = replace(DEFAULT_LIMITS, entries=3)
    with pytest.raises(LimitError, match="more than 3"):
        list(TarReader(StreamInput(iter([SMALL]), ORIGIN), limits))
