from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from formats.core.errors import ConvertError, CorruptError, UnsupportedError
from formats.core.origin import Origin
from formats.core.siblings import FolderSiblings

ORIGIN = Origin(("disk.vmdk",))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "images"
    inside.mkdir()
    (inside / "disk-flat.vmdk").write_bytes(b"extent")
    (tmp_path / "secret").write_bytes(b"canary")
    (inside / "link.vmdk").symlink_to(tmp_path / "secret")
    return inside


def siblings(folder: Path, *allowed: Path) -> FolderSiblings:
    closers: list[Callable[[], None]] = []
    return FolderSiblings(folder, allowed, closers.append)


def test_a_plain_name_in_the_same_folder_is_opened(folder: Path) -> None:
    source = siblings(folder).open("disk-flat.vmdk", ORIGIN)
    assert (bytes(source.read_at(0, 9)), str(source.origin)) == (
        b"extent",
        "disk.vmdk › disk-flat.vmdk",
    )
    source.close()


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "a/../../secret", "..", "", "nbd:host", "a\\b", "a\0b"]
)
def test_a_path_is_never_followed(folder: Path, name: str) -> None:
    assert not siblings(folder).exists(name)
    with pytest.raises(UnsupportedError, match="is not a plain name"):
        siblings(folder).open(name, ORIGIN)


def test_a_symlink_is_never_followed(folder: Path) -> None:
    assert not siblings(folder).exists("link.vmdk")
    with pytest.raises(UnsupportedError, match="which is a symlink"):
        siblings(folder).open("link.vmdk", ORIGIN)


@pytest.mark.parametrize("name", ["x" * 300, "\N{SNOWMAN}" * 200, "\ud800", "loop"])
def test_a_name_that_no_file_can_have_is_a_typed_error(folder: Path, name: str) -> None:
    (folder / "loop").symlink_to("loop")
    for beside in (siblings(folder), siblings(folder, folder)):
        assert not beside.exists(name)
        with pytest.raises((CorruptError, UnsupportedError)):
            beside.open(name, ORIGIN)


def test_a_missing_part_is_named(folder: Path) -> None:
    with pytest.raises(CorruptError, match=r"needs 'disk-s002\.vmdk', which is missing"):
        siblings(folder).open("disk-s002.vmdk", ORIGIN)


def test_an_allowed_folder_widens_what_may_be_opened(folder: Path) -> None:
    widened = siblings(folder, folder.parent)
    source = widened.open("../secret", ORIGIN)
    assert bytes(source.read_at(0, 6)) == b"canary"
    source.close()
    with pytest.raises(ConvertError):
        siblings(folder, folder).open("../secret", ORIGIN)


def test_what_lies_beside_a_file_of_an_allowed_folder_is_in_that_folder(folder: Path) -> None:
    widened = siblings(folder.parent, folder)
    assert not widened.exists("disk-flat.vmdk")
    assert not widened.beside("images/other").exists("disk-flat.vmdk")
    assert widened.beside("images/disk-flat.vmdk").exists("disk-flat.vmdk")
    assert not siblings(folder.parent).beside("images/disk-flat.vmdk").exists("disk-flat.vmdk")
