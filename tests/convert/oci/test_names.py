"""Reference names of layouts, and Docker's references."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert.oci.names import DockerName, check_ref_name, docker_name_of_ref
from formats.core.errors import UsageError
from tests.support.containers import podman
from tests.support.images import busybox, write


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("web", "docker.io/library/web:latest"),
        ("web:1", "docker.io/library/web:1"),
        ("team/web", "docker.io/team/web:latest"),
        ("docker.io/web", "docker.io/library/web:latest"),
        ("quay.io/team/web:v1.0_2-x", "quay.io/team/web:v1.0_2-x"),
        ("localhost/web", "localhost/web:latest"),
        ("host:5000/web", "host:5000/web:latest"),
        ("host:5000/a/b__c.d-e---f:1", "host:5000/a/b__c.d-e---f:1"),
        ("[::1]:5000/web", "[::1]:5000/web:latest"),
        ("web:" + "t" * 128, "docker.io/library/web:" + "t" * 128),
    ],
)
def test_a_short_name_means_its_full_form(text: str, full: str) -> None:
    assert str(DockerName.parse(text)) == full
    assert str(DockerName.parse(full)) == full


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "web:",
        ":1",
        "Web",
        "team//web",
        "/web",
        "web/",
        "a_-b",
        "-web",
        "web-",
        "we b",
        "web:.1",
        "web:-1",
        "web:" + "t" * 129,
        "w" * 256,
        "host:port/web",
        "-host.io/web",
        "web@sha256:" + "0" * 64,
        "wéb",
        "web\n",
        "https://host/web",
    ],
)
def test_what_no_client_takes_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        DockerName.parse(text)


@given(st.text(string.ascii_letters + string.digits + ":/.-_@+ \n", max_size=20))
def test_a_name_is_refused_or_stays_what_it_is(text: str) -> None:
    try:
        name = DockerName.parse(text)
    except UsageError:
        return
    assert DockerName.parse(str(name)) == name


@pytest.mark.parametrize("name", ["latest", "v1.0", "a/b:1", "a--b", "A@b+c", "1", "a.b_c-d:e"])
def test_a_ref_name_follows_the_grammar_of_the_specification(name: str) -> None:
    assert check_ref_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "a---b", "a..b", "a/", "/a", "a b", "é", "a\n"])
def test_any_other_ref_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        check_ref_name(name)


@pytest.mark.parametrize(
    ("ref_name", "name"),
    [
        ("web:1", "docker.io/library/web:1"),
        ("host:5000/web:1", "host:5000/web:1"),
        ("latest", None),
        ("host:5000/web", None),
        ("Web:1", None),
        (None, None),
    ],
)
def test_only_a_ref_name_with_a_tag_is_a_docker_name(ref_name: str | None, name: str) -> None:
    found = docker_name_of_ref(ref_name)
    assert (None if found is None else str(found)) == name


def test_podman_calls_loaded_images_what_we_call_them(tmp_path: Path) -> None:
    with podman() as engine:
        for number, name in enumerate(["web", "team/web:1", "quay.io/team/web:1.0"]):
            archive = tmp_path / f"{number}.tar"
            write(f"docker-archive:{archive}:{name}", busybox())
            loaded = engine("load", "--quiet", "--input", archive).decode().split()[-1]
            assert loaded == str(DockerName.parse(name))
