"""The log as a ring of blocks, and the records in it.

"XFS Algorithms & Data Structures", "Log Records". All sizes here are in blocks of 512 bytes (the
kernel's basic blocks), whatever the log's sectors are. Everything in a record's header is
big-endian, but the checksum. Where the book and what kernels write differ, a comment says so; each
of those was measured on logs that a kernel wrote.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import google_crc32c

from formats.core.errors import CorruptError, LimitError
from formats.core.origin import Origin
from formats.core.source import ByteSource, read_exact
from formats.filesystems.xfs.superblock import DADDR_BYTES, Superblock

MAGIC = b"\xfe\xed\xba\xbe"
LITTLE_ENDIAN = 1
"""``h_fmt`` of a log whose contents are little-endian; 2 and 3 are big-endian machines'."""
LARGEST_RECORD_BYTES = 256 << 10
RECORDS_IN_FLIGHT = 8
"""Records that a kernel may be writing at once, in any order (``logbufs``)."""

REPAIR_HINT = (
    "mount a copy, which replays the log, or run 'xfs_repair -L' on one, which throws it away"
)

_LARGEST_LOG_BYTES = 1 << 31
_WORD_BYTES = 4
_CYCLES_PER_HEADER = 64
"""Words that a header restores. The book says 256 blocks: it is 32 KiB, as its constant is."""
_BYTES_PER_HEADER = _CYCLES_PER_HEADER * DADDR_BYTES
_CYCLES_OFFSET = 44
_CHECKSUM = slice(32, 36)
_HEADER_BYTES = (328, 324)
"""What the checksum has of the header: 64-bit platforms pad the structure, 32-bit ones do not."""
_EXTENSION_BYTES = 260
_VERSIONS = frozenset({1, 2})

LARGEST_RECORD_BLOCKS = LARGEST_RECORD_BYTES // DADDR_BYTES + LARGEST_RECORD_BYTES // (
    _BYTES_PER_HEADER
)


def too_much_memory(origin: Origin, most_bytes: int) -> LimitError:
    """Return the error for a log whose replay needs more memory than is allowed."""
    return LimitError(
        f"replaying the log needs more than {most_bytes:,} bytes of memory",
        origin=origin,
        hint="mount a copy once, which replays the log",
    )


def lsn_block(lsn: int) -> int:
    """Return the block of the log that a sequence number points to."""
    return lsn & 0xFFFFFFFF


def lsn_cycle(lsn: int) -> int:
    """Return which lap round the log a sequence number is of."""
    return lsn >> 32


class Log:
    """The log's blocks: a ring, where block ``length`` is block 0 again.

    :param source: the volume.
    :param superblock: of a filesystem with an internal log.
    :raises CorruptError: if the log lies outside of ``source``.
    """

    def __init__(self, source: ByteSource, superblock: Superblock) -> None:
        start = superblock.block_offset(superblock.log_start)
        size = superblock.log_blocks * superblock.block_bytes
        if start is None or start + size > source.size:
            raise CorruptError("the log lies outside of the volume", origin=source.origin)
        if size > _LARGEST_LOG_BYTES:
            raise CorruptError(f"the log has {size:,} bytes", origin=source.origin, offset=start)
        self._source = source
        self._start = start
        self.length = size // DADDR_BYTES
        self.uuid = superblock.uuid.bytes
        self.has_checksums = superblock.has_checksums

    @property
    def origin(self) -> Origin:
        """Breadcrumb for messages."""
        return self._source.origin

    def offset(self, block: int) -> int:
        """Return where on the volume a block of the log is."""
        return self._start + block % self.length * DADDR_BYTES

    def read(self, block: int, count: int) -> bytes:
        """Return ``count`` blocks, at most the whole log, going on at its start after its end."""
        block %= self.length
        before = min(count, self.length - block)
        parts = [
            read_exact(self._source, self.offset(first), blocks * DADDR_BYTES, "the log")
            for first, blocks in ((block, before), (0, count - before))
            if blocks
        ]
        return b"".join(parts)

    def cycle(self, block: int) -> int:
        """Return the cycle that a block was written in."""
        return block_cycle(self.read(block, 1))

    def distance(self, start: int, end: int) -> int:
        """Return how many blocks lie between two, going forward."""
        return (end - start) % self.length

    def damaged(self, message: str, block: int) -> CorruptError:
        """Return the error for damage at a block of the log."""
        return CorruptError(
            f"the log is damaged: {message}",
            origin=self.origin,
            offset=self.offset(block),
            hint=REPAIR_HINT,
        )


