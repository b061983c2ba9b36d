"""How destinations are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from convert.destination import (
    Destination,
    DockerArchiveDestination,
    FolderDestination,
    LayoutDestination,
    OciArchiveDestination,
    TarDestination,
    parse_destination,
    parse_image,
)
from convert.oci.names import DockerName
from formats.core.errors import UsageError
from tests.support.images import skopeo, write

WEB = DockerName("docker.io", "library/web", "1")

PARSED: list[tuple[str, Destination]] = [
    ("oci:out", LayoutDestination(Path("out"))),
    ("oci:out:latest", LayoutDestination(Path("out"), "latest")),
    ("oci:/a b/out:team/web:1", LayoutDestination(Path("/a b/out"), "team/web:1")),
    ("oci-archive:web.tar", OciArchiveDestination(Path("web.tar"))),
    ("oci-archive:web.tar:web:1", OciArchiveDestination(Path("web.tar"), "web:1")),
    ("oci-archive:-", OciArchiveDestination(None)),
    ("oci-archive:-:web:1", OciArchiveDestination(None, "web:1")),
    ("oci-archive:./-", OciArchiveDestination(Path("./-"))),
    ("docker-archive:web.tar", DockerArchiveDestination(Path("web.tar"))),
    ("docker-archive:web.tar:web:1", DockerArchiveDestination(Path("web.tar"), WEB)),
    ("docker-archive:-:web:1", DockerArchiveDestination(None, WEB)),
    ("tar:a:b.tar.gz", TarDestination(Path("a:b.tar.gz"))),
    ("tar:-", TarDestination(None)),
    ("dir:a:b", FolderDestination(Path("a:b"))),
]

REFUSED = [
    ("out", "is not a destination", "oci:"),
    ("", "is not a destination", "oci:"),
    ("ftp://out", "is not a destination", "oci:"),
    ("OCI:out", "is not a destination", "oci:"),
    ("docker://host/web:1", "not written directly", "skopeo copy oci:DIR:TAG docker://host/web:1"),
    ("docker-daemon:web:1", "not written directly", "docker load"),
    ("containers-storage:web:1", "not written directly", "podman load"),
    ("oci:", "names no path", ""),
    ("oci::tag", "names no path", ""),
    ("tar:", "names no path", ""),
    ("oci:-", "cannot go to standard output", "oci-archive:-"),
    ("dir:-", "cannot go to standard output", "tar:-"),
    ("oci:out:", "is not a tag", ""),
    ("oci:out:two words", "is not a tag", ""),
    ("oci:out:-x", "is not a tag", ""),
    ("oci-archive:x.tar:a//b", "is not a tag", ""),
    ("oci-archive:folder/", "is a folder", ""),
    ("docker-archive:x.tar:Upper", "is not an image name", ""),
    ("docker-archive:x.tar:web@sha256:00", "names a digest", "NAME:TAG"),
    ("docker-archive:x.tar:", "is not an image name", ""),
    ("tar:a\0b", "holds a NUL", ""),
]


@pytest.mark.parametrize(("text", "meant"), PARSED)
def test_a_destination_is_what_its_name_says(text: str, meant: Destination) -> None:
    assert parse_destination(text) == meant


@pytest.mark.parametrize(("text", "meant"), PARSED)
def test_a_destination_is_shown_so_that_it_can_be_given_again(
    text: str, meant: Destination
) -> None:
    del text
    assert parse_destination(str(meant)) == meant


@pytest.mark.parametrize(("text", "problem", "hint"), REFUSED)
def test_what_cannot_be_written_is_refused_with_a_way_out(
    text: str, problem: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=problem) as caught:
        parse_destination(text)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["tar:x.tar", "dir:x"])
def test_a_bare_tree_is_not_an_image(text: str) -> None:
    with pytest.raises(UsageError, match="is not an image"):
        parse_image(text)


@pytest.mark.parametrize(
    "name",
    [
        "oci:out",
        "oci:out:latest",
        "oci:out:team/web:1",
        "oci:out:v1.0_2+x@y--z",
        "oci-archive:o.tar",
        "oci-archive:o.tar:team/web:1",
        "docker-archive:d.tar",
        "docker-archive:d.tar:web",
        "docker-archive:d.tar:web:1",
        "docker-archive:d.tar:localhost:5000/team/web:1",
    ],
)
def test_skopeo_finds_an_image_under_the_same_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    image = write(name)
    raw = skopeo("inspect", "--config", "--raw", name)
    assert str(image.config.digest.of(raw)) == str(image.config.digest)
