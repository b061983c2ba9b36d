"""What is refused, and what a damaged or hostile filesystem comes to."""

from __future__ import annotations

import random
import re
import struct
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from formats.core.entry import Kind
from formats.core.errors import ConvertError, CorruptError, LimitError, UnsupportedError
from formats.core.limits import DEFAULT_LIMITS, MIB, Limits
from formats.core.opener import open_artifact
from formats.filesystems.xfs.blocks import FOLDER_HEADER
from formats.filesystems.xfs.checksums import set_checksum
from tests.images import xfs_v4
from tests.images.volumes import patch
from tests.images.xfs_everything import made, mkfs, set_incompat, text, xfs_db
from tests.support.filesystems import TYPED, listing, opened, outcome
from tests.support.listing import (
    difference,
    kernel_listing,
    loop_mounted,
    loop_mounted_writable,
    tree_listing,
)
from tests.support.programs import need, need_root, run

_ATTRIBUTES = rb"(?s)(?<=\0\0\0\0)(?:\xfb\xee|\xfe\xbe)\0\0"
"""Magic of their blocks: leaf, node."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filesystem with everything in it, and all of that checked by sums."""
    need_root()
    need("mkfs.xfs", "xfs_db", "xfs_io", "setcap", "setfacl")
    return made(tmp_path_factory.mktemp("sound"), "-b size=1024 -L sound")


@pytest.fixture
def image(sound: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "image"
    run("cp", "--sparse=always", sound, copy)
    return copy


def address_of(image: Path, *commands: str) -> int:
    """Return the byte offset of what xfs_db(8) is led to."""
    found = re.search(r"byte offset (\d+)", xfs_db(image, *commands, "daddr", "addr"))
    if found is None:
        found = re.search(r"current daddr is (\d+)", xfs_db(image, *commands, "daddr"))
        assert found is not None
        return int(found[1]) * 512
    return int(found[1])


@pytest.mark.parametrize(
    ("bit", "name"),
    [(8, "metadir"), (9, "zoned"), (10, "zone_gaps"), (11, "0x800"), (31, "0x80000000")],
)
def test_an_incompatible_feature_that_is_not_read_is_refused_by_name(
    tmp_path: Path, bit: int, name: str
) -> None:
    image = mkfs(tmp_path / "image")
    set_incompat(image, 1 << bit)
    with pytest.raises(UnsupportedError, match=f"features that are not read: .*{name}") as caught:
        listing(image)
    assert caught.value.hint


def test_a_filesystem_in_need_of_repair_is_refused(tmp_path: Path) -> None:
    image = mkfs(tmp_path / "image")
    xfs_db(image, "sb 0", "write features_incompat 0x1b")
    with pytest.raises(UnsupportedError, match=r"needsrepair.*'xfs_repair' on a copy"):
        listing(image)


def test_features_that_only_who_writes_has_to_know_are_no_obstacle(tmp_path: Path) -> None:
    image = mkfs(tmp_path / "image")
    xfs_db(image, "sb 0", "write features_ro_compat 0x8000000f", "write features_compat 0x80")
    assert list(listing(image)) == [b""]


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("versionnum", "0xb6a4", "shared"),
        ("versionnum", "0x94a4", "directories of version 1"),
        ("versionnum", "0xa4a4", "extents without a flag"),
        ("versionnum", "0xb4a3", "version 3"),
        ("features2", "0x1008a", "0x10000"),
    ],
)
def test_what_version_4_has_and_is_not_read_is_refused_by_name(
    tmp_path: Path, field: str, value: str, name: str
) -> None:
    image = mkfs(tmp_path / "image", "-m crc=0")
    place = {"versionnum": 100, "features2": 200}[field]
    number = int(value, 16)
    patch(image, place, struct.pack(">I" if field == "features2" else ">H", number))
    with pytest.raises(UnsupportedError, match=name):
        listing(image)


