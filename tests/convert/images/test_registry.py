"""Images in registries: a real one, and some that misbehave."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from convert.images.layers import Workshop
from convert.images.opening import OpenedImage
from convert.images.reference import RegistryReference
from convert.images.registry import http
from convert.images.registry.access import RegistryAccess
from convert.images.registry.image import read_registry
from convert.oci.descriptor import Platform
from formats.core.errors import (
    AmbiguousError,
    ConvertError,
    CorruptError,
    LimitError,
    RegistryError,
)
from formats.core.limits import DEFAULT_LIMITS
from tests.support.containers import podman
from tests.support.images import registry, skopeo, write
from tests.support.layers import Layout, M, layer, write_image_of
from tests.support.listing import tree_listing
from tests.support.programs import need, run
from tests.support.registry_double import Answer, Reply, Request, repository, serving

Open = Callable[..., OpenedImage]

CONTENT = "".join(f"{number:08}" for number in range(50_000))
TAR = layer(M("d", "etc", mode=0o755), M("f", "etc/a", CONTENT))
PASSWORD, TOKEN = "swordfish", "t0ken.of-the-registry"
MADE = Layout()
ENTRY = MADE.image(TAR, how="none")
LAYER = json.loads(MADE.blobs[ENTRY["digest"]])["layers"][0]["digest"]
GOOD = repository(MADE, {"1": ENTRY})


@dataclass
class Puller:
    """Fetches an image the way the command does, without waiting.

    :ivar waits: seconds that it would have waited.
    """

    resources: ExitStack
    spool: Path
    waits: list[float] = field(default_factory=list)

    def __call__(
        self,
        reference: str,
        *,
        access: RegistryAccess | None = None,
        platform: Platform | None = None,
    ) -> OpenedImage:
        workshop = Workshop(DEFAULT_LIMITS, self.spool, self.resources.callback, lambda *_: None)
        read = read_registry(
            RegistryReference.parse(reference),
            platform,
            access or RegistryAccess(),
            workshop,
            self.waits.append,
        )
        return OpenedImage(f"docker://{reference}", read, workshop)


@pytest.fixture
def pull(tmp_path: Path) -> Iterator[Puller]:
    with ExitStack() as resources:
        yield Puller(resources, tmp_path)


def login(folder: Path, *hosts: str, identity: str = "") -> RegistryAccess:
    """Return access with a password for some registries, or an identity token."""
    pair = "bWU6c3dvcmRmaXNo"  # me:swordfish
    entry = {"identitytoken": identity} if identity else {"auth": pair}
    file = folder / "auth.json"
    file.write_text(json.dumps({"auths": dict.fromkeys(hosts, entry)}))
    return RegistryAccess((file,))


def holds(image: OpenedImage) -> bool:
    return list(tree_listing(image.tree())) == [b"", b"etc", b"etc/a"]


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


def guarded(answer: Answer, realm: Callable[[], str]) -> Answer:
    """Ask for a token before anything is given."""

    def answer_it(request: Request) -> Reply:
        if request.headers.get("authorization") == f"Bearer {TOKEN}":
            return answer(request)
        challenge = f'Bearer realm="{realm()}",service="the registry",scope="repository:x:pull"'
        return Reply(401, b"{}", {"WWW-Authenticate": challenge})

    return answer_it


def tokens(request: Request) -> Reply:
    del request
    return Reply(200, json.dumps({"token": TOKEN}).encode())


def test_a_token_is_fetched_from_another_server(pull: Puller, tmp_path: Path) -> None:
    with serving(tokens) as given, serving(GOOD) as server:
        server.answer = guarded(GOOD, lambda: f"http://{given.host}/token?x=1")
        assert holds(pull(f"{server.host}/x:1", access=login(tmp_path, server.host)))
    query = parse_qs(urlsplit(given.requests[0].path).query)
    assert query == {"x": ["1"], "service": ["the registry"], "scope": ["repository:x:pull"]}
    assert given.requests[0].headers["authorization"] == "Basic bWU6c3dvcmRmaXNo"
    assert len(given.requests) == 1, "one token is enough"
    sent = {request.headers.get("authorization") for request in server.requests}
    assert sent == {None, f"Bearer {TOKEN}"}, "the registry never sees the password"


def test_an_identity_token_is_exchanged(pull: Puller, tmp_path: Path) -> None:
    with serving(tokens) as given, serving(GOOD) as server:
        server.answer = guarded(GOOD, lambda: f"http://{given.host}/token")
        access = login(tmp_path, server.host, identity="identity")
        assert holds(pull(f"{server.host}/x:1", access=access))
    form = parse_qs(given.requests[0].body)
    assert form["grant_type"] == ["refresh_token"]
    assert form["refresh_token"] == ["identity"]
    assert "authorization" not in given.requests[0].headers


def test_a_token_that_has_expired_is_fetched_again(pull: Puller) -> None:
    with serving(tokens) as given, serving(GOOD) as server:
        good = guarded(GOOD, lambda: f"http://{given.host}/token")
        server.answer = good
        image = pull(f"{server.host}/x:1")
        expired = iter([True])

        def answer(request: Request) -> Reply:
            if next(expired, False):
                return Reply(401, b"", good(replace(request, headers={})).headers)
            return good(request)

        server.answer = answer
        assert holds(image)
    assert len(given.requests) == 2


@pytest.mark.parametrize(
    "realm",
    ["http://public.example.org/token", "ftp://127.0.0.1/", "", "//x", "http://u:p@127.0.0.1/"],
)
def test_a_realm_that_nobody_warrants_is_not_asked(
    pull: Puller, tmp_path: Path, realm: str
) -> None:
    with serving(guarded(GOOD, lambda: realm)) as server:
        access = login(tmp_path, server.host)
        with pytest.raises(RegistryError, match="sends us for a token to") as caught:
            pull(f"{server.host}/x:1", access=access)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    "token", [{}, {"token": ""}, {"token": "a\r\nX-Evil: 1"}, {"token": "a b"}]
)
def test_what_is_no_token_is_refused(pull: Puller, token: dict[str, str]) -> None:
    reply = Reply(200, json.dumps(token).encode())
    with serving(lambda _: reply) as given, serving(GOOD) as server:
        server.answer = guarded(GOOD, lambda: f"http://{given.host}/")
        with pytest.raises(RegistryError, match="gives no token"):
            pull(f"{server.host}/x:1")


def test_credentials_do_not_follow_a_redirect(pull: Puller, tmp_path: Path) -> None:
    basic = {"WWW-Authenticate": 'Basic realm="x"'}
    with serving(GOOD) as storage, serving(GOOD) as server:

        def answer(request: Request) -> Reply:
            if "authorization" not in request.headers:
                return Reply(401, b"", basic)
            if "/blobs/" in request.path:
                return Reply(307, b"", {"Location": f"http://{storage.host}{request.path}"})
            return GOOD(request)

        server.answer = answer
        assert holds(pull(f"{server.host}/x:1", access=login(tmp_path, server.host)))
    assert storage.requests
    assert not any("authorization" in request.headers for request in storage.requests)


def test_a_redirect_within_the_registry_keeps_credentials(pull: Puller, tmp_path: Path) -> None:
    def answer(request: Request) -> Reply:
        if "authorization" not in request.headers:
            return Reply(401, b"", {"WWW-Authenticate": "Basic realm=x"})
        if "/blobs/" in request.path and not request.path.startswith("/moved"):
            return Reply(302, b"", {"Location": f"/moved{request.path}"})
        return GOOD(request)

    with serving(answer) as server:
        assert holds(pull(f"{server.host}/x:1", access=login(tmp_path, server.host)))


def test_redirects_end_somewhere(pull: Puller) -> None:
    def answer(request: Request) -> Reply:
        return Reply(302, b"", {"Location": request.path})

    error = pytest.raises(RegistryError, match="redirects more than 5 times")
    with serving(answer) as server, error:
        pull(f"{server.host}/x:1")
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    ("url", "location", "message"),
    [
        ("https://a.example/x", "http://a.example/x", "redirects from https to 'http'"),
        ("https://a.example/x", "file:///etc/passwd", "redirects from https to 'file'"),
        ("https://a.example/x", "http://[", "no address"),
    ],
)
def test_a_redirect_may_not_leave_tls(url: str, location: str, message: str) -> None:
    transport = http.Transport("127.0.0.1", RegistryAccess())
    with pytest.raises(RegistryError, match=message):
        transport._redirected(url, location)


@pytest.fixture
def seen_as_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let registries of this machine pass for ones of the internet."""
    monkeypatch.setattr(http, "is_private", lambda _: False)


