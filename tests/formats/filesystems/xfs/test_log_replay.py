"""Dirty logs: what we read of a filesystem is what the kernel shows after it replayed the log."""

from __future__ import annotations

from pathlib import Path

import pytest

from formats.core.errors import ConvertError, CorruptError, LimitError, UnsupportedError
from formats.core.limits import Limits
from formats.core.opener import open_artifact
from formats.filesystems.xfs import replay, replay_mappings, replay_trees
from formats.filesystems.xfs.log_recovery import Recovered
from tests.images import xfs_log_kept
from tests.images.volumes import patch
from tests.images.xfs_log import (
    SECTOR,
    DirtyCopy,
    change_everything,
    commit_often,
    dirty_copy,
    exchange,
    flip,
    fragment_in_turns,
    free_folders_and_reuse_their_blocks,
    log_range,
    printed_records,
    seal_record,
    set_log_incompat,
    small_transactions,
)
from tests.support.filesystems import kernel_refuses, listing, listing_after_kernel, opened
from tests.support.listing import (
    Row,
    difference,
    kernel_listing,
    loop_mounted,
    loop_mounted_writable,
    tree_listing,
)
from tests.support.programs import need, need_root, run


@pytest.fixture(autouse=True)
def _programs() -> None:
    need_root()
    need("mkfs.xfs", "mount", "xfs_io", "xfs_logprint")


_VARIANTS = {
    "as made by default": ("-l size=8m", ""),
    "1 KiB blocks and 4 KiB folder blocks": ("-b size=1024 -n size=4096 -l size=8m", ""),
    "2 KiB blocks, large records": ("-b size=2048 -n size=8192 -l size=8m", "logbsize=262144"),
    "reverse mappings, many extents": (
        "-m rmapbt=1,reflink=1 -i nrext64=1 -l size=14m",
        "logbsize=65536",
    ),
    "no newer features": (
        "-m bigtime=0,finobt=0,reflink=0,inobtcount=0 -i sparse=0 -l size=8m",
        "",
    ),
    "4 KiB sectors": ("-s size=4096 -l size=8m", ""),
    "a stripe unit of 32 KiB": ("-l size=8m,sunit=64 -i size=2048", "logbsize=131072"),
}


