"""Sparse members of tar archives, as GNU tar writes them (``tar --sparse``).

Specification: GNU tar manual, "Storing Sparse Files" and "Basic Tar Format" (``oldgnu_header``).
Google's images for Compute Engine are archives like this.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from formats.core.errors import CorruptError, LimitError, quoted
from formats.core.origin import Origin
from formats.core.source import ByteSource, MappedSource, Segment, read_exact

Regions: TypeAlias = tuple[tuple[int, int], ...]
"""Where the stored bytes belong: offset and length of each piece, in order."""

SPARSE_KEYWORDS = frozenset(
    b"GNU.sparse." + name
    for name in (
        *(b"major", b"minor", b"name", b"realsize"),
        *(b"map", b"numblocks", b"numbytes", b"offset", b"size"),
    )
)
"""Of pax records; a member with one of them is sparse."""

_BLOCK_BYTES = 512
_MAX_REGIONS = 65_536
_NUMBER_BYTES = 20

_HEADER_PAIRS = (386, 4)
_HEADER_IS_EXTENDED = 482
_HEADER_REAL_SIZE = slice(483, 495)
_BLOCK_PAIRS = (0, 21)
_BLOCK_IS_EXTENDED = 504
_PAIR_BYTES = 24


def old_gnu_regions(archive: ByteSource, header: bytes, offset: int) -> tuple[int, int, Regions]:
    """Return where the content starts, its size with holes, and its map (type ``S``).

    :raises CorruptError: for maps that are no numbers, or end too early.
    :raises LimitError: for maps that are too long.
    """
    pairs = _pairs(header, *_HEADER_PAIRS, archive, offset)
    is_extended = header[_HEADER_IS_EXTENDED]
    position = offset + _BLOCK_BYTES
    while is_extended:
        block = bytes(read_exact(archive, position, _BLOCK_BYTES, "the map of a sparse member"))
        pairs += _pairs(block, *_BLOCK_PAIRS, archive, position)
        _check_count(len(pairs), archive, position)
        is_extended = block[_BLOCK_IS_EXTENDED]
        position += _BLOCK_BYTES
    size = _octal(header[_HEADER_REAL_SIZE], archive, offset)
    return position, size, tuple(pairs)


def _pairs(
    block: bytes, start: int, count: int, archive: ByteSource, offset: int
) -> list[tuple[int, int]]:
    found = []
    for at in range(start, start + count * _PAIR_BYTES, _PAIR_BYTES):
        if not block[at]:  # the list ends
            break
        first = _octal(block[at : at + 12], archive, offset + at)
        found.append((first, _octal(block[at + 12 : at + 24], archive, offset + at + 12)))
    return found


def _octal(raw: bytes, archive: ByteSource, offset: int) -> int:
    if raw[0] == 0x80:  # base 256
        value = int.from_bytes(raw[1:], "big")
        if value.bit_length() > 63:
            raise _corrupt(f"the map of a sparse member has the number {value:,}", archive, offset)
        return value
    text = raw.strip(b" \0")
    if not re.fullmatch(rb"[0-7]{1,12}", text):
        raise _corrupt("the map of a sparse member makes no sense", archive, offset)
    return int(text, 8)


def pax_regions(
    archive: ByteSource,
    start: int,
    stored: int,
    records: Mapping[bytes, bytes],
    pairs: Sequence[bytes],
) -> tuple[int, int, Regions]:
    """Return how many bytes of content the map takes, the size with holes, and the map.

    :param start: where the member's content starts, ``stored`` bytes.
    :param pairs: ``GNU.sparse.offset`` and ``GNU.sparse.numbytes`` in turn (format 0.0).
    :raises CorruptError: for maps that are no numbers, or end too early.
    :raises LimitError: for maps that are too long.
    """
    size_text = records.get(b"GNU.sparse.realsize", records.get(b"GNU.sparse.size", b""))
    if not re.fullmatch(rb"[0-9]{1,19}", size_text):
        raise _corrupt(f"a sparse member has the size {quoted(size_text[:40])}", archive, start)
    used = 0
    if records.get(b"GNU.sparse.major") == b"1":
        used, numbers = _map_of_content(archive, start, stored)
    elif text := records.get(b"GNU.sparse.map"):
        numbers = _numbers(text.split(b","), archive, start)
    else:
        numbers = _numbers(pairs, archive, start)
    if len(numbers) % 2:
        raise _corrupt("the map of a sparse member ends too early", archive, start)
    _check_count(len(numbers) // 2, archive, start)
    return used, int(size_text), tuple(zip(numbers[::2], numbers[1::2], strict=True))


def _map_of_content(archive: ByteSource, start: int, stored: int) -> tuple[int, list[int]]:
    """Read the map of format 1.0: decimal numbers on lines, their count first, in whole blocks."""
    text, used = b"", 0
    numbers: list[int] = []
    wanted = 1
    while len(numbers) < wanted:
        if used + _BLOCK_BYTES > stored:
            raise _corrupt("the map of a sparse member ends too early", archive, start + used)
        text += bytes(read_exact(archive, start + used, _BLOCK_BYTES, "a sparse member's map"))
        used += _BLOCK_BYTES
        *lines, text = text.split(b"\n")
        if len(text) > _NUMBER_BYTES and len(lines) < wanted - len(numbers):
            raise _corrupt("the map of a sparse member makes no sense", archive, start + used)
        numbers += _numbers(lines[: wanted - len(numbers)], archive, start)
        if wanted == 1 and numbers:
            _check_count(numbers[0], archive, start)
            wanted = 1 + 2 * numbers[0]
            numbers += _numbers(lines[1:wanted], archive, start)
    return used, numbers[1:]


def _numbers(texts: Sequence[bytes], archive: ByteSource, offset: int) -> list[int]:
    for text in texts:
        if not re.fullmatch(rb"[0-9]{1,19}", text):
            raise _corrupt(
                f"the map of a sparse member has the number {quoted(text[:40])}", archive, offset
            )
    return [int(text) for text in texts]


def sparse_source(
    archive: ByteSource, offset: int, stored: int, size: int, regions: Regions, origin: Origin
) -> MappedSource:
    """Return ``size`` bytes, of which the archive holds ``stored`` from ``offset`` on.

    :param regions: where they belong, one after the other.
    :raises CorruptError: if these overlap, lie outside, or are more or fewer than are stored.
    """
    mapped = sum(length for _, length in regions)
    if mapped != stored:
        raise _corrupt(
            f"the map of a sparse member has {mapped:,} bytes, and {stored:,} are stored",
            archive,
            offset,
        )
    segments: list[Segment] = []
    position = 0
    for start, length in regions:
        if start < position or start + length > size:
            raise _corrupt("the map of a sparse member makes no sense", archive, offset)
        segments.append(Segment(position, start - position, None))
        segments.append(Segment(start, length, archive, offset))
        offset += length
        position = start + length
    segments.append(Segment(position, size - position, None))
    return MappedSource(segments, origin)


def _check_count(count: int, archive: ByteSource, offset: int) -> None:
    if count > _MAX_REGIONS:
        raise LimitError(
            f"a sparse member has more than {_MAX_REGIONS:,} pieces",
            origin=archive.origin,
            offset=offset,
        )


def _corrupt(problem: str, archive: ByteSource, offset: int) -> CorruptError:
    return CorruptError(problem, origin=archive.origin, offset=offset)
