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
from formats.filesystems.xfs.spare import find_spare
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

        A log that needs it is replayed in memory first, and where the superblock is damaged a
        spare one is used; both are noted.

        :raises UnsupportedError: for a feature that is not read, by name.
        :raises CorruptError: if they are damaged, or the volume is smaller than the filesystem.
        """
        place = str(source.origin).encode("utf-8", "surrogateescape")
        volume, superblock, doubt = _superblock(source)
        recovered = recover(volume, superblock, context.limits)
        if doubt is not None:
            context.note(Finding("superblock-damaged", place, Action.REPORTED, doubt))
        if recovered.replayed is not None:
            context.note(Finding("journal-replayed", place, Action.REPORTED, recovered.replayed))
        nodes = XfsNodes(recovered.source, recovered.superblock, context.limits)
        if nodes.node(nodes.root).kind is not Kind.FOLDER:
            raise CorruptError("its root is no folder", origin=source.origin)
        return RunTree(nodes, tree_info(recovered, is_counted=doubt is None))


def _superblock(source: ByteSource) -> tuple[ByteSource, Superblock, str | None]:
    """Return the volume, its superblock, and what is to be said of that.

    :raises CorruptError: if the first superblock is damaged and no spare one is found.
    """
    try:
        return source, read_superblock(source), None
    except CorruptError as error:
        spare = find_spare(source)
        if spare is None:
            raise
        message = f"{error.message}: the spare one of allocation group {spare.group} is used"
        return spare.source, read_superblock(spare.source), message


def tree_info(recovered: Recovered, *, is_counted: bool) -> TreeInfo:
    """Return what a superblock says of its filesystem's identity.

    :param is_counted: whether it is the one that has the number of free blocks.
    """
    superblock, is_replayed = recovered.superblock, recovered.replayed is not None
    # While a filesystem is mounted the number is not kept up; the next mount counts once more.
    is_counted = is_counted and not is_replayed
    used = superblock.block_count - superblock.free_block_count
    return TreeInfo(
        format="xfs",
        uuid=str(superblock.uuid) if superblock.uuid.int else None,
        label=superblock.label or None,
        size_bytes=superblock.size_bytes,
        used_bytes=max(used, 0) * superblock.block_bytes if is_counted else None,
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
