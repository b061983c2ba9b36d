"""Verification: sound images are found sound, and each kind of damage is named."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import tarfile
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
from convert.oci.digest import Digest
from convert.oci.problems import Code, Problems
from convert.oci.write import LayerInput, write_image
from convert.verify import Verification, verify_image
from formats.core.entry import Entry, Kind
from formats.core.errors import (
    AmbiguousError,
    InputReadError,
    LimitError,
    UnsupportedError,
    UsageError,
)
from formats.core.limits import DEFAULT_LIMITS, MIB
from formats.core.tree import Tree
from tests.support.everything import EVERYTHING
from tests.support.images import BLOBS, SMALL, config, read_json, skopeo, umoci_unpacked, write
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


# What is sound


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


# What is damaged


class Layout:
    """A layout that can be damaged with every digest above the damage put right again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def blob(self, descriptor: Any) -> Path:
        encoded = descriptor["digest"].removeprefix("sha256:")
        return self.folder / BLOBS / str(encoded)

    @property
    def index(self) -> Any:
        return read_json(self.folder / "index.json")

    @property
    def manifest(self) -> Any:
        return read_json(self.blob(self.index["manifests"][0]))

    @property
    def config(self) -> Any:
        return read_json(self.blob(self.manifest["config"]))

    @property
    def layer(self) -> Path:
        return self.blob(self.manifest["layers"][0])

    def put(self, data: bytes) -> dict[str, Any]:
        digest = Digest.of(data)
        (self.folder / BLOBS / digest.encoded).write_bytes(data)
        return {"digest": str(digest), "size": len(data)}

    def put_index(self, index: Any) -> None:
        (self.folder / "index.json").write_text(json.dumps(index))

    def put_manifest(self, manifest: Any) -> None:
        index = self.index
        index["manifests"][0] |= self.put(json.dumps(manifest).encode())
        self.put_index(index)

    def put_config(self, config: Any) -> None:
        manifest = self.manifest
        manifest["config"] |= self.put(json.dumps(config).encode())
        self.put_manifest(manifest)

    def put_layer(self, data: bytes, tar: bytes | None = None) -> None:
        manifest, config = self.manifest, self.config
        manifest["layers"][0] |= self.put(data)
        self.put_manifest(manifest)
        if tar is not None:
            config["rootfs"]["diff_ids"] = [str(Digest.of(tar))]
            self.put_config(config)

    def put_tar(self, tar: bytes) -> None:
        self.put_layer(zstandard.compress(tar), tar)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    write(f"oci:{tmp_path}/out:latest", EVERYTHING)
    return Layout(tmp_path / "out")


