"""Images on a base: its layers stay as they are, and clients take the whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from convert.destination import parse_image
from convert.images.opening import OpenedImage
from convert.layers.compress import Codec, compression
from convert.layers.tar import encode_tar
from convert.oci.base import Base
from convert.oci.config import ImageConfig
from convert.oci.image import Image
from convert.oci.write import LayerInput, check_base, default_codec, write_image
from convert.verify import verify_image
from formats.core.errors import CorruptError, UsageError
from formats.core.origin import Origin
from formats.core.source import MemorySource
from tests.support.containers import podman
from tests.support.images import (
    BLOBS,
    busybox,
    config,
    inspected,
    read_json,
    skopeo,
    umoci_unpacked,
    write,
)
from tests.support.layers import Layout, M, layer, named, write_image_of
from tests.support.listing import tree_listing
from tests.support.memory_tree import memory_tree

Open = Callable[..., OpenedImage]

FIRST = layer(M("d", "etc", mode=0o755), M("f", "etc/a", "a" * 5000))
SECOND = layer(M("d", "etc", mode=0o755), M("f", "etc/b", "b"))
ADDED = memory_tree(r"f 644 0:0 etc/added new\n")
HISTORY = [
    {"created": "2024-01-02T03:04:05.678901234Z", "created_by": "ADD", "author": "someone"},
    {"created_by": "ENV A=b", "empty_layer": True},
    {"created_by": "RUN", "comment": "second"},
]


def on_base(
    destination: str, base: Base, how: ImageConfig | None = None, codec: Codec | None = None
) -> Image:
    """Write an image with one small layer of its own."""
    where = parse_image(destination)
    return write_image(
        [LayerInput(encode_tar(ADDED), "test")],
        how or config(),
        where,
        compression=compression(codec or default_codec(where)),
        base=base,
    )


@pytest.fixture
def base(opened: Open, tmp_path: Path) -> OpenedImage:
    """Return an image of two gzip layers, with a history that has more entries."""
    made = Layout()
    entry = made.image(FIRST, SECOND, config={"history": HISTORY})
    folder = made.write(tmp_path / "base", named(entry, "example.org/base:1"))
    return opened(f"oci:{folder}:example.org/base:1")


def documents(layout: Path) -> tuple[Any, Any]:
    """Return the manifest and the config of a layout's one image."""
    entry = read_json(layout / "index.json")["manifests"][0]
    manifest = read_json(layout / BLOBS / entry["digest"][7:])
    return manifest, read_json(layout / BLOBS / manifest["config"]["digest"][7:])


def test_layers_of_the_base_are_the_same_blobs(base: OpenedImage, tmp_path: Path) -> None:
    on_base(f"oci:{tmp_path / 'out'}:x", base.base())
    manifest, settings = documents(tmp_path / "out")
    assert [item["digest"] for item in manifest["layers"][:2]] == [
        str(below.descriptor.digest) for below in base.layers()
    ]
    assert [item["mediaType"].rpartition("+")[2] for item in manifest["layers"]] == [
        "gzip",
        "gzip",
        "zstd",
    ]
    assert settings["rootfs"]["diff_ids"][:2] == [str(below.diff_id) for below in base.layers()]


def test_the_history_of_the_base_is_kept_as_it_is(base: OpenedImage, tmp_path: Path) -> None:
    on_base(f"oci:{tmp_path / 'out'}:x", base.base())
    _, settings = documents(tmp_path / "out")
    assert settings["history"][:3] == HISTORY
    assert settings["history"][3]["created_by"].startswith("test; zstd")


def test_a_base_without_history_gets_an_entry_for_each_layer(opened: Open, tmp_path: Path) -> None:
    folder = write_image_of(tmp_path / "base", FIRST, SECOND)
    on_base(f"oci:{tmp_path / 'out'}:x", opened(f"oci:{folder}:x").base())
    _, settings = documents(tmp_path / "out")
    assert len(settings["history"]) == 3


def test_the_manifest_names_the_base(base: OpenedImage, tmp_path: Path) -> None:
    on_base(f"oci:{tmp_path / 'out'}:x", base.base())
    manifest, _ = documents(tmp_path / "out")
    assert manifest["annotations"] == {
        "org.opencontainers.image.base.digest": str(base.digest),
        "org.opencontainers.image.base.name": "example.org/base:1",
    }


@pytest.mark.parametrize("transport", ["oci", "oci-archive", "docker-archive"])
def test_an_image_on_a_base_is_sound(
    opened: Open, base: OpenedImage, tmp_path: Path, transport: str
) -> None:
    where = f"{transport}:{tmp_path / 'out'}:example.org/x:1"
    image = on_base(where, base.base())
    assert len(image.layers) == 3
    found = verify_image(parse_image(where))
    assert (found.problems, found.layers) == ((), 3)
    assert list(tree_listing(opened(where).tree())) == [
        b"",
        b"etc",
        b"etc/a",
        b"etc/added",
        b"etc/b",
    ]
    # a client that recomputes every digest while it copies
    skopeo("copy", "-q", where, f"oci:{tmp_path / 'copied'}:x")


