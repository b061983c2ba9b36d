"""Transactions: what the operations in the log's records put together.

"XFS Algorithms & Data Structures", "Log Operations" and "Log Items". A record is a row of
operations, each with a transaction's number and some bytes, a region. A region that does not fit
into a record is continued in the next. Nothing of a transaction counts until its commit is met.
Operations are big-endian; what is in the regions is in the byte order of the machine.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from formats.core.errors import UnsupportedError
from formats.core.source import BytesLike
from formats.filesystems.xfs.log_record import Log, Record, too_much_memory

_START = 0x01
_COMMIT = 0x02
_CONTINUES = 0x04
_CONTINUED = 0x08
_END = 0x10
_UNMOUNT = 0x20
_CLIENTS = frozenset({0x69, 0xAA})
"""a transaction, and the log itself"""

_REGION_BYTES = 128
"""about what a region or a transaction takes in memory, whatever is in it"""

_OPERATION = struct.Struct(">IIBBxx")
_ITEM = struct.Struct("<HH")
_TRANSACTION_MAGIC = b"NART"
_TRANSACTION_HEADER_BYTES = 16


class ItemType(IntEnum):
    """``XFS_LI_*``: what an item changes. The book lists them up to BUD."""

    EFI = 0x1236
    EFD = 0x1237
    IUNLINK = 0x1238
    INODE = 0x123B
    BUFFER = 0x123C
    DQUOT = 0x123D
    QUOTAOFF = 0x123E
    ICREATE = 0x123F
    RUI = 0x1240
    RUD = 0x1241
    CUI = 0x1242
    CUD = 0x1243
    BUI = 0x1244
    BUD = 0x1245
    ATTRI = 0x1246
    ATTRD = 0x1247
    XMI = 0x1248
    XMD = 0x1249
    EFI_RT = 0x124A
    EFD_RT = 0x124B
    RUI_RT = 0x124C
    RUD_RT = 0x124D
    CUI_RT = 0x124E
    CUD_RT = 0x124F


_TYPES: dict[int, ItemType] = {int(each): each for each in ItemType}


@dataclass(frozen=True, slots=True)
class Item:
    """One change of a transaction.

    :ivar regions: its format structure, then the data that this announces.
    :ivar block: of the log, where the transaction was committed; for messages.
    """

    type: ItemType
    regions: list[BytesLike]
    block: int


@dataclass(slots=True)
class _Pending:
    """What was met of a transaction that is not committed yet."""

    lsn: int
    regions: list[bytes] = field(default_factory=list)
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction that was committed.

    :ivar lsn: sequence number of the record that it began in.
    """

    lsn: int
    items: list[Item]


def committed(log: Log, records: Iterable[Record], most_bytes: int) -> Iterator[Transaction]:
    """Yield the transactions that ``records`` commit, in the order in which they do.

    :param most_bytes: that transactions under way may take in memory.
    :raises CorruptError: if the operations contradict themselves.
    :raises UnsupportedError: if a transaction has an item of an unknown type.
    :raises LimitError: if more is needed.
    """
    pending: dict[int, _Pending] = {}
    held = 0
    for record in records:
        block = record.header.block
        for number, flags, data in _operations(log, record):
            known = pending.get(number)
            if known is None:
                # What began before the log's tail is not needed any more.
                if not flags & _START:
                    continue
                known = pending[number] = _Pending(record.header.lsn)
            elif flags & _CONTINUED:
                _continue(known, data)
            elif flags & ~_END in {0, _CONTINUES}:
                if data:
                    known.regions.append(bytes(data))
            elif flags == _COMMIT:
                held -= pending.pop(number).bytes
                yield Transaction(known.lsn, _items(log, known.regions, block))
                continue
            elif flags == _UNMOUNT:
                held -= pending.pop(number).bytes
                continue
            else:
                raise log.damaged(f"an operation has the flags {flags:#x}", block)
            known.bytes += len(data) + _REGION_BYTES
            held += len(data) + _REGION_BYTES
            if held > most_bytes:
                raise too_much_memory(log.origin, most_bytes)


def _operations(log: Log, record: Record) -> Iterator[tuple[int, int, memoryview]]:
    """Yield transaction, flags and region of each operation in a record."""
    body = record.body()
    position = 0
    for _ in range(record.header.operations):
        start = position + _OPERATION.size
        if start > len(body):
            raise log.damaged("a record ends inside of an operation", record.header.block)
        number, length, client, flags = _OPERATION.unpack_from(body, position)
        position = start + length
        if client not in _CLIENTS or position > len(body):
            raise log.damaged("an operation is impossible", record.header.block)
        yield number, flags, body[start:position]


def _continue(pending: _Pending, data: memoryview) -> None:
    if pending.regions:
        pending.regions[-1] += data
    elif data:
        pending.regions.append(bytes(data))


def _items(log: Log, regions: list[bytes], block: int) -> list[Item]:
    """Return the items that the regions of a transaction are, in order."""
    if not regions:
        return []
    header = regions[0]
    if len(header) != _TRANSACTION_HEADER_BYTES or not header.startswith(_TRANSACTION_MAGIC):
        raise log.damaged("a transaction does not begin with its header", block)
    items: list[Item] = []
    index = 1
    while index < len(regions):
        if len(regions[index]) < _ITEM.size:
            raise log.damaged("an item is cut short", block)
        number, count = _ITEM.unpack_from(regions[index])
        end = index + count
        if count == 0 or end > len(regions):
            raise log.damaged(f"an item has {count:,} regions", block)
        kind = _TYPES.get(number)
        if kind is None:
            raise UnsupportedError(
                f"its log has items of the unknown type {number:#x}",
                origin=log.origin,
                offset=log.offset(block),
                hint="mount a copy with a newer kernel once, which replays the log",
            )
        items.append(Item(kind, [*regions[index:end]], block))
        index = end
    return items
