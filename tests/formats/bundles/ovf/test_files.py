"""The files that a descriptor refers to: beside it, in chunks, compressed, or elsewhere."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.opener import open_artifact
from tests.formats.bundles.ovf.support import write
from tests.formats.bundles.support import disks
from tests.images.ovf import package
from tests.images.volumes import opened
from tests.support.disks import whole
from tests.support.programs import need, run


def test_compressed_disks_are_decompressed(tmp_path: Path) -> None:
    what = package("disk.raw.gz")
    what = replace(what, files=({**what.files[0], "compression": "gzip"},))
    path = write(tmp_path, what)
    content = bytes(range(256)) * 1000
    (tmp_path / "disk.raw.gz").write_bytes(gzip.compress(content))
    with opened(path) as artifact:
        (disk,) = artifact.nodes[0].children
        assert disk.reader is not None
        assert disk.reader.name == "gzip"
        assert whole(disk.children[0].volume.source) == content


def test_a_disk_that_is_not_compressed_as_stated_is_an_error(tmp_path: Path) -> None:
    what = package("disk.raw")
    what = replace(what, files=({**what.files[0], "compression": "gzip"},))
    with pytest.raises(CorruptError, match="not compressed by gzip"):
        disks("ovf", write(tmp_path, what, "disk.raw"))


CHUNK = 1000


def _chunked(folder: Path, size: int | None, *lengths: int) -> tuple[Path, bytes]:
    """Write a disk in chunks of these lengths; return the descriptor and the disk's content."""
    content = bytes(number % 251 for number in range(sum(lengths)))
    position = 0
    for number, length in enumerate(lengths):
        (folder / f"disk.raw.{number:09}").write_bytes(content[position : position + length])
        position += length
    what = package("disk.raw")
    stated = {"chunkSize": str(CHUNK)} | ({} if size is None else {"size": str(size)})
    return write(folder, replace(what, files=({**what.files[0], **stated},))), content


@pytest.mark.parametrize("lengths", [(CHUNK, CHUNK, 10), (CHUNK, CHUNK), (7,)])
@pytest.mark.parametrize("is_stated", [True, False])
def test_chunks_are_put_together(
    tmp_path: Path, lengths: tuple[int, ...], *, is_stated: bool
) -> None:
    path, content = _chunked(tmp_path, sum(lengths) if is_stated else None, *lengths)
    with opened(path) as artifact:
        (disk,) = artifact.nodes[0].children
        assert disk.problem is None
        assert whole(disk.volume.source) == content


@pytest.mark.parametrize(
    ("size", "lengths"),
    [
        (3 * CHUNK, (CHUNK, CHUNK)),  # the last is missing
        (2 * CHUNK, (CHUNK, CHUNK - 1)),  # the last is cut short
        (3 * CHUNK, (CHUNK, CHUNK - 1, CHUNK)),  # one in the middle is
        (2 * CHUNK, (CHUNK + 1, CHUNK - 1)),  # one is too long
        (None, (CHUNK + 1,)),
        (CHUNK, ()),
    ],
)
def test_missing_chunks_and_such_of_a_wrong_size_are_errors(
    tmp_path: Path, size: int | None, lengths: tuple[int, ...]
) -> None:
    with pytest.raises(CorruptError):
        disks("ovf", _chunked(tmp_path, size, *lengths)[0])


def test_a_size_that_differs_is_reported(tmp_path: Path) -> None:
    what = package("a.vmdk")
    what = replace(what, files=({**what.files[0], "size": "9"},))
    with opened(write(tmp_path, what, "a.vmdk")) as artifact:
        assert artifact.nodes[0].children[0].problem is None
        assert [finding.rule for finding in artifact.findings] == ["ovf-size-differs"]


@pytest.mark.parametrize(
    ("href", "name"),
    [
        ("a%20b.vmdk", "a b.vmdk"),
        ("a%20b.vmdk", "a%20b.vmdk"),
        ("ü.vmdk", "ü.vmdk"),
        ("./a.vmdk", "a.vmdk"),
    ],
)
def test_references_are_taken_as_written_or_with_their_escapes(
    tmp_path: Path, href: str, name: str
) -> None:
    assert disks("ovf", write(tmp_path, package(href), name)) == [name.encode().decode()]


@pytest.mark.parametrize(
    "href",
    [
        "../secret",
        "%2e%2e/secret",
        "./../secret",
        "/etc/hostname",
        "sub/disk",
        "C:\\disk",
        "",
        ".",
        "x" * 300,
    ],
)
def test_references_out_of_the_folder_are_refused(tmp_path: Path, href: str) -> None:
    (tmp_path / "secret").write_bytes(b"canary")
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "disk").write_bytes(b"canary")
    with pytest.raises((UnsupportedError, CorruptError)) as caught:
        disks("ovf", write(folder, package(href)))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("href", ["my disks/split.vmdk", "my%20disks/split.vmdk"])
def test_a_disk_in_a_folder_that_is_allowed_is_read_with_its_extents(
    tmp_path: Path, href: str
) -> None:
    need("qemu-img")
    folder = tmp_path / "my disks"
    folder.mkdir()
    (tmp_path / "raw").write_bytes(b"extents" * 100_000)
    options = ("-O", "vmdk", "-o", "subformat=twoGbMaxExtentFlat")
    run("qemu-img", "convert", *options, tmp_path / "raw", folder / "split.vmdk")
    path = write(tmp_path, package(href))
    with open_artifact([path], allow_backing=[tmp_path]) as artifact:
        (disk,) = artifact.nodes[0].children
        assert disk.problem is None, str(disk.problem)
        assert whole(disk.children[0].volume.source)[:700_000] == b"extents" * 100_000
    with open_artifact([path]) as artifact:
        assert isinstance(artifact.nodes[0].children[0].problem, CorruptError | UnsupportedError)


@pytest.mark.parametrize("scheme", ["http", "https", "file", "ftp"])
def test_nothing_is_fetched_from_elsewhere(tmp_path: Path, scheme: str) -> None:
    with pytest.raises(UnsupportedError, match="nothing is fetched"):
        disks("ovf", write(tmp_path, package(f"{scheme}://localhost/disk.vmdk")))


def test_symlinks_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, package("a.vmdk"))
    (tmp_path / "a.vmdk").symlink_to("/etc/hostname")
    with pytest.raises(UnsupportedError, match="symlink"):
        disks("ovf", path)
