"""What is refused of UDF, what damage comes to, and partitions that no writer here makes."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest
from pycdlib.udf import crc_ccitt

from formats.core.entry import Kind
from formats.core.errors import ConvertError, CorruptError, LimitError
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.core.source import BytesLike, MemorySource
from formats.filesystems.udf import partition_maps
from formats.filesystems.udf.allocation import LONG, SHORT, Allocation, Mapper
from formats.filesystems.udf.entries import FileEntry
from formats.filesystems.udf.filesystem import UdfFilesystem
from formats.filesystems.udf.partition_maps import map_virtual
from formats.filesystems.udf.partitions import (
    MetadataPartition,
    PlainPartition,
    SparablePartition,
    VirtualPartition,
)
from formats.filesystems.udf.structures import Place
from formats.filesystems.udf.volume import read_volume
from tests.images.iso import patched
from tests.images.udf import KEPT, MADE
from tests.support.filesystems import TYPED, listing, opened
from tests.support.listing import difference
from tests.support.mutations import outcomes

BLOCK = 2048
_ORIGIN = Origin(("image",))
_LARGEST_TAG = 266


def sealed(data: bytearray, offset: int, block_bytes: int) -> None:
    """Put CRC and checksum of the descriptor in a block right, if there is one."""
    start = offset // block_bytes * block_bytes
    kind, _, _, _, _, _, length = struct.unpack_from("<HHBBHHH", data, start)
    if not 0 < kind <= _LARGEST_TAG or length > block_bytes - 16:
        return
    struct.pack_into(
        "<H", data, start + 8, crc_ccitt(bytes(data[start + 16 : start + 16 + length]))
    )
    data[start + 4] = 0
    data[start + 4] = sum(data[start : start + 16]) & 0xFF


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("is_sealed", [False, True], ids=["", "sealed"])
def test_changed_bytes_give_a_tree_or_a_typed_error(
    name: str, is_sealed: bool, tmp_path: Path
) -> None:
    block = int(re.findall(r"-b (\d+)", MADE[name])[0])

    def seal(data: bytearray, offset: int) -> None:
        sealed(data, offset, block)

    image = KEPT.image(name, tmp_path)
    found = outcomes(image, range(15), 0x8000, 3 << 20, seal if is_sealed else None)
    assert set(found) <= {"tree", *TYPED}
    assert len(found) > 1


def test_a_damaged_descriptor_is_read_from_the_reserve(tmp_path: Path) -> None:
    image = KEPT.image("hd-2048", tmp_path)
    kernel = KEPT.kernel_rows("hd-2048")
    first = image.read_bytes().index(b"\6\0\2\0")
    assert first % BLOCK == 0
    patched(image, (first + 100, b"damaged"))
    assert difference(kernel, listing(image)) == []


def test_without_an_anchor_it_is_refused(tmp_path: Path) -> None:
    image = KEPT.image("hd-2048", tmp_path)
    size = image.stat().st_size
    patched(image, *((at, bytes(16)) for at in (256 * BLOCK, size - BLOCK, size - 257 * BLOCK)))
    with pytest.raises(CorruptError, match="no anchor volume descriptor"):
        listing(image)


def test_a_damaged_file_entry_is_refused_with_its_path(tmp_path: Path) -> None:
    image = KEPT.image("hd-2048", tmp_path)
    data = image.read_bytes()
    entries = [at for at in range(0, len(data), BLOCK) if data[at : at + 2] == b"\5\1"]
    patched(image, (entries[-1] + 48, b"\xff"))
    with pytest.raises(CorruptError, match=r"'.+': a file entry is damaged: Tag CRC") as caught:
        listing(image)
    assert caught.value.offset == entries[-1]


def changed(name: str, folder: Path, tag: int, file_type: int, *change: tuple[int, int]) -> Path:
    """Return an image with numbers put into the last descriptor of a kind, at their offsets.

    :param file_type: of file entries; -1 for other descriptors.
    """
    image = KEPT.image(name, folder)
    block = int(re.findall(r"-b (\d+)", MADE[name])[0])
    data = bytearray(image.read_bytes())
    start = max(
        at
        for at in range(0, len(data), block)
        if data[at : at + 2] == struct.pack("<H", tag) and file_type in {-1, data[at + 27]}
    )
    for offset, value in change:
        struct.pack_into("<I", data, start + offset, value)
    sealed(data, start, block)
    image.write_bytes(data)
    return image


def test_a_filesystem_that_was_in_use_is_told(tmp_path: Path) -> None:
    image = changed("hd-2048", tmp_path, 9, -1, (28, 0))  # integrity: open
    with opened(image) as (_, findings):
        assert [finding.rule for finding in findings] == ["filesystem-unclean"]


def test_named_streams_are_told_when_all_was_seen(tmp_path: Path) -> None:
    image = changed("hd-4096", tmp_path, 266, 5, (152, 4096))  # a place for streams
    with opened(image) as (tree, findings):
        assert findings == []
        assert len(list(tree.entries())) > 300
        assert [finding.rule for finding in findings] == ["udf-named-streams"]


def test_an_image_cut_short_is_refused_with_a_place(tmp_path: Path) -> None:
    image = KEPT.image("hd-2048", tmp_path)
    data = image.read_bytes()
    for length in range(0x9000, 2 << 20, 61 * BLOCK):
        image.write_bytes(data[:length])
        with pytest.raises(ConvertError):
            listing(image)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(entries=30), "is one more than 30 paths"),
        (Limits(folder_entries=100), "more than 100 names in it"),
        (Limits(name_bytes=100), "has more than 100 bytes"),
        (Limits(symlink_target_bytes=20), "is a symlink of"),
    ],
)
def test_limits_hold(limits: Limits, message: str, tmp_path: Path) -> None:
    with pytest.raises(LimitError, match=message):
        listing(KEPT.image("hd-2048", tmp_path), limits)


def mapper(*blocks: bytes) -> Mapper:
    """Return one of a plain partition with these blocks."""
    source = MemorySource(b"".join(block.ljust(BLOCK, b"\0") for block in blocks), _ORIGIN)
    found = Mapper(source, BLOCK)
    found.partitions.append(PlainPartition(0, len(blocks), BLOCK, _ORIGIN))
    return found


def short(kind: int, length: int, block: int) -> bytes:
    return struct.pack("<II", kind << 30 | length, block)


def continuation(descriptors: bytes) -> bytes:
    body = bytearray(struct.pack("<HHBBHHHI", 258, 2, 0, 0, 0, 0, 8 + len(descriptors), 0))
    body += struct.pack("<II", 0, len(descriptors)) + descriptors
    body = body.ljust(BLOCK, b"\0")
    sealed(body, 0, BLOCK)
    return bytes(body)


def test_extents_are_data_holes_and_continuations() -> None:
    more = continuation(short(0, 100, 3))
    found = mapper(b"", b"", more, b"")
    data = short(0, BLOCK, 1) + short(1, BLOCK, 0) + short(2, BLOCK, 0) + short(3, BLOCK, 2)
    runs = found.runs(Allocation(SHORT, data, Place(0, 0)), 3 * BLOCK + 100)
    assert [tuple(run) for run in runs] == [(0, BLOCK, BLOCK), (3 * BLOCK, 100, 3 * BLOCK)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (short(0, BLOCK, 1), "has 10,000 bytes and extents for 2,048"),
        (short(0, 100, 1) + short(0, BLOCK, 1), "ends inside of a block, and goes on"),
        (short(0, BLOCK * 9, 1), "are wanted of a partition of 4"),
        (short(3, BLOCK, 2), "in a circle|or a circle"),
        (short(3, BLOCK, 0), "an allocation extent descriptor is"),
    ],
)
def test_damaged_extents_are_refused(data: bytes, message: str) -> None:
    found = mapper(b"x", b"", continuation(short(3, BLOCK, 2)), b"")
    with pytest.raises(CorruptError, match=message):
        found.runs(Allocation(SHORT, data, Place(0, 0)), 10_000)


def test_extents_that_claim_the_same_blocks_again_and_again_are_refused() -> None:
    found = mapper(b"", b"", b"", b"")
    twice = Allocation(SHORT, short(0, 4 * BLOCK, 0) * 2, Place(0, 0))
    assert len(found.runs(twice, 4 * BLOCK)) == 1
    with pytest.raises(CorruptError, match="extents that overlap"):
        found.runs(twice, 8 * BLOCK)


def test_descriptors_that_two_files_share_are_refused() -> None:
    found = mapper(b"", b"", continuation(short(0, BLOCK, 1)))
    data = short(3, BLOCK, 2)
    assert found.runs(Allocation(SHORT, data, Place(0, 0)), BLOCK)
    assert found.runs(Allocation(SHORT, data, Place(0, 0)), BLOCK)
    with pytest.raises(CorruptError, match="lead into others"):
        found.runs(Allocation(SHORT, data, Place(0, 1)), BLOCK)


def test_a_partition_that_is_not_there_is_refused() -> None:
    data = struct.pack("<IIH6x", BLOCK, 0, 7)
    with pytest.raises(CorruptError, match="partition 7 is wanted of 1"):
        mapper(b"").runs(Allocation(LONG, data, Place(0, 0)), BLOCK)


_BELOW = PlainPartition(100, 1000, BLOCK, _ORIGIN)


def test_spared_packets_are_elsewhere() -> None:
    partition = SparablePartition({32: 5000}, 32, _BELOW)
    assert list(partition.pieces(30, 40)) == [
        (130 * BLOCK, 2),
        (5000 * BLOCK, 32),
        (164 * BLOCK, 6),
    ]


def test_virtual_blocks_are_where_the_table_says() -> None:
    partition = VirtualPartition([7, 3], _BELOW)
    assert list(partition.pieces(0, 2)) == [(107 * BLOCK, 1), (103 * BLOCK, 1)]
    with pytest.raises(CorruptError, match="of a partition of 2"):
        list(partition.pieces(1, 2))


def test_looking_for_a_table_reads_no_more_than_one_may_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Any file of a disc may be it until it is read."""
    size = 20 << 20

    def entry(_: Mapper, place: Place) -> FileEntry:
        allocation = Allocation(SHORT, short(0, size, 0), place)
        return FileEntry(Kind.FILE, 0, 0, 0, 0, size, 1, None, allocation, has_streams=False)

    monkeypatch.setattr(partition_maps, "_entry", entry)
    mark = b"\x05\x01".ljust(BLOCK, b"\0")  # of a file entry
    source = _Counting(bytes(size) + mark * 20, _ORIGIN)
    below = PlainPartition(0, source.size // BLOCK, BLOCK, _ORIGIN)
    with pytest.raises(CorruptError, match="has no table of its virtual partition"):
        map_virtual(Mapper(source, BLOCK), b"", below)
    assert 3 * size <= source.given < 3 * size + BLOCK * 20


class _Counting(MemorySource):
    given = 0

    def read_at(self, offset: int, length: int) -> BytesLike:
        found = super().read_at(offset, length)
        self.given += len(found)
        return found


@pytest.mark.parametrize(("cache_bytes", "is_kept"), [(1 << 20, True), (1, False)])
def test_content_kept_in_entries_is_limited(
    cache_bytes: int, is_kept: bool, tmp_path: Path
) -> None:
    source = MemorySource(KEPT.image("hd-2048", tmp_path).read_bytes(), _ORIGIN)
    filesystem = UdfFilesystem(read_volume(source), Limits(cache_bytes=cache_bytes))
    first = filesystem.entry(filesystem.root)
    for _, number in filesystem.names(filesystem.root):
        filesystem.entry(number)
    assert (filesystem.entry(filesystem.root) is first) is is_kept


def test_metadata_blocks_are_those_of_a_file() -> None:
    partition = MetadataPartition([(0, 4, 10 * BLOCK), (4, 4, 50 * BLOCK)], BLOCK, _ORIGIN)
    assert list(partition.pieces(2, 4)) == [(12 * BLOCK, 2), (50 * BLOCK, 2)]
    for block, count in ((7, 2), (8, 1), (1 << 31, 1)):
        with pytest.raises(CorruptError, match="of a partition of 8"):
            list(partition.pieces(block, count))
