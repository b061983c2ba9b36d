"""The blocks of a jbd2 journal: superblock, descriptors, revocations, commits.

Specification: kernel documentation, "Journal (jbd2)" (filesystems/ext4/journal). All numbers are
big-endian. Where the documentation and what kernels write differ, a comment says so; each of
those was measured on journals that a kernel wrote.
"""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource, read_exact
from formats.filesystems.ext.checksums import ALL_ONES, crc32c
from formats.filesystems.runs import Run

MAGIC = 0xC03B3998
MAGIC_BYTES = MAGIC.to_bytes(4, "big")

DESCRIPTOR = 1
COMMIT = 2
SUPERBLOCK_V1 = 3
SUPERBLOCK_V2 = 4
REVOCATION = 5

REPAIR_HINT = "run 'e2fsck -fy' on a copy, or shut the machine down cleanly and copy it again"

_SUPERBLOCK_BYTES = 1024
_SUPERBLOCK_CHECKSUM_OFFSET = 0xFC
_CHECKSUM_CRC32 = 1
_CHECKSUM_CRC32C = 4
_TAIL_BYTES = 4
_COMMIT_BYTES = 64
_UUID_BYTES = 16
_DEFAULT_FAST_COMMIT_BLOCKS = 256
"""where ``s_num_fc_blks`` is 0"""


class JournalCompat(IntFlag):
    """Compatible features of a journal."""

    CHECKSUM = 0x1


class JournalIncompat(IntFlag):
    """Incompatible features of a journal."""

    REVOKE = 0x1
    BIT64 = 0x2
    ASYNC_COMMIT = 0x4
    CSUM_V2 = 0x8
    CSUM_V3 = 0x10
    FAST_COMMIT = 0x20


_KNOWN = sum(JournalIncompat)
_BLOCK_CHECKSUMS = JournalIncompat.CSUM_V2 | JournalIncompat.CSUM_V3


class TagFlag(IntFlag):
    """Flags of a descriptor's tag."""

    ESCAPED = 0x1
    SAME_UUID = 0x2
    DELETED = 0x4
    LAST = 0x8


@dataclass(frozen=True, slots=True)
class JournalSuperblock:
    """What block 0 of the journal says, checked. Units are blocks of the journal.

    :ivar first: first block of the log.
    :ivar log_end: where the log wraps round to ``first``.
    :ivar sequence: transaction that the log begins with.
    :ivar start: where it begins; 0 if there is nothing to replay.
    :ivar fast_commits: blocks of the fast commit area.
    :ivar checksum_seed: what the crc32c of each block continues from (the journal's UUID).
    """

    block_bytes: int
    length: int
    first: int
    log_end: int
    sequence: int
    start: int
    compat: JournalCompat
    incompat: JournalIncompat
    fast_commits: range
    checksum_seed: int

    @property
    def has_block_checksums(self) -> bool:
        """Whether descriptors, revocations, commits and tags carry a crc32c (version 2 or 3)."""
        return bool(self.incompat & _BLOCK_CHECKSUMS)

    @property
    def tail_bytes(self) -> int:
        """Bytes that a checksum takes at the end of a descriptor or revocation."""
        return _TAIL_BYTES if self.has_block_checksums else 0

    @property
    def tag_bytes(self) -> int:
        """Size of a tag without the UUID that may follow it.

        Version 2 tags are two bytes longer than documented: what was meant to use the padding
        became a field of its own in the size that kernels and e2fsprogs reckon with.
        """
        if JournalIncompat.CSUM_V3 in self.incompat:
            return 16
        long = 4 if JournalIncompat.BIT64 in self.incompat else 0
        return 8 + long + (2 if JournalIncompat.CSUM_V2 in self.incompat else 0)


