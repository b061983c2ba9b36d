from __future__ import annotations

import random
import re
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from formats.core.errors import AmbiguousError, ConvertError, CorruptError, LimitError
from formats.core.limits import DEFAULT_LIMITS
from formats.core.reader import Category, Role
from formats.core.registry import default_registry
from formats.volumes.partition import OUTLIVED_BY_TABLES
from formats.volumes.partition_types import MBR_EXTENDED, mbr_type
from tests.images.lvm import lvm_on
from tests.images.volumes import (
    MIB,
    blank,
    mark,
    opened,
    our_rows,
    patch,
    reader_name,
    sfdisk,
    sfdisk_rows,
)
from tests.support.programs import need, run

_SECTOR = 512
_SCRIPT = """\
label: dos
label-id: 0xcafe0001
size=1MiB, type=ef
size=1MiB, type=82
size=2MiB, type=83, bootable
type=5
size=512KiB, type=83
size=1MiB, type=8e
size=512KiB, type=fd
"""


def _disk(folder: Path, *, sector_bytes: int = _SECTOR) -> Path:
    size = 16 * MIB
    return sfdisk(folder / "disk.raw", size, _SCRIPT, sector_bytes=sector_bytes)


def test_primary_and_logical_partitions_are_those_that_sfdisk_lists(tmp_path: Path) -> None:
    disk = _disk(tmp_path)
    expected = sfdisk_rows(disk)
    mark(disk, expected)
    assert [row.number for row in expected] == [1, 2, 3, 5, 6, 7]
    assert our_rows(disk) == expected


def test_partitions_that_parted_made_are_those_that_sfdisk_lists(tmp_path: Path) -> None:
    need("parted")
    disk = blank(tmp_path / "disk.raw", 16 * MIB)
    steps = "mklabel msdos mkpart extended 1MiB 15MiB mkpart logical 2MiB 4MiB mkpart logical"
    run("parted", "--script", disk, *steps.split(), "5MiB", "14MiB")
    expected = sfdisk_rows(disk)
    mark(disk, expected)
    assert [row.number for row in expected] == [5, 6]
    assert our_rows(disk) == expected


def test_four_kib_sectors_are_told_by_where_filesystems_start(tmp_path: Path) -> None:
    disk = _disk(tmp_path, sector_bytes=4096)
    expected = sfdisk_rows(disk, sector_bytes=4096)
    mark(disk, expected)
    patch(disk, expected[2].offset + 1080, b"\x53\xef")
    ours = our_rows(disk)
    assert ours == expected
    with opened(disk) as artifact:
        assert artifact.nodes[0].facts["sector-bytes"] == "4096"


def test_four_kib_sectors_are_told_by_the_first_extended_boot_record(tmp_path: Path) -> None:
    disk = _disk(tmp_path, sector_bytes=4096)
    expected = sfdisk_rows(disk, sector_bytes=4096)
    mark(disk, expected)
    assert our_rows(disk) == expected


def test_roles_and_types_are_told(tmp_path: Path) -> None:
    with opened(_disk(tmp_path)) as artifact:
        node = artifact.nodes[0]
        roles = [child.volume.role for child in node.children]
        labels = [child.volume.label for child in node.children]
    assert roles[:3] == [Role.EFI, Role.SWAP, Role.DATA]
    assert labels == ["mbr:1", "mbr:2", "mbr:3", "mbr:5", "mbr:6", "mbr:7"]
    assert node.facts["disk-id"] == "cafe0001"
    assert node.facts["partitions"].endswith("6 Linux LVM, 7 Linux raid autodetect")


def test_every_type_that_sfdisk_knows_has_a_title_here() -> None:
    need("sfdisk")
    listed = run("sfdisk", "--label", "dos", "--list-types").stdout.decode()
    numbers = [int(word, 16) for word in re.findall(r"(?m)^ ?([0-9a-f]{1,2})  ", listed)]
    assert len(numbers) > 90
    known = [number for number in numbers if number not in MBR_EXTENDED | {0}]
    assert [number for number in known if mbr_type(number).title.startswith("type ")] == []


