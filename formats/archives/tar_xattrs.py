"""Xattrs, ACLs and labels in the pax records of tar archives.

Specification: star(5) for ``SCHILY.*``; tar(5) of libarchive for ``LIBARCHIVE.xattr``; GNU tar
manual, "Extended File Attributes", for ``RHT.security.selinux``.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import TypeAlias
from urllib.parse import unquote_to_bytes

from formats.archives.acl_text import ACCESS, DEFAULT, acl_mode, acl_xattr

_SCHILY, _LIBARCHIVE = b"SCHILY.xattr.", b"LIBARCHIVE.xattr."
_SELINUX_RECORD, _SELINUX = b"RHT.security.selinux", b"security.selinux"
_ACL_RECORDS = {b"SCHILY.acl.access": ACCESS, b"SCHILY.acl.default": DEFAULT}
_NFS_ACL = b"SCHILY.acl.ace"
_PREFIXES = (b"SCHILY.", b"LIBARCHIVE.", b"RHT.")


Xattrs: TypeAlias = tuple[tuple[bytes, bytes], ...]


def xattrs_of(records: Mapping[bytes, bytes]) -> tuple[Xattrs, bool]:
    """Return a member's xattrs, and whether they are all that its records tell of.

    ACLs of NFSv4 are left out, those that name users and have no numbers for them, and xattrs of
    ACLs that no kernel takes.
    """
    found: dict[bytes, bytes] = {}
    is_whole = True
    for keyword, value in records.items():
        if not keyword.startswith(_PREFIXES):
            continue
        if keyword.startswith(_SCHILY):
            found[keyword.removeprefix(_SCHILY)] = value
        elif keyword.startswith(_LIBARCHIVE):
            decoded = _decoded(value)
            if decoded is None:
                is_whole = False
            else:  # archives have both forms: they say the same
                found.setdefault(unquote_to_bytes(keyword.removeprefix(_LIBARCHIVE)), decoded)
        elif keyword == _SELINUX_RECORD:
            found.setdefault(_SELINUX, value.rstrip(b"\0") + b"\0")  # as the kernel gives it
        elif keyword in _ACL_RECORDS:
            acl = acl_xattr(value)
            if acl is None:
                is_whole = False
            elif acl:
                found[_ACL_RECORDS[keyword]] = acl
        elif keyword == _NFS_ACL:
            is_whole = False
    for name in (ACCESS, DEFAULT):
        if name in found and acl_mode(found[name]) is None:
            del found[name]
            is_whole = False
    found.pop(b"", None)
    return tuple(sorted(found.items())), is_whole


def _decoded(value: bytes) -> bytes | None:
    """Return base64 decoded; libarchive leaves its padding out."""
    digits = value.rstrip(b"=")
    try:
        return base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
    except binascii.Error:
        return None
