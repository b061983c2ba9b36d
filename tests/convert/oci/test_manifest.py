"""Manifests, indexes, descriptors and digests: read without trust, added to without loss."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert.oci import media
from convert.oci.descriptor import Descriptor, Platform
from convert.oci.digest import Digest
from convert.oci.documents import decode
from convert.oci.manifest import Manifest, parse_index, with_entry
from formats.core.errors import CorruptError
from formats.core.origin import Origin
from tests.support.programs import run

HEX = Digest.of(b"").encoded
DESCRIPTOR = {"mediaType": media.CONFIG, "digest": f"sha256:{HEX}", "size": 0}
MANIFEST = {"schemaVersion": 2, "mediaType": media.MANIFEST, "config": DESCRIPTOR, "layers": []}
INDEX: dict[str, Any] = {"schemaVersion": 2, "manifests": [DESCRIPTOR]}


def document(value: Any) -> Any:
    return decode(json.dumps(value).encode(), "the document", Origin(("x",)))


def entry(name: str | None, content: bytes = b"x") -> Descriptor:
    names = () if name is None else ((media.REF_NAME, name),)
    return Descriptor(
        media.MANIFEST, Digest.of(content), len(content), Platform("amd64"), annotations=names
    )


def named(index: bytes) -> list[tuple[str | None, str]]:
    return [
        (item.get("annotations", {}).get(media.REF_NAME), item["digest"])
        for item in json.loads(index)["manifests"]
    ]


def test_a_digest_is_what_sha256sum_says() -> None:
    assert run("sha256sum", "/bin/true").stdout.split()[0].decode() == _digest_of("/bin/true")


def _digest_of(path: str) -> str:
    with open(path, "rb") as file:
        return Digest.of(file.read()).encoded


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEX,
        "sha256:",
        f"sha256:{HEX[:-1]}",
        f"sha256:{HEX}0",
        f"sha256:{HEX.upper()}",
        f"sha512:{HEX}",
        f"SHA256:{HEX}",
        f"sha256:{HEX}\n",
        f"sha256:../../{HEX[6:]}",
        "sha256:" + "\u0660" * 64,
    ],
)
def test_only_a_lower_case_sha256_is_a_digest(text: str) -> None:
    with pytest.raises(CorruptError, match="is not a sha256 digest"):
        Digest.parse(text)


@pytest.mark.parametrize("text", ["", HEX.upper(), f"{HEX}\n", f"../{HEX[3:]}"])
def test_a_digest_can_never_name_another_file(text: str) -> None:
    with pytest.raises(ValueError, match="is not a SHA-256 digest"):
        Digest(text)


@pytest.mark.parametrize(
    "change",
    [
        {"schemaVersion": 1},
        {"schemaVersion": True},
        {"mediaType": None},
        {"mediaType": media.INDEX},
        {"mediaType": "application/vnd.docker.distribution.manifest.v2+json"},
        {"manifests": []},
        {"config": None},
        {"config": {**DESCRIPTOR, "size": -1}},
        {"config": {**DESCRIPTOR, "size": 1.0}},
        {"config": {**DESCRIPTOR, "digest": "sha256:x"}},
        {"layers": None},
        {"layers": [1]},
        {"layers": [{}]},
        {"annotations": {"a": 1}},
    ],
)
def test_a_manifest_that_is_not_one_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(CorruptError):
        Manifest.parse(document({**MANIFEST, **change}))


def test_a_manifest_reads_as_it_was_written() -> None:
    config = Descriptor(media.CONFIG, Digest.of(b"c"), 1)
    layer = Descriptor("application/vnd.oci.image.layer.v1.tar+zstd", Digest.of(b"l"), 1)
    manifest = Manifest(config, (layer, layer), (("a", "b"),))
    assert Manifest.parse(document(json.loads(manifest.encode()))) == manifest


@pytest.mark.parametrize(
    "change",
    [
        {"schemaVersion": 1},
        {"mediaType": media.MANIFEST},
        {"manifests": None},
        {"manifests": [{**DESCRIPTOR, "platform": {"os": "linux"}}]},
        {"layers": []},
        {"config": {}},
    ],
)
def test_an_index_that_is_not_one_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(CorruptError):
        parse_index(document({**INDEX, **change}))


def test_an_index_may_leave_out_its_media_type_and_name_nothing() -> None:
    assert parse_index(document(INDEX)) == [Descriptor(media.CONFIG, Digest(HEX), 0)]
    assert parse_index(document({"schemaVersion": 2, "manifests": []})) == []


def test_a_new_name_comes_last() -> None:
    index = with_entry(json.loads(with_entry(None, entry("a"))), entry("b", b"y"))
    assert [name for name, _ in named(index)] == ["a", "b"]


def test_the_same_name_is_replaced_where_it_stands() -> None:
    index = json.loads(with_entry(None, entry("a")))
    index = json.loads(with_entry(index, entry("b")))
    index = with_entry(index, entry("a", b"new"))
    assert named(index) == [("a", str(Digest.of(b"new"))), ("b", str(Digest.of(b"x")))]


def test_a_name_that_is_there_twice_is_there_once_afterwards() -> None:
    twice: dict[str, Any] = {
        "schemaVersion": 2,
        "manifests": [entry("a", b"1").as_json(), entry("a").as_json()],
    }
    assert named(with_entry(twice, entry("a", b"2"))) == [("a", str(Digest.of(b"2")))]


def test_an_image_without_a_name_replaces_nothing_but_itself() -> None:
    index = json.loads(with_entry(None, entry(None)))
    index = json.loads(with_entry(index, entry("a")))
    assert len(named(with_entry(index, entry(None)))) == 2
    assert len(named(with_entry(index, entry(None, b"other")))) == 3


def test_what_is_not_known_here_stays_in_an_index() -> None:
    foreign = {**DESCRIPTOR, "artifactType": "x/y", "platform": {"os.features": ["a"]}, "own": 1.5}
    index = {**INDEX, "manifests": [foreign], "annotations": {"a": "b"}, "subject": DESCRIPTOR}
    added = json.loads(with_entry(index, entry("a")))
    assert added["manifests"][0] == foreign
    assert added["annotations"] == {"a": "b"}
    assert added["subject"] == DESCRIPTOR


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.binary(max_size=1)), min_size=1))
def test_each_name_ends_as_what_it_was_last(writes: list[tuple[str, bytes]]) -> None:
    index = None
    for name, content in writes:
        index = json.loads(with_entry(index, entry(name, content)))
    expected = {name: str(Digest.of(content)) for name, content in writes}
    found = named(json.dumps(index).encode())
    assert dict(found) == expected
    assert [name for name, _ in found] == list(expected)
