"""Folders of this machine as trees, held against what the kernel says of them."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from convert.images.folder import FolderTree, open_folder
from convert.layers.walk import content
from formats.core.entry import Kind
from formats.core.errors import (
    AmbiguousError,
    CorruptError,
    InputReadError,
    LimitError,
    UnsupportedError,
)
from formats.core.limits import DEFAULT_LIMITS, MIB, Limits
from tests.support.listing import difference, kernel_listing, tree_listing
from tests.support.programs import need, need_root, run


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Return a folder with something of everything that a normal user can make."""
    place = tmp_path / "place"
    for path in ("etc", "b", "b-c", "empty"):
        (place / path).mkdir(parents=True)
    (place / "etc/file").write_text("content")
    os.link(place / "etc/file", place / "b/same")
    os.link(place / "etc/file", place / "z")
    (place / "b/link").symlink_to("/etc/passwd")
    os.link(place / "b/link", place / "b/same-link", follow_symlinks=False)
    (place / "etc/dangling").symlink_to("nothing")
    os.mkfifo(place / "etc/fifo", 0o600)
    (place / "etc/file").chmod(0o4711)
    os.utime(place / "etc/file", ns=(1, 1_234_567_890_123_456_789))
    os.setxattr(place / "etc/file", "user.note", b"kept")
    name = os.fsencode(place) + b"/b-c/not-\xff-utf8\n"
    Path(os.fsdecode(name)).write_bytes(b"x" * 70_000)
    with (place / "sparse").open("wb") as file:
        file.truncate(3 * MIB)
        file.seek(2 * MIB)
        file.write(b"data")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(place)  # the address of a socket is short
        try:
            server.bind("socket")
        finally:
            os.chdir(here)
    yield place
    shutil.rmtree(place, ignore_errors=True)


def opened(place: Path, limits: Limits = DEFAULT_LIMITS) -> FolderTree:
    return open_folder(place, limits, is_stated=True)


def test_a_folder_is_what_the_kernel_says(place: Path) -> None:
    tree = opened(place)
    assert difference(kernel_listing(place), tree_listing(tree)) == []
    assert tree.findings == ()
    tree.close()


def test_devices_owners_and_acls_are_read(place: Path) -> None:
    need_root()
    need("setfacl", "setcap")
    os.mknod(place / "etc/null", 0o020666, os.makedev(1, 3))
    os.mknod(place / "etc/disk", 0o060600, os.makedev(259, 300_000))
    os.chown(place / "etc/fifo", 70_000, 80_000)
    run("setfacl", "-m", "u:1234:rw", place / "etc/file")
    run("setcap", "cap_net_raw+ep", place / "etc/file")
    tree = opened(place)
    assert difference(kernel_listing(place), tree_listing(tree)) == []
    tree.close()


def test_order_is_that_of_a_tree(place: Path) -> None:
    tree = opened(place)
    paths = [entry.path for entry in tree.entries()]
    assert paths == sorted(paths, key=lambda path: path.split(b"/"))
    tree.close()


def test_content_is_read_again_and_from_any_place(place: Path) -> None:
    tree = opened(place)
    files = {entry.path: entry for entry in tree.entries()}
    for _ in range(2):
        assert b"".join(tree.read(files[b"etc/file"])) == b"content"
    assert bytes(tree.open(files[b"sparse"]).read_at(2 * MIB, 4)) == b"data"
    tree.close()


def test_holes_are_not_read(place: Path) -> None:
    tree = opened(place)
    entry = next(entry for entry in tree.entries() if entry.path == b"sparse")
    extents = list(tree.open(entry).extents())
    assert extents[0].is_hole
    assert sum(len(chunk) for chunk in tree.read(entry)) == 3 * MIB
    tree.close()


