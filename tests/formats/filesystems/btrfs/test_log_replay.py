"""What was synced since the last commit: replayed in memory as the kernel replays it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.opener import open_artifact
from tests.formats.filesystems.btrfs.support import TREE_LOG, nodes
from tests.images.btrfs_everything import copy, listings, made_on, text, trees
from tests.images.btrfs_layouts import subvolume
from tests.images.btrfs_log import (
    DirtyCopy,
    Workload,
    dirty_copy,
    exchange,
    replayed_by_kernel,
    workload_of,
)
from tests.images.ext_everything import noise
from tests.images.volumes import patch
from tests.images.workloads import clone_range, fsync, write_synced
from tests.support.listing import Row, difference, tree_listing
from tests.support.programs import need, need_root, run


@pytest.fixture(autouse=True)
def _programs() -> None:
    need_root()
    need("mkfs.btrfs", "btrfs", "mount", "losetup", "fallocate")


def fill(root: Path) -> None:
    """Make what the workloads change."""
    for folder in ("base", "base/inner", "other", "gone"):
        (root / folder).mkdir()
    for number in range(30):
        (root / "base" / f"{number:02}").write_bytes(noise(700 * number, number))
    (root / "base" / "large").write_bytes(text(400_000))
    os.setxattr(root / "base" / "00", "user.old", b"old")
    os.link(root / "base" / "01", root / "other" / "hard")


def replay(folder: Path, workload: Workload, before: Workload = fill, **more: str) -> DirtyCopy:
    """Take a dirty copy, and hold our replay to the kernel's."""
    dirty = dirty_copy(folder, before, workload, **more)
    assert dirty.has_log, "this proves nothing"
    ours = listings(dirty.image)
    for path, rows in replayed_by_kernel(dirty, ours).items():
        assert difference(rows, ours[path]) == [], path
    return dirty


def root_of(dirty: DirtyCopy) -> dict[bytes, Row]:
    return listings(dirty.image)[b""]


def _new_files(root: Path) -> None:
    for number in range(20):
        write_synced(root / f"new{number}", text(number * 900, number))
    (root / "not synced").write_bytes(b"lost")


def _changed_content(root: Path) -> None:
    with (root / "base/large").open("r+b") as file:
        for at in (0, 100_000, 399_000, 900_000):
            os.pwrite(file.fileno(), noise(9000, at), at)
    fsync(root / "base/large")
    os.truncate(root / "base/20", 3000)
    fsync(root / "base/20")
    run("fallocate", "--punch-hole", "-o", "4096", "-l", "8192", root / "base/21")
    fsync(root / "base/21")
    run("fallocate", "--keep-size", "-o", "0", "-l", "900000", root / "base/22")
    fsync(root / "base/22")


def _names(root: Path) -> None:
    (root / "base/03").rename(root / "other/moved")
    (root / "base/04").rename(root / "base/05")
    (root / "base/06").unlink()
    os.link(root / "base/07", root / "other/second name")
    (root / "base/08").rename(root / "base/free again")
    (root / "base/08").write_bytes(b"another")
    exchange(root / "base/09", root / "base/10")
    (root / "base/inner").rename(root / "other/inner")
    for path in ("base", "other", "other/moved", "base/08", "base/05", "base/07"):
        fsync(root / path)


def _a_name_that_is_taken(root: Path) -> None:
    (root / "base/03").rename(root / "base/aside")
    (root / "base/04").rename(root / "base/03")
    fsync(root / "base/03")


def _attributes(root: Path) -> None:
    os.removexattr(root / "base/00", "user.old")
    os.setxattr(root / "base/00", "user.new", b"new")
    (root / "base/00").chmod(0o4711)
    os.utime(root / "base/00", ns=(0, -1_000_000_001))
    fsync(root / "base/00")
    os.setxattr(root / "base", "user.folder", b"v" * 1000)
    fsync(root / "base")


def _a_new_tree(root: Path) -> None:
    (root / "a/b/c").mkdir(parents=True)
    (root / "a/b/link").symlink_to("x" * 300)
    os.mkfifo(root / "a/b/fifo", 0o600)
    for number in range(300):
        (root / "a/b/c" / f"{number}{'n' * 80}").write_bytes(b"%d" % number)
    for folder in ("a/b/c", "a/b", "a", "."):
        fsync(root / folder)


