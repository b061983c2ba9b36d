"""What is in the members of a zip archive, checked against all that the archive says of it.

A member is described twice, by the central directory and by its own header. Programs that go by
the one or the other see different archives where the two differ: that is an error here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from formats.archives.zip.decoders import DECODERS, STORED
from formats.archives.zip.extra import ZIP64, Sizes, extra_fields, whole_sizes
from formats.bundles.streams import crc32
from formats.core.entry import Entry
from formats.core.errors import CorruptError, LimitError, quoted
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.core.reader import OpenContext
from formats.core.source import BytesLike, ByteSource, read_exact, slice_source
from formats.core.spooled import spooled

HEADER_BYTES = 30
HEADER_MAGIC = b"PK\x03\x04"
SIZES_FOLLOW = 1 << 3
"""Flag: sizes and checksum are behind the content."""

_HEADER = struct.Struct("<4s5H3L2H")


class ZipContent(NamedTuple):
    """A member as the central directory describes it.

    :ivar offset: of its own header, in the file.
    :ivar stop: where what follows begins: it must end there.
    :ivar name: as written.
    """

    offset: int
    stop: int
    compressed: int
    size: int
    checksum: int
    method: int
    flags: int
    name: bytes


class _Header(NamedTuple):
    """A member as its own header describes it."""

    flags: int
    method: int
    checksum: int
    sizes: Sizes
    name: bytes
    extra: bytes


class ZipContents:
    """See :class:`~formats.archives.member_tree.Contents`.

    Checksums are verified of all that is read from its start to its end; of a stored member that is
    opened in place they are not, as that is for disks, of which only parts are read.
    """

    def __init__(self, archive: ByteSource, context: OpenContext) -> None:
        self._archive = archive
        self._context = context
        self._members = ZipMembers(archive, context.limits)

    def read(self, content: ZipContent, entry: Entry | None = None) -> Iterator[BytesLike]:
        """Yield the content, decompressed."""
        del entry
        return self._members.read(content)

    def open(self, content: ZipContent, origin: Origin) -> ByteSource:
        """Return the content: in place if it is stored, else a decompressed copy."""
        if content.method == STORED:
            start = self._members.start(content)
            return slice_source(self._archive, start, content.compressed, origin)
        return spooled(self.read(content), origin, self._context)

    def will_read(self, contents: Sequence[ZipContent]) -> None:
        """Pass the hint on to the archive."""
        self._archive.will_need(
            [(item.offset, HEADER_BYTES + len(item.name) + item.compressed) for item in contents]
        )

    def own_fields(self, content: ZipContent) -> Mapping[int, bytes]:
        """Return the extra fields of the member's own header."""
        return self._members.own_fields(content)


class ZipMembers:
    """The members of an archive by what its directory says of them; checksums are verified."""

    def __init__(self, archive: ByteSource, limits: Limits) -> None:
        self._archive = archive
        self._limits = limits

    def read(self, content: ZipContent) -> Iterator[BytesLike]:
        """Yield the content of a member, decompressed.

        :raises CorruptError: if it is not what the directory says.
        :raises LimitError: if it expands too much.
        """
        limits, size = self._limits, content.size
        if (
            size > limits.expansion_grace_bytes
            and size > limits.expansion_ratio * content.compressed
        ):
            raise LimitError(
                f"expands to more than {limits.expansion_ratio:,} times its size",
                origin=self._archive.origin,
                offset=content.offset,
                hint="raise the limit on expansion_ratio if the input is trusted",
            )
        start = self.start(content)
        decode = DECODERS[content.method]
        given, checksum = 0, 0
        for block in decode(self._archive, start, content.compressed, size, limits):
            given += len(block)
            if given > size:
                raise self._contradiction(content, f"has more than the {size:,} bytes it says")
            checksum = crc32(block, checksum)
            yield block
        if given != size:
            raise self._contradiction(content, f"has {given:,} bytes and not {size:,} as it says")
        if checksum != content.checksum:
            raise self._contradiction(content, "has a wrong checksum (CRC-32)")

    def own_fields(self, content: ZipContent) -> Mapping[int, bytes]:
        """Return the extra fields of the member's own header."""
        return extra_fields(self._header(content).extra)

    def _header(self, content: ZipContent) -> _Header:
        offset = content.offset
        data = bytes(read_exact(self._archive, offset, HEADER_BYTES, "a member's header"))
        magic, _, flags, method, _, _, checksum, compressed, size, name_bytes, extra_bytes = (
            _HEADER.unpack(data)
        )
        if magic != HEADER_MAGIC:
            raise self._contradiction(content, "has no header where the directory says")
        rest = bytes(
            read_exact(
                self._archive, offset + HEADER_BYTES, name_bytes + extra_bytes, "a member's header"
            )
        )
        sizes = Sizes(size, compressed, 0, 0)
        return _Header(flags, method, checksum, sizes, rest[:name_bytes], rest[name_bytes:])

    def start(self, content: ZipContent) -> int:
        """Return where the content starts, behind the member's own header."""
        header = self._header(content)
        name = header.name
        if name.replace(b"\\", b"/") != content.name.replace(b"\\", b"/"):  # .NET mixes them
            raise self._contradiction(content, f"is named {quoted(name)} in its own header")
        if header.method != content.method:
            raise self._contradiction(content, "is compressed differently by its own header")
        if not header.flags & SIZES_FOLLOW:
            sizes = whole_sizes(header.sizes, extra_fields(header.extra).get(ZIP64))
            if sizes is None or (sizes.size, sizes.compressed, header.checksum) != (
                content.size,
                content.compressed,
                content.checksum,
            ):
                raise self._contradiction(content, "has other sizes in its own header")
        if content.method == STORED and content.compressed != content.size:
            raise self._contradiction(content, "is stored as it is, and has two sizes")
        start = content.offset + HEADER_BYTES + len(name) + len(header.extra)
        if start + content.compressed > content.stop:
            raise self._contradiction(content, "overlaps with what follows")
        return start

    def _contradiction(self, content: ZipContent, problem: str) -> CorruptError:
        return CorruptError(
            problem,
            origin=self._archive.origin,
            offset=content.offset,
            hint="the archive is damaged, or made to look different to different programs",
        )
