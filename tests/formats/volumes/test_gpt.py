from __future__ import annotations

import json
import random
import struct
import uuid
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from formats.core.errors import ConvertError, CorruptError, LimitError
from formats.core.limits import DEFAULT_LIMITS
from formats.core.reader import Role
from formats.volumes.partition_types import gpt_type
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

_SCRIPT = """\
label: gpt
size=1MiB, type=U, name="EFI system"
size=2MiB, type=4f68bce3-e8cd-4db1-96e7-fbcaf984b709, name="root é ☃"
size=512KiB, type=swap
size=1MiB, type=linux, uuid=AABBCCDD-1111-2222-3333-444455556666, name="back\\\\slash"
"""


def _disk(folder: Path, *, sector_bytes: int = 512) -> Path:
    return sfdisk(folder / "disk.raw", 8 * MIB, _SCRIPT, sector_bytes=sector_bytes)


@pytest.mark.parametrize("sector_bytes", [512, 4096])
def test_partitions_are_those_that_sfdisk_lists(tmp_path: Path, sector_bytes: int) -> None:
    disk = _disk(tmp_path, sector_bytes=sector_bytes)
    expected = sfdisk_rows(disk, sector_bytes=sector_bytes)
    mark(disk, expected)
    ours = our_rows(disk)
    assert len(ours) == 4
    assert ours == [
        replace(row, name=row.name.replace("\\", "\\\\") if row.name else None) for row in expected
    ]


def test_slots_that_sgdisk_left_free_keep_the_numbers_of_the_others(tmp_path: Path) -> None:
    need("sgdisk")
    disk = blank(tmp_path / "disk.raw", 8 * MIB)
    run("sgdisk", "-n", "3:2048:+1M", "-n", "128:0:+1M", "-c", "128:last", disk)
    expected = sfdisk_rows(disk)
    mark(disk, expected)
    assert our_rows(disk) == expected
    assert [row.number for row in expected] == [3, 128]


def test_roles_follow_the_discoverable_partitions_specification(tmp_path: Path) -> None:
    with opened(_disk(tmp_path)) as artifact:
        node = artifact.nodes[0]
        roles = [child.volume.role for child in node.children]
        labels = [child.volume.label for child in node.children]
    assert roles == [Role.EFI, Role.ROOT, Role.SWAP, Role.DATA]
    assert labels == ["gpt:1", "gpt:2", "gpt:3", "gpt:4"]
    assert node.facts["partitions"].startswith("1 EFI System, 2 Linux root (x86-64), 3 Linux swap")


def test_every_type_that_sfdisk_knows_has_a_title_here() -> None:
    need("sfdisk")
    listed = run("sfdisk", "--label", "gpt", "--list-types").stdout.decode().splitlines()
    guids = [line.split()[0].lower() for line in listed if line[8:9] == "-"]
    assert len(guids) > 150
    assert [guid for guid in guids if gpt_type(guid).title.startswith("type ")] == []


def flip(disk: Path, offset: int) -> Path:
    """Change one bit; what is there, a part of the disk's id, may be random."""
    return patch(disk, offset, bytes([disk.read_bytes()[offset] ^ 1]))


def _damaged(disk: Path, how: str, sector_bytes: int = 512) -> Path:
    match how:
        case "header wiped":
            return patch(disk, sector_bytes, bytes(512))
        case "header bit flipped":
            return flip(disk, sector_bytes + 57)
        case "entries damaged":
            return patch(disk, 2 * sector_bytes + 8, b"\xff\xfe")
        case "everything before the first partition wiped":
            return patch(disk, 0, bytes(34 * 512))
    raise ValueError(how)


@pytest.mark.parametrize(
    "how",
    [
        "header wiped",
        "header bit flipped",
        "entries damaged",
        "everything before the first partition wiped",
    ],
)
@pytest.mark.parametrize("sector_bytes", [512, 4096])
def test_the_backup_is_read_where_the_primary_is_damaged(
    tmp_path: Path, how: str, sector_bytes: int
) -> None:
    disk = _disk(tmp_path, sector_bytes=sector_bytes)
    expected = sfdisk_rows(disk, sector_bytes=sector_bytes)
    mark(disk, expected)
    whole = our_rows(disk)
    _damaged(disk, how, sector_bytes)
    assert our_rows(disk) == whole
    with opened(disk) as artifact:
        assert artifact.nodes[0].facts["header"] == "backup"
        (finding,) = artifact.findings
    assert finding.rule == "gpt-backup-used"
    last = 8 * MIB // sector_bytes - 1
    assert f"the backup at sector {last:,} was read" in finding.evidence


