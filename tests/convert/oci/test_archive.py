"""Archives: what is in them, and which clients load them."""

from __future__ import annotations

import io
import json
import os
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest

from convert.destination import OciArchiveDestination, parse_image
from convert.layers.compress import Codec, compression
from convert.layers.tar import encode_tar
from convert.oci.archive import _header
from convert.oci.write import LayerInput, check_codec, write_image
from formats.core.errors import CorruptError, OutputError, OutputExistsError, UsageError
from formats.core.limits import GIB
from tests.support.containers import Podman, podman
from tests.support.everything import EVERYTHING
from tests.support.images import HOST, SMALL, busybox, config, inspected, skopeo, write
from tests.support.memory_tree import memory_tree
from tests.support.programs import need, run

TRANSPORTS = ["oci-archive", "docker-archive"]
ONE = memory_tree("f 644 0:0 one x")


def members(file: Path) -> list[str]:
    need("tar")
    return run("tar", "-tf", file).stdout.decode().splitlines()


def member(file: Path, name: str) -> Any:
    return json.loads(run("tar", "-xOf", file, name).stdout)


def test_an_oci_archive_is_a_layout_with_dockers_list_of_images(tmp_path: Path) -> None:
    file = tmp_path / "x.tar"
    image = write(f"oci-archive:{file}:team/web:1")
    blobs = [
        f"blobs/sha256/{blob.digest.encoded}"
        for blob in (image.layers[0].descriptor, image.config, image.manifest)
    ]
    head, tail = ["oci-layout", "blobs/", "blobs/sha256/"], ["index.json", "manifest.json"]
    assert members(file) == [*head, *blobs, *tail]
    assert member(file, "manifest.json") == [
        {"Config": blobs[1], "Layers": [blobs[0]], "RepoTags": ["docker.io/team/web:1"]}
    ]
    assert member(file, "index.json")["manifests"][0]["annotations"] == {
        "io.containerd.image.name": "docker.io/team/web:1",
        "org.opencontainers.image.ref.name": "team/web:1",
    }


def test_an_oci_archive_without_a_docker_name_has_no_repo_tag(tmp_path: Path) -> None:
    write(f"oci-archive:{tmp_path / 'x.tar'}:latest")
    assert member(tmp_path / "x.tar", "manifest.json")[0]["RepoTags"] is None


