"""Disks that were not closed: what QEMU makes of a log is what is read through ours."""

from __future__ import annotations

import random
import shutil
import struct
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from formats.core.errors import CorruptError
from formats.core.origin import Origin
from formats.core.source import ByteSource, FileSource
from formats.disks.vhdx.reader import READER
from tests.images.vhdx import CONTENT, HEADERS, LOG_OFFSET, Write, header, log_entry
from tests.support.disk_images import KIB, MIB, patch, problem, qemu_io
from tests.support.disks import inside, opened
from tests.support.programs import run

pytestmark = pytest.mark.usefixtures("qemu")

LOG = uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
OTHER_LOG = uuid.UUID(int=5)
STARTS = (0, 600 * MIB, 1200 * MIB, 1800 * MIB)


@dataclass(frozen=True, slots=True)
class Pending:
    """A disk with four blocks that its table does not know of yet.

    :ivar path: the disk, its table still empty.
    :ivar writes: what brings each sector of the table up to date.
    """

    path: Path
    writes: tuple[Write, ...]

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def entry(self, sequence: int, tail: int, writes: Sequence[Write], **other: int) -> bytes:
        ends = {"flushed": MIB, "last": MIB, **other}
        return log_entry(
            sequence, tail, writes, log=LOG, flushed=ends["flushed"], last=ends["last"]
        )

    def put(self, offset: int, entry: bytes) -> int:
        """Write an entry at an offset of the log, round its end; return where the next one goes."""
        fits = entry[: MIB - offset]
        patch(self.path, LOG_OFFSET + offset, fits)
        patch(self.path, LOG_OFFSET, entry[len(fits) :])
        return (offset + len(entry)) % MIB


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A disk before and after four blocks were written, each in another sector of its table."""
    folder = tmp_path_factory.mktemp("vhdx")
    before, after = folder / "before.vhdx", folder / "after.vhdx"
    run("qemu-img", "create", "-f", "vhdx", "-o", "block_size=1M", before, "2G")
    shutil.copyfile(before, after)
    for place, start in enumerate(STARTS):
        qemu_io(after, "vhdx", f"write -P {place + 1} {start + 4096} 300k")
    return before, after


@pytest.fixture
def pending(written: tuple[Path, Path], tmp_path: Path) -> Pending:
    before, after = written
    path = tmp_path / "disk.vhdx"
    run("cp", "--sparse=always", after, path)
    table = _bat_offset(path)
    old, new = before.read_bytes(), after.read_bytes()
    writes = []
    for offset in range(table, table + 64 * KIB, 4096):
        sector = new[offset : offset + 4096]
        if sector != old[offset : offset + 4096]:
            patch(path, offset, old[offset : offset + 4096])
            writes.append(Write(offset, sector))
    assert len(writes) == len(STARTS)
    patch(path, LOG_OFFSET, bytes(MIB))
    for place in HEADERS:
        patch(path, place, header(1 << 40, content=CONTENT, log=LOG))
    return Pending(path, tuple(writes))


def _bat_offset(image: Path) -> int:
    (place,) = struct.unpack_from("<Q", image.read_bytes()[192 * KIB :][:100], 32)
    return int(place)


def repaired(image: Path) -> FileSource:
    """Return the disk as QEMU has it once it has replayed the log of a copy."""
    copy, target = image.with_suffix(".copy"), image.with_suffix(".raw")
    run("cp", "--sparse=always", image, copy)
    run("qemu-img", "check", "-f", "vhdx", "-r", "all", copy)
    run("qemu-img", "convert", "-f", "vhdx", "-O", "raw", copy, target)
    return FileSource(target, Origin((target.name,)))


def same_bytes(ours: ByteSource, theirs: ByteSource) -> int:
    """Check that all that is data in one of the two is the same in the other; return how much."""
    assert ours.size == theirs.size
    total = 0
    for source in (ours, theirs):
        for extent in source.extents():
            if not extent.is_hole:
                mine = bytes(ours.read_at(extent.offset, extent.length))
                assert mine == bytes(theirs.read_at(extent.offset, extent.length))
                total += len(mine.replace(b"\0", b""))
    return total


def one_entry(pending: Pending) -> None:
    pending.put(0, pending.entry(7, 0, pending.writes))


def an_entry_for_each_sector(pending: Pending) -> None:
    position = 0
    for number, write in enumerate(pending.writes):
        position = pending.put(position, pending.entry(40 + number, 0, [write]))


def entries_that_wrap_round(pending: Pending) -> None:
    tail = position = MIB - 3 * 4096
    for number, write in enumerate(pending.writes):
        position = pending.put(position, pending.entry(40 + number, tail, [write]))


def an_entry_that_wraps_round_itself(pending: Pending) -> None:
    tail = MIB - 2 * 4096
    pending.put(tail, pending.entry(9, tail, pending.writes))


def old_entries_of_the_same_log(pending: Pending) -> None:
    """Complete, and older: what they write was written over since."""
    junk = [Write(write.offset, b"\xff" * 4096) for write in pending.writes]
    position = pending.put(0, pending.entry(3, 0, junk))
    pending.put(position + 8192, pending.entry(8, position + 8192, pending.writes))


def an_entry_whose_last_sector_is_torn(pending: Pending) -> None:
    junk = [Write(write.offset, b"\xff" * 4096) for write in pending.writes]
    position = pending.put(0, pending.entry(5, 0, pending.writes))
    torn = pending.entry(6, 0, junk)
    pending.put(position, torn[:-4096] + bytes(4096))


def entries_of_another_log(pending: Pending) -> None:
    position = pending.put(0, pending.entry(5, 0, pending.writes))
    junk = [Write(write.offset, b"\xff" * 4096) for write in pending.writes]
    pending.put(position, log_entry(6, 0, junk, log=OTHER_LOG, flushed=MIB, last=MIB))


def zeros_and_data_over_one_another(pending: Pending) -> None:
    first, *others = pending.writes
    junk = Write(first.offset, b"\xff" * 4096)
    whole_table = Write(first.offset, zeros=64 * KIB)
    position = pending.put(0, pending.entry(5, 0, [junk, *others]))
    position = pending.put(position, pending.entry(6, 0, [whole_table]))
    pending.put(position, pending.entry(7, 0, [first, others[-1]]))


def zeros_twice_and_side_by_side(pending: Pending) -> None:
    table = pending.writes[0].offset
    zeros = [
        Write(table + 32 * KIB, zeros=8 * KIB),
        Write(table + 40 * KIB, zeros=8 * KIB),
        Write(table + 36 * KIB, zeros=8 * KIB),
        Write(table + 56 * KIB, zeros=4 * KIB),
    ]
    pending.put(0, pending.entry(5, 0, [*zeros, *pending.writes]))


def a_sequence_that_starts_behind_older_entries(pending: Pending) -> None:
    """The newest entry names the second as the oldest that still counts."""
    junk = Write(pending.writes[0].offset + 60 * KIB, b"\xff" * 4096)
    second = pending.put(0, pending.entry(5, 0, [junk]))
    third = pending.put(second, pending.entry(6, second, pending.writes[:2]))
    pending.put(third, pending.entry(7, second, pending.writes[2:]))


def many_descriptors(pending: Pending) -> None:
    """More than the first sector of an entry has room for."""
    table = pending.writes[0].offset
    filler = [Write(table + 32 * KIB, bytes(4096))] * 200
    pending.put(0, pending.entry(1, 0, [*filler, *pending.writes]))


LOGS: tuple[Callable[[Pending], None], ...] = (
    one_entry,
    an_entry_for_each_sector,
    an_entry_that_wraps_round_itself,
    old_entries_of_the_same_log,
    an_entry_whose_last_sector_is_torn,
    entries_of_another_log,
    zeros_and_data_over_one_another,
    zeros_twice_and_side_by_side,
)
UNLIKE_QEMU: tuple[Callable[[Pending], None], ...] = (
    entries_that_wrap_round,
    a_sequence_that_starts_behind_older_entries,
    many_descriptors,
)
"""QEMU 7.2 starts in the middle, replays what is done with, and refuses 127 descriptors."""


@pytest.mark.parametrize("make", LOGS, ids=lambda make: make.__name__)
def test_a_log_is_replayed_as_qemu_does(pending: Pending, make: Callable[[Pending], None]) -> None:
    make(pending)
    with opened(pending.path, READER) as artifact:
        disk = inside(artifact)
        theirs = repaired(pending.path)
        assert same_bytes(disk, theirs) >= 300 * KIB
        theirs.close()
        (finding,) = artifact.findings
    assert finding.rule == "journal-replayed"


@pytest.mark.parametrize("make", UNLIKE_QEMU, ids=lambda make: make.__name__)
def test_a_log_is_replayed_as_the_specification_says(
    pending: Pending, make: Callable[[Pending], None]
) -> None:
    make(pending)
    with opened(pending.path, READER) as artifact:
        disk = inside(artifact)
        data = [extent for extent in disk.extents() if not extent.is_hole]
        assert [(extent.offset, extent.length) for extent in data] == [(at, MIB) for at in STARTS]
        for number, start in enumerate(STARTS):
            block = bytes(4096) + bytes([number + 1]) * (300 * KIB)
            assert bytes(disk.read_at(start, MIB)) == block.ljust(MIB, b"\0")


def test_what_was_replayed_is_said(pending: Pending) -> None:
    a_sequence_that_starts_behind_older_entries(pending)
    with opened(pending.path, READER) as artifact:
        assert artifact.nodes[0].facts["log"] == "2 entries with 4 sectors, replayed"
        (finding,) = artifact.findings
    assert "2 entries of its log with 4 sectors were replayed" in finding.evidence


def test_a_log_without_an_identity_is_not_replayed(pending: Pending) -> None:
    one_entry(pending)
    for place in HEADERS:
        patch(pending.path, place, header(1 << 41, content=CONTENT))
    with opened(pending.path, READER) as artifact:
        (extent,) = inside(artifact).extents()
        assert extent.is_hole
        assert not artifact.findings


def test_a_file_that_lost_its_end_is_refused(pending: Pending) -> None:
    pending.put(0, pending.entry(7, 0, pending.writes, flushed=pending.size + MIB))
    text = problem(pending.path, READER)
    assert text.startswith("corrupt:")
    assert "when its log was written" in text


def test_a_file_that_had_not_grown_yet_is_read_as_if_it_had(pending: Pending) -> None:
    size = pending.size
    with pending.path.open("r+b") as file:
        file.truncate(size - 900 * KIB)
    pending.put(0, pending.entry(7, 0, pending.writes))
    with opened(pending.path, READER) as artifact, pytest.raises(CorruptError):
        inside(artifact).read_at(STARTS[-1], MIB)
    pending.put(0, pending.entry(7, 0, pending.writes, last=size))
    with opened(pending.path, READER) as artifact:
        block = bytes(inside(artifact).read_at(STARTS[-1], MIB))
    assert block == (bytes(4096) + b"\4" * (120 * KIB)).ljust(MIB, b"\0")


def test_writes_beyond_the_end_make_the_file_longer(pending: Pending) -> None:
    beyond = Write(pending.size + 4 * MIB, b"\x55" * 4096)
    pending.put(0, pending.entry(7, 0, [*pending.writes, beyond]))
    with opened(pending.path, READER) as artifact:
        assert bytes(inside(artifact).read_at(4096, 2)) == b"\1\1"


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: entry[:100] + b"\xff" + entry[101:],
        lambda entry: entry[:-1] + b"\xff",
        lambda entry: bytes(len(entry)),
    ],
    ids=["descriptor", "sector", "nothing"],
)
def test_a_log_with_no_whole_entry_is_refused(
    pending: Pending, damage: Callable[[bytes], bytes]
) -> None:
    pending.put(0, damage(pending.entry(7, 0, pending.writes)))
    text = problem(pending.path, READER)
    assert text.startswith("corrupt:")
    assert "no complete sequence" in text
    assert "qemu-img check -r all" in text


def test_an_entry_whose_oldest_is_gone_is_refused(pending: Pending) -> None:
    pending.put(8192, pending.entry(7, 0, pending.writes))
    assert "no complete sequence" in problem(pending.path, READER)


@pytest.mark.parametrize(
    ("length", "log_version", "code"),
    [
        (0, 0, "corrupt"),
        (4096, 0, "corrupt"),
        (1 << 30, 0, "limit-exceeded"),
        (64 * MIB, 0, "corrupt"),
        (MIB, 1, "unsupported"),
    ],
)
def test_a_log_that_cannot_be_is_refused(
    pending: Pending, length: int, log_version: int, code: str
) -> None:
    one_entry(pending)
    changed = header(1 << 41, content=CONTENT, log=LOG, log_length=length, log_version=log_version)
    patch(pending.path, HEADERS[0], changed)
    assert problem(pending.path, READER).startswith(f"{code}:")


def test_a_log_full_of_entries_that_overlap_is_refused_in_time(pending: Pending) -> None:
    """Each of them claims the whole log, and each would have to be summed up."""
    entry = bytearray(pending.entry(7, 0, ()))
    entry[8:12] = struct.pack("<I", MIB)
    for offset in range(0, MIB, 4096):
        pending.put(offset, bytes(entry))
    assert "overlap" in problem(pending.path, READER)


def test_a_long_chain_of_entries_without_its_start_is_refused_in_time(pending: Pending) -> None:
    position = 0
    for sequence in range(10, 10 + MIB // 4096):
        tail = (MIB - 4096) if sequence == 10 else MIB
        position = pending.put(position, pending.entry(sequence, tail, ()))
    assert "no complete sequence" in problem(pending.path, READER)


@pytest.mark.parametrize("writes", [100, 3])
def test_any_changed_byte_of_a_log_gives_bytes_or_a_typed_error(
    pending: Pending, writes: int
) -> None:
    an_entry_for_each_sector(pending)
    log = pending.path.read_bytes()[LOG_OFFSET : LOG_OFFSET + 40 * KIB]
    dice = random.Random(writes)
    outcomes = set()
    for _ in range(60):
        changed = bytearray(log)
        for place in dice.choices(range(36 * KIB), k=dice.choice([1, writes])):
            changed[place] = dice.choice([0, 0xFF, 1, dice.randrange(256)])
        patch(pending.path, LOG_OFFSET, bytes(changed))
        with opened(pending.path, READER) as artifact:
            node = artifact.nodes[0]
            outcomes.add(node.problem.code if node.problem else "disk")
    assert outcomes <= {"disk", "corrupt"}
