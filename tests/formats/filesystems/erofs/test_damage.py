"""What is refused, and what a damaged or hostile image comes to."""

from __future__ import annotations

import random
import struct
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import lz4.block
import pytest

from formats.core.errors import ConvertError, CorruptError, LimitError, UnsupportedError
from formats.core.limits import DEFAULT_LIMITS, Limits
from tests.images.erofs import (
    BLOCK,
    DATA_BLOCK,
    HEAD1,
    NONHEAD,
    PARTIAL,
    PLAIN,
    Handmade,
    mkfs_erofs,
    padded,
)
from tests.support.filesystems import TYPED, listing, outcome
from tests.support.memory_tree import varied

_SUPERBLOCK = 1024
TEXT = varied(10_000)
SOUND = Handmade(
    10_000,
    ((HEAD1, 0, DATA_BLOCK), (NONHEAD, 0, 0x2_0001), (NONHEAD, 0, 0x1_0002)),
    padded(bytes(lz4.block.compress(TEXT, mode="high_compression", store_size=False))),
)


def problem_of(data: bytes, folder: Path) -> ConvertError:
    path = folder / "image"
    path.write_bytes(data)
    with pytest.raises(ConvertError) as caught:
        listing(path)
    return caught.value


def test_the_handmade_image_is_read(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(SOUND.image())
    assert listing(tmp_path / "image")[b"file"].size == len(TEXT)


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (80, 0x80, "not read: addresses_of_48_bits"),
        (80, 0x180, "not read: addresses_of_48_bits, metabox"),
        (80, 0x80000000, "not read: bit 0x80000000"),
        (86, 2, "content on 2 further devices"),
        (90, 1, "directory blocks of more than a block"),
    ],
)
def test_what_is_not_read_is_refused_by_name(
    offset: int, value: int, message: str, tmp_path: Path
) -> None:
    data = bytearray(SOUND.image())
    size = 4 if offset == 80 else 1
    data[_SUPERBLOCK + offset : _SUPERBLOCK + offset + size] = value.to_bytes(size, "little")
    error = problem_of(bytes(data), tmp_path)
    assert isinstance(error, UnsupportedError)
    assert message in error.message
    assert error.hint is not None


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (replace(SOUND, advice=0x40), "advice 0x40"),
        (replace(SOUND, cluster_bits=1), "clusters of kind 0x1"),
        (replace(SOUND, algorithms=4), "algorithm 4, which is not known"),
    ],
)
def test_what_is_not_read_of_a_file_is_refused_by_name(
    image: Handmade, message: str, tmp_path: Path
) -> None:
    error = problem_of(image.image(), tmp_path)
    assert isinstance(error, UnsupportedError)
    assert message in error.message


def indexes(*indexes: tuple[int, int, int]) -> Handmade:
    return replace(SOUND, indexes=indexes)


_BOMB = zlib.compressobj(9, zlib.DEFLATED, -15)
DEFLATE_BOMB = _BOMB.compress(bytes(3 << 20)) + _BOMB.flush()
CORRUPT = {
    "no extent": (indexes(*[(NONHEAD, 0, 1)] * 3), "has no extents"),
    "late start": (indexes((HEAD1, 5, DATA_BLOCK), *[(NONHEAD, 0, 1)] * 2), "do not adjoin"),
    "start elsewhere": (indexes((HEAD1, BLOCK, DATA_BLOCK), *[(NONHEAD, 0, 1)] * 2), "adjoin"),
    "behind the end": (
        indexes((HEAD1, 0, DATA_BLOCK), (NONHEAD, 0, 1), (HEAD1, 4000, 2)),
        "adjoin",
    ),
    "block elsewhere": (indexes((HEAD1, 0, 1 << 31), *[(NONHEAD, 0, 1)] * 2), "outside of the"),
    "huge cluster": (
        indexes((HEAD1, 0, DATA_BLOCK), (NONHEAD, 0, 0xFFF), (NONHEAD, 0, 1)),
        "has an extent of 10,000 bytes in 8,384,512",
    ),
    "literals in less than their size": (
        indexes((PLAIN, 0, DATA_BLOCK), *[(NONHEAD, 0, 1)] * 2),
        "larger than its blocks",
    ),
    "less than it says": (replace(SOUND, size=10_001), "an LZ4 block gives 10,000 of 10,001"),
    "more than it says": (replace(SOUND, size=9_999), "gives more than 9,999 bytes"),
    "less than it says, of a part": (
        replace(indexes((HEAD1 | PARTIAL, 0, DATA_BLOCK), *[(NONHEAD, 0, 1)] * 2), size=10_001),
        "an extent cannot be read: an LZ4 block",
    ),
    "huge file": (replace(SOUND, size=0xFFFFFFFF), "outside of the"),
    "no packed inode": (
        replace(SOUND, features=0x23, cluster_bits=0x80),
        "has tails of files, and is not there",
    ),
    "tail elsewhere": (
        replace(SOUND, features=0x23, advice=0x20, packed=b"short"),
        "ends inside of a file's tail",
    ),
    "inline tail of more than a block": (
        replace(SOUND, features=0x13, advice=8, detail=0xFFFF << 16),
        "inline tail of more than a block",
    ),
    "attributes that end": (replace(SOUND, xattrs=b"\xff\1\0\0name"), "runs out of its inode"),
    "attribute of no class": (replace(SOUND, xattrs=b"\4\x09\0\0name"), "class 9"),
    "no such prefix": (replace(SOUND, xattrs=b"\4\x80\0\0name"), "there is no prefix 0"),
    "attribute twice": (replace(SOUND, xattrs=b"\4\1\0\0name" * 2), "is there twice"),
    "damaged prefixes": (
        replace(SOUND, features=0x43, prefixes=(b"\x63overlay.",)),
        "prefix of attribute names is damaged",
    ),
    "no root": (replace(SOUND, root=8), "its root is no folder"),
    "root elsewhere": (replace(SOUND, root=0xFFFF), "is cut short or of no known kind"),
    "no layout": (replace(SOUND, layout=7), "of no known kind"),
}


