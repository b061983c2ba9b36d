"""The reader of XFS.

Specification: "XFS Algorithms & Data Structures", 3rd edition
(https://mirrors.edge.kernel.org/pub/linux/utils/fs/xfs/docs/xfs_filesystem_structure.pdf), xfs(5),
mkfs.xfs(8). Not read: files on a realtime device, version 1 of directories, ``metadir`` and
``zoned``; see :mod:`~formats.filesystems.xfs.superblock`.
"""

from __future__ import annotations

from formats.core.reader import Category, OpenContext, ReaderDoc, Signature
from formats.core.source import ByteSource
from formats.core.tree import TreeInfo
from formats.filesystems.run_tree import RunTree
from formats.filesystems.xfs.nodes import XfsNodes
from formats.filesystems.xfs.superblock import MAGIC, Superblock, read_superblock


class XfsReader:
    """XFS as a tree."""

    name = "xfs"
    category = Category.FILESYSTEM
    signatures = (Signature(0, MAGIC),)
    supersedes: frozenset[str] = frozenset()
    doc = ReaderDoc(
        title="XFS filesystems",
        extensions=(".xfs", ".img"),
        specification="https://mirrors.edge.kernel.org/pub/linux/utils/fs/xfs/docs/"
        "xfs_filesystem_structure.pdf",
        reads="versions 4 and 5 as mkfs.xfs(8) makes them: 512 byte to 64 KiB blocks, directory"
        " blocks of another size, all forms of folders and attributes, reflinks, bigtime, nrext64,"
        " sparse inodes, parent pointers; checksums of metadata are verified",
        refuses="files on a realtime device, metadir, zoned, filesystems marked needsrepair,"
        " unknown incompatible features",
    )

    def probe(self, source: ByteSource) -> bool:
        """Tell whether a superblock's worth of bytes is there."""
        return source.size >= 512

    def open(self, source: ByteSource, context: OpenContext) -> RunTree:
        """Read superblock, log and root folder.

        :raises UnsupportedError: for a feature that is not read, by name.
        :raises CorruptError: if they are damaged, or the volume is smaller than the filesystem.
        """
        superblock = read_superblock(source)
        nodes = XfsNodes(source, superblock, context.limits)
        nodes.names(nodes.root)
        return RunTree(nodes, tree_info(superblock))


def tree_info(superblock: Superblock) -> TreeInfo:
    """Return what a superblock says of its filesystem's identity."""
    used = superblock.block_count - superblock.free_block_count
    return TreeInfo(
        format="xfs",
        uuid=str(superblock.uuid) if superblock.uuid.int else None,
        label=superblock.label or None,
        size_bytes=superblock.size_bytes,
        used_bytes=max(used, 0) * superblock.block_bytes,
        facts={
            "version": str(superblock.version),
            "block size": str(superblock.block_bytes),
        },
    )


READER = XfsReader()
