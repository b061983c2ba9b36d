"""Extended attributes (kernel documentation, "EROFS"; ``struct erofs_xattr_entry``).

Behind an inode: a header, numbers of attributes that several inodes share, then the inode's own.
ACLs are stored in the form that ``getxattr(2)`` gives them in.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache

from formats.core.errors import CorruptError, LimitError
from formats.core.limits import Limits
from formats.core.source import ByteSource, read_exact
from formats.filesystems.erofs.inode import Inode
from formats.filesystems.erofs.superblock import Superblock

_HEADER = struct.Struct("<IB7x")  # filter, number of shared ones
_SHARED = struct.Struct("<I")
_ENTRY = struct.Struct("<BBH")  # length of the name, its prefix, length of the value
_ALIGNMENT = 4
_IS_LONG = 0x80
_PREFIXES = {
    1: b"user.",
    2: b"system.posix_acl_access",
    3: b"system.posix_acl_default",
    4: b"trusted.",
    5: b"lustre.",
    6: b"security.",
}
_WHOLE_NAMES = frozenset({2, 3})
_SHARED_KEPT = 4096
_PREFIX_LENGTH = struct.Struct("<H")

NamesAndValues = tuple[tuple[bytes, bytes], ...]


class XattrReader:
    """Reads the attributes of an image's inodes.

    :param long_prefixes: whole prefixes, in their order; see :func:`long_prefixes`.
    """

    def __init__(
        self,
        source: ByteSource,
        superblock: Superblock,
        limits: Limits,
        long_prefixes: Sequence[bytes],
    ) -> None:
        self._source = source
        self._shared_at = superblock.shared_xattrs
        self._limits = limits
        self._long_prefixes = long_prefixes
        self._shared = lru_cache(_SHARED_KEPT)(self._read_shared)

    def of(self, inode: Inode) -> NamesAndValues:
        """Return names and values, sorted by name.

        :raises CorruptError: if they are damaged, or a name is there twice.
        :raises LimitError: if there are too many.
        """
        if not inode.xattr_bytes:
            return ()
        what = "the attributes of an inode"
        space = bytes(read_exact(self._source, inode.xattrs_at, inode.xattr_bytes, what))
        _, count = _HEADER.unpack_from(space)
        start = _HEADER.size + count * _SHARED.size
        if start > len(space):
            raise self._damaged("an inode has more shared attributes than room", inode.xattrs_at)
        numbers = _SHARED.iter_unpack(space[_HEADER.size : start])
        found = [self._shared(number) for (number,) in numbers]
        found += self._own(space, start, inode.xattrs_at)
        if len(found) > self._limits.xattrs_per_file:
            raise LimitError(
                f"has {len(found)} extended attributes, more than {self._limits.xattrs_per_file}",
                origin=self._source.origin,
            )
        found.sort()
        if len({name for name, _ in found}) != len(found):
            raise self._damaged("an attribute is there twice", inode.xattrs_at)
        return tuple(found)

    def _own(self, space: bytes, position: int, place: int) -> Iterator[tuple[bytes, bytes]]:
        while position + _ENTRY.size <= len(space):
            name_length, prefix, size = _ENTRY.unpack_from(space, position)
            name_end = position + _ENTRY.size + name_length
            end = name_end + size
            if end > len(space):
                raise self._damaged("an attribute runs out of its inode", place)
            name = self._name(prefix, space[position + _ENTRY.size : name_end], place)
            yield name, space[name_end:end]
            position = -(-end // _ALIGNMENT) * _ALIGNMENT

    def _read_shared(self, number: int) -> tuple[bytes, bytes]:
        place = self._shared_at + number * _ALIGNMENT
        what = "a shared attribute"
        head = read_exact(self._source, place, _ENTRY.size, what)
        name_length, prefix, size = _ENTRY.unpack(head)
        rest = bytes(read_exact(self._source, place + _ENTRY.size, name_length + size, what))
        return self._name(prefix, rest[:name_length], place), rest[name_length:]

    def _name(self, prefix: int, rest: bytes, place: int) -> bytes:
        """Return a name as ``listxattr(2)`` gives it."""
        if prefix & _IS_LONG:
            number = prefix & ~_IS_LONG
            if number < len(self._long_prefixes):
                return self._long_prefixes[number] + rest
            raise self._damaged(f"there is no prefix {number} of attributes", place)
        start = _PREFIXES.get(prefix)
        if start is None or b"\0" in rest or bool(rest) is (prefix in _WHOLE_NAMES):
            raise self._damaged(f"an attribute has class {prefix} and name {rest!r}", place)
        return start + rest

    def _damaged(self, what: str, place: int) -> CorruptError:
        return CorruptError(what, origin=self._source.origin, offset=place)


def long_prefixes(data: bytes, count: int) -> Iterator[bytes]:
    """Yield the long prefixes of names (kernel documentation, "Long extended attribute name
    prefixes").

    :param data: from where they begin.
    :raises CorruptError: if they are damaged, without a breadcrumb.
    """
    position = 0
    for _ in range(count):
        start = position + _PREFIX_LENGTH.size
        (length,) = _PREFIX_LENGTH.unpack_from(data[position:start].ljust(2, b"\0"))
        base = _PREFIXES.get(data[start]) if 0 < length <= len(data) - start else None
        if base is None:
            raise CorruptError("a prefix of attribute names is damaged")
        yield base + data[start + 1 : start + length]
        position = -(-(start + length) // _ALIGNMENT) * _ALIGNMENT
