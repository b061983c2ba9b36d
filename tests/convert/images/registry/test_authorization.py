"""Being let in: by tokens, passwords, and no one else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from formats.core.errors import (
    ConvertError,
    RegistryError,
)
from tests.convert.images.registry.support import (
    GOOD,
    PASSWORD,
    TOKEN,
    Puller,
    guarded,
    holds,
    login,
    tokens,
)
from tests.support.registry_double import Reply, Request, serving


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
