"""Images in registries: a real one, and some that misbehave."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from convert.images.opening import OpenedImage
from convert.images.registry.access import RegistryAccess
from convert.oci.descriptor import Platform
from formats.core.errors import (
    AmbiguousError,
    ConvertError,
    CorruptError,
    LimitError,
    RegistryError,
)
from tests.convert.images.registry.support import (
    ENTRY,
    GOOD,
    LAYER,
    MADE,
    PASSWORD,
    TAR,
    Puller,
    holds,
)
from tests.support.containers import podman
from tests.support.images import registry, skopeo, write
from tests.support.layers import Layout, write_image_of
from tests.support.listing import tree_listing
from tests.support.programs import run
from tests.support.registry_double import Answer, Reply, Request, repository, serving

Open = Callable[..., OpenedImage]


@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_an_image_comes_out_of_a_registry_as_it_went_in(
    opened: Open, tmp_path: Path, form: str
) -> None:
    folder = write_image_of(tmp_path / "layout", TAR)
    with registry(tmp_path) as host:
        where = f"docker://{host}/team/x:1"
        skopeo("copy", "-q", "--format", form, "--dest-tls-verify=false", f"oci:{folder}:x", where)
        image = opened(where)
        assert tree_listing(image.tree()) == tree_listing(opened(f"oci:{folder}:x").tree())
        assert image.name == f"{host}/team/x:1"
        again = opened(f"docker://{host}/team/x@{image.digest}")
        assert again.digest == image.digest
        with pytest.raises(RegistryError, match="is not there: 'manifest unknown'"):
            opened(f"docker://{host}/team/x:2")


def test_what_podman_pushes_in_chunks_is_read(opened: Open, tmp_path: Path) -> None:
    # a tar without padding behind its end: podman 4.3 leaves that out, and its digest then lies
    write(f"oci-archive:{tmp_path / 'archive.tar'}:localhost/x:1")
    with registry(tmp_path) as host, podman() as engine:
        engine("load", "-q", "-i", tmp_path / "archive.tar")
        where = f"docker://{host}/x:1"
        how = ("--tls-verify=false", "--compression-format", "zstd:chunked")
        engine("push", "-q", *how, "localhost/x:1", where)
        image = opened(where)
        assert b"etc/hostname" in tree_listing(image.tree())
    assert image.layers()[0].descriptor.media_type.endswith("+zstd")


def test_a_registry_takes_the_password_that_skopeo_stored(tmp_path: Path) -> None:
    folder = write_image_of(tmp_path / "layout", TAR)
    script = "print crypt($ARGV[0], q($2y$05$abcdefghijklmnopqrstuu))"
    hashed = run("perl", "-e", script, PASSWORD).stdout.decode()
    assert hashed.startswith("$2y$")
    (tmp_path / "htpasswd").write_text(f"me:{hashed}\n")
    auth = {"auth": {"htpasswd": {"realm": "x", "path": str(tmp_path / "htpasswd")}}}
    file = tmp_path / "auth.json"
    with registry(tmp_path, auth) as host, ExitStack() as resources:
        pull = Puller(resources, tmp_path)
        with pytest.raises(RegistryError, match=f"does not let us in.*podman login {host}"):
            pull(f"{host}/team/x:1")
        settings = ("--authfile", file, "--tls-verify=false")
        run("skopeo", "login", *settings, "-u", "me", "-p", PASSWORD, host)
        skopeo(
            "copy", "-q", "--authfile", file, "--dest-tls-verify=false",
            f"oci:{folder}:x", f"docker://{host}/team/x:1",
        )  # fmt: skip
        assert holds(pull(f"{host}/team/x:1", access=RegistryAccess((file,))))
        wrong = json.loads(file.read_bytes())
        wrong["auths"][host]["auth"] = "bWU6d3Jvbmc="
        file.write_text(json.dumps(wrong))
        with pytest.raises(RegistryError, match="does not let us in"):
            pull(f"{host}/team/x:1", access=RegistryAccess((file,)))


def failing(answer: Answer, *replies: Reply) -> Answer:
    """Answer a blob's first requests badly."""
    waiting = iter(replies)

    def answer_it(request: Request) -> Reply:
        if LAYER not in request.path:
            return answer(request)
        return next(waiting, None) or answer(request)

    return answer_it


def test_a_registry_that_is_busy_is_asked_again(pull: Puller) -> None:
    replies = Reply(503), Reply(500), Reply(429, b"", {"Retry-After": "7"}), Reply(408)
    with serving(failing(GOOD, *replies)) as server:
        assert holds(pull(f"{server.host}/x:1"))
    assert pull.waits == [1, 2, 7, 8]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_registry_that_says_no_is_not_asked_again(pull: Puller, status: int) -> None:
    with serving(failing(GOOD, Reply(status))) as server:
        image = pull(f"{server.host}/x:1")
        with pytest.raises(RegistryError):
            image.tree()
    assert pull.waits == []


def test_patience_ends(pull: Puller) -> None:
    with serving(failing(GOOD, *[Reply(503)] * 20)) as server:
        image = pull(f"{server.host}/x:1")
        with pytest.raises(RegistryError, match="answers with 503"):
            image.tree()
    assert pull.waits == [1, 2, 4, 8, 16]


