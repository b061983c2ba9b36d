"""Header structures: tags with typed values; a package has two of them.

Specification: rpm.org "Header Format" and "Immutable header regions"; LSB 4.1, 22.2.2.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from formats.core.errors import CorruptError, LimitError
from formats.core.limits import MIB
from formats.core.origin import Origin
from formats.core.source import ByteSource, read_exact
from formats.packages.rpm import tags

MAGIC = b"\x8e\xad\xe8\x01"
MAGIC_BYTES = 8
"""With four reserved bytes behind it."""
COUNTS = struct.Struct(">II")
INDEX_ENTRY = struct.Struct(">IIiI")

_MOST_ENTRIES = 65_535
_MOST_BYTES = 256 * MIB

_CHAR, _INT8, _INT16, _INT32, _INT64, STRING, BINARY, STRING_ARRAY, I18N_STRING = range(1, 10)
INT32 = _INT32
CHAR = _CHAR
_NUMBERS = {_CHAR: "B", _INT8: "B", _INT16: "H", _INT32: "I", _INT64: "Q"}
_NUMBER_BYTES = {_CHAR: 1, _INT8: 1, _INT16: 2, _INT32: 4, _INT64: 8}
VALUE_ALIGNMENT = {kind: size for kind, size in _NUMBER_BYTES.items() if size > 1}
"""What the values of some types are aligned to in the store."""
_LONG = frozenset({tags.LONGFILESIZES, tags.LONGSIZE, tags.SIG_LONGSIZE, tags.SIG_LONGARCHIVESIZE})
"""Tags whose numbers have 64 bits ("Tag Listing")."""
_STRINGS = frozenset({STRING, STRING_ARRAY, I18N_STRING})


class Slot(NamedTuple):
    """Where the value of a tag lies in the store, and what it is."""

    kind: int
    offset: int
    items: int


@dataclass(frozen=True, slots=True)
class Region:
    """The part of a header that was there when it was made.

    :ivar entries: of the index, the region's own included.
    :ivar stop: where its part of the store ends.
    """

    entries: int
    stop: int


class Header:
    """One header, its values decoded when they are asked for.

    Missing tags are no errors: they give empty values. Numbers are unsigned, as rpm has them.

    :param blob: counts, index and store, without magic: as databases hold it.
    :param origin: of the package.
    :param offset: where ``blob`` lies in it, for messages.
    :raises CorruptError: if the index makes no sense.
    :raises LimitError: if it is larger than any that rpm takes.
    :ivar origin: as given.
    :ivar store_start: where the values begin in ``blob``; there are ``store_bytes`` of them.
    :ivar slots: tag → its value's place, in the order of the index.
    """

    def __init__(self, blob: bytes, origin: Origin, offset: int = 0) -> None:
        self.blob = blob
        self.origin = origin
        self._offset = offset
        if len(blob) < COUNTS.size:
            raise self.corrupt("a header has no room for its counts", 0)
        entries, size = COUNTS.unpack_from(blob)
        check_counts(entries, size, origin, offset)
        self.store_start = COUNTS.size + entries * INDEX_ENTRY.size
        self.store_bytes = size
        if self.store_start + size != len(blob):
            raise self.corrupt(
                f"a header of {entries:,} tags and {size:,} bytes of values is {len(blob):,} bytes"
                " long",
                0,
            )
        self.slots: Mapping[int, Slot] = self._index()

    def _index(self) -> dict[int, Slot]:
        slots: dict[int, Slot] = {}
        index = memoryview(self.blob)[COUNTS.size : self.store_start]
        for number, (tag, kind, offset, count) in enumerate(INDEX_ENTRY.iter_unpack(index)):
            where = COUNTS.size + number * INDEX_ENTRY.size
            if not 0 <= offset <= self.store_bytes or not _CHAR <= kind <= I18N_STRING:
                raise self.corrupt(
                    f"the tag {tag} has type {kind} and its value at {offset}, of"
                    f" {self.store_bytes:,} bytes",
                    where,
                )
            if tag in slots:
                raise self.corrupt(f"the tag {tag} is there twice", where)
            slots[tag] = Slot(kind, offset, count)
        return slots

    @property
    def packed_bytes(self) -> int:
        """Bytes that it takes in a package, magic included."""
        return MAGIC_BYTES + len(self.blob)

    def __contains__(self, tag: int) -> bool:
        return tag in self.slots

    def numbers(self, tag: int) -> tuple[int, ...]:
        """Return the numbers of a tag, of 32 bits at the most but where the tag has longer ones.

        :raises CorruptError: if they are none, too long, or lie outside of the header.
        """
        slot = self.slots.get(tag)
        if slot is None:
            return ()
        code = _NUMBERS.get(slot.kind)
        if code is None:
            raise self._wrong_kind(tag, slot, "numbers")
        if slot.kind == _INT64 and tag not in _LONG:
            raise self._wrong_kind(tag, slot, "numbers of 32 bits")
        data = self._bytes(tag, slot, slot.items * _NUMBER_BYTES[slot.kind])
        return struct.unpack(f">{slot.items}{code}", data)

    def number(self, *tags: int) -> int | None:
        """Return the first number of the first of these tags that is there; None if none is."""
        for tag in tags:
            found = self.numbers(tag)
            if found:
                return found[0]
        return None

    def strings(self, tag: int) -> list[bytes]:
        """Return the strings of a tag; of translated ones, the untranslated is first.

        :raises CorruptError: if they are none, or have no end inside the header.
        """
        slot = self.slots.get(tag)
        if slot is None:
            return []
        if slot.kind not in _STRINGS:
            raise self._wrong_kind(tag, slot, "strings")
        count = 1 if slot.kind == STRING else slot.items
        if count > self.store_bytes - slot.offset:  # each has at least its NUL
            raise self._outside(tag, slot)
        start = self.store_start + slot.offset
        if count == 1:
            stop = self.blob.find(b"\0", start)
            if stop < 0:
                raise self._outside(tag, slot)
            return [self.blob[start:stop]]
        found = self.blob[start:].split(b"\0", count)
        if len(found) <= count:
            raise self._outside(tag, slot)
        return found[:count]

    def string(self, tag: int) -> bytes:
        """Return the first string of a tag, or nothing."""
        found = self.strings(tag)
        return found[0] if found else b""

    def text(self, tag: int) -> str:
        """Return the first string of a tag as text; "" without it."""
        return as_text(self.string(tag))

    def texts(self, tag: int) -> list[str]:
        """Return the strings of a tag as text."""
        return [as_text(value) for value in self.strings(tag)]

    def binary(self, tag: int) -> bytes:
        """Return the bytes of a tag, or none."""
        slot = self.slots.get(tag)
        if slot is None:
            return b""
        if slot.kind != BINARY:
            raise self._wrong_kind(tag, slot, "bytes")
        return self._bytes(tag, slot, slot.items)

    def raw(self, tag: int) -> bytes:
        """Return the value of a tag that is there as the store has it."""
        slot = self.slots[tag]
        if slot.kind in _STRINGS:
            return b"".join(value + b"\0" for value in self.strings(tag))
        return self._bytes(tag, slot, slot.items * _NUMBER_BYTES.get(slot.kind, 1))

    def region(self, tag: int) -> Region | None:
        """Return the immutable region; None in packages of rpm 3.

        :param tag: HEADERSIGNATURES or HEADERIMMUTABLE.
        :raises CorruptError: if it makes no sense.
        """
        if tag not in self.slots:
            return None
        slot = self.slots[tag]
        trailer = self.binary(tag)
        if next(iter(self.slots)) != tag or len(trailer) != INDEX_ENTRY.size:
            raise self.corrupt(f"the region {tag} is not first, or of the wrong size", slot.offset)
        _, _, back, _ = INDEX_ENTRY.unpack(trailer)
        entries, rest = divmod(-back, INDEX_ENTRY.size)
        if rest or not 0 < entries <= len(self.slots):
            raise self.corrupt(f"the region {tag} spans {-back} bytes of the index", slot.offset)
        return Region(entries, slot.offset + INDEX_ENTRY.size)

    def region_bytes(self, tag: int) -> bytes:
        """Return what digests and signatures of the header are of, magic included."""
        region = self.region(tag)
        if region is None:
            return MAGIC + bytes(4) + self.blob
        index_stop = COUNTS.size + region.entries * INDEX_ENTRY.size
        store_stop = self.store_start + region.stop
        counts = COUNTS.pack(region.entries, region.stop)
        index = self.blob[COUNTS.size : index_stop]
        return MAGIC + bytes(4) + counts + index + self.blob[self.store_start : store_stop]

    def corrupt(self, problem: str, offset: int | None = None) -> CorruptError:
        """Return the error that says where; ``offset`` counts from the start of ``blob``."""
        where = None if offset is None else self._offset + offset
        return CorruptError(problem, origin=self.origin, offset=where)

    def _bytes(self, tag: int, slot: Slot, length: int) -> bytes:
        if length > self.store_bytes - slot.offset:
            raise self._outside(tag, slot)
        start = self.store_start + slot.offset
        return self.blob[start : start + length]

    def _outside(self, tag: int, slot: Slot) -> CorruptError:
        return self.corrupt(
            f"the value of tag {tag} ({slot.items:,} at {slot.offset:,}) has its end outside of"
            f" the {self.store_bytes:,} bytes of the header",
            self.store_start + slot.offset,
        )

    def _wrong_kind(self, tag: int, slot: Slot, expected: str) -> CorruptError:
        where = self.store_start + slot.offset
        return self.corrupt(f"the tag {tag} has type {slot.kind}, which are no {expected}", where)


def as_text(value: bytes) -> str:
    """Return a string of a header as text; what is not UTF-8 is written out in hexadecimal."""
    return value.decode("utf-8", "backslashreplace")


def check_counts(entries: int, size: int, origin: Origin, offset: int) -> None:
    """Hold the size of a header to what rpm itself takes.

    :raises LimitError: if it is larger.
    """
    if entries > _MOST_ENTRIES or size > _MOST_BYTES:
        raise LimitError(
            f"has a header of {entries:,} tags and {size:,} bytes; rpm takes {_MOST_ENTRIES:,} and"
            f" {_MOST_BYTES:,}",
            origin=origin,
            offset=offset,
        )


def read_header(source: ByteSource, offset: int, what: str) -> tuple[Header, int]:
    """Return a header with its magic, and where it ends.

    :param what: for messages: "the signature header".
    :raises CorruptError: if there is none, or it is cut short.
    :raises LimitError: if it is too large.
    """
    head = bytes(read_exact(source, offset, MAGIC_BYTES + COUNTS.size, what))
    if not head.startswith(MAGIC):
        raise CorruptError(f"has no {what} where it must be", origin=source.origin, offset=offset)
    entries, size = COUNTS.unpack_from(head, MAGIC_BYTES)
    start = offset + MAGIC_BYTES
    check_counts(entries, size, source.origin, start)
    length = COUNTS.size + entries * INDEX_ENTRY.size + size
    blob = bytes(read_exact(source, start, length, what))
    return Header(blob, source.origin, start), start + length
