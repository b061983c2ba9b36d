"""The reader of XFS.

Specification: "XFS Algorithms & Data Structures", 3rd edition
(https://mirrors.edge.kernel.org/pub/linux/utils/fs/xfs/docs/xfs_filesystem_structure.pdf), xfs(5),
mkfs.xfs(8). Not read: files on a realtime device, filesystems whose log is on another device,
version 1 of directories, ``metadir`` and ``zoned``; see
:mod:`~formats.filesystems.xfs.superblock`.
"""

from __future__ import annotations

from collections.abc import Iterator

from formats.core.entry import Kind
from formats.core.errors import CorruptError
from formats.core.finding import Action, Finding
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature
from formats.core.source import ByteSource
from formats.core.tree import TreeInfo
from formats.filesystems.run_tree import RunTree
from formats.filesystems.xfs.log_recovery import Recovered, recover
from formats.filesystems.xfs.nodes import XfsNodes
from formats.filesystems.xfs.superblock import MAGIC, Superblock, read_superblock

_LEAST_BYTES = 512


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
        reads="all that mkfs.xfs(8) makes, versions 4 and 5: 512-byte to 64 KiB blocks, directory"
        " blocks of another size, all forms of folders and attributes, reflinks, bigtime, nrext64,"
        " sparse inodes, parent pointers; checksums of metadata are verified; dirty logs are"
        " replayed in memory",
        refuses="files on a realtime device, logs on another device, metadir, zoned, filesystems"
        " marked needsrepair, unknown incompatible features",
    )

    def probe(self, source: ByteSource) -> bool:
        """Tell whether a superblock's worth of bytes is there."""
        return source.size >= _LEAST_BYTES

    def open(self, source: ByteSource, context: OpenContext) -> RunTree:
        """Read superblock, log and root folder.

        A log that needs it is replayed in memory first, which is noted.

        :raises UnsupportedError: for a feature that is not read, by name.
        :raises CorruptError: if they are damaged, or the volume is smaller than the filesystem.
        """
        recovered = recover(source, read_superblock(source), context.limits)
        if recovered.replayed is not None:
            place = str(source.origin).encode("utf-8", "surrogateescape")
            context.note(Finding("journal-replayed", place, Action.REPORTED, recovered.replayed))
        nodes = XfsNodes(recovered.source, recovered.superblock, context.limits)
        if nodes.node(nodes.root).kind is not Kind.FOLDER:
            raise CorruptError("its root is no folder", origin=source.origin)
        return RunTree(nodes, tree_info(recovered))


def tree_info(recovered: Recovered) -> TreeInfo:
    """Return what a superblock says of its filesystem's identity."""
    superblock, is_replayed = recovered.superblock, recovered.replayed is not None
    used = superblock.block_count - superblock.free_block_count
    return TreeInfo(
        format="xfs",
        uuid=str(superblock.uuid) if superblock.uuid.int else None,
        label=superblock.label or None,
        size_bytes=superblock.size_bytes,
        # While it is mounted the superblock is behind: mounting counts what is free once more.
        used_bytes=None if is_replayed else max(used, 0) * superblock.block_bytes,
        facts={
            "version": str(superblock.version),
            "block size": str(superblock.block_bytes),
            "log": "replayed" if is_replayed else "clean",
            "features": " ".join(_features(superblock)),
        },
    )


def _features(superblock: Superblock) -> Iterator[str]:
    for flags in (
        superblock.features,
        superblock.features2,
        superblock.ro_compat,
        superblock.incompat,
    ):
        for flag in flags:
            yield str(flag.name).lower()


READER = XfsReader()