@pytest.mark.usefixtures("seen_as_public")
def test_a_public_registry_cannot_send_us_to_this_machine() -> None:
    with serving(GOOD) as server:
        transport = http.Transport("registry.example.org", RegistryAccess())
        with pytest.raises(RegistryError, match="an address of a private network"):
            transport.send(f"http://{server.host}/latest/meta-data", {})
    assert server.requests == [], "not even a request was sent"


@pytest.mark.usefixtures("seen_as_public")
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "169.254.169.254", "10.1.2.3", "localhost"])
def test_nor_through_a_proxy(host: str) -> None:
    with serving(GOOD) as proxy:
        access = RegistryAccess(proxies={"http": f"http://{proxy.host}"})
        transport = http.Transport("registry.example.org", access)
        with pytest.raises(RegistryError, match="an address of a private network"):
            transport.send(f"http://{host}/latest/meta-data", {})
        transport.send("http://public.example.org/x", {}).close()
    assert proxy.paths() == ["http://public.example.org/x"]


def test_a_proxy_is_passed_by_where_it_shall_be() -> None:
    with serving(GOOD) as proxy, serving(GOOD) as server:
        proxies = {"http": f"http://{proxy.host}", "no": "other.example, 127.0.0.1"}
        transport = http.Transport(server.host, RegistryAccess(proxies=proxies))
        transport.send(f"http://{server.host}/v2/", {}).close()
    assert (len(proxy.requests), len(server.requests)) == (0, 1)


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


