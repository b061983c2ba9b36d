"""Trees over trees, held against a model that knows of paths and their rows only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert.trees import ComposedTree, Decision, FilteredTree, Replacement
from formats.core.entry import Entry, Kind, join
from formats.core.errors import ConvertError, UnsupportedError
from formats.core.tree import Tree, walk_order
from tests.support.listing import Row, tree_listing
from tests.support.memory_tree import MemoryTree, memory_tree
from tests.support.tree_strategies import NAMES, trees


def keep(entry: Entry) -> Entry:
    return entry


def without(*paths: bytes) -> Callable[[Entry], Entry | None]:
    return lambda entry: None if entry.path in paths else entry


def paths_of(tree: Tree) -> list[bytes]:
    return [entry.path for entry in tree.entries()]


def content_of(tree: Tree, path: bytes) -> bytes:
    (entry,) = (entry for entry in tree.entries() if entry.path == path)
    return b"".join(tree.read(entry))


def folders_above(paths: Iterable[bytes]) -> set[bytes]:
    above: set[bytes] = set()
    for path in paths:
        while path := path.rpartition(b"/")[0]:
            above.add(path)
    return above


def among(rows: dict[bytes, Row], kept: set[bytes]) -> dict[bytes, Row]:
    """Return the rows of some paths, and link groups without the others."""
    found = {}
    for path in kept:
        links = tuple(link for link in rows[path].links if link in kept)
        found[path] = replace(rows[path], links=links if len(links) > 1 else ())
    return found


def check_order(tree: Tree) -> None:
    paths = paths_of(tree)
    assert paths == walk_order(paths)


def check_nodes(tree: Tree) -> None:
    """One number for each file, and one file for each number."""
    files: dict[int, bytes] = {}
    for entry in tree.entries():
        first = entry.target if entry.kind is Kind.HARDLINK else entry.path
        assert files.setdefault(entry.node, first or b"") == first


# FilteredTree


@given(trees(), st.sets(st.integers(1, 12)))
def test_dropping_paths_leaves_the_others_and_their_folders_as_they_were(
    tree: MemoryTree, chosen: set[int]
) -> None:
    dropped = {entry.path for number, entry in enumerate(tree.entries()) if number in chosen}
    before = tree_listing(tree)

    filtered = FilteredTree(tree, without(*dropped))

    kept = before.keys() - dropped
    assert tree_listing(filtered) == among(before, kept | folders_above(kept))
    check_order(filtered)
    check_nodes(filtered)


@given(trees(), st.sets(st.integers(1, 12)))
def test_a_replaced_path_has_new_content_and_its_other_names_the_old(
    tree: MemoryTree, chosen: set[int]
) -> None:
    entries = list(tree.entries())
    replaced = {
        entry.path
        for number, entry in enumerate(entries)
        if number in chosen and entry.kind is not Kind.FOLDER
    }
    before = tree_listing(tree)

    def decide(entry: Entry) -> Decision:
        if entry.path not in replaced:
            return entry
        return Replacement(replace(entry, kind=Kind.FILE, device=None, uid=77), b"new")

    filtered = FilteredTree(tree, decide)

    after = tree_listing(filtered)
    assert after.keys() == before.keys()
    untouched = before.keys() - replaced
    assert {path: after[path] for path in untouched} == among(before, untouched)
    for path in replaced:
        assert (after[path].kind, after[path].uid, after[path].links) == (Kind.FILE, 77, ())
        assert content_of(filtered, path) == b"new"


@given(trees(), st.sampled_from(NAMES), st.sampled_from(NAMES))
def test_an_added_path_comes_at_its_place_or_over_what_is_there(
    tree: MemoryTree, folder: bytes, name: bytes
) -> None:
    kinds = {entry.path: entry.kind for entry in tree.entries()}
    if kinds.get(folder, Kind.FOLDER) is not Kind.FOLDER:
        folder = b""
    path = join(folder, name)
    if kinds.get(path) is Kind.FOLDER:
        return
    added = [Replacement(Entry(path, Kind.FILE, 0o600), b"mine")]
    if folder not in kinds:
        added.append(Replacement(Entry(folder, Kind.FOLDER, 0o700)))
    before = tree_listing(tree)

    filtered = FilteredTree(tree, keep, added)

    after = tree_listing(filtered)
    others = before.keys() - {path}
    assert {item: after[item] for item in others} == among(before, others)
    assert content_of(filtered, path) == b"mine"
    check_order(filtered)


def test_a_folder_comes_back_for_what_is_in_it_and_not_for_its_neighbour() -> None:
    tree = memory_tree(
        "d 755 0:0 a\nd 755 0:0 a/x\nf 644 0:0 b/c/kept\nd 755 0:0 b/empty\nd 755 0:0 d"
    )
    filtered = FilteredTree(tree, lambda entry: entry if entry.name in {b"", b"kept"} else None)
    assert paths_of(filtered) == [b"", b"b", b"b/c", b"b/c/kept"]


def test_what_is_kept_is_the_very_object_underneath() -> None:
    tree = memory_tree("f 644 0:0 a/b x\nf 644 0:0 c")
    assert all(
        mine is theirs
        for mine, theirs in zip(FilteredTree(tree, keep).entries(), tree.entries(), strict=True)
    )


def test_the_first_link_that_is_left_becomes_the_file() -> None:
    tree = memory_tree("f 755 1:2 a content\nh b a\nh c a")
    seen: list[tuple[bytes, Kind]] = []

    def decide(entry: Entry) -> Entry | None:
        seen.append((entry.path, entry.kind))
        return None if entry.path == b"a" else entry

    filtered = FilteredTree(tree, decide)

    assert [(e.path, e.kind, e.target) for e in filtered.entries()][1:] == [
        (b"b", Kind.FILE, None),
        (b"c", Kind.HARDLINK, b"b"),
    ]
    assert content_of(filtered, b"c") == b"content"
    assert seen[2:] == [(b"b", Kind.FILE), (b"c", Kind.HARDLINK)]


def test_metadata_of_a_file_is_that_of_all_its_links() -> None:
    tree = memory_tree("f 4755 0:0 a content\nh b a")
    filtered = FilteredTree(tree, lambda entry: replace(entry, mode=entry.mode & 0o755))
    assert [entry.mode for entry in filtered.entries()] == [0o755] * 3
    assert content_of(filtered, b"b") == b"content"


def test_metadata_given_to_a_link_alone_does_not_count() -> None:
    tree = memory_tree("f 644 0:0 a content\nh b a")
    filtered = FilteredTree(
        tree, lambda entry: replace(entry, mode=0) if entry.path == b"b" else entry
    )
    assert [entry.mode for entry in filtered.entries()] == [0o755, 0o644, 0o644]


def test_an_emptied_file_has_no_content() -> None:
    tree = memory_tree("f 644 0:0 etc/machine-id abc")
    filtered = FilteredTree(
        tree, lambda entry: Replacement(entry) if entry.kind is Kind.FILE else entry
    )
    assert [entry.size for entry in filtered.entries()] == [0, 0, 0]
    assert content_of(filtered, b"etc/machine-id") == b""


def test_hints_reach_the_tree_underneath_without_what_was_replaced() -> None:
    tree = memory_tree("f 644 0:0 a x\nh b a\nf 644 0:0 c y\nf 644 0:0 d z")

    def decide(entry: Entry) -> Decision:
        return {b"a": None, b"c": Replacement(entry, b"new")}.get(entry.path, entry)

    filtered = FilteredTree(tree, decide)
    filtered.will_read([entry for entry in filtered.entries() if entry.kind is Kind.FILE])

    assert tree.announced == [[b"b", b"d"]]


@pytest.mark.parametrize(
    ("decide", "message"),
    [
        (lambda _: None, "root folder cannot be dropped"),
        (lambda entry: replace(entry, path=b"other"), "cannot be renamed"),
        (lambda entry: replace(entry, kind=Kind.FILE), "cannot become something else"),
        (
            lambda entry: replace(entry, size=9) if entry.kind is Kind.FILE else entry,
            "needs a Replacement",
        ),
        (
            lambda entry: (
                replace(entry, kind=Kind.HARDLINK, target=b"b")
                if entry.kind is Kind.FILE
                else entry
            ),
            "cannot be made a hard link",
        ),
    ],
)
def test_a_decision_that_cannot_be_carried_out_is_refused(
    decide: Callable[[Entry], Decision], message: str
) -> None:
    with pytest.raises(ConvertError, match=message):
        FilteredTree(memory_tree("f 644 0:0 a x\nf 644 0:0 b"), decide)


def test_an_added_path_without_its_folder_is_refused() -> None:
    added = [Replacement(Entry(b"x/y", Kind.FILE, 0o644))]
    with pytest.raises(ConvertError, match="needs its folder"):
        FilteredTree(memory_tree("f 644 0:0 x"), keep, added)


# ComposedTree


@given(trees(), trees(), trees(), st.lists(st.sampled_from(NAMES), min_size=2, max_size=3))
def test_a_mounted_tree_takes_the_place_of_everything_below_its_mount_point(
    root: MemoryTree, first: MemoryTree, second: MemoryTree, names: list[bytes]
) -> None:
    outer, inner, other = names[0], b"/".join(names), names[-1]
    mounts = {inner: second, outer: first, other: second}
    expected = tree_listing(root)
    try:
        for path in walk_order(mounts):
            mount(expected, path, tree_listing(mounts[path]))
    except NotADirectoryError:
        with pytest.raises(UnsupportedError, match="nothing can be mounted there"):
            ComposedTree(root, mounts)
        return

    composed = ComposedTree(root, mounts)

    assert tree_listing(composed) == expected
    check_order(composed)
    check_nodes(composed)


MADE = Row(Kind.FOLDER, 0o755, 0, 0, 0, 0, None, None, (), None, ())


def mount(rows: dict[bytes, Row], at: bytes, mounted: dict[bytes, Row]) -> None:
    """Do to a listing what mount(8) does to a tree."""
    for folder in sorted(folders_above([at]) | {at}):
        if rows.setdefault(folder, MADE).kind is not Kind.FOLDER:
            raise NotADirectoryError
    kept = {path for path in rows if path != at and not path.startswith(at + b"/")}
    rows_left = among(rows, kept)
    rows.clear()
    rows.update(rows_left)
    for path, row in mounted.items():
        links = tuple(join(at, link) for link in row.links)
        rows[join(at, path) if path else at] = replace(row, links=links)


def test_a_mount_point_that_is_missing_is_made() -> None:
    composed = ComposedTree(memory_tree("d 700 0:0 a"), {b"srv/data": memory_tree("f 644 0:0 x")})
    assert [(entry.path, entry.mode) for entry in composed.entries()] == [
        (b"", 0o755),
        (b"a", 0o700),
        (b"srv", 0o755),
        (b"srv/data", 0o755),
        (b"srv/data/x", 0o644),
    ]


def test_a_file_with_a_name_below_a_mount_point_keeps_its_other_name() -> None:
    root = memory_tree("f 644 0:0 boot/kernel content\nh kernel boot/kernel")
    composed = ComposedTree(root, {b"boot": memory_tree("f 644 0:0 other")})
    assert paths_of(composed) == [b"", b"boot", b"boot/other", b"kernel"]
    assert content_of(composed, b"kernel") == b"content"


def test_nothing_is_mounted_over_a_file_or_the_root() -> None:
    root = memory_tree("l 777 0:0 srv data")
    with pytest.raises(UnsupportedError, match="'srv' is a symlink"):
        ComposedTree(root, {b"srv": memory_tree("")})
    with pytest.raises(ConvertError, match="over the root"):
        ComposedTree(root, {b"": memory_tree("")})


def test_hints_go_to_the_tree_that_has_the_file() -> None:
    root, srv = memory_tree("f 644 0:0 a x\nf 644 0:0 z x"), memory_tree("f 644 0:0 b x")
    composed = ComposedTree(root, {b"srv": srv})
    composed.will_read([entry for entry in composed.entries() if entry.kind is Kind.FILE])
    assert root.announced == [[b"a"], [b"z"]]
    assert srv.announced == [[b"b"]]
