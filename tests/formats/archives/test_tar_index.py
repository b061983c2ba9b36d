"""What is found in tar archives, against GNU tar, bsdtar, and Python's tarfile."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.archives.tar_index import BLOCK_BYTES, TarMember, inner_path, is_tar, tar_members
from formats.core.entry import Kind
from formats.core.errors import ConvertError, CorruptError, LimitError, UnsupportedError
from formats.core.limits import DEFAULT_LIMITS, MIB, Limits
from formats.core.origin import Origin
from formats.core.source import FileSource, MemorySource
from tests.support.disks import whole
from tests.support.programs import need, need_root, run

ORIGIN = Origin(("x.tar",))
GNU = tuple(f"tar --format={name}" for name in ("v7", "oldgnu", "gnu", "ustar", "posix"))
LIBARCHIVE = tuple(f"bsdtar --format={name}" for name in ("v7", "gnutar", "ustar", "pax"))
LONG = "a" * 90 + "/" + "b" * 90
VERY_LONG = "/".join(["c" * 200] * 4)
KINDS = {
    tarfile.REGTYPE: Kind.FILE,
    tarfile.AREGTYPE: Kind.FILE,
    tarfile.GNUTYPE_SPARSE: Kind.FILE,
    tarfile.LNKTYPE: Kind.HARDLINK,
    tarfile.SYMTYPE: Kind.SYMLINK,
    tarfile.CHRTYPE: Kind.CHARACTER_DEVICE,
    tarfile.BLKTYPE: Kind.BLOCK_DEVICE,
    tarfile.DIRTYPE: Kind.FOLDER,
    tarfile.FIFOTYPE: Kind.FIFO,
}


def _found(data: bytes, limits: Limits = DEFAULT_LIMITS) -> list[TarMember]:
    return list(tar_members(MemorySource(data, ORIGIN), limits))


def _content(path: Path, member: TarMember) -> bytes:
    source = FileSource(path)
    try:
        return whole(member.source(source, ORIGIN))
    finally:
        source.close()


def _members_of(path: Path) -> list[TarMember]:
    source = FileSource(path)
    try:
        return list(tar_members(source))
    finally:
        source.close()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that v7 archives can hold, and long names beside it."""
    top = tmp_path_factory.mktemp("tar") / "tree"
    (top / "folder").mkdir(parents=True)
    (top / "empty").touch()
    (top / "file").write_bytes(b"content" * 1000)
    (top / "block").write_bytes(b"x" * BLOCK_BYTES)
    os.link(top / "file", top / "folder" / "link")
    (top / "symlink").symlink_to("folder/../file")
    os.mkfifo(top / "fifo")
    os.utime(top / "file", ns=(0, 1_700_000_000_123_456_789))
    os.utime(top / "empty", (0, 0))
    (top / "file").chmod(0o4751)
    Path(os.fsdecode(os.fsencode(top) + b"/b\xe4\xdf")).write_bytes(b"latin")
    return top


@pytest.mark.parametrize("command", [*GNU, *LIBARCHIVE])
def test_members_are_those_that_tarfile_finds(tree: Path, tmp_path: Path, command: str) -> None:
    program, *options = command.split()
    need(program)
    archive = tmp_path / "x.tar"
    pipes = ["--exclude=./fifo"] if "v7" in command else []  # v7 has none
    run(program, *options, *pipes, "-cf", archive, "-C", tree, ".")
    with tarfile.open(archive, encoding="utf-8", errors="surrogateescape") as oracle:
        expected = oracle.getmembers()
        contents = {item.name: oracle.extractfile(item) for item in expected if item.isreg()}
        texts = {name: file.read() for name, file in contents.items() if file}
    found = _members_of(archive)
    assert len(found) == len(expected) >= 8
    for member, item in zip(found, expected, strict=True):
        name = member.path.rstrip(b"/").decode("utf-8", "surrogateescape")
        assert name == item.name
        assert member.kind is KINDS[item.type]
        assert (member.mode, member.uid, member.gid) == (item.mode, item.uid, item.gid)
        assert member.mtime_ns // 10**9 == int(item.mtime)
        target = (member.target or b"").decode("utf-8", "surrogateescape")
        assert target == item.linkname
        if item.isreg():
            assert _content(archive, member) == texts[item.name]


