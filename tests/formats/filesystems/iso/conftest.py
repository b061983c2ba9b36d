"""What tests of ISO images share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.images.iso import fill_for_iso, mkisofs, without_long_symlinks, xorriso
from tests.images.xfs_everything import without_duplicates
from tests.support.listing import Row, kernel_listing
from tests.support.programs import need_root


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with everything that Rock Ridge has."""
    need_root()
    return fill_for_iso(tmp_path_factory.mktemp("iso") / "tree")


@pytest.fixture(scope="session")
def short_links(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the same without long symlinks."""
    need_root()
    return without_long_symlinks(fill_for_iso(tmp_path_factory.mktemp("iso") / "tree"))


@pytest.fixture(scope="session")
def backup(everything: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an image of everything by xorriso, with links and attributes."""
    return xorriso(everything, tmp_path_factory.mktemp("iso") / "backup.iso")


@pytest.fixture(scope="session")
def shown(everything: Path) -> dict[bytes, Row]:
    """Return the kernel's listing of everything."""
    return without_duplicates(kernel_listing(everything))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Return a small image with Rock Ridge and Joliet."""
    tree = tmp_path / "small"
    (tree / "folder").mkdir(parents=True)
    (tree / "folder" / "file").write_text("content of a file\n")
    (tree / "link").symlink_to("folder/file")
    return mkisofs(tree, tmp_path / "small.iso", "-R", "-J")
