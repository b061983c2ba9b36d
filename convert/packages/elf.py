"""The little of an ELF file that ldconfig(8) looks at: elf(5), System V ABI, "Dynamic Linking"."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from formats.core.source import ByteSource

_MAGIC = b"\x7fELF"
_ET_DYN = 3
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NULL, _DT_STRTAB, _DT_SONAME = 0, 5, 14
_HEADERS_MAX = 256
_DYNAMIC_MAX_BYTES = 1 << 20
_NAME_MAX_BYTES = 255


@dataclass(frozen=True, slots=True)
class SharedObject:
    """A shared library.

    :ivar machine: ``e_machine``; :ivar flags: ``e_flags``.
    :ivar soname: None where it has none.
    """

    machine: int
    bits: int
    is_little: bool
    flags: int
    soname: bytes | None


def shared_object(source: ByteSource) -> SharedObject | None:
    """Return what a file says of itself if it is a shared library, and None if it is not.

    What contradicts itself in it is no library: nothing is raised for it.
    """
    head = bytes(source.read_at(0, 64))
    if len(head) < 52 or head[:4] != _MAGIC or head[4] not in {1, 2} or head[5] not in {1, 2}:
        return None
    bits, is_little = head[4] * 32, head[5] == 1
    order = "<" if is_little else ">"
    kind, machine = struct.unpack_from(order + "HH", head, 16)
    if kind != _ET_DYN or (bits == 64 and len(head) < 64):
        return None
    if bits == 64:
        table, flags, size, count = (
            *struct.unpack_from(order + "Q", head, 32),
            *struct.unpack_from(order + "I", head, 48),
            *struct.unpack_from(order + "HH", head, 54),
        )
    else:
        table, flags, size, count = (
            *struct.unpack_from(order + "I", head, 28),
            *struct.unpack_from(order + "I", head, 36),
            *struct.unpack_from(order + "HH", head, 42),
        )
    file = _File(source, order, bits)
    segments = file.segments(int(table), int(size), int(count))
    dynamic = next((item for item in segments if item[0] == _PT_DYNAMIC), None)
    if dynamic is None:
        return None
    soname = file.soname(segments, dynamic)
    return SharedObject(int(machine), bits, is_little, int(flags), soname)


@dataclass(frozen=True, slots=True)
class _File:
    source: ByteSource
    order: str
    bits: int

    def segments(self, table: int, size: int, count: int) -> list[tuple[int, int, int, int]]:
        """Return kind, offset, address and size in the file of each program header."""
        form, where = ("IIQQQQQQ", (0, 2, 3, 5)) if self.bits == 64 else ("IIIIIIII", (0, 1, 2, 4))
        length = struct.calcsize(self.order + form)
        if size < length or count > _HEADERS_MAX:
            return []
        data = bytes(self.source.read_at(table, size * count))
        found = []
        for start in range(0, len(data) - length + 1, size):
            fields = struct.unpack_from(self.order + form, data, start)
            kind, offset, address, in_file = (int(fields[index]) for index in where)
            found.append((kind, offset, address, in_file))
        return found

    def soname(
        self, segments: list[tuple[int, int, int, int]], dynamic: tuple[int, int, int, int]
    ) -> bytes | None:
        """Return the name that the dynamic section gives."""
        form = self.order + ("QQ" if self.bits == 64 else "II")
        data = bytes(self.source.read_at(dynamic[1], min(dynamic[3], _DYNAMIC_MAX_BYTES)))
        values: dict[int, int] = {}
        for tag, value in struct.iter_unpack(form, data[: len(data) - len(data) % _size(form)]):
            if tag == _DT_NULL:
                break
            values[int(tag)] = int(value)
        if _DT_SONAME not in values or _DT_STRTAB not in values:
            return None
        address = values[_DT_STRTAB]
        for kind, offset, start, in_file in segments:
            if kind == _PT_LOAD and start <= address < start + in_file:
                place = offset + address - start + values[_DT_SONAME]
                name = bytes(self.source.read_at(place, _NAME_MAX_BYTES + 1))
                text, end, _ = name.partition(b"\0")
                return text if end and text and b"/" not in text else None
        return None


def _size(form: str) -> int:
    return struct.calcsize(form)
