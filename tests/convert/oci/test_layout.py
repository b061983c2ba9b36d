"""Layouts: what is in them, adding to them, and what is never touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from convert.destination import LayoutDestination
from convert.layers.compress import Codec, compression
from convert.oci.layout import LAYOUT_FILE
from convert.oci.write import LayerInput, write_image
from convert.verify import verify_image
from formats.core.errors import CorruptError, OutputError, OutputExistsError, UsageError
from formats.core.source import BytesLike
from tests.support.everything import EVERYTHING
from tests.support.images import (
    BLOBS,
    HOST,
    SMALL,
    config,
    image_files,
    inspected,
    read_json,
    skopeo,
    write,
)
from tests.support.memory_tree import memory_tree
from tests.support.programs import need, run

ROOT = Path(__file__).resolve().parents[3]
OTHER = memory_tree("f 644 0:0 other x")


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    return tmp_path / "out"


def tags(layout: Path) -> list[str | None]:
    return [
        item.get("annotations", {}).get("org.opencontainers.image.ref.name")
        for item in read_json(layout / "index.json")["manifests"]
    ]


def digest(layout: Path, tag: str) -> str:
    found = inspected(f"oci:{layout}:{tag}")["Digest"]
    assert isinstance(found, str)
    return found


def is_sound(layout: Path, tag: str) -> bool:
    return verify_image(LayoutDestination(layout, tag)).problem_count == 0


def test_a_new_layout_holds_the_image_and_nothing_else(layout: Path) -> None:
    image = write(f"oci:{layout}:latest")
    blobs = [image.config, image.manifest, *(layer.descriptor for layer in image.layers)]
    expected = {f"{BLOBS}/{blob.digest.encoded}": blob.digest.encoded for blob in blobs}
    files = image_files(layout)
    assert {name: files[name] for name in files if name.startswith("blobs")} == expected
    assert files.keys() - expected.keys() == {"oci-layout", "index.json"}
    assert sorted(os.listdir(layout)) == ["blobs", "index.json", "oci-layout"]
    assert os.listdir(layout.parent) == ["out"]


def test_skopeo_and_we_agree_on_the_digest(layout: Path) -> None:
    image = write(f"oci:{layout}:latest")
    assert digest(layout, "latest") == str(image.digest)
    raw = skopeo("inspect", "--raw", "--config", f"oci:{layout}:latest")
    assert image.config.digest.of(raw) == image.config.digest


def test_the_size_of_an_image_is_that_of_its_blobs(layout: Path) -> None:
    image = write(f"oci:{layout}:latest", EVERYTHING, OTHER)
    assert image.size == sum(path.stat().st_size for path in (layout / BLOBS).iterdir())


@pytest.mark.parametrize("codec", list(Codec))
def test_the_same_image_is_the_same_bytes_wherever_it_is_written(
    codec: Codec, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        write(f"oci:{tmp_path / name}:latest", EVERYTHING, codec=codec)
    assert image_files(tmp_path / "a") == image_files(tmp_path / "b")


def test_one_layout_holds_several_tags(layout: Path) -> None:
    first = write(f"oci:{layout}:first")
    second = write(f"oci:{layout}:team/second:2", OTHER)
    assert tags(layout) == ["first", "team/second:2"]
    assert digest(layout, "first") == str(first.digest)
    assert digest(layout, "team/second:2") == str(second.digest)


def test_the_same_tag_is_replaced(layout: Path) -> None:
    old = write(f"oci:{layout}:latest")
    write(f"oci:{layout}:other")
    new = write(f"oci:{layout}:latest", OTHER)
    assert new.digest != old.digest
    assert tags(layout) == ["latest", "other"]
    assert digest(layout, "latest") == str(new.digest)
    assert digest(layout, "other") == str(old.digest)


def test_one_image_can_have_two_tags_and_its_blobs_are_there_once(layout: Path) -> None:
    write(f"oci:{layout}:a")
    before = os.listdir(layout / BLOBS)
    write(f"oci:{layout}:b")
    assert sorted(os.listdir(layout / BLOBS)) == sorted(before)
    assert digest(layout, "a") == digest(layout, "b")


def test_writing_an_image_again_repairs_its_damaged_blobs(layout: Path) -> None:
    image = write(f"oci:{layout}:latest")
    blob = layout / BLOBS / image.layers[0].digest.encoded
    blob.write_bytes(b"damaged")
    assert not is_sound(layout, "latest")
    write(f"oci:{layout}:latest")
    assert is_sound(layout, "latest")


def test_an_image_is_added_to_a_layout_that_umoci_made(layout: Path) -> None:
    need("umoci")
    run("umoci", "init", "--layout", layout)
    run("umoci", "new", "--image", f"{layout}:theirs")
    theirs = digest(layout, "theirs")
    write(f"oci:{layout}:ours")
    assert run("umoci", "list", "--layout", layout).stdout.split() == [b"theirs", b"ours"]
    assert digest(layout, "theirs") == theirs
    assert run("umoci", "stat", "--image", f"{layout}:ours").returncode == 0


def test_skopeo_adds_to_our_layout_and_we_to_skopeos(layout: Path, tmp_path: Path) -> None:
    ours = write(f"oci:{tmp_path / 'source'}:x")
    skopeo("copy", f"oci:{tmp_path / 'source'}:x", f"oci:{layout}:theirs")
    write(f"oci:{layout}:ours")
    skopeo("copy", f"oci:{tmp_path / 'source'}:x", f"oci:{layout}:again")
    assert {tag: digest(layout, tag) for tag in ("theirs", "ours", "again")} == dict.fromkeys(
        ("theirs", "ours", "again"), str(ours.digest)
    )


def test_umoci_collects_the_blobs_of_a_tag_that_was_replaced_and_no_others(layout: Path) -> None:
    need("umoci")
    write(f"oci:{layout}:latest")
    write(f"oci:{layout}:latest", EVERYTHING)
    count = len(os.listdir(layout / BLOBS))
    run("umoci", "gc", "--layout", layout)
    assert len(os.listdir(layout / BLOBS)) == count - 3
    assert is_sound(layout, "latest")


_WRITERS = """
import os, sys
from tests.support.images import write
from tests.support.memory_tree import memory_tree