@pytest.mark.parametrize("command", ["tar --format=posix", "bsdtar --format=pax"])
def test_times_of_pax_archives_have_nanoseconds(tree: Path, tmp_path: Path, command: str) -> None:
    program, *options = command.split()
    need(program)
    run(program, *options, "-cf", tmp_path / "x.tar", "-C", tree, "file")
    (member,) = _members_of(tmp_path / "x.tar")
    assert member.mtime_ns == 1_700_000_000_123_456_789


@pytest.mark.parametrize(
    "command", ["tar --format=gnu", "tar --format=posix", "bsdtar --format=pax"]
)
def test_long_names_and_targets_are_whole(tmp_path: Path, command: str) -> None:
    program, *options = command.split()
    need(program)
    for name in (LONG, VERY_LONG):
        (tmp_path / "tree" / name).parent.mkdir(parents=True)
        (tmp_path / "tree" / name).write_text(name)
    (tmp_path / "tree" / "link").symlink_to(VERY_LONG)
    run(
        program,
        *options,
        "-cf",
        tmp_path / "x.tar",
        "-C",
        tmp_path / "tree",
        LONG,
        VERY_LONG,
        "link",
    )
    found = _members_of(tmp_path / "x.tar")
    assert [member.path.decode() for member in found] == [LONG, VERY_LONG, "link"]
    assert found[2].target == VERY_LONG.encode()
    assert _content(tmp_path / "x.tar", found[1]).decode() == VERY_LONG


def test_ustar_splits_names_in_two(tmp_path: Path) -> None:
    need("tar")
    (tmp_path / LONG).parent.mkdir(parents=True)
    (tmp_path / LONG).touch()
    run("tar", "--format=ustar", "-cf", tmp_path / "x.tar", "-C", tmp_path, LONG)
    (member,) = _members_of(tmp_path / "x.tar")
    assert member.path.decode() == LONG


def test_devices_have_their_numbers(tmp_path: Path) -> None:
    need_root()
    os.mknod(tmp_path / "device", 0o600 | stat.S_IFBLK, os.makedev(259, 70_000))
    run("tar", "-cf", tmp_path / "x.tar", "-C", tmp_path, "device")
    (member,) = _members_of(tmp_path / "x.tar")
    assert (member.kind, member.device) == (Kind.BLOCK_DEVICE, (259, 70_000))


