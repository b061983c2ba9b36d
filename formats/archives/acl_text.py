"""ACLs as text, as archives have them, and the xattrs that Linux keeps them in.

Specification: acl(5), "ACL TEXT FORMS"; star(5) and tar(5) of libarchive for the id that follows
a named entry (``user:joe:rwx:1000``); linux/posix_acl_xattr.h for the form of the xattr.
"""

from __future__ import annotations

import re
import struct

ACCESS = b"system.posix_acl_access"
DEFAULT = b"system.posix_acl_default"

_VERSION = struct.pack("<I", 2)
_ENTRY = struct.Struct("<HHI")  # tag, permissions, id
_NO_ID = 0xFFFFFFFF
_OWNER, _USER, _OWNING_GROUP, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_ALWAYS = frozenset({_OWNER, _OWNING_GROUP, _OTHER})
_NAMED = frozenset({_USER, _GROUP})
_ONCE = frozenset({*_ALWAYS, _MASK})
_ALL = 0o7
_TAGS = {
    (b"user", False): _OWNER,
    (b"user", True): _USER,
    (b"group", False): _OWNING_GROUP,
    (b"group", True): _GROUP,
    (b"mask", False): _MASK,
    (b"other", False): _OTHER,
}
_LETTERS = {b"u": b"user", b"g": b"group", b"m": b"mask", b"o": b"other"}
_PERMISSIONS = re.compile(rb"([r-])([w-])([x-])")
_SEPARATOR = re.compile(rb"[,\n]")
_MOST_ENTRIES = 1024


def acl_xattr(text: bytes) -> bytes | None:
    """Return the xattr's value; None if the text is no ACL, or names someone whose id it lacks.

    An ACL of owner, owning group and others alone says no more than the mode: it gives b"".
    """
    lines = [line.partition(b"#")[0].strip() for line in _SEPARATOR.split(text)]
    entries: list[tuple[int, int, int]] = []
    for line in filter(None, lines):
        entry = _entry(line)
        if entry is None or len(entries) == _MOST_ENTRIES:
            return None
        entries.append(entry)
    tags = [tag for tag, _, _ in entries]
    if any(tags.count(tag) != 1 for tag in (_OWNER, _OWNING_GROUP, _OTHER)):
        return None
    if len(entries) == 3:
        return b""
    # the kernel wants them in the order of their tags, then of their ids
    ordered = sorted(entries, key=lambda entry: (entry[0], entry[2]))
    packed = b"".join(_ENTRY.pack(tag, permissions, who) for tag, permissions, who in ordered)
    value = _VERSION + packed
    return None if acl_mode(value) is None else value


def acl_mode(value: bytes) -> int | None:
    """Return the permission bits that a file has with an ACL; None if no kernel takes the value.

    The kernel wants each tag once, but for those with names, of which each has another id, and a
    mask where there are any (acl(5), "VALID ACLs"). The mask takes the place of the owning group's
    bits (acl(5), "CORRESPONDENCE BETWEEN ACL ENTRIES AND FILE PERMISSION BITS").

    :param value: of an xattr, from :func:`acl_xattr` or as an archive has it.
    """
    packed = value[len(_VERSION) :]
    if not value.startswith(_VERSION) or len(packed) % _ENTRY.size:
        return None
    bits: dict[int, int] = {}
    seen: set[tuple[int, int]] = set()
    for tag, permissions, who in _ENTRY.iter_unpack(packed):
        entry = (tag, who if tag in _NAMED else _NO_ID)
        if permissions > _ALL or entry in seen or tag not in _ONCE | _NAMED:
            return None
        seen.add(entry)
        bits[tag] = permissions
    needs_mask = not bits.keys().isdisjoint(_NAMED)
    if not bits.keys() >= _ALWAYS or (needs_mask and _MASK not in bits):
        return None
    return bits[_OWNER] << 6 | bits.get(_MASK, bits[_OWNING_GROUP]) << 3 | bits[_OTHER]


def _entry(line: bytes) -> tuple[int, int, int] | None:
    """Return tag, permissions and id of ``user:joe:rwx:1000`` and the like."""
    fields = line.split(b":")
    if len(fields) == 2 and fields[0] in {b"mask", b"other", b"m", b"o"}:  # a form of star
        fields.insert(1, b"")
    if not 3 <= len(fields) <= 4:
        return None
    kind, name = _LETTERS.get(fields[0], fields[0]), fields[1]
    tag = _TAGS.get((kind, bool(name)))
    match = _PERMISSIONS.fullmatch(fields[2].strip())
    if tag is None or match is None:
        return None
    permissions = sum(
        bit for bit, letter in zip((4, 2, 1), match.groups(), strict=True) if letter != b"-"
    )
    if not name:
        return tag, permissions, _NO_ID
    number = fields[3] if len(fields) == 4 else name
    if not re.fullmatch(rb"[0-9]{1,10}", number) or int(number) >= _NO_ID:
        return None
    return tag, permissions, int(number)