@pytest.mark.parametrize("name", CORRUPT)
def test_a_damaged_structure_is_an_error_that_says_which(name: str, tmp_path: Path) -> None:
    image, message = CORRUPT[name]
    error = problem_of(image.image(), tmp_path)
    assert isinstance(error, CorruptError)
    assert message in error.message


_NAMES = BLOCK + 32
"""Where the root folder's block begins: three entries of 12 bytes, then their names."""


@pytest.mark.parametrize(
    ("offset", "data", "message"),
    [
        (39, b"../x", "'../x', which no system allows"),
        (39, b"\0", "which no system allows"),
        (8, b"\0\0", "has its names at byte 0"),
        (8, b"\x25\0", "has its names at byte 37"),
        (8, b"\xf0\xff", "has its names at byte 65,520"),
        (20, b"\xff\xff", "has its name elsewhere"),
        (32, b"\x05\0", "has its name elsewhere"),
        (24, bytes(8), "is a folder with two names"),
    ],
)
def test_a_damaged_folder_is_an_error(
    offset: int, data: bytes, message: str, tmp_path: Path
) -> None:
    image = bytearray(SOUND.image())
    image[_NAMES + offset : _NAMES + offset + len(data)] = data
    error = problem_of(bytes(image), tmp_path)
    assert isinstance(error, CorruptError)
    assert message in error.message


def test_an_inline_tail_of_more_than_its_block_is_an_error(tmp_path: Path) -> None:
    image = bytearray(SOUND.image())
    struct.pack_into("<I", image, BLOCK + 8, BLOCK - 16)  # of the root folder, behind 32 bytes
    error = problem_of(bytes(image), tmp_path)
    assert isinstance(error, CorruptError)
    assert "has an inline tail of more than a block" in error.message


def test_an_extent_never_gives_more_than_its_size(tmp_path: Path) -> None:
    bomb = replace(SOUND, data=padded(DEFLATE_BOMB), algorithms=2)
    (tmp_path / "image").write_bytes(bomb.image())
    assert listing(tmp_path / "image")[b"file"].size == 10_000


def test_a_file_that_is_too_large_is_a_limit(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(SOUND.image())
    with pytest.raises(LimitError, match="holes included"):
        listing(tmp_path / "image", Limits(file_bytes=9_999))


def test_a_superblock_that_is_not_what_its_checksum_is_of_is_an_error(
    sound: bytes, tmp_path: Path
) -> None:
    assert struct.unpack_from("<I", sound, _SUPERBLOCK + 8)[0] & 1, "it has one"
    data = bytearray(sound)
    data[_SUPERBLOCK + 65] ^= 1
    error = problem_of(bytes(data), tmp_path)
    assert isinstance(error, CorruptError)
    assert "has checksum" in error.message


@pytest.fixture(scope="module", params=["-zlz4", "-zlz4hc,9", "--chunksize=4096"])
def sound(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("sound")
    tree = folder / "tree"
    (tree / "folder").mkdir(parents=True)
    for number in range(150):
        (tree / "folder" / f"{number}{'n' * 50}").write_bytes(b"%d" % number)
    (tree / "text").write_bytes(varied(60_000))
    (tree / "link").symlink_to("x" * 100)
    options = (request.param, "-Eztailpacking") if "z" in request.param[:2] else (request.param,)
    return mkfs_erofs(tree, folder / "image", *options).read_bytes()


def test_whatever_is_damaged_the_outcome_is_a_tree_or_a_typed_error(
    sound: bytes, tmp_path: Path
) -> None:
    chance = random.Random(4)
    outcomes: Counter[str] = Counter()
    for _ in range(80):
        damaged = bytearray(sound)
        damaged[_SUPERBLOCK + 8] &= 0xFE  # no checksum
        for _ in range(chance.choice((1, 4, 30))):
            damaged[chance.randrange(_SUPERBLOCK + 4, len(sound))] = chance.randrange(256)
        (tmp_path / "image").write_bytes(damaged)
        outcomes[outcome(tmp_path / "image", DEFAULT_LIMITS)] += 1
    assert {"tree", "corrupt"} <= set(outcomes) <= {"tree", *TYPED}


def test_an_image_that_is_cut_short_is_an_error(sound: bytes, tmp_path: Path) -> None:
    for length in range(BLOCK, len(sound), BLOCK):
        error = problem_of(sound[:length], tmp_path)
        assert isinstance(error, CorruptError)
        assert "are there" in error.message
