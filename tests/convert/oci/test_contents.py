"""Layers over each other, held against umoci; and what makes a layer unsound."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given

from convert.layers.compress import Codec
from convert.layers.tar import encode_tar
from convert.oci.blobs import layer_tar
from convert.oci.contents import ImageContents
from convert.oci.problems import Code, Problems
from convert.oci.tarstream import StreamInput, TarReader
from formats.core.entry import Kind
from formats.core.errors import LimitError
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.origin import Origin
from formats.core.source import FileSource
from formats.core.tree import Tree
from tests.support.everything import EVERYTHING
from tests.support.images import BLOBS, read_json, umoci_unpacked, write
from tests.support.listing import kernel_listing
from tests.support.memory_tree import MemoryTree, memory_tree
from tests.support.programs import need_root, run
from tests.support.tree_strategies import trees

ORIGIN = Origin(("layer",))
TYPES = {
    "d": tarfile.DIRTYPE,
    "f": tarfile.REGTYPE,
    "h": tarfile.LNKTYPE,
    "l": tarfile.SYMTYPE,
}


def layer(*lines: str) -> bytes:
    """Write a tar with a member for each ``KIND PATH [TARGET]``, just as they are given."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for line in lines:
            kind, name, *rest = line.split(" ")
            info = tarfile.TarInfo(name)
            info.type = TYPES[kind]
            info.linkname = rest[0] if rest else ""
            info.mode = int(rest[1], 8) if len(rest) > 1 else 0o755
            tar.addfile(info)
    return file.getvalue()


def contents(*layers: bytes, limits: Limits = DEFAULT_LIMITS) -> tuple[ImageContents, Problems]:
    problems = Problems()
    found = ImageContents(problems, limits, with_digests=False)
    for number, data in enumerate(layers, start=1):
        found.add_layer(f"layer {number}", TarReader(StreamInput(iter([data]), ORIGIN), limits))
    return found, problems


def codes(*layers: bytes) -> list[tuple[Code, str]]:
    _, problems = contents(*layers)
    return [(problem.code, problem.where) for problem in problems.kept]


@pytest.mark.parametrize(
    ("lines", "problems"),
    [
        (("d ./", "d a", "f a/b", "h a/c a/b", "l d /x"), []),
        (("d .", "f a"), []),
        (("f a", "f a"), [(Code.REPEATED_PATH, "a")]),
        (("d a", "f a"), [(Code.REPEATED_PATH, "a")]),
        (("f a/b",), [(Code.NO_FOLDER, "a/b")]),
        (("f a/b", "d a"), [(Code.NO_FOLDER, "a/b")]),
        (("l a x", "f a/b"), [(Code.NO_FOLDER, "a/b")]),
        (("h b a", "f a"), [(Code.HARD_LINK, "b")]),
        (("h a a",), [(Code.HARD_LINK, "a")]),
        (("d a", "h b a"), [(Code.HARD_LINK, "b")]),
        (("f a", "h b a", "h c b"), [(Code.HARD_LINK, "c")]),
        (("f a", "h b a 700"), [(Code.HARD_LINK, "b")]),
        (("f a", "h b /a"), [(Code.HARD_LINK, "b")]),
        (("f /a",), [(Code.PATH, "/a")]),
        (("f ../a",), [(Code.PATH, "../a")]),
        (("d a", "f a/../b"), [(Code.PATH, "a/../b")]),
        (("f ./a",), [(Code.PATH, "./a")]),
        (("d a", "f a//b"), [(Code.PATH, "a//b")]),
        (("f .",), [(Code.PATH, ".")]),
        (("f " + "n" * 256,), [(Code.PATH, "n" * 256)]),
        (("f .wh.a",), [(Code.WHITEOUT, "a")]),
        (("f .wh.",), [(Code.WHITEOUT, ".wh.")]),
        (("f .wh..wh.plnk",), [(Code.WHITEOUT, ".wh..wh.plnk")]),
        (("f .wh..wh..opq",), [(Code.WHITEOUT, "/")]),
    ],
)
def test_what_clients_could_disagree_on_is_named(
    lines: tuple[str, ...], problems: list[tuple[Code, str]]
) -> None:
    expected = [(code, f"layer 1, {path}") for code, path in problems]
    assert codes(layer(*lines)) == expected


def test_a_whiteout_has_to_hide_something_of_the_layers_below() -> None:
    lower = layer("d a", "f a/b", "f c")
    assert codes(lower, layer("d a", "f a/.wh.b", "f .wh.c")) == []
    assert codes(lower, layer("f .wh.c", "f c")) == []
    assert codes(lower, layer("d a", "f a/.wh.x")) == [(Code.WHITEOUT, "layer 2, a/x")]
    assert codes(lower, layer("f .wh..wh..opq")) == []


