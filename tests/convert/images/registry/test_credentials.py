"""Where credentials for a registry are found, and that they stay there."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from convert.images.registry.access import RegistryAccess
from convert.images.registry.challenge import Challenge, parse_challenges
from convert.images.registry.credentials import find_credentials
from convert.oci.names import DockerName
from formats.core.errors import (
    ConvertError,
    CorruptError,
    InputReadError,
    MissingDependencyError,
    RegistryError,
)

NAME = DockerName.parse("registry.example.org:5000/team/web:1")


def entry(user: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:secret:with:colons".encode()).decode()}


def file_of(folder: Path, name: str = "auth.json", **content: Any) -> Path:
    file = folder / name
    file.write_text(json.dumps(content))
    return file


def plain(key: str) -> str:
    """Return what can be a user's name: the colon ends it."""
    return key.replace(":", "-")


def user_of(*files: Path, name: DockerName = NAME) -> str | None:
    found = find_credentials(name, files)
    return None if found is None else found.user


def test_the_most_specific_entry_counts(tmp_path: Path) -> None:
    keys = (
        "registry.example.org:5000/team/web",
        "registry.example.org:5000/team",
        "registry.example.org:5000",
    )
    auths = {key: entry(plain(key)) for key in (*keys, "registry.example.org", "example.org")}
    for key in keys:
        assert user_of(file_of(tmp_path, auths=auths)) == plain(key)
        del auths[key]
    assert user_of(file_of(tmp_path, auths=auths)) is None


def test_a_longer_name_is_no_more_specific_entry(tmp_path: Path) -> None:
    auths = {"registry.example.org:5000/team/website": entry("other")}
    assert user_of(file_of(tmp_path, auths=auths)) is None


def test_the_first_file_that_has_one_counts(tmp_path: Path) -> None:
    one = file_of(tmp_path, "one", auths={"other.example.org": entry("other")})
    two = file_of(tmp_path, "two", auths={"registry.example.org:5000": entry("two")})
    three = file_of(tmp_path, "three", auths={"registry.example.org:5000/team": entry("three")})
    assert user_of(tmp_path / "missing", one, two, three) == "two"


@pytest.mark.parametrize(
    "key", ["https://registry.example.org:5000", "http://registry.example.org:5000/v1/"]
)
def test_keys_may_be_addresses_as_old_dockers_wrote_them(tmp_path: Path, key: str) -> None:
    assert user_of(file_of(tmp_path, auths={key: entry("me")})) == "me"


def test_the_default_registry_has_a_key_of_its_own(tmp_path: Path) -> None:
    file = file_of(tmp_path, auths={"https://index.docker.io/v1/": entry("me")})
    assert user_of(file, name=DockerName.parse("debian")) == "me"


def test_a_password_may_hold_colons(tmp_path: Path) -> None:
    file = file_of(tmp_path, auths={"registry.example.org:5000": entry("me")})
    found = find_credentials(NAME, (file,))
    assert found is not None
    assert found.basic == f"Basic {entry('me')['auth']}"
    assert "secret" not in repr(found)


def helper(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a credential helper named ``test``."""
    program = folder / "docker-credential-test"
    program.write_text(f"#!/bin/sh\nread server\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.parametrize(
    "content",
    [{"credHelpers": {"registry.example.org:5000": "test"}}, {"credsStore": "test"}],
    ids=["of a host", "of all"],
)
def test_a_helper_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: dict[str, Any]
) -> None:
    answer = """printf '{"ServerURL":"%s","Username":"%s","Secret":"s"}' "$server" "$1-$server\""""
    helper(tmp_path, answer, monkeypatch)
    assert user_of(file_of(tmp_path, **content)) == "get-registry.example.org:5000"


def test_a_helper_may_give_an_identity_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper(tmp_path, """echo '{"Username":"<token>","Secret":"identity"}'""", monkeypatch)
    found = find_credentials(NAME, (file_of(tmp_path, credsStore="test"),))
    assert found is not None
    assert (found.identity_token, found.password) == ("identity", "")


def test_a_helper_that_has_none_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper(tmp_path, "echo credentials not found in native keychain; exit 1", monkeypatch)
    file = file_of(tmp_path, credsStore="test", auths={"registry.example.org:5000": entry("file")})
    assert user_of(file) == "file"


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("echo broken; exit 3", RegistryError),
        ("echo '{'", CorruptError),
        ("""echo '{"Username": "swordfish"}'""", CorruptError),
    ],
)
def test_a_helper_that_fails_is_an_error_without_its_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, kind: type[ConvertError]
) -> None:
    helper(tmp_path, script, monkeypatch)
    with pytest.raises(kind) as caught:
        find_credentials(NAME, (file_of(tmp_path, credsStore="test"),))
    assert "swordfish" not in str(caught.value)


