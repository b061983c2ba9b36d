"""Every feature: what we read is what the kernel shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.images.btrfs_everything import (
    EMPTY,
    enable_simple_quotas,
    kernel_listings,
    listings,
    made,
    mounted,
)
from tests.support.listing import difference
from tests.support.programs import need, need_root, run


@pytest.fixture(autouse=True)
def _programs() -> None:
    need_root()
    need("mkfs.btrfs", "btrfs", "mount", "losetup", "setcap", "setfacl", "chattr", "mkswap")


@dataclass(frozen=True, slots=True)
class Case:
    """How a filesystem is made, and what is done to it before and after it is filled."""

    mkfs: str = ""
    before: Callable[[Path], None] | None = None
    after: Callable[[Path], None] | None = None


def _new_uuid(image: Path) -> None:
    run("btrfstune", "-f", "-m", image)


CASES = {
    "as mkfs makes it": Case(),
    "4 KiB nodes, xxhash, another UUID": Case("-m single -n 4096 --csum xxhash", after=_new_uuid),
    "64 KiB nodes, sha256, simple quotas": Case(
        "-m single -n 65536 --csum sha256", before=enable_simple_quotas
    ),
    "mixed block groups, blake2, quotas": Case("--mixed -n 4096 --csum blake2 -R quota"),
    "as the first kernels made it": Case("-m single -O ^no-holes,^extref -R ^free-space-tree"),
}
SNAPSHOT = b"outer as it was"
SUBVOLUMES = {
    b"",
    b"outer",
    SNAPSHOT,
    b"outer/folder/inner",
    b"outer/folder/renamed",
}


@pytest.mark.parametrize("name", CASES)
def test_it_reads_what_the_kernel_shows(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    image = made(tmp_path, case.mkfs, before=case.before)
    if case.after is not None:
        case.after(image)
    ours = listings(image)
    assert set(ours) == SUBVOLUMES
    with mounted(image) as root:
        kernel = kernel_listings(root, list(ours))
    assert len(kernel[b""]) > 500
    # The kernel makes this folder up, with the time of looking.
    empty = kernel[SNAPSHOT][EMPTY]
    kernel[SNAPSHOT][EMPTY] = replace(empty, mtime_ns=kernel[SNAPSHOT][b"folder"].mtime_ns)
    for path, rows in kernel.items():
        assert difference(rows, ours[path]) == [], path