def test_a_file_on_the_realtime_device_is_refused_with_its_path(image: Path) -> None:
    xfs_db(image, "path /extents/many", "write core.realtime 1")
    with pytest.raises(UnsupportedError, match="'extents/many': is on the realtime device"):
        listing(image)


def test_a_filesystem_larger_than_its_volume_is_said_to_be(tmp_path: Path) -> None:
    image = mkfs(tmp_path / "image")
    run("truncate", "--size=-4096", image)
    with pytest.raises(CorruptError, match="100,663,296 bytes, its volume 100,659,200"):
        listing(image)


@pytest.mark.parametrize(
    ("commands", "path", "into"),
    [
        (["path /extents/many"], "extents/many", 40),
        (["path /folders/20", "dblock 0"], "folders/20", 900),
        (["path /extents/many", "addr u3.bmbt.ptrs[1]"], "extents/many", 200),
        (["path /attributes/3-of-100", "ablock 0"], "attributes/3-of-100", 500),
        (["path /attributes/first-twin", "ablock 0"], "attributes/first-twin", 500),
        (["path /attributes/2-of-65536", "ablock 5"], "attributes/2-of-65536", 500),
        (["path /symlinks/967", "dblock 0"], "symlinks/967", 600),
    ],
    ids=["inode", "folder", "extents", "attribute leaf", "attribute node", "value", "symlink"],
)
def test_a_wrong_checksum_is_an_error_that_names_the_path(
    image: Path, commands: list[str], path: str, into: int
) -> None:
    offset = address_of(image, *commands) + into
    with image.open("rb") as file:
        file.seek(offset)
        value = file.read(1)[0]
    patch(image, offset, bytes([value ^ 0x40]))
    with pytest.raises(CorruptError, match=f"'{path}'.* has checksum") as caught:
        listing(image)
    assert caught.value.offset is not None
    assert 0 <= offset - caught.value.offset < 2048


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (40, "belongs to inode 129"),
        (8, "was written for disk address 129"),
        (24, "is left over from another filesystem"),
    ],
)
def test_a_block_that_belongs_elsewhere_is_an_error(image: Path, place: int, reason: str) -> None:
    offset = address_of(image, "path /folders/20", "dblock 0")
    with image.open("rb") as file:
        file.seek(offset)
        block = bytearray(file.read(4096))
    block[place : place + 8] = (129).to_bytes(8, "big")
    set_checksum(block, FOLDER_HEADER.checksum)
    patch(image, offset, bytes(block))
    with pytest.raises(CorruptError, match=f"'folders/20': .*{reason}"):
        listing(image)


def test_an_inode_that_was_deleted_is_an_error(image: Path) -> None:
    xfs_db(image, "path /extents/many", "write core.mode 0")
    with pytest.raises(CorruptError, match=r"'extents/many': inode .* is not in use"):
        listing(image)


@pytest.mark.parametrize("field", ["core.format", "core.aformat"])
def test_a_fork_of_an_unknown_form_is_an_error(image: Path, field: str) -> None:
    path = "/attributes/12-of-150" if field == "core.aformat" else "/folders/400"
    xfs_db(image, f"path {path}", f"write {field} 7")
    with pytest.raises(CorruptError, match=f"'{path[1:]}': .*its form is 7"):
        listing(image)


def test_a_sparse_giant_is_refused_by_its_path(image: Path) -> None:
    xfs_db(image, "path /extents/many", "write core.size 0x1000000000")
    with pytest.raises(LimitError, match="'extents/many' has 68,7"):
        listing(image)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (replace(DEFAULT_LIMITS, xattrs_per_file=50), "'attributes/60-of-500': has more than 50 "),
        (replace(DEFAULT_LIMITS, xattr_value_bytes=60_000), "65536': its attribute .* 65,536"),
        (replace(DEFAULT_LIMITS, folder_entries=1000), "'folders/1200': has more than 1,000 names"),
        (replace(DEFAULT_LIMITS, symlink_target_bytes=1000), "symlink1023': is a symlink of"),
        (replace(DEFAULT_LIMITS, entries=100), "is one more than 100 paths"),
    ],
)
def test_limits_are_held_to(sound: Path, limits: Limits, message: str) -> None:
    with pytest.raises(LimitError, match=message):
        look(sound, limits)