@pytest.mark.parametrize("variant", _VARIANTS)
def test_every_kind_of_log_is_replayed_as_the_kernel_does(
    variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, mount = _VARIANTS[variant]
    copy = dirty_copy(tmp_path, change_everything, options=options, mount=mount)
    ours = listing(copy.image)
    assert difference(listing_after_kernel(copy.image, "xfs"), ours) == []
    assert difference(copy.live, ours) == []
    # The same comparison fails for who does not replay.
    assert difference(copy.live, _listing_unreplayed(copy.image, monkeypatch)) != []


def _listing_unreplayed(image: Path, monkeypatch: pytest.MonkeyPatch) -> dict[bytes, Row]:
    """What a reader without a replay sees."""
    with monkeypatch.context() as patched:
        patched.setattr(
            "formats.filesystems.xfs.reader.recover",
            lambda source, superblock, _: Recovered(source, superblock),
        )
        return _listing(image)


def _listing(image: Path) -> dict[bytes, Row]:
    """Return what is there; a filesystem that contradicts itself is empty here."""
    try:
        return listing(image)
    except CorruptError:
        return {}


def test_a_replay_is_reported_with_what_it_did(tmp_path: Path) -> None:
    copy = dirty_copy(tmp_path, small_transactions)
    with opened(copy.image) as (tree, (finding,)):
        assert finding.rule == "journal-replayed"
        assert finding.evidence.startswith("12 transactions, ")
        assert tree.info.facts["log"] == "replayed"


def test_a_clean_filesystem_is_not_replayed(tmp_path: Path) -> None:
    copy = dirty_copy(tmp_path, small_transactions)
    with loop_mounted_writable(copy.image, "xfs"):
        pass
    with opened(copy.image) as (tree, findings):
        assert findings == []
        assert tree.info.facts["log"] == "clean"


def test_what_was_repaired_without_its_log_is_clean(tmp_path: Path) -> None:
    copy = dirty_copy(tmp_path, small_transactions)
    run("xfs_repair", "-L", copy.image)
    with opened(copy.image) as (_, findings):
        assert findings == []


def test_a_freed_block_does_not_come_back_over_the_data_that_took_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = dirty_copy(
        tmp_path, free_folders_and_reuse_their_blocks, options="-l size=8m -b size=1024", size="20M"
    )
    ours = listing(copy.image)
    assert difference(listing_after_kernel(copy.image, "xfs"), ours) == []
    assert difference(copy.live, ours) == []
    # It would, for who does not know what is freed later.
    monkeypatch.setattr(replay.Replay, "look_ahead", lambda *_: None)
    assert _listing(copy.image).get(b"full") != ours[b"full"]


def test_a_log_that_wraps_round_is_read_to_its_end(tmp_path: Path) -> None:
    copy = dirty_copy(tmp_path, commit_often, options="-l size=20m,sunit=512", size="96M")
    ours = listing(copy.image)
    assert difference(listing_after_kernel(copy.image, "xfs"), ours) == []
    assert difference(copy.live, ours) == []
    assert printed_records(copy.image)[-1].cycle > 1


@pytest.fixture(scope="module")
def stepped(tmp_path_factory: pytest.TempPathFactory) -> DirtyCopy:
    """A filesystem with a dozen records in its log, each of which made a file."""
    need_root()
    need("mkfs.xfs", "mount", "xfs_io")
    return dirty_copy(tmp_path_factory.mktemp("stepped"), small_transactions)


@pytest.fixture
def image(stepped: DirtyCopy, tmp_path: Path) -> Path:
    copy = tmp_path / "image"
    run("cp", "--sparse=always", stepped.image, copy)
    return copy


def _steps(rows: dict[bytes, Row]) -> int:
    return sum(path.startswith(b"step") for path in rows)


@pytest.mark.parametrize("missing", [1, 3, 8])
def test_torn_records_at_the_head_did_not_happen(missing: int, image: Path) -> None:
    flip(image, printed_records(image)[-missing].offset + SECTOR + 100)
    with opened(image) as (tree, (finding,)):
        ours = tree_listing(tree)
    assert _steps(ours) == 12 - missing
    assert difference(listing_after_kernel(image, "xfs"), ours) == []
    assert f"the last {missing} left out" in finding.evidence


@pytest.mark.parametrize("missing", [1, 4])
def test_records_that_were_not_written_before_a_crash_end_the_log(
    missing: int, image: Path
) -> None:
    record = printed_records(image)[-missing]
    stamps = (record.cycle - 1).to_bytes(4, "big") + bytes(SECTOR - 4)
    patch(image, record.offset, stamps * (1 + record.length // SECTOR))
    ours = listing(image)
    assert _steps(ours) == 12 - missing
    assert difference(listing_after_kernel(image, "xfs"), ours) == []


def test_damage_in_what_was_written_long_ago_is_an_error_as_it_is_for_the_kernel(
    image: Path,
) -> None:
    records = printed_records(image)
    flip(image, records[-11].offset + SECTOR + 100)
    assert kernel_refuses(image, "xfs")
    with pytest.raises(CorruptError, match="a record is damaged") as caught:
        listing(image)
    assert caught.value.offset == records[-11].offset
    assert "mount a copy" in str(caught.value.hint)


def test_what_is_newer_on_the_disk_than_in_the_log_stays(stepped: DirtyCopy, image: Path) -> None:
    """Blocks that were written after they were logged say so themselves."""
    log = log_range(image)
    with loop_mounted_writable(image, "xfs") as root:
        for number in range(12):
            (root / f"step{number:02}").rename(root / f"moved{number:02}")
            (root / f"moved{number:02}").chmod(0o400)
    with loop_mounted(image, "xfs") as root:
        newest = kernel_listing(root)
    with stepped.image.open("rb") as file:
        file.seek(log.start)
        patch(image, log.start, file.read(len(log)))
    with opened(image) as (tree, (finding,)):
        assert difference(newest, tree_listing(tree)) == []
    assert "12 transactions, 0 changes of buffers" in finding.evidence


def test_replaying_that_needs_too_much_memory_is_refused(image: Path) -> None:
    with open_artifact([image], limits=Limits(replay_bytes=16 << 10)) as artifact:
        problem = artifact.nodes[0].problem
    assert isinstance(problem, LimitError)
    assert "16,384 bytes of memory" in problem.message


@pytest.mark.parametrize(
    ("at", "value", "error", "message"),
    [
        (300, (2).to_bytes(4, "big"), UnsupportedError, "another byte order"),
        (304, bytes(16), CorruptError, "another filesystem"),
        (16, bytes(8), CorruptError, "no record where it ends"),
    ],
)
def test_a_log_that_is_not_of_this_filesystem_and_machine_is_refused(
    at: int, value: bytes, error: type[ConvertError], message: str, image: Path
) -> None:
    for record in printed_records(image):
        patch(image, record.offset + at, value)
        seal_record(image, record)
    with pytest.raises(error, match=message):
        listing(image)


def test_unknown_features_of_a_log_are_refused_only_where_it_is_needed(image: Path) -> None:
    set_log_incompat(image, 0x8000)
    with pytest.raises(UnsupportedError, match="unknown features"):
        listing(image)


def test_a_log_on_another_device_is_refused_by_name(tmp_path: Path) -> None:
    image, external = tmp_path / "image", tmp_path / "log"
    run("truncate", "--size", "64M", image, external)
    run("mkfs.xfs", "-q", "-f", "--unsupported", "-l", f"logdev={external},size=16m", image)
    with pytest.raises(UnsupportedError, match="another device"):
        listing(image)


def test_mappings_of_blocks_that_were_still_to_be_changed_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = xfs_log_kept.kept("mappings", tmp_path)
    ours = listing(image)
    assert difference(listing_after_kernel(image, "xfs"), ours) == []
    monkeypatch.setattr(replay_mappings.Mappings, "carry_out", lambda *_: None)
    assert difference(listing(image), ours) != []


def test_trees_of_files_that_were_exchanged_belong_to_the_right_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log has the roots of the trees only, and says that the rest follows.

    What the kernel showed live is the oracle: Linux 6.18 does not mount this one any more.
    """
    options = "-m rmapbt=0,reflink=0 -b size=1024 -l size=8m"
    copy = dirty_copy(tmp_path, exchange, options=options, content=fragment_in_turns)
    assert difference(copy.live, listing(copy.image)) == []
    monkeypatch.setattr(replay_trees.ExtentTrees, "set_owner", lambda *_: None)
    with pytest.raises(CorruptError, match="belongs to inode"):
        listing(copy.image)


@pytest.mark.parametrize("name", xfs_log_kept.IN_MACHINE)
def test_version_4_and_quotas_are_replayed_as_an_older_kernel_did(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = xfs_log_kept.kept(name, tmp_path)
    after = listing(xfs_log_kept.kept(f"{name}.after", tmp_path))
    assert b"last" in after
    assert difference(after, listing(image)) == []
    assert difference(after, _listing_unreplayed(image, monkeypatch)) != []


def test_logs_of_kernels_without_checksums_are_replayed(tmp_path: Path) -> None:
    image = xfs_log_kept.kept("v4", tmp_path)
    before = listing(image)
    for record in printed_records(image):
        patch(image, record.offset + 32, bytes(4))
    assert difference(before, listing(image)) == []


def test_a_log_whose_beginning_was_wiped_is_not_taken_for_an_unused_one(image: Path) -> None:
    patch(image, log_range(image).start, bytes(SECTOR))
    with pytest.raises(CorruptError, match="wiped"):
        listing(image)
