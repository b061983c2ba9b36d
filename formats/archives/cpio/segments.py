"""The archives in one file: an initramfs is several in a row, each compressed or not.

Specification: linux Documentation/driver-api/early-userspace/buffer-format.rst: archives follow
each other with zeros between them, and what is compressed is an archive once it is decompressed.
Microcode for early loading comes first, uncompressed.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import NamedTuple

from formats.archives.cpio.headers import CpioHeader, is_header, read_header
from formats.bundles.lz4_frames import FRAME_MAGIC as LZ4_MAGIC
from formats.bundles.lz4_frames import unlz4
from formats.bundles.streams import Compressed, Decoder, bunzip2, gunzip, unlzma, unxz, unzstd
from formats.bundles.zstd_frames import FRAME_MAGIC as ZSTD_MAGIC
from formats.core.errors import LimitError, UnsupportedError
from formats.core.finding import Action, Finding
from formats.core.limits import KIB
from formats.core.reader import OpenContext
from formats.core.source import ByteSource, slice_source
from formats.core.spooled import spooled
from formats.packages.payload import bounded

_SEARCHED_BYTES = 64 * KIB
_MOST_SEGMENTS = 64
_DECODERS: tuple[tuple[bytes, Decoder], ...] = (
    (b"\x1f\x8b\x08", gunzip),
    (b"BZh", bunzip2),
    (b"\xfd7zXZ\0", unxz),
    (b"\x5d\0\0", unlzma),
    (ZSTD_MAGIC, unzstd),
    (LZ4_MAGIC, unlz4),
)
_NOT_DECODED = ((b"\x02\x21\x4c\x18", "the old frames of lz4"), (b"\x89LZO\0", "lzop"))


class Found(NamedTuple):
    """A member, and the bytes that its offsets count in.

    :ivar segment: number of the archive it is in; links do not reach beyond.
    """

    header: CpioHeader
    source: ByteSource
    segment: int


class Segments:
    """The archives of a file, one after the other."""

    def __init__(self, source: ByteSource, context: OpenContext) -> None:
        self._source = source
        self._context = context
        self._count = 0
        self._members = 0

    @property
    def count(self) -> int:
        """How many archives there were."""
        return self._count

    def members(self) -> Iterator[Found]:
        """Yield the members of all of them.

        :raises CorruptError: for damaged archives.
        :raises UnsupportedError: for compression that is not read.
        :raises LimitError: for too many members or archives.
        """
        yield from self._archives(self._source, 0, is_compressed=False)

    def _archives(self, source: ByteSource, offset: int, *, is_compressed: bool) -> Iterator[Found]:
        """Yield what is in the archives from ``offset`` on, which begin there."""
        while offset < source.size:
            if is_header(source, offset):
                offset = yield from self._archive(source, offset)
            elif is_compressed:  # nothing is compressed twice
                self._note_rest(source, offset)
                return
            else:
                inner, following = self._decompressed(source, offset)
                if inner is None:
                    self._note_rest(source, offset)
                    return
                yield from self._archives(inner, 0, is_compressed=True)
                offset = following
            offset = _behind_padding(source, offset)

    def _archive(self, source: ByteSource, offset: int) -> Generator[Found, None, int]:
        """Yield the members of one archive; return where it ends."""
        limits = self._context.limits
        self._begin(source, offset)
        while True:
            header = read_header(source, offset, limits)
            offset = header.end
            if header.kind is None:
                return offset
            self._members += 1
            if self._members > limits.entries:
                raise LimitError(f"has more than {limits.entries:,} members", origin=source.origin)
            yield Found(header, source, self._count)

    def _begin(self, source: ByteSource, offset: int) -> None:
        self._count += 1
        if self._count > _MOST_SEGMENTS:
            raise LimitError(
                f"has more than {_MOST_SEGMENTS} archives in a row",
                origin=source.origin,
                offset=offset,
            )

    def _decompressed(self, source: ByteSource, offset: int) -> tuple[ByteSource | None, int]:
        """Return what is compressed there, and where what follows begins."""
        head = bytes(source.read_at(offset, 8))
        for magic, name in _NOT_DECODED:
            if head.startswith(magic):
                raise UnsupportedError(
                    f"has an archive compressed with {name}, which is not read",
                    origin=source.origin,
                    offset=offset,
                    hint="unpack it with 'unmkinitramfs' and give the folder",
                )
        decode = next((decode for magic, decode in _DECODERS if head.startswith(magic)), None)
        if decode is None:
            return None, offset
        file = Compressed(slice_source(source, offset, source.size - offset, source.origin))
        origin = source.origin.child(f"archive {self._count + 1}")
        inner = spooled(bounded(file, decode, self._context), origin, self._context)
        if not is_header(inner):
            raise UnsupportedError(
                "has something compressed in it that is no cpio archive",
                origin=source.origin,
                offset=offset,
                hint="decompress it and give what is in it",
            )
        return inner, source.size - file.trailing_bytes

    def _note_rest(self, source: ByteSource, offset: int) -> None:
        evidence = f"{source.size - offset:,} bytes follow the archive; not read"
        where = str(source.origin).encode()
        self._context.note(Finding("trailing-data", where, Action.REPORTED, evidence))


def _behind_padding(source: ByteSource, offset: int) -> int:
    """Return where the zeros from ``offset`` on end; holes are not read."""
    if offset < source.size and bytes(source.read_at(offset, 1)) != b"\0":
        return offset
    for extent in source.extents():
        position, end = max(offset, extent.offset), extent.offset + extent.length
        while position < end and not extent.is_hole:
            data = bytes(source.read_at(position, min(_SEARCHED_BYTES, end - position)))
            rest = len(data.lstrip(b"\0"))
            if rest:
                return position + len(data) - rest
            position += len(data)
    return source.size
