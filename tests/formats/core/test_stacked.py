"""Trees over trees, against overlayfs of the kernel, a naive model, and what the OCI text says."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.layers.folder import write_folder
from formats.core.entry import Entry, Kind
from formats.core.errors import CorruptError, LimitError, UnsupportedError
from formats.core.finding import Finding
from formats.core.limits import Limits
from formats.core.stacked import StackedTree, Whiteouts
from formats.core.tree import Tree, TreeIndex, walk_order
from tests.support.listing import Row, difference, kernel_listing, tree_listing
from tests.support.memory_tree import MemoryTree, memory_tree
from tests.support.programs import need_root, run
from tests.support.tree_strategies import trees


def stacked(*layers: str, whiteouts: Whiteouts = Whiteouts.NONE) -> dict[bytes, Row]:
    return tree_listing(StackedTree([memory_tree(text) for text in layers], whiteouts=whiteouts))


def paths(rows: dict[bytes, Row]) -> set[str]:
    return {path.decode() for path in rows if path}


def test_one_layer_is_the_very_tree_it_was() -> None:
    layer = memory_tree("d 700 0:0 a\nf 644 1:1 a/b text\nh c a/b")
    assert list(StackedTree([layer]).entries()) == list(layer.entries())


def test_an_upper_file_takes_the_place_of_what_was_there() -> None:
    rows = stacked("f 644 0:0 f old\nd 700 0:0 d\nf 600 0:0 d/in x", "f 600 1:2 f new\nf 644 0:0 d")
    assert paths(rows) == {"f", "d"}
    assert (rows[b"f"].mode, rows[b"f"].uid, rows[b"f"].size) == (0o600, 1, 3)


def test_folders_merge_and_have_what_the_upper_one_says_of_them() -> None:
    rows = stacked("d 755 0:0 d\nf 644 0:0 d/low x", "d 1777 5:6 d\nf 644 0:0 d/up y")
    assert paths(rows) == {"d", "d/low", "d/up"}
    assert (rows[b"d"].mode, rows[b"d"].uid, rows[b"d"].gid) == (0o1777, 5, 6)


def test_a_folder_over_a_file_does_not_bring_back_the_folder_below_that() -> None:
    rows = stacked("f 644 0:0 d/old x", "f 644 0:0 d", "f 644 0:0 d/new y")
    assert paths(rows) == {"d", "d/new"}


def test_the_root_folder_is_the_uppermost_layers() -> None:
    upper = MemoryTree([Entry(b"", Kind.FOLDER, 0o700, 9)])
    rows = tree_listing(StackedTree([memory_tree("f 644 0:0 f"), upper]))
    assert (rows[b""].mode, rows[b""].uid) == (0o700, 9)
    assert paths(rows) == {"f"}


def test_a_name_goes_on_when_the_first_name_of_its_file_is_hidden() -> None:
    tree = StackedTree([memory_tree("f 640 1:2 a text\nh b a\nh c a"), memory_tree("f 644 0:0 a")])
    index = TreeIndex(tree)
    first, second = index.get(b"b"), index.get(b"c")
    assert first is not None
    assert second is not None
    assert (first.kind, first.target, first.uid) == (Kind.FILE, None, 1)
    assert (second.kind, second.target) == (Kind.HARDLINK, b"b")
    assert index.content(b"c") == b"text"
    assert index.content(b"a") == b""


def test_a_hard_link_may_lead_to_a_file_of_the_layers_below() -> None:
    upper = MemoryTree([Entry(b"0", Kind.HARDLINK, 0, target=b"a")])
    tree = StackedTree([memory_tree("f 640 1:2 a text"), upper])
    assert {path: row.links for path, row in tree_listing(tree).items() if path} == {
        b"0": (b"0", b"a"),
        b"a": (b"0", b"a"),
    }
    assert [tree.layer_of(entry) for entry in tree.entries()] == [1, 0, 0]


@pytest.mark.parametrize("target", [b"nowhere", b"", b"folder"])
def test_a_hard_link_to_no_file_is_refused(target: bytes) -> None:
    upper = MemoryTree([Entry(b"0", Kind.HARDLINK, 0, target=target)])
    with pytest.raises(CorruptError, match="where there is no file"):
        list(StackedTree([memory_tree("d 755 0:0 folder"), upper]).entries())


def test_every_entry_says_which_layer_it_is_of() -> None:
    layers = [memory_tree("f 644 0:0 a\nf 644 0:0 b"), memory_tree("f 644 0:0 b\nh c b")]
    tree = StackedTree(layers)
    assert {entry.path: tree.layer_of(entry) for entry in tree.entries()} == {
        b"": 1,
        b"a": 0,
        b"b": 1,
        b"c": 1,
    }


def test_equal_nodes_of_two_layers_are_two_files() -> None:
    tree = StackedTree([memory_tree("f 644 0:0 a"), memory_tree("f 644 0:0 b")])
    nodes = [entry.node for entry in tree.entries()]
    assert len(set(nodes)) == len(nodes)


def test_files_are_announced_to_their_own_layers_in_turn() -> None:
    low, up = memory_tree("f 644 0:0 a x\nf 644 0:0 c x"), memory_tree("f 644 0:0 b x")
    tree = StackedTree([low, up])
    tree.will_read([entry for entry in tree.entries() if entry.size])
    assert low.announced == [[b"a"], [b"c"]]
    assert up.announced == [[b"b"]]


class Implying(MemoryTree):
    implied: AbstractSet[bytes] = frozenset({b"", b"tmp"})


def test_folders_that_nobody_wrote_down_change_nothing_below() -> None:
    upper = Implying(
        [Entry(b"tmp", Kind.FOLDER, 0o755), Entry(b"tmp/f", Kind.FILE, 0o644)], {b"tmp/f": b""}
    )
    rows = tree_listing(StackedTree([memory_tree("d 1777 7:7 tmp"), upper]))
    assert (rows[b"tmp"].mode, rows[b"tmp"].uid) == (0o1777, 7)
    assert tree_listing(StackedTree([memory_tree("f 600 1:1 tmp x"), upper]))[b"tmp"].mode == 0o755


def test_more_paths_than_allowed_are_refused() -> None:
    layers = [memory_tree("f 644 0:0 a\nf 644 0:0 b"), memory_tree("f 644 0:0 c")]
    assert list(StackedTree(layers, limits=Limits(entries=4)).entries())
    with pytest.raises(LimitError, match="more than 3 paths"):
        list(StackedTree(layers, limits=Limits(entries=3)).entries())


# OCI image-spec, layer.md, "Whiteouts"


def test_a_whiteout_deletes_what_is_below_and_is_not_there_itself() -> None:
    rows = stacked(
        "f 644 0:0 a/b/c/bar\nf 644 0:0 a/keep", "f 644 0:0 a/.wh.b", whiteouts=Whiteouts.OCI
    )
    assert paths(rows) == {"a", "a/keep"}


def test_an_opaque_folder_hides_all_that_was_in_it() -> None:
    # "indicate that all siblings are hidden in the lower layer", whatever comes first
    low = "f 644 0:0 bin/my-app-binary\nf 644 0:0 bin/my-app-tools\nf 644 0:0 bin/tools/t"
    up = "f 644 0:0 bin/.wh..wh..opq\nf 644 0:0 bin/tools/new\nf 644 0:0 bin/-first"
    rows = stacked(low, up, whiteouts=Whiteouts.OCI)
    assert paths(rows) == {"bin", "bin/tools", "bin/tools/new", "bin/-first"}


def test_a_whiteout_hides_only_what_is_in_layers_below_its_own() -> None:
    # "Whiteout files MUST only apply to resources in lower/parent layers."
    rows = stacked("f 644 0:0 d/old", "f 644 0:0 .wh.d\nf 644 0:0 d/new", whiteouts=Whiteouts.OCI)
    assert paths(rows) == {"d", "d/new"}


def test_a_layer_above_can_bring_back_what_was_deleted() -> None:
    rows = stacked("f 644 0:0 f x", "f 644 0:0 .wh.f", "f 644 0:0 f yy", whiteouts=Whiteouts.OCI)
    assert rows[b"f"].size == 2


def test_marks_mean_nothing_in_a_stack_without_them() -> None:
    assert paths(stacked("f 644 0:0 f", "f 644 0:0 .wh.f\nc 600 0:0 null 0:0")) == {
        "f",
        ".wh.f",
        "null",
    }


def test_what_aufs_keeps_for_itself_is_left_out_with_a_finding() -> None:
    findings: list[Finding] = []
    tree = StackedTree(
        [memory_tree("f 644 0:0 a"), memory_tree("f 644 0:0 .wh..wh.plnk/1.2 x\nf 644 0:0 b")],
        whiteouts=Whiteouts.OCI,
        note=findings.append,
    )
    assert [entry.path for entry in tree.entries()] == [b"", b"a", b"b"]
    assert [finding.path for finding in findings] == [b".wh..wh.plnk"]


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh..."])
def test_a_whiteout_of_no_possible_name_is_refused(name: str) -> None:
    with pytest.raises(CorruptError, match="no system allows"):
        stacked("f 644 0:0 d/f", f"f 644 0:0 d/{name}", whiteouts=Whiteouts.OCI)


def test_a_whiteout_that_is_a_folder_is_refused() -> None:
    with pytest.raises(CorruptError, match="marks a deleted file and is a folder"):
        stacked("f 644 0:0 f", "d 755 0:0 .wh.f", whiteouts=Whiteouts.OCI)


# Kernel documentation, "Overlay Filesystem"


def test_overlayfs_hides_its_own_attributes_and_shows_those_of_a_nested_one() -> None:
    up = r"""
    d 755 0:0 d
    x d trusted.overlay.origin x
    x d trusted.overlay.overlay.opaque y
    x d user.note kept
    """
    rows = stacked("f 644 0:0 d/low", up, whiteouts=Whiteouts.OVERLAYFS)
    assert paths(rows) == {"d", "d/low"}
    assert rows[b"d"].xattrs == ((b"trusted.overlay.opaque", b"y"), (b"user.note", b"kept"))


@pytest.mark.parametrize("attribute", ["redirect /other", "metacopy"])
def test_layers_that_need_more_than_they_hold_are_refused_by_name(attribute: str) -> None:
    feature = "redirect_dir" if attribute.startswith("redirect") else "metacopy"
    with pytest.raises(UnsupportedError, match=f"overlayfs with {feature}"):
        stacked(
            "f 644 0:0 f",
            f"f 644 0:0 f\nx f trusted.overlay.{attribute}",
            whiteouts=Whiteouts.OVERLAYFS,
        )


LAYERS = (
    r"""
    d 1777 0:0 tmp
    f 644 1:1 etc/keep one
    f 644 1:1 etc/change one
    f 644 1:1 etc/delete one
    f 644 0:0 gone/deep/file x
    f 644 0:0 opaque/old x
    f 644 0:0 opaque/sub/old x
    f 600 0:0 file-to-folder x
    f 644 0:0 folder-to-file/in x
    l 777 0:0 link etc/keep
    f 644 0:0 x-white x
    c 600 0:0 real-device 1:3
    """,
    r"""
    d 700 3:4 etc
    f 600 2:2 etc/change two!
    c 000 0:0 etc/delete 0:0
    c 000 0:0 gone 0:0
    d 755 0:0 opaque
    x opaque trusted.overlay.opaque y
    f 644 0:0 opaque/sub/new x
    f 644 0:0 file-to-folder/in x
    f 644 0:0 folder-to-file x
    f 644 0:0 a/b/c *5000
    """,
    r"""
    f 644 0:0 gone/again x
    f 644 0:0 etc/delete three
    c 000 0:0 etc/keep 0:0
    c 000 0:0 nothing-there 0:0
    l 777 0:0 folder-to-file x
    """,
)


def overlaid(layers: Sequence[Tree]) -> dict[bytes, Row]:
    """Return what overlayfs of the kernel makes of layers."""
    need_root()
    with TemporaryDirectory(prefix="convert-overlay-") as folder:
        base = Path(folder)
        run("mount", "-t", "tmpfs", "none", base)  # a filesystem with attributes, whatever /tmp is
        try:
            lower = [base / str(number) for number in range(len(layers))]
            for place, layer in zip(lower, layers, strict=True):
                write_folder(layer, place)
            merged = base / "merged"
            merged.mkdir()
            folders = ":".join(str(place) for place in reversed(lower))
            run("mount", "-t", "overlay", "-o", f"ro,lowerdir={folders}", "none", merged)
            try:
                return kernel_listing(merged)
            finally:
                run("umount", merged)
        finally:
            run("umount", base)


def without_links(rows: dict[bytes, Row]) -> dict[bytes, Row]:
    """Leave out what overlayfs does not keep among its lower layers: who is a link of whom."""
    return {path: replace(row, links=()) for path, row in rows.items()}


def test_a_stack_is_what_overlayfs_of_the_kernel_shows() -> None:
    layers = [memory_tree(text) for text in LAYERS]
    ours = tree_listing(StackedTree(layers, whiteouts=Whiteouts.OVERLAYFS))
    assert difference(without_links(overlaid(layers)), without_links(ours)) == []


# Properties


@st.composite
def marked_trees(draw: st.DrawFn, *, deep: bool = True) -> MemoryTree:
    """Trees in which some leaves are whiteouts of overlayfs, and some folders opaque.

    :param deep: whether there are whiteouts in other folders than the root.
    """
    tree = draw(trees())
    entries = []
    for entry in tree.entries():
        choice = draw(st.integers(0, 3))
        if entry.kind is Kind.SOCKET and choice and (deep or not entry.parent):
            entries.append(Entry(entry.path, Kind.CHARACTER_DEVICE, 0, device=(0, 0)))
        elif entry.kind is Kind.FOLDER and not choice and entry.path:
            entries.append(replace(entry, xattrs=((b"trusted.overlay.opaque", b"y"),)))
        else:
            entries.append(entry)
    gone = {entry.path for entry in entries if entry.device == (0, 0)}
    contents = {
        entry.path: b"".join(tree.read(entry)) for entry in entries if entry.kind is Kind.FILE
    }
    kept = [entry for entry in entries if entry.target not in gone or entry.kind is Kind.SYMLINK]
    return MemoryTree(kept, contents)


Model = dict[bytes, tuple[int, bytes]]
"""Path → layer, and path in it of the entry that is the file itself."""


def laid(model: Model, kinds: Sequence[dict[bytes, Entry]], number: int) -> Model:
    """Lay one more layer over a model, the way one would do it by hand: path by path."""

    def below(path: bytes, folder: bytes) -> bool:
        return bool(path) and (not folder or path.startswith(folder + b"/"))

    result = dict(model)
    for path, entry in kinds[number].items():
        is_opaque = (b"trusted.overlay.opaque", b"y") in entry.xattrs
        if entry.kind is not Kind.FOLDER or is_opaque:
            result = {
                other: place
                for other, place in result.items()
                if place[0] == number or not (other == path or below(other, path))
            }
        if entry.device == (0, 0):
            continue
        target = entry.target if entry.kind is Kind.HARDLINK and entry.target else path
        result[path] = (number, target)
    return result


@settings(max_examples=60)
@given(st.lists(marked_trees(), min_size=1, max_size=4))
def test_a_stack_is_what_laying_path_over_path_gives(layers: list[MemoryTree]) -> None:
    tree = StackedTree(layers, whiteouts=Whiteouts.OVERLAYFS)
    rows = tree_listing(tree)  # which holds it to the promises of trees
    assert list(rows) == walk_order(rows)
    kinds = [{entry.path: entry for entry in layer.entries()} for layer in layers]
    model: Model = {}
    for number in range(len(layers)):
        model = laid(model, kinds, number)
    assert set(rows) == set(model)
    files: dict[tuple[int, bytes], list[bytes]] = {}
    for path, file in model.items():
        files.setdefault(file, []).append(path)
    for path, (number, name) in model.items():
        theirs, row = kinds[number][name], rows[path]
        assert (row.kind, row.uid, row.mode) == (theirs.kind, theirs.uid, theirs.mode)
        names = sorted(files[number, name])
        assert row.links == (tuple(names) if len(names) > 1 else ())
    for entry in tree.entries():
        number, name = model[entry.path]
        assert tree.layer_of(entry) == number
        if entry.kind is Kind.FILE:
            content = b"".join(layers[number].read(kinds[number][name]))
            assert b"".join(tree.read(entry)) == content


@settings(max_examples=10)
@given(st.lists(marked_trees(deep=False), min_size=2, max_size=3))
def test_random_stacks_are_what_overlayfs_of_the_kernel_shows(layers: list[MemoryTree]) -> None:
    # Where nothing is merged, readdir(2) of overlayfs gives names of whiteouts, which lstat(2) then
    # does not find; the root always is.
    ours = tree_listing(StackedTree(layers, whiteouts=Whiteouts.OVERLAYFS))
    assert difference(without_links(overlaid(layers)), without_links(ours)) == []


@settings(max_examples=40)
@given(st.lists(trees(), min_size=1, max_size=4))
def test_a_stack_of_stacks_is_the_same_stack(layers: list[MemoryTree]) -> None:
    flat = StackedTree(layers)
    nested: Tree = layers[0]
    for layer in layers[1:]:
        nested = StackedTree([nested, layer])
    assert tree_listing(nested) == tree_listing(flat)