def test_layers_in_a_docker_archive_are_unpacked(base: OpenedImage, tmp_path: Path) -> None:
    image = on_base(f"docker-archive:{tmp_path / 'out.tar'}:x:1", base.base())
    assert {item.descriptor.media_type for item in image.layers} == {
        "application/vnd.oci.image.layer.v1.tar"
    }
    assert len(inspected(f"docker-archive:{tmp_path / 'out.tar'}")["Layers"]) == 3


def test_a_docker_archive_can_be_a_base(opened: Open, base: OpenedImage, tmp_path: Path) -> None:
    archive = tmp_path / "base.tar"
    skopeo("copy", "-q", base.reference, f"docker-archive:{archive}:example.org/base:2")
    below = opened(f"docker-archive:{archive}")
    on_base(f"oci:{tmp_path / 'out'}:x", below.base())
    manifest, _ = documents(tmp_path / "out")
    assert manifest["annotations"] == {"org.opencontainers.image.base.name": "example.org/base:2"}
    assert verify_image(parse_image(f"oci:{tmp_path / 'out'}:x")).problems == ()


def test_the_same_base_gives_the_same_digest(base: OpenedImage, tmp_path: Path) -> None:
    digests = {on_base(f"oci:{tmp_path / name}:x", base.base()).digest for name in "ab"}
    assert len(digests) == 1


def test_an_image_goes_into_the_layout_that_its_base_is_in(
    opened: Open, base: OpenedImage, tmp_path: Path
) -> None:
    where = f"oci:{tmp_path / 'base'}:x"
    on_base(where, base.base())
    assert len(tree_listing(opened(where).tree())) == 5
    assert len(tree_listing(opened(base.reference).tree())) == 4


def test_podman_runs_an_image_on_a_base(opened: Open, tmp_path: Path) -> None:
    write(f"oci:{tmp_path / 'base'}:x", busybox())
    below = opened(f"oci:{tmp_path / 'base'}:x")
    archive = f"oci-archive:{tmp_path / 'out.tar'}:localhost/out:1"
    on_base(archive, below.base(), config(cmd=("/bin/sh", "-c", "cat /etc/added")))
    with podman() as engine:
        engine("load", "-q", "-i", tmp_path / "out.tar")
        assert engine.run("localhost/out:1") == b"new\n"


def test_umoci_unpacks_an_image_on_a_base(base: OpenedImage, tmp_path: Path) -> None:
    on_base(f"oci:{tmp_path / 'out'}:x", base.base(), codec=Codec.GZIP)
    root = umoci_unpacked(tmp_path / "out", "x", tmp_path / "bundle")
    assert sorted(path.name for path in (root / "etc").iterdir()) == ["a", "added", "b"]


def test_a_layer_that_changes_while_it_is_copied_is_noticed(
    base: OpenedImage, tmp_path: Path
) -> None:
    whole = base.base()
    data = bytearray(whole.layers[1].blob.read_at(0, whole.layers[1].blob.size))
    data[-1] ^= 1
    other = replace(whole.layers[1], blob=MemorySource(bytes(data), Origin(("other",))))
    with pytest.raises(CorruptError, match="changed while it was copied"):
        on_base(f"oci:{tmp_path / 'out'}:x", replace(whole, layers=(whole.layers[0], other)))
    assert not (tmp_path / "out").exists()


def test_layers_of_base_and_image_are_counted_together(base: OpenedImage, tmp_path: Path) -> None:
    whole = base.base()
    many = replace(whole, layers=whole.layers[:1] * 127, history=(whole.history[0],) * 127)
    with pytest.raises(UsageError, match="127 layers at the most"):
        on_base(f"oci:{tmp_path / 'out'}:x", many)


def test_zstd_layers_of_a_base_are_told_of_in_an_archive(opened: Open, tmp_path: Path) -> None:
    write(f"oci:{tmp_path / 'base'}:x", codec=Codec.ZSTD)
    base = opened(f"oci:{tmp_path / 'base'}:x").base()
    archive = parse_image(f"oci-archive:{tmp_path / 'out.tar'}")
    assert [finding.rule for finding in check_base(archive, base)] == ["zstd-archive"]
    assert check_base(parse_image("oci:out"), base) == []


def test_what_is_written_hashes_to_what_it_says(base: OpenedImage, tmp_path: Path) -> None:
    on_base(f"oci:{tmp_path / 'out'}:x", base.base())
    for blob in (tmp_path / "out" / BLOBS).iterdir():
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    assert json.loads((tmp_path / "out" / "index.json").read_bytes())["manifests"]