def checked(layout: Layout, tree: Tree | None = None) -> Verification:
    return verified(f"oci:{layout.folder}:latest", tree)


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def test_every_flipped_byte_of_a_layer_is_noticed(layout: Layout) -> None:
    size = layout.layer.stat().st_size
    for offset in range(0, size, size // 40):
        flip(layout.layer, offset)
        found = checked(layout)
        assert Code.DIGEST in codes(found)
        assert "layer 1" in {problem.where for problem in found.problems}
        flip(layout.layer, offset)
    assert checked(layout).problems == ()


@pytest.mark.parametrize("which", ["manifest", "config"])
def test_nothing_of_a_document_with_a_flipped_byte_is_believed(which: str, layout: Layout) -> None:
    path = layout.blob(layout.index["manifests"][0])
    path = layout.blob(layout.manifest["config"]) if which == "config" else path
    for offset in range(0, path.stat().st_size, 17):
        flip(path, offset)
        found = checked(layout)
        assert [(problem.code, problem.where) for problem in found.problems] == [
            (Code.DIGEST, f"the {which}")
        ]
        assert found.layers == 0
        flip(path, offset)


def set_size(layout: Layout) -> None:
    manifest = layout.manifest
    manifest["layers"][0]["size"] += 1
    layout.put_manifest(manifest)


def set_config_size(layout: Layout) -> None:
    manifest = layout.manifest
    manifest["config"]["size"] -= 1
    layout.put_manifest(manifest)


def set_manifest_size(layout: Layout) -> None:
    index = layout.index
    index["manifests"][0]["size"] = 0
    layout.put_index(index)


def cut_layer(layout: Layout) -> None:
    layout.put_layer(layout.layer.read_bytes()[:-9])


def lengthen_layer(layout: Layout) -> None:
    layout.put_layer(layout.layer.read_bytes() + b"more")


def remove_layer(layout: Layout) -> None:
    layout.layer.unlink()


def link_layer(layout: Layout) -> None:
    layout.layer.rename(layout.folder / "layer")
    layout.layer.symlink_to("../../layer")


def make_layer_a_folder(layout: Layout) -> None:
    path = layout.layer
    path.unlink()
    path.mkdir()


def remove_config(layout: Layout) -> None:
    layout.blob(layout.manifest["config"]).unlink()


def remove_manifest(layout: Layout) -> None:
    layout.blob(layout.index["manifests"][0]).unlink()


def remove_index(layout: Layout) -> None:
    (layout.folder / "index.json").unlink()


def remove_layout_file(layout: Layout) -> None:
    (layout.folder / "oci-layout").unlink()


def remove_blobs(layout: Layout) -> None:
    shutil.rmtree(layout.folder / "blobs")


def other_version(layout: Layout) -> None:
    (layout.folder / "oci-layout").write_text('{"imageLayoutVersion":"2.0.0"}')


def other_tag(layout: Layout) -> None:
    index = layout.index
    index["manifests"][0]["annotations"] = {}
    layout.put_index(index)


def other_diff_id(layout: Layout) -> None:
    config = layout.config
    config["rootfs"]["diff_ids"] = [str(Digest.of(b""))]
    layout.put_config(config)


def more_diff_ids(layout: Layout) -> None:
    config = layout.config
    config["rootfs"]["diff_ids"] *= 2
    layout.put_config(config)


def fewer_diff_ids(layout: Layout) -> None:
    config = layout.config
    config["rootfs"]["diff_ids"] = []
    layout.put_config(config)


def more_history(layout: Layout) -> None:
    config = layout.config
    config["history"] *= 2
    layout.put_config(config)


def other_platform(layout: Layout) -> None:
    index = layout.index
    index["manifests"][0]["platform"]["architecture"] = "s390x"
    layout.put_index(index)


def other_config_type(layout: Layout) -> None:
    manifest = layout.manifest
    manifest["config"]["mediaType"] = "application/vnd.docker.container.image.v1+json"
    layout.put_manifest(manifest)


def other_rootfs_type(layout: Layout) -> None:
    config = layout.config
    config["rootfs"]["type"] = "tar"
    layout.put_config(config)


def no_architecture(layout: Layout) -> None:
    config = layout.config
    del config["architecture"]
    layout.put_config(config)


def nested_config(layout: Layout) -> None:
    layout.put_config(json.loads('{"a":' * 100 + "1" + "}" * 100))


def too_many_layers(layout: Layout) -> None:
    manifest = layout.manifest
    manifest["layers"] *= 128
    layout.put_manifest(manifest)


def gzip_that_claims_to_be_zstd(layout: Layout) -> None:
    layout.put_layer(gzip.compress(tar_of("a")))


def no_tar(layout: Layout) -> None:
    layout.put_tar(b"x" * 2048)


def path_outside(layout: Layout) -> None:
    layout.put_tar(tar_of("../../etc/passwd"))


def path_twice(layout: Layout) -> None:
    layout.put_tar(tar_of("a", "a"))


def no_folder(layout: Layout) -> None:
    layout.put_tar(tar_of("a/b"))


def whiteout(layout: Layout) -> None:
    layout.put_tar(tar_of(".wh.a"))


def tar_of(*names: str) -> bytes:
    headers = [tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT) for name in names]
    return b"".join(headers) + bytes(1024)


DAMAGE: list[tuple[Callable[[Layout], None], set[Code], str]] = [
    (set_size, {Code.SIZE}, "layer 1"),
    (set_config_size, {Code.SIZE}, "the config"),
    (set_manifest_size, {Code.SIZE}, "the manifest"),
    (cut_layer, {Code.LAYER}, "layer 1"),
    (lengthen_layer, {Code.LAYER}, "layer 1"),
    (remove_layer, {Code.MISSING}, "layer 1"),
    (link_layer, {Code.LAYER}, "layer 1"),
    (make_layer_a_folder, {Code.LAYER}, "layer 1"),
    (remove_config, {Code.MISSING}, "blobs/sha256/"),
    (remove_manifest, {Code.MISSING}, "blobs/sha256/"),
    (remove_index, {Code.MISSING}, "index.json"),
    (remove_layout_file, {Code.MISSING}, "oci-layout"),
    (remove_blobs, {Code.DOCUMENT}, "out"),
    (other_version, {Code.DOCUMENT}, "oci-layout"),
    (other_tag, {Code.MISSING}, "out"),
    (other_diff_id, {Code.DIFF_ID}, "layer 1"),
    (more_diff_ids, {Code.DISAGREEMENT}, "out"),
    (fewer_diff_ids, {Code.DISAGREEMENT}, "out"),
    (more_history, {Code.DISAGREEMENT}, "out"),
    (other_platform, {Code.DISAGREEMENT}, "out"),
    (other_config_type, {Code.DISAGREEMENT}, "out"),
    (other_rootfs_type, {Code.DOCUMENT}, "blobs/sha256/"),
    (no_architecture, {Code.DOCUMENT}, "blobs/sha256/"),
    (nested_config, {Code.DOCUMENT}, "blobs/sha256/"),
    (too_many_layers, {Code.DOCUMENT}, "out"),
    (gzip_that_claims_to_be_zstd, {Code.LAYER}, "layer 1"),
    (no_tar, {Code.LAYER}, "layer 1"),
    (path_outside, {Code.PATH}, "layer 1, ../../etc/passwd"),
    (path_twice, {Code.REPEATED_PATH}, "layer 1, a"),
    (no_folder, {Code.NO_FOLDER}, "layer 1, a/b"),
    (whiteout, {Code.WHITEOUT}, "layer 1, a"),
]


