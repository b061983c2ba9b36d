"""Filesystems that nobody here made, field by field: e2fsprogs' own tests and others'."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.images.ext_journal_views import listing_after_e2fsck
from tests.support.filesystems import listing, listing_after_kernel
from tests.support.listing import difference, kernel_listing, loop_mounted
from tests.support.programs import need, need_root
from tests.support.survey import unpacked

SOUND = (
    "diffoscope__test1.ext4",
    "diffoscope__test2.ext4",
    "dissect__ext4_sparse.bin.gz",
    "e2fsprogs__f_quota.img",
    "e2fsprogs__f_selinux.img",
    "e2fsprogs__image1024.orig.bz2",
    "ratarmount__nested-tar-1M.ext4.bz2",
)


@pytest.fixture(autouse=True)
def _programs() -> None:
    need_root()
    need("mount", "e2fsck")


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_filesystem_of_others_is_what_the_kernel_shows(name: str, tmp_path: Path) -> None:
    image = unpacked(f"raw/{name}", tmp_path)
    with loop_mounted(image, "ext4") as root:
        kernel = kernel_listing(root)
    assert len(kernel) > 1
    assert difference(kernel, listing(image)) == []


def test_a_journal_of_others_is_replayed_as_the_kernel_does(tmp_path: Path) -> None:
    image = unpacked("raw/e2fsprogs__j_recover_csum2_64bit.img.bz2", tmp_path)
    assert difference(listing_after_kernel(image, "ext4"), listing(image)) == []


def test_a_journal_that_the_kernel_refuses_is_replayed_as_e2fsck_does(tmp_path: Path) -> None:
    """This journal has a name, as on the first ext3; e2fsck moves it to the inode without one."""
    image = unpacked("raw/e2fsprogs__f_journal.img.gz", tmp_path)
    ours = listing(image)
    del ours[b"journal"]
    assert difference(listing_after_e2fsck(image, "ext3"), ours) == []
