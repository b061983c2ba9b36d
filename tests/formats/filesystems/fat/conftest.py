"""What all tests of FAT share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.formats.filesystems.fat.support import SIZES
from tests.images.fat import Fat, fat_of, fill, make_fat
from tests.support.programs import need


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("fat") / "tree")


@pytest.fixture
def make(tmp_path: Path, filled: Path) -> Callable[..., Fat]:
    """Return what makes a filesystem with that tree in it."""
    need("mkfs.fat", "mcopy")

    def maker(bits: int, *options: str, size: int = 0) -> Fat:
        image = tmp_path / f"fat{bits}"
        make_fat(image, size or SIZES[bits], filled, "-F", str(bits), *options)
        return fat_of(image, bits)

    return maker