def test_a_helper_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="docker-credential-desktop"):
        find_credentials(NAME, (file_of(tmp_path, credsStore="desktop"),))


@pytest.mark.parametrize("name", ["../../bin/sh", "a b", "x;y"])
def test_the_name_of_a_helper_is_a_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorruptError, match="no name of a credential helper"):
        find_credentials(NAME, (file_of(tmp_path, credsStore=name),))


@pytest.mark.parametrize("auth", ["swordfish", "c3dvcmRmaXNo", "/w=="])
def test_a_damaged_entry_is_an_error_without_its_secret(tmp_path: Path, auth: str) -> None:
    file = file_of(tmp_path, auths={"registry.example.org:5000": {"auth": auth}})
    with pytest.raises(CorruptError, match="is not NAME:PASSWORD in base64") as caught:
        find_credentials(NAME, (file,))
    assert auth not in f"{caught.value}{caught.value.__cause__}"


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputReadError, match="the credentials cannot be read: Is a directory"):
        find_credentials(NAME, (tmp_path,))


def test_files_are_looked_for_where_podman_and_docker_do(tmp_path: Path) -> None:
    environment = {"XDG_RUNTIME_DIR": "/run/user/1000"}
    assert RegistryAccess.usual(environment, tmp_path).auth_files == (
        Path("/run/user/1000/containers/auth.json"),
        tmp_path / ".config/containers/auth.json",
        tmp_path / ".docker/config.json",
    )
    environment = {"XDG_CONFIG_HOME": "/c", "DOCKER_CONFIG": "/d"}
    assert RegistryAccess.usual(environment, tmp_path).auth_files == (
        Path("/c/containers/auth.json"),
        Path("/d/config.json"),
    )
    environment = {"REGISTRY_AUTH_FILE": "/a", "XDG_RUNTIME_DIR": "/run/user/1000"}
    assert RegistryAccess.usual(environment, tmp_path).auth_files == (Path("/a"),)


def test_proxies_are_taken_from_the_environment(tmp_path: Path) -> None:
    environment = {
        "HTTPS_PROXY": "upper",
        "https_proxy": "lower",
        "NO_PROXY": "x",
        "HTTP_PROXY": "",
    }
    access = RegistryAccess.usual(environment, tmp_path)
    assert access.proxies == {"https": "lower", "no": "x"}
    assert "lower" not in repr(access), "a proxy's address may hold a password"


@pytest.mark.parametrize(
    ("host", "may_be_plain"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.1.2.3:80", True),
        ("[::1]:5000", True),
        ("plain.example.org:5000", True),
        ("plain.example.org", False),
        ("localhost.example.org", False),
        ("127.0.0.1.example.org", False),
        ("10.0.0.1", False),
    ],
)
def test_only_this_machine_and_named_hosts_do_without_tls(host: str, *, may_be_plain: bool) -> None:
    access = RegistryAccess.usual({}, Path("/"), ["plain.example.org:5000"])
    assert access.may_be_plain(host) is may_be_plain


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            'Bearer realm="https://a.example/token",service="x, y",scope="repository:a:pull,push"',
            [
                Challenge(
                    "bearer",
                    {
                        "realm": "https://a.example/token",
                        "service": "x, y",
                        "scope": "repository:a:pull,push",
                    },
                )
            ],
        ),
        (
            'Negotiate, BASIC Realm="a \\"quoted\\" one", Bearer realm = x , error="e"',
            [
                Challenge("negotiate", {}),
                Challenge("basic", {"realm": 'a "quoted" one'}),
                Challenge("bearer", {"realm": "x", "error": "e"}),
            ],
        ),
        ("", []),
        ("Basic", [Challenge("basic", {})]),
        ('"', []),
        ('Bearer realm="never closed', [Challenge("bearer", {})]),
    ],
)
def test_challenges_are_understood(header: str, expected: list[Challenge]) -> None:
    assert parse_challenges(header) == expected


def test_a_long_challenge_takes_no_time() -> None:
    for header in ("a " * 50_000, 'a="' * 50_000, "," * 200_000, "a\\" * 100_000):
        parse_challenges(header)
