"""One ext filesystem: inodes, their content and names.

The level between on-disk structures and the tree: it knows inodes and not paths.
"""

from __future__ import annotations

from collections.abc import Iterator

from formats.core.errors import CorruptError, LimitError
from formats.core.limits import Limits
from formats.core.source import BytesLike, ByteSource, read_exact
from formats.filesystems.ext import xattrs
from formats.filesystems.ext.blockmap import BlockMap
from formats.filesystems.ext.directory import DirectoryParser
from formats.filesystems.ext.extents import ExtentTree
from formats.filesystems.ext.groups import GroupDescriptors
from formats.filesystems.ext.inode import (
    BASE_BYTES,
    EA_INODE,
    EXTENTS,
    INLINE_DATA,
    Inode,
    InodeTable,
)
from formats.filesystems.ext.superblock import Incompat, Superblock
from formats.filesystems.runs import CHUNK_BYTES, Run, coalesce, read_runs
from formats.filesystems.walk import Names

_ROOT_BYTES = 60
_SECTOR_BYTES = 512
_INLINE_PARENT_BYTES = 4
_LONGEST_ENTRY_BYTES = 264


class ExtFilesystem:
    """A filesystem on a volume.

    :param source: the volume, its journal replayed.
    :param superblock: the superblock of that.
    """

    def __init__(self, source: ByteSource, superblock: Superblock, limits: Limits) -> None:
        self.source = source
        self.superblock = superblock
        self.limits = limits
        self.inodes = InodeTable(source, superblock, GroupDescriptors(source, superblock))

    def runs(self, inode: Inode, size: int) -> list[Run]:
        """Return where on the volume the first ``size`` bytes of an inode are.

        What no run covers reads as zeros. Inline content has no runs.

        :raises CorruptError: if the mapping is damaged.
        """
        block_count = -(-size // self.superblock.block_bytes)
        if inode.flags & INLINE_DATA or not block_count:
            return []
        if inode.flags & EXTENTS:
            tree = ExtentTree(self.source, self.superblock, inode.number, inode.generation)
            return coalesce(tree.runs(inode.block), block_count)
        block_map = BlockMap(self.source, self.superblock, inode.number)
        return coalesce(block_map.runs(inode.block, block_count), block_count)

    def content(self, inode: Inode, size: int) -> Iterator[BytesLike]:
        """Yield the first ``size`` bytes of an inode's content.

        :raises CorruptError: if they cannot be read.
        """
        if inode.flags & INLINE_DATA:
            data = b"".join(self.inline_parts(inode))
            if len(data) < size:
                raise self.damaged(f"holds {len(data)} of {size:,} bytes", inode)
            yield data[:size]
            return
        runs = self.runs(inode, size)
        yield from read_runs(self.source, runs, self.superblock.block_bytes, size)

    def inline_parts(self, inode: Inode) -> tuple[bytes, bytes]:
        """Return both parts of inline data: ``i_block``, and that among the attributes.

        :raises CorruptError: if the second is not there, as it must be even if it is empty.
        """
        for attribute in xattrs.in_inode(inode.record, BASE_BYTES + inode.extra_bytes):
            if attribute.is_inline_data:
                return inode.block, attribute.value
        raise self.damaged("has inline data without the attribute for it", inode)

    def symlink_target(self, inode: Inode) -> bytes:
        """Return what a symlink holds.

        :raises CorruptError: if that is nothing, has a NUL, or does not fit into a block with the
            NUL that ends it: the kernel would cut it off.
        :raises LimitError: if it is too long.
        """
        size = inode.size_low
        if size > self.limits.symlink_target_bytes:
            raise LimitError(
                f"is a symlink of {size:,} bytes, more than {self.limits.symlink_target_bytes:,}",
                origin=self.source.origin,
            )
        if size >= self.superblock.block_bytes:
            raise self.damaged(f"is a symlink of {size:,} bytes, more than a block holds", inode)
        if self._is_fast_symlink(inode):
            target = inode.block[:size]
        else:
            target = b"".join(self.content(inode, size))
        if not target or b"\0" in target:
            raise self.damaged("is a symlink to nowhere", inode)
        return target

    def _is_fast_symlink(self, inode: Inode) -> bool:
        if inode.flags & (EXTENTS | INLINE_DATA) or inode.size_low >= _ROOT_BYTES:
            return False
        if Incompat.EA_INODE in self.superblock.incompat:
            return True  # blocks of attribute inodes are counted too
        # ext2 allows a short target in a block of its own: then the link has one more block than
        # its attributes have.
        cluster = self.superblock.cluster_blocks * self.superblock.block_bytes
        attributes = cluster // _SECTOR_BYTES if self.inodes.xattr_block_of(inode) else 0
        return inode.sectors_low == attributes

    def names(self, inode: Inode) -> Names:
        """Return what is in a folder, unsorted, without ``.`` and ``..``.

        :raises CorruptError: if a block is damaged or not there.
        :raises LimitError: if there are too many names.
        """
        superblock = self.superblock
        is_inline = bool(inode.flags & INLINE_DATA)
        parser = DirectoryParser(
            self.source.origin,
            None if is_inline else superblock.inode_seed(inode.number, inode.generation),
            has_types=Incompat.FILETYPE in superblock.incompat,
            most=self.limits.folder_entries,
        )
        if is_inline:
            block, rest = self.inline_parts(inode)
            offset = self.inodes.offset_of(inode.number)
            parser.add(block[_INLINE_PARENT_BYTES:], offset)
            parser.add(rest, offset)
            return parser.names
        block_bytes = superblock.block_bytes
        blocks_a_read = CHUNK_BYTES // block_bytes
        for _, count, start in self._folder_runs(inode):
            for first in range(start, start + count, blocks_a_read):
                length = min(blocks_a_read, start + count - first) * block_bytes
                offset = first * block_bytes
                data = bytes(read_exact(self.source, offset, length, "a directory block"))
                for at in range(0, length, block_bytes):
                    parser.add(data[at : at + block_bytes], offset + at)
        return parser.names

    def folder_bytes(self, inode: Inode) -> int:
        """Return the size of a folder; only ``large_dir`` uses the high half.

        :raises LimitError: if it is more than the names it may have can take.
        """
        is_large = Incompat.LARGE_DIR in self.superblock.incompat
        size = inode.file_bytes if is_large else inode.size_low
        most = 2 * _LONGEST_ENTRY_BYTES * self.limits.folder_entries + CHUNK_BYTES
        if size > most:
            raise LimitError(
                f"is a folder of {size:,} bytes, more than the {most:,} that the names it may"
                " have can take",
                origin=self.source.origin,
            )
        return size

    def _folder_runs(self, inode: Inode) -> list[Run]:
        """Return the runs of a folder, which has no holes."""
        size = self.folder_bytes(inode)
        runs = self.runs(inode, size)
        if sum(run.blocks for run in runs) * self.superblock.block_bytes != size:
            raise self.damaged(f"is a folder of {size:,} bytes without all of its blocks", inode)
        return runs

    def attribute_value_inode(self, number: int, size: int) -> bytes:
        """Return an attribute's value that has an inode of its own (``ea_inode``).

        :raises CorruptError: if the inode holds something else.
        """
        inode = self.inodes.in_use(number)
        if not inode.flags & EA_INODE or inode.file_bytes != size:
            raise self.damaged(f"is to hold {size:,} bytes of an attribute, and does not", inode)
        return b"".join(self.content(inode, size))

    def damaged(self, what: str, inode: Inode) -> CorruptError:
        """Return the error that says what is wrong with an inode."""
        return CorruptError(
            f"inode {inode.number:,} {what}",
            origin=self.source.origin,
            offset=self.inodes.offset_of(inode.number),
            hint="run 'e2fsck' on a copy",
        )
