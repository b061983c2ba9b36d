"""What all tests of qcow2 share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.formats.disks.qcow2.support import qemu_io
from tests.support.programs import run


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.qcow2"
    run("qemu-img", "create", "-f", "qcow2", path, "4M")
    qemu_io(path, "write -P 0x11 0 256k", "write -c -P 0x22 1M 64k", "write -P 0x33 2M 64k")
    return path