@pytest.mark.parametrize("size", [0, 5000, 1 << 40])
def test_a_folder_of_an_impossible_size_is_an_error(image: Path, size: int) -> None:
    xfs_db(image, "path /folders/400", f"write core.size {size}")
    with pytest.raises(ConvertError, match=r"'folders/400': .*folder") as caught:
        listing(image)
    assert caught.value.code in {"corrupt", "limit-exceeded"}


def look(image: Path, limits: Limits) -> None:
    """Read all metadata of an image, and the content of small files."""
    with opened(image, limits) as (tree, _):
        entries = list(tree.entries())
        tree.will_read(entries)
        for entry in entries:
            if entry.kind is Kind.FILE and entry.size < 100_000:
                assert sum(map(len, tree.read(entry))) == entry.size


@pytest.mark.parametrize("name", xfs_v4.MADE)
def test_any_changed_byte_gives_a_tree_or_a_typed_error(name: str, tmp_path: Path) -> None:
    """Of version 4, which has no checksums, so that a change gets further than to the first."""
    image = xfs_v4.KEPT.image(name, tmp_path)
    data = image.read_bytes()
    marks = [
        [found.start() for found in re.finditer(pattern, data)]
        for pattern in (rb"IN[\x41\x81\xa1].[\1\2\3]", rb"XD2[BD]|BMAP", rb"XFSB", _ATTRIBUTES)
    ]
    chance = random.Random(name)
    limits = replace(DEFAULT_LIMITS, file_bytes=64 * MIB, entries=6000)
    outcomes: Counter[str] = Counter()
    for _ in range(15):
        place = chance.choice(chance.choice(marks)) + chance.randrange(200)
        value = chance.choice([0, 0xFF, 0x80, 1, chance.randrange(256)])
        patch(image, place, bytes([value]))
        outcomes[outcome(image, limits, look)] += 1
        patch(image, place, data[place : place + 1])
    assert {"tree", "corrupt"} <= set(outcomes) <= {"tree", *TYPED}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    need_root()
    image = mkfs(tmp_path / "small", "-b size=1024 -L small")
    with loop_mounted_writable(image, "xfs") as root:
        (root / "folder").mkdir()
        (root / "folder" / "file").write_bytes(text(10_000, 1))
    return image


@pytest.mark.parametrize("place", [33, 57, 102, 124, 130, 224])
def test_a_damaged_superblock_gives_way_to_a_spare_one(small: Path, place: int) -> None:
    expected = listing(small)
    assert b"folder/file" in expected
    patch(small, place, b"\x5a")
    with open_artifact([small]) as artifact:
        (node,) = artifact.nodes
        assert node.problem is None
        assert [finding.rule for finding in artifact.findings] == ["superblock-damaged"]
        assert node.tree is not None
        assert node.tree.info.label == "small"
        assert node.tree.info.used_bytes is None
        assert tree_listing(node.tree) == expected


def test_a_damaged_superblock_without_a_spare_one_is_an_error(small: Path) -> None:
    patch(small, 84, b"\x5a")  # the size of groups, by which spare ones are found
    with pytest.raises(CorruptError, match=r"superblock is damaged: .*'xfs_repair' on a copy"):
        listing(small)


def test_a_spare_superblock_that_says_something_else_of_the_groups_is_not_used(
    small: Path,
) -> None:
    patch(small, 88, (3).to_bytes(4, "big"))  # the number of groups, which is 4
    with pytest.raises(CorruptError, match="superblock is damaged: it has checksum"):
        listing(small)


def test_a_spare_superblock_is_what_xfs_repair_goes_by(small: Path) -> None:
    patch(small, 57, b"\x5a")
    ours = listing(small)
    run("xfs_repair", small, check=False)
    with loop_mounted(small, "xfs") as root:
        assert difference(kernel_listing(root), ours) == []
