"""Extended attributes and ACLs, as the kernel shows them to root.

Kernel documentation, "Extended Attributes" and "Large Extended Attribute Values"; the form that
ACLs are given in is that of ``linux/posix_acl_xattr.h``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from formats.core.errors import CorruptError

MAGIC_BYTES = b"\x00\x00\x02\xea"
"""0xEA020000, before the attributes in an inode and in a block"""

_WORD_BYTES = 4
_BLOCK_HEADER_BYTES = 32
_BLOCK_CHECKSUM_OFFSET = 0x10
_ENTRY = struct.Struct("<BBHII4x")  # name length, name index, value's offset, inode, size
_ALIGNMENT = 4

_ACCESS_ACL = 2
_DEFAULT_ACL = 3
_SYSTEM = 7
_INLINE_DATA_NAME = b"data"

_PREFIXES = {
    0: b"",
    1: b"user.",
    _ACCESS_ACL: b"system.posix_acl_access",
    _DEFAULT_ACL: b"system.posix_acl_default",
    4: b"trusted.",
    6: b"security.",
    _SYSTEM: b"system.",
    8: b"system.richacl",
}
_WHOLE_NAMES = frozenset({_ACCESS_ACL, _DEFAULT_ACL, 8})

_ACL_VERSION_ON_DISK = 1
_ACL_VERSION = struct.Struct("<I")
_ACL_SHORT = struct.Struct("<HH")  # tag, permissions
_ACL_LONG = struct.Struct("<HHI")  # tag, permissions, id
_ACL_VERSION_XATTR = _ACL_VERSION.pack(2)
_ACL_NAMED = frozenset({0x02, 0x08})  # a user, a group
_ACL_TAGS = frozenset({0x01, 0x02, 0x04, 0x08, 0x10, 0x20})
_ACL_NO_ID = 0xFFFFFFFF


class Attribute(NamedTuple):
    """One attribute before its value is in its final form.

    :ivar prefix: the number of the name's prefix (``e_name_index``).
    :ivar inode: the inode that holds the value; 0 if ``value`` is it.
    :ivar size: of the value, in bytes.
    """

    prefix: int
    name: bytes
    value: bytes
    inode: int
    size: int

    @property
    def is_inline_data(self) -> bool:
        """Whether it is the second half of a small file's content, and no attribute at all."""
        return self.prefix == _SYSTEM and self.name == _INLINE_DATA_NAME


def in_inode(record: bytes, start: int) -> Iterator[Attribute]:
    """Yield the attributes in an inode's own space.

    :param start: where that space begins: after the extra fields.
    :raises CorruptError: without a breadcrumb.
    """
    first = start + _WORD_BYTES
    if record[start:first] != MAGIC_BYTES:
        return
    yield from _attributes(record, first, first)


def in_block(block: bytes) -> Iterator[Attribute]:
    """Yield the attributes in an attribute block.

    :raises CorruptError: without a breadcrumb.
    """
    if not block.startswith(MAGIC_BYTES):
        raise CorruptError("its attribute block is damaged: the magic is not there")
    yield from _attributes(block, _BLOCK_HEADER_BYTES, 0)


def checksummed_parts(block: bytes) -> tuple[bytes, int]:
    """Return an attribute block as its checksum is computed of it, and the stored checksum."""
    at = _BLOCK_CHECKSUM_OFFSET
    stored = int.from_bytes(block[at : at + _WORD_BYTES], "little")
    return block[:at] + bytes(_WORD_BYTES) + block[at + _WORD_BYTES :], stored


def _attributes(space: bytes, position: int, value_base: int) -> Iterator[Attribute]:
    """Yield entries from ``position`` on; value offsets count from ``value_base``."""
    end = len(space)
    # Four zero bytes end the list; there may be no room for them in a space that is full.
    while position + _WORD_BYTES <= end and space[position : position + 4] != b"\0\0\0\0":
        name_start = position + _ENTRY.size
        if name_start > end:
            raise CorruptError("an attribute entry runs out of its space")
        name_length, prefix, offset, inode, size = _ENTRY.unpack_from(space, position)
        name_end = name_start + name_length
        value_start = value_base + offset
        if name_end > end or (not inode and size and value_start + size > end):
            raise CorruptError("an attribute runs out of its space")
        value = b"" if inode else space[value_start : value_start + size]
        yield Attribute(prefix, space[name_start:name_end], value, inode, size)
        position = name_start + -(-name_length // _ALIGNMENT) * _ALIGNMENT


def full_name(attribute: Attribute) -> bytes:
    """Return the name as ``listxattr(2)`` gives it.

    :raises CorruptError: for a class of attributes that does not exist, without a breadcrumb.
    """
    start = _PREFIXES.get(attribute.prefix)
    name = attribute.name
    is_whole = attribute.prefix in _WHOLE_NAMES
    if start is None or b"\0" in name or bool(name) is is_whole:
        raise CorruptError(f"an attribute has class {attribute.prefix} and name {name!r}")
    return start + name


def final_value(prefix: int, value: bytes) -> bytes:
    """Return a value as ``getxattr(2)`` gives it: ACLs in version 2, all else as it is stored.

    :raises CorruptError: if an ACL is damaged, without a breadcrumb.
    """
    return _acl_from_disk(value) if prefix in {_ACCESS_ACL, _DEFAULT_ACL} else value


def _acl_from_disk(value: bytes) -> bytes:
    if len(value) < _ACL_VERSION.size or _ACL_VERSION.unpack_from(value)[0] != _ACL_VERSION_ON_DISK:
        raise CorruptError("an ACL is of no known version")
    parts = [_ACL_VERSION_XATTR]
    position = _ACL_VERSION.size
    while position < len(value):
        if position + _ACL_SHORT.size > len(value):
            raise CorruptError("an ACL is cut short")
        tag, permissions = _ACL_SHORT.unpack_from(value, position)
        identity, size = _ACL_NO_ID, _ACL_SHORT.size
        if tag in _ACL_NAMED:
            size = _ACL_LONG.size
            if position + size > len(value):
                raise CorruptError("an ACL is cut short")
            identity = _ACL_LONG.unpack_from(value, position)[2]
        elif tag not in _ACL_TAGS:
            raise CorruptError(f"an ACL has an entry of unknown kind {tag:#x}")
        parts.append(_ACL_LONG.pack(tag, permissions, identity))
        position += size
    return b"".join(parts)
