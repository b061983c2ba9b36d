"""What is refused, and what a damaged or hostile filesystem comes to."""

from __future__ import annotations

import random
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from formats.core.errors import (
    ConvertError,
    CorruptError,
    EncryptedError,
    LimitError,
    UnsupportedError,
)
from formats.core.limits import DEFAULT_LIMITS, MIB
from formats.filesystems.ext.checksums import ALL_ONES, crc32c
from formats.filesystems.ext.superblock import SUPERBLOCK_BYTES, SUPERBLOCK_OFFSET
from tests.images.volumes import patch
from tests.support.filesystems import TYPED, listing, opened, outcome
from tests.support.listing import loop_mounted_writable
from tests.support.programs import need, need_root, run

_INCOMPAT, _RO_COMPAT, _CHECKSUM = 0x60, 0x64, 0x3FC


@pytest.fixture(autouse=True)
def _programs() -> None:
    need("mke2fs", "debugfs", "dumpe2fs")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filesystem with checksums, folders of several blocks, and extents of several levels."""
    need("mke2fs")
    folder = tmp_path_factory.mktemp("sound")
    tree = folder / "tree"
    (tree / "folder").mkdir(parents=True)
    for number in range(120):
        (tree / "folder" / f"{number}{'n' * 50}").write_bytes(b"%d" % number)
    with (tree / "fragments").open("wb") as file:
        for number in range(200):
            file.seek(number * 8192)
            file.write(b"%d" % number)
    (tree / "link").symlink_to("x" * 100)
    image = folder / "image"
    run("mke2fs", "-q", "-t", "ext4", "-b", "1024", "-d", tree, image, "8m")
    return image


@pytest.fixture
def image(sound: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "image"
    copy.write_bytes(sound.read_bytes())
    return copy


def debugfs(image: Path, *commands: str) -> str:
    shown = [run("debugfs", "-w", "-R", command, image).stdout.decode() for command in commands]
    return "".join(shown)


def set_feature(image: Path, field: int, bit: int) -> None:
    """Set a feature's bit and make the superblock's checksum right again."""
    data = bytearray(image.read_bytes())
    block = data[SUPERBLOCK_OFFSET : SUPERBLOCK_OFFSET + SUPERBLOCK_BYTES]
    value = int.from_bytes(block[field : field + 4], "little") | 1 << bit
    block[field : field + 4] = value.to_bytes(4, "little")
    checksum = crc32c(bytes(block[:_CHECKSUM]), ALL_ONES)
    block[_CHECKSUM:] = checksum.to_bytes(4, "little")
    data[SUPERBLOCK_OFFSET : SUPERBLOCK_OFFSET + SUPERBLOCK_BYTES] = block
    image.write_bytes(data)


@pytest.mark.parametrize(
    ("bit", "name"), [(0, "compression"), (12, "dirdata"), (18, "0x40000"), (31, "0x80000000")]
)
def test_an_incompatible_feature_that_is_not_read_is_refused_by_name(
    image: Path, bit: int, name: str
) -> None:
    set_feature(image, _INCOMPAT, bit)
    with pytest.raises(UnsupportedError, match=name):
        listing(image)


def test_a_feature_that_only_who_writes_has_to_know_is_no_obstacle(image: Path) -> None:
    expected = listing(image)
    set_feature(image, _RO_COMPAT, 30)
    assert listing(image) == expected


def test_an_encrypted_file_is_refused_with_its_path(image: Path) -> None:
    debugfs(image, "set_inode_field /link flags 0x800")
    with pytest.raises(EncryptedError, match="'link': is encrypted"):
        listing(image)


def test_a_folder_that_the_kernel_encrypted_is_refused_with_its_path(tmp_path: Path) -> None:
    image = tmp_path / "image"
    run("mke2fs", "-q", "-t", "ext4", "-O", "encrypt,stable_inodes", image, "16m")
    with loop_mounted_writable(image, "ext4", options="test_dummy_encryption") as root:
        (root / "secret").mkdir()
        (root / "secret" / "file").write_bytes(b"unreadable")
    with pytest.raises(EncryptedError, match="'secret': is encrypted"):
        listing(image)


def test_a_file_with_verity_reads_as_any_other(image: Path) -> None:
    expected = listing(image)
    debugfs(image, "set_inode_field /fragments flags 0x180000")
    assert listing(image) == expected


@pytest.mark.parametrize("what", ["inode", "folder", "extents"])
def test_a_wrong_checksum_is_an_error_that_names_the_path(image: Path, what: str) -> None:
    path = "/folder" if what == "folder" else "/fragments"
    if what == "inode":
        place = debugfs(image, f"imap {path}")
        match = re.search(r"block (\d+), offset (0x[0-9a-f]+)", place)
        assert match is not None
        offset = int(match[1]) * 1024 + int(match[2], 16) + 8  # the access time
    elif what == "folder":
        offset = int(debugfs(image, f"bmap {path} 1")) * 1024 + 900
    else:
        match = re.search(r"\(ETB\d\):(\d+)", debugfs(image, f"stat {path}"))
        assert match is not None
        offset = int(match[1]) * 1024 + 600
    data = bytearray(image.read_bytes())
    data[offset] ^= 0x40
    image.write_bytes(data)
    with pytest.raises(CorruptError, match=f"'{path[1:]}'") as caught:
        listing(image)
    assert caught.value.offset is not None
    assert abs(caught.value.offset - offset) < 1024


def test_a_symlink_that_the_kernel_would_cut_off_is_an_error(image: Path) -> None:
    debugfs(image, "set_inode_field /link size 1024")
    with pytest.raises(CorruptError, match="a symlink of 1,024 bytes"):
        listing(image)


def test_a_filesystem_that_is_cut_is_said_to_be(image: Path) -> None:
    data = image.read_bytes()
    for size in (*range(3000, len(data), 500_001), len(data) - 1024):
        image.write_bytes(data[:size])
        with pytest.raises(ConvertError) as caught:
            listing(image)
        assert caught.value.exit_code in {3, 4}


@pytest.mark.parametrize("options", ["-O ^metadata_csum", "-O ^extents,^64bit,^metadata_csum"])
def test_any_changed_byte_gives_a_tree_or_a_typed_error(
    sound: Path, tmp_path: Path, options: str
) -> None:
    """Without checksums, so that a change gets further than to the first sum."""
    image = tmp_path / "image"
    tree = sound.parent / "tree"
    run("mke2fs", "-q", "-t", "ext4", "-b", "1024", *options.split(), "-d", tree, image, "4m")
    data = image.read_bytes()
    places = [found.start() for found in re.finditer(rb"[^\0]", data)]
    metadata = [at for at in places if at < 80_000] + places[::50]
    chance = random.Random(options)
    limits = replace(DEFAULT_LIMITS, file_bytes=64 * MIB, entries=5000)
    outcomes: Counter[str] = Counter()
    for _ in range(300):
        changed = chance.choices(metadata, k=chance.choice([1, 1, 3]))
        for place in changed:
            value = chance.choice([0, 0xFF, 0x80, 1, chance.randrange(256)])
            patch(image, place, bytes([value]))
        outcomes[outcome(image, limits)] += 1
        for place in changed:
            patch(image, place, data[place : place + 1])
    assert {"tree", "corrupt"} <= set(outcomes) <= {"tree", *TYPED}


def test_a_filesystem_without_a_journal_that_was_in_use_is_reported(tmp_path: Path) -> None:
    need_root()
    live, copy = tmp_path / "live", tmp_path / "copy"
    run("mke2fs", "-q", "-t", "ext2", live, "8m")
    with loop_mounted_writable(live, "ext2"):
        shutil.copyfile(live, copy)
    with opened(copy) as (_, findings):
        assert [finding.rule for finding in findings] == ["filesystem-unclean"]


def test_errors_that_the_kernel_met_are_reported(image: Path) -> None:
    with opened(image) as (_, findings):
        assert findings == []
    debugfs(image, "set_super_value state 3")
    with opened(image) as (_, findings):
        assert [finding.rule for finding in findings] == ["filesystem-errors"]


def test_a_sparse_giant_is_refused_by_its_path(image: Path) -> None:
    debugfs(image, "set_inode_field /fragments size 0x1000000000")
    with pytest.raises(LimitError, match="'fragments' has 68,7"):
        listing(image)
