"""``Packages`` files: the indexes of Debian repositories, and apt's copies of them.

Specification: "Repository Format" of the Debian wiki, "Packages Indices"; deb-control(5).
Signatures (``Release.gpg``, ``InRelease``) are not looked at: who names a pool trusts it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from formats.bundles.lz4_frames import FRAME_MAGIC as LZ4_MAGIC
from formats.bundles.lz4_frames import unlz4
from formats.bundles.streams import Compressed, Decoder, bunzip2, gunzip, unxz, unzstd
from formats.bundles.zstd_frames import FRAME_MAGIC as ZSTD_MAGIC
from formats.core.errors import CorruptError, LimitError
from formats.core.finding import Action, Finding
from formats.core.limits import DEFAULT_LIMITS, MIB, Limits
from formats.core.source import BytesLike, ByteSource
from formats.packages.deb.control import describe
from formats.packages.deb.stanzas import Fields, parse_stanza, read_stanzas
from formats.packages.pools.offer import Offer

_DECODERS: Mapping[bytes, Decoder] = {
    b"\x1f\x8b": gunzip,
    b"\xfd7zXZ\0": unxz,
    b"BZh": bunzip2,
    ZSTD_MAGIC: unzstd,
    LZ4_MAGIC: unlz4,  # how apt keeps its copies where it is told to keep them small
}
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
    stanzas = read_stanzas(_blocks(source, limits), source.origin, limits)
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


def _blocks(source: ByteSource, limits: Limits) -> Iterator[BytesLike]:
    """Return the text of an index in blocks."""
    head = bytes(source.read_at(0, 8))
    for magic, decode in _DECODERS.items():
        if head.startswith(magic):
            return decode(Compressed(source), limits)
    return (source.read_at(offset, MIB) for offset in range(0, source.size, MIB))
