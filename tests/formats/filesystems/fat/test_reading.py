"""FAT against mtools and 7-Zip: what is in a filesystem, and when it was written."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from formats.core.entry import Kind
from formats.core.tree import TreeInfo
from tests.formats.filesystems.fat.support import SIZES, opened
from tests.images.fat import KIB, MIB, Fat, make_fat, mtools
from tests.support.listing import tree_listing
from tests.support.programs import need, run
from tests.support.survey import unpacked

Found = dict[bytes, tuple[Kind, int, int, str | None]]


def ours(image: Path) -> Found:
    """Return kind, size, time and digest of every path but the root."""
    with opened(image) as (tree, _):
        rows = tree_listing(tree)
    root = rows.pop(b"")
    assert (root.kind, root.mode, root.mtime_ns) == (Kind.FOLDER, 0o755, 0)
    return {
        path: (row.kind, row.size, row.mtime_ns // 10**9, row.digest) for path, row in rows.items()
    }


def of_mtools(image: Path, folder: Path) -> Found:
    """Return the same of what mcopy copies out."""
    folder.mkdir()
    mtools("mcopy", "-s", "-m", "-n", "-i", image, "::*", folder)
    base = os.fsencode(folder)
    found: Found = {}
    for parent, names, files in os.walk(base):
        for name in names + files:
            path = os.path.join(parent, name)
            status = os.stat(path)
            is_file = name in files
            digest = None
            if is_file:
                with open(path, "rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[path[len(base) + 1 :]] = (
                Kind.FILE if is_file else Kind.FOLDER,
                status.st_size if is_file else 0,
                int(status.st_mtime),
                digest,
            )
    return found


@pytest.mark.parametrize(
    ("bits", "options"),
    [
        (12, ()),
        (12, ("-f", "1")),
        (12, ("-s", "8", "-r", "512")),
        (12, ("-S", "4096")),
        (16, ()),
        (16, ("-s", "2", "-R", "16")),
        (16, ("-S", "1024")),
        (32, ()),
        (32, ("-f", "1")),
        (32, ("-R", "64", "-b", "10")),
    ],
)
def test_every_name_time_and_byte_is_what_mtools_copies_out(
    make: Callable[..., Fat], tmp_path: Path, bits: int, options: tuple[str, ...]
) -> None:
    image = make(bits, *options).image
    theirs = of_mtools(image, tmp_path / "copied")
    assert len(theirs) > 170
    assert ours(image) == theirs
    run("fsck.fat", "-n", image)


@pytest.mark.parametrize("bits", [12, 16, 32])
def test_a_fragmented_file_is_read_piece_by_piece(
    make: Callable[..., Fat], tmp_path: Path, bits: int
) -> None:
    fat = make(bits)
    (tmp_path / "filler").write_bytes(os.urandom(fat.cluster_bytes))
    removed = [f"::/many/file-number-{number:04}.data" for number in range(0, 150, 2)]
    mtools("mdel", "-i", fat.image, *removed)
    (tmp_path / "pieces").write_bytes(os.urandom(80 * fat.cluster_bytes + 100))
    mtools("mcopy", "-m", "-n", "-i", fat.image, tmp_path / "pieces", "::/")
    found = ours(fat.image)
    assert found == of_mtools(fat.image, tmp_path / "copied")
    with opened(fat.image) as (tree, _):
        entry = next(entry for entry in tree.entries() if entry.path == b"pieces")
        tree.will_read([entry])
        announced = b"".join(tree.read(entry))
        assert announced == b"".join(tree.read(entry)) == (tmp_path / "pieces").read_bytes()


def test_identity_and_use_are_what_blkid_and_fsck_say(make: Callable[..., Fat]) -> None:
    for bits in (12, 16, 32):
        image = make(bits, "-i", "0badcafe", "-n", "BOOT PART").image
        with opened(image) as (tree, findings):
            info: TreeInfo = tree.info
            assert not findings
        fields = run("blkid", "-p", "-o", "export", image).stdout.decode()
        assert info.uuid == "0BAD-CAFE"
        assert f"UUID={info.uuid}\n" in fields
        assert info.label == "BOOT PART"
        assert info.format == f"fat{bits}"
        assert info.size_bytes == SIZES[bits]
        said = re.search(rb"(\d+)/(\d+) clusters", run("fsck.fat", "-n", image).stdout)
        assert said is not None
        # A root folder of FAT32 takes a cluster, which fsck.fat counts.
        assert info.used_bytes == int(said[1]) * int(info.facts["cluster size"])


def test_the_label_is_the_one_in_the_root_folder(make: Callable[..., Fat]) -> None:
    fat = make(16, "-n", "OLD")
    mtools("mlabel", "-i", fat.image, "::NEW")
    with opened(fat.image) as (tree, _):
        assert tree.info.label == "NEW"
    mtools("mlabel", "-c", "-i", fat.image, "::")
    with opened(make(16).image) as (tree, _):
        assert tree.info.label is None


def test_read_only_files_are_so_and_hidden_ones_are_there(make: Callable[..., Fat]) -> None:
    fat = make(12)
    mtools("mattrib", "+r", "-i", fat.image, "::/lower.txt")
    mtools("mattrib", "+h", "+s", "-i", fat.image, "::/README.TXT")
    mtools("mattrib", "+r", "-i", fat.image, "::/EFI")
    with opened(fat.image) as (tree, _):
        modes = {entry.path: entry.mode for entry in tree.entries()}
    assert modes[b"lower.txt"] == 0o555
    assert modes[b"README.TXT"] == 0o755
    assert modes[b"EFI"] == 0o755, "a read-only folder is only told to be shown otherwise"


def test_files_on_real_floppies_are_what_7z_extracts(tmp_path: Path) -> None:
    need("7z")
    for name in ("raw/floppinux__0.2.0.img", "raw/ratarmount__folder-symlink.fat12.bz2"):
        image = unpacked(name, tmp_path)
        folder = tmp_path / f"{image.name}.out"
        run("7z", "x", "-y", f"-o{folder}", image)
        theirs = {
            os.fsencode(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
            for path in folder.rglob("*")
        }
        with opened(image) as (tree, _):
            mine = {
                entry.path: b"".join(tree.read(entry)) if entry.kind is Kind.FILE else None
                for entry in tree.entries()
                if entry.path
            }
        assert mine == theirs
        assert mine


def test_a_fat32_of_too_few_clusters_is_one_as_in_linux(tmp_path: Path) -> None:
    image = make_fat(tmp_path / "image", 8 * MIB, None, "-F", "32")
    fields = run("blkid", "-p", "-o", "export", image).stdout.decode()
    assert "VERSION=FAT32\n" in fields
    with opened(image) as (tree, _):
        assert tree.info.format == "fat32"
        assert [entry.path for entry in tree.entries()] == [b""]


def test_a_large_empty_filesystem_is_opened_at_once(tmp_path: Path) -> None:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(8 << 30)
    run("mkfs.fat", "-F", "32", "-s", "8", image)  # 2 million clusters
    with opened(image) as (tree, _):
        assert [entry.path for entry in tree.entries()] == [b""]
        assert tree.info.used_bytes == 4 * KIB
