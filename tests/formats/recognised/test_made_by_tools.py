"""Every format that a tool here can make is recognised as what ``blkid`` says that it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from formats.core.errors import UnsupportedError
from formats.recognised import RecognisedFormat
from tests.images.lvm import lvm_on
from tests.images.md import MD_MEMBER_BYTES, MD_VERSIONS, add_md_superblock
from tests.images.recognised import TOOLS, Recipe, blkid_type, make, recipe
from tests.images.volumes import MIB, blank, opened, patch, reader_name, sfdisk
from tests.support.programs import run


def _refusal(image: Path) -> tuple[RecognisedFormat, UnsupportedError]:
    """Return which row took an image, and what it said."""
    with opened(image) as artifact:
        node = artifact.nodes[0]
    assert isinstance(node.problem, UnsupportedError)
    assert isinstance(node.reader, RecognisedFormat), str(node.problem)
    return node.reader, node.problem


_REFUSED = [what for what in TOOLS if what.name != "swap"]


@pytest.mark.parametrize("what", _REFUSED, ids=lambda what: " ".join(what.command)[:40])
def test_what_a_tool_makes_is_named_as_blkid_names_it(tmp_path: Path, what: Recipe) -> None:
    image = make(what, tmp_path)
    assert blkid_type(image) == what.blkid
    row, problem = _refusal(image)
    assert row.name == what.name
    assert problem.message == f"is {row.title}, which is not read"
    assert problem.hint == row.hint


@pytest.mark.parametrize("version", MD_VERSIONS)
def test_a_raid_member_is_one_whatever_can_be_seen_on_it(tmp_path: Path, version: str) -> None:
    """RAID 1 with the superblock at the end looks like its filesystem: one stale half of it."""
    image = blank(tmp_path / "member", MD_MEMBER_BYTES)
    run("mke2fs", "-q", "-F", "-t", "ext4", image, "7M")
    assert reader_name(image) == "ext"
    add_md_superblock(image, version)
    assert blkid_type(image) == "linux_raid_member"
    assert f"Version : {version}" in run("mdadm", "--examine", image).stdout.decode()
    row, _ = _refusal(image)
    assert row.name == "mdraid"


@pytest.mark.parametrize("version", MD_VERSIONS)
def test_a_raid_member_that_holds_a_partition_table_is_one(tmp_path: Path, version: str) -> None:
    for label in ("dos", "gpt"):
        image = sfdisk(tmp_path / label, MD_MEMBER_BYTES, f"label: {label}\nsize=4MiB\n")
        add_md_superblock(image, version)
        assert reader_name(image) == "mdraid"


@pytest.mark.parametrize("version", ["0.90", "1.0"])
def test_a_raid_member_as_the_last_partition_does_not_make_the_disk_one(
    tmp_path: Path, version: str
) -> None:
    member = add_md_superblock(blank(tmp_path / "member", MD_MEMBER_BYTES), version)
    disk = sfdisk(tmp_path / "disk", MD_MEMBER_BYTES + MIB, "label: dos\nstart=1MiB, type=fd\n")
    patch(disk, MIB, member.read_bytes())
    with opened(disk) as artifact:
        node = artifact.nodes[0]
        names = [child.reader.name for child in node.children if child.reader]
    assert node.reader is not None
    assert (node.reader.name, names) == ("mbr", ["mdraid"])


def test_a_raid_member_with_a_physical_volume_in_it_is_one(tmp_path: Path) -> None:
    image = blank(tmp_path / "member", MD_MEMBER_BYTES)
    with lvm_on(tmp_path, image) as lvm:
        lvm("pvcreate", "-y", *lvm.devices)
    add_md_superblock(image, "1.0")
    assert reader_name(image) == "mdraid"


def test_a_hybrid_iso_with_tables_around_it_is_an_iso(tmp_path: Path) -> None:
    what = recipe(
        "iso9660",
        0,
        "xorriso -as mkisofs -quiet -appended_part_as_gpt -partition_offset 16"
        " -append_partition 2 0xef {file} -o {image} {tree}",
    )
    image = make(what, tmp_path)
    assert image.read_bytes()[510:512] == b"\x55\xaa"
    assert reader_name(image) == "iso9660"


def test_a_disk_that_once_was_an_iso_is_its_partition_table(tmp_path: Path) -> None:
    iso = make(recipe("iso9660", 0, "xorriso -as mkisofs -quiet -o {image} {tree}"), tmp_path)
    disk = sfdisk(tmp_path / "disk", 8 * MIB, "label: dos\nstart=1MiB, type=83\n")
    patch(disk, 0x8000, iso.read_bytes()[0x8000:0x10000])
    assert reader_name(disk) == "mbr"
