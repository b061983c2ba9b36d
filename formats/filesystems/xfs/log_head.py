"""Finding where the log begins and ends: its tail and its head.

"XFS Algorithms & Data Structures", "Log Records"; mount(8) and xfs(5) on ``logbufs`` and
``logbsize``. Nothing in the log says where its head is: each block has the number of the lap
(cycle) that it was written in, and the head is where that goes down by one. A kernel writes up to
eight records at once, so that a crash can leave any of the last ones torn or missing; the log ends
before the first of those, for nothing behind it was ever promised to anybody.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from formats.core.errors import UnsupportedError
from formats.filesystems.xfs.log_record import (
    LARGEST_RECORD_BLOCKS,
    LITTLE_ENDIAN,
    MAGIC,
    RECORDS_IN_FLIGHT,
    Log,
    Record,
    RecordHeader,
    block_cycle,
    lsn_block,
    lsn_cycle,
    parse_header,
    read_record,
)
from formats.filesystems.xfs.superblock import DADDR_BYTES

_UNMOUNT = 0x20
_FLAGS_OFFSET = 9
_IN_FLIGHT_BLOCKS = RECORDS_IN_FLIGHT * LARGEST_RECORD_BLOCKS
_WINDOW_BLOCKS = _IN_FLIGHT_BLOCKS + LARGEST_RECORD_BLOCKS


@dataclass(frozen=True, slots=True)
class ActiveLog:
    """The part of a log that has to be replayed.

    :ivar tail: sequence number of the first record.
    :ivar head: block behind the last one.
    :ivar torn: records at the head that were not written to their end.
    """

    tail: int
    head: int
    torn: int


def find_active(log: Log) -> ActiveLog | None:
    """Return what has to be replayed; None if the log is clean.

    :raises CorruptError: if there is no record where the log ends, or it does not say where it
        begins.
    :raises UnsupportedError: if a machine of the other byte order wrote it.
    """
    head, cycle = _head_by_cycles(log)
    if cycle == 0:
        if head < log.length or any(log.read(0, min(log.length, _WINDOW_BLOCKS))):
            raise log.damaged("its beginning was wiped", 0)
        return None  # nothing but zeros: never used
    window = _Window(log, head)
    head = window.start_of_missing(cycle)
    records = window.records_before(head)
    whole = _whole(log, records)
    if not whole:
        raise log.damaged("there is no record where it ends", head)
    last = whole[-1]
    _check_identity(log, last.header)
    end = (last.header.block + last.header.blocks) % log.length
    torn = len(records) - len(whole)
    if not torn and end == head % log.length and _is_unmount(last):
        return None
    tail = last.header.tail_lsn
    cycles = {lsn_cycle(last.header.lsn), lsn_cycle(last.header.lsn) - 1}
    is_possible = lsn_cycle(tail) in cycles and lsn_block(tail) < log.length
    if not is_possible or tail > last.header.lsn:
        raise log.damaged(f"its tail is at {tail:#x}", last.header.block)
    return ActiveLog(tail, end, torn)


def _head_by_cycles(log: Log) -> tuple[int, int]:
    """Return the first block that is older than the one before it, and the newer's cycle."""
    newest, oldest = log.cycle(0), log.cycle(log.length - 1)
    if newest == oldest:
        return log.length, newest
    low, high = 0, log.length - 1  # low is of the newest cycle, high is not
    while high - low > 1:
        middle = (low + high) // 2
        if log.cycle(middle) == newest:
            low = middle
        else:
            high = middle
    return high, newest


class _Window:
    """The blocks before a head, as many as records that were written at once may take."""

    def __init__(self, log: Log, head: int) -> None:
        self._log = log
        self._head = head
        self._count = min(log.length, _WINDOW_BLOCKS)
        self._raw = log.read(head - self._count, self._count)

    def _block(self, back: int) -> bytes:
        """Return the block that is ``back`` before the head."""
        at = (self._count - back) * DADDR_BYTES
        return self._raw[at : at + DADDR_BYTES]

    def start_of_missing(self, cycle: int) -> int:
        """Return where the first record is missing that was to be written by then.

        Records that a crash kept from the disk have what an earlier lap wrote in their place.
        """
        for back in range(min(self._count, _IN_FLIGHT_BLOCKS), 0, -1):
            expected = cycle if back <= self._head else cycle - 1
            if expected > 0 and block_cycle(self._block(back)) == expected - 1:
                return self._head - back
        return self._head

    def records_before(self, head: int) -> list[RecordHeader | None]:
        """Return the headers of the last records before ``head`` that are needed, oldest first.

        None stands for a header that is impossible.
        """
        found: list[RecordHeader | None] = []
        furthest = self._count
        for back in range(self._head - head + 1, self._count + 1):
            if back > furthest or len(found) > RECORDS_IN_FLIGHT:
                break
            block = self._block(back)
            if not block.startswith(MAGIC):
                continue
            header = parse_header(self._log, self._head - back, block)
            if header is not None and not any(found):
                # What lies before its tail may have been overwritten, and nobody needs it.
                needed = self._log.distance(lsn_block(header.tail_lsn), self._head)
                furthest = min(furthest, needed or furthest)
            found.append(header)
        return found[::-1]


def _whole(log: Log, headers: list[RecordHeader | None]) -> list[Record]:
    """Return the records up to the first that is torn, or that the next does not adjoin."""
    records: list[Record] = []
    for header in headers:
        record = read_record(log, header.block) if header is not None else None
        if record is None or not record.is_whole:
            break
        if records:
            before = records[-1].header
            if (before.block + before.blocks) % log.length != record.header.block:
                break
        records.append(record)
    return records


def _is_unmount(record: Record) -> bool:
    """Tell whether a record is what unmounting writes last."""
    if record.header.operations != 1:
        return False
    flags = record.raw[record.header.header_blocks * DADDR_BYTES + _FLAGS_OFFSET]
    return bool(flags & _UNMOUNT)


def _check_identity(log: Log, header: RecordHeader) -> None:
    if header.byte_order != LITTLE_ENDIAN:
        raise UnsupportedError(
            "its log was written by a machine of another byte order, or is damaged",
            origin=log.origin,
            offset=log.offset(header.block),
            hint="mount it on such a machine once, which replays the log",
        )
    if header.uuid != log.uuid:
        raise log.damaged("it belongs to another filesystem", header.block)


def active_records(log: Log, active: ActiveLog) -> Iterator[Record]:
    """Yield the records from tail to head.

    The first ones may be damaged: what was torn at the head may have been written over them, when
    later records, that are lost, had made them superfluous.

    :raises CorruptError: if any other record is damaged, or out of order.
    """
    cycle, block = lsn_cycle(active.tail), lsn_block(active.tail)
    left = log.distance(block, active.head) or log.length
    is_first = True
    while left > 0:
        record = read_record(log, block)
        if record is not None and record.header.lsn >> 32 == cycle and record.is_whole:
            step = record.header.blocks
            if step > left:
                raise log.damaged("a record reaches over its head", block)
            _check_identity(log, record.header)
            yield record
            is_first = False
        elif is_first and log.distance(active.head, block) < _IN_FLIGHT_BLOCKS:
            step = 1
        else:
            raise log.damaged("a record is damaged", block)
        left -= step
        block += step
        if block >= log.length:
            block -= log.length
            cycle += 1