def block_cycle(block: bytes) -> int:
    """Return the cycle stamped on a block: its first word, or a record header's second."""
    at = _WORD_BYTES if block.startswith(MAGIC) else 0
    return int.from_bytes(block[at : at + _WORD_BYTES], "big")


@dataclass(frozen=True, slots=True)
class RecordHeader:
    """What a record's header says, checked as far as that is possible without the rest.

    :ivar block: of the log, where the record begins.
    :ivar body_bytes: ``h_len``: operations, and padding to the log's stripe unit.
    :ivar tail_lsn: the oldest record that is still needed.
    :ivar operations: how many there are in the body.
    :ivar byte_order: ``h_fmt``.
    :ivar header_blocks: blocks before the body: the header and its extensions.
    """

    block: int
    lsn: int
    tail_lsn: int
    body_bytes: int
    checksum: int
    operations: int
    byte_order: int
    uuid: bytes
    header_blocks: int

    @property
    def blocks(self) -> int:
        """Length of the whole record."""
        return self.header_blocks + -(-self.body_bytes // DADDR_BYTES)


_HEADER = struct.Struct(">4s3I2Q4xII256xI16sI")


def parse_header(log: Log, block: int, raw: bytes) -> RecordHeader | None:
    """Return the header in a block of the log; None if there is none, or an impossible one.

    A kernel stamps what it finds in front of the head with headers of empty records when it
    mounts: those are none.
    """
    magic, cycle, version, body, lsn, tail, _, count, order, uuid, size = _HEADER.unpack_from(raw)
    if magic != MAGIC or version not in _VERSIONS or lsn != (cycle << 32 | block % log.length):
        return None
    if not 0 < body <= LARGEST_RECORD_BYTES or size > LARGEST_RECORD_BYTES:
        return None
    extended = version > 1 and size > _BYTES_PER_HEADER
    header = RecordHeader(
        block=block % log.length,
        lsn=lsn,
        tail_lsn=tail,
        body_bytes=body,
        checksum=int.from_bytes(raw[_CHECKSUM], "little"),
        operations=count,
        byte_order=order,
        uuid=uuid,
        header_blocks=-(-size // _BYTES_PER_HEADER) if extended else 1,
    )
    return header if header.blocks <= log.length else None


@dataclass(frozen=True, slots=True)
class Record:
    """A record: its header, and all of its blocks as they are in the log.

    :ivar has_checksum: whether it must have one.
    """

    header: RecordHeader
    raw: bytes
    has_checksum: bool

    @property
    def is_whole(self) -> bool:
        """Whether the checksum is right.

        Kernels before Linux 3.8 had none. mkfs.xfs(8) and xfs_repair(8) leave it out of the one
        record that they write.
        """
        stored = self.header.checksum
        if stored == 0 and (self.header.operations == 1 or not self.has_checksum):
            return True
        return any(self._checksum(size) == stored for size in _HEADER_BYTES)

    def _checksum(self, header_bytes: int) -> int:
        raw, body = self.raw, self.header.header_blocks * DADDR_BYTES
        checksum: int = google_crc32c.value(raw[: _CHECKSUM.start] + bytes(_WORD_BYTES))
        checksum = google_crc32c.extend(checksum, raw[_CHECKSUM.stop : header_bytes])
        # Only those extensions count that the body needs; there may be more of them.
        for start in range(_BYTES_PER_HEADER, self.header.body_bytes, _BYTES_PER_HEADER):
            at = start // _BYTES_PER_HEADER * DADDR_BYTES
            checksum = google_crc32c.extend(checksum, raw[at : min(at + _EXTENSION_BYTES, body)])
        whole: int = google_crc32c.extend(checksum, raw[body : body + self.header.body_bytes])
        return whole

    def body(self) -> memoryview:
        """Return the body with the words put back that the cycle was stamped over."""
        header_blocks = self.header.header_blocks
        body = bytearray(self.raw[header_blocks * DADDR_BYTES :])
        for index in range(len(body) // DADDR_BYTES):
            header, slot = divmod(index, _CYCLES_PER_HEADER)
            if header >= header_blocks:
                break
            at = header * DADDR_BYTES + (_WORD_BYTES if header else _CYCLES_OFFSET)
            at += slot * _WORD_BYTES
            start = index * DADDR_BYTES
            body[start : start + _WORD_BYTES] = self.raw[at : at + _WORD_BYTES]
        return memoryview(body)[: self.header.body_bytes].toreadonly()


def read_record(log: Log, block: int) -> Record | None:
    """Return the record that begins at a block; None if none does."""
    raw = log.read(block, 1)
    header = parse_header(log, block, raw)
    if header is None:
        return None
    raw += log.read(block + 1, header.blocks - 1)
    return Record(header, raw, log.has_checksums)