def test_nobody_waits_for_hours(pull: Puller) -> None:
    with serving(failing(GOOD, Reply(429, b"", {"Retry-After": "3600"}))) as server:
        image = pull(f"{server.host}/x:1")
        with pytest.raises(RegistryError, match="answers with 429"):
            image.tree()
    assert pull.waits == []


def broken(*, heeds_range: bool, pieces: int) -> Answer:
    """Give a blob in pieces, of which the connection breaks after each."""
    blob = MADE.blobs[LAYER]
    step = len(blob) // pieces

    def answer(request: Request) -> Reply:
        if LAYER not in request.path:
            return GOOD(request)
        asked = request.headers.get("range", "bytes=0-")
        start = int(asked.removeprefix("bytes=").rstrip("-"))
        if start and heeds_range:
            headers = {"Content-Range": f"bytes {start}-{len(blob) - 1}/{len(blob)}"}
            return Reply(206, blob[start:], headers, cut=step)
        return Reply(200, blob, cut=start + step)

    return answer


@pytest.mark.parametrize("heeds_range", [True, False])
def test_a_download_goes_on_where_it_broke_off(pull: Puller, heeds_range: bool) -> None:
    with serving(broken(heeds_range=heeds_range, pieces=9)) as server:
        assert holds(pull(f"{server.host}/x:1"))
    ranges = [request.headers.get("range") for request in server.requests if LAYER in request.path]
    assert ranges[0] is None
    assert len(set(ranges)) == len(ranges) > 8
    assert set(pull.waits) == {1}, "every piece is progress"


def test_a_download_without_progress_ends(pull: Puller) -> None:
    reply = Reply(200, MADE.blobs[LAYER], cut=0)
    with serving(failing(GOOD, *[reply] * 20)) as server:
        image = pull(f"{server.host}/x:1")
        with pytest.raises(RegistryError, match="cannot be reached"):
            image.tree()
    assert len(pull.waits) == 5


def _blob(body: bytes, status: int = 200, **headers: str) -> Reply:
    return Reply(status, body, {name.replace("_", "-"): text for name, text in headers.items()})


@pytest.mark.parametrize(
    ("replies", "message"),
    [
        ([_blob(MADE.blobs[LAYER][:-1] + b"x")], "has the digest sha256:"),
        ([_blob(MADE.blobs[LAYER] + b"x")], "has more than the"),
        (
            [Reply(200, MADE.blobs[LAYER], cut=9), _blob(b"", 206, Content_Range="bytes 5-9/9")],
            "another part of a blob",
        ),
    ],
)
def test_a_wrong_blob_is_refused(pull: Puller, replies: list[Reply], message: str) -> None:
    with serving(failing(GOOD, *replies)) as server:
        image = pull(f"{server.host}/x:1")
        with pytest.raises(ConvertError, match=message):
            image.tree()


def test_a_manifest_of_another_digest_is_refused(pull: Puller) -> None:
    def answer(request: Request) -> Reply:
        reply = GOOD(request)
        return replace(reply, body=reply.body + b" ") if "/manifests/" in request.path else reply

    with serving(answer) as server:
        for reference in ("x:1", f"x@{ENTRY['digest']}"):
            with pytest.raises(CorruptError, match="the manifest has the digest"):
                pull(f"{server.host}/{reference}")


def test_the_media_type_of_a_manifest_may_stand_in_it_alone(pull: Puller) -> None:
    def answer(request: Request) -> Reply:
        reply = GOOD(request)
        return replace(reply, headers={"Content-Type": "application/json; charset=utf-8"})

    with serving(answer) as server:
        assert holds(pull(f"{server.host}/x:1"))


def test_a_type_that_the_header_and_the_manifest_disagree_on_is_refused(pull: Puller) -> None:
    def answer(request: Request) -> Reply:
        kind = "application/vnd.oci.image.index.v1+json"
        return replace(GOOD(request), headers={"Content-Type": kind})

    with serving(answer) as server, pytest.raises(CorruptError, match="mediaType"):
        pull(f"{server.host}/x:1")


def test_an_endless_manifest_is_not_read_to_its_end(pull: Puller) -> None:
    error = pytest.raises(LimitError, match="more than 4,194,304 bytes")
    with serving(lambda _: Reply(200, b" " * (5 << 20))) as server, error:
        pull(f"{server.host}/x:1")


def test_one_platform_of_several_is_fetched(pull: Puller) -> None:
    made = Layout()
    images = [
        made.image(TAR, platform={"architecture": name, "os": "linux"})
        for name in ("amd64", "arm64")
    ]
    with serving(repository(made, {"1": made.index(*images)})) as server:
        with pytest.raises(AmbiguousError, match="linux/amd64, linux/arm64"):
            pull(f"{server.host}/x:1")
        image = pull(f"{server.host}/x:1", platform=Platform("arm64"))
    assert str(image.digest) == images[1]["digest"]
    assert images[0]["digest"] not in " ".join(server.paths()), "the other one is not fetched"


def test_a_registry_that_is_not_there_is_named(pull: Puller) -> None:
    with pytest.raises(RegistryError, match=r"cannot be reached: .*Connection refused"):
        pull("127.0.0.1:1/x:1")
    assert pull.waits == []