@dataclass(frozen=True, slots=True)
class Tag:
    """One block that a descriptor announces.

    :ivar target: block of the filesystem.
    :ivar checksum: of the block as it is in the journal; 16 bits of it in version 2.
    """

    target: int
    is_escaped: bool
    checksum: int


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit block. ``time_ns`` is when the transaction was committed."""

    time_ns: int
    checksum_type: int
    checksum_bytes: int
    checksum: int


class JournalFile:
    """The journal as a file: its blocks by their number, wherever they are in the filesystem.

    :param source: the volume.
    :param runs: where the file's blocks are, in order and without holes.
    :param block_bytes: block size of the filesystem.
    :raises CorruptError: if the runs do not adjoin, or lie outside of ``source``.
    """

    def __init__(self, source: ByteSource, runs: Sequence[Run], block_bytes: int) -> None:
        self.source = source
        self.block_bytes = block_bytes
        position = 0
        for run in runs:
            if run.first != position or run.blocks <= 0:
                raise CorruptError(
                    f"the journal has a hole at its block {position:,}", origin=source.origin
                )
            position += run.blocks
            if run.start <= 0 or (run.start + run.blocks) * block_bytes > source.size:
                raise CorruptError(
                    f"the journal lies at block {run.start:,}, outside of the filesystem",
                    origin=source.origin,
                )
        self.length = position
        self._runs = runs
        self._firsts = [run.first for run in runs]

    @property
    def origin(self) -> Origin:
        """Breadcrumb for messages."""
        return self.source.origin

    def location(self, block: int) -> int:
        """Return the block of the filesystem that block ``block`` of the journal is in.

        :raises CorruptError: if the journal has no such block.
        """
        if not 0 <= block < self.length:
            raise CorruptError(
                f"the journal refers to its block {block:,} and has {self.length:,}",
                origin=self.origin,
                hint=REPAIR_HINT,
            )
        run = self._runs[bisect_right(self._firsts, block) - 1]
        return run.start + block - run.first

    def offset(self, block: int) -> int:
        """Return the same in bytes."""
        return self.location(block) * self.block_bytes

    def read(self, block: int) -> BytesLike:
        """Return one block."""
        return read_exact(self.source, self.offset(block), self.block_bytes, "a journal block")


_SUPERBLOCK = struct.Struct(">9I3I16s")  # header, geometry, state; features; UUID


def read_journal_superblock(journal: JournalFile) -> JournalSuperblock:
    """Return what block 0 of the journal says.

    :raises CorruptError: if it is none, contradicts the filesystem or fails its checksum.
    :raises UnsupportedError: for a feature of the journal that is not known.
    """
    raw = bytes(journal.read(0)[:_SUPERBLOCK_BYTES])
    magic, kind, _, block_bytes, length, first, sequence, start, _, *rest = _SUPERBLOCK.unpack_from(
        raw
    )
    check = _Check(journal)
    check(magic == MAGIC and kind in {SUPERBLOCK_V1, SUPERBLOCK_V2}, "it has no superblock")
    compat, incompat, ro_compat, identity = rest
    if kind == SUPERBLOCK_V1:
        compat = incompat = ro_compat = 0
    _refuse_unknown(journal, incompat & ~_KNOWN, ro_compat)
    has_checksums = incompat & _BLOCK_CHECKSUMS
    check(has_checksums != _BLOCK_CHECKSUMS, "it has checksums of version 2 and 3")
    both = has_checksums and compat & JournalCompat.CHECKSUM
    check(not both, "it has checksums of version 1 and of a later one")
    if has_checksums:
        _verify_superblock(journal, raw)
    check(block_bytes == journal.block_bytes, f"its blocks have {block_bytes:,} bytes")
    check(
        length <= journal.length,
        f"it says that it has {length:,} blocks, and its file has {journal.length:,}",
    )
    fast_commits = range(0)
    log_end = length
    if incompat & JournalIncompat.FAST_COMMIT:
        (reserved,) = struct.unpack_from(">I", raw, 0x54)
        log_end = length - (reserved or _DEFAULT_FAST_COMMIT_BLOCKS)
        # The first block of what is set aside stays unused.
        fast_commits = range(log_end + 1, length)
    check(0 < first < log_end, f"its log goes from block {first:,} to {log_end:,}")
    check(start == 0 or first <= start < log_end, f"its log begins at block {start:,}")
    return JournalSuperblock(
        block_bytes=block_bytes,
        length=length,
        first=first,
        log_end=log_end,
        sequence=sequence,
        start=start,
        compat=JournalCompat(compat & JournalCompat.CHECKSUM),
        incompat=JournalIncompat(incompat),
        fast_commits=fast_commits,
        checksum_seed=crc32c(identity),
    )


class _Check:
    """Raises for a journal that is not as it must be."""

    def __init__(self, journal: JournalFile) -> None:
        self._journal = journal

    def __call__(self, is_right: object, what_is_wrong: str) -> None:
        if not is_right:
            raise CorruptError(
                f"the journal is damaged: {what_is_wrong}",
                origin=self._journal.origin,
                offset=self._journal.offset(0),
                hint=REPAIR_HINT,
            )


def _refuse_unknown(journal: JournalFile, incompat: int, ro_compat: int) -> None:
    if incompat or ro_compat:
        raise UnsupportedError(
            f"the journal uses unknown features ({incompat:#x}, read-only {ro_compat:#x})",
            origin=journal.origin,
            offset=journal.offset(0),
            hint="mount and unmount a copy with the kernel that wrote it",
        )


def _verify_superblock(journal: JournalFile, raw: bytes) -> None:
    if raw[0x50] != _CHECKSUM_CRC32C:
        raise UnsupportedError(
            f"the journal's checksums are of type {raw[0x50]}, and only crc32c is known",
            origin=journal.origin,
            offset=journal.offset(0),
        )
    at = _SUPERBLOCK_CHECKSUM_OFFSET
    is_right = crc32c(raw[:at] + bytes(4) + raw[at + 4 :]) == int.from_bytes(
        raw[at : at + 4], "big"
    )
    _Check(journal)(is_right, "its superblock fails its checksum")


def block_header(block: BytesLike) -> tuple[int, int] | None:
    """Return type and sequence of a journal block; None for any other block."""
    magic, kind, sequence = struct.unpack_from(">3I", block)
    return (kind, sequence) if magic == MAGIC else None


def tail_is_right(block: BytesLike, superblock: JournalSuperblock) -> bool:
    """Tell whether a descriptor or revocation passes its checksum, if it has one."""
    if not superblock.has_block_checksums:
        return True
    return _passes(block, len(block) - _TAIL_BYTES, superblock)


def commit_is_right(block: BytesLike, superblock: JournalSuperblock) -> bool:
    """Tell whether a commit block passes its checksum of version 2 or 3, if it has one.

    It is over the whole block, most of which is unused. Kernels also take one that is right with
    zeros there: a disk that writes less than a block at once may have kept something older.
    """
    if not superblock.has_block_checksums or _passes(block, 0x10, superblock):
        return True
    used = b"".join((block[:_COMMIT_BYTES], bytes(len(block) - _COMMIT_BYTES)))
    return _passes(used, 0x10, superblock)


def _passes(block: BytesLike, at: int, superblock: JournalSuperblock) -> bool:
    cleared = b"".join((block[:at], bytes(4), block[at + 4 :]))
    return crc32c(cleared, superblock.checksum_seed) == int.from_bytes(block[at : at + 4], "big")


def parse_tags(block: BytesLike, superblock: JournalSuperblock) -> list[Tag]:
    """Return the tags of a descriptor block, up to the last or to the block's end."""
    tags = []
    position, size = 12, superblock.tag_bytes
    end = len(block) - superblock.tail_bytes
    has_high = JournalIncompat.BIT64 in superblock.incompat
    is_v3 = JournalIncompat.CSUM_V3 in superblock.incompat
    while position + size <= end:
        if is_v3:
            target, flags, high, checksum = struct.unpack_from(">4I", block, position)
        else:
            target, checksum, flags = struct.unpack_from(">IHH", block, position)
            high = struct.unpack_from(">I", block, position + 8)[0] if has_high else 0
        if has_high:
            target |= high << 32
        tags.append(Tag(target, bool(flags & TagFlag.ESCAPED), checksum))
        position += size
        if not flags & TagFlag.SAME_UUID:
            position += _UUID_BYTES
        if flags & TagFlag.LAST:
            break
    return tags