layout, count = sys.argv[1], int(sys.argv[2])
ready, go = os.pipe()
children = []
for number in range(count):
    child = os.fork()
    if not child:
        os.close(go)
        os.read(ready, 1)  # returns when the parent closes its end
        write(f"oci:{layout}:tag-{number}", memory_tree(f"f 644 0:0 number {number}"))
        os._exit(0)
    children.append(child)
os.close(go)
sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""


@pytest.mark.parametrize("exists", [False, True], ids=["new", "existing"])
def test_sixteen_writers_at_once_all_end_in_the_index(layout: Path, *, exists: bool) -> None:
    before = ["tag-before"] if exists else []
    if exists:
        write(f"oci:{layout}:tag-before")
    run(sys.executable, "-c", _WRITERS, layout, "16", cwd=ROOT, timeout=60)
    expected = [*before, *(f"tag-{number}" for number in range(16))]
    assert sorted(map(str, tags(layout))) == sorted(expected)
    assert all(is_sound(layout, tag) for tag in expected)
    assert os.listdir(layout.parent) == ["out"]
    assert {*os.listdir(layout)} == {"blobs", "index.json", "oci-layout", ".oci-convert.lock"}


def failing() -> Iterator[BytesLike]:
    yield bytes(3 << 20)
    raise CorruptError("the disk ends here")


@pytest.mark.parametrize("exists", [False, True], ids=["new", "existing"])
def test_a_source_that_fails_leaves_the_destination_as_it_was(
    layout: Path, *, exists: bool
) -> None:
    if exists:
        write(f"oci:{layout}:before")
        write(f"oci:{layout}:before")  # from the second on there is a lock file
    before = image_files(layout)
    with pytest.raises(CorruptError, match="the disk ends here"):
        write_image(
            [LayerInput(failing(), "x")],
            config(),
            LayoutDestination(layout, "latest"),
            compression=compression(Codec.GZIP),
        )
    assert image_files(layout) == before
    assert os.listdir(layout.parent) == (["out"] if exists else [])


@pytest.mark.parametrize("count", [0, 128])
def test_an_image_has_from_one_to_127_layers(count: int, layout: Path) -> None:
    layers = [LayerInput([bytes(1024)], "x") for _ in range(count)]
    with pytest.raises(UsageError, match="layer"):
        write_image(
            layers,
            config(),
            LayoutDestination(layout),
            compression=compression(Codec.NONE),
        )
    assert not layout.exists()


def test_127_layers_are_written_and_read(layout: Path) -> None:
    trees = [memory_tree(f"f 644 0:0 {number} x") for number in range(127)]
    write(f"oci:{layout}:latest", *trees, codec=Codec.NONE)
    assert len(inspected(f"oci:{layout}:latest")["Layers"]) == 127
    assert verify_image(LayoutDestination(layout, "latest")).layers == 127


def make_file(path: Path) -> None:
    path.write_text("x")


def make_other_folder(path: Path) -> None:
    path.mkdir()
    (path / "letters").write_text("x")


def make_damaged_index(path: Path) -> None:
    write(f"oci:{path}:latest")
    (path / "index.json").write_text("{")


def make_index_that_is_a_folder(path: Path) -> None:
    write(f"oci:{path}:latest")
    (path / "index.json").unlink()
    (path / "index.json").mkdir()


def make_index_that_is_a_pipe(path: Path) -> None:
    write(f"oci:{path}:latest")
    (path / "index.json").unlink()
    os.mkfifo(path / "index.json")


def make_index_that_is_a_symlink(path: Path) -> None:
    write(f"oci:{path}:latest")
    (path / "index.json").rename(path.parent / "index.json")
    (path / "index.json").symlink_to("../index.json")


