"""Images without Rock Ridge, and which of an image's trees is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from formats.core.entry import Kind
from formats.core.errors import UnsupportedError
from formats.filesystems.iso.names import joliet_name
from tests.images.iso import SECTOR, genisoimage, patched
from tests.support.filesystems import listing, opened
from tests.support.listing import kernel_listing
from tests.support.programs import run

NAMES = ("plain.txt", "Mixed Case.Txt", "Grüße", "имя файла", "文件", "n" * 60, "dot.", "a;b")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "sub folder").mkdir(parents=True)
    for name in NAMES:
        (folder / "sub folder" / name).write_text(name)
        os.utime(folder / "sub folder" / name, (1_700_000_000, 1_700_000_000))
    return folder


def rules(image: Path) -> dict[str, str]:
    with opened(image) as (tree, findings):
        list(tree.entries())
        return {finding.rule: finding.evidence for finding in findings}


def read_as(image: Path) -> str:
    with opened(image) as (tree, _):
        return tree.info.facts["read as"]


def test_joliet_has_whole_names(tree: Path, tmp_path: Path) -> None:
    image = genisoimage(tree, tmp_path / "image", "-J", "-joliet-long", "-input-charset", "utf-8")
    assert read_as(image) == "joliet"
    ours = {path: row.digest for path, row in listing(image).items()}
    theirs = {path: row.digest for path, row in kernel_listing(tree).items()}
    # a semicolon begins the version of a file
    assert ours == {path.replace(b";", b"_"): digest for path, digest in theirs.items()}


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("имя;1".encode("utf-16-be"), "имя".encode()),
        ("a;2".encode("utf-16-be"), b"a;2"),
        ("😀".encode("utf-16-be"), "😀".encode()),
        (b"\xd8\x3d\0a", b"\xed\xa0\xbda"),  # half of a pair
        (b"\0a\0", b"a"),
    ],
)
def test_names_of_joliet_are_utf_16(raw: bytes, name: bytes) -> None:
    assert joliet_name(raw) == name


def test_plain_names_are_shown_as_the_kernel_does(tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    folder.mkdir()
    for name in ("README", "noext", "two.ext", "UP.TXT"):
        (folder / name).write_text(name)
    image = genisoimage(folder, tmp_path / "image")
    assert read_as(image) == "plain"
    rows = listing(image)
    assert set(rows) == {b"", b"readme", b"noext", b"two.ext", b"up.txt"}
    assert {row.mode for row in rows.values()} == {0o555}
    assert {(row.uid, row.gid) for row in rows.values()} == {(0, 0)}


def test_longer_names_of_an_enhanced_volume_are_preferred_to_plain_ones(tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "A name with more than 31 characters.text").write_text("x")
    image = genisoimage(folder, tmp_path / "image", "-iso-level", "4")
    assert read_as(image) == "enhanced"
    assert b"A name with more than 31 characters.text" in listing(image)


def test_rock_ridge_is_preferred_to_joliet(small: Path) -> None:
    with opened(small) as (tree, _):
        assert tree.info.facts["read as"] == "rock-ridge"
        assert tree.info.facts["also has"] == "joliet, plain"
        assert {entry.kind for entry in tree.entries()} == {Kind.FILE, Kind.FOLDER, Kind.SYMLINK}


def test_files_that_only_another_tree_has_are_told(tree: Path, tmp_path: Path) -> None:
    image = genisoimage(
        tree,
        tmp_path / "image",
        "-J",
        "-joliet-long",
        "-R",
        "-input-charset",
        "utf-8",
        "-hide",
        "plain.txt",
    )
    assert b"sub folder/plain.txt" not in listing(image)
    assert rules(image)["iso-other-tree"] == "files that only its joliet tree has: plain.txt"


def test_trees_with_the_same_files_are_not_told(small: Path) -> None:
    assert set(rules(small)) == set()


def test_a_hidden_file_is_shown_and_told(tree: Path, tmp_path: Path) -> None:
    image = genisoimage(
        tree, tmp_path / "image", "-R", "-input-charset", "utf-8", "-hidden", "plain.txt"
    )
    assert b"sub folder/plain.txt" in listing(image)
    assert rules(image)["iso-hidden-file"].endswith(": plain.txt")


def record_of(image: Path, name: bytes) -> int:
    """Return where the first record of that name is."""
    data = image.read_bytes()
    return data.index(bytes([len(name)]) + name, 16 * SECTOR) - 32


def test_an_associated_file_is_left_out_and_told(tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "FORK").write_text("resources")
    image = genisoimage(folder, tmp_path / "image")
    patched(image, (record_of(image, b"FORK.;1") + 25, b"\4"))
    assert set(listing(image)) == {b""}
    assert rules(image)["iso-associated-file"].endswith(": fork")


def several_extents(folder: Path) -> Path:
    """Return an image with one file in two extents that do not adjoin."""
    tree = folder / "tree"
    tree.mkdir()
    for name, size in (("PART1", 3 * SECTOR), ("PART2", SECTOR), ("PART3", 100)):
        (tree / name).write_bytes(name.encode() * (size // 5) + bytes(size % 5))
    image = genisoimage(tree, folder / "image")
    first, middle, last = (record_of(image, b"PART%d.;1" % number) for number in (1, 2, 3))
    data = bytearray(image.read_bytes())
    data[first + 25] = 0x80
    data[last + 33 : last + 40] = data[first + 33 : first + 40]
    length = data[middle]
    data[middle : middle + length] = data[last : last + length]  # the second one comes last
    data[last : last + length] = bytes(length)
    image.write_bytes(data)
    return image


def test_a_file_of_several_extents_is_one(tmp_path: Path) -> None:
    image = several_extents(tmp_path)
    rows = listing(image)
    assert set(rows) == {b"", b"part1"}
    assert rows[b"part1"].size == 3 * SECTOR + 100
    content = run("bsdtar", "-xOf", image).stdout
    with opened(image) as (tree, _):
        entry = list(tree.entries())[1]
        assert b"".join(tree.read(entry)) == content
        assert content.startswith(b"PART1")
        assert content.endswith(b"PART3")


@pytest.mark.parametrize(
    ("offset", "data", "reason"),
    [
        (26, b"\2", "is interleaved"),
        (27, b"\1", "is interleaved"),
        (28, b"\7\0\0\7", "is on another disc of the set"),
    ],
)
def test_what_cannot_be_read_of_a_file_is_refused_when_it_is_read(
    offset: int, data: bytes, reason: str, tmp_path: Path
) -> None:
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "FILE").write_text("x")
    (folder / "OTHER").write_text("y")
    image = genisoimage(folder, tmp_path / "image")
    set_size = (16 * SECTOR + 120, b"\2\0\0\2")
    patched(image, (record_of(image, b"FILE.;1") + offset, data), set_size)
    with opened(image) as (tree, _):
        entries = {entry.path: entry for entry in tree.entries()}
        assert b"".join(tree.read(entries[b"other"])) == b"y"
        with pytest.raises(UnsupportedError, match=reason):
            list(tree.read(entries[b"file"]))
        with pytest.raises(UnsupportedError, match=reason):
            tree.open(entries[b"file"])  # type: ignore[attr-defined]


def test_label_and_identity_are_those_of_blkid(small: Path) -> None:
    lines = run("blkid", "-p", "-o", "export", small).stdout.decode().splitlines()
    blkid = dict(line.split("=", 1) for line in lines if "=" in line)
    with opened(small) as (tree, _):
        assert tree.info.uuid == blkid["UUID"]
        assert tree.info.label == blkid["LABEL"]
