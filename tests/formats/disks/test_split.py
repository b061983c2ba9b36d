"""Files in parts, cut by split(1)."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.opener import open_artifact
from formats.disks.split import READER
from tests.support.disks import check_extents, inside, opened, whole
from tests.support.programs import corpus, need, run

KIB, MIB = 1 << 10, 1 << 20


def cut(file: Path, size: str = "1M", *options: str) -> Path:
    """Cut a file into parts, remove it, and return the first part."""
    need("split")
    run("split", "-a", "3", "-b", size, *(options or ["-d"]), file, f"{file}.")
    file.unlink()
    return min(file.parent.glob(f"{file.name}.*"))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A partitioned disk with an ext4 filesystem, of three parts and a bit."""
    need("sfdisk", "mkfs.ext4")
    disk, filesystem, tree = tmp_path / "disk.raw", tmp_path / "filesystem", tmp_path / "tree"
    tree.mkdir()
    (tree / "noise").write_bytes(random.Random(1).randbytes(300 * KIB))
    run("mkfs.ext4", "-q", "-d", tree, filesystem, "2M")
    disk.write_bytes(bytes(MIB) + filesystem.read_bytes() + bytes(100 * KIB))
    layout = tmp_path / "layout"
    layout.write_text("label: gpt\nfirst-lba: 40\nstart=2048, size=4096, type=linux\n")
    run("sh", "-c", f"sfdisk -q --no-reread {disk} < {layout}")
    return disk


@pytest.mark.parametrize("option", ["-d", "--numeric-suffixes=1"])
def test_parts_are_joined_whether_they_start_at_0_or_1(raw: Path, option: str) -> None:
    content = raw.read_bytes()
    first = cut(raw, "1M", option)
    with opened(first, READER) as artifact:
        disk = inside(artifact)
        assert whole(disk) == content
        assert whole(disk, 100_001) == content
        assert str(disk.origin) == f"{first.name} › disk.raw"
        assert artifact.nodes[0].facts == {"parts": "4"}


def test_what_the_parts_make_together_is_opened(raw: Path) -> None:
    with open_artifact([raw]) as artifact:
        expected = [node.origin.parts[1:] for node in artifact.walk() if node.tree is not None]
    assert expected == [("gpt:1",)]
    with open_artifact([cut(raw)]) as artifact:
        (tree,) = (node for node in artifact.walk() if node.tree is not None)
        assert str(tree.origin) == "disk.raw.000 › disk.raw › gpt:1"
        assert tree.tree is not None
        assert b"noise" in {entry.path for entry in tree.tree.entries()}


def test_a_compressed_image_in_parts_finds_what_it_stands_on(raw: Path) -> None:
    need("qemu-img")
    content = raw.read_bytes()
    top = raw.with_name("top.qcow2")
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", raw.name, "-F", "raw", top)
    run("gzip", top)
    with open_artifact([cut(raw.with_name("top.qcow2.gz"), "500")]) as artifact:
        disk = next(node for node in artifact.walk() if node.children[0].volume.label == "disk")
        assert whole(disk.children[0].volume.source) == content


def test_holes_of_the_parts_are_holes(tmp_path: Path) -> None:
    for number, size in enumerate([MIB, MIB, 4 * KIB]):
        with (tmp_path / f"disk.{number:03}").open("wb") as part:
            part.write(b"data" * KIB)
            part.truncate(size)
    with opened(tmp_path / "disk.000", READER) as artifact:
        assert check_extents(inside(artifact)) == 2 * (MIB - 4 * KIB)


@pytest.mark.parametrize("last", [100, 1000])
def test_a_part_missing_between_others_is_named(tmp_path: Path, last: int) -> None:
    numbers = {0, 1, 3, last - 1}
    for number in numbers:
        (tmp_path / f"disk.{number:03}").write_bytes(b"data")
    with opened(tmp_path / "disk.000", READER) as artifact, pytest.raises(CorruptError) as caught:
        inside(artifact)
    assert "'disk.002' is missing" in str(caught.value)


@pytest.mark.parametrize("first", [0, 1])
def test_a_part_that_is_not_the_first_says_which_to_name(tmp_path: Path, first: int) -> None:
    for number in range(first, first + 3):
        (tmp_path / f"disk.{number:03}").write_bytes(b"data")
    for number in (first + 1, first + 2):
        with (
            opened(tmp_path / f"disk.{number:03}", READER) as artifact,
            pytest.raises(UnsupportedError, match=f"is part {number - first + 1} of") as caught,
        ):
            inside(artifact)
        assert f"name its first part, 'disk.{first:03}'" in str(caught.value)


def test_a_set_without_its_first_part_is_refused(tmp_path: Path) -> None:
    for number in (2, 3):
        (tmp_path / f"disk.{number:03}").write_bytes(b"data")
    for number in (2, 3):
        with (
            opened(tmp_path / f"disk.{number:03}", READER) as artifact,
            pytest.raises(CorruptError, match="is part of a file in parts whose first"),
        ):
            inside(artifact)


@pytest.mark.parametrize("sizes", [(8, 7, 8), (8, 8, 9), (8, 9, 8)])
def test_a_part_of_another_size_is_named(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    for number, size in enumerate(sizes):
        (tmp_path / f"disk.{number:03}").write_bytes(bytes(size))
    with opened(tmp_path / "disk.000", READER) as artifact, pytest.raises(CorruptError) as caught:
        inside(artifact)
    odd = next(number for number, size in enumerate(sizes) if size != 8)
    assert f"disk.{odd:03}: has {sizes[odd]} bytes" in str(caught.value)


def test_a_part_that_is_a_symlink_is_not_followed(tmp_path: Path) -> None:
    for name in ("secret", "disk.000", "disk.002"):
        (tmp_path / name).write_bytes(b"data")
    (tmp_path / "disk.001").symlink_to(tmp_path / "secret")
    with opened(tmp_path / "disk.000", READER) as artifact, pytest.raises(CorruptError):
        inside(artifact)


@pytest.mark.parametrize("name", ["backup.000", "backup.001", "backup.042"])
def test_a_lone_file_with_a_number_is_read_as_what_it_is(raw: Path, name: str) -> None:
    lone = raw.rename(raw.with_name(name))
    with open_artifact([lone]) as artifact:
        assert [node.tree.info.format for node in artifact.walk() if node.tree is not None] == [
            "ext4"
        ]


def test_names_inside_of_others_mean_nothing(tmp_path: Path) -> None:
    (tmp_path / "disk.001").write_bytes(b"data")
    with opened(tmp_path / "disk.001", READER) as artifact:
        source = inside(artifact)
    assert not READER.probe(source)
    assert READER.probe(artifact.nodes[0].volume.source)


def test_parts_that_others_made_are_joined(tmp_path: Path) -> None:
    first = corpus("raw/dfvfs_splitraw/ext2.splitraw.000")
    joined = tmp_path / "joined"
    joined.write_bytes(b"".join(part.read_bytes() for part in sorted(first.parent.iterdir())))
    with open_artifact([first]) as ours, open_artifact([joined]) as expected:
        (tree,) = (node.tree for node in ours.walk() if node.tree is not None)
        (other,) = (node.tree for node in expected.walk() if node.tree is not None)
        assert list(tree.entries()) == list(other.entries())
        assert len(list(tree.entries())) > 5
