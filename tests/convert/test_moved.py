"""Trees put elsewhere."""

from __future__ import annotations

from dataclasses import replace

import pytest

from convert.moved import MovedTree, SettledTree, path_of_prefix, single_top
from formats.core.entry import Kind
from formats.core.errors import AmbiguousError, LimitError, UsageError
from formats.core.limits import DEFAULT_LIMITS
from formats.core.tree import Tree, TreeIndex, walk_order
from tests.support.listing import tree_listing
from tests.support.memory_tree import memory_tree

ARCHIVE = """
d 700 5:6 app-1.0
f 755 1:2 app-1.0/bin/app text
h app-1.0/bin/other app-1.0/bin/app
l 777 0:0 app-1.0/current bin/app
m 1700000000 app-1.0/bin/app
"""


def listed(tree: Tree) -> list[tuple[bytes, int, bytes | None, bytes]]:
    return [
        (entry.path, entry.mode, entry.target, b"".join(map(bytes, tree.read(entry))))
        for entry in tree.entries()
        if entry.path
    ]


def test_the_one_folder_of_an_archive_is_left_out() -> None:
    tree = memory_tree(ARCHIVE)
    moved = MovedTree(tree, top=single_top(tree))
    assert listed(moved) == [
        (b"bin", 0o755, None, b""),
        (b"bin/app", 0o755, None, b"text"),
        (b"bin/other", 0o755, b"bin/app", b"text"),
        (b"current", 0o777, b"bin/app", b""),
    ]
    root = next(moved.entries())
    assert (root.path, root.mode, root.uid) == (b"", 0o700, 5)
    assert moved.implied == frozenset()


def test_an_archive_goes_below_a_prefix_whose_folders_are_made() -> None:
    moved = MovedTree(memory_tree(ARCHIVE), top=b"app-1.0", prefix=b"opt/x")
    paths = [entry.path for entry in moved.entries()]
    assert paths == walk_order(paths)
    assert paths[:4] == [b"", b"opt", b"opt/x", b"opt/x/bin"]
    assert moved.implied == {b"", b"opt"}
    entries = {entry.path: entry for entry in moved.entries()}
    assert entries[b"opt"].mtime_ns == 1_700_000_000 * 10**9
    assert entries[b"opt/x"].mode == 0o700
    assert entries[b"opt/x/bin/other"].target == b"opt/x/bin/app"
    moved.will_read([entries[b"opt/x/bin/app"]])


def test_nothing_is_left_out_that_is_beside_the_folder() -> None:
    assert set(tree_listing(MovedTree(memory_tree(ARCHIVE), prefix=b"srv"))) >= {
        b"srv/app-1.0/bin/app"
    }


@pytest.mark.parametrize("text", ["", "f 644 0:0 file", ARCHIVE + "d 755 0:0 more"])
def test_what_is_in_no_single_folder_cannot_lose_one(text: str) -> None:
    with pytest.raises(UsageError, match="no single folder"):
        single_top(memory_tree(text))


def test_paths_stay_within_their_limit() -> None:
    limits = replace(DEFAULT_LIMITS, path_bytes=20)
    with pytest.raises(LimitError, match="longer than the 20 bytes"):
        MovedTree(memory_tree(ARCHIVE), prefix=b"opt/x", limits=limits)


def test_a_prefix_is_a_path_however_it_is_spelled() -> None:
    origin = memory_tree("").origin
    assert path_of_prefix("//opt/./app/", origin) == b"opt/app"
    assert path_of_prefix("/", origin) == b""


BASE = TreeIndex(
    memory_tree("l 777 0:0 bin usr/bin\nd 750 3:4 usr/bin\nd 700 0:0 opt\nl 777 0:0 gone nowhere")
)


def test_what_is_put_on_a_base_follows_its_links_to_folders() -> None:
    settled = SettledTree(memory_tree("f 755 0:0 bin/x text\nh usr/y bin/x"), BASE)
    assert listed(settled) == [
        (b"usr", 0o755, None, b""),
        (b"usr/bin", 0o750, None, b""),
        (b"usr/bin/x", 0o755, None, b"text"),
        (b"usr/y", 0o755, b"usr/bin/x", b"text"),
    ]


def test_folders_that_nobody_wrote_down_are_those_of_the_base() -> None:
    moved = MovedTree(memory_tree("f 644 0:0 a x"), prefix=b"opt/app")
    entries = {entry.path: entry for entry in SettledTree(moved, BASE).entries()}
    assert (entries[b"opt"].mode, entries[b"opt/app"].mode) == (0o700, 0o755)


def test_a_link_that_leads_nowhere_is_replaced() -> None:
    settled = SettledTree(memory_tree("f 644 0:0 gone/a x"), BASE)
    assert [row[0] for row in listed(settled)] == [b"gone", b"gone/a"]


def test_two_files_cannot_become_one() -> None:
    with pytest.raises(AmbiguousError, match="two of its paths become 'usr/bin/x'"):
        SettledTree(memory_tree("f 644 0:0 bin/x a\nf 644 0:0 usr/bin/x b"), BASE)


def test_a_hard_link_follows_its_file_where_that_lies_behind_it_by_now() -> None:
    base = memory_tree("d 755 0:0 usr\nd 755 0:0 usr/bin\nl 777 0:0 bin usr/bin\n")
    archive = memory_tree(
        "d 755 0:0 bin\nf 750 1:2 bin/tool text\nh bin/tool2 bin/tool\nd 755 0:0 opt\n"
        "h opt/tool bin/tool\n"
    )
    settled = SettledTree(archive, TreeIndex(base))
    assert [row for row in listed(settled) if row[3]] == [
        (b"opt/tool", 0o750, None, b"text"),
        (b"usr/bin/tool", 0o750, b"opt/tool", b"text"),
        (b"usr/bin/tool2", 0o750, b"opt/tool", b"text"),
    ]
    kinds = [entry.kind for entry in settled.entries() if entry.size]
    assert kinds == [Kind.FILE, Kind.HARDLINK, Kind.HARDLINK]
