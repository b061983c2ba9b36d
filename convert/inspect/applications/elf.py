"""What an ELF program says of how it was made: elf(5), System V ABI chapters 4 and 5.

Go: "Package buildinfo" (https://pkg.go.dev/debug/buildinfo) for what a section ``.go.buildinfo``
holds since Go 1.18: 32 bytes, and then two strings with their lengths before them. Rust's compiler
names itself in ``.comment``, where C's does.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from formats.core.limits import KIB
from formats.core.source import ByteSource

_MAGIC = b"\x7fELF"
_PT_INTERP = 3
_TYPES = frozenset({2, 3})
"""ET_EXEC, and ET_DYN of programs that can be anywhere."""
_SECTIONS_MAX = 4096
_HEADERS_MAX = 256
_NAMES_MAX = 256 * KIB
_INFO_MAX = 256 * KIB
_GO_MAGIC = b"\xff Go buildinf:"
_GO_INLINE = 0x02
_GO_SENTINEL_BYTES = 16
_RUST = re.compile(rb"rustc version (\d+\.\d+\.\d+)")


@dataclass(frozen=True, slots=True)
class ElfProgram:
    """A program.

    :ivar is_static: it needs no loader, and so no library of the system.
    :ivar made_with: ``go1.21.4``, ``rustc 1.75.0``; None where it does not say.
    :ivar name: of Go's main package; :ivar version: of its module.
    """

    is_static: bool
    made_with: str | None = None
    name: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class _File:
    source: ByteSource
    order: str
    is_64: bool
    head: bytes

    def field(self, form: str, wide: int, narrow: int) -> int:
        """Return a field of the header; ``P`` is an address in the file's own width."""
        letter = form.replace("P", "Q" if self.is_64 else "I")
        return int(
            struct.unpack_from(self.order + letter, self.head, wide if self.is_64 else narrow)[0]
        )

    def table(self, form: str, start: int, size: int, count: int) -> list[tuple[int, ...]]:
        """Return the rows of a table, those that are whole."""
        length = struct.calcsize(self.order + form)
        if size < length:
            return []
        data = bytes(self.source.read_at(start, size * count))
        last = len(data) - length + 1
        return [struct.unpack_from(self.order + form, data, at) for at in range(0, last, size)]


def elf_program(source: ByteSource) -> ElfProgram | None:
    """Return what a file says of itself if it is a program; None if it is none.

    What contradicts itself in it is passed over: nothing is raised for it.

    :raises formats.core.errors.CorruptError: if the file cannot be read where it lies.
    """
    head = bytes(source.read_at(0, 64))
    if len(head) < 64 or head[:4] != _MAGIC or head[4] not in {1, 2} or head[5] not in {1, 2}:
        return None
    file = _File(source, "<" if head[5] == 1 else ">", head[4] == 2, head)
    if file.field("H", 16, 16) not in _TYPES:
        return None
    count = min(file.field("H", 56, 44), _HEADERS_MAX)
    headers = file.table("I", file.field("P", 32, 28), file.field("H", 54, 42), count)
    is_static = not any(kind == _PT_INTERP for (kind,) in headers)
    sections = _sections(file)
    go = _go(_content(file, sections.get(b".go.buildinfo")))
    if go is not None:
        return ElfProgram(is_static, *go)
    rust = _RUST.search(_content(file, sections.get(b".comment")))
    return ElfProgram(is_static, f"rustc {rust[1].decode()}" if rust is not None else None)


def _sections(file: _File) -> dict[bytes, tuple[int, int]]:
    """Return place and size of the sections by name."""
    count = min(file.field("H", 60, 48), _SECTIONS_MAX)
    form = "II8x8xQQ" if file.is_64 else "II4x4xII"
    rows = file.table(form, file.field("P", 40, 32), file.field("H", 58, 46), count)
    names_at = file.field("H", 62, 50)
    if names_at >= len(rows):
        return {}
    _, _, place, size = rows[names_at]
    names = bytes(file.source.read_at(place, min(size, _NAMES_MAX)))
    found: dict[bytes, tuple[int, int]] = {}
    for name, _, start, length in rows:
        found.setdefault(names[name : names.find(b"\0", name)], (start, length))
    return found


def _content(file: _File, section: tuple[int, int] | None) -> bytes:
    if section is None:
        return b""
    return bytes(file.source.read_at(section[0], min(section[1], _INFO_MAX)))


def _go(data: bytes) -> tuple[str, str | None, str | None] | None:
    """Return Go's version, and name and version of the module; None where it is no Go."""
    if not data.startswith(_GO_MAGIC) or len(data) < 32:
        return None
    if not data[15] & _GO_INLINE:
        return "go before 1.18", None, None
    version, position = _string(data, 32)
    information, _ = _string(data, position)
    text = information[_GO_SENTINEL_BYTES:-_GO_SENTINEL_BYTES].decode("utf-8", "replace")
    fields = {line.partition("\t")[0]: line.split("\t")[1:] for line in reversed(text.split("\n"))}
    path = (fields.get("path") or [""])[0]
    module = fields.get("mod") or []
    made_with = re.match(rb"(?:go|devel )[\w.+-]+", version)
    stated = module[1] if len(module) > 1 and module[1] != "(devel)" else None
    return (made_with[0].decode() if made_with else "go"), path or None, stated or None


def _string(data: bytes, position: int) -> tuple[bytes, int]:
    """Return a string with its length, a varint, before it; and the position behind it."""
    length = 0
    for shift in range(0, 63, 7):
        if position >= len(data):
            return b"", position
        byte = data[position]
        position += 1
        length |= (byte & 0x7F) << shift
        if not byte & 0x80:
            break
    return data[position : position + length], position + length
