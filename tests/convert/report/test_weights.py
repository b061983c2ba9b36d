from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from convert.images.folder import FolderTree
from convert.oci.base import Base, BaseLayer
from convert.oci.descriptor import Descriptor
from convert.oci.digest import Digest
from convert.report.weights import Weight, by_folder, weigh
from formats.core.entry import Entry, Kind
from formats.core.origin import Origin
from formats.core.source import MemorySource
from formats.core.tree import TreeIndex
from tests.support.memory_tree import memory_tree
from tests.support.programs import need, run


def files(sizes: dict[str, int]) -> list[Entry]:
    return [Entry(path.encode(), Kind.FILE, 0o644, size=size) for path, size in sizes.items()]


def every(weight: Weight) -> Iterator[Weight]:
    yield weight
    for part in weight.parts:
        yield from every(part)


def at(weight: Weight, path: str) -> Weight:
    for name in filter(None, path.split("/")):
        weight = next(part for part in weight.parts if part.name == name)
    return weight


def test_folders_weigh_what_du_says(tmp_path: Path) -> None:
    need("du")
    for number, folder in enumerate(("a", "a/b", "a/b/c", "d", "d/e/f")):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name in "xyz":
            (tmp_path / folder / name).write_bytes(bytes(1000 * (number + 1)))
    (tmp_path / "d/link").hardlink_to(tmp_path / "a/x")
    tree = FolderTree(tmp_path)
    try:
        found = by_folder(TreeIndex(tree).entries(), "/")
    finally:
        tree.close()
    for folder in ("a", "a/b", "a/b/c", "d/e"):
        listed = run("find", tmp_path / folder, "-type", "f", "-printf", "%s\n").stdout.split()
        assert at(found, folder).size == sum(map(int, listed))
    # a file of two names counts once
    assert found.size == 3 * (1000 + 2000 + 3000 + 4000 + 5000)


def test_parts_are_never_more_than_the_whole_and_the_heaviest_come_first() -> None:
    sizes = {
        f"{a}/{b}/{c}": (a + 1) * (b + 1) * 17 + c
        for a in range(9)
        for b in range(9)
        for c in range(30)
    }
    found = by_folder(files(sizes), "/")
    assert found.size == sum(sizes.values())
    assert found.files == len(sizes)
    for weight in every(found):
        if weight.parts:
            assert sum(part.size for part in weight.parts) == weight.size
            assert sum(part.files for part in weight.parts) == weight.files
            named = [part.size for part in weight.parts if "smaller" not in part.name]
            assert named == sorted(named, reverse=True)


def test_a_large_tree_gives_few_weights() -> None:
    sizes = {f"{number % 500}/{number % 7}/{number}": 100 + number % 13 for number in range(60_000)}
    found = list(every(by_folder(files(sizes), "/")))
    assert len(found) < 500
    assert found[0].parts[-1].name.endswith(" smaller")


def test_a_path_as_deep_as_any_ends_at_a_depth() -> None:
    found = by_folder(files({"/".join("abcdefghijklmnop"): 5}), "/")
    depth, weight = 0, found
    while weight.parts:
        depth, weight = depth + 1, weight.parts[0]
    assert depth == 6
    assert weight.size == 5


def test_an_empty_tree_weighs_nothing() -> None:
    found = weigh([], {}, None)
    assert (found.folders.size, found.packages, found.layers.size) == (0, None, 0)
    assert by_folder(files({"a": 0, "b/c": 0}), "/").files == 2


def test_packages_and_the_rest_are_the_whole() -> None:
    tree = memory_tree("""
        f 644 0:0 a/one   *100
        f 644 0:0 a/two   *50
        f 644 0:0 b/own   *30
        h b/more          a/one
        l 777 0:0 b/link  own
    """)
    owners = {b"a/one": "first", b"a/two": "second", b"b/link": "second"}
    found = weigh(list(tree.entries()), owners, None).packages
    assert found is not None
    assert [(part.name, part.size, part.files) for part in found.parts] == [
        ("first", 100, 1),
        ("second", 50, 1),
        ("in no package", 30, 1),
    ]
    assert found.size == 180
    assert at(found, "in no package/b").size == 30


def test_many_small_packages_are_one_weight() -> None:
    sizes = {f"f{number}": 1000 - number for number in range(300)}
    owners = {name.encode(): f"p{name}" for name in sizes}
    found = weigh(files(sizes), owners, None).packages
    assert found is not None
    assert len(found.parts) == 121
    assert sum(part.size for part in found.parts) == found.size == sum(sizes.values())
    assert "180 smaller packages" in {part.name for part in found.parts}


def test_layers_of_a_base_lie_below_the_new_one() -> None:
    def layer(size: int) -> BaseLayer:
        tar = MemorySource(bytes(size), Origin(("base",)))
        digest = Digest.of(bytes(size))
        return BaseLayer(Descriptor("tar", digest, size), digest, tar, tar)

    base = Base(None, None, (layer(700), layer(300)), ())
    found = weigh(files({"a/b": 50}), {}, base).layers
    assert [(part.name, part.size) for part in found.parts] == [
        ("base, layer 1", 700),
        ("base, layer 2", 300),
        ("new layer", 50),
    ]
    assert found.size == 1050
    assert at(found, "new layer/a").size == 50


@pytest.mark.parametrize("name", ["\u202e", "\n", "\udcff"])
def test_names_are_printable(name: str) -> None:
    entry = Entry(name.encode("utf-8", "surrogateescape"), Kind.FILE, 0o644, size=10)
    (part,) = by_folder([entry], "/").parts
    assert part.name.isprintable()