def make_index_that_is_a_manifest_too(path: Path) -> None:
    write(f"oci:{path}:latest")
    index = read_json(path / "index.json")
    (path / "index.json").write_text(json.dumps({**index, "layers": []}))


def make_blobs_that_lead_elsewhere(path: Path) -> None:
    write(f"oci:{path}:latest")
    (path / "blobs").rename(path.parent / "elsewhere")
    (path / "blobs").symlink_to("../elsewhere")


@pytest.mark.parametrize(
    "make",
    [
        make_file,
        make_other_folder,
        make_damaged_index,
        make_index_that_is_a_folder,
        make_index_that_is_a_pipe,
        make_index_that_is_a_symlink,
        make_index_that_is_a_manifest_too,
        make_blobs_that_lead_elsewhere,
    ],
    ids=lambda make: make.__name__.removeprefix("make_"),
)
def test_what_is_not_a_layout_is_refused_and_left_as_it_is(make: object, layout: Path) -> None:
    assert callable(make)
    make(layout)
    before = sorted(str(path) for path in layout.parent.rglob("*"))
    with pytest.raises(OutputError) as caught:
        write(f"oci:{layout}:new")
    assert caught.value.exit_code == 7
    assert str(layout) in str(caught.value)
    assert sorted(str(path) for path in layout.parent.rglob("*")) == before


def test_an_empty_folder_becomes_a_layout(layout: Path) -> None:
    layout.mkdir()
    write(f"oci:{layout}:latest")
    assert is_sound(layout, "latest")


def test_a_symlink_to_a_layout_is_followed(layout: Path, tmp_path: Path) -> None:
    write(f"oci:{layout}:a")
    (tmp_path / "link").symlink_to("out")
    write(f"oci:{tmp_path / 'link'}:b")
    assert tags(layout) == ["a", "b"]
    assert (tmp_path / "link").is_symlink()


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist") as caught:
        write(f"oci:{tmp_path}/no/out:latest")
    assert caught.value.hint == f"mkdir -p {tmp_path}/no"


def test_a_file_beside_a_layouts_own_is_left_alone(layout: Path) -> None:
    write(f"oci:{layout}:a")
    (layout / "notes.txt").write_text("mine")
    write(f"oci:{layout}:b")
    assert (layout / "notes.txt").read_text() == "mine"


def test_a_layout_cannot_be_taken_for_ours_without_its_layout_file(layout: Path) -> None:
    write(f"oci:{layout}:a")
    (layout / LAYOUT_FILE).unlink()
    with pytest.raises(OutputExistsError, match="not an image layout"):
        write(f"oci:{layout}:b")


def test_files_have_the_modes_that_the_umask_leaves(layout: Path) -> None:
    script = (
        f"import os; os.umask(0o027)\nfrom tests.support.images import write\nwrite('oci:{layout}')"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=60)
    modes = {path.stat().st_mode & 0o777 for path in layout.rglob("*") if path.is_file()}
    folders = {path.stat().st_mode & 0o777 for path in (layout, layout / BLOBS, layout / "blobs")}
    assert (modes, folders) == ({0o640}, {0o750})


def test_nothing_in_an_index_names_a_small_image_without_a_tag(layout: Path) -> None:
    write(f"oci:{layout}", SMALL)
    assert tags(layout) == [None]
    assert inspected(f"oci:{layout}")["Architecture"] == HOST.architecture


@pytest.mark.parametrize(
    ("codec", "ending"), [(Codec.ZSTD, "tar+zstd"), (Codec.GZIP, "tar+gzip"), (Codec.NONE, "tar")]
)
def test_media_types_are_those_that_are_registered_and_always_there(
    codec: Codec, ending: str, layout: Path
) -> None:
    image = write(f"oci:{layout}:latest", codec=codec)
    prefix = "application/vnd.oci.image"
    manifest = read_json(layout / BLOBS / image.manifest.digest.encoded)
    index = read_json(layout / "index.json")
    assert index["mediaType"] == f"{prefix}.index.v1+json"
    assert index["manifests"][0]["mediaType"] == f"{prefix}.manifest.v1+json"
    assert manifest["mediaType"] == f"{prefix}.manifest.v1+json"
    assert manifest["config"]["mediaType"] == f"{prefix}.config.v1+json"
    assert manifest["layers"][0]["mediaType"] == f"{prefix}.layer.v1.{ending}"


def test_the_name_of_an_image_is_in_the_index_only_so_that_it_is_no_part_of_its_digest(
    layout: Path,
) -> None:
    image = write(f"oci:{layout}:one")
    assert write(f"oci:{layout}:two").digest == image.digest
    assert "annotations" not in read_json(layout / BLOBS / image.manifest.digest.encoded)
    entry = read_json(layout / "index.json")["manifests"][0]
    assert entry["annotations"] == {"org.opencontainers.image.ref.name": "one"}
    assert entry["platform"] == {"architecture": HOST.architecture, "os": "linux"}