def test_a_truncated_disk_gives_the_partitions_that_are_whole(tmp_path: Path) -> None:
    disk = _disk(tmp_path)
    expected = sfdisk_rows(disk)
    with disk.open("r+b") as file:
        file.truncate(expected[4].offset + 100)
    with opened(disk) as artifact:
        problems = {child.volume.number: child.problem for child in artifact.nodes[0].children}
        rules = {finding.rule for finding in artifact.findings}
    assert [number for number, problem in problems.items() if problem is None] == [1, 2, 3, 5]
    assert isinstance(problems[6], CorruptError)
    assert rules == {"mbr-logical-chain"}


def test_a_filesystem_on_a_whole_disk_is_no_partition_table(tmp_path: Path) -> None:
    """Its boot sector ends in 55 AA too, and may hold boot code where the table would be."""
    for name, *command in (
        ("vfat", "mkfs.vfat"),
        ("ntfs", "mkfs.ntfs", "--force", "--quick", "--quiet"),
        ("exfat", "mkfs.exfat"),
    ):
        need(command[0])
        disk = blank(tmp_path / name, 8 * MIB)
        run(*command, disk)
        assert disk.read_bytes()[510:512] == b"\x55\xaa"
        assert reader_name(disk) == {"vfat": "fat"}.get(name, name)


def test_an_empty_table_is_a_disk_without_partitions(tmp_path: Path) -> None:
    disk = sfdisk(tmp_path / "disk.raw", 4 * MIB, "label: dos\n")
    with opened(disk) as artifact:
        node = artifact.nodes[0]
        assert node.reader is not None
        assert (node.reader.name, node.children) == ("mbr", [])
        assert node.facts["partitions"] == "none"


def test_a_filesystem_behind_an_empty_table_is_found(tmp_path: Path) -> None:
    disk = sfdisk(tmp_path / "disk.raw", 4 * MIB, "label: dos\n")
    sector = disk.read_bytes()[:512]
    run("mke2fs", "-q", "-t", "ext4", "-F", disk)
    patch(disk, 0, sector)
    assert reader_name(disk) == "ext"


