"""``/etc/ld.so.cache``, by which ld.so(8) finds libraries: written as ldconfig(8) would.

The form is the one of glibc 2.2 and later ("glibc-ld.so.cache1.1"), which all of them read: a
header of 48 bytes, 24 for each library, and the names, each ended by a zero byte. Numbers have the
byte order of the processor.

Not written: the extension for ``glibc-hwcaps`` (variants for newer processors): the plain variant
of a library is found, which is right and may be slower.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from convert.packages.elf import SharedObject, shared_object
from convert.packages.world import Stored, World
from formats.core.entry import Kind, join
from formats.core.source import ByteSource, MemorySource
from formats.core.tree import OpenableTree

CACHE = b"etc/ld.so.cache"
_CONFIGURATION = b"etc/ld.so.conf"
_USUAL_CONFIGURATION = b"include /etc/ld.so.conf.d/*.conf\n"
_MAGIC = b"glibc-ld.so.cache1.1"
_LITTLE_ENDIAN, _BIG_ENDIAN = 2, 3
_HEADER_BYTES, _ENTRY_BYTES = 48, 24
_ELF_LIBC6 = 3
_INCLUDES_MAX = 8
_LIBRARIES_MAX = 100_000
_WHOLE_MAX_BYTES = 64 << 20
"""A library of a tree that cannot be read at any place is read whole up to this size."""

_MULTIARCH_FOLDERS = (b"lib", b"usr/lib")
_TRUSTED = (b"lib", b"usr/lib", b"lib64", b"usr/lib64")

_EM_386, _EM_PPC64, _EM_S390, _EM_ARM, _EM_X86_64, _EM_AARCH64, _EM_RISCV = (
    *(3, 21, 22, 40, 62),
    *(183, 243),
)
_ABI: dict[tuple[int, int], int] = {
    (_EM_386, 32): 0,
    (_EM_X86_64, 64): 0x0300,
    (_EM_X86_64, 32): 0x0800,
    (_EM_S390, 64): 0x0400,
    (_EM_PPC64, 64): 0x0500,
    (_EM_AARCH64, 64): 0x0A00,
}
"""What stands for the processor in an entry's flags, by ELF machine and word size."""
_ARM_HARD_FLOAT, _ARM_SOFT_FLOAT = 0x0900, 0x0B00
_ARM_ABI_HARD = 0x400
_RISCV_ABIS = {0: 0x0F00, 4: 0x1000}
"""By ``EF_RISCV_FLOAT_ABI``: soft and double."""
_RISCV_FLOAT_ABI = 6

_NAME = re.compile(rb"(?:lib.*|ld-.*)\.so(?:\..*)?|ld.*\.so(?:\..*)?", re.DOTALL)
_DIGITS = re.compile(rb"([0-9]+)")


@dataclass(frozen=True, slots=True)
class Library:
    """An entry of the cache.

    :ivar name: what programs ask for: ``libc.so.6``.
    :ivar path: absolute.
    :ivar flags: kind and processor.
    """

    name: bytes
    path: bytes
    flags: int


@dataclass(frozen=True, slots=True)
class Found:
    """What looking for libraries came to.

    :ivar links: symlinks that ldconfig(8) would make: path of each, and what it leads to.
    """

    libraries: tuple[Library, ...]
    links: tuple[tuple[bytes, bytes], ...]
    is_little: bool


def has_glibc(world: World) -> bool:
    """Tell whether there is a program interpreter that reads the cache."""
    names = [child.entry.name for top in _TRUSTED for child in world.children(top)]
    for top in _MULTIARCH_FOLDERS:
        for child in world.children(top):
            if child.entry.kind is Kind.FOLDER and b"-linux-gnu" in child.entry.name:
                names += [inner.entry.name for inner in world.children(child.entry.path)]
    return any(re.match(rb"ld(64)?-linux.*\.so\.|ld64?\.so\.[12]$", name) for name in names)


def library_folders(world: World) -> list[bytes]:
    """Return the folders of ``/etc/ld.so.conf`` and the trusted ones, each once, without ``/``."""
    is_multiarch = any(b"-linux-gnu" in child.entry.name for child in world.children(b"usr/lib"))
    trusted = _MULTIARCH_FOLDERS if is_multiarch else _TRUSTED
    found = [*_configured(world, _CONFIGURATION, 0), *trusted]
    by_place: dict[bytes, bytes] = {}
    for folder in found:
        real = world.real(folder)
        item = None if real is None else world.get(real)
        if item is not None and item.entry.kind is Kind.FOLDER:
            by_place.setdefault(item.entry.path, folder)
    return list(by_place.values())


def _configured(world: World, path: bytes, depth: int) -> Iterator[bytes]:
    content = world.content(path)
    if content is None:  # what the distributions' own file says; it is in another package
        content = _USUAL_CONFIGURATION
    for line in content.split(b"\n"):
        words = line.partition(b"#")[0].split()
        if words[:1] == [b"include"] and depth < _INCLUDES_MAX:
            for pattern in words[1:]:
                base = b"" if pattern.startswith(b"/") else path.rpartition(b"/")[0]
                for included in world.matching(join(base, pattern.strip(b"/"))):
                    yield from _configured(world, included, depth + 1)
        elif words and words[0].startswith(b"/"):
            yield words[0].partition(b"=")[0].strip(b"/")


