"""Fast commits: what we read of a copy is what was there when it was taken.

The kernel's own replay is the second witness. It puts the time of the mount into every folder that
it adds a name to, so that folders' times are not compared; and it does not survive a folder that
takes the inode of a deleted one, where what was live decides.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from formats.core.entry import Kind
from formats.core.errors import CorruptError, UnsupportedError
from tests.images.ext_journal import DirtyCopy, attempts, dirty_copy, fill
from tests.images.ext_journal_views import journal_offset, listing_unreplayed
from tests.images.volumes import patch
from tests.images.workloads import write_synced
from tests.support.filesystems import kernel_refuses, listing, listing_after_kernel, opened
from tests.support.listing import Row, difference
from tests.support.programs import need, need_root, run

_FAST = ("-O", "fast_commit", "-b", "1024", "-J", "size=4")


@pytest.fixture(autouse=True)
def _programs() -> None:
    need_root()
    need("mke2fs", "mount", "debugfs", "dumpe2fs", "findmnt")


def fast_copy(
    folder: Path,
    workload: Callable[[Path], None],
    mke2fs: tuple[str, ...] = _FAST,
    content: Callable[[Path], None] = fill,
) -> tuple[DirtyCopy, int]:
    """A dirty copy, and the number of fast commits that the kernel says it made."""
    commits = 0

    def counted(root: Path) -> None:
        nonlocal commits
        write_synced(root / "warm", b"")  # the first commit of a mount is a full one
        workload(root)
        device = run("findmnt", "-no", "SOURCE", root).stdout.decode().strip()
        text = Path("/proc/fs/ext4", Path(device).name, "fc_info").read_text()
        found = re.search(r"^(\d+) commits\n(\d+) ineligible", text, re.MULTILINE)
        assert found is not None
        commits = int(found[1])

    return dirty_copy(folder, counted, mke2fs=mke2fs, content=content), commits


def without_folder_times(rows: dict[bytes, Row]) -> dict[bytes, Row]:
    return {
        path: replace(row, mtime_ns=0) if row.kind is Kind.FOLDER else row
        for path, row in rows.items()
    }


def fast_commits(image: Path) -> int:
    with opened(image) as (_, (finding,)):
        found = re.search(r"([\d,]+) fast commits$", finding.evidence)
        assert found is not None
        return int(found[1])


def create(root: Path) -> None:
    for number in range(20):
        write_synced(root / f"new{number}", b"%d" % number * 300 * number)


def overwrite_and_append(root: Path) -> None:
    for name in ("20", "large"):
        with (root / "base" / name).open("r+b", buffering=0) as file:
            file.seek(1500)
            file.write(b"over" * 500)
            os.fsync(file)
            file.seek(0, os.SEEK_END)
            file.write(b"more" * 5000)
            os.fsync(file)


def truncate_and_grow(root: Path) -> None:
    with (root / "base" / "large").open("r+b", buffering=0) as file:
        file.truncate(50_001)
        os.fsync(file)
        file.seek(300_000)
        file.write(b"behind a hole")
        os.fsync(file)
        file.truncate(400_000)
        os.fsync(file)


def preallocate(root: Path) -> None:
    with (root / "base" / "large").open("r+b", buffering=0) as file:
        os.posix_fallocate(file.fileno(), 300_000, 100_000)
        os.fsync(file)
        file.seek(350_000)
        file.write(b"written in the middle" * 100)
        os.fsync(file)


def rename(root: Path) -> None:
    (root / "base" / "21").rename(root / "base" / "other")
    (root / "base" / "22").rename(root / "gone" / "elsewhere")
    (root / "base" / "23").rename(root / "base" / "24")
    write_synced(root / "last", b"")


def link_and_unlink(root: Path) -> None:
    os.link(root / "base" / "25", root / "second")
    os.link(root / "base" / "25", root / "third")
    write_synced(root / "one", b"1")
    (root / "second").unlink()
    (root / "base" / "26").unlink()
    write_synced(root / "two", b"2")


def change_attributes(root: Path) -> None:
    base = root / "base"
    (base / "27").chmod(0o4751)
    os.chown(base / "28", 70_000, 80_000)
    os.utime(base / "29", ns=(0, 2**33 * 10**9 + 123_456_789))
    os.utime(base / "30", ns=(0, -(10**18)))
    write_synced(root / "last", b"")


def nest_folders(root: Path) -> None:
    (root / "a" / "b" / "c").mkdir(parents=True, mode=0o750)
    write_synced(root / "a" / "b" / "c" / "leaf", b"leaf")
    (root / "gone" / "deep").rmdir()
    write_synced(root / "a" / "second", b"2")


def fill_a_folder(root: Path) -> None:
    for number in range(100):
        os.link(root / "base" / "31", root / "base" / f"{'l' * 200}{number}")
    write_synced(root / "last", b"")


def reuse_inodes(root: Path) -> None:
    """The same inode number stands for one file after another, with mappings of its own."""
    for number in range(8):
        path = root / f"turn{number}"
        write_synced(path, b"%d" % number * 9000)
        path.unlink()
    with (root / "sparse").open("wb", buffering=0) as file:
        file.truncate(9000)
        file.seek(8000)
        file.write(b"end")
        os.fsync(file)


def delete_old_and_reuse(root: Path) -> None:
    for number in range(32, 40):
        (root / "base" / f"{number}").unlink()
    for number in range(8):
        with (root / f"hollow{number}").open("wb", buffering=0) as file:
            file.truncate(20_000)
            file.seek(19_000)
            file.write(b"end")
            os.fsync(file)


def fragment(root: Path) -> None:
    """More extents than an inode holds, and more than one node does."""
    with (root / "holes").open("wb", buffering=0) as file:
        for number in range(300):
            file.seek(number * 4096)
            file.write(b"%03d" % number)
        os.fsync(file)


_OPERATIONS: dict[str, Callable[[Path], None]] = {
    "create": create,
    "overwrite and append": overwrite_and_append,
    "truncate and grow": truncate_and_grow,
    "preallocate": preallocate,
    "rename": rename,
    "link and unlink": link_and_unlink,
    "change attributes": change_attributes,
    "nest folders": nest_folders,
    "fill a folder": fill_a_folder,
    "reuse inodes": reuse_inodes,
    "delete old and reuse": delete_old_and_reuse,
    "fragment": fragment,
}


def is_needed(copy: DirtyCopy, commits: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Tell whether a copy has fast commits, and is wrong for who does not replay them."""
    unreplayed = without_folder_times(listing_unreplayed(copy.image, monkeypatch))
    # A full commit is made when the area is full, and the rest begins anew.
    return 0 < fast_commits(copy.image) <= commits and bool(
        difference(without_folder_times(copy.live), unreplayed)
    )


