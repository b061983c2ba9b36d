"""Dirty journals: what we read of a copy is what the kernel shows once it has replayed it."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from formats.core.errors import CorruptError, UnsupportedError
from formats.filesystems.ext import replay
from tests.images.ext_journal import (
    attempts,
    change_everything,
    commit_often,
    delete_while_open,
    dirty_copy,
    free_folders_and_reuse_their_blocks,
)
from tests.images.ext_journal_views import (
    commit_blocks,
    journal_offset,
    listing_after_e2fsck,
    listing_unreplayed,
)
from tests.images.volumes import patch
from tests.images.workloads import write_synced
from tests.support.filesystems import kernel_refuses, listing, listing_after_kernel, opened
from tests.support.listing import difference
from tests.support.programs import need, need_root, run

_SMALL = ("-b", "1024", "-J", "size=1")
_ASYNC = "journal_async_commit,data=writeback"
_NO_CHECKSUMS = ("-O", "^metadata_csum")


@pytest.fixture(autouse=True)
def _programs() -> None:
    need_root()
    need("mke2fs", "mount", "e2fsck", "debugfs", "dumpe2fs")


_VARIANTS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "ext3 with 1 KiB blocks": (("-b", "1024"), "ext3", ""),
    "ext3 with data in the journal": (("-b", "4096"), "ext3", "data=journal"),
    "checksums of version 3": (("-b", "4096"), "ext4", ""),
    "version 3 with data in the journal": (("-b", "1024"), "ext4", "data=journal"),
    "version 3 and 32 bits": (("-b", "1024", "-O", "^64bit"), "ext4", ""),
    "version 3 and asynchronous commits": (("-b", "4096"), "ext4", _ASYNC),
    "no checksums": ((*_NO_CHECKSUMS, "-b", "1024"), "ext4", ""),
    "no checksums and 32 bits": (("-O", "^metadata_csum,^64bit", "-b", "4096"), "ext4", ""),
    "checksums of version 1": ((*_NO_CHECKSUMS, "-b", "4096"), "ext4", "journal_checksum"),
    "version 1 and asynchronous commits": (
        (*_NO_CHECKSUMS, "-b", "1024"),
        "ext4",
        _ASYNC,
    ),
    "an orphan file": (("-O", "orphan_file", "-b", "1024"), "ext4", ""),
    "inline data": (("-O", "inline_data", "-b", "4096"), "ext4", ""),
    "block maps": (("-O", "^extents,^64bit", "-b", "1024"), "ext4", "data=journal"),
}


@pytest.mark.parametrize("variant", _VARIANTS)
def test_every_kind_of_journal_is_replayed_as_the_kernel_does(
    variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mke2fs, filesystem, options = _VARIANTS[variant]
    for folder in attempts(tmp_path):
        copy = dirty_copy(
            folder, change_everything, mke2fs=mke2fs, filesystem=filesystem, options=options
        )
        ours = listing(copy.image)
        assert difference(listing_after_kernel(copy.image, filesystem), ours) == []
        assert difference(copy.live, ours) == []
        # The same comparison fails for who does not replay.
        if difference(copy.live, listing_unreplayed(copy.image, monkeypatch)):
            return
    pytest.fail("nothing was in the log only")


@pytest.mark.parametrize("options", ["", "data=journal"])
@pytest.mark.parametrize("checksums", ["metadata_csum", "^metadata_csum"])
def test_e2fsck_agrees(checksums: str, options: str, tmp_path: Path) -> None:
    copy = dirty_copy(tmp_path, change_everything, mke2fs=("-O", checksums), options=options)
    assert difference(listing_after_e2fsck(copy.image, "ext4"), listing(copy.image)) == []


def test_a_replay_is_reported_with_what_it_did(tmp_path: Path) -> None:
    copy = dirty_copy(tmp_path, change_everything)
    with opened(copy.image) as (tree, (finding,)):
        assert finding.rule == "journal-replayed"
        commits = len(commit_blocks(copy.image))
        assert finding.evidence.startswith(f"{commits} transactions, ")
        assert tree.info.facts["journal"] == "replayed"


def test_a_clean_filesystem_is_not_replayed(tmp_path: Path) -> None:
    copy = dirty_copy(tmp_path, change_everything)
    run("e2fsck", "-fy", copy.image, check=False)
    with opened(copy.image) as (tree, findings):
        assert findings == []
        assert tree.info.facts["journal"] == "clean"


@pytest.mark.parametrize("mke2fs", [("-b", "1024"), ("-b", "1024", *_NO_CHECKSUMS, "-O", "^64bit")])
def test_a_revoked_block_does_not_come_back_over_the_data_that_took_its_place(
    mke2fs: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in attempts(tmp_path):
        copy = dirty_copy(folder, free_folders_and_reuse_their_blocks, mke2fs=mke2fs, mib=16)
        ours = listing(copy.image)
        assert difference(listing_after_kernel(copy.image, "ext4"), ours) == []
        assert difference(copy.live, ours) == []
        with monkeypatch.context() as patched:
            patched.setattr(replay, "parse_revocation", lambda *_: ())
            if ours[b"full"].digest != listing(copy.image)[b"full"].digest:
                return
    pytest.fail("no revoked block was still in the log")


@pytest.mark.parametrize("mke2fs", [_SMALL, (*_SMALL, *_NO_CHECKSUMS)])
def test_a_log_that_wraps_round_is_read_to_its_end(mke2fs: tuple[str, ...], tmp_path: Path) -> None:
    for folder in attempts(tmp_path):
        copy = dirty_copy(folder, commit_often, mke2fs=mke2fs)
        ours = listing(copy.image)
        assert difference(listing_after_kernel(copy.image, "ext4"), ours) == []
        assert difference(copy.live, ours) == []
        places = [block for _, block in commit_blocks(copy.image)]
        if any(later < earlier for earlier, later in itertools.pairwise(places)):
            return
    pytest.fail("no log wrapped round")


@pytest.mark.parametrize("feature", ["orphan_file", "^orphan_file"])
def test_files_that_were_deleted_while_open_stay_deleted(feature: str, tmp_path: Path) -> None:
    copy = dirty_copy(tmp_path, delete_while_open, mke2fs=("-O", feature))
    ours = listing(copy.image)
    assert b"base/11" not in ours
    assert difference(listing_after_kernel(copy.image, "ext4"), ours) == []


@pytest.mark.parametrize("filesystem", ["ext3", "ext4"])
def test_data_that_begins_like_a_journal_block_is_unescaped(
    filesystem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = dirty_copy(
        tmp_path,
        change_everything,
        filesystem=filesystem,
        mke2fs=("-b", "1024"),
        options="data=journal",
    )
    ours = listing(copy.image)
    assert ours[b"escaped"].digest == copy.live[b"escaped"].digest
    monkeypatch.setattr(replay, "MAGIC_BYTES", bytes(4))
    assert listing(copy.image)[b"escaped"].digest != ours[b"escaped"].digest


@pytest.mark.parametrize("checksums", ["metadata_csum", "^metadata_csum"])
def test_a_transaction_without_its_commit_did_not_happen(checksums: str, tmp_path: Path) -> None:
    def two_commits(root: Path) -> None:
        write_synced(root / "first", b"1")
        write_synced(root / "second", b"2")

    copy = dirty_copy(tmp_path, two_commits, mke2fs=("-O", checksums, "-b", "1024"))
    assert b"second" in listing(copy.image)
    _, last = commit_blocks(copy.image)[-1]
    patch(copy.image, journal_offset(copy.image, last), bytes(1024))
    ours = listing(copy.image)
    assert b"first" in ours
    assert b"second" not in ours
    assert difference(listing_after_kernel(copy.image, "ext4"), ours) == []


def _damaged(folder: Path, *, back: int, at: int, mke2fs: tuple[str, ...], options: str) -> Path:
    """A dirty copy with a byte changed, ``at`` bytes into block ``back`` before the last commit."""

    def commits(root: Path) -> None:
        write_synced(root / "first", b"1")
        write_synced(root / "second", b"2")

    copy = dirty_copy(folder, commits, mke2fs=("-b", "1024", *mke2fs), options=options)
    _, last = commit_blocks(copy.image)[-1]
    offset = journal_offset(copy.image, last - back) + at
    with copy.image.open("rb") as file:
        file.seek(offset)
        (byte,) = file.read(1)
    patch(copy.image, offset, bytes([byte ^ 0x40]))
    return copy.image


@pytest.mark.parametrize(
    ("back", "at", "mke2fs", "options"),
    [
        pytest.param(0, 0x32, (), "", id="commit block"),
        pytest.param(1, 500, (), "", id="data block"),
        pytest.param(1, 500, _NO_CHECKSUMS, "journal_checksum", id="version 1"),
    ],
)
def test_damage_in_what_was_committed_is_an_error_as_it_is_for_the_kernel(
    back: int, at: int, mke2fs: tuple[str, ...], options: str, tmp_path: Path
) -> None:
    image = _damaged(tmp_path, back=back, at=at, mke2fs=mke2fs, options=options)
    assert kernel_refuses(image, "ext4")
    with pytest.raises(CorruptError, match="fails its checksum") as caught:
        listing(image)
    assert caught.value.offset is not None
    assert "e2fsck" in str(caught.value.hint)


def test_what_follows_a_commit_in_its_block_does_not_matter(tmp_path: Path) -> None:
    image = _damaged(tmp_path, back=0, at=100, mke2fs=(), options="")
    ours = listing(image)
    assert b"second" in ours
    assert difference(listing_after_kernel(image, "ext4"), ours) == []


def test_an_asynchronous_commit_whose_blocks_are_missing_did_not_happen(tmp_path: Path) -> None:
    image = _damaged(
        tmp_path,
        back=1,
        at=500,
        mke2fs=_NO_CHECKSUMS,
        options=_ASYNC,
    )
    ours = listing(image)
    assert b"second" not in ours
    assert difference(listing_after_kernel(image, "ext4"), ours) == []


def test_recovery_is_what_the_superblock_asks_for(tmp_path: Path) -> None:
    """The kernel wipes a journal, whatever is in it, where ``needs_recovery`` is not set."""
    for folder in attempts(tmp_path):
        copy = dirty_copy(folder, change_everything, mke2fs=_NO_CHECKSUMS)
        run("debugfs", "-w", "-R", "feature ^needs_recovery", copy.image)
        ours = listing(copy.image)
        assert difference(listing_after_kernel(copy.image, "ext4"), ours) == []
        if b"renamed" not in ours:
            return
    pytest.fail("nothing was in the log only")


def test_a_journal_on_another_device_is_refused_by_name(tmp_path: Path) -> None:
    external, image = tmp_path / "journal.img", tmp_path / "dirty.img"
    for path in (external, image):
        with path.open("wb") as file:
            file.truncate(16 << 20)
    run("mke2fs", "-q", "-F", "-O", "journal_dev", "-b", "1024", external)
    device = run("losetup", "-f", "--show", external).stdout.decode().strip()
    try:
        run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-J", f"device={device}", image)
    finally:
        run("losetup", "-d", device)
    with opened(image) as (tree, _):
        assert [entry.path for entry in tree.entries()] == [b"", b"lost+found"]
    run("debugfs", "-w", "-R", "feature needs_recovery", image)
    with pytest.raises(UnsupportedError, match="another device"):
        listing(image)


@pytest.mark.parametrize("version", ["2", "3"])
@pytest.mark.parametrize("width", ["64bit", "^64bit"])
def test_a_journal_written_by_debugfs_is_replayed(version: str, width: str, tmp_path: Path) -> None:
    """Checksums of version 2, which no kernel of today writes, and a block that is revoked."""
    image = _written_by_debugfs(tmp_path, version, width)
    ours = listing(image)
    assert difference(listing_after_kernel(image, "ext4"), ours) == []
    assert ours[b"written"].digest != ours[b"untouched"].digest
    assert ours[b"revoked"].digest == ours[b"untouched"].digest


def _written_by_debugfs(folder: Path, version: str, width: str) -> Path:
    image, content = folder / "written.img", folder / "content"
    with image.open("wb") as file:
        file.truncate(16 << 20)
    content.write_bytes(b"old." * 256)
    run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-O", width, image)
    for name in ("written", "revoked", "untouched"):
        run("debugfs", "-w", "-R", f"write {content} {name}", image)
    written, revoked = (
        int(run("debugfs", "-R", f"bmap {name} 0", image).stdout) for name in ("written", "revoked")
    )
    content.write_bytes(b"new." * 512)
    script = folder / "script"
    script.write_text(
        f"jo -c -v {version}\njw -b {written},{revoked} {content}\njw -r {revoked}\njc\n"
    )
    run("debugfs", "-w", "-f", script, image)
    return image
