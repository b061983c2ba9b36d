"""What is refused, and what a damaged or hostile filesystem comes to."""

from __future__ import annotations

import random
import struct
from collections import Counter
from dataclasses import replace
from pathlib import Path

import google_crc32c
import pytest

from formats.core.errors import CorruptError, LimitError, UnsupportedError
from formats.core.limits import DEFAULT_LIMITS
from formats.core.opener import open_artifact
from formats.filesystems.btrfs.compression import DECODERS, decompress
from tests.formats.filesystems.btrfs.support import SUPERBLOCK, Node, look, nodes, write_node
from tests.images.btrfs_everything import listings, mkfs, text
from tests.images.btrfs_layouts import snapshot, subvolume
from tests.images.ext_everything import noise
from tests.images.volumes import MIB, blank, loop_device, patch, reader_name
from tests.support.filesystems import TYPED, outcome
from tests.support.listing import (
    Row,
    difference,
    kernel_listing,
    loop_mounted,
    loop_mounted_writable,
)
from tests.support.programs import need, need_root, run

COPY = 64 * MIB
NODE = 4096
HEADER_BYTES, ITEM, POINTER = 101, struct.Struct("<QBQII"), struct.Struct("<QBQQQ")

# Offsets in the superblock.
FLAGS, GENERATION, TOTAL, DEVICES, SECTOR, INCOMPAT, COMPAT_RO, CSUM_TYPE = (
    0x38, 0x48, 0x70, 0x88, 0x90, 0xBC, 0xB4, 0xC4,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _programs() -> None:
    need_root()
    need("mkfs.btrfs", "btrfs", "mount")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filesystem with small nodes: trees of several levels, all forms of extents."""
    image = mkfs(tmp_path_factory.mktemp("sound") / "image", f"-m single -n {NODE}", 72 * MIB)
    with loop_mounted_writable(image, "btrfs", options="compress-force=zstd") as root:
        inner = subvolume(root / "inner")
        for number in range(60):
            (inner / f"{number}{'n' * 60}").write_bytes(text(60 * number, number))
        (inner / "compressed").write_bytes(text(200_000))
        (inner / "link").symlink_to("x" * 100)
        snapshot(inner, root / "snapshot", read_only=True)
    with loop_mounted_writable(image, "btrfs") as root:
        (root / "plain").write_bytes(noise(50_000, 1))
    return image


@pytest.fixture
def image(sound: Path, tmp_path: Path) -> Path:
    run("cp", "--sparse=always", sound, tmp_path / "image")
    return tmp_path / "image"


def set_superblock(image: Path, offset: int, data: bytes, *, place: int = SUPERBLOCK) -> None:
    """Change a superblock and make its checksum right again."""
    with image.open("rb") as file:
        file.seek(place)
        block = bytearray(file.read(4096))
    block[offset : offset + len(data)] = data
    block[:4] = google_crc32c.value(bytes(block[32:])).to_bytes(4, "little")
    patch(image, place, bytes(block))


def add_bits(image: Path, offset: int, bits: int) -> None:
    with image.open("rb") as file:
        file.seek(SUPERBLOCK + offset)
        (value,) = struct.unpack("<Q", file.read(8))
    set_superblock(image, offset, struct.pack("<Q", value | bits))


@pytest.mark.parametrize(
    ("bit", "name"),
    [
        (12, "zoned"),
        (13, "extent_tree_v2"),
        (14, "raid_stripe_tree"),
        (15, "encrypt"),
        (17, "remap_tree"),
        (18, "0x40000"),
        (63, "0x8000000000000000"),
    ],
)
def test_an_incompatible_feature_that_is_not_read_is_refused_by_name(
    image: Path, bit: int, name: str
) -> None:
    add_bits(image, INCOMPAT, 1 << bit)
    with pytest.raises(UnsupportedError, match=name):
        listings(image)


def test_features_that_only_who_writes_has_to_know_are_no_obstacle(image: Path) -> None:
    expected = listings(image)
    add_bits(image, COMPAT_RO, 1 << 3 | 1 << 2 | 1 << 63)
    assert listings(image) == expected


@pytest.mark.parametrize(
    ("bit", "what"),
    [(33, "a dump of metadata"), (34, "a dump of metadata"), (36, "changing_fsid_v2")],
)
def test_a_state_in_which_nothing_can_be_read_is_refused(image: Path, bit: int, what: str) -> None:
    add_bits(image, FLAGS, 1 << bit)
    with pytest.raises(UnsupportedError, match=what):
        listings(image)


def test_errors_that_the_kernel_met_are_reported(image: Path) -> None:
    add_bits(image, FLAGS, 1 << 2)
    with open_artifact([image]) as artifact:
        assert [finding.rule for finding in artifact.findings] == ["filesystem-errors"]


def test_a_checksum_of_unknown_kind_is_refused(image: Path) -> None:
    set_superblock(image, CSUM_TYPE, b"\4\0")
    with pytest.raises(UnsupportedError, match="checksums are of type 4"):
        listings(image)


@pytest.mark.parametrize(
    ("offset", "data"),
    [(TOTAL, bytes(8)), (DEVICES, bytes(8)), (SECTOR, b"\0\x30"), (SECTOR + 4, bytes(4))],
)
def test_impossible_values_are_an_error_whatever_the_copy_says(
    image: Path, offset: int, data: bytes
) -> None:
    set_superblock(image, offset, data)
    with pytest.raises(CorruptError, match="the superblock is damaged"):
        listings(image)


def test_a_damaged_superblock_is_replaced_by_its_copy(image: Path) -> None:
    expected = listings(image)
    patch(image, SUPERBLOCK + GENERATION, b"\xff")
    assert listings(image) == expected
    with open_artifact([image]) as artifact:
        assert [finding.rule for finding in artifact.findings] == ["btrfs-superblock"]
    patch(image, COPY + GENERATION, b"\xff")
    with pytest.raises(CorruptError, match="crc32c checksum is wrong"):
        listings(image)


def test_a_copy_alone_is_only_taken_where_the_front_was_lost(image: Path) -> None:
    expected = listings(image)
    patch(image, 0, bytes(SUPERBLOCK + 4096))
    assert listings(image) == expected
    patch(image, 0x438, b"\x53\xef")
    assert reader_name(image) == "ext"
    patch(image, 0x438, b"\0\0")
    patch(image, 510, b"\x55\xaa")
    assert reader_name(image) == "mbr"


def test_what_stands_on_a_seed_device_is_refused_by_name(tmp_path: Path) -> None:
    seed = mkfs(tmp_path / "seed", "-m single")
    with loop_mounted_writable(seed, "btrfs") as root:
        (root / "file").write_bytes(b"seed")
    run("btrfstune", "-f", "-S", "1", seed)
    assert listings(seed)[b""][b"file"].size == 4
    sprout = blank(tmp_path / "sprout", 128 * MIB)
    with loop_device(sprout) as device, loop_mounted(seed, "btrfs") as root:
        run("btrfs", "device", "add", "-f", device, root)
    for given in ((sprout,), (sprout, seed), (seed, sprout)):
        with open_artifact(given) as artifact:
            problems = [str(node.problem) for node in artifact.walk() if node.problem is not None]
            assert len(problems) == 1
            assert "stands on a seed device: number 1 of the filesystem" in problems[0]


def test_sectors_larger_than_this_machines_pages(tmp_path: Path) -> None:
    """The kernel here mounts none of these: the folder that they are made of is the oracle."""
    source = tmp_path / "source"
    source.mkdir()
    for size in (0, 1, 2000, 4096, 16_384, 70_000):
        (source / str(size)).write_bytes(noise(size, size))
    (source / "link").symlink_to("0")
    expected = {path: _copied(row) for path, row in kernel_listing(source).items()}
    for sector in ("8192", "16384", "65536"):
        image = blank(tmp_path / sector, 256 * MIB)
        run("mkfs.btrfs", "-q", "-s", sector, "-n", "65536", "-m", "single", "-r", source, image)
        ours = {path: _copied(row) for path, row in listings(image)[b""].items()}
        assert difference(expected, ours) == []


def _copied(row: Row) -> Row:
    return replace(row, mtime_ns=0)


# Hostile trees.


def newest(image: Path, owner: int, level: int) -> Node:
    found = [node for node in nodes(image) if (node.owner, node.level) == (owner, level)]
    return max(found, key=lambda node: node.generation)


def refused(image: Path, what: str) -> None:
    with pytest.raises(CorruptError, match=what):
        listings(image)


INNER = 256
pytestmark = pytest.mark.timeout(60)


def test_a_node_that_leads_to_itself_is_an_error(image: Path) -> None:
    node = newest(image, INNER, 1)
    (logical,) = struct.unpack_from("<Q", node.data, 48)
    number, kind, offset, _, _ = POINTER.unpack_from(node.data, HEADER_BYTES)
    pointer = POINTER.pack(number, kind, offset, logical, node.generation)
    node.data[HEADER_BYTES : HEADER_BYTES + POINTER.size] = pointer
    write_node(image, node)
    refused(image, "is not the one that is pointed to")


def test_two_pointers_to_one_leaf_are_an_error(image: Path) -> None:
    node = newest(image, INNER, 1)
    first = HEADER_BYTES
    second = first + POINTER.size
    _, _, _, logical, generation = POINTER.unpack_from(node.data, first)
    key = POINTER.unpack_from(node.data, second)[:3]
    node.data[second : second + POINTER.size] = POINTER.pack(*key, logical, generation)
    write_node(image, node)
    refused(image, "is not the one that is pointed to")


def test_pointers_that_are_not_in_order_are_an_error(image: Path) -> None:
    node = newest(image, INNER, 1)
    first, second = HEADER_BYTES, HEADER_BYTES + POINTER.size
    swapped = node.data[second : second + POINTER.size] + node.data[first:second]
    node.data[first : second + POINTER.size] = swapped
    write_node(image, node)
    refused(image, "is not the one that is pointed to|not in order")


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        (17, 0xFFFFFFF0, "overlap, or lie outside"),
        (17, 10, "overlap, or lie outside"),
        (21, 0xFFFFFFFF, "overlap, or lie outside"),
        (0, 1, "not in order|not the one"),
    ],
)
def test_items_that_lie_outside_or_are_out_of_order_are_an_error(
    image: Path, field: int, value: int, what: str
) -> None:
    leaf = max(
        (node for node in nodes(image) if (node.owner, node.level) == (INNER, 0)),
        key=lambda node: (node.generation, node.count),
    )
    struct.pack_into("<I", leaf.data, HEADER_BYTES + 3 * ITEM.size + field, value)
    write_node(image, leaf)
    refused(image, what)


def test_more_items_than_fit_are_an_error(image: Path) -> None:
    leaf = newest(image, INNER, 0)
    struct.pack_into("<I", leaf.data, 96, 0xFFFFFFFF)
    write_node(image, leaf)
    refused(image, "items, more than fit")


def test_a_node_of_another_transaction_is_an_error(image: Path) -> None:
    leaf = newest(image, INNER, 0)
    struct.pack_into("<Q", leaf.data, 80, leaf.generation - 1)
    write_node(image, leaf)
    refused(image, "or another one is in its place")


def test_any_changed_byte_gives_a_tree_or_a_typed_error(sound: Path, image: Path) -> None:
    """With the checksum of the node made right again, so that a change gets further."""
    chance = random.Random(6)
    limits = replace(DEFAULT_LIMITS, file_bytes=64 * MIB, entries=2000)
    current = _in_use(sound)
    assert {node.owner for node in current} >= {1, 3, 5, 7, 256, 257}
    outcomes: Counter[str] = Counter()
    for _ in range(200):
        node = chance.choice(current)
        changed = replace(node, data=bytearray(node.data))
        for _ in range(chance.choice([1, 1, 3])):
            place = chance.choice([at for at in range(80, NODE) if node.data[at]])
            changed.data[place] = chance.choice([0, 0xFF, 0x80, 1, chance.randrange(256)])
        write_node(image, changed)
        outcomes[outcome(image, limits, look)] += 1
        patch(image, node.at, bytes(node.data))
    assert {"tree", "corrupt"} <= set(outcomes) <= {"tree", *TYPED}


def _in_use(image: Path) -> list[Node]:
    """Return the nodes that trees have now: those that are there for each logical address."""
    shown = run("btrfs", "inspect-internal", "dump-tree", image).stdout.decode()
    used = {
        int(line.split()[1]) for line in shown.splitlines() if line.startswith(("leaf ", "node "))
    }
    return [node for node in nodes(image) if struct.unpack_from("<Q", node.data, 48)[0] in used]


def test_an_image_that_is_cut_is_said_to_be(image: Path) -> None:
    data = image.read_bytes()
    for size in range(0x20000, len(data), 7_000_001):
        image.write_bytes(data[:size])
        with pytest.raises(CorruptError, match="has 75,497,472 bytes, its volume"):
            listings(image)


def test_a_sparse_giant_is_refused_by_its_path(tmp_path: Path) -> None:
    image = mkfs(tmp_path / "image", "-m single")
    with loop_mounted_writable(image, "btrfs") as root, (root / "giant").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(LimitError, match="'giant' has 1,099,511,627,776"):
        listings(image)


@pytest.mark.parametrize("compression", sorted(DECODERS))
def test_compressed_bytes_by_chance_are_decoded_within_bounds_or_refused(compression: int) -> None:
    chance = random.Random(compression)
    for _ in range(300):
        length = chance.randrange(200)
        data = struct.pack("<II", length, chance.randrange(200)) + chance.randbytes(length)
        try:
            decoded = decompress(compression, data, 8192, 4096, slack=4095)
        except CorruptError:
            continue
        assert len(decoded) == 8192