def find_libraries(world: World) -> Found:
    """Look into all folders for libraries, as ldconfig(8) does."""
    libraries: list[Library] = []
    links: list[tuple[bytes, bytes]] = []
    orders: list[bool] = []
    for folder in library_folders(world):
        best: dict[tuple[bytes, int], bytes] = {}
        for child in world.children(folder):
            name = child.entry.name
            if not _NAME.fullmatch(name) or len(libraries) > _LIBRARIES_MAX:
                continue
            found = _object_at(world, child.entry.path)
            flags = None if found is None else _flags(found)
            if found is None or flags is None:
                continue
            orders.append(found.is_little)
            soname = found.soname or name
            is_link = child.entry.kind is Kind.SYMLINK
            if is_link and name.endswith(b".so") and soname.startswith(name):
                soname = name  # a link for the linker at build time: libc.so
            known = best.get((soname, flags))
            if (
                known is None
                or name == soname
                or (known != soname and _sort_key(name) > _sort_key(known))
            ):
                best[soname, flags] = name
        for (soname, flags), name in sorted(best.items()):
            place = join(folder, soname)
            if world.find(place, follow=False) is None:
                links.append((place, name))
            libraries.append(Library(soname, b"/" + place, flags))
    return Found(tuple(libraries), tuple(links), not orders or orders[0])


def _object_at(world: World, path: bytes) -> SharedObject | None:
    item = world.find(path)
    if item is None or item.entry.kind is not Kind.FILE or item.content is None:
        return None
    source = _source(item.content, item.entry.size, world)
    return None if source is None else shared_object(source)


def _source(content: Stored | bytes, size: int, world: World) -> ByteSource | None:
    if isinstance(content, bytes):
        return MemorySource(content, world.origin)
    tree, entry, _ = content
    if isinstance(tree, OpenableTree):
        return tree.open(entry)
    if size > _WHOLE_MAX_BYTES:
        return None
    return MemorySource(b"".join(tree.read(entry)), tree.origin)


def _flags(found: SharedObject) -> int | None:
    """Return the flags of an entry; None for a processor that is not known here."""
    if found.machine == _EM_ARM:
        is_hard = found.flags & _ARM_ABI_HARD
        return _ELF_LIBC6 | (_ARM_HARD_FLOAT if is_hard else _ARM_SOFT_FLOAT)
    if found.machine == _EM_RISCV:
        abi = _RISCV_ABIS.get(found.flags & _RISCV_FLOAT_ABI)
    else:
        abi = _ABI.get((found.machine, found.bits))
    return None if abi is None else _ELF_LIBC6 | abi


def _sort_key(name: bytes) -> list[tuple[int, int, bytes]]:
    """Return what sorts names as ld.so(8) looks them up: runs of digits count as numbers.

    A digit is above any other character, and the end below all.
    """
    key: list[tuple[int, int, bytes]] = []
    for part in _DIGITS.split(name):
        if part.isdigit():
            key.append((2, int(part), b""))
        else:
            key += [(1, byte, b"") for byte in part]
    return key


def write_cache(libraries: Iterable[Library], *, is_little: bool = True) -> bytes:
    """Return the file: the highest name first, equal ones in the order of their folders."""
    unique = dict.fromkeys(libraries)
    ordered = sorted(unique, key=lambda library: library.flags, reverse=True)
    ordered.sort(key=lambda library: _sort_key(library.name), reverse=True)
    order = "<" if is_little else ">"
    start = _HEADER_BYTES + _ENTRY_BYTES * len(ordered)
    offsets: dict[bytes, int] = {}
    strings = bytearray()
    entries = bytearray()
    for library in ordered:
        for text in (library.name, library.path):
            if text not in offsets:
                offsets[text] = start + len(strings)
                strings += text + b"\0"
        key, value = offsets[library.name], offsets[library.path]
        entries += struct.pack(order + "iIIIQ", library.flags, key, value, 0, 0)
    endian = _LITTLE_ENDIAN if is_little else _BIG_ENDIAN
    header = struct.pack(order + "20sIIB3xI12x", _MAGIC, len(ordered), len(strings), endian, 0)
    return header + bytes(entries) + bytes(strings)


def read_cache(data: bytes) -> list[Library] | None:
    """Return the libraries of a cache of this form; None of another one."""
    place = data.find(_MAGIC)
    if place < 0 or len(data) < place + _HEADER_BYTES:
        return None
    data = data[place:]
    order = ">" if data[28] == _BIG_ENDIAN else "<"
    count = int(struct.unpack_from(order + "I", data, 20)[0])
    if count > _LIBRARIES_MAX or _HEADER_BYTES + count * _ENTRY_BYTES > len(data):
        return None
    found: list[Library] = []
    for number in range(count):
        fields = struct.unpack_from(order + "iIIIQ", data, _HEADER_BYTES + number * _ENTRY_BYTES)
        flags, key, value, _, hwcap = map(int, fields)
        if hwcap:
            continue  # a variant for some processors
        name, path = (data[at : data.find(b"\0", at)] for at in (key, value))
        found.append(Library(name, path, flags))
    return found
