"""Every format that a tool here can make is recognised as what ``blkid`` says that it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from formats.core.errors import UnsupportedError
from formats.recognised import RecognisedFormat
from tests.images.recognised import TOOLS, Recipe, blkid_type, make, recipe
from tests.images.volumes import MIB, opened, patch, reader_name, sfdisk


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
