"""For which processor a tree is made, read from the ELF headers of its own programs.

ELF: System V ABI, chapter 4 (https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html);
``.ARM.attributes``: Addenda to the ABI for the Arm Architecture (Addenda32), "Build attributes".
The names are those of the OCI image specification, which takes them from Go's GOARCH.

Never read from the machine that runs the conversion.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from convert.inspect.evidence import Evidence
from convert.inspect.facts import Architecture
from convert.inspect.guest import Guest
from formats.core.entry import Entry, Kind
from formats.core.limits import MIB
from formats.core.package import Package

_CANDIDATES: tuple[bytes, ...] = (
    b"sbin/init",
    b"lib/systemd/systemd",
    b"bin/sh",
    b"bin/busybox",
    b"bin/bash",
    b"lib/ld-linux*.so.*",
    b"lib64/ld*.so.*",
    b"lib/ld-musl-*.so.*",
    b"lib/*/libc.so.6",
    b"lib64/libc.so.6",
    b"lib/libc.so*",
    b"usr/bin/env",
)

_ELF_MAGIC = b"\x7fELF"
_HEADER_BYTES = 64
_PROGRAM_MAX_BYTES = 64 * MIB
_FILES_MAX = 1000
_TOLD_MAX = 12
_SECTIONS_MAX = 1024
_ATTRIBUTES_MAX_BYTES = 4096
_SHT_ARM_ATTRIBUTES = 0x70000003
_EM_ARM = 40
_EF_ARM_ABI_FLOAT_HARD = 0x400

_BIG, _LITTLE = ">", "<"

_MACHINES: dict[tuple[int, int, str], tuple[str, str | None]] = {
    # (e_machine, bits, byte order): GOARCH and variant
    (3, 32, _LITTLE): ("386", None),
    (62, 64, _LITTLE): ("amd64", None),
    (62, 32, _LITTLE): ("amd64", None),  # x32: an amd64 kernel runs it, a 386 one does not
    (183, 64, _LITTLE): ("arm64", "v8"),
    (21, 64, _LITTLE): ("ppc64le", None),
    (21, 64, _BIG): ("ppc64", None),
    (22, 64, _BIG): ("s390x", None),
    (243, 64, _LITTLE): ("riscv64", None),
    (258, 64, _LITTLE): ("loong64", None),
    (8, 64, _LITTLE): ("mips64le", None),
    (8, 64, _BIG): ("mips64", None),
    (8, 32, _LITTLE): ("mipsle", None),
    (8, 32, _BIG): ("mips", None),
}

_ARM_VARIANTS: dict[int, str] = {
    # Tag_CPU_arch: 1 v4, 2 v4T, 3-5 v5, 6-9 v6, 10 v7, 11-13 are v6-M and v7E-M, 14 v8
    1: "v5",
    2: "v5",
    3: "v5",
    4: "v5",
    5: "v5",
    6: "v6",
    7: "v6",
    8: "v6",
    9: "v6",
    10: "v7",
    13: "v7",
    14: "v7",
}


_PACKAGE_ARCHITECTURES: dict[str, tuple[str, str | None]] = {
    # Names of Debian (dpkg-architecture(1)) and of RPM (rpm --showrc, "compatible archs")
    "amd64": ("amd64", None),
    "i386": ("386", None),
    "arm64": ("arm64", "v8"),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v5"),
    "ppc64el": ("ppc64le", None),
    "s390x": ("s390x", None),
    "riscv64": ("riscv64", None),
    "mips64el": ("mips64le", None),
    "mipsel": ("mipsle", None),
    "mips": ("mips", None),
    "ppc64": ("ppc64", None),
    "loong64": ("loong64", None),
    "x86_64": ("amd64", None),
    "i486": ("386", None),
    "i586": ("386", None),
    "i686": ("386", None),
    "aarch64": ("arm64", "v8"),
    "armv5tel": ("arm", "v5"),
    "armv6hl": ("arm", "v6"),
    "armv7hl": ("arm", "v7"),
    "armv7hnl": ("arm", "v7"),
    "ppc64le": ("ppc64le", None),
    "loongarch64": ("loong64", None),
}
"""``x86_64_v2`` and the like are found without their ending."""


@dataclass(frozen=True, slots=True)
class _Elf:
    machine: int
    bits: int
    order: str
    flags: int


def architecture(guest: Guest) -> Architecture:
    """Return the architecture of the first program that is ELF; scripts and links are skipped."""
    return _of_first(guest, _programs(guest), "no init, shell or C library in the tree")


def architecture_of_programs(guest: Guest, entries: Iterable[Entry]) -> Architecture:
    """Return the architecture of the first of these files that is ELF."""
    files = (
        entry
        for entry in entries
        if entry.kind in {Kind.FILE, Kind.HARDLINK} and entry.size >= _HEADER_BYTES
    )
    return _of_first(guest, islice(files, _FILES_MAX), "no program in it")


def architecture_of_packages(packages: Iterable[Package]) -> Architecture:
    """Return the architecture that packages state; those for any do not count."""
    for package in packages:
        stated = architecture_named(package.architecture, f"the package {package}")
        if stated is not None:
            return stated
    return Architecture(None, reason="its packages are for any processor")


def architecture_named(name: str, where: str) -> Architecture | None:
    """Return the architecture that a distribution calls so; None for ``all`` and unknown names."""
    known = _PACKAGE_ARCHITECTURES.get(re.sub(r"_v[234]$", "", name))
    return Architecture(*known, Evidence(b"", None, where)) if known is not None else None


def _of_first(guest: Guest, entries: Iterable[Entry], otherwise: str) -> Architecture:
    looked: list[str] = []
    for entry in entries:
        elf = _header(guest.index.head(entry, _HEADER_BYTES))
        if elf is None:
            if len(looked) < _TOLD_MAX:
                looked.append("/" + entry.path.decode("utf-8", "backslashreplace"))
            continue
        evidence = Evidence(entry.path, None, "elf-header")
        if elf.machine == _EM_ARM and elf.order == _LITTLE:
            return Architecture("arm", _arm_variant(guest, entry, elf), evidence)
        known = _MACHINES.get((elf.machine, elf.bits, elf.order))
        if known is None:
            reason = f"its programs are for ELF machine {elf.machine}, {elf.bits} bits"
            return Architecture(None, None, evidence, reason)
        return Architecture(*known, evidence)
    if looked:
        return Architecture(None, reason=f"no ELF file among {', '.join(looked)}")
    return Architecture(None, reason=otherwise)


def _programs(guest: Guest) -> Iterator[Entry]:
    seen: set[bytes] = set()
    for pattern in _CANDIDATES:
        for found in guest.glob(pattern):
            entry = guest.index.resolve(found.path)
            if entry is None or entry.kind not in {Kind.FILE, Kind.HARDLINK}:
                continue
            if entry.path not in seen:
                seen.add(entry.path)
                yield entry


def _header(head: bytes) -> _Elf | None:
    if len(head) < 52 or head[:4] != _ELF_MAGIC or head[4] not in {1, 2} or head[5] not in {1, 2}:
        return None
    bits = 32 if head[4] == 1 else 64
    order = _LITTLE if head[5] == 1 else _BIG
    machine = int(struct.unpack_from(order + "H", head, 18)[0])
    flags = int(struct.unpack_from(order + "I", head, 36 if bits == 32 else 48)[0])
    return _Elf(machine, bits, order, flags)


def _arm_variant(guest: Guest, entry: Entry, elf: _Elf) -> str:
    """Return v5, v6 or v7, from ``.ARM.attributes`` or else from the float ABI.

    Debian's armhf and Raspbian differ by nothing but the attribute.
    """
    data = b"".join(guest.index.tree.read(entry)) if entry.size <= _PROGRAM_MAX_BYTES else b""
    attributes = _arm_attributes(data)
    level = _cpu_arch(attributes) if attributes else None
    if level in _ARM_VARIANTS:
        return _ARM_VARIANTS[level]
    return "v7" if elf.flags & _EF_ARM_ABI_FLOAT_HARD else "v5"


def _arm_attributes(data: bytes) -> bytes | None:
    """Return the content of the section of type SHT_ARM_ATTRIBUTES (32-bit little endian ELF)."""
    if len(data) < 52:
        return None
    table, entry_bytes, count = (
        int(struct.unpack_from("<I", data, 32)[0]),
        int(struct.unpack_from("<H", data, 46)[0]),
        int(struct.unpack_from("<H", data, 48)[0]),
    )
    if entry_bytes < 40 or count > _SECTIONS_MAX:
        return None
    for number in range(count):
        start = table + number * entry_bytes
        if start + 40 > len(data):
            return None
        kind, offset, size = map(int, struct.unpack_from("<4xI8xII", data, start))
        if kind == _SHT_ARM_ATTRIBUTES and size <= _ATTRIBUTES_MAX_BYTES:
            return data[offset : offset + size]
    return None


_TAG_FILE = 1
_TAG_CPU_RAW_NAME, _TAG_CPU_NAME, _TAG_CPU_ARCH, _TAG_COMPATIBILITY = 4, 5, 6, 32


def _cpu_arch(section: bytes) -> int | None:
    """Return Tag_CPU_arch of the ``aeabi`` subsection's file attributes."""
    if section[:1] != b"A" or not section[5:].startswith(b"aeabi\0"):
        return None
    position = 11
    if section[position : position + 1] != bytes([_TAG_FILE]):
        return None
    position += 5  # the tag and its 32-bit length
    while position < len(section):
        tag, position = _uleb128(section, position)
        if tag in {_TAG_CPU_RAW_NAME, _TAG_CPU_NAME} or (tag > _TAG_COMPATIBILITY and tag % 2):
            end = section.find(b"\0", position)
            if end < 0:
                return None
            position = end + 1
            continue
        value, position = _uleb128(section, position)
        if tag == _TAG_CPU_ARCH:
            return value
        if tag == _TAG_COMPATIBILITY:
            return None
    return None


def _uleb128(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 35, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            break
    return value, position
