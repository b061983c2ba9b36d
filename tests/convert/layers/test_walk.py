"""The way through a tree that all writers take."""

from __future__ import annotations

from dataclasses import replace

import pytest

from convert.layers.walk import announced, content
from formats.core.entry import Entry, Kind
from formats.core.errors import CorruptError, LimitError
from formats.core.limits import DEFAULT_LIMITS, Limits
from tests.support.memory_tree import MemoryTree, memory_tree


def files(count: int, size: int) -> MemoryTree:
    return memory_tree("\n".join(f"f 644 0:0 {number:03d} *{size}" for number in range(count)))


def test_every_file_is_announced_before_it_is_given_and_not_far_before() -> None:
    tree = files(40, 100)
    given = 0
    for entry in announced(tree, DEFAULT_LIMITS, look_ahead_bytes=500):
        if entry.kind is Kind.FILE:
            given += 1
            told = [path for batch in tree.announced for path in batch]
            assert entry.path in told
            assert len(told) - given < 2 * 5
            assert len(told) >= min(given + 5, 40), "less than a whole batch is on its way"
    assert given == 40


def test_links_folders_and_empty_files_are_not_announced() -> None:
    tree = memory_tree("f 644 0:0 a x\nh b a\nf 644 0:0 c\nl 777 0:0 d a")
    assert len(list(announced(tree, DEFAULT_LIMITS))) == 5
    assert tree.announced == [[b"a"]]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (replace(DEFAULT_LIMITS, entries=3), "more than 3 entries"),
        (replace(DEFAULT_LIMITS, file_bytes=99), "'000' has 100 bytes, more than the 99"),
    ],
)
def test_limits_are_held(limits: Limits, message: str) -> None:
    with pytest.raises(LimitError, match=message):
        list(announced(files(5, 100), limits))


@pytest.mark.parametrize(("size", "message"), [(4, "has more"), (6, "has only 5")])
def test_content_of_another_size_than_said_is_an_error(size: int, message: str) -> None:
    tree = MemoryTree([Entry(b"a", Kind.FILE, 0o644, size=size)], {b"a": b"12345"}, chunk_bytes=2)
    with pytest.raises(CorruptError, match=f"'a' is said to have {size} bytes and {message}"):
        list(content(tree, list(tree.entries())[1]))
