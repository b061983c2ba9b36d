"""The same tree, wherever it is read from: every filesystem, table and disk that can be written."""

from __future__ import annotations

import fcntl
import hashlib
from pathlib import Path

import pytest

from convert.layers.tar import encode_tar
from convert.options import ConvertOptions, Profile
from convert.plan import make_plan
from convert.select.root import select_volume
from tests.images import matrix
from tests.images.volumes import opened
from tests.support.listing import difference, kernel_listing, tree_listing
from tests.support.programs import need

OPTIONS = ConvertOptions(profile=Profile.NONE, platform=("linux", "amd64", None))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all test processes of this run have in common, with the tree in it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if base.name.startswith("popen-") else base) / "matrix"
    folder.mkdir(exist_ok=True)
    with _locked(folder / "tree.lock"):
        if not (folder / "tree").exists():
            matrix.fill(folder / "making")
            (folder / "making").rename(folder / "tree")
    return folder


class _locked:  # noqa: N801 - reads as a word at the call
    """Keep other processes out, until the end of the ``with``."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w")

    def __enter__(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()


def volume(shared: Path, filesystem: str) -> Path:
    """Return a filesystem with the tree, made by whoever comes first."""
    maker = matrix.FILESYSTEMS[filesystem]
    need(*maker.needs)
    image = shared / filesystem
    with _locked(shared / f"{filesystem}.lock"):
        if not image.exists():
            made = shared / f"{filesystem}.making"
            maker.make(shared / "tree", made)
            made.rename(image)
    return image


def layer_digest(disk: Path) -> str:
    hasher = hashlib.sha256()
    with opened(disk) as artifact:
        for chunk in encode_tar(make_plan(artifact, OPTIONS).tree):
            hasher.update(chunk)
    return hasher.hexdigest()


@pytest.fixture(scope="session")
def expected(shared: Path) -> str:
    """Return the digest of the layer from the plainest disk; that is held against the kernel."""
    return layer_digest(volume(shared, "ext4"))


@pytest.mark.parametrize("filesystem", matrix.FILESYSTEMS)
def test_every_filesystem_gives_what_was_put_into_it(shared: Path, filesystem: str) -> None:
    with opened(volume(shared, filesystem)) as artifact:
        ours = tree_listing(select_volume(artifact))
    assert len(ours) > matrix.FOLDERS * matrix.NAMES
    assert difference(kernel_listing(shared / "tree"), ours) == []


@pytest.mark.parametrize("table", matrix.TABLES)
@pytest.mark.parametrize("filesystem", matrix.FILESYSTEMS)
def test_the_layer_is_the_same_from_every_disk(
    shared: Path, expected: str, tmp_path: Path, filesystem: str, table: str
) -> None:
    raw = tmp_path / "disk.raw"
    matrix.TABLES[table](volume(shared, filesystem), raw)
    found = {"raw": layer_digest(raw)}
    for kind in matrix.DISKS:
        disk = matrix.as_disk(raw, kind)
        found[kind] = layer_digest(disk)
        disk.unlink()
    assert found == dict.fromkeys(found, expected)