def test_no_message_tells_a_secret(pull: Puller, tmp_path: Path) -> None:
    said: list[str] = []
    with serving(tokens) as given, serving(GOOD) as server:
        good = guarded(GOOD, lambda: f"http://{given.host}/token")
        access = login(tmp_path, server.host)
        for reply in (
            Reply(403),
            Reply(500),
            Reply(200, b"x"),
            Reply(302, b"", {"Location": "x:"}),
        ):
            server.answer = lambda request, reply=reply: (  # type: ignore[misc]
                reply if "authorization" in request.headers else good(request)
            )
            with pytest.raises(ConvertError) as caught:
                pull(f"{server.host}/x:1", access=access)
            said += [str(caught.value), repr(caught.value.__cause__), repr(access)]
    assert not any(secret in text for text in said for secret in (PASSWORD, TOKEN, "bWU6"))


def test_a_registry_that_is_not_there_is_named(pull: Puller) -> None:
    with pytest.raises(RegistryError, match=r"cannot be reached: .*Connection refused"):
        pull("127.0.0.1:1/x:1")
    assert pull.waits == []


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    """Return a server's side of TLS, with a certificate that only ``cert.pem`` vouches for."""
    need("openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
        "-keyout", key, "-out", certificate,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def test_a_certificate_that_nobody_trusts_is_refused(pull: Puller, tls: ssl.SSLContext) -> None:
    with serving(GOOD, tls) as server:
        with pytest.raises(RegistryError, match="certificate verify failed"):
            pull(f"{server.host}/x:1")
        assert server.requests == [], "nor is it spoken to without TLS"


def test_certificates_are_trusted_that_are_kept_for_the_host(
    pull: Puller, tls: ssl.SSLContext, tmp_path: Path
) -> None:
    with serving(GOOD, tls) as server:
        kept = tmp_path / "certs.d" / server.host
        kept.mkdir(parents=True)
        (tmp_path / "cert.pem").rename(kept / "ca.crt")
        access = RegistryAccess(certificate_folders=(tmp_path / "certs.d", tmp_path / "nothing"))
        assert holds(pull(f"{server.host}/x:1", access=access))
        (kept / "ca.crt").write_text("no certificate")
        with pytest.raises(RegistryError, match="the certificate cannot be read"):
            pull(f"{server.host}/x:1", access=access)
