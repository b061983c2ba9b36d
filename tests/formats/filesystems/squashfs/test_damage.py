"""What is refused, and what a damaged or hostile image comes to."""

from __future__ import annotations

import contextlib
import lzma
import random
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import lz4.block
import lzallright
import pytest
import zstandard

from formats.core.errors import ConvertError, CorruptError, LimitError, UnsupportedError
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.opener import open_artifact
from formats.filesystems.squashfs.compression import COMPRESSIONS
from tests.images.ext_everything import KIB, MIB
from tests.images.squashfs import EXTENDED_FILE, NONE, SUPERBLOCK, Handmade, mksquashfs
from tests.support.filesystems import TYPED, listing, outcome
from tests.support.memory_tree import varied

_TEXT = b"text of a file"
_PLAIN = 1 << 24


def file_inode(
    *stored: int, size: int = len(_TEXT), place: int = 96, fragment: int = NONE, offset: int = 0
) -> bytes:
    sizes = struct.pack(f"<{len(stored)}I", *stored)
    return EXTENDED_FILE.pack(place, size, 0, 1, fragment, offset, NONE) + sizes


SOUND = Handmade(file_inode(_PLAIN | len(_TEXT)), data=_TEXT)


def problem_of(image: Handmade, folder: Path) -> ConvertError:
    path = folder / "image"
    path.write_bytes(image.image())
    with pytest.raises(ConvertError) as caught:
        listing(path)
    return caught.value


def test_a_handmade_image_is_read(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(SOUND.image())
    assert listing(image)[b"file"].size == len(_TEXT)


_MAGIC, _BLOCK_BYTES, _COMPRESSOR, _BLOCK_LOG, _MAJOR = 0, 3, 5, 6, 9
_ID_COUNT, _ROOT, _SIZE, _IDS, _XATTRS, _INODES, _DIRECTORIES, _FRAGMENTS = 8, *range(11, 18)
_FAR = 1 << 60


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (_COMPRESSOR, 7, "compressor has the number 7"),
        (_MAJOR, 3, "is squashfs 3.0; only 4.0 is read"),
        (_MAJOR, 1, "is squashfs 1.0; only 4.0 is read"),
    ],
)
def test_what_is_not_read_is_refused_by_name(
    field: int, value: int, message: str, tmp_path: Path
) -> None:
    error = problem_of(Handmade(b"", superblock={field: value}), tmp_path)
    assert isinstance(error, UnsupportedError)
    assert message in error.message
    assert error.hint is not None


def test_a_big_endian_image_is_refused_by_name(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"sqsh" + bytes(24) + struct.pack(">HH", 3, 1) + bytes(4096))
    with pytest.raises(UnsupportedError, match=r"is squashfs 3\.1, big-endian; only 4\.0"):
        listing(image)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (_BLOCK_LOG, 17, "blocks of 1,048,576 bytes and of 2^17"),
        (_BLOCK_LOG, 0xFFFF, "of 2^65535"),
        (_BLOCK_BYTES, 0, "blocks of 0 bytes"),
        (_SIZE, _FAR, "only 4,096 are there"),
        (_SIZE, 0, "outside of the image"),
        (_ID_COUNT, 0, "no owners"),
        (_ID_COUNT, 0xFFFF, "no record 1"),
        (_ROOT, _FAR, "lies behind the inode table"),
        (_ROOT, 8191, "is cut short or of no known kind"),
        (_ROOT, 0, "its root is no folder"),
        (_IDS, 4090, "outside of the image"),
        (_IDS, 90, "outside of the image"),
        (_XATTRS, _FAR, "outside of the image"),
        (_INODES, _FAR, "outside of the image"),
        (_DIRECTORIES, 96, "its directories before its inodes"),
        (_FRAGMENTS, _FAR, "outside of the image"),
    ],
)
def test_a_superblock_that_contradicts_itself_is_an_error(
    field: int, value: int, message: str, tmp_path: Path
) -> None:
    image = Handmade(SOUND.file, data=_TEXT, superblock={field: value})
    error = problem_of(image, tmp_path)
    assert isinstance(error, CorruptError)
    assert message in error.message