@pytest.mark.parametrize("how", ["header wiped", "entries damaged"])
def test_the_backup_of_an_enlarged_disk_is_found(tmp_path: Path, how: str) -> None:
    disk = _disk(tmp_path)
    mark(disk, sfdisk_rows(disk))
    whole = our_rows(disk)
    with disk.open("r+b") as file:
        file.truncate(16 * MIB)
    assert our_rows(disk) == whole
    _damaged(disk, how)
    assert our_rows(disk) == whole


def test_an_enlarged_disk_whose_primary_is_whole_is_no_finding(tmp_path: Path) -> None:
    disk = _disk(tmp_path)
    with disk.open("r+b") as file:
        file.truncate(16 * MIB)
    with opened(disk) as artifact:
        assert artifact.findings == []
        assert len(artifact.nodes[0].children) == 4


def test_both_tables_damaged_says_what_is_wrong_with_each(tmp_path: Path) -> None:
    disk = _disk(tmp_path)
    flip(disk, 512 + 57)
    flip(disk, -512 + 57)
    with opened(disk) as artifact:
        problem = artifact.nodes[0].problem
    assert isinstance(problem, CorruptError)
    assert problem.message == (
        "neither GPT can be used: the GPT header has a wrong checksum at byte 512;"
        " the GPT header has a wrong checksum at byte 8,388,096"
    )


def test_a_protective_mbr_without_any_gpt_is_said_to_be_one(tmp_path: Path) -> None:
    disk = _disk(tmp_path)
    patch(disk, 512, bytes(512))
    patch(disk, -512, bytes(512))
    with opened(disk) as artifact:
        problem = artifact.nodes[0].problem
    assert isinstance(problem, CorruptError)
    assert "neither of the two GPT headers" in problem.message


def test_a_partition_past_the_end_has_a_problem_and_the_others_work(tmp_path: Path) -> None:
    disk = _disk(tmp_path)
    with disk.open("r+b") as file:
        file.truncate(4 * MIB + 100)
    with opened(disk) as artifact:
        problems = [child.problem for child in artifact.nodes[0].children]
        sizes = [child.volume.source.size for child in artifact.nodes[0].children]
    assert problems[0] is None
    assert problems[1] is None
    assert isinstance(problems[3], CorruptError)
    assert problems[3].message.startswith("lies past the end")
    assert sizes == [MIB, 2 * MIB, 0, 0]


def test_a_hybrid_mbr_gives_way_to_the_gpt(tmp_path: Path) -> None:
    need("sgdisk")
    disk = _disk(tmp_path)
    run("sgdisk", "--hybrid", "2:EE", disk)
    mark(disk, sfdisk_rows(disk))
    assert reader_name(disk) == "gpt"
    assert len(our_rows(disk)) == 4


def test_gpt_left_over_under_an_mbr_of_its_own_is_not_believed(tmp_path: Path) -> None:
    disk = _disk(tmp_path)
    entry = struct.pack("<B3xB3xII", 0x80, 0x83, 2048, 4096)
    patch(disk, 446, entry + bytes(48) + b"\x55\xaa")
    assert reader_name(disk) == "mbr"


def test_a_backup_left_over_behind_a_filesystem_is_not_believed(tmp_path: Path) -> None:
    need("mkfs.xfs")
    disk = blank(tmp_path / "disk.raw", 16 * MIB)
    run("sgdisk", "-n", "1:0:0", disk)
    backup = disk.read_bytes()[-512:]
    run("mkfs.xfs", "-q", "-f", "--unsupported", disk)
    patch(disk, -512, backup)
    assert reader_name(disk) == "xfs"