@pytest.mark.parametrize(
    "command",
    [
        ("mke2fs", "-q", "-F", "-t", "ext4"),
        ("mkfs.btrfs", "--quiet", "--force"),
        ("mkfs.f2fs", "-q", "-f"),
        ("mkfs.jfs", "-q"),
        ("mkfs.reiserfs", "-q", "-f"),
        ("mkfs.minix",),
        ("mkswap", "-f"),
    ],
    ids=lambda command: command[0],
)
def test_a_table_is_newer_than_the_filesystem_it_lies_beside(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    need(command[0])
    disk = sfdisk(tmp_path / "disk.raw", 128 * MIB, "label: dos\nstart=100MiB, type=83\n")
    assert sfdisk_rows(disk)
    run(*command, disk)
    left = run("sfdisk", "--json", disk, check=False).stdout
    assert b'"start"' not in left, "mkfs clears the table, which is what the rule stands on"
    assert reader_name(disk) not in {"mbr", None}
    patch(disk, 446, _entry(0x83, 204_800, 2048).ljust(64, b"\0") + b"\x55\xaa")
    patch(disk, 100 * MIB + 1080, b"\x53\xef")
    assert reader_name(disk) == "mbr"


def test_a_table_without_anything_in_it_beside_a_filesystem_is_left_to_the_user(
    tmp_path: Path,
) -> None:
    """A copy of the disk's table in a partition's boot sector, or a disk just partitioned anew."""
    disk = blank(tmp_path / "disk.raw", 16 * MIB)
    run("mke2fs", "-q", "-F", "-t", "ext4", disk)
    patch(disk, 446, _entry(0x83, 2048, 2048).ljust(64, b"\0") + b"\x55\xaa")
    with opened(disk) as artifact:
        problem = artifact.nodes[0].problem
    assert isinstance(problem, AmbiguousError)
    assert problem.hint == "clear the one that is stale, on a copy: 'wipefs' lists both"
    patch(disk, 510, bytes(2))
    assert reader_name(disk) == "ext"


def test_a_label_of_lvm_beside_a_table_is_stale(tmp_path: Path) -> None:
    disk = blank(tmp_path / "disk.raw", 16 * MIB)
    with lvm_on(tmp_path, disk) as lvm:
        lvm("pvcreate", "-y", *lvm.devices)
    assert reader_name(disk) == "lvm"
    patch(disk, 446, _entry(0x83, 2048, 2048).ljust(64, b"\0") + b"\x55\xaa")
    patch(disk, MIB + 1080, b"\x53\xef")
    assert reader_name(disk) == "mbr"


def test_tables_outlive_every_filesystem() -> None:
    readers = list(default_registry())
    every = {reader.name for reader in readers if reader.category is Category.FILESYSTEM}
    assert every - {"iso9660"} <= OUTLIVED_BY_TABLES
    assert {reader.name for reader in readers} >= OUTLIVED_BY_TABLES


def _entry(kind: int, start: int, sectors: int) -> bytes:
    return struct.pack("<B3xB3xII", 0, kind, start, sectors)


def _record(*entries: bytes) -> bytes:
    return bytes(446) + b"".join(entries).ljust(64, b"\0") + b"\x55\xaa"


def _chain(path: Path, links: dict[int, bytes], sectors: int = 4096) -> Path:
    """Make a disk with an extended partition from sector 100 and these records."""
    blank(path, sectors * _SECTOR)
    patch(path, 0, _record(_entry(0x05, 100, sectors - 100)))
    for sector, record in links.items():
        patch(path, sector * _SECTOR, record)
    return path


@pytest.mark.parametrize(
    ("links", "evidence"),
    [
        ({100: _record(_entry(0x83, 1, 9), _entry(0x05, 100, 9))}, "broken at sector 200"),
        (
            {
                100: _record(_entry(0x83, 1, 9), _entry(0x05, 100, 9)),
                200: _record(_entry(0x83, 1, 9), _entry(0x05, 100, 9)),
            },
            "a loop at sector 200",
        ),
        ({}, "broken at sector 100"),
        (
            {100: _record(_entry(0x83, 1, 9), _entry(0x05, 0xFFFFFFFF, 9))},
            "broken at sector 4,294,967,395",
        ),
    ],
    ids=["no record", "loop", "no chain", "past the end"],
)
def test_a_bad_chain_is_cut_with_a_finding(
    tmp_path: Path, links: dict[int, bytes], evidence: str
) -> None:
    disk = _chain(tmp_path / "disk.raw", links)
    with opened(disk) as artifact:
        node = artifact.nodes[0]
        (finding,) = artifact.findings
    assert node.problem is None
    assert len(node.children) == len(links)
    assert finding.rule == "mbr-logical-chain"
    assert evidence in finding.evidence


def test_a_chain_longer_than_the_limit_is_refused(tmp_path: Path) -> None:
    links = {100 + number: _record(_entry(0x05, number + 1, 1)) for number in range(1000)}
    disk = _chain(tmp_path / "disk.raw", links)
    with opened(disk, limits=replace(DEFAULT_LIMITS, partitions=64)) as artifact:
        problem = artifact.nodes[0].problem
    assert isinstance(problem, LimitError)


def test_overlapping_partitions_are_read_and_reported(tmp_path: Path) -> None:
    disk = blank(tmp_path / "disk.raw", MIB)
    patch(disk, 0, _record(_entry(0x83, 10, 100), _entry(0x83, 50, 100)))
    with opened(disk) as artifact:
        assert [child.problem for child in artifact.nodes[0].children] == [None, None]
        (finding,) = artifact.findings
    assert finding.evidence == "partition 2 starts inside partition 1"


def test_any_mutation_gives_partitions_or_a_typed_error(tmp_path: Path) -> None:
    original = _disk(tmp_path).read_bytes()[: 12 * MIB]
    records = [0] + [
        offset
        for offset in range(_SECTOR, len(original), _SECTOR)
        if original[offset + 510 : offset + 512] == b"\x55\xaa"
    ]
    assert len(records) > 2
    chance = random.Random(20_002)
    disk = tmp_path / "mutated.raw"
    disk.write_bytes(original)
    outcomes = set()
    for _ in range(300):
        for record in records:
            sector = bytearray(original[record : record + _SECTOR])
            if chance.random() < 0.5:
                sector[chance.randrange(446, 510)] = chance.choice([0, 1, 5, 0x83, 0xEE, 0xFF])
            patch(disk, record, bytes(sector))
        with opened(disk) as artifact:
            for node in artifact.walk():
                assert node.problem is None or isinstance(node.problem, ConvertError)
                outcomes.add(type(node.problem))
    assert {type(None), CorruptError} <= outcomes
