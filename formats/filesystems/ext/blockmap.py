"""Block maps of ext2 and ext3: direct, indirect, double and triple indirect blocks.

Kernel documentation, "The Contents of inode.i_block", section "Direct/Indirect Block Addressing".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from formats.core.errors import CorruptError
from formats.core.source import ByteSource, read_exact
from formats.filesystems.ext.superblock import Superblock
from formats.filesystems.runs import Run

_DIRECT = 12
_ROOT = struct.Struct("<15I")
_POINTER_BYTES = 4


class BlockMap:
    """The block map of one inode.

    :param number: the inode's.
    """

    def __init__(self, source: ByteSource, superblock: Superblock, number: int) -> None:
        self._source = source
        self._superblock = superblock
        self._number = number
        self._per_block = superblock.block_bytes // _POINTER_BYTES
        self._pointers = struct.Struct(f"<{self._per_block}I")
        self._seen: set[int] = set()

    def runs(self, root: bytes, block_count: int) -> Iterator[Run]:
        """Yield what the first ``block_count`` blocks of the file map to, in file order.

        :param root: the inode's ``i_block``.
        :raises CorruptError: if a pointer leads out of the filesystem, or to an indirect block
            that was there before: each is read once, so the work is bounded by the volume's size.
        """
        self._seen.clear()
        pointers = _ROOT.unpack_from(root)
        yield from self._direct(pointers[:_DIRECT], 0, block_count)
        first, span = _DIRECT, self._per_block
        for level, pointer in enumerate(pointers[_DIRECT:], start=1):
            if first >= block_count:
                return
            if pointer:
                yield from self._indirect(pointer, level, first, block_count)
            first += span
            span *= self._per_block

    def _indirect(self, block: int, level: int, first: int, block_count: int) -> Iterator[Run]:
        pointers = self._read(block)
        if level == 1:
            yield from self._direct(pointers, first, block_count)
            return
        span = self._per_block ** (level - 1)
        for index, pointer in enumerate(pointers):
            start = first + index * span
            if start >= block_count:
                return
            if pointer:
                yield from self._indirect(pointer, level - 1, start, block_count)

    def _direct(self, pointers: tuple[int, ...], first: int, block_count: int) -> Iterator[Run]:
        """Yield the runs in one array of block numbers; zero is a hole."""
        limit = self._superblock.block_count
        run_first = run_start = count = 0
        for index, pointer in enumerate(pointers[: max(block_count - first, 0)], start=first):
            if count and pointer == run_start + count:
                count += 1
                continue
            if count:
                yield self._checked(run_first, count, run_start, limit)
            run_first, run_start, count = index, pointer, 1 if pointer else 0
        if count:
            yield self._checked(run_first, count, run_start, limit)

    def _checked(self, first: int, count: int, start: int, limit: int) -> Run:
        if start > limit - count:
            raise self._damaged(f"block {first:,} is mapped to {start:,} of {limit:,}", None)
        return Run(first, count, start)

    def _read(self, block: int) -> tuple[int, ...]:
        size = self._superblock.block_bytes
        if block >= self._superblock.block_count:
            raise self._damaged(
                f"an indirect block is at {block:,} of {self._superblock.block_count:,}", None
            )
        if block in self._seen:
            raise self._damaged("an indirect block is used twice", block * size)
        self._seen.add(block)
        return self._pointers.unpack(
            read_exact(self._source, block * size, size, "an indirect block")
        )

    def _damaged(self, what: str, offset: int | None) -> CorruptError:
        return CorruptError(
            f"the block map of inode {self._number:,} is damaged: {what}",
            origin=self._source.origin,
            offset=offset,
            hint="run 'e2fsck' on a copy",
        )
