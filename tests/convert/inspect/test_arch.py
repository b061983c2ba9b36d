"""Architectures: readelf says what each made-up program is for."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert.inspect.arch import architecture
from convert.inspect.facts import Architecture
from convert.inspect.guest import Guest
from formats.core.entry import Entry, Kind
from formats.core.tree import TreeIndex
from tests.support.memory_tree import MemoryTree
from tests.support.programs import need, run

SHT_STRTAB, SHT_ARM_ATTRIBUTES = 3, 0x70000003


@dataclass(frozen=True, slots=True)
class Case:
    """ELF header fields, the words of readelf, and our names."""

    machine: int
    bits: int
    order: str
    readelf: str
    name: str | None
    variant: str | None = None
    flags: int = 0


CASES = [
    Case(3, 32, "<", "Intel 80386", "386"),
    Case(62, 64, "<", "Advanced Micro Devices X86-64", "amd64"),
    Case(62, 32, "<", "Advanced Micro Devices X86-64", "amd64"),
    Case(183, 64, "<", "AArch64", "arm64", "v8"),
    Case(21, 64, "<", "PowerPC64", "ppc64le"),
    Case(21, 64, ">", "PowerPC64", "ppc64"),
    Case(22, 64, ">", "IBM S/390", "s390x"),
    Case(243, 64, "<", "RISC-V", "riscv64"),
    Case(258, 64, "<", "LoongArch", "loong64"),
    Case(8, 64, "<", "MIPS R3000", "mips64le"),
    Case(8, 32, ">", "MIPS R3000", "mips"),
    Case(40, 32, "<", "ARM", "arm", "v5", 0x05000200),
    Case(40, 32, "<", "ARM", "arm", "v7", 0x05000400),
    Case(40, 32, ">", "ARM", None),
    Case(2, 32, ">", "Sparc", None),
    Case(22, 32, ">", "IBM S/390", None),
]


def elf(case: Case, attributes: bytes = b"") -> bytes:
    """Return an executable that is a header and, with attributes, two sections."""
    wide = case.bits == 64
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if case.order == "<" else 2, 1]) + bytes(9)
    header_bytes, section_bytes = (64, 64) if wide else (52, 40)
    names = b"\0.ARM.attributes\0.shstrtab\0"
    body = attributes + names
    sections = 3 if attributes else 0
    table = header_bytes + len(body) if sections else 0
    address = "Q" if wide else "I"
    header = ident + struct.pack(
        case.order + "HHI" + address * 3 + "IHHHHHH",
        *(2, case.machine, 1, 0, 0, table, case.flags),
        *(header_bytes, 0, 0, section_bytes if sections else 0, sections, 2 if sections else 0),
    )
    if not sections:
        return header
    start = header_bytes
    packed = b"".join(
        struct.pack(case.order + "10I", *fields)
        for fields in (
            (0,) * 10,
            (1, SHT_ARM_ATTRIBUTES, 0, 0, start, len(attributes), 0, 0, 1, 0),
            (17, SHT_STRTAB, 0, 0, start + len(attributes), len(names), 0, 0, 1, 0),
        )
    )
    return header + body + packed


def arm_attributes(cpu_arch: int, name: bytes = b"7-A\0") -> bytes:
    """Return the section's content: format "A", vendor aeabi, the attributes of the file."""
    tags = b"\x05" + name + b"\x06" + bytes([cpu_arch]) + b"\x08\x01"
    file = b"\x01" + struct.pack("<I", len(tags) + 5) + tags
    vendor = b"aeabi\0" + file
    return b"A" + struct.pack("<I", len(vendor) + 4) + vendor


