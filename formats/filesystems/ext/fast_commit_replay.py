"""Replaying fast commits (kernel documentation, "Fast Commit Replay Idempotence").

Tags say what *became* of inodes, ranges and names. All are taken in, and only then is what they
lead to written as ordinary structures: inodes into copies of their table's blocks, extent trees
and folders into blocks of their own. Those get numbers that belong to the journal, which nothing
refers to. The result is laid over the volume, and the reader needs to know nothing of it.

What tags do not carry cannot be told: a folder in which a name appeared keeps the modification
time of the last full commit (the kernel puts the time of the mount there).
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass, field

from formats.core.entry import check_name
from formats.core.errors import CorruptError, LimitError, UnsupportedError
from formats.core.limits import Limits
from formats.core.source import ByteSource, read_exact
from formats.filesystems.ext.checksums import crc32c
from formats.filesystems.ext.fast_commit import (
    Change,
    FastCommits,
    InodeImage,
    Kind,
    NameChange,
    RangeChange,
)
from formats.filesystems.ext.fast_commit_tree import directory_blocks, extent_tree, newest
from formats.filesystems.ext.filesystem import ExtFilesystem
from formats.filesystems.ext.groups import GroupDescriptors
from formats.filesystems.ext.inode import (
    BASE_BYTES,
    EXTENTS,
    INLINE_DATA,
    TYPE_FILE,
    TYPE_FOLDER,
    TYPE_MASK,
    Inode,
)
from formats.filesystems.ext.journal import REPAIR_HINT, JournalFile
from formats.filesystems.ext.superblock import ROOT_INODE, Superblock
from formats.filesystems.replay_source import ReplayedSource
from formats.filesystems.runs import Run

_HASH_TREE = 0x1000
_BLOCK = slice(0x28, 0x64)
_MODE = struct.Struct("<H")
_WORD = struct.Struct("<I")
_SIZE_LOW, _LINKS, _FLAGS, _GENERATION, _SIZE_HIGH = 0x04, 0x1A, 0x20, 0x64, 0x6C
_CHECKSUM_LOW, _EXTRA_SIZE, _CHECKSUM_HIGH = 0x7C, 0x80, 0x82


def replay_fast_commits(
    source: ByteSource,
    superblock: Superblock,
    journal: JournalFile,
    commits: FastCommits,
    limits: Limits,
) -> ByteSource:
    """Return ``source`` with what fast commits changed laid over it.

    :param source: the volume, full commits replayed.
    :param superblock: as read from ``source``.
    :raises CorruptError: if they contradict the filesystem.
    :raises UnsupportedError: if what they change does not fit in as many blocks as the journal has.
    :raises LimitError: if they change more than ``limits.entries``.
    """
    created = {
        change.inode
        for change in commits.changes()
        if isinstance(change, NameChange) and change.kind is Kind.CREATE
    }
    blocks = _Blocks(source, superblock, journal)
    _initialise_groups(source, superblock, created, blocks)
    # Inodes of a group that was never used can only be found once it is.
    filesystem = ExtFilesystem(blocks.over(source), superblock, limits)
    replay = _Replay(filesystem, created)
    for change in commits.changes():
        replay.take(change)
    replay.write(blocks)
    return blocks.over(source)


class _Blocks:
    """Blocks that are to be laid over the volume: changed copies, and new ones.

    New ones take the numbers of the journal's own blocks, from its second on.
    """

    def __init__(self, source: ByteSource, superblock: Superblock, journal: JournalFile) -> None:
        self._source = source
        self._superblock = superblock
        self._numbers = (journal.location(block) for block in range(1, journal.length))
        self._blocks: dict[int, bytearray] = {}

    def patch(self, offset: int, data: bytes) -> None:
        """Change bytes of the volume; they must not cross from one block to the next."""
        size = self._superblock.block_bytes
        number, skip = divmod(offset, size)
        block = self._blocks.get(number)
        if block is None:
            block = bytearray(read_exact(self._source, number * size, size, "a metadata block"))
            self._blocks[number] = block
        block[skip : skip + len(data)] = data

    def new(self, data: bytes) -> int:
        """Add a block and return its number.

        :raises UnsupportedError: if the journal has no more numbers to give.
        """
        number = next(self._numbers, None)
        if number is None:
            raise UnsupportedError(
                "its fast commits change larger folders than fit in memory set aside for them",
                origin=self._source.origin,
                hint="mount and unmount a copy once",
            )
        self._blocks[number] = bytearray(data)
        return number

    def over(self, source: ByteSource) -> ByteSource:
        """Return ``source`` with the blocks laid over it."""
        if not self._blocks:
            return source
        size = self._superblock.block_bytes
        numbers = array("Q", sorted(self._blocks))
        places = array("Q", (source.size + index * size for index in range(len(numbers))))
        content = b"".join(self._blocks[number] for number in numbers)
        return ReplayedSource(source, size, numbers, places, content)


def _initialise_groups(
    source: ByteSource, superblock: Superblock, created: set[int], blocks: _Blocks
) -> None:
    groups = GroupDescriptors(source, superblock)
    in_groups = {(inode - 1) // superblock.inodes_per_group for inode in created if inode}
    for group in sorted(in_groups):
        if group < superblock.group_count and groups.inode_table_offset(group) is None:
            blocks.patch(*groups.initialised(group))


@dataclass(slots=True)
class _File:
    """What is known to have become of one inode.

    :ivar base: as it was at the last full commit; None where it did not exist.
    :ivar record: the whole inode, once there was an image of it.
    :ivar keeps_mapping: whether blocks of ``base`` are still its own.
    :ivar current: index into ``ranges`` where those of the present file begin; what is before it
        belongs to a file that had this inode and was deleted.
    """

    base: Inode | None
    record: bytes
    keeps_mapping: bool = True
    ranges: list[RangeChange] = field(default_factory=list)
    current: int = 0

    @property
    def type(self) -> int:
        return int(_MODE.unpack_from(self.record)[0]) & TYPE_MASK

    @property
    def flags(self) -> int:
        return int(_WORD.unpack_from(self.record, _FLAGS)[0])

    @property
    def size(self) -> int:
        low, high = (
            _WORD.unpack_from(self.record, _SIZE_LOW),
            _WORD.unpack_from(self.record, _SIZE_HIGH),
        )
        return int(low[0]) | int(high[0]) << 32


class _Replay:
    """Takes changes in order, then writes what they lead to."""

    def __init__(self, filesystem: ExtFilesystem, created: set[int]) -> None:
        self._filesystem = filesystem
        self._superblock = filesystem.superblock
        self._created = created
        self._files: dict[int, _File] = {}
        self._folders: dict[int, dict[bytes, int]] = {}
        self._left = filesystem.limits.entries

    def take(self, change: Change) -> None:
        """Take in one change."""
        self._count(1)
        if isinstance(change, InodeImage):
            self._take_image(change)
        elif isinstance(change, RangeChange):
            self._take_range(change)
        else:
            self._take_name(change)

    def _count(self, more: int) -> None:
        self._left -= more
        if self._left < 0:
            raise LimitError(
                f"fast commits change more than {self._filesystem.limits.entries:,} things",
                origin=self._filesystem.source.origin,
            )

    def _file(self, number: int) -> _File:
        file = self._files.get(number)
        if file is not None:
            return file
        superblock = self._superblock
        if number != ROOT_INODE and number < superblock.first_inode:
            raise self._error(f"a fast commit changes inode {number:,}, which is reserved")
        if number in self._created:
            self._filesystem.inodes.offset_of(number)  # it must be one that there is
            file = _File(base=None, record=bytes(superblock.inode_bytes))
        else:
            base = self._filesystem.inodes.get(number)
            file = _File(base=base, record=base.record)
        self._files[number] = file
        return file

    def _take_image(self, image: InodeImage) -> None:
        file = self._file(image.inode)
        new, old = image.record, file.record
        if len(new) > len(old):
            raise self._error(f"a fast commit has {len(new):,} bytes for inode {image.inode:,}")
        (flags,) = _WORD.unpack_from(new, _FLAGS)
        kind = _MODE.unpack_from(new)[0] & TYPE_MASK
        # Where blocks of a file are is told by ranges; everything else in i_block is content.
        is_mapped = flags & EXTENTS or kind in {TYPE_FILE, TYPE_FOLDER}
        if is_mapped and not flags & INLINE_DATA:
            new = new[: _BLOCK.start] + old[_BLOCK] + new[_BLOCK.stop :]
        file.record = new + old[len(new) :]

    def _take_range(self, change: RangeChange) -> None:
        start, count = change.start, change.count
        limit = self._superblock.block_count
        if start is not None and not 0 < start <= limit - count:
            raise self._error(f"a fast commit maps a file to block {start:,} of {limit:,}")
        if count:
            self._file(change.inode).ranges.append(change)

    def _take_name(self, change: NameChange) -> None:
        check_name(change.name, self._filesystem.source.origin)
        names = self._names(change.folder)
        file = self._file(change.inode)
        if change.kind is Kind.UNLINK:
            if names.get(change.name) == change.inode:
                del names[change.name]
                file.current = len(file.ranges)
            return
        names[change.name] = change.inode
        if change.kind is Kind.CREATE:
            file.ranges = file.ranges[file.current :]
            file.keeps_mapping = False
            self._folders.pop(change.inode, None)
            if file.type == TYPE_FOLDER:
                self._folders[change.inode] = {}

    def _names(self, number: int) -> dict[bytes, int]:
        names = self._folders.get(number)
        if names is None:
            base = self._filesystem.inodes.in_use(number)
            if base.type != TYPE_FOLDER:
                raise self._error(f"a fast commit puts a name into inode {number:,}, no folder")
            self._file(number)
            names = self._folders[number] = dict(self._filesystem.names(base))
            self._count(len(names))
        return names

    def write(self, blocks: _Blocks) -> None:
        """Write inodes, extent trees and folders."""
        for number, file in sorted(self._files.items()):
            record = bytearray(file.record)
            names = self._folders.get(number)
            if names is not None:
                self._write_folder(number, record, names, blocks)
            elif self._has_new_mapping(file):
                self._write_mapping(number, record, self._runs(file), blocks)
            self._seal(number, record)
            blocks.patch(self._filesystem.inodes.offset_of(number), bytes(record))

    def _has_new_mapping(self, file: _File) -> bool:
        is_mapped = file.flags & EXTENTS or file.type == TYPE_FILE
        if not is_mapped or file.flags & INLINE_DATA:
            return False
        became_mapped = file.base is None or (file.flags ^ file.base.flags) & EXTENTS
        return bool(file.ranges or became_mapped or not file.keeps_mapping)

    def _runs(self, file: _File) -> list[Run]:
        layers = [(item.first, item.count, item.start) for item in reversed(file.ranges)]
        if file.base is not None and file.keeps_mapping:
            layers += self._filesystem.runs(file.base, file.size)
        return newest(layers)

    def _write_folder(
        self, number: int, record: bytearray, names: dict[bytes, int], blocks: _Blocks
    ) -> None:
        superblock = self._superblock
        seed = self._seed(number, record) if superblock.has_metadata_checksums else None
        size = superblock.block_bytes
        placed = [blocks.new(block) for block in directory_blocks(names, size, seed)]
        runs = [Run(index, 1, block) for index, block in enumerate(placed)]
        _WORD.pack_into(record, _SIZE_LOW, len(runs) * size & 0xFFFFFFFF)
        _WORD.pack_into(record, _SIZE_HIGH, 0)
        self._write_mapping(number, record, runs, blocks)

    def _write_mapping(
        self, number: int, record: bytearray, runs: list[Run], blocks: _Blocks
    ) -> None:
        seed = self._seed(number, record)
        record[_BLOCK] = extent_tree(runs, self._superblock.block_bytes, seed, blocks.new)
        (flags,) = _WORD.unpack_from(record, _FLAGS)
        flags = flags & ~(_HASH_TREE | INLINE_DATA) | EXTENTS
        _WORD.pack_into(record, _FLAGS, flags)

    def _seed(self, number: int, record: bytearray) -> int:
        identity = _WORD.pack(number) + record[_GENERATION : _GENERATION + 4]
        return crc32c(identity, self._superblock.checksum_seed)

    def _seal(self, number: int, record: bytearray) -> None:
        """Set the checksum of an inode."""
        if not self._superblock.has_metadata_checksums:
            return
        has_high = len(record) > BASE_BYTES and _MODE.unpack_from(record, _EXTRA_SIZE)[0] >= 4
        _MODE.pack_into(record, _CHECKSUM_LOW, 0)
        if has_high:
            _MODE.pack_into(record, _CHECKSUM_HIGH, 0)
        checksum = crc32c(bytes(record), self._seed(number, record))
        _MODE.pack_into(record, _CHECKSUM_LOW, checksum & 0xFFFF)
        if has_high:
            _MODE.pack_into(record, _CHECKSUM_HIGH, checksum >> 16)

    def _error(self, message: str) -> CorruptError:
        return CorruptError(message, origin=self._filesystem.source.origin, hint=REPAIR_HINT)
