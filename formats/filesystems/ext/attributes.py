"""An inode's extended attributes, gathered from all places where they can be."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from formats.core.errors import CorruptError, LimitError
from formats.core.source import read_exact
from formats.filesystems.ext import xattrs
from formats.filesystems.ext.checksums import crc32c
from formats.filesystems.ext.filesystem import ExtFilesystem
from formats.filesystems.ext.inode import BASE_BYTES, Inode

_BLOCKS_KEPT = 256

NamesAndValues = tuple[tuple[bytes, bytes], ...]


class AttributeReader:
    """Reads the attributes of a filesystem's inodes.

    Attribute blocks are shared between inodes with equal attributes: the last ones are kept.
    """

    def __init__(self, filesystem: ExtFilesystem) -> None:
        self._filesystem = filesystem
        self._blocks: dict[int, NamesAndValues] = {}
        self._lock = threading.Lock()

    def of(self, inode: Inode) -> NamesAndValues:
        """Return names and values, sorted by name.

        :raises CorruptError: if they are damaged, or a name is there twice.
        :raises LimitError: if there are too many, or one is too large.
        """
        block = self._filesystem.inodes.xattr_block_of(inode)
        # Most inodes have no attributes at all: that is seen without a generator.
        start = BASE_BYTES + inode.extra_bytes
        has_own = inode.record[start : start + 4] == xattrs.MAGIC_BYTES
        if not has_own:
            return self._of_block(block) if block else ()
        own = self._finished(xattrs.in_inode(inode.record, start))
        return self._merged(own, self._of_block(block)) if block else self._merged(own, ())

    def _merged(self, own: NamesAndValues, block: NamesAndValues) -> NamesAndValues:
        merged = tuple(sorted(own + block))
        if len({name for name, _ in merged}) != len(merged):
            raise self._damaged("an attribute is there twice")
        if len(merged) > self._filesystem.limits.xattrs_per_file:
            raise LimitError(
                f"has {len(merged)} extended attributes, more than"
                f" {self._filesystem.limits.xattrs_per_file}",
                origin=self._filesystem.source.origin,
            )
        return merged

    def _of_block(self, number: int) -> NamesAndValues:
        known = self._blocks.get(number)
        if known is None:
            block = self._read_block(number)
            known = self._merged(self._finished(xattrs.in_block(block)), ())
            with self._lock:
                if len(self._blocks) >= _BLOCKS_KEPT:
                    del self._blocks[next(iter(self._blocks))]
                self._blocks[number] = known
        return known

    def _read_block(self, number: int) -> bytes:
        superblock = self._filesystem.superblock
        size = superblock.block_bytes
        if number >= superblock.block_count:
            raise self._damaged(f"its attributes are at block {number:,}, which is not there")
        raw = bytes(read_exact(self._filesystem.source, number * size, size, "an attribute block"))
        if superblock.has_metadata_checksums:
            data, stored = xattrs.checksummed_parts(raw)
            computed = crc32c(number.to_bytes(8, "little") + data, superblock.checksum_seed)
            if computed != stored:
                raise CorruptError(
                    f"an attribute block has checksum {stored:08x}, not {computed:08x}",
                    origin=self._filesystem.source.origin,
                    offset=number * size,
                    hint="run 'e2fsck' on a copy",
                )
        return raw

    def _finished(self, attributes: Iterator[xattrs.Attribute]) -> NamesAndValues:
        """Return attributes with whole names and values, those in other inodes fetched."""
        limits = self._filesystem.limits
        finished = []
        for attribute in attributes:
            if attribute.is_inline_data:
                continue
            name = xattrs.full_name(attribute)
            if attribute.size > limits.xattr_value_bytes:
                raise LimitError(
                    f"its attribute {name!r} has {attribute.size:,} bytes, more than"
                    f" {limits.xattr_value_bytes:,}",
                    origin=self._filesystem.source.origin,
                )
            value = attribute.value
            if attribute.inode:
                value = self._filesystem.attribute_value_inode(attribute.inode, attribute.size)
            finished.append((name, xattrs.final_value(attribute.prefix, value)))
        return tuple(finished)

    def _damaged(self, what: str) -> CorruptError:
        return CorruptError(
            what, origin=self._filesystem.source.origin, hint="run 'e2fsck' on a copy"
        )