@pytest.mark.parametrize(
    ("upper", "left"),
    [
        (("f new",), "a a/b a/b/c d new"),
        (("f .wh.a",), "d"),
        (("d a", "f a/.wh.b"), "a d"),
        (("d a", "f a/.wh..wh..opq", "f a/new"), "a a/new d"),
        (("f .wh..wh..opq", "f new"), "new"),
        (("f a",), "a d"),
        (("l a d",), "a d"),
        (("f .wh.a", "d a", "f a/new"), "a a/new d"),
        (("d a",), "a a/b a/b/c d"),
        (("d d",), "a a/b a/b/c d"),
    ],
)
def test_an_upper_layer_hides_what_the_specification_says(
    upper: tuple[str, ...], left: str
) -> None:
    lower = layer("d a", "d a/b", "f a/b/c", "f d")
    found, problems = contents(lower, layer(*upper))
    assert sorted(found.paths) == [path.encode() for path in left.split()]
    assert problems.total == 0


def image_layers(layout: Path) -> Iterator[bytes]:
    def blob(descriptor: dict[str, str]) -> Path:
        return layout / BLOBS / descriptor["digest"].removeprefix("sha256:")

    (entry,) = read_json(layout / "index.json")["manifests"]
    for descriptor in read_json(blob(entry))["layers"]:
        source = FileSource(blob(descriptor))
        tar = layer_tar(source, Codec.GZIP, DEFAULT_LIMITS, lambda _: None)
        yield b"".join(map(bytes, tar))
        source.close()


def test_layers_that_umoci_made_hold_what_it_saw(tmp_path: Path) -> None:
    need_root()
    tree = (
        "f 644 0:0 a/b/c x\nf 644 0:0 a/d x\nf 644 0:0 gone/x x\nl 777 0:0 link a\nf 644 0:0 file x"
    )
    write(f"oci:{tmp_path}/out:latest", memory_tree(tree), codec=Codec.GZIP)
    root = umoci_unpacked(tmp_path / "out", "latest", tmp_path / "bundle")
    (root / "a/b/c").unlink()
    (root / "gone/x").unlink()
    (root / "gone").rmdir()
    (root / "link").unlink()
    (root / "link").mkdir()
    (root / "file").write_text("longer")
    (root / "a/new").hardlink_to(root / "a/d")
    run("umoci", "repack", "--image", f"{tmp_path}/out:latest", tmp_path / "bundle")
    run("umoci", "gc", "--layout", tmp_path / "out")
    layers = list(image_layers(tmp_path / "out"))
    assert len(layers) == 2
    found, _ = contents(*layers)
    kernel = kernel_listing(root)
    assert sorted(found.paths) == sorted(kernel)
    for path, row in kernel.items():
        member = found.paths[path]
        real = found.paths[member.target or b""] if member.kind is Kind.HARDLINK else member
        assert (real.kind, real.mode, real.size) == (row.kind, row.mode, row.size)


def without_whiteouts(tree: MemoryTree) -> Tree:
    gone = {entry.path for entry in tree.entries() if b".wh." in entry.path}
    gone |= {entry.path for entry in tree.entries() if entry.kind is Kind.SOCKET}
    kept = [entry for entry in tree.entries() if not {entry.path, entry.target} & gone]
    return MemoryTree(kept, tree._contents)


@given(trees())
def test_a_layer_of_ours_is_sound(tree: MemoryTree) -> None:
    assert codes(b"".join(encode_tar(without_whiteouts(tree)))) == []


def test_the_layer_of_a_tree_with_everything_is_sound() -> None:
    assert codes(b"".join(encode_tar(EVERYTHING))) == []


def test_entries_are_counted_over_all_layers() -> None:
    limits = replace(DEFAULT_LIMITS, entries=3)
    contents(layer("f a", "f b"), layer("f c"), limits=limits)
    with pytest.raises(LimitError, match="more than 3 entries"):
        contents(layer("f a", "f b"), layer("f c", "f d"), limits=limits)


def test_names_and_xattrs_that_fill_the_memory_are_a_limit_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("convert.oci.contents._MEMORY_BYTES", 10_000)
    with pytest.raises(LimitError, match="more than 10,000 bytes"):
        contents(layer(*(f"f {number:04}{'x' * 200}" for number in range(30))))