def test_a_symlink_in_the_place_of_a_folder_is_not_followed(place: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file").write_text("secret!")
    tree = opened(place)
    entry = next(entry for entry in tree.entries() if entry.path == b"etc/file")
    shutil.rmtree(place / "etc")
    (place / "etc").symlink_to(secret)
    with pytest.raises(InputReadError, match="'etc' cannot be read"):
        b"".join(tree.read(entry))
    tree.close()


def test_nor_one_in_the_place_of_a_file(place: Path) -> None:
    tree = opened(place)
    entry = next(entry for entry in tree.entries() if entry.path == b"etc/file")
    (place / "etc/file").unlink()
    (place / "etc/file").symlink_to("/etc/passwd")
    with pytest.raises(InputReadError, match="cannot open"):
        b"".join(tree.read(entry))
    tree.close()


def test_a_pipe_in_the_place_of_a_file_does_not_block(place: Path) -> None:
    tree = opened(place)
    entry = next(entry for entry in tree.entries() if entry.path == b"etc/file")
    (place / "etc/file").unlink()
    os.mkfifo(place / "etc/file")
    with pytest.raises(UnsupportedError, match="is not a file"):
        b"".join(tree.read(entry))
    tree.close()


def test_what_is_named_by_a_symlink_is_the_folder(place: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(place)
    tree = opened(tmp_path / "link")
    assert difference(kernel_listing(place), tree_listing(tree)) == []
    tree.close()


def test_the_kernels_own_filesystems_are_left_empty(place: Path) -> None:
    need_root()
    name = "proc \v\r - x"  # the kernel escapes the space alone
    (place / name).mkdir()
    (place / "other").mkdir()
    run("mount", "-t", "proc", "proc", place / name)
    run("mount", "-t", "tmpfs", "none", place / "other")
    try:
        (place / "other/file").write_text("there")
        tree = opened(place)
        paths = [entry.path for entry in tree.entries()]
        tree.close()
    finally:
        run("umount", place / "other")
        run("umount", place / name)
    assert name.encode() in paths
    assert not [path for path in paths if path.startswith(name.encode() + b"/")]
    assert b"other/file" in paths
    assert [(finding.rule, finding.path) for finding in tree.findings] == [
        ("kernel-filesystem", name.encode())
    ]


def test_without_proc_nothing_is_known_to_be_the_kernels(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convert.images.mounts._MOUNTS", Path("/nothing/there"))
    tree = opened(place)
    assert len(list(tree.entries())) > 10
    tree.close()


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (replace(DEFAULT_LIMITS, entries=4), "more than 4 entries"),
        (replace(DEFAULT_LIMITS, folder_entries=4), "more than 4 entries"),
        (replace(DEFAULT_LIMITS, path_bytes=4), "too long or too deep"),
        (replace(DEFAULT_LIMITS, depth=1), "too long or too deep"),
    ],
)
def test_limits_hold(place: Path, limits: Limits, message: str) -> None:
    with pytest.raises(LimitError, match=message):
        opened(place, limits)


def test_no_handles_are_left_behind(place: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    tree = opened(place)
    for entry in tree.entries():
        if entry.kind is Kind.FILE:
            b"".join(tree.read(entry))
            tree.open(entry)
    tree.close()
    with pytest.raises(LimitError):
        opened(place, replace(DEFAULT_LIMITS, entries=4))
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_no_folder_is_refused(place: Path) -> None:
    for path in (place / "nothing", place / "z"):
        with pytest.raises(InputReadError, match="cannot be read"):
            opened(path)


def test_what_may_not_be_read_is_an_error(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.listdir", refuse)
    with pytest.raises(InputReadError, match=r"Permission denied; read it as root"):
        opened(place)


def test_a_file_that_grows_is_noticed_by_who_writes_it(place: Path) -> None:
    tree = opened(place)
    entry = next(entry for entry in tree.entries() if entry.path == b"etc/file")
    (place / "etc/file").write_text("more content")
    with pytest.raises(CorruptError, match="is said to have 7 bytes and has more"):
        b"".join(content(tree, entry))
    tree.close()


def test_a_folder_with_a_layout_in_it_has_to_be_named(place: Path) -> None:
    (place / "oci-layout").write_text("{}")
    with pytest.raises(AmbiguousError, match=f"oci:{place} is the image"):
        open_folder(place, DEFAULT_LIMITS, is_stated=False)
    opened(place).close()
