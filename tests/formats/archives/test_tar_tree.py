"""Trees of tar archives, against the folders that GNU tar and bsdtar packed."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from formats.core.entry import Kind
from formats.core.errors import CorruptError, LimitError
from formats.core.limits import Limits
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
from tests.support.listing import difference, kernel_listing
from tests.support.programs import need, need_root, run


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = support.everything(tmp_path_factory.mktemp("tar-tree") / "top")
    os.setxattr(top / "text", "user.comment", b"any \0\xff = bytes\n")
    os.setxattr(top / "usr/bin/tool", "security.capability", support.CAPABILITY)
    os.setxattr(top / "text", "system.posix_acl_access", support.ACL)
    os.setxattr(top / "usr", "system.posix_acl_default", support.ACL)
    return top


@pytest.mark.parametrize(
    "command",
    [
        "tar --format=posix --xattrs --xattrs-include=* --acls --numeric-owner",
        "tar --format=posix --xattrs --xattrs-include=* --acls --numeric-owner --sparse",
        "bsdtar --format=pax --xattrs --acls --numeric-owner",
    ],
)
def test_a_pax_archive_gives_everything_that_was_packed(
    top: Path, tmp_path: Path, command: str
) -> None:
    program, *options = command.split()
    need(program)
    run(program, *options, "-cf", tmp_path / "x.tar", "-C", top, ".")
    assert difference(kernel_listing(top), listing(tmp_path / "x.tar")) == []


@pytest.mark.parametrize("command", ["tar --format=gnu", "tar --format=gnu -S"])
def test_a_gnu_archive_gives_all_but_xattrs_and_parts_of_seconds(
    top: Path, tmp_path: Path, command: str
) -> None:
    program, *options = command.split()
    need(program)
    run(program, *options, "-cf", tmp_path / "x.tar", "-C", top, ".")
    expected = in_whole_seconds(kernel_listing(top))
    assert difference(expected, listing(tmp_path / "x.tar")) == []


@pytest.mark.parametrize("options", ["-z", "-j", "-J", "--zstd"])
def test_a_compressed_archive_gives_the_same(top: Path, tmp_path: Path, options: str) -> None:
    need("tar", "gzip", "bzip2", "xz", "zstd")
    run("tar", options, "--format=posix", "-cf", tmp_path / "x", "-C", top, "usr", "text")
    run("tar", "--format=posix", "-cf", tmp_path / "x.tar", "-C", top, "usr", "text")
    assert listing(tmp_path / "x") == listing(tmp_path / "x.tar")


def test_files_are_opened_in_place_and_holes_are_known(top: Path, tmp_path: Path) -> None:
    need("tar")
    run("tar", "-Scf", tmp_path / "x.tar", "-C", top, "sparse")
    with opened_tree(tmp_path / "x.tar") as (tree, _):
        assert isinstance(tree, OpenableTree)
        (entry,) = [entry for entry in tree.entries() if entry.path == b"sparse"]
        source = tree.open(entry)
        assert bytes(source.read_at((1 << 20) - 2, 8)) == b"\0\0datada"
        assert next(iter(source.extents())).is_hole


def test_an_updated_member_counts_and_is_told(tmp_path: Path) -> None:
    need("tar")
    for text in ("old", "new"):
        (tmp_path / "a").write_text(text)
        run("tar", "-rf", tmp_path / "x.tar", "-C", tmp_path, "a")
    assert files(tmp_path / "x.tar") == {b"a": b"new"}
    assert told(tmp_path / "x.tar") == [
        "duplicate-member: dropped a (a later member has the same path, and counts)"
    ]


def _archive(path: Path, *members: tuple[str, bytes, str]) -> Path:
    """Write members: name, type, and what they hold or link to."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as target:
        for name, kind, text in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind in {tarfile.SYMTYPE, tarfile.LNKTYPE}:
                info.linkname = text
                target.addfile(info)
            else:
                info.size = len(text)
                target.addfile(info, io.BytesIO(text.encode()))
    return path


