"""Rock Ridge: what we read is what the kernel showed of the folder that was written."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from formats.core.entry import Kind
from formats.core.limits import DEFAULT_LIMITS
from formats.core.origin import Origin
from formats.filesystems.iso.attributes import extended_attributes
from formats.filesystems.iso.system_use import CONTINUATION_BYTES, SystemUseReader
from formats.filesystems.iso.times import long_time, short_time
from tests.images.ext_everything import noise
from tests.images.iso import as_stored, genisoimage, mkisofs, without, xorriso
from tests.images.xfs_everything import without_duplicates
from tests.support.filesystems import listing, opened
from tests.support.listing import Row, difference, kernel_listing
from tests.support.memory_tree import varied


def test_an_image_of_everything_is_read_field_by_field(
    backup: Path, shown: dict[bytes, Row]
) -> None:
    ours = listing(backup)
    assert {row.kind for row in ours.values()} == set(Kind) - {Kind.HARDLINK}
    assert sum(len(row.xattrs) for row in ours.values()) > 15
    assert sum(len(row.links) for row in ours.values()) > 5
    assert difference(as_stored(shown), ours) == []


def test_relocated_folders_are_in_their_place(short_links: Path, tmp_path: Path) -> None:
    image = genisoimage(short_links, tmp_path / "image", "-R")
    kernel = as_stored(without_duplicates(kernel_listing(short_links)))
    # genisoimage writes each name of a symlink as a symlink of its own, and no attributes
    for name in (b"links/symlink60", b"links/symlink linked"):
        kernel |= without({name: kernel[name]}, "links")
    assert max(path.count(b"/") for path in kernel) == 40
    assert difference(without(kernel, "xattrs"), listing(image)) == []


def test_the_folder_for_relocated_ones_is_left_out_with_a_finding(
    short_links: Path, tmp_path: Path
) -> None:
    image = genisoimage(short_links, tmp_path / "image", "-R")
    with opened(image) as (tree, findings):
        names = {entry.path for entry in tree.entries()}
        rules = {finding.rule for finding in findings}
    assert b"rr_moved" not in names
    assert "iso-relocation-folder" in rules
    assert "iso-unlisted-folders" not in rules


def test_a_folder_of_that_name_with_more_in_it_stays(tmp_path: Path) -> None:
    (tmp_path / "tree" / "rr_moved").mkdir(parents=True)
    (tmp_path / "tree" / "rr_moved" / "mine").write_text("x")
    rows = listing(mkisofs(tmp_path / "tree", tmp_path / "image", "-R"))
    assert rows[b"rr_moved/mine"].size == 1


MARKS = {1: b"ZF\x10\x01pz", 2: b"\x10\x02PZ"}


def test_attributes_in_very_many_entries_are_not_copied_for_each() -> None:
    body = b"AL\xff\1\0" + b"\0\xf8" + b"x" * 248  # a component each
    area = body * (CONTINUATION_BYTES // len(body) - 1)

    def continuation(block: int, offset: int, length: int) -> bytes:
        following = struct.pack("<I", block + 1) + bytes(12) + struct.pack("<I", len(whole))
        del offset, length
        return area + b"CE\x1c\1" + following.ljust(24, b"\0") if block < 30 else area

    whole = area + bytes(28)
    reader = SystemUseReader(Origin(("image",)), continuation, 0)
    first = b"CE\x1c\1" + (bytes(16) + struct.pack("<I", len(whole))).ljust(24, b"\0")
    use = reader.read(first, 0)
    assert use.attribute_parts is not None
    assert sum(map(len, use.attribute_parts)) > 1_900_000


@pytest.mark.parametrize(
    ("version", "block_size"), [(1, "32k"), (1, "128k"), (2, "32k"), (2, "256k"), (2, "1m")]
)
def test_zisofs_is_decompressed(version: int, block_size: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    contents = {
        "text": varied(300_000),
        "noise": noise(200_000, 1),
        "zeros": bytes(100_000) + b"x" + bytes(200_000),
        "tiny": b"tiny",
        "empty": b"",
        "block": varied(64 << 10),
    }
    for name, content in contents.items():
        (tree / name).write_bytes(content)
    settings = (
        f"level=6:block_size=32k:block_size_v2={block_size}:version_2=on"
        if version == 2
        else f"level=6:block_size={block_size}:version_2=off"
    )
    image = xorriso(
        tree,
        tmp_path / "image",
        *("-zisofs", settings),
        after=("-set_filter_r", "--zisofs", "/", "--"),
    )
    assert MARKS[version] in image.read_bytes()
    assert difference(as_stored(kernel_listing(tree)), listing(image)) == []


def test_second_names_of_a_file_are_hard_links_only_where_the_image_says_so(
    tmp_path: Path,
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a").write_text("same")
    (tree / "b").hardlink_to(tree / "a")
    (tree / "twin").write_text("same")
    (tree / "empty").touch()
    (tree / "empty too").touch()
    for writer in (mkisofs, genisoimage):
        rows = listing(writer(tree, tmp_path / "image", "-R"))
        assert rows[b"a"].links == (b"a", b"b")
        assert rows[b"twin"].links == rows[b"empty"].links == ()


SHORT = bytes([124, 2, 29, 23, 59, 58])
LONG = b"2024022923595877"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (SHORT + b"\0", 1_709_251_198),
        (SHORT + b"\x04", 1_709_251_198 - 3600),
        (SHORT + b"\xf0", 1_709_251_198 + 4 * 3600),
        (SHORT + b"\x7f", 1_709_251_198),  # no time zone is that far away
        (bytes(7), 0),
        (bytes([124, 13, 1, 0, 0, 0, 0]), 0),
        (bytes([124, 2, 30, 0, 0, 0, 0]), 0),
        (bytes([0, 1, 1, 0, 0, 0, 0]), -2_208_988_800),
        (bytes([255, 12, 31, 23, 59, 59, 0]), 5_869_583_999),
    ],
)
def test_short_dates_are_seconds_since_1970(data: bytes, expected: int) -> None:
    assert short_time(data) == expected * 10**9


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (LONG + b"\0", 1_709_251_198_770_000_000),
        (LONG + b"\x04", 1_709_247_598_770_000_000),
        (b"0" * 16 + b"\0", 0),
        (b"2024x22923595877\0", 0),
        (b"2024132923595877\0", 0),
    ],
)
def test_long_dates_have_hundredths(data: bytes, expected: int) -> None:
    assert long_time(data) == expected


_ACCESS, _DEFAULT = b"system.posix_acl_access", b"system.posix_acl_default"


def _acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


_ANYONE = 0xFFFF_FFFF


@pytest.mark.parametrize(
    ("area", "expected"),
    [
        (  # both examples of the specification; in the second, it forgets a flag
            bytes([0, 0, 0, 11, 0x16, 0xAE, 1, 123, 0x34, 0xCE, 2, 255, 254, 0x54, 0x64]),
            (
                (
                    _ACCESS,
                    _acl(
                        (1, 6, _ANYONE),
                        (2, 6, 123),
                        (4, 4, _ANYONE),
                        (8, 6, 65534),
                        (16, 4, _ANYONE),
                        (32, 4, _ANYONE),
                    ),
                ),
            ),
        ),
        (
            bytes([0, 0, 0, 11, 0x17, 0x35, 0x65, 0x81, 0x17, 0x35, 0x57, 0x65, 0xAF, 1, 123]),
            (
                (
                    _DEFAULT,
                    _acl(
                        (1, 7, _ANYONE),
                        (2, 7, 123),
                        (4, 5, _ANYONE),
                        (16, 7, _ANYONE),
                        (32, 5, _ANYONE),
                    ),
                ),
            ),
        ),
        (b"\0\4\x03abc\0\1v\0\5\x06capa\0\0", ((b"security.capa", b""), (b"user.abc", b"v"))),
        (b"\1\2us\1\1e\0\4r.ab\1\1v\0\1w", ((b"user.ab", b"vw"),)),
        (b"\0\5\1\3abc\0\0", ((b"\3abc", b""),)),
        (b"\0\3\4ca\0\3xyz", ()),  # libisofs's own notes
        (bytes([0, 0, 0, 13, 8, 11, 0]) + b"123456789x", ()),  # the name of a user
    ],
)
def test_attributes_are_read_as_their_specification_has_them(
    area: bytes, expected: tuple[tuple[bytes, bytes], ...]
) -> None:
    assert extended_attributes(area, DEFAULT_LIMITS) == expected
