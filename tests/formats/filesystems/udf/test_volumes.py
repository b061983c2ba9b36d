"""UDF: what we read is what a kernel showed, and what 7-Zip lists of media it cannot write."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from formats.core.entry import Kind
from formats.core.errors import CorruptError
from formats.filesystems.udf.names import decoded
from tests.images import udf
from tests.images.iso import SECTOR, genisoimage
from tests.support.filesystems import listing, opened
from tests.support.listing import difference, kernel_listing
from tests.support.programs import corpus, need, run


@pytest.mark.parametrize("name", udf.MADE)
def test_it_reads_what_a_kernel_shows(name: str, tmp_path: Path) -> None:
    kernel = udf.KEPT.kernel_rows(name)
    assert len(kernel) > 300
    assert {row.kind for row in kernel.values()} == set(Kind) - {Kind.HARDLINK, Kind.SOCKET}
    assert difference(kernel, listing(udf.KEPT.image(name, tmp_path))) == []


@pytest.mark.parametrize("name", udf.MADE)
def test_label_and_identity_are_those_of_blkid(name: str, tmp_path: Path) -> None:
    image = udf.KEPT.image(name, tmp_path)
    lines = run("blkid", "-p", "-o", "export", image).stdout.decode().splitlines()
    blkid = dict(line.split("=", 1) for line in lines if "=" in line)
    with opened(image) as (tree, _):
        assert (tree.info.uuid, tree.info.label) == (blkid["UUID"], blkid["LABEL"])
        assert tree.info.facts["block size"] == re.findall(r"-b (\d+)", udf.MADE[name])[0]


@pytest.mark.parametrize(
    "options", ["-m cdr -r 1.50", "-m dvdr -b 2048 -r 2.01", "-m bdr"], ids=["1.50", "2.01", "2.50"]
)
def test_the_table_of_a_virtual_partition_is_the_last_block(options: str, tmp_path: Path) -> None:
    need("mkudffs")
    image = tmp_path / "image"
    run("truncate", "--size", "6M", image)
    shown = run("mkudffs", *options.split(), image).stdout.decode()
    with pytest.raises(CorruptError, match="no table of its virtual partition"):
        listing(image)  # the disc was not closed: nobody knows where the last block is
    table = int(re.findall(r"vatblock=(\d+)", shown)[0])
    os.truncate(image, (table + 1) * SECTOR)
    with opened(image) as (tree, findings):
        assert [entry.kind for entry in tree.entries()] == [Kind.FOLDER]
        assert tree.info.facts["partitions"] == "plain, virtual"
        assert findings == []


def test_beside_an_iso_without_rock_ridge_udf_is_read(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "Folder").mkdir(parents=True)
    for number in range(40):
        (tree / "Folder" / f"имя {number}").write_bytes(b"%d" % number * number * 100)
    options = ("-udf", "-J", "-input-charset", "utf-8")
    image = genisoimage(tree, tmp_path / "image", *options)
    with opened(image) as (opened_tree, _):
        assert opened_tree.info.format == "udf"
    expected = {path: row.digest for path, row in kernel_listing(tree).items()}
    assert {path: row.digest for path, row in listing(image).items()} == expected
    with opened(genisoimage(tree, tmp_path / "image", *options, "-R")) as (opened_tree, _):
        assert opened_tree.info.format == "iso9660"


def test_beside_an_iso_a_damaged_udf_is_told_and_the_iso_is_read(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("x")
    image = genisoimage(tmp_path / "tree", tmp_path / "image", "-udf", "-J")
    data = bytearray(image.read_bytes())
    for anchor in range(0, len(data), SECTOR):
        if data[anchor : anchor + 2] == b"\2\0":
            data[anchor + 4] ^= 1
    image.write_bytes(data)
    with opened(image) as (tree, findings):
        assert tree.info.facts["read as"] == "joliet"
        assert findings[0].rule == "iso-other-tree"


def test_7_zip_lists_the_same(tmp_path: Path) -> None:
    need("7z")
    tree = tmp_path / "tree"
    (tree / "many").mkdir(parents=True)
    for number in range(100):
        (tree / "many" / f"имя {number}").write_bytes(b"x" * number * 100)
    image = genisoimage(tree, tmp_path / "image", "-udf", "-J", "-input-charset", "utf-8")
    shown = run("7z", "l", "-slt", "-ba", "-tudf", image).stdout.decode()
    sizes = re.findall(r"^Path = (.+)\nFolder = -\nSize = (\d+)$", shown, re.MULTILINE)
    ours = {path: row.size for path, row in listing(image).items() if row.kind is Kind.FILE}
    assert len(ours) == 100
    assert ours == {path.encode(): int(size) for path, size in sizes}


def test_the_last_session_of_others_is_read(tmp_path: Path) -> None:
    name = "util-linux__udf-multi-0-417-834-genisoimage.img.xz"
    image = tmp_path / "image"
    image.write_bytes(run("xz", "-dc", corpus(f"iso/{name}")).stdout)
    with opened(image) as (tree, _):
        assert tree.info.format == "udf"
        assert tree.info.label == "third session"


def test_a_disk_of_windows_is_read(tmp_path: Path) -> None:
    image = tmp_path / "image"
    packed = next(corpus("").rglob("util-linux__udf-hdd-win7.img.xz"))
    image.write_bytes(run("xz", "-dc", packed).stdout)
    with opened(image) as (tree, _):
        assert tree.info.format == "udf"
        assert list(tree.entries())


def test_a_disc_of_others_is_read(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(run("gzip", "-dc", corpus("iso/libcdio__udf102.iso.gz")).stdout)
    rows = listing(image)
    assert [row.kind for row in rows.values()] == [Kind.FOLDER, Kind.FILE]


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"", b""),
        (b"\x08abc", b"abc"),
        (b"\x08\xe9", "é".encode()),
        (b"\x10\x04\x38", "и".encode()),
        (b"\x10" + "😀".encode("utf-16-be"), "😀".encode()),
        (b"\x10\xd8\x3d", b"\xed\xa0\xbd"),
    ],
)
def test_names_are_of_8_or_16_bits(data: bytes, name: bytes) -> None:
    assert decoded(data) == name


def test_other_encodings_are_refused() -> None:
    with pytest.raises(CorruptError, match=r"not known \(9\)"):
        decoded(b"\x09a")
