"""Verification: sound images are found sound, and each kind of damage is named."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard

from convert.destination import parse_image
from convert.layers.compress import Codec, compression
from convert.layers.representable import fit_layer
from convert.layers.tar import encode_tar
from convert.oci.problems import Code, Problems
from convert.oci.write import LayerInput, write_image
from convert.verify import Verification, verify_image
from formats.core.entry import Entry, Kind
from formats.core.errors import (
    AmbiguousError,
    CorruptError,
    InputReadError,
    LimitError,
    UnsupportedError,
    UsageError,
)
from formats.core.limits import DEFAULT_LIMITS, MIB
from formats.core.tree import Tree
from tests.support.damage import Layout
from tests.support.everything import EVERYTHING
from tests.support.images import SMALL, config, skopeo, umoci_unpacked, write
from tests.support.memory_tree import MemoryTree, memory_tree
from tests.support.programs import need, need_root, run

DESTINATIONS = [
    ("oci:PLACE/out:latest", Codec.ZSTD),
    ("oci:PLACE/out:latest", Codec.GZIP),
    ("oci:PLACE/out:latest", Codec.NONE),
    ("oci-archive:PLACE/o.tar:web:1", Codec.GZIP),
    ("oci-archive:PLACE/o.tar:web:1", Codec.ZSTD),
    ("docker-archive:PLACE/d.tar:web:1", Codec.NONE),
]
LAYOUTS = DESTINATIONS[:3]


def verified(destination: str, tree: Tree | None = None, **options: Any) -> Verification:
    return verify_image(parse_image(destination), tree, **options)


def codes(found: Verification) -> set[Code]:
    return {problem.code for problem in found.problems}


@pytest.mark.parametrize(("destination", "codec"), DESTINATIONS)
def test_an_image_of_ours_holds_what_it_claims(
    destination: str, codec: Codec, tmp_path: Path
) -> None:
    destination = destination.replace("PLACE", str(tmp_path))
    image = write(destination, EVERYTHING, codec=codec)
    found = verified(destination, EVERYTHING)
    assert found.problems == ()
    assert found.digest == (None if destination.startswith("docker") else image.digest)
    assert (found.platform, found.layers, found.is_compared) == (image.platform, 1, True)
    assert found.entries == len(list(EVERYTHING.entries()))
    assert found.size == image.layers[0].descriptor.size


def test_progress_is_told_of_every_byte_that_is_read(tmp_path: Path) -> None:
    write(f"oci:{tmp_path}/out", memory_tree("f 644 0:0 a *3000000"), codec=Codec.GZIP)
    told: list[int] = []
    found = verified(f"oci:{tmp_path}/out", progress=told.append)
    assert sum(told) == 2 * found.size  # hashed, and unpacked


@pytest.mark.parametrize("name", ["oci-archive:PLACE/o.tar:x", "docker-archive:PLACE/d.tar:x:1"])
def test_what_skopeo_wrote_is_sound_too(name: str, tmp_path: Path) -> None:
    write(f"oci:{tmp_path}/out:x", EVERYTHING, codec=Codec.GZIP)
    name = name.replace("PLACE", str(tmp_path))
    skopeo("copy", f"oci:{tmp_path}/out:x", name)
    assert verified(name, EVERYTHING).problems == ()


def test_layers_that_umoci_adds_are_read_and_their_missing_folders_named(tmp_path: Path) -> None:
    need("umoci")
    need_root()
    write(f"oci:{tmp_path}/out:x", SMALL, codec=Codec.GZIP)
    root = umoci_unpacked(tmp_path / "out", "x", tmp_path / "bundle")
    (root / "etc/hostname").write_text("changed")
    run("umoci", "repack", "--image", f"{tmp_path}/out:y", tmp_path / "bundle")
    found = verified(f"oci:{tmp_path}/out:y")
    assert (found.layers, codes(found)) == (2, {Code.NO_FOLDER})  # umoci leaves folders out
    assert verified(f"oci:{tmp_path}/out:x", SMALL).problems == ()


def test_a_layer_of_many_zeros_is_no_bomb(tmp_path: Path) -> None:
    tree = memory_tree("f 644 0:0 a x")
    tree = MemoryTree([Entry(b"a", Kind.FILE, 0o644, size=48 * MIB)], {b"a": bytes(48 * MIB)})
    limits = replace(DEFAULT_LIMITS, expansion_grace_bytes=MIB)
    write(f"oci:{tmp_path}/out", tree)
    assert verified(f"oci:{tmp_path}/out", tree, limits=limits).problems == ()


def test_times_are_compared_as_they_were_clamped(tmp_path: Path) -> None:
    tree = memory_tree("f 644 0:0 a x\nm 2000000000.5 a")
    where = parse_image(f"oci:{tmp_path}/out")
    layer = LayerInput(encode_tar(tree, mtime_limit=1_000_000_000), "x")
    write_image([layer], config(), where, compression=compression(Codec.GZIP))
    assert verify_image(where, tree, mtime_limit=1_000_000_000).problems == ()
    assert codes(verify_image(where, tree)) == {Code.DIFFERENT_PATH}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    write(f"oci:{tmp_path}/out:latest", EVERYTHING)
    return Layout(tmp_path / "out")


def checked(layout: Layout) -> Verification:
    return verified(f"oci:{layout.folder}:latest")


LINES = r"""
d 755 0:0 etc
f 644 0:0 etc/hostname vm1\n
f 644 0:0 etc/passwd root
l 777 0:0 link etc
h hard etc/passwd
c 666 0:0 null 1:3
x etc/hostname user.a 1
m 1700000000 etc/passwd
"""


@pytest.mark.parametrize(
    ("old", "new", "where", "message"),
    [
        ("f 644 0:0 etc/hostname", "f 600 0:0 etc/hostname", "etc/hostname", "mode 0o644, not"),
        ("f 644 0:0 etc/hostname", "f 644 5:6 etc/hostname", "etc/hostname", "owner 0:0, not 5:6"),
        ("vm1", "vm2", "etc/hostname", "other content"),
        ("vm1", "vm12", "etc/hostname", "size 4, not 5"),
        ("link etc", "link /etc", "link", "leads to 'etc', not '/etc'"),
        ("1:3", "1:5", "null", "device (1, 3), not (1, 5)"),
        ("user.a 1", "user.a 2", "etc/hostname", "other xattrs: user.a"),
        ("user.a 1", "user.b 1", "etc/hostname", "other xattrs: user.a, user.b"),
        ("m 1700000000", "m 1700000001", "etc/passwd", "time 1700000000, not 1700000001"),
        ("h hard etc/passwd", "h hard etc/hostname", "hard", "leads to 'etc/passwd'"),
        ("h hard etc/passwd", "f 644 0:0 hard root", "hard", "is a hard"),
        ("d 755 0:0 etc", "d 700 0:0 etc", "etc", "mode 0o755, not 0o700"),
        ("f 644 0:0 etc/passwd root", "f 644 0:0 etc/passwd toor", "etc/passwd", "other content"),
    ],
)
def test_each_difference_from_the_source_is_named(
    old: str, new: str, where: str, message: str, tmp_path: Path
) -> None:
    write(f"oci:{tmp_path}/out", memory_tree(LINES))
    assert old in LINES
    changed = memory_tree(LINES.replace(old, new))
    found = verified(f"oci:{tmp_path}/out", changed)
    assert codes(found) == {Code.DIFFERENT_PATH}
    assert [problem.where for problem in found.problems] == [where]
    assert message in found.problems[0].message


def test_paths_are_compared_both_ways(tmp_path: Path) -> None:
    write(f"oci:{tmp_path}/out", memory_tree("f 644 0:0 both x\nf 644 0:0 image x"))
    found = verified(f"oci:{tmp_path}/out", memory_tree("f 644 0:0 both x\nf 644 0:0 tree x"))
    assert [(problem.code, problem.where) for problem in found.problems] == [
        (Code.LOST_PATH, "tree"),
        (Code.EXTRA_PATH, "image"),
    ]


def test_upper_layers_count_where_they_lie_over_lower_ones(tmp_path: Path) -> None:
    lower, upper = memory_tree("f 644 0:0 a lower\nf 644 0:0 b x"), memory_tree("f 600 0:0 a upper")
    write(f"oci:{tmp_path}/out", lower, upper)
    both = memory_tree("f 600 0:0 a upper\nf 644 0:0 b x")
    assert verified(f"oci:{tmp_path}/out", both).problems == ()
    assert codes(verified(f"oci:{tmp_path}/out", lower)) == {Code.DIFFERENT_PATH}


def test_a_source_that_is_damaged_is_no_problem_of_the_image(tmp_path: Path) -> None:
    tree = memory_tree("f 644 0:0 a x")
    write(f"oci:{tmp_path}/out", tree)
    (entry,) = (entry for entry in tree.entries() if entry.path)
    damaged = MemoryTree([entry], {})
    with pytest.raises(CorruptError, match="is said to have 1 bytes and has only 0"):
        verified(f"oci:{tmp_path}/out", damaged)


def test_an_image_that_cannot_be_read_is_not_compared(layout: Layout) -> None:
    layout.put_layer(layout.layer.read_bytes()[:-9])
    found = verified(f"oci:{layout.folder}:latest", EVERYTHING)
    assert (codes(found), found.is_compared) == ({Code.LAYER}, False)


def test_what_umoci_unpacks_is_what_was_verified(tmp_path: Path) -> None:
    need_root()
    fitted = fit_layer(EVERYTHING).tree
    write(f"oci:{tmp_path}/out:x", fitted, codec=Codec.GZIP)
    assert verified(f"oci:{tmp_path}/out:x", fitted).problems == ()
    root = umoci_unpacked(tmp_path / "out", "x", tmp_path / "bundle")
    assert {entry.path for entry in fitted.entries() if entry.path} == {
        os.fsencode(path.relative_to(root)) for path in root.rglob("*")
    }


def test_what_is_not_there_cannot_be_read(tmp_path: Path) -> None:
    for name in (
        f"oci:{tmp_path}/no",
        f"oci-archive:{tmp_path}/no",
        f"docker-archive:{tmp_path}/no",
    ):
        with pytest.raises(InputReadError):
            verified(name)


def test_a_pipe_is_not_read() -> None:
    with pytest.raises(UsageError):
        verified("oci-archive:-")


def test_one_of_several_images_has_to_be_named(tmp_path: Path) -> None:
    write(f"oci:{tmp_path}/out:a")
    write(f"oci:{tmp_path}/out:b")
    with pytest.raises(AmbiguousError, match="2 images"):
        verified(f"oci:{tmp_path}/out")
    assert verified(f"oci:{tmp_path}/out:b").problems == ()


def test_an_index_of_indexes_is_not_read(layout: Layout) -> None:
    index = layout.index
    index["manifests"][0]["mediaType"] = "application/vnd.oci.image.index.v1+json"
    layout.put_index(index)
    with pytest.raises(UnsupportedError, match="not an image manifest"):
        checked(layout)


def test_layers_of_other_types_are_not_read(layout: Layout) -> None:
    manifest = layout.manifest
    manifest["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.zstd"
    layout.put_manifest(manifest)
    with pytest.raises(UnsupportedError, match="are not read"):
        checked(layout)


def test_a_document_that_is_too_large_is_a_limit_error(layout: Layout) -> None:
    (layout.folder / "index.json").write_bytes(b" " * (5 << 20))
    with pytest.raises(LimitError, match="of a document"):
        checked(layout)


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_a_bomb_is_a_limit_error(compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    codec = Codec.GZIP if compress is gzip.compress else Codec.ZSTD
    write(f"oci:{tmp_path}/out:latest", codec=codec)
    layout = Layout(tmp_path / "out")
    entry = Entry(b"a", Kind.FILE, 0o644, size=24 * MIB)
    layout.put_layer(compress(b"".join(encode_tar(MemoryTree([entry], {b"a": b"x" * 24 * MIB})))))
    limits = replace(DEFAULT_LIMITS, expansion_grace_bytes=MIB, expansion_ratio=100)
    with pytest.raises(LimitError, match="more than 100 times"):
        verified(f"oci:{tmp_path}/out:latest", limits=limits)


def test_all_layers_together_are_held_to_the_limit_on_output(tmp_path: Path) -> None:
    tree = memory_tree("f 644 0:0 a *3000000")
    write(f"oci:{tmp_path}/out", tree, tree)
    limits = replace(DEFAULT_LIMITS, total_output_bytes=5_000_000)
    with pytest.raises(LimitError, match="more than 5,000,000"):
        verified(f"oci:{tmp_path}/out", limits=limits)


def test_a_thousand_problems_are_kept_and_all_are_counted() -> None:
    problems = Problems()
    for number in range(1500):
        problems.add(Code.PATH, "x" * 100_000, str(number))
    assert (len(problems.kept), problems.total) == (1000, 1500)
    assert len(problems.kept[0].where) == 10_000
