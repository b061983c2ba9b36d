"""Bringing a filesystem up to date before it is read.

What is done is what mounting does: a journal that needs recovery is replayed, full commits first,
then fast commits. Files that were deleted while open are in no folder, so that nothing has to be
done about the orphan list; a truncation that was under way has its new size in the inode already,
and blocks behind it are not read.
"""

from __future__ import annotations

from dataclasses import dataclass

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.limits import Limits
from formats.core.source import ByteSource
from formats.filesystems.ext.blockmap import BlockMap
from formats.filesystems.ext.extents import ExtentTree
from formats.filesystems.ext.fast_commit import FastCommits
from formats.filesystems.ext.fast_commit_replay import replay_fast_commits
from formats.filesystems.ext.groups import GroupDescriptors
from formats.filesystems.ext.inode import EXTENTS, TYPE_FILE, InodeTable
from formats.filesystems.ext.journal import REPAIR_HINT, JournalFile
from formats.filesystems.ext.replay import replay_journal
from formats.filesystems.ext.superblock import Compat, Superblock, read_superblock
from formats.filesystems.runs import Run, coalesce

_BACKUP_OF_BLOCKS = 1
_EXTENT_MAGIC = b"\x0a\xf3"


@dataclass(frozen=True, slots=True)
class Recovered:
    """A filesystem that is up to date.

    :ivar source: the volume as it is to be read.
    :ivar superblock: as it is there.
    :ivar replayed: how much was; None where nothing had to be.
    """

    source: ByteSource
    superblock: Superblock
    replayed: str | None = None


def recover(source: ByteSource, superblock: Superblock, limits: Limits) -> Recovered:
    """Return the filesystem as it is after its journal was replayed, in memory.

    :raises CorruptError: where the kernel would refuse to mount it: the journal is damaged.
    :raises UnsupportedError: if the journal is on another device, or has an unknown feature.
    """
    if not superblock.needs_recovery or Compat.HAS_JOURNAL not in superblock.compat:
        return Recovered(source, superblock)
    journal = _journal_file(source, superblock)
    replayed = replay_journal(journal, superblock.block_count)
    if replayed.superblock.start == 0:
        return Recovered(source, superblock)
    current, newest = replayed.source, read_superblock(replayed.source)
    commits = FastCommits(journal, replayed.superblock, replayed.next_sequence)
    if commits.count:
        current = replay_fast_commits(current, newest, journal, commits, limits)
    how_much = (
        f"{replayed.transactions:,} transactions, {replayed.blocks:,} blocks,"
        f" {replayed.revoked:,} revoked, {commits.count:,} fast commits"
    )
    return Recovered(current, newest, how_much)


def _journal_file(source: ByteSource, superblock: Superblock) -> JournalFile:
    if superblock.journal_inode == 0:
        raise UnsupportedError(
            "its journal is on another device and has not been replayed",
            origin=source.origin,
            hint="shut the machine down cleanly and copy the disk again,"
            " or run 'e2fsck -fy -j JOURNAL' on a copy",
        )
    number = superblock.journal_inode
    inodes = InodeTable(source, superblock, GroupDescriptors(source, superblock))
    inode = inodes.get(number)
    block, size, generation = inode.block, inode.file_bytes, None
    if inode.type == TYPE_FILE and inode.links:
        generation = inode.generation
        is_tree = bool(inode.flags & EXTENTS)
    elif superblock.journal_backup_type == _BACKUP_OF_BLOCKS:
        # The inode itself may be in the journal only. e2fsck goes by the superblock's copy then.
        block, high, low = (
            superblock.journal_backup[:60],
            superblock.journal_backup[60:64],
            superblock.journal_backup[64:68],
        )
        size = int.from_bytes(low, "little") | int.from_bytes(high, "little") << 32
        is_tree = block.startswith(_EXTENT_MAGIC)
    else:
        raise CorruptError(
            f"inode {number:,} is to be the journal and is no file",
            origin=source.origin,
            offset=inodes.offset_of(number),
            hint=REPAIR_HINT,
        )
    count = min(size // superblock.block_bytes, superblock.block_count)
    return JournalFile(
        source,
        _runs(source, superblock, block, count, generation, is_tree=is_tree),
        superblock.block_bytes,
    )


def _runs(
    source: ByteSource,
    superblock: Superblock,
    block: bytes,
    count: int,
    generation: int | None,
    *,
    is_tree: bool,
) -> list[Run]:
    number = superblock.journal_inode
    if is_tree:
        tree = ExtentTree(source, superblock, number, generation)
        return coalesce(tree.runs(block), count)
    return coalesce(BlockMap(source, superblock, number).runs(block, count), count)
