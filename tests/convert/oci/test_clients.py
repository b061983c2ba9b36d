"""Images held against the specification's schemas, and used by clients that others wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from convert.layers.compress import Codec, compression
from convert.oci.digest import Digest
from tests.support.containers import podman
from tests.support.everything import EVERYTHING
from tests.support.images import (
    busybox,
    config,
    image_files,
    read_json,
    registry,
    skopeo,
    umoci_unpacked,
    write,
)
from tests.support.listing import difference, kernel_listing, tree_listing
from tests.support.memory_tree import memory_tree
from tests.support.programs import need, need_root, run
from tests.support.schemas import schema

FULL = config(
    entrypoint=("/usr/sbin/nginx",),
    env=("PATH=/bin",),
    user="33",
    working_dir="/srv",
    exposed_ports=("80/tcp",),
    volumes=("/data",),
    stop_signal="SIGQUIT",
    labels=(("a", "b"),),
    author="me",
)


@pytest.mark.parametrize("codec", list(Codec))
@pytest.mark.parametrize("how", [FULL, config(cmd=None, created=None)], ids=["full", "bare"])
def test_every_document_is_valid_by_the_specifications_schemas(
    codec: Codec, how: Any, tmp_path: Path
) -> None:
    image = write(f"oci:{tmp_path}/out:latest", EVERYTHING, codec=codec, how=how)
    write(f"oci:{tmp_path}/out", codec=codec)
    blobs = tmp_path / "out/blobs/sha256"
    for name, document in [
        ("image-layout-schema.json", tmp_path / "out/oci-layout"),
        ("image-index-schema.json", tmp_path / "out/index.json"),
        ("image-manifest-schema.json", blobs / image.manifest.digest.encoded),
        ("config-schema.json", blobs / image.config.digest.encoded),
    ]:
        schema(name).validate(read_json(document))


def test_the_schemas_do_refuse_what_is_wrong(tmp_path: Path) -> None:
    image = write(f"oci:{tmp_path}/out:latest")
    manifest = read_json(tmp_path / "out/blobs/sha256" / image.manifest.digest.encoded)
    manifest["layers"][0]["digest"] = "sha256 of something"
    assert not schema("image-manifest-schema.json").is_valid(manifest)


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.NONE])
def test_umoci_unpacks_the_very_tree(codec: Codec, tmp_path: Path) -> None:
    """umoci 0.4 takes no zstd layers."""
    need_root()
    write(f"oci:{tmp_path}/out:latest", EVERYTHING, codec=codec)
    root = umoci_unpacked(tmp_path / "out", "latest", tmp_path / "bundle")
    expected = tree_listing(EVERYTHING)
    # By POSIX an empty pax record means that there is none, and so it does for everything in Go.
    kept = tuple(item for item in expected[b"ping"].xattrs if item != (b"user.empty", b""))
    expected[b"ping"] = replace(expected[b"ping"], xattrs=kept)
    assert difference(kernel_listing(root), expected) == []


def test_umoci_lays_layers_over_each_other(tmp_path: Path) -> None:
    need_root()
    lower = memory_tree("f 644 0:0 a/old x\nf 644 0:0 a/both lower\nl 777 0:0 b a")
    upper = memory_tree("f 600 0:0 a/both upper\nd 700 0:0 b\nm 5 a/both")
    both = memory_tree("f 644 0:0 a/old x\nf 600 0:0 a/both upper\nd 700 0:0 b\nm 5 a/both")
    write(f"oci:{tmp_path}/out:latest", lower, upper, codec=Codec.GZIP)
    root = umoci_unpacked(tmp_path / "out", "latest", tmp_path / "bundle")
    assert difference(kernel_listing(root), tree_listing(both)) == []


def test_umoci_shows_our_history(tmp_path: Path) -> None:
    need("umoci")
    image = write(f"oci:{tmp_path}/out:latest", EVERYTHING, codec=Codec.GZIP)
    told = run("umoci", "stat", "--json", "--image", f"{tmp_path}/out:latest").stdout
    (entry,) = json.loads(told)["history"]
    assert entry["layer"]["digest"] == str(image.layers[0].digest)
    assert entry["diff_id"] == str(image.layers[0].diff_id)
    assert entry["created_by"].startswith(f"test; {compression(Codec.GZIP).library} level 6")


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.NONE])
def test_skopeo_makes_the_same_docker_archive_out_of_a_layout(codec: Codec, tmp_path: Path) -> None:
    """Names and layers are the same; skopeo adds the folders that Docker before 1.10 read."""
    write(f"oci:{tmp_path}/out:latest", EVERYTHING, codec=codec)
    skopeo("copy", f"oci:{tmp_path}/out:latest", f"docker-archive:{tmp_path}/theirs.tar:web:1")
    ours = write(f"docker-archive:{tmp_path}/ours.tar:web:1", EVERYTHING)
    name = f"{ours.layers[0].diff_id.encoded}.tar"
    layers = [
        run("tar", "-xOf", tmp_path / f"{who}.tar", name).stdout for who in ("ours", "theirs")
    ]
    assert layers[0] == layers[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("registry")
    credentials = folder / "auth.json"
    credentials.write_text("{}")
    with registry(folder) as address, pytest.MonkeyPatch.context() as patched:
        patched.setenv("REGISTRY_AUTH_FILE", str(credentials))  # never the user's own
        yield address


@pytest.mark.parametrize("codec", list(Codec))
def test_a_registry_keeps_every_digest(codec: Codec, server: str, tmp_path: Path) -> None:
    image = write(f"oci:{tmp_path}/out:latest", EVERYTHING, codec=codec)
    remote = f"docker://{server}/team/{codec.value}:1"
    skopeo(
        *("copy", "--preserve-digests", "--dest-tls-verify=false"),
        *(f"oci:{tmp_path}/out:latest", remote),
    )
    with urlopen(f"http://{server}/v2/team/{codec.value}/blobs/{image.layers[0].digest}") as blob:
        assert Digest.of(blob.read()) == image.layers[0].digest
    skopeo(
        *("copy", "--preserve-digests", "--src-tls-verify=false"),
        *(remote, f"oci:{tmp_path}/back:latest"),
    )
    pushed, pulled = (image_files(tmp_path / name) for name in ("out", "back"))
    assert blobs_of(pushed) == blobs_of(pulled)


def blobs_of(files: dict[str, str]) -> dict[str, str]:
    return {name: files[name] for name in files if name.startswith("blobs/")}


def test_layers_are_pushed_once_however_many_images_have_them(server: str, tmp_path: Path) -> None:
    upper = [memory_tree(f"f 644 0:0 {name} x") for name in ("one", "two")]
    for number, tree in enumerate(upper):
        write(f"oci:{tmp_path}/out:{number}", EVERYTHING, tree)
        skopeo(
            *("copy", "--dest-tls-verify=false"),
            *(f"oci:{tmp_path}/out:{number}", f"docker://{server}/shared:{number}"),
        )
    assert (
        len(list((tmp_path / "out/blobs/sha256").iterdir())) == 7
    )  # 3 layers, 2 x config, manifest


@pytest.mark.parametrize("codec", list(Codec))
def test_podman_pulls_from_a_registry_and_runs_it(
    codec: Codec, server: str, tmp_path: Path
) -> None:
    name = f"{server}/run/{codec.value}:1"
    command = ("/bin/sh", "-c", "exec /bin/busybox cat /etc/words")
    tree = busybox(r"f 644 0:0 etc/words it\x20runs\n")
    write(f"oci:{tmp_path}/out:latest", tree, codec=codec, how=config(cmd=command))
    skopeo("copy", "--dest-tls-verify=false", f"oci:{tmp_path}/out:latest", f"docker://{name}")
    with podman() as engine:
        engine("pull", "--quiet", "--tls-verify=false", name)
        assert engine.run(name) == b"it runs\n"


def test_podman_runs_a_layout_as_it_is(tmp_path: Path) -> None:
    command = ("/bin/sh", "-c", "echo from a layout")
    write(f"oci:{tmp_path}/out:latest", busybox(), how=config(cmd=command))
    with podman() as engine:
        assert engine.run(f"oci:{tmp_path}/out:latest") == b"from a layout\n"
