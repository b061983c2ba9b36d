"""How a dirty copy of an ext filesystem looks to us, to the kernel, to e2fsck and to debugfs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from formats.core.errors import CorruptError
from formats.core.finding import Finding
from formats.core.opener import open_artifact
from formats.core.tree import Tree
from formats.filesystems.ext import journal_recovery
from tests.support.listing import (
    Row,
    kernel_listing,
    loop_mounted,
    loop_mounted_writable,
    tree_listing,
)
from tests.support.programs import run


@contextmanager
def opened(image: Path) -> Iterator[tuple[Tree, list[Finding]]]:
    with open_artifact([image]) as artifact:
        (node,) = artifact.nodes
        if node.problem is not None:
            raise node.problem
        assert node.tree is not None
        yield node.tree, artifact.findings


def listing(image: Path) -> dict[bytes, Row]:
    with opened(image) as (tree, _):
        return tree_listing(tree)


def listing_unreplayed(image: Path, monkeypatch: pytest.MonkeyPatch) -> dict[bytes, Row]:
    """What a reader without a replay sees; a filesystem that contradicts itself is empty here."""
    with monkeypatch.context() as patched:
        patched.setattr(
            "formats.filesystems.ext.reader.recover",
            lambda source, superblock, _: journal_recovery.Recovered(source, superblock),
        )
        try:
            return listing(image)
        except CorruptError:
            return {}


def listing_after_kernel(image: Path, filesystem: str) -> dict[bytes, Row]:
    """Let the kernel replay a copy of ``image``, and return what it shows then."""
    copy = image.with_suffix(".kernel")
    shutil.copyfile(image, copy)
    try:
        with loop_mounted_writable(copy, filesystem):
            pass  # a mount that may write is what replays
        with loop_mounted(copy, filesystem) as root:
            return kernel_listing(root)
    finally:
        copy.unlink()


def kernel_refuses(image: Path, filesystem: str) -> bool:
    """Tell whether the kernel does not mount a copy of ``image``."""
    copy = image.with_suffix(".kernel")
    shutil.copyfile(image, copy)
    try:
        with loop_mounted_writable(copy, filesystem):
            return False
    except AssertionError:
        return True
    finally:
        copy.unlink()


def listing_after_e2fsck(image: Path, filesystem: str) -> dict[bytes, Row]:
    """Let e2fsck(8) replay and repair a copy of ``image``, and return what the kernel shows."""
    copy = image.with_suffix(".fsck")
    shutil.copyfile(image, copy)
    try:
        done = run("e2fsck", "-fy", copy, check=False)
        assert done.returncode in {0, 1}, done.stdout.decode()  # 1: errors were corrected
        with loop_mounted(copy, filesystem) as root:
            return kernel_listing(root)
    finally:
        copy.unlink()


def commit_blocks(image: Path) -> list[tuple[int, int]]:
    """Return (transaction, journal block) of each commit that debugfs(8) finds in the log."""
    text = run("debugfs", "-R", "logdump", image).stdout.decode()
    found = re.findall(
        r"Found expected sequence (\d+), type 2 \(commit block\) at block (\d+)", text
    )
    return [(int(sequence), int(block)) for sequence, block in found]


def journal_offset(image: Path, block: int) -> int:
    """Return the byte offset in ``image`` of a block of its journal, according to debugfs(8)."""
    text = run("dumpe2fs", "-h", image).stdout.decode()
    block_bytes = int(re.search(r"^Block size: +(\d+)$", text, re.MULTILINE)[1])  # type: ignore[index]
    inode = re.search(r"^Journal inode: +(\d+)$", text, re.MULTILINE)[1]  # type: ignore[index]
    mapped = run("debugfs", "-R", f"bmap <{inode}> {block}", image).stdout
    return int(mapped) * block_bytes


def overwrite(image: Path, offset: int, data: bytes) -> None:
    """Change bytes of an image."""
    with image.open("r+b") as file:
        file.seek(offset)
        file.write(data)