def _info(name: str = "file", size: int = 0, **fields: int | str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    for key, value in fields.items():
        setattr(info, key, value)
    return info


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_sizes_and_numbers_beyond_octal_are_read(tmp_path: Path, form: Literal[1, 2]) -> None:
    size = 9 << 30
    header = _info("disk", size, uid=3_000_000, mtime=-5).tobuf(form)
    archive = tmp_path / "x.tar"
    with archive.open("wb") as file:
        file.write(header)
        file.seek(size, os.SEEK_CUR)
        file.write(_info("last", 1).tobuf(form) + b"!".ljust(BLOCK_BYTES, b"\0") + bytes(1024))
    disk, last = _members_of(archive)
    assert (disk.size, disk.uid, disk.mtime_ns) == (size, 3_000_000, -5 * 10**9)
    assert (last.path, _content(archive, last)) == (b"last", b"!")


SPARSE = (
    "oldgnu",
    "gnu",
    "posix --sparse-version=0.0",
    "posix --sparse-version=0.1",
    "posix --sparse-version=1.0",
)


@pytest.mark.parametrize("form", SPARSE)
def test_sparse_members_read_as_what_was_packed(tmp_path: Path, form: str) -> None:
    need("tar")
    content = bytearray(8 * MIB)
    for number in range(60):  # so many that old GNU headers go on in further blocks
        content[number * 131_072 : number * 131_072 + 4096] = bytes([number + 1]) * 4096
    content[-5:] = b"final"
    (tmp_path / "disk.raw").write_bytes(content)
    run("cp", "--sparse=always", tmp_path / "disk.raw", tmp_path / "sparse.raw")
    archive = tmp_path / "x.tar"
    options = f"--format={form}".split()
    run("tar", "--sparse", *options, "-cf", archive, "-C", tmp_path, "sparse.raw", "disk.raw")
    first, second = _members_of(archive)
    assert first.path == b"sparse.raw"
    assert first.regions
    assert first.stored_bytes < MIB
    assert first.size == second.size == len(content)
    assert _content(archive, first) == bytes(content)


def test_a_sparse_member_that_ends_in_a_hole_has_its_size(tmp_path: Path) -> None:
    need("tar")
    with (tmp_path / "disk").open("wb") as file:
        file.write(b"start")
        file.truncate(5 * MIB)
    run("tar", "--sparse", "-cf", tmp_path / "x.tar", "-C", tmp_path, "disk")
    (member,) = _members_of(tmp_path / "x.tar")
    assert _content(tmp_path / "x.tar", member) == b"start".ljust(5 * MIB, b"\0")


def test_an_archive_ends_at_its_first_block_of_zeros() -> None:
    need("tar")
    data = _info("first").tobuf() + bytes(1024) + _info("second").tobuf()
    assert [member.path for member in _found(data)] == [b"first"]


def test_an_archive_may_end_without_blocks_of_zeros() -> None:
    assert len(_found(_info("first").tobuf())) == 1


def test_pax_sizes_go_before_those_of_the_header() -> None:
    """What CVE-2025-62518 is about: both parts of a program have to believe the same size."""
    header = bytearray(_info("outer", 0).tobuf(tarfile.USTAR_FORMAT))
    pax = _records(b"size=1024")
    inner = _info("inner").tobuf().ljust(1024, b"\0")
    found = _found(pax + bytes(header) + inner + _info("last").tobuf() + bytes(1024))
    assert [(member.path, member.size) for member in found] == [(b"outer", 1024), (b"last", 0)]


def _records(*records: bytes, kind: bytes = b"x") -> bytes:
    """Return a pax header with records as they are given, their lengths added."""
    text = b""
    for record in records:
        length = len(record) + 2
        while len(str(length + len(str(length)))) != len(str(length)):
            length += 1
        length += len(str(length))
        text += b"%d %s\n" % (len(b"%d %s\n" % (length, record)), record)
    return _raw(text, kind)


def _raw(text: bytes, kind: bytes = b"x") -> bytes:
    info = _info("pax", len(text))
    info.type = kind
    padded = text.ljust(-(-len(text) // BLOCK_BYTES) * BLOCK_BYTES, b"\0")
    return info.tobuf(tarfile.USTAR_FORMAT) + padded


def test_global_records_apply_to_all_members_behind_them() -> None:
    data = _records(b"uid=70", kind=b"g") + _info("a").tobuf() + _records(b"uid=71")
    data += _info("b").tobuf() + _info("c").tobuf()
    assert [member.uid for member in _found(data)] == [70, 71, 70]


def test_headers_with_signed_sums_are_read() -> None:
    header = bytearray(_info("b\xe4").tobuf(tarfile.USTAR_FORMAT, encoding="latin-1"))
    total = sum(header[:148]) + sum(header[156:]) + 8 * 32
    signed = total - 256 * sum(byte >> 7 for byte in header[:148] + header[156:])
    header[148:156] = b"%06o\0 " % signed
    assert _found(bytes(header))[0].path == b"b\xe4"


BAD: dict[str, tuple[bytes, str]] = {
    "a negative size": (
        b"".join((_info().tobuf()[:124], b"\xff" * 12, _info().tobuf()[136:])),
        "number -1",
    ),
    "a size of 2^64": (
        b"".join((_info().tobuf()[:124], b"\x80\0\0\1", bytes(8), _info().tobuf()[136:])),
        "number",
    ),
    "a size that is no number": (
        b"".join((_info().tobuf()[:124], b"0000000zzzz\0", _info().tobuf()[136:])),
        "number",
    ),
    "a size with nines": (
        b"".join((_info().tobuf()[:124], b"00000000009\0", _info().tobuf()[136:])),
        "number",
    ),
    "a size beyond the end": (_info(size=10**6).tobuf(), "cut short"),
    "a pax record without a length": (_raw(b"x path=a\n") + _info().tobuf(), "makes no sense"),
    "a pax record of length 0": (_raw(b"0 path=a\n") + _info().tobuf(), "makes no sense"),
    "a pax record beyond the end": (_raw(b"99 path=a\n") + _info().tobuf(), "makes no sense"),
    "a pax size that is no number": (_records(b"size=-1") + _info().tobuf(), "size"),
    "a pax uid that is no number": (_records(b"uid=x") + _info().tobuf(), "uid"),
    "a pax time of 65 bits": (_records(b"mtime=-%d.5" % (1 << 63)) + _info().tobuf(), "mtime"),
    "a pax time that is no number": (_records(b"mtime=1e9") + _info().tobuf(), "mtime"),
    "a name with a NUL": (_records(b"path=a\0b") + _info().tobuf(), "named"),
    "half a header": (_info().tobuf() + b"x" * 100, "cut short"),
    "garbage for a header": (_info().tobuf() + b"x" * BLOCK_BYTES, "checksum"),
    "a sparse map of odd length": (
        _records(b"GNU.sparse.size=9", b"GNU.sparse.map=1,2,3") + _info().tobuf(),
        "ends too early",
    ),
    "a sparse map that is none": (
        _records(b"GNU.sparse.size=9", b"GNU.sparse.map=1,x") + _info().tobuf(),
        "number",
    ),
    "an old sparse member of 2^64": (
        b"".join((_info().tobuf()[:156], b"S", _info().tobuf()[157:483], b"\x80\0\0\1", bytes(25))),
        "number 18,446",
    ),
    "a sparse member without a size": (_records(b"GNU.sparse.map=0,0") + _info().tobuf(), "size"),
    "a sparse map that never ends": (
        _records(b"GNU.sparse.major=1", b"GNU.sparse.minor=0", b"GNU.sparse.realsize=9")
        + _info(size=1024).tobuf()
        + b"1" * 1024,
        "makes no sense",
    ),
    "a sparse map that is cut short": (
        _records(b"GNU.sparse.major=1", b"GNU.sparse.minor=0", b"GNU.sparse.realsize=9")
        + _info(size=512).tobuf()
        + b"5\n1\n".ljust(512, b"\n"),
        "number",
    ),
}


def _summed(data: bytes) -> bytes:
    """Put the checksum of the first header right."""
    header = data[:148] + b" " * 8 + data[156:BLOCK_BYTES]
    return data[:148] + b"%06o\0 " % sum(header) + data[156:]


@pytest.mark.parametrize("name", BAD)
def test_headers_that_make_no_sense_are_errors(name: str) -> None:
    data, message = BAD[name]
    with pytest.raises(CorruptError, match=message) as caught:
        _found(_summed(data))
    assert caught.value.offset is not None


@pytest.mark.parametrize("regions", ["0,5,3,5", "5,1,0,1", "0,20", "9223372036854775807,1", "9,2"])
def test_sparse_pieces_that_overlap_or_lie_outside_are_errors(regions: str) -> None:
    stored = sum(int(length) for length in regions.split(",")[1::2])
    data = _records(b"GNU.sparse.size=10", b"GNU.sparse.map=" + regions.encode())
    data += _info("sparse", stored).tobuf() + bytes(BLOCK_BYTES)
    (member,) = _found(data)
    with pytest.raises(CorruptError, match="makes no sense"):
        member.source(MemorySource(data, ORIGIN), ORIGIN)


@pytest.mark.parametrize("regions", ["0,600", "0,2000", "0,511", "0,0", ""])
def test_a_sparse_member_has_the_bytes_that_are_stored_and_no_others(regions: str) -> None:
    """The member behind it is no part of it, and what is stored is not left out."""
    records = [b"GNU.sparse.size=2000", b"GNU.sparse.map=" + regions.encode()]
    data = _records(*records) + _info("sparse", 512).tobuf() + bytes(512)
    data += _info("next", 2000).tobuf() + b"canary".ljust(2048, b"\0")
    member, _ = _found(data)
    with pytest.raises(CorruptError, match="512 are stored"):
        member.source(MemorySource(data, ORIGIN), ORIGIN)


def test_maps_and_records_are_bounded() -> None:
    many = b"GNU.sparse.map=" + b",".join([b"0"] * 140_000)
    with pytest.raises(LimitError, match="pieces"):
        _found(_records(b"GNU.sparse.size=9", many) + _info().tobuf())
    info = _info(size=2 * MIB)
    info.type = b"x"
    with pytest.raises(LimitError, match="header"):
        _found(info.tobuf(tarfile.USTAR_FORMAT) + bytes(2 * MIB))
    keys = [b"key%d=x" % number for number in range(65)]
    with pytest.raises(LimitError, match="global"):
        _found(_records(*keys, kind=b"g") + _info().tobuf())
    with pytest.raises(LimitError, match="members"):
        _found(_info().tobuf() * 11, Limits(entries=10))
    with pytest.raises(LimitError, match="name"):
        _found(_records(b"path=" + b"x" * 5000) + _info().tobuf())


def test_archives_in_several_volumes_are_refused_by_name(tmp_path: Path) -> None:
    need("tar")
    (tmp_path / "file").write_bytes(os.urandom(30_000))
    parts = [tmp_path / "1", tmp_path / "2", tmp_path / "3"]
    names = [option for part in parts for option in ("-f", str(part))]
    run("tar", "-c", "-M", "-L", "20", *names, "-C", tmp_path, "file")
    source = FileSource(parts[1])
    with pytest.raises(UnsupportedError, match="volumes"):
        list(tar_members(source))
    source.close()


def test_an_archive_cut_short_is_an_error_wherever_it_is_cut() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("first", "x" * 200, "last"):
            archive.addfile(_info(name, 700), io.BytesIO(bytes(700)))
    data = buffer.getvalue()
    ends = {member.header_offset for member in _found(data)}
    end = max(ends) + BLOCK_BYTES + 1024
    for cut in range(256, end, 256):
        try:
            found = _found(data[:cut])
        except CorruptError:
            continue
        assert len(found) < 3 or cut >= end - 324
        assert found[-1].offset + found[-1].stored_bytes <= cut


@given(st.data())
def test_whatever_bytes_change_there_are_members_or_typed_errors(data: st.DataObject) -> None:
    archive = bytearray(
        _records(b"path=name", b"GNU.sparse.size=10", b"GNU.sparse.map=0,5,6,1")
        + _info("a", 600).tobuf()
        + bytes(1024)
        + _info("x" * 150).tobuf(tarfile.GNU_FORMAT)
    )
    for _ in range(data.draw(st.integers(1, 4))):
        offset = data.draw(st.integers(0, len(archive) - 1))
        archive[offset] = data.draw(st.integers(0, 255))
    fixed = b"".join(
        _summed(bytes(archive[at : at + BLOCK_BYTES]))
        if archive[at + 257 : at + 262] == b"ustar"
        else archive[at : at + BLOCK_BYTES]
        for at in range(0, len(archive), BLOCK_BYTES)
    )
    source = MemorySource(fixed, ORIGIN)
    with suppress(ConvertError):
        for member in tar_members(source):
            whole(member.source(source, ORIGIN))


@given(st.binary(max_size=2048))
def test_other_bytes_are_no_archive_or_typed_errors(data: bytes) -> None:
    source = MemorySource(data, ORIGIN)
    if is_tar(source):
        with pytest.raises(ConvertError):
            list(tar_members(source))


@pytest.mark.parametrize(
    ("path", "inner"),
    [
        (b"./a/b", b"a/b"),
        (b"a//b/", b"a/b"),
        (b"./", b""),
        (b"/etc/passwd", None),
        (b"../a", None),
        (b"a/../../b", None),
    ],
)
def test_paths_that_lead_out_are_no_inner_paths(path: bytes, inner: bytes | None) -> None:
    assert inner_path(path) == inner


def _member_of(info: tarfile.TarInfo, content: bytes = b"") -> TarMember:
    info.size = len(content)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as target:
        target.addfile(info, io.BytesIO(content))
    (member,) = _found(packed.getvalue())
    return member


def test_records_come_before_what_a_sound_header_says() -> None:
    info = tarfile.TarInfo("file")
    info.mode, info.uname, info.gname = 0o640, "user", "group"
    info.pax_headers = {
        "uid": "3000000",
        "gid": "4000000",
        "mtime": "12.5",
        "uname": "b\u00e9b\u00e9",
        "gname": "a" * 40,
    }
    member = _member_of(info)
    assert (member.mode, member.uid, member.gid) == (0o640, 3_000_000, 4_000_000)
    assert member.mtime_ns == 12_500_000_000
    assert (member.user, member.group) == ("b\u00e9b\u00e9".encode(), b"a" * 40)


def test_names_of_owners_are_those_of_the_header_where_records_have_none() -> None:
    info = tarfile.TarInfo("file")
    info.uname, info.gname, info.pax_headers = "user", "group", {"comment": "no owner"}
    member = _member_of(info)
    assert (member.user, member.group) == (b"user", b"group")


def test_a_folder_with_a_list_of_names_has_no_content() -> None:
    info = tarfile.TarInfo("folder")
    info.type = b"D"
    member = _member_of(info, b"Yname\0\0")
    assert (member.kind, member.size, member.stored_bytes) == (Kind.FOLDER, 0, 7)
