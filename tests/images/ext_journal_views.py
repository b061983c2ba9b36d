"""How a dirty copy of an ext filesystem looks without a replay, to e2fsck and to debugfs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from formats.core.errors import CorruptError
from formats.filesystems.ext import journal_recovery
from tests.support.filesystems import listing
from tests.support.listing import Row, kernel_listing, loop_mounted
from tests.support.programs import run


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
