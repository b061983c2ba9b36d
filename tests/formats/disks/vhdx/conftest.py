"""What all tests of VHDX disks share."""

from __future__ import annotations

import pytest

from tests.support.programs import need


@pytest.fixture(scope="session")
def qemu() -> None:
    need("qemu-img", "qemu-io")