FILE, SYMLINK, LINK = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([("../escaped", FILE, "x")], "leads out of the archive"),
        ([("a/../../escaped", FILE, "x")], "leads out of the archive"),
        ([("s", SYMLINK, "/etc"), ("s/escaped", FILE, "x")], "leads through the symlink 's'"),
        ([("h", LINK, "../../etc/shadow")], "leads out of the archive"),
        ([("h", LINK, "/etc/shadow")], "hard link to 'etc/shadow', which no member before it has"),
        ([("s", SYMLINK, "/etc"), ("h", LINK, "s/shadow")], "which no member before it has"),
    ],
)
def test_what_leads_out_of_an_archive_is_refused(
    tmp_path: Path, members: list[tuple[str, bytes, str]], reason: str
) -> None:
    error = problem(_archive(tmp_path / "x.tar", *members))
    assert isinstance(error, CorruptError)
    assert reason in error.message


def _records(path: Path, **records: str) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as target:
        info = tarfile.TarInfo("file")
        info.pax_headers = {name.replace("__", "."): text for name, text in records.items()}
        target.addfile(info)
    return path


def test_labels_of_selinux_end_as_the_kernel_gives_them(tmp_path: Path) -> None:
    path = _records(tmp_path / "x.tar", RHT__security__selinux="system_u:object_r:bin_t:s0")
    assert listing(path)[b"file"].xattrs == (
        (b"security.selinux", b"system_u:object_r:bin_t:s0\0"),
    )


@pytest.mark.parametrize(
    "acl",
    [
        "user::rwx,user:joe:rwx,group::r-x,mask::rwx,other::r--",
        "user::rwx,user:joe:rwx:7,group::r-x,other::r--",
        "user::rwx,user:joe:rwx:7,user:jim:rwx:7,group::r-x,mask::rwx,other::r--",
        "user::rwx",
        "nonsense",
    ],
)
def test_an_acl_that_has_no_numbers_is_left_out_and_told(tmp_path: Path, acl: str) -> None:
    path = _records(tmp_path / "x.tar", SCHILY__acl__access=acl)
    assert listing(path)[b"file"].xattrs == ()
    assert told(path) == [
        "archive-attribute: dropped file (has an ACL or xattr in a form not read)"
    ]


@pytest.mark.parametrize("kind", ["access", "default"])
@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"bogus",
        support.ACL[:-1],
        support.ACL[:4],
        support.ACL[:-8],
        b"\x03" + support.ACL[1:],
        support.ACL.replace(b"\x01\0\x06", b"\x01\0\x0e"),
        support.ACL.replace(b"\x10\0\x07", b"\x40\0\x07"),
        support.ACL[:28] + support.ACL[36:],
        support.ACL + support.ACL[-8:],
    ],
    ids=[
        *("empty", "text", "cut", "without entries", "without others", "version", "permissions"),
        *("tag", "without a mask", "twice"),
    ],
)
def test_an_acl_that_no_kernel_takes_is_left_out_and_told(
    tmp_path: Path, kind: str, value: bytes
) -> None:
    path = _raw_acl(tmp_path / "x.tar", kind, value)
    assert listing(path)[b"file"].xattrs == ()
    assert any(text.startswith("archive-attribute") for text in told(path))


def test_an_acl_in_the_form_of_an_xattr_is_taken(tmp_path: Path) -> None:
    row = listing(_raw_acl(tmp_path / "x.tar", "access", support.ACL))[b"file"]
    assert row.xattrs == ((b"system.posix_acl_access", support.ACL),)
    assert row.mode == 0o674


def _raw_acl(path: Path, kind: str, value: bytes) -> Path:
    text = value.decode("utf-8", "surrogateescape")
    return _records(path, **{f"SCHILY__xattr__system__posix_acl_{kind}": text})


