"""Formats that no tool here makes: their marks, at the places that their documentation gives."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from formats.core.errors import AmbiguousError
from formats.core.origin import Origin
from formats.core.registry import default_registry
from formats.core.source import MemorySource
from formats.recognised import RecognisedFormat
from tests.images.recognised import (
    FORGED_BYTES,
    KNOWN_TO_BLKID,
    OTHER_MARKS,
    TOO_LITTLE,
    blkid_type,
    forged,
)
from tests.images.volumes import blank, patch, reader_name


@pytest.mark.parametrize(
    ("name", "blkid", "marks"), KNOWN_TO_BLKID, ids=[row[0] for row in KNOWN_TO_BLKID]
)
def test_marks_are_taken_for_what_blkid_takes_them(
    tmp_path: Path, name: str, blkid: str, marks: tuple[tuple[int, bytes], ...]
) -> None:
    image = forged(tmp_path, marks)
    assert (reader_name(image), blkid_type(image)) == (name, blkid)


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


_BEHIND_THE_FIRST_SECTOR = [
    (name, marks)
    for name, marks in (*((row[0], row[2]) for row in KNOWN_TO_BLKID), *OTHER_MARKS)
    if all(offset >= 512 for offset, _ in marks)
]


@pytest.mark.parametrize(("name", "marks"), _BEHIND_THE_FIRST_SECTOR)
def test_an_empty_partition_table_in_front_changes_nothing(
    tmp_path: Path, name: str, marks: tuple[tuple[int, bytes], ...]
) -> None:
    image = patch(forged(tmp_path, marks), 510, b"\x55\xaa")
    assert reader_name(image) == name


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


def test_no_mixture_of_marks_and_noise_fails_a_probe() -> None:
    """Whatever lies where: a reader, none, or an ambiguity that is said."""
    chance = random.Random(6)
    marks = [mark for _, _, row in KNOWN_TO_BLKID for mark in row]
    marks += [mark for _, row in OTHER_MARKS for mark in row]
    outcomes: set[type] = set()
    for _ in range(400):
        size = chance.choice([512, 2048, 70_000, 300_000])
        data = bytearray(chance.randbytes(4096)).ljust(size, b"\0")[:size]
        for offset, mark in chance.sample(marks, 4):
            start = offset % FORGED_BYTES if offset >= 0 else size + offset
            if 0 <= start <= size - len(mark):
                data[start : start + len(mark)] = mark
        try:
            reader = default_registry().match(MemorySource(bytes(data), Origin(("noise",))))
            outcomes.add(type(reader))
        except AmbiguousError:
            outcomes.add(AmbiguousError)
    assert {RecognisedFormat, AmbiguousError, type(None)} <= outcomes
