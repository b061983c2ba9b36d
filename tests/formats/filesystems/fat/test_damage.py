"""FAT filesystems that contradict themselves, end too early, or were in use."""

from __future__ import annotations

import random
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from formats.core.errors import ConvertError, CorruptError, LimitError, UnsupportedError
from formats.core.limits import DEFAULT_LIMITS, Limits
from tests.formats.filesystems.fat.support import opened
from tests.images.fat import MIB, Fat
from tests.images.volumes import patch
from tests.support.filesystems import TYPED, outcome

BITS = (12, 16, 32)
END = {12: 0xFFF, 16: 0xFFFF, 32: 0x0FFFFFFF}
BAD = {12: 0xFF7, 16: 0xFFF7, 32: 0x0FFFFFF7}
FILE = "BOOTX64 EFI"
FOLDER = "EFI        "


def read(image: Path, limits: Limits = DEFAULT_LIMITS) -> dict[bytes, bytes]:
    """Read every file whole."""
    with opened(image, limits) as (tree, _):
        return {entry.path: b"".join(tree.read(entry)) for entry in tree.entries() if entry.size}


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("target", ["itself", "start"])
def test_a_chain_that_comes_back_to_itself_is_an_error(
    make: Callable[..., Fat], bits: int, target: str
) -> None:
    fat = make(bits)
    first = fat.first_cluster(FILE)
    fat.set_following(first + 3, first + 3 if target == "itself" else first)
    with pytest.raises(CorruptError, match="comes back to itself") as caught:
        read(fat.image)
    assert "BOOTX64.EFI" in str(caught.value)
    assert caught.value.offset is not None


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("what", ["free", "bad", "outside", "one"])
def test_a_chain_that_leaves_its_file_is_an_error(
    make: Callable[..., Fat], bits: int, what: str
) -> None:
    fat = make(bits)
    value = {"free": 0, "bad": BAD[bits], "outside": BAD[bits] - 1, "one": 1}[what]
    fat.set_following(fat.first_cluster(FILE) + 3, value)
    with pytest.raises(CorruptError, match="goes on in") as caught:
        read(fat.image)
    assert "BOOTX64.EFI" in str(caught.value)


@pytest.mark.parametrize("bits", BITS)
def test_a_chain_shorter_than_its_file_is_an_error(make: Callable[..., Fat], bits: int) -> None:
    fat = make(bits)
    fat.set_following(fat.first_cluster(FILE) + 3, END[bits])
    with pytest.raises(CorruptError, match="has 4 clusters, where its 300,000 bytes need"):
        read(fat.image)


@pytest.mark.parametrize("bits", BITS)
def test_a_chain_longer_than_its_file_is_room_made_in_advance(
    make: Callable[..., Fat], bits: int
) -> None:
    fat = make(bits)
    expected = read(fat.image)[b"EFI/BOOT/BOOTX64.EFI"]
    fat.set_entry(FILE, 28, struct.pack("<I", 10_000))
    assert read(fat.image)[b"EFI/BOOT/BOOTX64.EFI"] == expected[:10_000]


@pytest.mark.parametrize("cluster", [0, 1])
def test_a_file_with_a_size_and_no_place_is_an_error(
    make: Callable[..., Fat], cluster: int
) -> None:
    fat = make(16)
    fat.set_first_cluster(FILE, cluster)
    with pytest.raises(CorruptError, match="which cannot be"):
        read(fat.image)


def test_what_os2_keeps_beside_the_first_cluster_is_no_part_of_it(
    make: Callable[..., Fat],
) -> None:
    fat = make(16)
    expected = read(fat.image)
    fat.set_entry(FILE, 20, b"\x34\x12")
    assert read(fat.image) == expected


@pytest.mark.parametrize("bits", BITS)
def test_a_folder_inside_itself_ends_as_an_error(make: Callable[..., Fat], bits: int) -> None:
    fat = make(bits)
    fat.set_first_cluster("BOOT       ", fat.first_cluster(FOLDER))
    with pytest.raises((CorruptError, LimitError)):
        read(fat.image)


def test_folders_that_share_their_clusters_are_errors_before_they_multiply(
    make: Callable[..., Fat],
) -> None:
    """Two folders, each with both in it: 2^256 paths within the limit on depth."""
    fat = make(12)
    first = fat.first_cluster("DEEP       ")
    for name in ("EFI        ", "MANY       ", "A          ", "BOOT       "):
        fat.set_first_cluster(name, first)
    with pytest.raises((CorruptError, LimitError)):
        read(fat.image)


@pytest.mark.parametrize("bits", [16, 32])
def test_a_folder_without_end_is_an_error(make: Callable[..., Fat], bits: int) -> None:
    fat = make(bits)
    first = fat.first_cluster("MANY       ")
    fat.set_following(first, first)
    with pytest.raises(CorruptError, match=r"'(MANY|many)'"):
        read(fat.image)