def _a_temporary_file(root: Path) -> None:
    descriptor = os.open(root, os.O_TMPFILE | os.O_RDWR)
    try:
        os.write(descriptor, b"without a name")
        os.fsync(descriptor)
        # Only with a folder does Python ask for the link to be followed.
        own = f"/proc/self/fd/{descriptor}"
        os.link(own, root / "named later", src_dir_fd=descriptor, follow_symlinks=True)
    finally:
        os.close(descriptor)
    write_synced(root / "something", b"so that there is a log")


def _names_removed_around_a_removed_one(root: Path) -> None:
    """The log gets ranges that lie in others."""
    (root / "base/15").unlink()
    fsync(root / "base")
    for name in ("14", "16", "20"):
        (root / "base" / name).unlink()
        fsync(root / "base")
    write_synced(root / "base/17", b"so that all of it is synced")


def _room_in_advance(root: Path) -> None:
    run("fallocate", "--length", "300000", root / "reserved")
    with (root / "reserved").open("r+b") as file:
        os.pwrite(file.fileno(), noise(10_000, 1), 50_000)
    fsync(root / "reserved")
    run("fallocate", "--zero-range", "--offset", "8192", "--length", "90000", root / "base/large")
    fsync(root / "base/large")


def _a_file_that_was_removed_while_open(root: Path) -> None:
    """The log has it without a name, and what the last commit has of it stays."""
    descriptor = os.open(root / "base/11", os.O_RDWR)
    try:
        os.pwrite(descriptor, b"changed" * 500, 0)
        (root / "base/11").unlink()
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    write_synced(root / "something", b"so that there is a log")


def _folders_in_place_of_others(root: Path) -> None:
    for number in range(10):
        (root / "base" / f"{number:02}").unlink()
        (root / "base" / f"{number:02}").mkdir()
        write_synced(root / "base" / f"{number:02}" / "new", b"%d" % number)
    (root / "base/inner").rename(root / "base/inner too")
    (root / "base/inner").mkdir()
    write_synced(root / "base/inner/file", b"in the second of that name")
    (root / "gone").rmdir()
    fsync(root)


WORKLOADS: dict[str, Callable[[Path], None]] = {
    "new files": _new_files,
    "changed content": _changed_content,
    "names": _names,
    "a name that is taken": _a_name_that_is_taken,
    "names removed around a removed one": _names_removed_around_a_removed_one,
    "attributes": _attributes,
    "a new tree": _a_new_tree,
    "room in advance": _room_in_advance,
    "a file that was removed while open": _a_file_that_was_removed_while_open,
    "folders in place of others": _folders_in_place_of_others,
    "a temporary file": _a_temporary_file,
}


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_log_is_replayed_as_the_kernel_does(name: str, tmp_path: Path) -> None:
    replay(tmp_path, WORKLOADS[name], options="compress=zstd")


@pytest.mark.parametrize("seed", range(4))
def test_changes_by_chance_are_replayed_as_the_kernel_does(seed: int, tmp_path: Path) -> None:
    before, after = workload_of(seed, (60, 60))
    options = ("", "compress=zstd", "compress-force=lzo", "")[seed]

    def workload(root: Path) -> None:
        after(root)
        write_synced(root / "at last", b"so that there is a log")

    replay(tmp_path, workload, before, mkfs_options=("", "-O ^no-holes")[seed % 2], options=options)


def test_what_was_synced_is_there_and_what_was_not_is_not(tmp_path: Path) -> None:
    """The kernel's replay is no oracle of whether there was anything to replay."""
    dirty = dirty_copy(tmp_path, fill, _new_files)
    rows = root_of(dirty)
    assert rows[b"new19"].size == 19 * 900
    assert b"not synced" not in rows
    with open_artifact([dirty.image]) as artifact:
        assert [finding.rule for finding in artifact.findings] == ["journal-replayed"]
        (node,) = trees(artifact).values()
        assert node.tree is not None
        assert node.tree.info.facts["log"] == "replayed"


def test_subvolumes_have_logs_of_their_own(tmp_path: Path) -> None:
    def before(root: Path) -> None:
        fill(root)
        for name in ("one", "two", "untouched"):
            fill(subvolume(root / name))
        fill(subvolume(root / "base" / "nested"))

    def workload(root: Path) -> None:
        _names(root / "one")
        os.setxattr(root / "two", "user.root", b"of a subvolume")
        fsync(root / "two")
        write_synced(root / "base/nested/new", b"in a folder that moves")
        (root / "base").rename(root / "moved")
        write_synced(root / "moved/new", b"new")
        fsync(root / "moved")

    dirty = replay(tmp_path, workload, before)
    assert b"moved/nested" in listings(dirty.image)