@pytest.mark.parametrize(
    ("damage", "expected", "where"), DAMAGE, ids=lambda value: getattr(value, "__name__", "")
)
def test_each_kind_of_damage_is_named_and_nothing_else(
    damage: Callable[[Layout], None], expected: set[Code], where: str, layout: Layout
) -> None:
    damage(layout)
    found = checked(layout)
    assert codes(found) == expected
    assert found.problem_count == 1
    assert where in found.problems[0].where


def test_blobs_that_no_tag_names_are_nobodys_business(layout: Layout) -> None:
    (layout.folder / BLOBS / ("0" * 64)).write_text("left over")
    assert checked(layout).problems == ()


def damaged_archive(file: Path, change: Callable[[str, bytes], tuple[str, bytes] | None]) -> None:
    """Write a tar file again with each member as ``change`` gives it."""
    with tarfile.open(file) as old:
        members = [(item, old.extractfile(item)) for item in old]
        found = [(item, file.read() if file else b"") for item, file in members]
    with tarfile.open(file, "w") as new:
        for item, data in found:
            changed = (item.name, data) if item.isdir() else change(item.name, data)
            if changed is not None:
                item.name, content = changed
                item.size = len(content)
                new.addfile(item, io.BytesIO(content))


@pytest.mark.parametrize(
    ("transport", "name", "code"),
    [
        ("oci-archive", "layer", Code.DIGEST),
        ("oci-archive", "index.json", Code.MISSING),
        ("oci-archive", "manifest.json", Code.DOCUMENT),
        ("docker-archive", "manifest.json", Code.DOCUMENT),
        ("docker-archive", "layer", Code.DIFF_ID),
        ("docker-archive", "config", Code.DIGEST),
    ],
)
def test_a_damaged_member_of_an_archive_is_named(
    transport: str, name: str, code: Code, tmp_path: Path
) -> None:
    destination = f"{transport}:{tmp_path}/x.tar:web:1"
    image = write(destination, SMALL, codec=Codec.NONE)
    names = {image.layers[0].digest.encoded: "layer", image.config.digest.encoded: "config"}

    def change(member: str, data: bytes) -> tuple[str, bytes] | None:
        if names.get(Path(member).name.partition(".")[0], member) != name:
            return member, data
        if name == "index.json":
            return None
        return member, data.replace(b"vm1", b"vm2") if name == "layer" else b"[" + data

    damaged_archive(tmp_path / "x.tar", change)
    assert code in codes(verified(destination))


def test_dockers_list_in_an_oci_archive_has_to_name_the_same_image(tmp_path: Path) -> None:
    destination = f"oci-archive:{tmp_path}/x.tar:web:1"
    for key, value in [
        ("Config", "blobs/sha256/" + "0" * 64),
        ("Layers", []),
        ("RepoTags", ["docker.io/library/other:1"]),
    ]:
        write(destination)

        def change(member: str, data: bytes, key: str = key, value: Any = value) -> Any:
            if member == "manifest.json":
                data = json.dumps([json.loads(data)[0] | {key: value}]).encode()
            return member, data

        damaged_archive(tmp_path / "x.tar", change)
        found = verified(destination)
        assert (codes(found), found.problem_count) == ({Code.DISAGREEMENT}, 1)
        (tmp_path / "x.tar").unlink()


@pytest.mark.parametrize("transport", ["oci-archive", "docker-archive"])
def test_an_archive_that_is_cut_anywhere_is_damaged(transport: str, tmp_path: Path) -> None:
    file = tmp_path / "x.tar"
    write(f"{transport}:{file}:web:1")
    whole = file.read_bytes()
    for length in range(0, len(whole), 1000):
        file.write_bytes(whole[:length])
        assert codes(verified(f"{transport}:{file}:web:1")) == {Code.DOCUMENT}


def test_two_members_of_one_name_are_two_answers_to_one_question(tmp_path: Path) -> None:
    file = tmp_path / "x.tar"
    write(f"oci-archive:{file}:web:1")
    with tarfile.open(file, "a") as tar:
        tar.addfile(tarfile.TarInfo("manifest.json"))
    assert codes(verified(f"oci-archive:{file}:web:1")) == {Code.DOCUMENT}


# What differs from its source

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


def test_what_umoci_unpacks_is_what_was_verified(tmp_path: Path) -> None:
    need_root()
    fitted = fit_layer(EVERYTHING).tree
    write(f"oci:{tmp_path}/out:x", fitted, codec=Codec.GZIP)
    assert verified(f"oci:{tmp_path}/out:x", fitted).problems == ()
    root = umoci_unpacked(tmp_path / "out", "x", tmp_path / "bundle")
    assert {entry.path for entry in fitted.entries() if entry.path} == {
        os.fsencode(path.relative_to(root)) for path in root.rglob("*")
    }


# What is not there, not read or made to hurt


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
