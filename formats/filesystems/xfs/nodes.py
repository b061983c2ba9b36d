"""An XFS filesystem as what can be walked and read, inode by inode."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from formats.core.entry import MODE_KINDS, Kind
from formats.core.errors import CorruptError, LimitError, UnsupportedError
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource
from formats.filesystems.runs import Run, coalesce, read_runs
from formats.filesystems.walk import Names, Node
from formats.filesystems.xfs.attributes import AttributeReader
from formats.filesystems.xfs.blocks import FOLDER_HEADER, REMOTE_HEADER, Blocks
from formats.filesystems.xfs.directory import NAMES_END_BYTES, FolderParser
from formats.filesystems.xfs.forks import Forks
from formats.filesystems.xfs.inode import (
    FLAG_REALTIME,
    FORMAT_DEVICE,
    FORMAT_LOCAL,
    MODE_TYPE,
    Inode,
    InodeTable,
)
from formats.filesystems.xfs.superblock import REPAIR_HINT, Superblock

_DEVICES = frozenset({Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE})
_WITHOUT_CONTENT = frozenset({*_DEVICES, Kind.FIFO, Kind.SOCKET})
_LARGEST_FILE = (1 << 63) - 1
_LONGEST_TARGET = 1024
_LONGEST_ENTRY_BYTES = 272
_TARGET_HEADER = struct.Struct(">4sII")  # magic, offset in the target, bytes of it
_TARGET_HEADER_BYTES = {4: 0, 5: 56}
_TARGET_MAGIC = b"XSLM"
_REALTIME_HINT = "copy the files onto a filesystem without a realtime device, and convert that"


class XfsNodes:
    """See :class:`formats.filesystems.run_tree.RunFilesystem`.

    :param source: the volume, its log replayed.
    :param superblock: the superblock of that.
    """

    def __init__(self, source: ByteSource, superblock: Superblock, limits: Limits) -> None:
        self.source = source
        self.superblock = superblock
        self.limits = limits
        self._inodes = InodeTable(source, superblock)
        self._forks = Forks(source, superblock)
        self._blocks = Blocks(source, superblock)
        self._attributes = AttributeReader(source, superblock, self._forks, limits)

    @property
    def origin(self) -> Origin:
        """Breadcrumb for messages."""
        return self.source.origin

    @property
    def root(self) -> int:
        """Number of the root folder's inode."""
        return self.superblock.root_inode

    @property
    def size_bytes(self) -> int:
        """Size of the filesystem."""
        return self.superblock.size_bytes

    @property
    def block_bytes(self) -> int:
        """Size of blocks."""
        return self.superblock.block_bytes

    def node(self, number: int) -> Node:
        """See :meth:`formats.filesystems.walk.Walkable.node`.

        :raises UnsupportedError: if its content is on the realtime device.
        """
        inode = self._inodes.in_use(number)
        kind = MODE_KINDS.get(inode.mode & MODE_TYPE)
        if kind is None or number in self.superblock.special_inodes:
            raise self.damaged("is not one that can have a name", number)
        size, target, device = 0, None, None
        if kind is Kind.FILE:
            size = self._file_bytes(inode)
        elif kind is Kind.SYMLINK:
            target = self._symlink_target(inode)
        elif kind in _WITHOUT_CONTENT:
            if inode.format != FORMAT_DEVICE:
                raise self.damaged(f"is a {kind.value} of form {inode.format}", number)
            device = inode.device if kind in _DEVICES else None
        return Node(
            kind,
            inode.mode & 0o7777,
            inode.uid,
            inode.gid,
            inode.mtime_ns,
            size,
            inode.links,
            target,
            device,
            self._attributes.of(inode),
        )

    def _file_bytes(self, inode: Inode) -> int:
        if inode.flags & FLAG_REALTIME and inode.data_extents:
            raise UnsupportedError(
                "is on the realtime device, which is not read",
                origin=self.origin,
                offset=self._inodes.offset_of(inode.number),
                hint=_REALTIME_HINT,
            )
        if inode.size > _LARGEST_FILE:
            raise self.damaged(f"is a file of {inode.size:,} bytes", inode.number)
        return inode.size

    def _symlink_target(self, inode: Inode) -> bytes:
        size = inode.size
        if size > self.limits.symlink_target_bytes:
            raise LimitError(
                f"is a symlink of {size:,} bytes, more than {self.limits.symlink_target_bytes:,}",
                origin=self.origin,
            )
        if size > _LONGEST_TARGET:
            raise self.damaged(f"is a symlink of {size:,} bytes", inode.number)
        if inode.format == FORMAT_LOCAL:
            target = inode.data_fork[:size]
        else:
            target = self._remote_target(inode, size)
        if len(target) != size or not target or b"\0" in target:
            raise self.damaged("is a symlink to nowhere", inode.number)
        return target

    def _remote_target(self, inode: Inode, size: int) -> bytes:
        """Return a target that has extents; in version 5 each of them begins with a header."""
        what = "a block of a symlink"
        header_bytes = _TARGET_HEADER_BYTES[self.superblock.version]
        most = -(-size // (self.block_bytes - header_bytes))
        target = b""
        for _, count, start in self._forks.data_runs(inode):
            block = self._blocks.read(start, min(count, most) * self.block_bytes, what)
            part = block[header_bytes : header_bytes + size - len(target)]
            if header_bytes:
                found = _TARGET_HEADER.unpack_from(block)
                if found != (_TARGET_MAGIC, len(target), len(part)):
                    raise self._blocks.damaged(f"{what} begins with {found}", start)
                self._blocks.verify(block, start, inode.number, REMOTE_HEADER, what)
            target += part
            if len(target) == size:
                break
        return target

    def names(self, number: int) -> Names:
        """See :meth:`formats.filesystems.walk.Walkable.names`."""
        inode = self._inodes.in_use(number)
        parser = FolderParser(self.superblock, self.origin, self.limits.folder_entries)
        if inode.format == FORMAT_LOCAL:
            parser.add_short(inode.data_fork[: inode.size], self._inodes.offset_of(number))
            return parser.names
        block_bytes = self.block_bytes
        is_only = inode.size == self.superblock.folder_block_bytes
        for block, start in self._folder_blocks(inode):
            self._blocks.verify(block, start, number, FOLDER_HEADER, "a block of a folder")
            parser.add_block(block, start * block_bytes, is_only=is_only)
        return parser.names

    def _folder_blocks(self, inode: Inode) -> Iterator[tuple[bytes, int]]:
        """Yield the blocks with names, and the first block of the volume that each has.

        One of them may be several of the filesystem's, and these need not adjoin.
        """
        block_bytes, size = self.block_bytes, self.superblock.folder_block_bytes
        each = size // block_bytes
        end = inode.size // block_bytes
        where: list[tuple[int, int]] = []
        for first, count, start in self._forks.data_runs(inode):
            if first * block_bytes >= NAMES_END_BYTES:
                break
            if first + count > end:
                raise self.damaged("is a folder with names behind its end", inode.number)
            where.extend(zip(range(first, first + count), range(start, start + count), strict=True))
        for at in range(0, len(where), each):
            first, start = where[at]
            pieces = where[at : at + each]
            if first % each or pieces[-1][0] != first + each - 1:
                raise self.damaged("is a folder with part of a block", inode.number)
            if pieces[-1][1] == start + each - 1:
                yield self._blocks.read(start, size, "a block of a folder"), start
                continue
            read = self._blocks.read
            parts = [read(block, block_bytes, "a block of a folder") for _, block in pieces]
            yield b"".join(parts), start

    def folder_bytes(self, number: int) -> int:
        """See :meth:`formats.filesystems.walk.Walkable.folder_bytes`.

        :raises LimitError: if it is more than the names it may have can take.
        """
        inode = self._inodes.in_use(number)
        size = inode.size
        if inode.format == FORMAT_LOCAL:
            return 0
        block = self.superblock.folder_block_bytes
        most = 2 * _LONGEST_ENTRY_BYTES * self.limits.folder_entries + block
        if size > most:
            raise LimitError(
                f"is a folder of {size:,} bytes, more than the {most:,} that the names it may"
                " have can take",
                origin=self.origin,
            )
        if not size or size % block:
            raise self.damaged(f"is a folder of {size:,} bytes", number)
        return size

    def runs(self, number: int, size: int) -> list[Run]:
        """See :meth:`formats.filesystems.run_tree.RunFilesystem.runs`."""
        block_count = -(-size // self.block_bytes)
        return coalesce(self._forks.data_runs(self._inodes.in_use(number)), block_count)

    def content(self, number: int, size: int) -> Iterator[BytesLike]:
        """See :meth:`formats.filesystems.run_tree.RunFilesystem.content`."""
        return read_runs(self.source, self.runs(number, size), self.block_bytes, size)

    def damaged(self, what: str, number: int) -> CorruptError:
        """See :meth:`formats.filesystems.walk.Walkable.damaged`."""
        return CorruptError(
            f"inode {number:,} {what}",
            origin=self.origin,
            offset=self._inodes.offset_of(number),
            hint=REPAIR_HINT,
        )
