"""Replaying a dirty journal in memory (kernel documentation, "Journal (jbd2)").

A copy of a running machine's disk has its newest metadata only in the journal. The log is walked
once, transaction by transaction; what a committed one holds is remembered as *where* it is in the
journal, never as bytes. A revocation forgets the copies that came before it or with it. What is
left is laid over the volume as a source of its own, and nothing is ever written.

Damage is treated as the kernel treats it. A transaction without a commit block ends the log: its
writes never became durable, and nobody was told that they had. A block that fails its checksum in
a transaction that *was* committed is an error, for what it held was promised.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from formats.core.errors import CorruptError
from formats.core.source import BytesLike, ByteSource
from formats.filesystems.ext.checksums import ALL_ONES, crc32c
from formats.filesystems.ext.journal import (
    COMMIT,
    DESCRIPTOR,
    MAGIC_BYTES,
    REPAIR_HINT,
    REVOCATION,
    Commit,
    JournalCompat,
    JournalFile,
    JournalIncompat,
    JournalSuperblock,
    block_header,
    commit_is_right,
    crc32_v1,
    matches_v1,
    parse_commit,
    parse_revocation,
    parse_tags,
    read_journal_superblock,
    tail_is_right,
)
from formats.filesystems.replay_source import ReplayedSource

_SEQUENCES = 1 << 32


@dataclass(frozen=True, slots=True)
class ReplayedJournal:
    """A volume as it is after its journal was replayed.

    :ivar source: the volume with the journal's blocks laid over it; the volume itself where there
        was nothing to replay.
    :ivar transactions: how many were committed.
    :ivar blocks: how many blocks of the filesystem come from the journal now.
    :ivar revoked: how many copies in the journal were revoked later, and are not used.
    :ivar next_sequence: the transaction that would have been committed next; fast commits belong
        to it.
    """

    source: ByteSource
    superblock: JournalSuperblock
    transactions: int
    blocks: int
    revoked: int
    next_sequence: int


def replay_journal(journal: JournalFile, block_count: int) -> ReplayedJournal:
    """Replay ``journal`` over the volume that it is in.

    :param block_count: blocks of the filesystem.
    :raises CorruptError: where the kernel would refuse to mount: a committed transaction fails a
        checksum, or names a block outside of the filesystem.
    :raises UnsupportedError: for an unknown feature of the journal.
    """
    superblock = read_journal_superblock(journal)
    log = _Log(journal, superblock, block_count)
    if superblock.start:
        log.replay()
        log.verify_copies()
    numbers = array("Q", sorted(log.copies))
    copies = (log.copies[number] for number in numbers)
    places = array("Q", (journal.offset(_place(copy)) | _escape(copy) for copy in copies))
    source: ByteSource = journal.source
    if numbers:
        source = ReplayedSource(source, journal.block_bytes, numbers, places, escape=MAGIC_BYTES)
    return ReplayedJournal(
        source=source,
        superblock=superblock,
        transactions=log.transactions,
        blocks=len(numbers),
        revoked=log.revoked,
        next_sequence=(superblock.sequence + log.transactions) % _SEQUENCES,
    )


# A copy is one integer, for there can be a quarter of a million: the transaction's ordinal, the
# journal's block (32 bits), whether it is escaped (1 bit) and the tag's checksum (32 bits).


def _copy(ordinal: int, block: int, is_escaped: bool, checksum: int) -> int:
    return ((ordinal << 32 | block) << 1 | is_escaped) << 32 | checksum


def _place(copy: int) -> int:
    return copy >> 33 & 0xFFFFFFFF


def _escape(copy: int) -> int:
    return copy >> 32 & 1


@dataclass(slots=True)
class _Transaction:
    """What was met of a transaction: blocks of the journal, to be read once it is committed."""

    descriptors: array[int] = field(default_factory=lambda: array("Q"))
    revocations: array[int] = field(default_factory=lambda: array("Q"))
    damaged: int | None = None
    """the first of them that fails its checksum"""
    checksum: int = ALL_ONES
    """of version 1: descriptors and what they announce, in order"""


class _Log:
    """The log from ``s_start`` to the last transaction that was committed.

    :ivar copies: by block of the filesystem, the newest copy that is not revoked.
    """

    def __init__(
        self, journal: JournalFile, superblock: JournalSuperblock, block_count: int
    ) -> None:
        self._journal = journal
        self._superblock = superblock
        self._block_count = block_count
        self._position = superblock.start
        self._left = superblock.log_end - superblock.first
        self.copies: dict[int, int] = {}
        self.transactions = 0
        self.revoked = 0

    def replay(self) -> None:
        """Take in every committed transaction."""
        committed_ns = 0
        torn: int | None = None
        for transaction, position, block in self._read():
            if torn is not None:
                raise self._error("a transaction before the last one fails its checksum", torn)
            commit = parse_commit(block)
            damaged = transaction.damaged
            is_whole = self._is_whole(transaction, commit, block)
            if is_whole and damaged is None:
                committed_ns = commit.time_ns
                self._apply(transaction)
                continue
            if commit.time_ns < committed_ns:
                return  # left over from an earlier lap of the log
            if damaged is not None:
                raise self._error("a committed transaction fails its checksum", damaged)
            if JournalIncompat.ASYNC_COMMIT not in self._superblock.incompat:
                raise self._error("a commit block fails its checksum", position)
            torn = position  # written before its blocks, which is only right if it is the last

    def _read(self) -> Iterator[tuple[_Transaction, int, BytesLike]]:
        """Yield each transaction with its commit block, and where that is in the journal."""
        sequence = self._superblock.sequence
        transaction = _Transaction()
        while True:
            position = self._position
            block = self._journal.read(position)
            header = block_header(block)
            if header is None or header[1] != sequence:
                return
            kind = header[0]
            self._advance()
            if kind == DESCRIPTOR:
                self._meet_descriptor(transaction, position, block)
            elif kind == REVOCATION:
                transaction.revocations.append(position)
                self._check_tail(transaction, position, block)
            elif kind == COMMIT:
                yield transaction, position, block
                sequence = (sequence + 1) % _SEQUENCES
                transaction = _Transaction()
            else:
                return

    def _advance(self) -> int:
        """Step over one block of the log and return its number.

        :raises CorruptError: where the log would go on for longer than it is.
        """
        if self._left == 0:
            raise self._error("the log has no end", self._position)
        self._left -= 1
        position = self._position
        self._position += 1
        if self._position == self._superblock.log_end:
            self._position = self._superblock.first
        return position

    def _meet_descriptor(self, transaction: _Transaction, position: int, block: BytesLike) -> None:
        has_v1 = JournalCompat.CHECKSUM in self._superblock.compat
        transaction.descriptors.append(position)
        self._check_tail(transaction, position, block)
        if has_v1:
            transaction.checksum = crc32_v1(block, transaction.checksum)
        for _ in parse_tags(block, self._superblock):
            data = self._advance()
            if has_v1:
                content = self._journal.read(data)
                transaction.checksum = crc32_v1(content, transaction.checksum)

    def _check_tail(self, transaction: _Transaction, position: int, block: BytesLike) -> None:
        if transaction.damaged is None and not tail_is_right(block, self._superblock):
            transaction.damaged = position

    def _is_whole(self, transaction: _Transaction, commit: Commit, block: BytesLike) -> bool:
        if JournalCompat.CHECKSUM in self._superblock.compat:
            return matches_v1(commit, transaction.checksum)
        return commit_is_right(block, self._superblock)

    def _apply(self, transaction: _Transaction) -> None:
        ordinal = self.transactions
        for position in transaction.descriptors:
            place = position
            for tag in parse_tags(self._journal.read(position), self._superblock):
                place += 1
                if place >= self._superblock.log_end:
                    place = self._superblock.first
                if tag.target >= self._block_count:
                    raise self._error(
                        f"a descriptor names block {tag.target:,} of a filesystem that has"
                        f" {self._block_count:,}",
                        position,
                    )
                self.copies[tag.target] = _copy(ordinal, place, tag.is_escaped, tag.checksum)
        # A block that is revoked and written in one transaction is not replayed either.
        for position in transaction.revocations:
            revoked = parse_revocation(self._journal.read(position), self._superblock)
            if revoked is None:
                raise self._error("a revocation block has an impossible size", position)
            for target in revoked:
                self.revoked += self.copies.pop(target, None) is not None
        self.transactions += 1

    def verify_copies(self) -> None:
        """Check the tags' checksums of all blocks that are going to be used.

        :raises CorruptError: for the first that is wrong.
        """
        if not self._superblock.has_block_checksums:
            return
        mask = 0xFFFFFFFF if JournalIncompat.CSUM_V3 in self._superblock.incompat else 0xFFFF
        for copy in sorted(self.copies.values(), key=_place):  # in the order they lie on the disk
            computed = crc32c(self._journal.read(_place(copy)), self._start(copy))
            if computed & mask != copy & mask:
                raise self._error("a committed block fails its checksum", _place(copy))

    def _start(self, copy: int) -> int:
        sequence = (self._superblock.sequence + (copy >> 65)) % _SEQUENCES
        return crc32c(sequence.to_bytes(4, "big"), self._superblock.checksum_seed)

    def _error(self, message: str, position: int) -> CorruptError:
        return CorruptError(
            f"the journal is damaged: {message}",
            origin=self._journal.origin,
            offset=self._journal.offset(position),
            hint=REPAIR_HINT,
        )