def _forged(
    entries: list[tuple[int, int]], *, count: int | None = None, entry_bytes: int = 128
) -> bytes:
    """Return the first megabyte of a disk with these (first, last) sectors and valid checksums."""
    kind = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4").bytes_le
    table = b"".join(
        struct.pack("<16s16sQQQ72s", kind, bytes([slot] * 16), first, last, 0, b"").ljust(
            entry_bytes, b"\0"
        )
        for slot, (first, last) in enumerate(entries, 1)
    )
    count = len(entries) if count is None else count
    covered = table.ljust(count * entry_bytes, b"\0") if count * entry_bytes <= MIB else b""
    fields = (b"EFI PART", 0x10000, 92, 0, 0, 1, 0, 2, 2047, bytes(16), 2, count, entry_bytes)
    header = struct.pack("<8sIIIIQQQQ16sQIII", *fields, zlib.crc32(covered))
    crc = struct.pack("<I", zlib.crc32(header))
    header = header[:16] + crc + header[20:]
    mbr = struct.pack("<446xB3xB3xII48xH", 0, 0xEE, 1, 2047, 0xAA55)
    return (mbr + header.ljust(512, b"\0") + table).ljust(MIB, b"\0")


def test_overlapping_partitions_are_read_and_reported(tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(_forged([(100, 199), (150, 160), (170, 300), (301, 400)]))
    with opened(disk) as artifact:
        assert [child.problem for child in artifact.nodes[0].children] == [None] * 4
        evidence = [finding.evidence for finding in artifact.findings]
    assert evidence == [
        "partition 2 starts inside partition 1",
        "partition 3 starts inside partition 1",
    ]


def test_entries_larger_than_128_bytes_are_read(tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(_forged([(100, 199), (200, 299)], entry_bytes=256))
    with opened(disk) as artifact:
        sizes = [child.volume.source.size for child in artifact.nodes[0].children]
    assert sizes == [100 * 512, 100 * 512]


@pytest.mark.parametrize(
    ("disk_bytes", "message"),
    [
        (_forged([], count=0xFFFFFFFF), "4,294,967,295 entries of 128 bytes"),
        (_forged([(100, 199)], entry_bytes=64), "entries of 64 bytes"),
    ],
    ids=["huge count", "small entries"],
)
def test_hostile_tables_are_refused(tmp_path: Path, disk_bytes: bytes, message: str) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(disk_bytes)
    with opened(disk) as artifact:
        problem = artifact.nodes[0].problem
    assert isinstance(problem, CorruptError)
    assert message in problem.message


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ((200, 199), "has no place: its entry says 0 bytes from byte 102,400"),
        ((200, 100), "has no place: its entry says -50,688 bytes from byte 102,400"),
        ((0, 199), "has no place: its entry says 102,400 bytes from byte 0"),
        ((300, 2**64 - 1), "lies past the end: "),
        ((2**64 - 1, 2**64 - 1), "lies past the end: "),
    ],
)
def test_an_entry_that_makes_no_sense_is_its_own_problem(
    tmp_path: Path, entry: tuple[int, int], message: str
) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(_forged([entry, (1000, 1100)]))
    with opened(disk) as artifact:
        bad, good = artifact.nodes[0].children
    assert isinstance(bad.problem, CorruptError)
    assert bad.problem.message.startswith(message)
    assert (good.problem, good.volume.source.size) == (None, 101 * 512)


def test_more_partitions_than_the_limit_are_refused(tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(_forged([(100 + slot, 100 + slot) for slot in range(9)]))
    with opened(disk, limits=replace(DEFAULT_LIMITS, partitions=8)) as artifact:
        problem = artifact.nodes[0].problem
    assert isinstance(problem, LimitError)


def test_any_mutation_gives_partitions_or_a_typed_error(tmp_path: Path) -> None:
    disk = _disk(tmp_path)
    original = disk.read_bytes()
    chance = random.Random(20_001)
    outcomes = set()
    for _ in range(300):
        front, back = bytearray(original[:4096]), bytearray(original[-1024:])
        for _ in range(chance.randint(1, 6)):
            if chance.random() < 0.5:
                front[chance.randrange(440, 3000)] = chance.randrange(256)
            else:
                back[chance.randrange(len(back))] = chance.randrange(256)
        patch(disk, 0, bytes(front))
        patch(disk, -len(back), bytes(back))
        with opened(disk) as artifact:
            for node in artifact.walk():
                outcomes.add(type(node.problem))
                assert node.problem is None or isinstance(node.problem, ConvertError)
    assert type(None) in outcomes


def test_disk_guid_is_that_of_sfdisk(tmp_path: Path) -> None:
    disk = _disk(tmp_path)
    table = json.loads(run("sfdisk", "--json", disk).stdout)["partitiontable"]
    with opened(disk) as artifact:
        assert artifact.nodes[0].facts["disk-id"] == table["id"].lower()
