"""Extended attributes (Squashfs Binary Format, "Extended Attribute Table").

An inode has an index into a lookup table; a record there says where its list of attributes begins
and how many they are. ACLs cannot be stored.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from formats.core.errors import LimitError
from formats.core.limits import Limits
from formats.core.source import read_exact
from formats.filesystems.squashfs.metadata import BLOCK_BYTES, Metadata, MetadataStream

_TABLE = struct.Struct("<QII")  # where the lists are, records in the lookup table, unused
_RECORD = struct.Struct("<QII")  # reference of a list, attributes in it, bytes of their names
_KEY = struct.Struct("<HH")  # prefix, length of the rest of the name
_SIZE = struct.Struct("<I")
_REFERENCE = struct.Struct("<Q")
_PREFIX_MASK = 0xFF
_ELSEWHERE = 0x100
_PREFIXES = {0: b"user.", 1: b"trusted.", 2: b"security."}
_LONGEST_NAME = 0xFFFF
_LISTS_KEPT = 4096

NamesAndValues = tuple[tuple[bytes, bytes], ...]


class XattrTable:
    """The attributes of an image's inodes.

    :param table: where the table is.
    :raises CorruptError: if it does not fit into the image.
    """

    def __init__(self, metadata: Metadata, table: int, limits: Limits) -> None:
        self._metadata = metadata
        self._limits = limits
        head = read_exact(metadata.source, table, _TABLE.size, "the xattr table")
        self._lists, self._count, _ = _TABLE.unpack(head)
        self._lookup = table + _TABLE.size
        self.get = lru_cache(_LISTS_KEPT)(self._get)
        """Return an index' names and values, sorted by name. Inodes with equal ones share it."""

    def _get(self, index: int) -> NamesAndValues:
        metadata, limits = self._metadata, self._limits
        if index >= self._count:
            raise metadata.damaged(f"there is no attribute list {index:,}", self._lookup)
        record = metadata.lookup(self._lookup, index, _RECORD.size)
        reference, count, _ = _RECORD.unpack(record)
        if count > limits.xattrs_per_file:
            raise LimitError(
                f"has {count:,} extended attributes, more than {limits.xattrs_per_file}",
                origin=metadata.source.origin,
            )
        longest = _KEY.size + _LONGEST_NAME + _SIZE.size + limits.xattr_value_bytes
        stream = self._stream(reference, count * longest)
        attributes = sorted(self._attribute(stream) for _ in range(count))
        if len({name for name, _ in attributes}) != count:
            raise metadata.damaged("an attribute is there twice", self._lists)
        return tuple(attributes)

    def _attribute(self, stream: MetadataStream) -> tuple[bytes, bytes]:
        prefix, length = _KEY.unpack(stream.take(_KEY.size))
        name = stream.take(length)
        start = _PREFIXES.get(prefix & _PREFIX_MASK)
        if start is None or not name or b"\0" in name:
            raise self._metadata.damaged(
                f"an attribute has class {prefix & _PREFIX_MASK} and name {name!r}", self._lists
            )
        value = self._value(stream)
        if prefix & _ELSEWHERE:
            if len(value) != _REFERENCE.size:
                raise self._metadata.damaged("a reference to a value is cut short", self._lists)
            (reference,) = _REFERENCE.unpack(value)
            longest = _SIZE.size + self._limits.xattr_value_bytes
            value = self._value(self._stream(reference, longest))
        return start + name, value

    def _value(self, stream: MetadataStream) -> bytes:
        (size,) = _SIZE.unpack(stream.take(_SIZE.size))
        if size > self._limits.xattr_value_bytes:
            raise LimitError(
                f"has an attribute of {size:,} bytes, more than {self._limits.xattr_value_bytes:,}",
                origin=self._metadata.source.origin,
            )
        return stream.take(size)

    def _stream(self, reference: int, length: int) -> MetadataStream:
        offset = reference & 0xFFFF
        if offset >= BLOCK_BYTES:
            raise self._metadata.damaged(f"attributes begin at {offset:,} of a block", self._lists)
        return MetadataStream(self._metadata, self._lists + (reference >> 16), offset, length)
