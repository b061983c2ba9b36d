"""Extended attributes and ACLs that libisofs keeps in AL entries.

Specification: "Arbitrary Attribute Interchange Protocol" 2.0 of libburnia. Attributes of the
namespace ``isofs.`` are its own notes on the image (checksums, inode numbers) and are left out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from formats.core.errors import CorruptError, LimitError, UnsupportedError, quoted
from formats.core.limits import Limits
from formats.filesystems.iso.components import attribute_components

NamesAndValues = tuple[tuple[bytes, bytes], ...]

_NAMESPACES = {
    2: b"system.",
    3: b"user.",
    4: b"isofs.",
    5: b"trusted.",
    6: b"security.",
}
_ESCAPED = 1
_LAST_RESERVED = 0x1F

_TRANSLATE = 0
_SWITCH = 8
_FUTURE = 15
_QUALIFIER = 8
_MORE = 0x80
_OWNER, _GROUP, _OTHER = 1, 3, 6
_TAGS = {_OWNER: 0x01, 10: 0x02, _GROUP: 0x04, 12: 0x08, 5: 0x10, _OTHER: 0x20}
"""From the tags of AAIP to those of linux/posix_acl.h."""
_VERSION = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
_NOBODY = 0xFFFF_FFFF
_MINIMAL = [_TAGS[_OWNER], _TAGS[_GROUP], _TAGS[_OTHER]]


def extended_attributes(area: bytes, limits: Limits) -> NamesAndValues:
    """Return names and values, sorted by name, of the component records of AL entries.

    :raises CorruptError: if they are damaged, or a name has two values.
    :raises LimitError: if there are too many, or one is too large.
    """
    parts = attribute_components(area)
    if len(parts) % 2:
        raise CorruptError("an extended attribute has no value")
    found: dict[bytes, bytes] = {}
    for name, value in zip(parts[::2], parts[1::2], strict=True):
        if len(value) > limits.xattr_value_bytes:
            raise LimitError(
                f"an attribute has {len(value):,} bytes, more than {limits.xattr_value_bytes:,}"
            )
        for full, final in ((_full_name(name), value),) if name else _lists(value):
            # an ACL may be there as one and as the attribute that it is on Linux
            if found.setdefault(full, final) != final:
                raise CorruptError(f"the extended attribute {quoted(full)} has two values")
    kept = {name: value for name, value in found.items() if not name.startswith(_NAMESPACES[4])}
    if len(kept) > limits.xattrs_per_file:
        raise LimitError(f"has more than {limits.xattrs_per_file} extended attributes")
    return tuple(sorted(kept.items()))


def _full_name(name: bytes) -> bytes:
    if b"\0" in name or name == bytes([_ESCAPED]):
        raise CorruptError(f"an attribute is named {quoted(name)}")
    first = name[0]
    if first == _ESCAPED:
        return name[1:]
    if first > _LAST_RESERVED:
        return name
    if first not in _NAMESPACES:
        raise CorruptError(f"an attribute is in the namespace {first}, which is not known")
    return _NAMESPACES[first] + name[1:]


def _lists(value: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the access ACL and the default ACL that a value holds, as Linux has them."""
    lists: list[list[tuple[int, int, int]]] = [[], []]
    current = lists[0]
    for tag, permissions, qualifier in _entries(value):
        if tag == _SWITCH:
            current = lists[1]
        elif tag == _FUTURE:
            raise UnsupportedError("an ACL is of a later version of AAIP")
        elif tag in _TAGS:
            known = _TAGS[tag]
            named = tag >= _QUALIFIER
            current.append(
                (known, int.from_bytes(qualifier, "big") if named else _NOBODY, permissions)
            )
    access, default = (sorted(entries) for entries in lists)
    # three entries alone say no more than the mode does
    if access and [tag for tag, _, _ in access] != _MINIMAL:
        yield b"system.posix_acl_access", _encoded(access)
    if default:
        yield b"system.posix_acl_default", _encoded(default)


def _entries(value: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield tag, permissions and qualifier of each entry; hints on names are left out."""
    position = 0
    while position < len(value):
        flags = value[position]
        position += 1
        qualifier = b""
        more = bool(flags & _QUALIFIER)
        while more:
            head = value[position] if position < len(value) else _MORE
            length = head & ~_MORE
            if position + 1 + length > len(value):
                raise CorruptError("an ACL is cut short")
            qualifier += value[position + 1 : position + 1 + length]
            position += 1 + length
            more = bool(head & _MORE)
        tag = flags >> 4
        if tag == _TRANSLATE:
            continue
        if len(qualifier) > 4:
            raise CorruptError(f"an ACL names an id of {len(qualifier)} bytes")
        # bits 0 to 2 are execute, write, read: the order of a mode's
        yield tag, flags & 7, qualifier


def _encoded(entries: list[tuple[int, int, int]]) -> bytes:
    records = (_ENTRY.pack(tag, permissions, who) for tag, who, permissions in entries)
    return _VERSION.pack(2) + b"".join(records)