def parse_revocation(block: BytesLike, superblock: JournalSuperblock) -> tuple[int, ...] | None:
    """Return the filesystem blocks that a revocation block names; None if its size is wrong."""
    (used,) = struct.unpack_from(">I", block, 12)
    if not 16 <= used <= len(block) - superblock.tail_bytes:
        return None
    size, code = (8, "Q") if JournalIncompat.BIT64 in superblock.incompat else (4, "I")
    return struct.unpack_from(f">{(used - 16) // size}{code}", block, 16)


def parse_commit(block: BytesLike) -> Commit:
    """Return what a commit block says."""
    checksum_type, checksum_bytes, checksum = struct.unpack_from(">BB2xI", block, 12)
    seconds, nanoseconds = struct.unpack_from(">QI", block, 0x30)
    return Commit(seconds * 10**9 + nanoseconds, checksum_type, checksum_bytes, checksum)


def matches_v1(commit: Commit, computed: int) -> bool:
    """Tell whether a version 1 checksum is right; a commit without one passes."""
    if (commit.checksum_type, commit.checksum_bytes, commit.checksum) == (0, 0, 0):
        return True
    return (commit.checksum_type, commit.checksum_bytes, commit.checksum) == (
        _CHECKSUM_CRC32,
        4,
        computed,
    )


_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def crc32_v1(data: BytesLike, start: int = ALL_ONES) -> int:
    """Return the crc32 of version 1 checksums, continued from ``start``.

    It takes the most significant bit first: zlib's with the bits of everything mirrored, and not
    inverted at either end.
    """
    mirrored = zlib.crc32(bytes(data).translate(_MIRRORED), _mirror(start) ^ ALL_ONES)
    return _mirror(mirrored ^ ALL_ONES)


def _mirror(word: int) -> int:
    return int.from_bytes(word.to_bytes(4, "little").translate(_MIRRORED), "big")
