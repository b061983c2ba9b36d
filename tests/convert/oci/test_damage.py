"""Verification of damaged images: each kind of damage is named, and nothing else."""

from __future__ import annotations

import gzip
import json
import shutil
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert.destination import parse_image
from convert.layers.compress import Codec
from convert.oci.digest import Digest
from convert.oci.problems import Code
from convert.verify import Verification, verify_image
from formats.core.errors import ConvertError
from tests.support.damage import Layout, damaged_archive, flip, tar_of
from tests.support.everything import EVERYTHING
from tests.support.images import BLOBS, SMALL, write


def verified(destination: str) -> Verification:
    return verify_image(parse_image(destination))


def codes(found: Verification) -> set[Code]:
    return {problem.code for problem in found.problems}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    write(f"oci:{tmp_path}/out:latest", EVERYTHING)
    return Layout(tmp_path / "out")


def checked(layout: Layout) -> Verification:
    return verified(f"oci:{layout.folder}:latest")


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
        for name in (destination, destination.removesuffix(":web:1")):
            found = verified(name)
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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to each value inside of a document."""
    inner: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    found = []
    for key, item in inner:
        found += [(*path, key), *places(item, (*path, key))]
    return found


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    folder = tmp_path_factory.mktemp("fuzzed") / "out"
    write(f"oci:{folder}:latest", SMALL)
    return Layout(folder)


@given(which=st.sampled_from(["index", "manifest", "config"]), data=st.data())
def test_documents_of_any_shape_are_read_or_refused(
    which: str, data: st.DataObject, fuzzed: Layout
) -> None:
    index, document = fuzzed.index, getattr(fuzzed, which)
    *way, last = data.draw(st.sampled_from(places(document)))
    parent = document
    for key in way:
        parent = parent[key]
    parent[last] = data.draw(JSON)
    getattr(fuzzed, f"put_{which}")(document)
    try:
        checked(fuzzed)
    except ConvertError as error:
        assert error.exit_code in {3, 5}  # noqa: PT017 - it need not be raised
    finally:
        fuzzed.put_index(index)


@pytest.mark.parametrize("transport", ["oci-archive", "docker-archive"])
@given(position=st.floats(0, 1, exclude_max=True), bits=st.integers(1, 255))
def test_an_archive_with_any_byte_changed_is_read_or_refused(
    transport: str, position: float, bits: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / f"{transport}.tar"
    if not file.exists():
        write(f"{transport}:{file}:web:1")
    data = bytearray(file.read_bytes())
    data[int(position * len(data))] ^= bits
    damaged = file.with_suffix(".damaged")
    damaged.write_bytes(data)
    try:
        verified(f"{transport}:{damaged}:web:1")
    except ConvertError as error:
        assert error.exit_code in {3, 5}  # noqa: PT017 - it need not be raised
