"""Whatever was on a whole disk before: what was made last is what it is.

No tool clears everything that another one wrote. Where blkid gives up ("ambivalent result"), which
sectors each tool does clear still tells what is newer.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.images.luks import LUKS_FORMAT
from tests.images.recognised import TOOLS, Recipe, make_over, recipe
from tests.images.volumes import MIB, blank, patch, reader_name
from tests.support.programs import run

_DISK_BYTES = 60 * MIB
_BTRFS = recipe("btrfs", 16, "mkfs.btrfs --quiet --force --mixed {image}")
_EXT = recipe("ext", 16, "mke2fs -q -F -t ext4 {image}")
_FAT = recipe("fat", 48, "mkfs.vfat -I -F 32 {image}")
_XFS = recipe("xfs", 16, "mkfs.xfs -q -f --unsupported {image}")
_LUKS = [recipe(version, 32, f"{LUKS_FORMAT} {version}") for version in ("luks1", "luks2")]
_MADE = {
    what.name: what
    for what in (*TOOLS, *_LUKS, _BTRFS, _EXT, _FAT, _XFS)
    if what.size and what.name not in {"apm", "dm-verity", "sgi-label", "sun-label"}
}
_TABLES = ("dos", "gpt")


def _partition(disk: Path, label: str) -> None:
    """Write a table and a partition's first blocks, and nothing else, as installers do."""
    script = f"label: {label}\nstart=2048, size=1MiB\n"
    command = 'printf "$1" | sfdisk --quiet --wipe never --wipe-partitions never "$2"'
    run("sh", "-c", command, "sh", script, disk)
    patch(disk, MIB + 1080, b"\x53\xef")


@pytest.mark.parametrize("first", ["btrfs", "ext", "gpt", "ntfs"])
@pytest.mark.parametrize("second", _MADE.values(), ids=_MADE)
def test_what_was_made_last_is_what_it_is(tmp_path: Path, first: str, second: Recipe) -> None:
    disk = blank(tmp_path / "disk", _DISK_BYTES)
    if first in _TABLES:
        _partition(disk, first)
    else:
        make_over(_MADE[first], disk)
    assert reader_name(make_over(second, disk)) == second.name


@pytest.mark.parametrize("label", _TABLES)
@pytest.mark.parametrize("first", _MADE.values(), ids=_MADE)
def test_a_table_that_was_written_last_is_what_counts(
    tmp_path: Path, first: Recipe, label: str
) -> None:
    disk = make_over(first, blank(tmp_path / "disk", _DISK_BYTES))
    assert reader_name(disk) == first.name
    _partition(disk, label)
    assert reader_name(disk) == {"dos": "mbr"}.get(label, label)
