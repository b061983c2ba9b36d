"""Carrying out what the transactions of the log have, in the order in which a kernel does."""

from __future__ import annotations

from collections import Counter
from typing import TypeVar

from formats.filesystems.xfs.log_record import Log
from formats.filesystems.xfs.log_transactions import Item, ItemType, Transaction
from formats.filesystems.xfs.replay_buffers import BufferFlag, BufferReplay, parse_buffer
from formats.filesystems.xfs.replay_inodes import InodeReplay, parse_inode
from formats.filesystems.xfs.replay_intents import Intents
from formats.filesystems.xfs.replay_mappings import Mappings
from formats.filesystems.xfs.replay_overlay import Overlay
from formats.filesystems.xfs.replay_trees import ExtentTrees
from formats.filesystems.xfs.superblock import Superblock

_FREED_BYTES = 256
"""about what remembering a buffer takes"""
_Key = TypeVar("_Key")


class Replay:
    """The log of one filesystem, replayed into ``overlay``.

    First :meth:`look_ahead` has to see all transactions, then :meth:`carry_out`.
    """

    def __init__(self, log: Log, superblock: Superblock, overlay: Overlay) -> None:
        self._log = log
        self._overlay = overlay
        self._buffers = BufferReplay(log, superblock, overlay)
        trees = ExtentTrees(superblock, overlay, self._buffers)
        self._inodes = InodeReplay(log, superblock, overlay, trees)
        self._intents = Intents(log, overlay, Mappings(log, superblock, overlay, trees))
        self._freed: Counter[tuple[int, int]] = Counter()
        """address and length of buffers, and how often each is still going to be freed"""
        self._freed_addresses: Counter[int] = Counter()
        self._transactions = 0

    def look_ahead(self, transaction: Transaction) -> None:
        """Remember the buffers that a transaction frees."""
        for item in transaction.items:
            if item.type is ItemType.BUFFER:
                buffer = parse_buffer(self._log, item)
                if buffer.flags & BufferFlag.CANCEL:
                    self._freed[buffer.address, buffer.length] += 1
                    self._freed_addresses[buffer.address] += 1
                    self._overlay.reserve(_FREED_BYTES)

    def carry_out(self, transaction: Transaction) -> None:
        """Carry out a transaction.

        Blocks come first, for inodes may be in them; then inodes; then what links deleted inodes,
        for it is a part of them; at last what is freed.
        """
        for item in sorted(transaction.items, key=self._rank):
            self._carry_out(item, transaction.lsn)
        self._transactions += 1

    def _rank(self, item: Item) -> int:
        if item.type is ItemType.ICREATE:
            return 0
        if item.type is not ItemType.BUFFER:
            return 1
        flags = parse_buffer(self._log, item).flags
        if flags & BufferFlag.CANCEL:
            return 3
        return 2 if flags & BufferFlag.INODES else 0

    def _carry_out(self, item: Item, lsn: int) -> None:
        if item.type is ItemType.BUFFER:
            buffer = parse_buffer(self._log, item)
            place = buffer.address, buffer.length
            if buffer.flags & BufferFlag.CANCEL:
                _take_one(self._freed, place)
                _take_one(self._freed_addresses, buffer.address)
                self._overlay.reserve(-_FREED_BYTES)
            elif place not in self._freed:
                self._buffers.replay(buffer, item, lsn)
        elif item.type is ItemType.INODE:
            change = parse_inode(self._log, item)
            if (change.address, change.length) not in self._freed:
                self._inodes.replay(change, item, lsn)
        elif item.type is ItemType.ICREATE:
            self._inodes.create(item, self._freed_addresses)
        else:
            self._intents.take(item)

    def finish(self) -> str:
        """Carry out deferred work and return, for people, how much was done."""
        left = self._intents.carry_out()
        self._buffers.finish()
        self._inodes.finish()
        done = (
            f"{self._transactions:,} transactions,"
            f" {self._buffers.replayed:,} changes of buffers,"
            f" {self._inodes.replayed:,} of inodes"
        )
        return f"{done}; {left}" if left else done


def _take_one(counter: Counter[_Key], key: _Key) -> None:
    """Lower a count, and forget what is not to come any more."""
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