@pytest.mark.parametrize(
    ("bits", "place", "value"),
    [(16, 37, 1), (32, 65, 1), (12, 37, 1)],
)
def test_a_filesystem_that_was_mounted_is_a_finding(
    make: Callable[..., Fat], bits: int, place: int, value: int
) -> None:
    fat = make(bits)
    patch(fat.image, place, bytes([value]))
    with opened(fat.image) as (_, findings):
        assert [finding.rule for finding in findings] == ["filesystem-unclean"]
    patch(fat.image, place, bytes([value | 2]))
    with opened(fat.image) as (_, findings):
        assert [finding.rule for finding in findings] == [
            "filesystem-unclean",
            "filesystem-errors",
        ]


@pytest.mark.parametrize("bits", [16, 32])
def test_the_marks_of_windows_95_in_the_table_are_findings(
    make: Callable[..., Fat], bits: int
) -> None:
    fat = make(bits)
    clean, whole = (0x8000, 0x4000) if bits == 16 else (0x08000000, 0x04000000)
    fat.set_following(1, END[bits] & ~clean)
    with opened(fat.image) as (_, findings):
        assert [finding.rule for finding in findings] == ["filesystem-unclean"]
    fat.set_following(1, END[bits] & ~whole)
    with opened(fat.image) as (_, findings):
        assert [finding.rule for finding in findings] == ["filesystem-errors"]


def test_the_table_that_is_active_is_the_one_that_counts(make: Callable[..., Fat]) -> None:
    fat = make(32)
    expected = read(fat.image)
    fat.set_following(fat.first_cluster(FILE) + 3, 0)
    with pytest.raises(CorruptError):
        read(fat.image)
    patch(fat.image, 40, b"\x81\0")
    assert read(fat.image) == expected
    patch(fat.image, 40, b"\x82\0")
    with pytest.raises(CorruptError, match="table 2 of 2"):
        read(fat.image)


def test_the_upper_bits_of_fat32_entries_are_reserved(make: Callable[..., Fat]) -> None:
    fat = make(32)
    expected = read(fat.image)
    table = bytearray(fat.read(fat.table_offset, 4000))
    for cluster in range(2, 1000):
        table[cluster * 4 + 3] |= 0xF0
    patch(fat.image, fat.table_offset, bytes(table))
    assert read(fat.image) == expected


def test_another_version_of_fat32_is_refused_by_name(make: Callable[..., Fat]) -> None:
    fat = make(32)
    patch(fat.image, 42, b"\1\2")
    with pytest.raises(UnsupportedError, match=r"FAT32 version 2\.1"):
        read(fat.image)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (14, b"\xff\xff"),
        (19, b"\x10\0"),
        (19, b"\xff\xff"),
        (22, b"\xff\xff"),
        (22, b"\0\0"),
    ],
)
def test_a_boot_sector_that_cannot_be_true_is_refused(
    make: Callable[..., Fat], place: int, value: bytes
) -> None:
    fat = make(16)
    patch(fat.image, place, value)
    with pytest.raises(ConvertError) as caught:
        read(fat.image)
    assert caught.value.exit_code in {3, 4}


def test_a_filesystem_that_is_cut_is_said_to_be(make: Callable[..., Fat]) -> None:
    fat = make(16)
    complete = fat.image.read_bytes()
    for size in (512, 5000, 100_000, len(complete) - 512):
        fat.image.write_bytes(complete[:size])
        with pytest.raises(CorruptError, match="truncated"):
            read(fat.image)


def test_a_folder_of_too_many_names_meets_the_limit(make: Callable[..., Fat]) -> None:
    fat = make(16)
    with pytest.raises(LimitError, match="more than 100 names"):
        read(fat.image, replace(DEFAULT_LIMITS, folder_entries=100))


@pytest.mark.parametrize("bits", BITS)
def test_any_changed_byte_gives_a_tree_or_a_typed_error(
    make: Callable[..., Fat], bits: int
) -> None:
    fat = make(bits)
    data = fat.image.read_bytes()
    used = fat.heap_offset + 40 * fat.cluster_bytes
    tables = [*range(fat.table_offset, fat.table_offset + min(fat.table_bytes, 3000))]
    entries = [at for at in range(fat.heap_offset - 16384, used) if data[at]]
    first = fat.heap_offset + (fat.first_cluster("MANY       ") - 2) * fat.cluster_bytes
    entries += range(first, first + fat.cluster_bytes)
    dice = random.Random(bits)
    limits = replace(DEFAULT_LIMITS, file_bytes=64 * MIB, entries=2000)
    outcomes: Counter[str] = Counter()
    for _ in range(60):
        places = dice.choice([range(11, 90), tables, entries, entries])
        changed = dice.choices(places, k=dice.choice([1, 1, 3]))
        for place in changed:
            value = dice.choice([0, 0xFF, 0x80, 1, dice.randrange(256)])
            patch(fat.image, place, bytes([value]))
        outcomes[outcome(fat.image, limits, read)] += 1
        for place in changed:
            patch(fat.image, place, data[place : place + 1])
    assert {"tree", "corrupt"} <= set(outcomes) <= {"tree", *TYPED}
