"""XML of others cannot read files, grow without bounds, or stop the program."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.bundles.xml import attribute, child_text, children, local_name, parse_xml
from formats.core.errors import ConvertError, CorruptError, LimitError, UnsupportedError
from formats.core.limits import DEFAULT_LIMITS, MIB, Limits
from formats.core.origin import Origin
from formats.core.source import MemorySource
from tests.images.ovf import package
from tests.images.volumes import opened

ORIGIN = Origin(("x.xml",))
_DOUBLED = "".join(f'<!ENTITY l{n} "&l{n - 1};&l{n - 1};">' for n in range(1, 40))
LAUGHS = f'<!DOCTYPE a [<!ENTITY l0 "ha">{_DOUBLED}]><a>&l39;</a>'
DOCUMENT_TYPES = {
    "entities that grow": LAUGHS,
    "a file": '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><a>&x;</a>',
    "an external definition": '<!DOCTYPE a SYSTEM "http://localhost/x.dtd"><a/>',
    "parameter entities": '<!DOCTYPE a [<!ENTITY % x SYSTEM "file:///etc/hostname"> %x;]><a/>',
    "nothing at all": "<!DOCTYPE a><a/>",
}


def _parse(text: bytes | str, limits: Limits = DEFAULT_LIMITS) -> object:
    data = text if isinstance(text, bytes) else text.encode()
    return parse_xml(MemorySource(data, ORIGIN), limits)


@pytest.mark.parametrize("name", DOCUMENT_TYPES)
def test_document_types_are_refused_whatever_is_in_them(name: str) -> None:
    with pytest.raises(UnsupportedError, match="document type"):
        _parse(DOCUMENT_TYPES[name])


def test_a_descriptor_cannot_pull_in_a_file_of_the_host(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("canary")
    doctype = f'<!DOCTYPE Envelope [<!ENTITY x SYSTEM "file://{tmp_path}/secret">]>'
    text = package(
        "a.vmdk", more="<AnnotationSection><Annotation>&x;</Annotation></AnnotationSection>"
    )
    path = tmp_path / "server.ovf"
    path.write_text(text.text().replace("?>\n", f"?>\n{doctype}"))
    with opened(path) as artifact:
        (node,) = artifact.nodes
        assert isinstance(node.problem, UnsupportedError)
        assert "canary" not in f"{node.problem} {node.facts} {node.machine}"


def test_elements_are_bounded_in_depth_and_number() -> None:
    with pytest.raises(LimitError, match="deeper"):
        _parse("<a>" * 65 + "</a>" * 65)
    _parse("<a>" * 64 + "</a>" * 64)
    with pytest.raises(LimitError, match="too many"):
        _parse("<a>" + "<b/>" * 100_000 + "</a>")


def test_documents_are_bounded_in_size() -> None:
    with pytest.raises(LimitError, match="bytes"):
        _parse(b"<a>" + b" " * 4 * MIB + b"</a>")


def test_a_million_attributes_take_no_time() -> None:
    attributes = " ".join(f'a{number}=""' for number in range(200_000))
    start = time.monotonic()
    _parse(f"<a {attributes}/>")
    assert time.monotonic() - start < 20


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "<a>",
        "<a></b>",
        "<a/><b/>",
        "a",
        "<a b='&lt;'",
        "<a>\0</a>",
        "<x:a/>",
        "<a>&n;</a>",
    ],
)
def test_what_is_no_xml_is_an_error(text: str) -> None:
    with pytest.raises(CorruptError, match="not sound XML"):
        _parse(text)


@pytest.mark.parametrize("name", ["zlib_codec", "rot13", "utf-7", "x" * 300, "shift_jis", "cp037"])
def test_encodings_that_are_none_of_xml_are_refused(name: str) -> None:
    with pytest.raises((UnsupportedError, CorruptError)):
        _parse(f'<?xml version="1.0" encoding="{name}"?><a/>')


@given(st.binary(max_size=200))
def test_any_bytes_give_an_element_or_a_typed_error(data: bytes) -> None:
    for text in (data, b"<a>" + data + b"</a>", b'<?xml version="1.0"?><a b="' + data + b'"/>'):
        try:
            _parse(text)
        except ConvertError:
            continue


def test_names_are_found_in_any_namespace_the_own_one_first() -> None:
    root = parse_xml(
        MemorySource(
            b'<o:a xmlns:o="urn:o" xmlns:p="urn:p" p:id="p" o:id="o" id="none">'
            b"<p:b> </p:b><o:b> text </o:b></o:a>",
            ORIGIN,
        ),
        DEFAULT_LIMITS,
    )
    assert local_name(root.tag) == "a"
    assert attribute(root, "id") == "o"
    assert len(list(children(root, "b"))) == 2
    assert child_text(root, "b") == "text"
    assert attribute(root, "none") is None
