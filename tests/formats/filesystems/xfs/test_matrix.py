"""Every feature: what we read is what the kernel shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.images.xfs_everything import (
    EXCHANGE_AND_PARENT,
    made,
    set_incompat,
    share,
    without_duplicates,
)
from tests.support.filesystems import listing
from tests.support.listing import difference, kernel_listing, loop_mounted, loop_mounted_writable
from tests.support.programs import need, need_root, run


@pytest.fixture(autouse=True)
def _programs() -> None:
    need_root()
    need("mkfs.xfs", "xfs_io", "xfs_admin", "mount", "setcap", "setfacl")


@dataclass(frozen=True, slots=True)
class Case:
    """How a filesystem is made, and what is done to it before and after it is filled."""

    mkfs: str = ""
    before: Callable[[Path], None] | None = None
    after: Callable[[Path], None] | None = None
    shares: bool = True


def _exchange_and_parent(image: Path) -> None:
    set_incompat(image, EXCHANGE_AND_PARENT)


def _new_uuid(image: Path) -> None:
    run("xfs_admin", "-U", "generate", image)


CASES = {
    "4 KiB blocks": Case(),
    "1 KiB blocks": Case("-b size=1024"),
    "2 KiB blocks, 64 KiB folder blocks": Case("-b size=2048 -n size=65536"),
    "1 KiB blocks, 8 KiB folder blocks": Case("-b size=1024 -n size=8192 -m rmapbt=1"),
    "large counters, large inodes": Case("-i nrext64=1,size=2048 -s size=4096"),
    "large counters, 1 KiB blocks": Case("-i nrext64=1 -b size=1024"),
    "the first version 5": Case(
        "-m bigtime=0,inobtcount=0,finobt=0,reflink=0 -i sparse=0,nrext64=0", shares=False
    ),
    "many groups, stripes": Case("-d agcount=5,su=64k,sw=2 -l size=12m -L label"),
    "parent pointers": Case("-d agcount=2 -l size=12m", before=_exchange_and_parent),
    "another UUID": Case("-b size=1024", after=_new_uuid),
}


@pytest.mark.parametrize("name", CASES)
def test_it_reads_what_the_kernel_shows(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    image = made(tmp_path, case.mkfs, more=case.before)
    if case.shares:
        with loop_mounted_writable(image, "xfs") as root:
            share(root)
    if case.after is not None:
        case.after(image)
    with loop_mounted(image, "xfs") as root:
        kernel = without_duplicates(kernel_listing(root))
    assert len(kernel) > 3000
    assert difference(kernel, listing(image)) == []