def test_a_docker_archive_holds_plain_tars_named_by_their_digest(tmp_path: Path) -> None:
    file = tmp_path / "x.tar"
    image = write(f"docker-archive:{file}:web:1", SMALL, ONE)
    layers = [f"{layer.diff_id.encoded}.tar" for layer in image.layers]
    configs = f"{image.config.digest.encoded}.json"
    assert members(file) == [*layers, configs, "manifest.json"]
    listed = {"Config": configs, "Layers": layers, "RepoTags": ["docker.io/library/web:1"]}
    assert member(file, "manifest.json") == [listed]
    assert run("tar", "-xOf", file, layers[1]).stdout == b"".join(encode_tar(ONE))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_archive_is_the_same_bytes_each_time(transport: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(f"{transport}:{tmp_path / name}:web:1", EVERYTHING, ONE)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_layers_that_are_the_same_are_there_once(transport: str, tmp_path: Path) -> None:
    file = tmp_path / "x.tar"
    write(f"{transport}:{file}:web:1", ONE, SMALL, ONE)
    names = members(file)
    assert len(set(names)) == len(names)
    assert len(member(file, "manifest.json")[0]["Layers"]) == 3
    assert len(inspected(f"{transport}:{file}")["Layers"]) == 3


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_skopeo_reads_the_digests_that_we_wrote(transport: str, tmp_path: Path) -> None:
    file = tmp_path / "x.tar"
    image = write(f"{transport}:{file}:web:1", EVERYTHING)
    raw = skopeo("inspect", "--raw", "--config", f"{transport}:{file}")
    assert image.config.digest.of(raw) == image.config.digest
    if transport == "oci-archive":
        assert inspected(f"{transport}:{file}")["Digest"] == str(image.digest)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_archive_goes_to_standard_output_as_it_goes_to_a_file(
    transport: str, tmp_path: Path
) -> None:
    write(f"{transport}:{tmp_path / 'x.tar'}:web:1", codec=Codec.NONE)
    out = io.BytesIO()
    write_image(
        [LayerInput(encode_tar(SMALL), "test")],
        config(),
        parse_image(f"{transport}:-:web:1"),
        compression=compression(Codec.NONE),
        stdout=out,
    )
    assert out.getvalue() == (tmp_path / "x.tar").read_bytes()


def test_an_archive_goes_into_a_named_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    write(f"oci-archive:{pipe}:web:1")
    reader.join(10)
    write(f"oci-archive:{tmp_path / 'x.tar'}:web:1")
    assert found == [(tmp_path / "x.tar").read_bytes()]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_there_already_is_not_replaced(kind: str, transport: str, tmp_path: Path) -> None:
    place = tmp_path / "x.tar"
    if kind == "file":
        place.write_text("mine")
    elif kind == "folder":
        place.mkdir()
    else:
        place.symlink_to("nowhere")
    with pytest.raises(OutputExistsError):
        write(f"{transport}:{place}:web:1")
    assert os.listdir(tmp_path) == ["x.tar"]
    assert kind != "file" or place.read_text() == "mine"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_source_that_fails_leaves_nothing(transport: str, tmp_path: Path) -> None:
    def failing() -> Any:
        yield bytes(2 << 20)
        raise CorruptError("the disk ends here")

    with pytest.raises(CorruptError):
        write_image(
            [LayerInput([bytes(1024)], "x"), LayerInput(failing(), "x")],
            config(),
            parse_image(f"{transport}:{tmp_path}/x.tar:web:1"),
            compression=compression(Codec.NONE),
        )
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught:
        write(f"oci-archive:{tmp_path}/no/x.tar:web:1")
    assert caught.value.hint == f"mkdir -p {tmp_path}/no"


def test_a_docker_archive_takes_plain_layers_only(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="plain layers"):
        write(f"docker-archive:{tmp_path}/x.tar:web:1", codec=Codec.ZSTD)


def test_zstd_in_an_archive_is_told_to_need_a_new_docker() -> None:
    findings = check_codec(OciArchiveDestination(Path("x.tar")), Codec.ZSTD)
    assert [(item.rule, "23.0" in item.evidence) for item in findings] == [("zstd-archive", True)]


@pytest.mark.parametrize("size", [0, 1, 8 * GIB - 1, 8 * GIB, 600 * GIB])
def test_a_layer_may_have_any_size(size: int) -> None:
    found = tarfile.TarInfo.frombuf(_header("blobs/sha256/x", size), "ascii", "strict")
    assert (found.name, found.size, found.mtime, found.uid) == ("blobs/sha256/x", size, 0, 0)


@pytest.fixture(scope="module")
def engine() -> Any:
    with podman() as running:
        yield running


TREE = r"f 644 0:0 etc/greeting hello\x20from\x20%s\n"


@pytest.mark.parametrize(
    ("transport", "codec"),
    [
        ("docker-archive", Codec.NONE),
        ("oci-archive", Codec.NONE),
        ("oci-archive", Codec.GZIP),
        ("oci-archive", Codec.ZSTD),
    ],
)
def test_podman_loads_an_archive_and_runs_it(
    transport: str, codec: Codec, engine: Podman, tmp_path: Path
) -> None:
    file = tmp_path / "x.tar"
    name = f"localhost/{transport}:{codec.value}"
    how = config(
        entrypoint=("/bin/sh", "-c"),
        cmd=('cat /etc/greeting; echo "$WHO $(pwd) $(id -u)"',),
        env=("PATH=/bin", "WHO=me"),
        working_dir="/srv",
        user="33:33",
    )
    applets = "".join(f"l 777 0:0 bin/{name} busybox\n" for name in ("cat", "id"))
    upper = memory_tree(TREE % codec.value)
    write(
        f"{transport}:{file}:{name}",
        busybox(applets + "d 755 0:0 srv"),
        upper,
        codec=codec,
        how=how,
    )
    engine("load", "--quiet", "--input", file)
    assert engine.run(name) == f"hello from {codec.value}\nme /srv 33\n".encode()


def test_podman_and_skopeo_load_an_oci_archive_by_dockers_list_as_docker_does(
    engine: Podman, tmp_path: Path
) -> None:
    """No docker daemon runs here; this is how one of before 25.0 reads the archive."""
    write(f"oci-archive:{tmp_path}/x.tar:team/listed:1", busybox())
    found = inspected(f"docker-archive:{tmp_path}/x.tar:team/listed:1")
    assert found["Architecture"] == HOST.architecture
    skopeo("copy", f"docker-archive:{tmp_path}/x.tar:team/listed:1", f"docker-archive:{tmp_path}/y")
    loaded = engine("load", "--quiet", "--input", tmp_path / "y").decode().split()[-1]
    assert (
        engine.run(loaded.removeprefix("sha256:"), command=("/bin/sh", "-c", "echo yes"))
        == b"yes\n"
    )
