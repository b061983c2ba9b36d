"""What tests of several disk formats share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.disk_images import MIB, random_disk
from tests.support.programs import need


@pytest.fixture(scope="session")
def qemu() -> None:
    need("qemu-img", "qemu-io")


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk whose end is neither a whole block nor a whole cylinder."""
    return random_disk(tmp_path_factory.mktemp("raw") / "disk.raw", 19 * MIB + 512 * 7, seed=1)
