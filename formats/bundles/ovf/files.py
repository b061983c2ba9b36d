"""The files that a descriptor refers to: in one piece or in chunks, plain or compressed.

Specification: DSP0243 clause 7.1. A reference is relative to the descriptor; only files beside it
are opened, inside an archive those in it. Nothing is fetched from elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

from formats.bundles.ovf.descriptor import File
from formats.core.errors import CorruptError, LimitError, UnsupportedError, quoted
from formats.core.finding import Action, Finding
from formats.core.origin import Origin
from formats.core.reader import OpenContext, Siblings
from formats.core.source import ByteSource, MappedSource, Segment

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_MAX_CHUNKS = 100_000
_GZIP_MAGIC = b"\x1f\x8b"


class OpenOnce:
    """Siblings that are opened once each, whoever asks: manifest and disks are of the same files.

    Each is a file that stays open; a package may have thousands of chunks.
    """

    def __init__(self, siblings: Siblings) -> None:
        self._siblings = siblings
        self._opened: dict[str, ByteSource] = {}

    def exists(self, name: str) -> bool:
        """See :class:`~formats.core.reader.Siblings`."""
        return self._siblings.exists(name)

    def open(self, name: str, origin: Origin) -> ByteSource:
        """See :class:`~formats.core.reader.Siblings`."""
        if name not in self._opened:
            self._opened[name] = self._siblings.open(name, origin)
        return self._opened[name]


def stored_names(file: File, siblings: Siblings) -> Iterator[str]:
    """Yield the name of a file, or of its first chunk and all others that are there."""
    if file.chunk_bytes is None:
        yield _sibling_name(file.href, siblings)
        return
    name = _sibling_name(file.href, siblings, _chunk_suffix(0))
    yield name + _chunk_suffix(0)
    for number in range(1, _MAX_CHUNKS):
        if not siblings.exists(name + _chunk_suffix(number)):
            return
        yield name + _chunk_suffix(number)


def _sibling_name(href: str, siblings: Siblings, suffix: str = "") -> str:
    """Return the name to ask the siblings for: the reference itself, or what it means as a URI.

    Many tools write plain names all the same.
    """
    plain = unquote(href).removeprefix("./")
    return plain if siblings.exists(plain + suffix) and not siblings.exists(href + suffix) else href


def open_file(file: File, siblings: Siblings, context: OpenContext, origin: Origin) -> ByteSource:
    """Return the bytes of a file as it is stored; what is compressed stays so.

    :raises UnsupportedError: for references to elsewhere.
    :raises CorruptError: for missing files and chunks, and for chunks of a wrong size.
    """
    if _SCHEME.match(file.href) and not siblings.exists(file.href):
        raise UnsupportedError(
            f"refers to {quoted(file.href)}, and nothing is fetched from elsewhere",
            origin=origin,
            hint="download it, put it beside the descriptor, and name it there",
        )
    if file.chunk_bytes is None:
        source = siblings.open(_sibling_name(file.href, siblings), origin)
        _report_size(file, source, context)
    else:
        source = _open_chunks(file, file.chunk_bytes, siblings, origin)
    if file.is_gzip and bytes(source.read_at(0, 2)) != _GZIP_MAGIC:
        raise CorruptError(
            f"is not compressed by gzip, as {origin} says", origin=source.origin, offset=0
        )
    return source


def _report_size(file: File, source: ByteSource, context: OpenContext) -> None:
    """Tell of a size that is not the stated one; tools are careless with it, and disks are not.

    A disk that is cut short is found out by its own reader.
    """
    if file.size is not None and file.size != source.size:
        where = str(source.origin).encode()
        evidence = f"has {source.size:,} bytes, where the descriptor says {file.size:,}"
        context.note(Finding("ovf-size-differs", where, Action.REPORTED, evidence))


def _chunk_suffix(number: int) -> str:
    return f".{number:09}"


def _open_chunks(file: File, chunk_bytes: int, siblings: Siblings, origin: Origin) -> ByteSource:
    name = _sibling_name(file.href, siblings, _chunk_suffix(0))
    segments: list[Segment] = []
    position = 0
    while position == len(segments) * chunk_bytes and (
        not segments or _continues(file, position, siblings, name, len(segments))
    ):
        if len(segments) == _MAX_CHUNKS:
            raise LimitError(f"has more than {_MAX_CHUNKS:,} chunks", origin=origin)
        chunk = siblings.open(name + _chunk_suffix(len(segments)), origin)
        if chunk.size > chunk_bytes:
            raise CorruptError(
                f"has {chunk.size:,} bytes, more than the {chunk_bytes:,} of a chunk",
                origin=chunk.origin,
            )
        segments.append(Segment(position, chunk.size, chunk))
        position += chunk.size
    if file.size is not None and position != file.size:
        raise CorruptError(
            f"has chunks of {position:,} bytes in all, where the descriptor says {file.size:,}",
            origin=origin.child(name),
            hint="a chunk may be missing or cut short",
        )
    return MappedSource(segments, origin.child(name))


def _continues(file: File, position: int, siblings: Siblings, name: str, number: int) -> bool:
    if file.size is not None:
        return position < file.size
    return siblings.exists(name + _chunk_suffix(number))
