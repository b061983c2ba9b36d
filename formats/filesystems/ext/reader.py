"""The reader of ext2, ext3 and ext4.

Specification: the Linux kernel's "ext4 Data Structures and Algorithms"
(https://docs.kernel.org/filesystems/ext4/), ext4(5). Not read: encrypted files, filesystems with
the compression patch, Lustre's ``dirdata``; see :mod:`~formats.filesystems.ext.superblock`.
"""

from __future__ import annotations

from collections.abc import Iterator

from formats.core.errors import CorruptError
from formats.core.finding import Action, Finding
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature
from formats.core.source import ByteSource
from formats.core.tree import TreeInfo
from formats.filesystems.ext.filesystem import ExtFilesystem
from formats.filesystems.ext.inode import TYPE_FOLDER, TYPE_MASK
from formats.filesystems.ext.journal_recovery import Recovered, recover
from formats.filesystems.ext.nodes import ExtNodes
from formats.filesystems.ext.superblock import (
    MAGIC,
    ROOT_INODE,
    SUPERBLOCK_OFFSET,
    Compat,
    State,
    Superblock,
    read_superblock,
)
from formats.filesystems.run_tree import RunTree

_MAGIC_OFFSET = SUPERBLOCK_OFFSET + 0x38

_UNCLEAN = (
    "it was in use when the image was taken, and no journal has the last changes: they may be"
    " missing or half done"
)
_ERRORS = "the kernel met errors in it: run 'e2fsck -f' on a copy"


class ExtReader:
    """ext2, ext3 and ext4 as a tree."""

    name = "ext"
    category = Category.FILESYSTEM
    signatures = (Signature(_MAGIC_OFFSET, MAGIC.to_bytes(2, "little")),)
    supersedes: frozenset[str] = frozenset()
    doc = ReaderDoc(
        title="Linux ext2, ext3 and ext4 filesystems",
        extensions=(".ext2", ".ext3", ".ext4", ".img"),
        specification="https://docs.kernel.org/filesystems/ext4/",
        reads="all that mke2fs(8) makes: 1-64 KiB blocks, extents and block maps, inline data,"
        " bigalloc, meta_bg, sparse_super2, ea_inode, large_dir, casefold, verity; checksums of"
        " metadata are verified; dirty journals are replayed in memory, fast commits too",
        refuses="encrypted files, e2compr compression, dirdata, dirty journals on other devices,"
        " unknown incompatible features",
    )

    def probe(self, source: ByteSource) -> bool:
        """Tell whether a superblock's worth of bytes is there: two bytes alone prove little."""
        return source.size >= 2 * SUPERBLOCK_OFFSET

    def open(self, source: ByteSource, context: OpenContext) -> RunTree:
        """Read superblock, journal and root folder.

        A journal that needs it is replayed in memory first, which is noted; so is what the kernel
        would warn of when it mounts the filesystem.

        :raises UnsupportedError: for a feature that is not read, by name.
        :raises CorruptError: if they are damaged, or the volume is smaller than the filesystem.
        """
        recovered = recover(source, read_superblock(source), context.limits)
        superblock = recovered.superblock
        place = str(source.origin).encode("utf-8", "surrogateescape")
        for rule, evidence in _notes(recovered):
            context.note(Finding(rule, place, Action.REPORTED, evidence))
        filesystem = ExtFilesystem(recovered.source, superblock, context.limits)
        root = filesystem.inodes.in_use(ROOT_INODE)
        if root.mode & TYPE_MASK != TYPE_FOLDER:
            raise CorruptError("its root is no folder", origin=source.origin)
        info = tree_info(superblock, replayed=recovered.replayed is not None)
        return RunTree(ExtNodes(filesystem), info)


def _notes(recovered: Recovered) -> Iterator[tuple[str, str]]:
    """Yield rule and evidence of what was done, and of reasons to doubt what is there."""
    if recovered.replayed is not None:
        yield "journal-replayed", recovered.replayed
    state = recovered.superblock.state
    if State.CLEAN not in state:
        yield "filesystem-unclean", _UNCLEAN
    if State.ERRORS in state:
        yield "filesystem-errors", _ERRORS


def tree_info(superblock: Superblock, *, replayed: bool = False) -> TreeInfo:
    """Return what a superblock says of its filesystem's identity.

    :param replayed: whether its journal had to be replayed.
    """
    used = superblock.block_count - superblock.free_block_count
    features = [
        str(feature.name).lower()
        for flags in (superblock.compat, superblock.incompat, superblock.ro_compat)
        for feature in flags
    ]
    journal = "replayed" if replayed else "clean"
    if Compat.HAS_JOURNAL not in superblock.compat:
        journal = "none"
    return TreeInfo(
        format=superblock.format,
        uuid=str(superblock.uuid) if superblock.uuid.int else None,
        label=superblock.label or None,
        size_bytes=superblock.size_bytes,
        used_bytes=max(used, 0) * superblock.block_bytes,
        facts={
            "block size": str(superblock.block_bytes),
            "journal": journal,
            "features": " ".join(features),
        },
    )


READER = ExtReader()
