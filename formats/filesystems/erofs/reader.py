"""The reader of EROFS.

Specification: the Linux kernel's "EROFS - Enhanced Read-Only File System"
(https://docs.kernel.org/filesystems/erofs.html), its on-disk documentation
(https://erofs.docs.kernel.org) and the structures of the kernel's erofs_fs.h, which is under the
MIT licence. Not read: images on several devices, addresses of 48 bits, metadata in an inode of its
own (metabox), logical clusters larger than a block.
"""

from __future__ import annotations

from formats.core.entry import Kind
from formats.core.errors import CorruptError
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature
from formats.core.source import ByteSource
from formats.core.tree import TreeInfo
from formats.filesystems.content_tree import ContentTree
from formats.filesystems.erofs.filesystem import ErofsFilesystem
from formats.filesystems.erofs.superblock import (
    MAGIC,
    SUPERBLOCK_OFFSET,
    Superblock,
    read_superblock,
)


class ErofsReader:
    """EROFS as a tree."""

    name = "erofs"
    category = Category.FILESYSTEM
    signatures = (Signature(SUPERBLOCK_OFFSET, MAGIC.to_bytes(4, "little")),)
    supersedes: frozenset[str] = frozenset()
    doc = ReaderDoc(
        title="EROFS images",
        extensions=(".erofs", ".img"),
        specification="https://docs.kernel.org/filesystems/erofs.html",
        reads="plain, inline and chunk-based files; compressed ones with all their indexes, large"
        " clusters, inline tails and fragments: LZ4, MicroLZMA, DEFLATE and Zstandard; shared and"
        " long attributes, ACLs",
        refuses="further devices, 48-bit addresses, metabox, logical clusters larger than a block",
    )

    def probe(self, source: ByteSource) -> bool:
        """Tell yes: the magic is proof enough."""
        del source
        return True

    def open(self, source: ByteSource, context: OpenContext) -> ContentTree:
        """Read superblock and root folder.

        :raises UnsupportedError: for a feature that is not read, by name.
        :raises CorruptError: if they are damaged, or the image is cut short.
        """
        superblock = read_superblock(source)
        filesystem = ErofsFilesystem(source, superblock, context.limits)
        if filesystem.node(superblock.root).kind is not Kind.FOLDER:
            raise CorruptError("its root is no folder", origin=source.origin)
        return ContentTree(filesystem, tree_info(superblock))


def tree_info(superblock: Superblock) -> TreeInfo:
    """Return what a superblock says of its image."""
    size_bytes = superblock.blocks << superblock.block_log
    features = [str(feature.name).lower() for feature in superblock.incompat]
    return TreeInfo(
        format="erofs",
        uuid=str(superblock.uuid) if superblock.uuid.int else None,
        label=superblock.label or None,
        size_bytes=size_bytes,
        used_bytes=size_bytes,
        facts={"block size": str(superblock.block_bytes), "features": " ".join(features)},
    )


READER = ErofsReader()