def check(copy: DirtyCopy) -> None:
    """Compare what we replay with what was live, and with what the kernel replays."""
    ours = without_folder_times(listing(copy.image))
    assert difference(without_folder_times(copy.live), ours) == []
    kernel = listing_after_kernel(copy.image, copy.filesystem)
    assert difference(without_folder_times(kernel), ours) == []


@pytest.mark.parametrize("operation", _OPERATIONS)
def test_every_operation_is_replayed(
    operation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in attempts(tmp_path):
        copy, commits = fast_copy(folder, _OPERATIONS[operation])
        check(copy)
        if is_needed(copy, commits, monkeypatch):
            return
    pytest.fail("the kernel made no fast commits")


def everything(root: Path) -> None:
    for operation in _OPERATIONS.values():
        operation(root)


@pytest.mark.parametrize(
    "mke2fs",
    [
        pytest.param(("-O", "fast_commit", "-b", "4096"), id="4 KiB blocks"),
        pytest.param(("-O", "fast_commit,^metadata_csum,^64bit", "-b", "1024"), id="no checksums"),
        pytest.param(("-O", "fast_commit,inline_data", "-b", "4096"), id="inline data"),
        pytest.param(("-O", "fast_commit", "-b", "1024", "-I", "128"), id="128-byte inodes"),
    ],
)
def test_every_kind_of_filesystem_is_replayed(
    mke2fs: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in attempts(tmp_path):
        copy, commits = fast_copy(folder, everything, mke2fs)
        check(copy)
        if is_needed(copy, commits, monkeypatch):
            return
    pytest.fail("the kernel made no fast commits")


def test_a_folder_may_take_the_inode_of_a_deleted_one(tmp_path: Path) -> None:
    def replace_folder(root: Path) -> None:
        (root / "gone" / "deep").rmdir()
        (root / "new").mkdir()
        write_synced(root / "new" / "file", b"in it")

    copy, commits = fast_copy(tmp_path, replace_folder)
    assert commits
    assert kernel_refuses(copy.image, "ext4"), "today's kernel does; compare with it once it reads"
    ours = without_folder_times(listing(copy.image))
    assert difference(without_folder_times(copy.live), ours) == []


def test_a_file_may_be_the_first_inode_of_its_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group's descriptor still says that its inode table was never written.

    The kernel spreads new folders over the groups by chance.
    """

    def spread(root: Path) -> None:
        for number in range(24):
            (root / f"spread{number}").mkdir()
            write_synced(root / f"spread{number}" / "file", b"x")

    for folder in attempts(tmp_path):
        copy, commits = fast_copy(folder, spread, ("-O", "fast_commit,^flex_bg", "-b", "1024"))
        check(copy)
        per_group, never_used = _inode_groups(copy.image)
        with opened(copy.image) as (tree, _):
            groups = {(entry.node - 1) // per_group for entry in tree.entries()}
        if groups & never_used and is_needed(copy, commits, monkeypatch):
            return
    pytest.fail("the kernel wrote to no group for the first time")


def _inode_groups(image: Path) -> tuple[int, set[int]]:
    """Return the number of inodes a group, and the groups marked as never used on disk."""
    text = run("dumpe2fs", image).stdout.decode()
    per_group = re.search(r"^Inodes per group: +(\d+)$", text, re.MULTILINE)
    assert per_group is not None
    marked = re.findall(r"^Group (\d+): .*?\[(.*?)\]", text, re.MULTILINE)
    return int(per_group[1]), {int(group) for group, flags in marked if "INODE_UNINIT" in flags}


def test_a_full_commit_voids_the_fast_commits_before_it(tmp_path: Path) -> None:
    def both(root: Path) -> None:
        create(root)
        os.setxattr(root / "new1", "user.not.fast", b"1")
        write_synced(root / "last", b"")

    copy, commits = fast_copy(tmp_path, both)
    assert commits > 0
    assert fast_commits(copy.image) == 0
    assert difference(copy.live, listing(copy.image)) == []


def _area(image: Path) -> int:
    """Return the byte offset of the first fast commit, one block behind the log's end."""
    text = run("dumpe2fs", "-h", image).stdout.decode()
    total = re.search(r"^Total journal blocks: +(\d+)$", text, re.MULTILINE)
    fast = re.search(r"^Fast commit length: +(\d+)$", text, re.MULTILINE)
    assert total is not None
    assert fast is not None
    return journal_offset(image, int(total[1]) - int(fast[1]) + 1)


def _damaged(folder: Path, block: int, at: int) -> Path:
    copy, _ = fast_copy(folder, create)
    offset = _area(copy.image) + block * 1024 + at
    with copy.image.open("rb") as file:
        file.seek(offset)
        (byte,) = file.read(1)
    patch(copy.image, offset, bytes([byte ^ 0x40]))
    return copy.image


def test_a_damaged_first_fast_commit_is_an_error_as_it_is_for_the_kernel(tmp_path: Path) -> None:
    image = _damaged(tmp_path, block=0, at=40)
    assert kernel_refuses(image, "ext4")
    with pytest.raises(CorruptError, match="fast commit"):
        listing(image)


def test_a_later_damaged_fast_commit_ends_them(tmp_path: Path) -> None:
    image = _damaged(tmp_path, block=5, at=40)
    ours = without_folder_times(listing(image))
    assert b"new4" in ours
    assert b"new5" not in ours
    assert difference(without_folder_times(listing_after_kernel(image, "ext4")), ours) == []


def test_fast_commits_of_another_transaction_are_void(tmp_path: Path) -> None:
    image = _damaged(tmp_path, block=0, at=8)  # of the transaction in the head
    ours = listing(image)
    assert b"new0" not in ours
    assert difference(listing_after_kernel(image, "ext4"), ours) == []


def test_unknown_features_are_refused_as_the_kernel_does(tmp_path: Path) -> None:
    image = _damaged(tmp_path, block=0, at=4)
    assert kernel_refuses(image, "ext4")
    with pytest.raises(UnsupportedError, match="unknown features"):
        listing(image)


def test_a_folder_that_outgrows_the_journal_is_refused_and_not_read_stale(tmp_path: Path) -> None:
    def link_often(root: Path) -> None:
        (root / "many").mkdir()
        (root / "many" / "first").touch()
        for number in range(5000):
            os.link(root / "many" / "first", root / "many" / f"{'n' * 240}{number}")

    mke2fs = ("-O", "fast_commit", "-b", "1024", "-J", "size=1")
    copy, commits = fast_copy(
        tmp_path, lambda root: write_synced(root / "many" / "more", b""), mke2fs, link_often
    )
    assert commits
    with pytest.raises(UnsupportedError, match="fast commits") as caught:
        listing(copy.image)
    assert caught.value.hint == "mount and unmount a copy once"
