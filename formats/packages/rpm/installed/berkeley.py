"""``Packages``: a hash table of Berkeley DB, with package numbers as keys and headers as values.

There is no specification of its files but those that it writes. What is read: the page of
metadata (magic number, page size, last page), pages of the table, and the chains of pages that
long values are in. All numbers are in the order of bytes of the machine that wrote them. As every
pair of the table lies in a page of it, the table is read page by page, and nothing is hashed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from formats.core.errors import CorruptError, LimitError, UnsupportedError
from formats.core.limits import Limits
from formats.core.origin import Origin

_MAGIC = 0x00061561
_MAGIC_AT, _PAGE_SIZE_AT, _ENCRYPTION_AT, _TYPE_AT, _LAST_PAGE_AT = 12, 20, 24, 25, 32
_METADATA_BYTES = 512
_HASH_METADATA = 8
_HASH_PAGES = frozenset({2, 13})
"""Types of pages of the table: unsorted, as of versions before 4.6, and sorted."""
_CHAINED = 7
_PAGE_HEADER_BYTES = 26
_ON_PAGE, _OFF_PAGE = 1, 3
"""Types of items: bytes that follow; number of the first page of a chain, and length."""
_SMALLEST_PAGE, _LARGEST_PAGE = 512, 65536
_NEXT_NUMBER = 0
"""Key of what is no package: the number that the next one will get."""


class _Page(NamedTuple):
    """The header of a page."""

    following: int
    entries: int
    used: int
    kind: int


def read_berkeley(data: bytes, origin: Origin, limits: Limits) -> Iterator[tuple[int, bytes]]:
    """Yield package numbers and headers, by number.

    :raises CorruptError: if it is damaged.
    :raises UnsupportedError: if it is encrypted, or no hash table.
    """
    table = _opened(data, origin)
    found: dict[int, tuple[int, int, int]] = {}
    for page in range(1, table.pages):
        for key, value in table.pairs(page):
            number = table.number(key)
            if number == _NEXT_NUMBER:
                continue
            if number in found:
                raise table.corrupt(page, f"package number {number:,} is there twice")
            found[number] = page, value, key
            if len(found) > limits.entries:
                raise LimitError(f"lists more than {limits.entries:,} packages", origin=origin)
    left = len(data)
    for number in sorted(found):
        blob = table.value(*found[number], left)
        left -= len(blob)
        yield number, blob


def _opened(data: bytes, origin: Origin) -> _Table:
    if len(data) < _METADATA_BYTES:
        raise CorruptError("is too short for a database", origin=origin)
    for order in "<>":
        if struct.unpack_from(f"{order}I", data, _MAGIC_AT)[0] == _MAGIC:
            break
    else:
        raise UnsupportedError("is no hash table of Berkeley DB", origin=origin, offset=_MAGIC_AT)
    size, encryption, kind = struct.unpack_from(f"{order}IBB", data, _PAGE_SIZE_AT)
    if encryption:
        raise UnsupportedError("is encrypted", origin=origin, offset=_ENCRYPTION_AT)
    if kind != _HASH_METADATA:
        raise CorruptError(f"begins with a page of type {kind}", origin=origin, offset=_TYPE_AT)
    if not _SMALLEST_PAGE <= size <= _LARGEST_PAGE or size & (size - 1):
        raise CorruptError(f"has pages of {size:,} bytes", origin=origin, offset=_PAGE_SIZE_AT)
    (last,) = struct.unpack_from(f"{order}I", data, _LAST_PAGE_AT)
    if last >= len(data) // size:
        raise CorruptError(
            f"is cut short: page {last:,} is the last, and {len(data) // size:,} are there",
            origin=origin,
            offset=_LAST_PAGE_AT,
        )
    return _Table(data, origin, order, size, last + 1)


@dataclass(frozen=True, slots=True)
class _Table:
    """A hash table.

    :ivar order: of bytes, as :mod:`struct` has it.
    :ivar size: bytes of a page.
    """

    data: bytes
    origin: Origin
    order: str
    size: int
    pages: int

    def pairs(self, page: int) -> Iterator[tuple[int, int]]:
        """Yield keys and values of a page of the table, as offsets; nothing of other pages."""
        header = self._header(page)
        if header.kind not in _HASH_PAGES:
            return
        start = page * self.size
        if _PAGE_HEADER_BYTES + 2 * header.entries > self.size or header.entries % 2:
            raise self.corrupt(page, f"says that it has {header.entries:,} items")
        items = struct.unpack_from(
            f"{self.order}{header.entries}H", self.data, start + _PAGE_HEADER_BYTES
        )
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not _PAGE_HEADER_BYTES <= value < key < self.size:
                raise self.corrupt(page, f"has a key at {key:,} and its value at {value:,}")
            yield start + key, start + value

    def number(self, key: int) -> int:
        """Return the number that a key is."""
        page = key // self.size
        if self.data[key] != _ON_PAGE or key % self.size + 5 > self.size:
            raise self.corrupt(page, "has a key that is no number of a package")
        (number,) = struct.unpack_from(f"{self.order}I", self.data, key + 1)
        return int(number)

    def value(self, page: int, place: int, stop: int, most: int) -> bytes:
        """Return the value of a pair.

        :param stop: where it ends on its page: items are put in from the end of the page on, so
            that is where its key begins.
        :param most: bytes that it can have: chains of two values share no page.
        """
        kind = self.data[place]
        if kind == _ON_PAGE:
            return self.data[place + 1 : stop]
        if kind != _OFF_PAGE or place % self.size + 12 > self.size:
            raise self.corrupt(page, f"has a value of type {kind}")
        chain, length = struct.unpack_from(f"{self.order}II", self.data, place + 4)
        if length > most:
            raise self.corrupt(page, f"has a value of {length:,} bytes")
        parts: list[bytes] = []
        left = length
        while left > 0:
            if not 0 < chain < self.pages:
                raise self.corrupt(page, f"has a value that goes on in page {chain:,}")
            header = self._header(chain)
            used = header.used
            if header.kind != _CHAINED or not 0 < used <= min(left, self.size - _PAGE_HEADER_BYTES):
                raise self.corrupt(chain, "is not what a value goes on in")
            start = chain * self.size + _PAGE_HEADER_BYTES
            parts.append(self.data[start : start + used])
            left -= used
            chain = header.following
        return b"".join(parts)

    def corrupt(self, page: int, problem: str) -> CorruptError:
        """Return the error that names a page."""
        return CorruptError(f"page {page:,} {problem}", origin=self.origin, offset=page * self.size)

    def _header(self, page: int) -> _Page:
        fields = struct.unpack_from(f"{self.order}IHHxB", self.data, page * self.size + 16)
        return _Page(*fields)
