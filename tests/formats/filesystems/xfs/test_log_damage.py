"""Damaged and hostile logs: a typed error or a tree, never a crash, and soon."""

from __future__ import annotations

import struct
from pathlib import Path

import google_crc32c
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.core.errors import ConvertError, CorruptError, LimitError, UnsupportedError
from formats.core.limits import MIB, Limits
from formats.core.origin import Origin
from formats.core.source import ByteSource, FileSource, MappedSource, MemorySource, Segment
from formats.filesystems.xfs.log_record import Log, read_record
from formats.filesystems.xfs.log_recovery import recover
from formats.filesystems.xfs.log_transactions import Item, ItemType, committed
from formats.filesystems.xfs.replay_buffers import BufferReplay
from formats.filesystems.xfs.replay_intents import Intents
from formats.filesystems.xfs.replay_mappings import Mappings
from formats.filesystems.xfs.replay_overlay import Overlay
from formats.filesystems.xfs.replay_trees import Extent, ExtentTrees
from formats.filesystems.xfs.superblock import read_superblock
from tests.images.xfs_log import (
    SECTOR,
    PrintedRecord,
    dirty_copy,
    log_range,
    printed_records,
    small_transactions,
)
from tests.support.filesystems import TYPED, opened
from tests.support.programs import need, need_root

_LIMITS = Limits(replay_bytes=16 * MIB)
_WORDS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x200, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_root()
    need("mkfs.xfs", "mount", "xfs_io", "xfs_logprint")
    return dirty_copy(
        tmp_path_factory.mktemp("dirty"), small_transactions, options="-l size=6m"
    ).image


class Changeable:
    """A filesystem whose log can be changed, with the checksums of its records put right."""

    def __init__(self, image: Path) -> None:
        self._source = FileSource(image)
        self._range = log_range(image)
        self.records = printed_records(image)
        self._log = bytes(self._source.read_at(self._range.start, len(self._range)))

    def changed(self, changes: list[tuple[int, int, bytes]]) -> ByteSource:
        """Return it with bytes of records changed.

        :param changes: which record, -1 being the newest, where in it, and what is there then.
        """
        log = bytearray(self._log)
        for number, at, value in changes:
            record = self.records[number]
            start = record.offset - self._range.start
            place = start + at % (SECTOR + record.length - len(value))
            log[place : place + len(value)] = value
            self._seal(log, record)
        start, end = self._range.start, self._range.stop
        rest = self._source.size - end
        log_source = MemorySource(bytes(log), Origin(("log",)))
        segments = [
            Segment(0, start, self._source),
            Segment(start, len(log), log_source),
            Segment(end, rest, self._source, end),
        ]
        return MappedSource(segments, Origin(("image",)))

    def _seal(self, log: bytearray, record: PrintedRecord) -> None:
        start = record.offset - self._range.start
        raw = log[start : start + SECTOR + record.length]
        raw[32:36] = bytes(4)
        checksum: int = google_crc32c.value(bytes(raw[:328] + raw[SECTOR:]))
        log[start + 32 : start + 36] = checksum.to_bytes(4, "little")


@pytest.fixture(scope="module")
def changeable(image: Path) -> Changeable:
    return Changeable(image)


def _outcome(source: ByteSource) -> str:
    """Return the code of the error that recovering ends with."""
    try:
        recovered = recover(source, read_superblock(source), _LIMITS)
    except ConvertError as error:
        return error.code if error.origin is not None else "from nowhere"
    return "clean" if recovered.replayed is None else "replayed"


