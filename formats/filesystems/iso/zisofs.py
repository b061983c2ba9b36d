"""Files that are compressed block by block (zisofs, and zisofs2 with its algorithm PZ).

Specification: "Description of the zisofs2 Format" of libburnia. Not read: the other algorithms that
it names and that no writer uses.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from formats.codecs.ahead import UnitCache
from formats.codecs.units import inflate_zlib
from formats.core.errors import CorruptError, UnsupportedError
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource, Extent, read_exact, zeros
from formats.filesystems.iso.system_use import Zisofs

_POINTERS_AT_ONCE = 8192


@dataclass(frozen=True, slots=True)
class _Version:
    """One of the two file formats: its magic, header after that, block pointers and sizes."""

    magic: bytes
    header: struct.Struct
    pointer: struct.Struct
    block_logs: range


_VERSIONS = {
    b"pz": _Version(
        bytes.fromhex("37e45396c9dbd607"),
        struct.Struct("<IBB2x"),
        struct.Struct("<I"),
        range(15, 18),
    ),
    b"PZ": _Version(
        bytes.fromhex("ef2255a1bc1b95a0"),
        struct.Struct("<xBBBQ4x"),
        struct.Struct("<Q"),
        range(15, 21),
    ),
}


class ZisofsSource:
    """The content of a compressed file.

    :param stored: the bytes of its extents.
    :raises UnsupportedError: for another algorithm, by name.
    :raises CorruptError: if its header is damaged, or not what its directory record says.
    """

    def __init__(self, stored: ByteSource, entry: Zisofs, origin: Origin, limits: Limits) -> None:
        self.size = entry.size
        self.origin = origin
        self._stored = stored
        self._entry = entry
        self._version = _checked(stored, entry)
        self._block_bytes = 1 << entry.block_log
        self._count = -(-entry.size // self._block_bytes)
        table = entry.header_bytes + (self._count + 1) * self._version.pointer.size
        if table > stored.size:
            raise CorruptError(
                f"its {self._count:,} compressed blocks do not fit into {stored.size:,} bytes",
                origin=stored.origin,
            )
        self._cache: UnitCache[tuple[int, int, int]] = UnitCache(
            self._decoded, unit_bytes=self._block_bytes, capacity_bytes=limits.cache_bytes
        )

    def chunks(self) -> Iterator[BytesLike]:
        """Yield the whole content, a block at a time.

        :raises CorruptError: if a block is damaged.
        """
        for place, length, size in self._blocks(0, self._count):
            yield self._decoded((place, length, size)) if length else zeros(size)

    def read_at(self, offset: int, length: int) -> BytesLike:
        """See :meth:`formats.core.source.ByteSource.read_at`."""
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        first = offset // self._block_bytes
        last = (offset + length - 1) // self._block_bytes
        skip = offset - first * self._block_bytes
        parts = [
            self._cache.get(block) if block[1] else zeros(block[2])
            for block in self._blocks(first, last + 1)
        ]
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        return memoryview(data)[skip : skip + length]

    def extents(self) -> Iterator[Extent]:
        """Yield one extent: holes are not looked for, as every pointer would be read."""
        if self.size:
            yield Extent(0, self.size, is_hole=False)

    def will_need(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Do nothing: blocks are decoded when they are read."""

    def _blocks(self, first: int, last: int) -> Iterator[tuple[int, int, int]]:
        """Yield place, stored length and size of blocks; a length of 0 stands for zeros."""
        pointer = self._version.pointer
        while first < last:
            count = min(last - first, _POINTERS_AT_ONCE)
            table = read_exact(
                self._stored,
                self._entry.header_bytes + first * pointer.size,
                (count + 1) * pointer.size,
                "the block pointers",
            )
            places = [place for (place,) in pointer.iter_unpack(table)]
            for number, (place, end) in enumerate(pairwise(places), first):
                if not place <= end <= self._stored.size:
                    raise CorruptError(
                        f"its compressed block {number:,} ends before it begins, or outside",
                        origin=self._stored.origin,
                        offset=place,
                    )
                size = min(self._block_bytes, self.size - number * self._block_bytes)
                yield place, end - place, size
            first += count

    def _decoded(self, block: tuple[int, int, int]) -> BytesLike:
        place, length, size = block
        if length > 2 * self._block_bytes:
            raise self._damaged(f"a compressed block claims {length:,} bytes", place)
        stored = read_exact(self._stored, place, length, "a compressed block")
        try:
            return inflate_zlib(stored, size)
        except CorruptError as error:
            raise self._damaged(
                f"a compressed block cannot be read: {error.message}", place
            ) from error

    def _damaged(self, what: str, place: int) -> CorruptError:
        return CorruptError(what, origin=self._stored.origin, offset=place)


def _checked(stored: ByteSource, entry: Zisofs) -> _Version:
    """Return the version of the file's format, held against its header."""
    version = _VERSIONS.get(entry.algorithm)
    if version is None:
        raise UnsupportedError(
            f"is compressed with the zisofs algorithm {entry.algorithm!r}", origin=stored.origin
        )
    if entry.block_log not in version.block_logs:
        raise CorruptError(
            f"is compressed in blocks of 2^{entry.block_log} bytes", origin=stored.origin
        )
    length = len(version.magic) + version.header.size
    head = bytes(read_exact(stored, 0, length, "the header of a compressed file"))
    fields = version.header.unpack_from(head, len(version.magic))
    if entry.algorithm == b"pz":
        size, words, block_log = fields
    else:
        words, algorithm, block_log, size = fields
        if algorithm != 1:
            raise UnsupportedError(
                f"is compressed with the zisofs2 algorithm {algorithm}", origin=stored.origin
            )
    is_as_told = (size, words * 4, block_log) == (entry.size, entry.header_bytes, entry.block_log)
    if not head.startswith(version.magic) or not is_as_told or entry.header_bytes < length:
        raise CorruptError(
            "the header of a compressed file is not what its directory record says",
            origin=stored.origin,
            offset=0,
        )
    return version