def with_folder(size: int, offset: int, place: int = 0) -> Handmade:
    """Return an image whose file is a folder: its listing begins as the root folder's does."""
    inode = struct.pack("<IIHHI", place, 2, size + 3, offset, 0)
    return Handmade(inode, kind=1, names=((b"n" * 60, False),))


def symlink(target: bytes, size: int) -> Handmade:
    return Handmade(struct.pack("<II", 1, size) + target, kind=3)


def named(*names: bytes) -> Handmade:
    return Handmade(SOUND.file, names=tuple((name, False) for name in names))


FRAGMENT = (96, _PLAIN | len(_TEXT))
CORRUPT = {
    "short block": (Handmade(file_inode(_PLAIN | 10)), "holds 10 of 14"),
    "long block": (Handmade(file_inode(_PLAIN | 20)), "more than 14"),
    "block of 16 MiB": (Handmade(file_inode(_PLAIN | 0xFFFFFF)), "claims 16,777,215 stored"),
    "unknown flag": (Handmade(file_inode(1 << 30)), "stored bytes"),
    "block elsewhere": (Handmade(file_inode(9, place=_FAR)), "a block lies outside of the image"),
    "more blocks than the image has": (
        Handmade(file_inode(*[1 << 20] * 3, size=3 * MIB)),
        "a block lies outside of the image",
    ),
    "more blocks than the inode has": (Handmade(file_inode(0, size=16 << 30)), "metadata block"),
    "no fragment": (Handmade(file_inode(fragment=0)), "there is no fragment 0"),
    "fragment elsewhere": (
        Handmade(file_inode(fragment=0), fragments=((_FAR, 100),)),
        "a block lies outside of the image",
    ),
    "tail behind its fragment": (
        Handmade(file_inode(fragment=0, offset=1 << 31), data=_TEXT, fragments=(FRAGMENT,)),
        "a fragment ends inside of a file",
    ),
    "owner": (Handmade(SOUND.file, owner=1), "belongs to nobody"),
    "kind 15": (Handmade(b"", kind=15), "of no known kind"),
    "kind 0": (Handmade(b"", kind=0), "of no known kind"),
    "empty symlink": (symlink(b"", 0), "to nowhere"),
    "symlink with NUL": (symlink(b"a\0b", 3), "to nowhere"),
    "loop": (Handmade(SOUND.file, names=((b"loop", True),)), "is a folder with two names"),
    "name twice": (named(b"a", b"a"), "has two entries 'a'"),
    "parent": (named(b".."), "'..', which no system allows"),
    "itself": (named(b"."), "'.', which no system allows"),
    "path": (named(b"a/b"), "'a/b', which no system allows"),
    "absolute path": (named(b"/"), "'/', which no system allows"),
    "name with NUL": (named(b"a\0b"), "which no system allows"),
    "half a header": (with_folder(6, 0), "a record is cut short"),
    "half a name": (with_folder(12 + 8 + 30, 0), "a record is cut short"),
    "half a header of a name": (with_folder(12 + 4, 0), "a record is cut short"),
    "header of too many names": (with_folder(27, 20), "a directory header claims"),
    "listing behind its block": (with_folder(27, 9000), "a metadata block is too short"),
    "listing behind the image": (with_folder(27, 0, 0xFFFFFF00), "outside of the image"),
}


@pytest.mark.parametrize("name", CORRUPT)
def test_a_damaged_structure_is_an_error_that_says_which(name: str, tmp_path: Path) -> None:
    image, message = CORRUPT[name]
    error = problem_of(image, tmp_path)
    assert isinstance(error, CorruptError)
    assert message in error.message


LIMITS = {
    "a file of 64 GiB": (Handmade(file_inode(0, size=64 << 30)), "holes included"),
    "a symlink of 4 GiB": (symlink(b"", NONE), "is a symlink of 4,294,967,295 bytes"),
    "a long name": (named(b"n" * 256), "has a name of 256 bytes"),
}


@pytest.mark.parametrize("name", LIMITS)
def test_what_is_too_large_is_a_limit(name: str, tmp_path: Path) -> None:
    image, message = LIMITS[name]
    error = problem_of(image, tmp_path)
    assert isinstance(error, LimitError)
    assert message in error.message