_CHANGES = st.lists(
    st.tuples(
        st.integers(-13, -1),
        st.one_of(st.integers(0, 44), st.integers(SECTOR, SECTOR + 300), st.integers(0, 1 << 16)),
        st.one_of(
            st.binary(min_size=1, max_size=4),
            st.sampled_from([struct.pack(">I", word) for word in _WORDS]),
            st.sampled_from([struct.pack("<I", word) for word in _WORDS]),
        ),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=100)
@given(changes=_CHANGES)
def test_a_hostile_log_is_a_typed_error_or_replayed(
    changes: list[tuple[int, int, bytes]], changeable: Changeable
) -> None:
    assert _outcome(changeable.changed(changes)) in {*TYPED, "clean", "replayed"}


def test_an_unchanged_log_is_replayed(changeable: Changeable) -> None:
    assert _outcome(changeable.changed([])) == "replayed"


@pytest.mark.parametrize("at", [12, 40])
def test_a_record_with_absurd_counts_is_an_error(at: int, changeable: Changeable) -> None:
    """``h_len`` and ``h_num_logops``, with the checksum put right."""
    assert _outcome(changeable.changed([(-11, at, b"\xff" * 4)])) == "corrupt"


def test_a_log_of_noise_is_no_log(image: Path, changeable: Changeable) -> None:
    noise = bytes(range(256)) * (len(log_range(image)) // 256)
    start = log_range(image).start
    source = changeable.changed([])
    segments = [
        Segment(0, start, source),
        Segment(start, len(noise), MemorySource(noise, Origin(("noise",)))),
        Segment(start + len(noise), source.size - start - len(noise), source, start + len(noise)),
    ]
    assert _outcome(MappedSource(segments, Origin(("image",)))) == "corrupt"


class Machinery:
    """The parts of a replay, over a filesystem, for items made by hand."""

    def __init__(self, image: Path) -> None:
        source = FileSource(image)
        self.superblock = read_superblock(source)
        self.log = Log(source, self.superblock)
        self.overlay = Overlay(source, self.superblock.block_bytes, 4 * MIB)
        buffers = BufferReplay(self.log, self.superblock, self.overlay)
        self.trees = ExtentTrees(self.superblock, self.overlay, buffers)
        mappings = Mappings(self.log, self.superblock, self.overlay, self.trees)
        self.intents = Intents(self.log, self.overlay, mappings)


@pytest.fixture
def machinery(image: Path) -> Machinery:
    return Machinery(image)


def _intent(kind: ItemType, identity: int, rest: bytes = b"") -> Item:
    return Item(kind, [struct.pack("<HHIQ", kind, 1, 1, identity) + rest], 0)


@pytest.mark.parametrize(
    ("kind", "done", "what"),
    [
        (ItemType.ATTRI, ItemType.ATTRD, "extended attributes"),
        (ItemType.XMI, ItemType.XMD, "exchange of the contents"),
    ],
)
def test_deferred_work_on_files_that_is_not_read_is_refused_unless_it_was_done(
    kind: ItemType, done: ItemType, what: str, machinery: Machinery
) -> None:
    machinery.intents.take(_intent(kind, 7))
    machinery.intents.take(_intent(done, 7))
    assert machinery.intents.carry_out() == ""
    machinery.intents.take(_intent(kind, 8))
    machinery.intents.take(_intent(done, 7))
    with pytest.raises(UnsupportedError, match=what) as caught:
        machinery.intents.carry_out()
    assert "mount a copy" in str(caught.value.hint)


def test_deferred_work_on_free_space_is_left_out_and_counted(machinery: Machinery) -> None:
    for kind in (ItemType.EFI, ItemType.RUI, ItemType.CUI):
        machinery.intents.take(_intent(kind, 1))
    machinery.intents.take(_intent(ItemType.RUD, 1))
    assert machinery.intents.carry_out() == "2 updates of free space left out"


def test_a_mapping_over_what_a_file_has_there_already_is_an_error(
    image: Path, machinery: Machinery
) -> None:
    with opened(image) as (tree, _):
        (number,) = (entry.node for entry in tree.entries() if entry.path == b"base/39")
    item = _intent(ItemType.BUI, 1, struct.pack("<3QII", number, 9, 0, 1, 1))
    machinery.intents.take(item)
    with pytest.raises(CorruptError, match="does not fit inode"):
        machinery.intents.carry_out()


def test_transactions_under_way_take_no_more_memory_than_is_allowed(
    image: Path, machinery: Machinery
) -> None:
    log, start = machinery.log, log_range(image).start
    found = [read_record(log, (one.offset - start) // SECTOR) for one in printed_records(image)]
    records = [record for record in found if record is not None]
    assert len(records) == len(found)
    assert list(committed(log, records, MIB))
    with pytest.raises(LimitError, match="memory"):
        list(committed(log, records, 1000))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((1 << 60, 9, 0, 1, 1), "does not fit inode"),
        ((128, 9, 0, 0, 1), "is impossible"),
        ((128, 9, 0, 1, 3), "is impossible"),
        ((128, 1 << 50, 0, 1, 1), "is damaged"),
    ],
)
def test_an_impossible_mapping_is_an_error(
    fields: tuple[int, ...], message: str, machinery: Machinery
) -> None:
    item = _intent(ItemType.BUI, 1, struct.pack("<3QII", *fields))
    machinery.intents.take(item)
    with pytest.raises(CorruptError, match=message):
        machinery.intents.carry_out()


def test_a_mapping_on_a_realtime_device_is_refused(machinery: Machinery) -> None:
    item = _intent(ItemType.BUI, 1, struct.pack("<3QII", 128, 9, 0, 1, 1 << 29 | 1))
    machinery.intents.take(item)
    with pytest.raises(UnsupportedError, match="realtime"):
        machinery.intents.carry_out()


@pytest.mark.parametrize("count", [0, 1, 20, 21, 400, 20_000, 70_000])
def test_extents_that_are_put_into_a_fork_are_found_in_it_again(
    count: int, machinery: Machinery
) -> None:
    extents = [Extent(3 * at, 100 + at, 2, at % 5 == 0) for at in range(count)]
    form, fork = machinery.trees.pack(extents, [], 336, 131)
    assert len(fork) == 336
    again, blocks = machinery.trees.extents(fork, form, count)
    assert again == extents
    assert len(set(blocks)) == len(blocks)


def test_a_tree_that_leads_to_itself_is_an_error(machinery: Machinery) -> None:
    extents = [Extent(3 * at, 100 + at, 2, is_unwritten=False) for at in range(2000)]
    form, fork = machinery.trees.pack(extents, [], 336, 131)
    _, blocks = machinery.trees.extents(fork, form, 2000)
    first, second = (block.to_bytes(8, "big") for block in blocks[:2])
    with pytest.raises(CorruptError, match=f"leads to block {blocks[0]:,}"):
        machinery.trees.extents(fork.replace(second, first), form, 2000)
