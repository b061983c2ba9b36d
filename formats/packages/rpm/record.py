"""Headers as the database of installed packages holds them.

Specification: rpm.org "Header Format", "Immutable header regions", "Tag Listing".

When rpm installs a package it keeps the header as it was, and adds tags behind its immutable
region: what the signature header said, under other numbers, and when and how it was installed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from formats.packages.rpm import tags
from formats.packages.rpm.header import (
    CHAR,
    COUNTS,
    INDEX_ENTRY,
    INT32,
    STRING_ARRAY,
    VALUE_ALIGNMENT,
    Header,
)

_ARCHIVESIZE = 1046
_FILESIGNATURELENGTH = 5091
_NORMAL_STATE = b"\0"
_LATEST = (1 << 32) - 1

_KEPT_SIGNATURES = {
    tags.SIG_DSA: tags.SIG_DSA,
    tags.SIG_RSA: tags.SIG_RSA,
    tags.SIG_SHA1: tags.SIG_SHA1,
    tags.SIG_LONGSIZE: tags.SIG_LONGSIZE,
    tags.SIG_LONGARCHIVESIZE: tags.SIG_LONGARCHIVESIZE,
    tags.SIG_SHA256: tags.SIG_SHA256,
    tags.SIG_FILESIGNATURES: tags.FILESIGNATURES,
    tags.SIG_FILESIGNATURES + 1: _FILESIGNATURELENGTH,
    tags.SIG_VERITYSIGNATURES: tags.SIG_VERITYSIGNATURES,
    tags.SIG_VERITYSIGNATURES + 1: tags.SIG_VERITYSIGNATURES + 1,
    tags.SIG_OPENPGP: tags.SIG_OPENPGP,
    tags.SIG_SHA3_256: tags.SIG_SHA3_256,
    tags.SIG_SIZE: tags.SIGSIZE,
    tags.SIG_PGP: tags.SIGPGP,
    tags.SIG_MD5: tags.SIGMD5,
    tags.SIG_GPG: tags.SIGGPG,
    tags.SIG_PAYLOADSIZE: _ARCHIVESIZE,
}
"""Tag in the signature header → tag in the database."""


class Added(NamedTuple):
    """A tag to add to a header; ``data`` is its value as the store has it."""

    tag: int
    kind: int
    items: int
    data: bytes


def package_record(header: Header, signature: Header) -> bytes:
    """Return what is known of a package that is not installed yet: both of its headers in one.

    :raises CorruptError: if a value lies outside of its header.
    """
    added: list[Added] = []
    for tag, kept in _KEPT_SIGNATURES.items():
        if tag in signature and kept not in header:
            slot = signature.slots[tag]
            added.append(Added(kept, slot.kind, slot.items, signature.raw(tag)))
    if tags.BASENAMES not in header and tags.OLDFILENAMES in header:
        added += _split_paths(header)
    return with_tags(header, added)


def installed_record(record: Header, number: int, installed_at: int) -> bytes:
    """Return a record with what installing adds: all files there, at one time.

    :param number: of the transaction.
    :param installed_at: seconds since 1970-01-01; what a header cannot say is brought in range.
    """
    installed_at = min(max(installed_at, 0), _LATEST)
    files = len(record.strings(tags.BASENAMES))
    added = [
        Added(tags.INSTALLTIME, INT32, 1, installed_at.to_bytes(4, "big")),
        Added(tags.INSTALLCOLOR, INT32, 1, bytes(4)),
        Added(tags.INSTALLTID, INT32, 1, number.to_bytes(4, "big")),
    ]
    if files:
        added.append(Added(tags.FILESTATES, CHAR, files, _NORMAL_STATE * files))
    return with_tags(record, [one for one in added if one.tag not in record])


def with_tags(header: Header, added: Iterable[Added]) -> bytes:
    """Return a header with tags behind those that it has."""
    index = header.blob[COUNTS.size : header.store_start]
    entries: list[bytes] = []
    store = bytearray(header.blob[header.store_start :])
    for one in sorted(added):
        store += bytes(-len(store) % VALUE_ALIGNMENT.get(one.kind, 1))
        entries.append(INDEX_ENTRY.pack(one.tag, one.kind, len(store), one.items))
        store += one.data
    counts = COUNTS.pack(len(header.slots) + len(entries), len(store))
    return counts + index + b"".join(entries) + bytes(store)


def _split_paths(header: Header) -> list[Added]:
    """Return the paths of a package of rpm 3 as all later ones have them: folders and names."""
    folders: dict[bytes, int] = {}
    indexes: list[int] = []
    names: list[bytes] = []
    for path in header.strings(tags.OLDFILENAMES):
        folder, slash, name = path.rpartition(b"/")
        indexes.append(folders.setdefault(folder + slash, len(folders)))
        names.append(name)
    numbers = b"".join(index.to_bytes(4, "big") for index in indexes)
    return [
        Added(tags.DIRINDEXES, INT32, len(indexes), numbers),
        Added(tags.BASENAMES, STRING_ARRAY, len(names), _joined(names)),
        Added(tags.DIRNAMES, STRING_ARRAY, len(folders), _joined(folders)),
    ]


def _joined(strings: Iterable[bytes]) -> bytes:
    return b"".join(string + b"\0" for string in strings)