def test_too_many_names_are_a_limit(tmp_path: Path) -> None:
    image = tmp_path / "image"
    names = tuple((b"%d" % number, False) for number in range(30))
    image.write_bytes(Handmade(SOUND.file, data=_TEXT, names=names).image())
    with pytest.raises(LimitError, match="more than 29 names"):
        listing(image, Limits(folder_entries=29))
    assert len(listing(image, Limits(folder_entries=30))) == 31


BOMBS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": zlib.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "lzo": lambda data: lzallright.LZOCompressor().compress(data),
    "xz": lambda data: lzma.compress(data, lzma.FORMAT_XZ),
    "lz4": lambda data: bytes(lz4.block.compress(data, store_size=False)),
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("number", COMPRESSIONS)
def test_a_block_never_gives_more_than_its_size(number: int, tmp_path: Path) -> None:
    """By one byte, and by a thousand times."""
    for size in (MIB + 1, 20 * MIB):
        bomb = BOMBS[COMPRESSIONS[number].name](bytes(size))
        file = file_inode(len(bomb), size=MIB)
        image = Handmade(file, data=bomb, superblock={_COMPRESSOR: number})
        error = problem_of(image, tmp_path)
        assert isinstance(error, CorruptError)
        assert "more than 1,048,576 bytes" in error.message
        assert error.offset == 96


@pytest.mark.parametrize("number", COMPRESSIONS)
def test_damage_in_a_block_is_an_error_or_other_content(number: int, tmp_path: Path) -> None:
    pack = BOMBS[COMPRESSIONS[number].name]
    block = bytearray(pack(varied(20_000)))
    chance = random.Random(number)
    for _ in range(40):
        damaged = bytearray(block)
        damaged[chance.randrange(len(block))] ^= 1 << chance.randrange(8)
        file = file_inode(len(damaged), size=20_000)
        (tmp_path / "image").write_bytes(
            Handmade(file, data=bytes(damaged), superblock={_COMPRESSOR: number}).image()
        )
        with contextlib.suppress(CorruptError):
            assert listing(tmp_path / "image")[b"file"].size == 20_000


def test_a_short_block_in_the_middle_is_filled_with_zeros(tmp_path: Path) -> None:
    """Squashfs Binary Format, 4: a block other than the last one may unpack to less."""
    file = file_inode(_PLAIN | 3, _PLAIN | 4, size=MIB + 4)
    (tmp_path / "image").write_bytes(Handmade(file, data=b"abcdefg").image())
    with open_artifact([tmp_path / "image"]) as artifact:
        tree = artifact.nodes[0].tree
        assert tree is not None
        (_, entry) = tree.entries()
        assert b"".join(tree.read(entry)) == b"abc" + bytes(MIB - 3) + b"defg"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return an image with folders of several blocks, fragments, and files of several blocks."""
    folder = tmp_path_factory.mktemp("sound")
    tree = folder / "tree"
    (tree / "folder").mkdir(parents=True)
    for number in range(400):
        (tree / "folder" / f"{number}{'n' * 50}").write_bytes(b"%d" % number)
    (tree / "blocks").write_bytes(varied(30 * KIB))
    (tree / "link").symlink_to("x" * 100)
    options = ("-noI", "-noX", "-b", "4K")
    return mksquashfs(tree, folder / "image", *options).read_bytes()


def test_whatever_is_damaged_the_outcome_is_a_tree_or_a_typed_error(
    sound: bytes, tmp_path: Path
) -> None:
    chance = random.Random(4)
    outcomes: Counter[str] = Counter()
    for _ in range(150):
        damaged = bytearray(sound)
        for _ in range(chance.choice((1, 1, 4))):
            place = chance.choice((chance.randrange(SUPERBLOCK.size), chance.randrange(len(sound))))
            damaged[place] = chance.choice((0, 0xFF, chance.randrange(256)))
        (tmp_path / "image").write_bytes(damaged)
        outcomes[outcome(tmp_path / "image", DEFAULT_LIMITS)] += 1
    assert {"tree", "corrupt"} <= set(outcomes) <= {"tree", *TYPED}


def test_an_image_that_is_cut_short_is_an_error(sound: bytes, tmp_path: Path) -> None:
    for length in range(100, len(sound) - 4096, 4096):
        (tmp_path / "image").write_bytes(sound[:length])
        with pytest.raises(CorruptError, match=r"only [\d,]+ are there"):
            listing(tmp_path / "image")