def test_names_of_a_file_whose_items_did_not_change_are_kept(tmp_path: Path) -> None:
    """So many long names of one file lie in several nodes, and a log has those that changed."""

    def before(root: Path) -> None:
        (root / "folder").mkdir()
        (root / "file").write_bytes(b"of many names")
        for number in range(60):
            os.link(root / "file", root / f"{number:02}{'l' * 200}")
            os.link(root / "file", root / "folder" / f"{number:02}{'l' * 200}")

    def workload(root: Path) -> None:
        (root / "folder" / f"03{'l' * 200}").unlink()
        os.link(root / "file", root / "folder" / "late")
        fsync(root / "folder")

    dirty = replay(tmp_path, workload, before, mkfs_options="-n 4096")
    assert len(root_of(dirty)[b"file"].links) == 121


@pytest.mark.parametrize("options", ["", "compress-force=zstd"])
def test_what_two_subvolumes_share_is_in_both_logs(options: str, tmp_path: Path) -> None:
    def before(root: Path) -> None:
        for name in ("one", "two", "three"):
            subvolume(root / name)

    def workload(root: Path) -> None:
        write_synced(root / "one/whole", noise(400_000, 1))
        for name, start, length in (("two", 40_960, 16_384), ("three", 0, 98_304)):
            clone_range(root / "one/whole", root / name / "part", start, length, 8192)
            fsync(root / name / "part")

    replay(tmp_path, workload, before, options=options)


def test_a_log_on_two_devices_is_read_from_either(tmp_path: Path) -> None:
    dirty = _on_two_devices(tmp_path)
    ours = listings(dirty.image, *dirty.others)
    for path, rows in replayed_by_kernel(dirty, ours).items():
        assert difference(rows, ours[path]) == [], path
    assert ours[b""][b"new19"].size == 19 * 900
    for image in (dirty.image, *dirty.others):
        assert listings(image) == ours
    # Damaged on one device, it is there on the other one.
    assert _damage_log(dirty.image)
    with open_artifact([dirty.image, *dirty.others]) as artifact:
        assert {finding.rule for finding in artifact.findings} == {"btrfs-copy", "journal-replayed"}
        (node,) = trees(artifact).values()
        assert node.tree is not None
        assert tree_listing(node.tree) == ours[b""]
    with pytest.raises(CorruptError, match="wrong checksum"):
        listings(dirty.image)


def _on_two_devices(folder: Path) -> DirtyCopy:
    dirty: list[Path] = []

    def make(root: Path) -> None:
        run("mount", "-o", "remount,commit=300", root)
        fill(root)
        run("btrfs", "filesystem", "sync", root)
        _new_files(root)
        _names(root)
        dirty.extend(copy(folder / f"disk{n}", folder / f"dirty{n}") for n in (1, 2))

    made_on(folder, 2, "-m raid1 -d raid1", make)
    copies = DirtyCopy(dirty[0], time.time_ns(), tuple(dirty[1:]))
    assert copies.has_log, "this proves nothing"
    return copies


def test_a_log_with_items_of_unknown_kind_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dirty = dirty_copy(tmp_path, fill, _new_files)
    monkeypatch.setattr("formats.filesystems.btrfs.log.EXTENT_DATA", -1)
    with pytest.raises(UnsupportedError, match="with items of kind 108, which") as caught:
        listings(dirty.image)
    assert caught.value.hint == "mount a copy once, and unmount it"


def test_a_log_that_is_very_large_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dirty = dirty_copy(tmp_path, fill, _new_files)
    monkeypatch.setattr("formats.filesystems.btrfs.log._MOST_BYTES", 1000)
    with pytest.raises(UnsupportedError, match="has a log of what was synced"):
        listings(dirty.image)


def test_a_damaged_log_is_an_error_and_not_a_stale_tree(tmp_path: Path) -> None:
    dirty = dirty_copy(tmp_path, fill, _new_files)
    assert _damage_log(dirty.image)
    with pytest.raises(CorruptError, match="wrong checksum"):
        listings(dirty.image)


def _damage_log(image: Path) -> int:
    """Change each node of the logs, and return how many there are."""
    logs = [node for node in nodes(image) if node.owner == TREE_LOG]
    for node in logs:
        patch(image, node.at + 200, bytes([node.data[200] ^ 1]))
    return len(logs)
