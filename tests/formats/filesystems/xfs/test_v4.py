"""Version 4: what we read is what the last kernels that mount it show."""

from __future__ import annotations

from pathlib import Path

import pytest

from formats.core.entry import Kind
from tests.images import xfs_v4
from tests.support.filesystems import listing
from tests.support.listing import difference


@pytest.mark.parametrize("name", xfs_v4.MADE)
def test_it_reads_what_an_older_kernel_shows(name: str, tmp_path: Path) -> None:
    kernel = xfs_v4.KEPT.kernel_rows(name)
    assert len(kernel) > 3000
    assert {row.kind for row in kernel.values()} == set(Kind) - {Kind.HARDLINK, Kind.SOCKET}
    assert sum(len(row.xattrs) for row in kernel.values()) > 300
    assert difference(kernel, listing(xfs_v4.KEPT.image(name, tmp_path))) == []
