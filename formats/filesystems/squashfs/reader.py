"""The reader of squashfs 4.0.

Specification: the Linux kernel's "Squashfs 4.0 Filesystem"
(https://docs.kernel.org/filesystems/squashfs.html) and the "Squashfs Binary Format"
(https://dr-emann.github.io/squashfs/). Not read: versions before 4.0, and with them big-endian
images.
"""

from __future__ import annotations

from datetime import UTC, datetime

from formats.core.entry import Kind
from formats.core.errors import CorruptError
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature
from formats.core.source import ByteSource
from formats.core.tree import TreeInfo
from formats.filesystems.content_tree import ContentTree
from formats.filesystems.squashfs.filesystem import SquashFilesystem
from formats.filesystems.squashfs.superblock import (
    MAGIC,
    MAGIC_BIG_ENDIAN,
    Superblock,
    read_superblock,
)


class SquashfsReader:
    """squashfs 4.0 as a tree."""

    name = "squashfs"
    category = Category.FILESYSTEM
    signatures = (Signature(0, MAGIC), Signature(0, MAGIC_BIG_ENDIAN))
    supersedes: frozenset[str] = frozenset()
    doc = ReaderDoc(
        title="squashfs 4.0 images",
        extensions=(".squashfs", ".sqfs", ".sqsh", ".snap", ".img"),
        specification="https://dr-emann.github.io/squashfs/",
        reads="all that mksquashfs(1) makes: gzip, lzma, lzo, lz4, xz (with its filters for code)"
        " and zstd, blocks of 4 KiB to 1 MiB, fragments, sparse blocks, extended attributes;"
        " blocks are decoded ahead in threads",
        refuses="squashfs 1 to 3, big-endian images",
    )

    def probe(self, source: ByteSource) -> bool:
        """Tell yes: the magic is proof enough."""
        del source
        return True

    def open(self, source: ByteSource, context: OpenContext) -> ContentTree:
        """Read superblock, owners and root folder.

        :raises UnsupportedError: for another version, byte order or compressor, by name.
        :raises CorruptError: if they are damaged, or the image is cut short.
        """
        superblock = read_superblock(source)
        filesystem = SquashFilesystem(source, superblock, context.limits)
        context.on_close(filesystem.close)
        if filesystem.node(superblock.root).kind is not Kind.FOLDER:
            raise CorruptError("its root is no folder", origin=source.origin)
        return ContentTree(filesystem, tree_info(superblock))


def tree_info(superblock: Superblock) -> TreeInfo:
    """Return what a superblock says of its image."""
    return TreeInfo(
        format="squashfs",
        size_bytes=superblock.size_bytes,
        used_bytes=superblock.size_bytes,
        facts={
            "compression": superblock.compression.name,
            "block size": str(superblock.block_bytes),
            "created": datetime.fromtimestamp(superblock.created, UTC).isoformat(),
        },
    )


READER = SquashfsReader()
