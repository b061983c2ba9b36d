"""Images in layouts and archives, made by other programs, or to deceive."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import tarfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from convert.images.opening import OpenedImage, open_image
from convert.oci.descriptor import Platform
from formats.core.errors import (
    AmbiguousError,
    ConvertError,
    CorruptError,
    EncryptedError,
    InputReadError,
    LimitError,
    UnsupportedError,
    UsageError,
)
from tests.support.containers import podman
from tests.support.images import skopeo
from tests.support.layers import DOCKER, OCI, Layout, M, digest, layer, named, write_image_of
from tests.support.listing import tree_listing
from tests.support.programs import need, run

Open = Callable[..., OpenedImage]

FIRST = layer(M("d", "etc", mode=0o755), M("f", "etc/a", "a" * 5000), M("f", "etc/b", "b"))
SECOND = layer(M("d", "etc", mode=0o750), M("f", "etc/.wh.b"), M("f", "etc/c", "c"))
ARM = {"architecture": "arm64", "os": "linux", "variant": "v8"}
AMD = {"architecture": "amd64", "os": "linux"}


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    return write_image_of(tmp_path / "layout", FIRST, SECOND)


def same(opened: Open, one: str, other: str) -> bool:
    return tree_listing(opened(one).tree()) == tree_listing(opened(other).tree())


@pytest.mark.parametrize("how", ["gzip", "zstd", "none"])
def test_layers_may_be_compressed_in_any_way(opened: Open, tmp_path: Path, how: str) -> None:
    write_image_of(tmp_path / "one", FIRST, SECOND, how=how)
    rows = tree_listing(opened(f"oci:{tmp_path / 'one'}:x").tree())
    assert list(rows) == [b"", b"etc", b"etc/a", b"etc/c"]


@pytest.mark.parametrize("transport", ["oci", "oci-archive", "docker-archive"])
def test_what_skopeo_writes_is_read(
    opened: Open, layout: Path, tmp_path: Path, transport: str
) -> None:
    where = f"{transport}:{tmp_path / 'copy'}:example.org/team/x:1"
    skopeo("copy", "-q", f"oci:{layout}:x", where)
    assert same(opened, f"oci:{layout}:x", where)
    assert opened(where).name == "example.org/team/x:1"


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_what_podman_saves_is_read(opened: Open, layout: Path, tmp_path: Path, form: str) -> None:
    source, saved = tmp_path / "source.tar", tmp_path / "saved.tar"
    skopeo("copy", "-q", f"oci:{layout}:x", f"oci-archive:{source}:localhost/x:1")
    with podman() as engine:
        engine("load", "-q", "-i", source)
        engine("save", "-q", "--format", form, "-o", saved, "localhost/x:1")
    assert same(opened, f"oci:{layout}:x", f"{form}:{saved}")


def test_what_umoci_makes_is_read(opened: Open, tmp_path: Path) -> None:
    need("umoci")
    made, bundle = tmp_path / "made", tmp_path / "bundle"
    run("umoci", "init", "--layout", made)
    run("umoci", "new", "--image", f"{made}:x")
    run("umoci", "unpack", "--image", f"{made}:x", bundle)
    (bundle / "rootfs" / "hello").write_text("hello")
    run("umoci", "repack", "--image", f"{made}:x", bundle)
    run("umoci", "config", "--image", f"{made}:x", "--config.env", "A=b", "--author", "me")
    image = opened(f"oci:{made}:x")
    assert tree_listing(image.tree())[b"hello"].size == 5
    assert (image.config.env[-1], image.config.author) == ("A=b", "me")
    assert [entry.is_empty for entry in image.base().history][-1] is True


@pytest.mark.parametrize(
    "compress", [gzip.compress, lzma.compress], ids=lambda compress: compress.__module__
)
def test_an_archive_may_be_compressed_as_a_whole(
    opened: Open, layout: Path, tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    plain, packed = tmp_path / "plain.tar", tmp_path / "packed.tar.z"
    skopeo("copy", "-q", f"oci:{layout}:x", f"docker-archive:{plain}:x:1")
    packed.write_bytes(compress(plain.read_bytes()))
    assert same(opened, f"docker-archive:{plain}", f"docker-archive:{packed}")


def docker_save(file: Path, *, links: bool = False, drop: str = "") -> Path:
    """Write what ``docker save`` of Docker 1.10 to 24 does: two images that share a layer."""
    config = json.dumps(
        {**AMD, "config": {}, "rootfs": {"type": "layers", "diff_ids": [digest(FIRST)]}}
    ).encode()
    name = f"{digest(config)[7:]}.json"
    manifest = [
        {"Config": name, "RepoTags": [tag], "Layers": [f"{tag[0]}/layer.tar"]}
        for tag in ("one:1", "two:2")
    ]
    with tarfile.open(file, "w") as tar:

        def add(member: str, content: bytes, target: str = "") -> None:
            info = tarfile.TarInfo(member)
            info.size = 0 if target else len(content)
            info.type, info.linkname = (tarfile.SYMTYPE, target) if target else (b"0", "")
            if member != drop:
                tar.addfile(info, io.BytesIO(content))

        add(name, config)
        add("o/VERSION", b"1.0")
        add("o/layer.tar", FIRST)
        add("t/layer.tar", FIRST, "../o/layer.tar" if links else "")
        add("manifest.json", json.dumps(manifest).encode())
        add("repositories", b"{}")
    return file


def test_an_archive_of_several_images_takes_a_name(opened: Open, tmp_path: Path) -> None:
    file = docker_save(tmp_path / "saved.tar")
    with pytest.raises(AmbiguousError, match="holds 2 images: one:1, two:2"):
        opened(f"docker-archive:{file}")
    with pytest.raises(UsageError, match=r"no image named 'docker.io/library/three:1'"):
        opened(f"docker-archive:{file}:three:1")
    assert opened(f"docker-archive:{file}:two:2").name == "docker.io/library/two:2"


def test_links_between_layers_of_docker_save_are_followed(opened: Open, tmp_path: Path) -> None:
    file = docker_save(tmp_path / "saved.tar", links=True)
    tree = opened(f"docker-archive:{file}:two:2").tree()
    assert b"etc/a" in tree_listing(tree)


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../etc/passwd", "../t/layer.tar"])
def test_links_of_an_archive_lead_nowhere_else(opened: Open, tmp_path: Path, target: str) -> None:
    file = docker_save(tmp_path / "saved.tar", links=True)
    with tarfile.open(tmp_path / "evil.tar", "w") as tar, tarfile.open(file) as old:
        for member in old:
            if member.issym():
                member.linkname = target
            tar.addfile(member, old.extractfile(member) if member.isreg() else None)
    with pytest.raises(CorruptError, match="is not a file"):
        opened(f"docker-archive:{tmp_path / 'evil.tar'}:two:2").tree()


def test_archives_of_the_first_dockers_are_named(opened: Open, tmp_path: Path) -> None:
    file = docker_save(tmp_path / "saved.tar", drop="manifest.json")
    with pytest.raises(UnsupportedError, match=r"saved by a Docker before 1\.10"):
        opened(f"docker-archive:{file}")


def test_the_other_transport_is_hinted_at(opened: Open, layout: Path, tmp_path: Path) -> None:
    file = docker_save(tmp_path / "saved.tar")
    with pytest.raises(UnsupportedError, match="use docker-archive:"):
        opened(f"oci-archive:{file}")
    archive = tmp_path / "oci.tar"
    skopeo("copy", "-q", f"oci:{layout}:x", f"oci-archive:{archive}")
    with pytest.raises(UnsupportedError, match="use oci-archive:"):
        opened(f"docker-archive:{archive}")


def several(folder: Path, *, nested: bool, docker: bool) -> Path:
    """Write a layout for two platforms, with an attestation beside each."""
    made = Layout()
    images = [made.image(FIRST, platform=each, docker=docker) for each in (AMD, ARM)]
    unknown = {"architecture": "unknown", "os": "unknown"}
    attestation = made.image(SECOND, platform=unknown)
    if nested:
        return made.write(folder, named(made.index(*images, attestation, docker=docker), "x"))
    return made.write(folder, *(named(entry, "x") for entry in (*images, attestation)))


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("docker", [True, False])
def test_the_platform_decides_between_several(
    opened: Open, tmp_path: Path, nested: bool, docker: bool
) -> None:
    where = f"oci:{several(tmp_path / 'layout', nested=nested, docker=docker)}:x"
    with pytest.raises(AmbiguousError, match="linux/amd64, linux/arm64/v8"):
        opened(where)
    for platform in (Platform("amd64"), Platform("arm64"), Platform("arm64", variant="v8")):
        found = opened(where, platform=platform)
        assert found.config.platform.architecture == platform.architecture
    with pytest.raises(UnsupportedError, match=r"no image for linux/arm/v6.*: linux/amd64"):
        opened(where, platform=Platform("arm", variant="v6"))


def test_an_attestation_beside_the_only_image_is_no_choice(opened: Open, tmp_path: Path) -> None:
    made = Layout()
    image = made.image(FIRST, platform=AMD)
    unknown = {"architecture": "unknown", "os": "unknown"}
    index = made.index(image, made.image(SECOND, platform=unknown))
    made.write(tmp_path / "layout", named(index, "x"))
    assert str(opened(f"oci:{tmp_path / 'layout'}:x").digest) == image["digest"]


def test_an_image_of_another_platform_is_refused(opened: Open, layout: Path) -> None:
    with pytest.raises(UnsupportedError, match="no image for linux/s390x"):
        opened(f"oci:{layout}:x", platform=Platform("s390x"))


def test_a_config_of_another_platform_than_the_index_says_is_refused(
    opened: Open, tmp_path: Path
) -> None:
    made = Layout()
    entry = {**made.image(FIRST, platform=AMD), "platform": ARM}
    made.write(tmp_path / "layout", entry)
    with pytest.raises(UnsupportedError, match="an image for linux/amd64, not for linux/arm64"):
        opened(f"oci:{tmp_path / 'layout'}", platform=Platform("arm64"))


def test_the_config_is_read(opened: Open, tmp_path: Path) -> None:
    made = Layout()
    settings = {
        "created": "2024-05-06T07:08:09.123456789+02:00",
        "author": "me",
        "config": {
            "Entrypoint": ["/bin/x"],
            "Cmd": None,
            "Env": ["A=1", "B=2", "A=3"],
            "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
            "Volumes": {"data": {}, "/var/lib": {}},
            "WorkingDir": "srv",
            "Labels": {"b": "2", "a": "1"},
            "StopSignal": "SIGINT",
            "User": "1000:1000",
            "Healthcheck": {"Test": ["CMD", "true"]},
            "AttachStdout": True,
        },
    }
    made.write(tmp_path / "layout", made.image(FIRST, config=settings))
    image = opened(f"oci:{tmp_path / 'layout'}")
    config = image.config
    assert (config.entrypoint, config.cmd) == (("/bin/x",), None)
    assert config.env == ("A=3", "B=2")
    assert config.exposed_ports == ("53/udp", "80/tcp")
    assert (config.volumes, config.working_dir) == (("/data", "/var/lib"), "/srv")
    assert (config.labels, config.user) == ((("a", "1"), ("b", "2")), "1000:1000")
    assert (config.stop_signal, config.author) == ("SIGINT", "me")
    assert config.created == 1714972089
    assert [finding.evidence for finding in image.findings] == [
        "Healthcheck is no part of an OCI config"
    ]


Change = Callable[[Layout], dict[str, Any]]


def _wrong_diff_id(made: Layout) -> dict[str, Any]:
    rootfs = {"type": "layers", "diff_ids": [digest(SECOND)]}
    return made.image(FIRST, config={"rootfs": rootfs})


def _too_few_diff_ids(made: Layout) -> dict[str, Any]:
    return made.image(FIRST, config={"rootfs": {"type": "layers", "diff_ids": []}})


def _two_documents_in_one(made: Layout) -> dict[str, Any]:
    return made.image(FIRST, manifest={"manifests": []})


def _other_media_type(made: Layout) -> dict[str, Any]:
    return made.image(FIRST, manifest={"mediaType": f"{OCI}.index.v1+json"})


def _key_twice(made: Layout) -> dict[str, Any]:
    entry = made.image(FIRST)
    data = made.blobs[entry["digest"]].replace(b"{", b'{"schemaVersion": 1, ', 1)
    return made.add(data, entry["mediaType"])


def _wrong_size_of_manifest(made: Layout) -> dict[str, Any]:
    entry = made.image(FIRST)
    return {**entry, "size": entry["size"] + 1}


def _manifest_of_another_digest(made: Layout) -> dict[str, Any]:
    entry = made.image(FIRST)
    made.blobs[entry["digest"]] += b" "
    return {**entry, "size": entry["size"] + 1}


def _layer_of_another_digest(made: Layout) -> dict[str, Any]:
    entry = made.image(FIRST)
    blob = json.loads(made.blobs[entry["digest"]])["layers"][0]["digest"]
    made.blobs[blob] = bytes([*made.blobs[blob][:-1], made.blobs[blob][-1] ^ 1])
    return entry


def _layer_of_another_size(made: Layout) -> dict[str, Any]:
    entry = made.image(FIRST)
    blob = json.loads(made.blobs[entry["digest"]])["layers"][0]["digest"]
    made.blobs[blob] += b"x"
    return entry


def _layer_cut_short(made: Layout) -> dict[str, Any]:
    return made.image(FIRST[:700], how="none")


def _too_many_layers(made: Layout) -> dict[str, Any]:
    return made.image(*[SECOND] * 128)


def _path_for_a_digest(made: Layout) -> dict[str, Any]:
    return {**made.image(FIRST), "digest": "sha256:../../../etc/passwd"}


def _other_algorithm(made: Layout) -> dict[str, Any]:
    return {**made.image(FIRST), "digest": f"md5:{'0' * 32}"}


def _config_no_runtime_takes(made: Layout) -> dict[str, Any]:
    return made.image(FIRST, config={"config": {"ExposedPorts": {"x": {}}}})


def _missing_layer(made: Layout) -> dict[str, Any]:
    entry = made.image(FIRST)
    del made.blobs[json.loads(made.blobs[entry["digest"]])["layers"][0]["digest"]]
    return entry


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_wrong_diff_id, "unpacks to something with the digest"),
        (_too_few_diff_ids, "has 1 layers, and 0 diff_ids"),
        (_two_documents_in_one, "which makes it two documents"),
        (_other_media_type, "is not application/vnd.oci.image.manifest"),
        (_key_twice, "has a key twice"),
        (_wrong_size_of_manifest, "the manifest has"),
        (_manifest_of_another_digest, "the manifest has"),
        (_layer_of_another_digest, "has the digest"),
        (_layer_of_another_size, "bytes, not"),
        (_layer_cut_short, "is cut short"),
        (_too_many_layers, "has 128 layers"),
        (_path_for_a_digest, "is not a sha256 digest"),
        (_other_algorithm, "is not a sha256 digest"),
        (_config_no_runtime_takes, "is not a port"),
        (_missing_layer, "is not there"),
    ],
)
def test_a_layout_that_lies_is_refused(
    opened: Open, tmp_path: Path, change: Change, message: str
) -> None:
    made = Layout()
    made.write(tmp_path / "layout", change(made))
    with pytest.raises(ConvertError, match=message) as caught:
        opened(f"oci:{tmp_path / 'layout'}").tree()
    assert isinstance(caught.value, CorruptError)


def test_a_blob_that_is_a_link_is_refused(opened: Open, layout: Path) -> None:
    blob = next(iter((layout / "blobs/sha256").iterdir()))
    blob.rename(layout / "moved")
    blob.symlink_to(layout / "moved")
    with pytest.raises(CorruptError, match="is not a file"):
        opened(f"oci:{layout}:x").tree()


def _foreign(made: Layout, media_type: str, **more: Any) -> dict[str, Any]:
    """Return an image whose layer is of another type."""
    entry = made.image(FIRST)
    manifest = json.loads(made.blobs[entry["digest"]])
    manifest["layers"][0] |= {"mediaType": media_type, **more}
    return made.image(FIRST, manifest={"layers": manifest["layers"]})


def test_addresses_in_descriptors_are_not_followed(opened: Open, tmp_path: Path) -> None:
    made = Layout()
    entry = _foreign(
        made, f"{DOCKER}.image.rootfs.foreign.diff.tar.gzip", urls=["http://127.0.0.1:1/layer"]
    )
    made.write(tmp_path / "layout", entry)
    assert b"etc/a" in tree_listing(opened(f"oci:{tmp_path / 'layout'}").tree())


@pytest.mark.parametrize(
    ("media_type", "kind", "message"),
    [
        (f"{OCI}.layer.v1.tar+gzip+encrypted", EncryptedError, "has encrypted layers"),
        (f"{OCI}.layer.v1.tar+br", UnsupportedError, "are not read"),
    ],
)
def test_layers_of_other_types_are_named(
    opened: Open, tmp_path: Path, media_type: str, kind: type[ConvertError], message: str
) -> None:
    made = Layout()
    made.write(tmp_path / "layout", _foreign(made, media_type))
    with pytest.raises(kind, match=message):
        opened(f"oci:{tmp_path / 'layout'}")


def test_what_is_no_image_is_named(opened: Open, tmp_path: Path) -> None:
    made = Layout()
    chart = made.add(b"{}", "application/vnd.cncf.helm.config.v1+json")
    artifact = named(made.image(FIRST, manifest={"config": chart}), "chart")
    old = named(made.add(b"{}", f"{DOCKER}.distribution.manifest.v1+prettyjws"), "old")
    made.write(tmp_path / "layout", artifact, old)
    with pytest.raises(UnsupportedError, match=r"an artifact of type 'application/vnd.cncf.helm"):
        opened(f"oci:{tmp_path / 'layout'}:chart")
    with pytest.raises(UnsupportedError, match="holds no image"):
        opened(f"oci:{tmp_path / 'layout'}:old")


def test_indexes_in_indexes_end_somewhere(opened: Open, tmp_path: Path) -> None:
    made = Layout()
    entry = made.image(FIRST)
    for _ in range(5):
        entry = made.index(entry)
    made.write(tmp_path / "layout", entry)
    with pytest.raises(LimitError, match="more than 3 deep"):
        opened(f"oci:{tmp_path / 'layout'}")


@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        ("oci:{0}/nothing", InputReadError),
        ("oci:{0}", CorruptError),
        ("oci-archive:{0}/nothing.tar", InputReadError),
        ("docker-archive:-", UsageError),
        ("{0}", UsageError),
        ("docker-daemon:x:1", UsageError),
        ("docker:x", UsageError),
        ("docker://UPPER/x", UsageError),
        ("docker://host/x@sha256:12", UsageError),
    ],
)
def test_what_names_no_image_is_refused(
    opened: Open, tmp_path: Path, reference: str, kind: type[ConvertError]
) -> None:
    with pytest.raises(kind):
        opened(reference.format(tmp_path))


def test_a_tag_that_is_not_there_is_named(opened: Open, layout: Path) -> None:
    with pytest.raises(UsageError, match="there is no image named 'y'"):
        opened(f"oci:{layout}:y")


def test_what_is_unpacked_is_gone_at_the_end(layout: Path, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    with ExitStack() as resources:
        image = open_image(f"oci:{layout}:x", on_close=resources.callback, spool=spool)
        image.tree()
        assert list(spool.iterdir()) == []