def test_an_acl_that_only_repeats_the_mode_is_none(tmp_path: Path) -> None:
    path = _records(tmp_path / "x.tar", SCHILY__acl__access="user::rwx,group::r-x,other::r-x")
    assert listing(path)[b"file"].xattrs == ()
    assert told(path) == []


def test_a_file_that_says_it_is_huge_costs_nothing_until_it_is_read(tmp_path: Path) -> None:
    need("tar")
    with (tmp_path / "lastlog").open("wb") as file:
        file.truncate(15 << 40)
    run("tar", "-Scf", tmp_path / "x.tar", "-C", tmp_path, "lastlog")
    with opened_tree(tmp_path / "x.tar") as (tree, _):
        (entry,) = [entry for entry in tree.entries() if entry.path]
        assert entry.size == 15 << 40
        with pytest.raises(LimitError, match="'lastlog' has 16,492,674,416,640 bytes"):
            next(tree.read(entry))


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    path = _archive(tmp_path / "x.tar", *((str(number), FILE, "") for number in range(5)))
    assert isinstance(problem(path, Limits(entries=4)), LimitError)


@pytest.mark.parametrize("size", [512, 700, 1000, 1600, 2500])
def test_a_cut_archive_is_an_error_with_its_place(tmp_path: Path, size: int) -> None:
    path = _archive(tmp_path / "x.tar", ("a", FILE, "x" * 600), ("b", FILE, "y" * 600))
    path.write_bytes(path.read_bytes()[:size])
    error = problem(path)
    assert isinstance(error, CorruptError)
    assert error.offset is not None


def test_an_archive_that_ends_behind_a_member_is_read_and_told(tmp_path: Path) -> None:
    path = _archive(tmp_path / "x.tar", ("a", FILE, "x" * 600), ("b", FILE, "y" * 600))
    assert told(path) == []
    path.write_bytes(path.read_bytes()[:1536])
    assert files(path) == {b"a": b"x" * 600}
    assert [text.partition(":")[0] for text in told(path)] == ["archive-without-end"]


def test_what_follows_the_end_of_an_archive_is_told(tmp_path: Path) -> None:
    path = _archive(tmp_path / "x.tar", ("a", FILE, "x" * 600))
    path.write_bytes(path.read_bytes() + _archive(tmp_path / "y", ("b", FILE, "")).read_bytes())
    assert files(path) == {b"a": b"x" * 600}
    assert told(path) == [
        "trailing-data: x.tar: more follows the archive, which ends at byte 1,536; not read"
    ]


def test_an_image_of_lxd_is_its_root_tree(tmp_path: Path) -> None:
    need_root()
    top = tmp_path / "image"
    (top / "rootfs/etc").mkdir(parents=True)
    (top / "rootfs/etc/hostname").write_text("lxd")
    os.link(top / "rootfs/etc/hostname", top / "rootfs/etc/nodename")
    (top / "templates").mkdir()
    (top / "metadata.yaml").write_text(
        'architecture: x86_64\nproperties:\n  os: "Alpine"\n  release: 3.20\n  name: x\n'
    )
    need("tar")
    run("tar", "-czf", tmp_path / "x.tar.gz", "-C", top, ".")
    expected = in_whole_seconds(kernel_listing(top / "rootfs"))
    assert difference(expected, listing(tmp_path / "x.tar.gz")) == []
    with opened_tree(tmp_path / "x.tar.gz") as (tree, findings):
        assert tree.info.facts == {
            "lxd-architecture": "x86_64",
            "lxd-os": "Alpine",
            "lxd-release": "3.20",
        }
        assert "image-metadata" in {finding.rule for finding in findings}


def test_devices_of_an_archive_are_entries(tmp_path: Path) -> None:
    need_root()
    need("tar")
    os.mknod(tmp_path / "null", 0o20666, os.makedev(1, 3))
    run("tar", "-cf", tmp_path / "x.tar", "-C", tmp_path, "null")
    row = listing(tmp_path / "x.tar")[b"null"]
    assert (row.kind, row.device) == (Kind.CHARACTER_DEVICE, (1, 3))