def found_in(files: dict[bytes, bytes], links: dict[bytes, bytes] | None = None) -> Architecture:
    folders = {b"sbin", b"bin", b"usr", b"usr/bin", b"lib", b"usr/lib"} - set(links or {})
    entries = [Entry(path, Kind.FOLDER, 0o755) for path in folders]
    entries += [Entry(path, Kind.FILE, 0o755, size=len(data)) for path, data in files.items()]
    entries += [
        Entry(path, Kind.SYMLINK, 0o777, target=target) for path, target in (links or {}).items()
    ]
    tree = MemoryTree(sorted(entries, key=lambda entry: entry.path.split(b"/")), files)
    return architecture(Guest(TreeIndex(tree)))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.readelf}-{case.bits}{case.order}")
def test_names_the_machine_that_readelf_names(case: Case, tmp_path: Path) -> None:
    need("readelf")
    data = elf(case)
    (tmp_path / "elf").write_bytes(data)
    header = run("readelf", "-h", tmp_path / "elf").stdout.decode()
    machine = re.search(r"Machine: +(.+)", header)
    assert machine is not None
    assert machine[1] == case.readelf

    found = found_in({b"sbin/init": data})

    assert (found.name, found.variant) == (case.name, case.variant)
    assert str(found.evidence) == "/sbin/init (elf-header)"


ARM = Case(40, 32, "<", "ARM", "arm", flags=0x05000400)


@pytest.mark.parametrize(
    ("cpu_arch", "readelf", "variant"),
    [
        (1, "v4", "v5"),
        (2, "v4T", "v5"),
        (4, "v5TE", "v5"),
        (5, "v5TEJ", "v5"),
        (6, "v6", "v6"),
        (8, "v6T2", "v6"),
        (9, "v6K", "v6"),
        (10, "v7", "v7"),
        (14, "v8", "v7"),
    ],
)
def test_tells_arm_variants_by_the_attributes_that_readelf_shows(
    cpu_arch: int, readelf: str, variant: str, tmp_path: Path
) -> None:
    need("readelf")
    data = elf(ARM, arm_attributes(cpu_arch))
    (tmp_path / "elf").write_bytes(data)
    shown = run("readelf", "-A", tmp_path / "elf").stdout.decode()
    assert re.search(rf"Tag_CPU_arch: {re.escape(readelf)}$", shown, re.MULTILINE)

    assert found_in({b"bin/sh": data}).variant == variant


def test_scripts_are_passed_over_and_links_followed() -> None:
    program = elf(CASES[1])
    found = found_in(
        {b"sbin/init": b"#!/bin/sh\n" + b"x" * 100, b"usr/bin/dash": program},
        {b"bin/sh": b"/usr/bin/dash"},
    )

    assert found.name == "amd64"
    assert str(found.evidence) == "/usr/bin/dash (elf-header)"


def test_merged_usr_is_followed() -> None:
    found = found_in({b"usr/bin/sh": elf(CASES[3])}, {b"bin": b"usr/bin"})

    assert found.name == "arm64"


def test_says_what_was_looked_at_where_nothing_tells() -> None:
    assert found_in({}).reason == "no init, shell or C library in the tree"
    assert found_in({b"sbin/init": b"#!/bin/sh\n"}).reason == "no ELF file among /sbin/init"
    assert found_in({b"sbin/init": elf(CASES[-2])}).reason == (
        "its programs are for ELF machine 2, 32 bits"
    )


@given(st.binary(max_size=200), st.integers(0, 120))
def test_damaged_programs_are_no_error(noise: bytes, position: int) -> None:
    data = elf(ARM, arm_attributes(10))
    damaged = data[:position] + noise + data[position + len(noise) :]
    found = found_in({b"sbin/init": damaged})

    assert found.name is not None or found.reason


def test_the_programs_of_this_machine_are_read_as_readelf_reads_them() -> None:
    need("readelf")
    shell = Path("/bin/sh").resolve()
    shown = run("readelf", "-h", shell).stdout.decode()

    found = found_in({b"bin/sh": shell.read_bytes()[:4096]})

    expected = {case.name for case in CASES if f"{case.readelf}\n" in shown}
    assert found.name in expected
