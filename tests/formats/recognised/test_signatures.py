"""Formats that no tool here makes: their marks, at the places that their documentation gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.images.recognised import (
    FORGED_BYTES,
    KNOWN_TO_BLKID,
    OTHER_MARKS,
    TOO_LITTLE,
    forged,
)
from tests.images.volumes import blank, patch, reader_name
from tests.support.programs import run


@pytest.mark.parametrize(
    ("name", "blkid", "marks"), KNOWN_TO_BLKID, ids=[row[0] for row in KNOWN_TO_BLKID]
)
def test_marks_are_taken_for_what_blkid_takes_them(
    tmp_path: Path, name: str, blkid: str, marks: tuple[tuple[int, bytes], ...]
) -> None:
    image = forged(tmp_path, marks)
    theirs = run("blkid", "-p", "-o", "value", "-s", "TYPE", image).stdout.decode().strip()
    assert (reader_name(image), theirs) == (name, blkid)


@pytest.mark.parametrize(("name", "marks"), OTHER_MARKS)
def test_marks_that_blkid_wants_more_of_are_taken(
    tmp_path: Path, name: str, marks: tuple[tuple[int, bytes], ...]
) -> None:
    assert reader_name(forged(tmp_path, marks)) == name


@pytest.mark.parametrize(("name", "marks"), TOO_LITTLE)
def test_a_short_mark_alone_is_not_believed(
    tmp_path: Path, name: str, marks: tuple[tuple[int, bytes], ...]
) -> None:
    del name
    assert reader_name(forged(tmp_path, marks)) is None


def test_a_blank_disk_is_nothing(tmp_path: Path) -> None:
    assert reader_name(blank(tmp_path / "image", FORGED_BYTES)) is None


@pytest.mark.parametrize("size", [0, 1, 511, 512, 1023, 4096, 65535])
def test_no_probe_fails_on_a_short_file(tmp_path: Path, size: int) -> None:
    """Every mark that fits is there at once: many may match, none may fail otherwise."""
    image = blank(tmp_path / "image", FORGED_BYTES)
    for _, _, marks in KNOWN_TO_BLKID:
        for offset, data in marks:
            patch(image, offset % FORGED_BYTES % max(size, 1), data)
    with image.open("r+b") as file:
        file.truncate(size)
    reader_name(image)
