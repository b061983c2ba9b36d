"""``Packages`` files: the indexes of Debian repositories, and apt's copies of them.

Specification: "Repository Format" of the Debian wiki, "Packages Indices"; deb-control(5).
Signatures (``Release.gpg``, ``InRelease``) are not looked at: who names a pool trusts it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from formats.core.errors import CorruptError, LimitError
from formats.core.finding import Action, Finding
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.source import ByteSource
from formats.packages.deb.control import describe
from formats.packages.deb.stanzas import Fields, parse_stanza, read_stanzas
from formats.packages.pools.blocks import index_blocks
from formats.packages.pools.offer import Offer

_FACTS = ("multi-arch", "priority", "section", "replaces", "package-type")
"""What resolving needs; there may be a hundred thousand packages in memory."""
_DIGESTS = (("sha512", 128), ("sha256", 64), ("sha1", 40), ("md5sum", 32))
"""Fields, best first, and the length of what they hold."""
_HEXADECIMAL = re.compile(r"[0-9a-f]+")
_SIZE = re.compile(r"[0-9]{1,18}")
_TOLD_STANZAS = 20


def read_packages(
    source: ByteSource,
    limits: Limits = DEFAULT_LIMITS,
    note: Callable[[Finding], None] | None = None,
) -> Iterator[Offer]:
    """Yield what an index lists, in its order, while it is read.

    It may be compressed with gzip, xz, bzip2, zstd or lz4. A stanza that makes no sense is left out
    and noted: one package out of thousands shall not make the others useless.

    :raises CorruptError: if decompressing fails.
    :raises LimitError: for more packages than ``limits.entries``, or a stanza without end.
    """
    stanzas = read_stanzas(index_blocks(source, limits), source.origin, limits)
    problems = 0
    for number, stanza in enumerate(stanzas, 1):
        if number > limits.entries:
            raise LimitError(f"lists more than {limits.entries:,} packages", origin=source.origin)
        try:
            offer = _offer(parse_stanza(stanza))
        except CorruptError as error:
            problems += 1
            if note is not None and problems <= _TOLD_STANZAS:
                note(_left_out(source, f"stanza {number:,} {error.message}"))
            continue
        yield offer
    if note is not None and problems > _TOLD_STANZAS:
        note(_left_out(source, f"as {problems - _TOLD_STANZAS:,} more that make no sense"))


def _left_out(source: ByteSource, problem: str) -> Finding:
    where = str(source.origin).encode("utf-8", "surrogateescape")
    return Finding("package-not-listed", where, Action.REPORTED, f"{problem}; it is left out")


def _offer(fields: Fields) -> Offer:
    path = fields.get("filename", "")
    if not path:
        raise CorruptError("does not say where the file of its package is")
    size = fields.get("size", "")
    return Offer(
        package=describe(fields, facts=_FACTS),
        path=path,
        size=int(size) if _SIZE.fullmatch(size) else None,
        digest=_digest(fields),
    )


def _digest(fields: Fields) -> tuple[str, str] | None:
    """Return the best digest there is."""
    for name, length in _DIGESTS:
        value = fields.get(name, "").lower()
        if len(value) == length and _HEXADECIMAL.fullmatch(value):
            return name.removesuffix("sum"), value
    return None
