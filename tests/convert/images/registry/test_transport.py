"""Where requests go, and what goes with them: redirects, private networks, proxies, TLS."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from convert.images.registry import http
from convert.images.registry.access import RegistryAccess
from convert.images.registry.guard import Guard
from formats.core.errors import (
    RegistryError,
)
from tests.convert.images.registry.support import (
    GOOD,
    PASSWORD,
    Puller,
    holds,
    login,
)
from tests.support.programs import need, run
from tests.support.registry_double import Reply, Request, serving


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
        ("http://a.example/x", "ftp://a.example/x", "redirects from http to 'ftp'"),
        ("https://a.example/x", "http://[", "no address"),
        ("https://a.example/x", "https://a.example:99999/x", "an address that is none"),
        ("https://a.example/x", "//:443/x", "an address without a host"),
    ],
)
def test_a_redirect_leads_to_an_address_and_not_out_of_tls(
    url: str, location: str, message: str
) -> None:
    transport = http.Transport("127.0.0.1", RegistryAccess())
    with pytest.raises(RegistryError, match=message):
        transport._redirected(url, location)


def test_a_public_registry_cannot_send_us_to_this_machine() -> None:
    with serving(GOOD) as server:
        transport = http.Transport("registry.example.org", RegistryAccess())
        with pytest.raises(RegistryError, match="an address of a private network"):
            transport.send(f"http://{server.host}/latest/meta-data", {})
    assert server.requests == [], "not even a request was sent"


def test_a_registry_of_this_machine_may_send_us_to_another_server_of_it(pull: Puller) -> None:
    with serving(GOOD) as storage, serving(GOOD) as server:

        def answer(request: Request) -> Reply:
            if "/blobs/" in request.path:
                return Reply(307, b"", {"Location": f"http://{storage.host}{request.path}"})
            return GOOD(request)

        server.answer = answer
        assert holds(pull(f"{server.host.replace('127.0.0.1', 'localhost')}/x:1"))
    assert storage.requests


PUBLIC, PRIVATE = "93.184.215.14", "10.0.0.1"


@pytest.mark.parametrize(
    ("reached", "may"),
    [
        ([], False),
        ([PUBLIC], False),
        ([PRIVATE], True),
        (["fd00::1%eth0"], True),
        ([PRIVATE, PUBLIC], False),
        ([PUBLIC, PRIVATE], False),
    ],
    ids=["never", "public", "private", "link-local", "private-then-public", "public-then-private"],
)
def test_whoever_was_once_on_the_internet_cannot_send_us_to_a_private_network(
    reached: list[str], *, may: bool
) -> None:
    guard = Guard("registry.example.org")
    assert all(guard.allows("registry.example.org", address) for address in reached)
    assert guard.allows("other.example.org", PRIVATE) is may
    assert guard.allows("other.example.org", PUBLIC)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "[::1]", "169.254.169.254", "10.1.2.3", "localhost", "127.1", "2852039166"],
)
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


def test_a_proxy_gets_the_password_of_its_address_and_the_registry_does_not() -> None:
    with serving(GOOD) as proxy, serving(GOOD) as server:
        proxies = {"http": f"me:sword%3Afish@{proxy.host}"}
        transport = http.Transport("127.0.0.1", RegistryAccess(proxies=proxies))
        transport.send(f"http://{server.host}/x", {}).close()
    assert proxy.requests[0].headers["proxy-authorization"] == "Basic bWU6c3dvcmQ6ZmlzaA=="
    assert server.requests == []


@pytest.mark.parametrize("proxy", ["ftp://me:swordfish@x", "http://me:swordfish@x:99999999"])
def test_a_proxy_without_an_address_is_refused_without_its_password(proxy: str) -> None:
    transport = http.Transport("127.0.0.1", RegistryAccess(proxies={"http": proxy}))
    with pytest.raises(RegistryError, match="the proxy has an address that is none") as caught:
        transport.send("http://127.0.0.1/", {})
    assert PASSWORD not in f"{caught.value}{caught.value.__cause__}"


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
