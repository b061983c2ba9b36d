"""Names and values of extended attributes, and ACLs, as the kernel shows them to root.

"XFS Algorithms & Data Structures", "Extended Attributes". Structures that have names and values in
them are here; how they are found is in :mod:`~formats.filesystems.xfs.attributes`. The form that
ACLs are given in is that of ``linux/posix_acl_xattr.h``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from formats.core.errors import CorruptError

_LOCAL = 0x01
_ROOT = 0x02
_SECURE = 0x04
_PARENT = 0x08
_INCOMPLETE = 0x80
_NAMESPACES = _ROOT | _SECURE | _PARENT
_KNOWN = _LOCAL | _NAMESPACES | _INCOMPLETE
_PREFIXES = {0: b"user.", _ROOT: b"trusted.", _SECURE: b"security."}
_ACLS = {
    b"trusted.SGI_ACL_FILE": b"system.posix_acl_access",
    b"trusted.SGI_ACL_DEFAULT": b"system.posix_acl_default",
}

_SHORT_HEADER = struct.Struct(">HBx")  # bytes in all, number
_SHORT_ENTRY = struct.Struct(">BBB")  # lengths of name and value, flags

_LEAF_COUNT = struct.Struct(">H")
_LEAF_COUNT_OFFSET = {4: 12, 5: 56}
_LEAF_HEADER_BYTES = {4: 32, 5: 80}
_LEAF_ENTRY = struct.Struct(">4xHBx")  # hash; place of name and value, flags
_LOCAL_ENTRY = struct.Struct(">HB")  # lengths of value and name
_REMOTE_ENTRY = struct.Struct(">IIB")  # first block of the value; lengths of value and name

_ACL_COUNT = struct.Struct(">I")
_ACL_ENTRY = struct.Struct(">IIHxx")  # tag, id, permissions
_ACL_XATTR_VERSION = struct.pack("<I", 2)
_ACL_XATTR_ENTRY = struct.Struct("<HHI")  # tag, permissions, id
_ACL_NAMED = frozenset({0x02, 0x08})  # a user, a group
_ACL_TAGS = frozenset({0x01, 0x02, 0x04, 0x08, 0x10, 0x20})
_ACL_NO_ID = 0xFFFFFFFF


class Attribute(NamedTuple):
    """One attribute before its value is in its final form.

    :ivar value: None if it is in blocks of its own.
    :ivar block: the first of these, as a block of the attribute fork.
    :ivar size: of the value, in bytes.
    """

    name: bytes
    value: bytes | None
    block: int
    size: int


def in_inode(fork: bytes) -> Iterator[Attribute]:
    """Yield the attributes of an inode that has room for all of them ("shortform").

    :raises CorruptError: without a breadcrumb.
    """
    if len(fork) < _SHORT_HEADER.size:
        raise CorruptError("its attributes are cut short")
    total, count = _SHORT_HEADER.unpack_from(fork)
    position = _SHORT_HEADER.size
    if not position <= total <= len(fork):
        raise CorruptError(f"its attributes claim {total} of {len(fork)} bytes")
    for _ in range(count):
        start = position + _SHORT_ENTRY.size
        if start > total:
            raise CorruptError("an attribute runs out of its space")
        name_length, size, flags = _SHORT_ENTRY.unpack_from(fork, position)
        middle = start + name_length
        position = middle + size
        if position > total:
            raise CorruptError("an attribute runs out of its space")
        name = _full_name(fork[start:middle], flags)
        if name is not None:
            yield Attribute(name, fork[middle:position], 0, size)


def in_leaf(block: bytes, version: int) -> Iterator[Attribute]:
    """Yield the attributes in a leaf block.

    :param version: the filesystem's.
    :raises CorruptError: without a breadcrumb.
    """
    (count,) = _LEAF_COUNT.unpack_from(block, _LEAF_COUNT_OFFSET[version])
    start = _LEAF_HEADER_BYTES[version]
    end = start + count * _LEAF_ENTRY.size
    if end > len(block):
        raise CorruptError(f"a leaf of its attributes has {count:,} entries, more than fit")
    for place, flags in _LEAF_ENTRY.iter_unpack(block[start:end]):
        read = _local if flags & _LOCAL else _remote
        attribute = read(block, place, end)
        name = _full_name(attribute.name, flags)
        if name is not None:
            yield attribute._replace(name=name)


def _local(block: bytes, place: int, least: int) -> Attribute:
    start = place + _LOCAL_ENTRY.size
    if place < least or start > len(block):
        raise CorruptError("an attribute runs out of its block")
    size, name_length = _LOCAL_ENTRY.unpack_from(block, place)
    middle = start + name_length
    if middle + size > len(block):
        raise CorruptError("an attribute runs out of its block")
    return Attribute(block[start:middle], block[middle : middle + size], 0, size)


def _remote(block: bytes, place: int, least: int) -> Attribute:
    start = place + _REMOTE_ENTRY.size
    if place < least or start > len(block):
        raise CorruptError("an attribute runs out of its block")
    first, size, name_length = _REMOTE_ENTRY.unpack_from(block, place)
    if start + name_length > len(block):
        raise CorruptError("an attribute runs out of its block")
    return Attribute(block[start : start + name_length], None, first, size)


def _full_name(name: bytes, flags: int) -> bytes | None:
    """Return the name as ``listxattr(2)`` gives it; None for what it does not list.

    That is an attribute which was being written when the machine stopped, and the names of parents
    that the filesystem keeps for itself (``parent``).
    """
    namespace = flags & _NAMESPACES
    if flags & ~_KNOWN or namespace & (namespace - 1):
        raise CorruptError(f"an attribute has flags {flags:#04x}")
    if flags & _INCOMPLETE or namespace == _PARENT:
        return None
    if not name or b"\0" in name:
        raise CorruptError(f"an attribute has name {name!r}")
    return _PREFIXES[namespace] + name


def final(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Return name and value as ``getxattr(2)`` gives them: ACLs under their own names, version 2.

    The kernel lists ACLs as ``trusted.SGI_ACL_*``, too. That is the same once more, and names
    users and groups where nothing but XFS looks for them: it is left out.

    :raises CorruptError: if an ACL is damaged, without a breadcrumb.
    """
    acl = _ACLS.get(name)
    return (name, value) if acl is None else (acl, _acl_from_disk(value))


def _acl_from_disk(value: bytes) -> bytes:
    size = len(value) - _ACL_COUNT.size
    if size < 0 or size != _ACL_COUNT.unpack_from(value)[0] * _ACL_ENTRY.size:
        raise CorruptError(f"an ACL has {len(value)} bytes, not what its entries take")
    parts = [_ACL_XATTR_VERSION]
    for tag, identity, permissions in _ACL_ENTRY.iter_unpack(value[_ACL_COUNT.size :]):
        if tag not in _ACL_TAGS:
            raise CorruptError(f"an ACL has an entry of unknown kind {tag:#x}")
        is_named = tag in _ACL_NAMED
        parts.append(_ACL_XATTR_ENTRY.pack(tag, permissions, identity if is_named else _ACL_NO_ID))
    return b"".join(parts)
