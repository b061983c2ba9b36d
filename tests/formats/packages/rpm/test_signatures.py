"""Tests of what signatures say of themselves, against rpm."""

from __future__ import annotations

import pytest

from formats.core.origin import Origin
from formats.core.source import FileSource
from formats.packages.rpm import tags
from formats.packages.rpm.header import Header
from formats.packages.rpm.package import read_headers
from formats.packages.rpm.signatures import signatures_of
from tests.formats.packages.rpm.support import CORPUS_RPMS, query
from tests.images import rpm as images
from tests.support.programs import corpus

_TAGS = ("RSAHEADER", "DSAHEADER", "SIGPGP", "SIGGPG")


@pytest.mark.parametrize("name", CORPUS_RPMS)
def test_signatures_are_those_that_rpm_shows(name: str) -> None:
    package = corpus(f"rpm/{name}")
    shown = query(package, "".join(f"%{{{tag}:pgpsig}}\n" for tag in _TAGS))
    theirs = {
        line.rpartition(" ")[2] for line in shown.splitlines() if line != "(none)" and " " in line
    }
    source = FileSource(package)
    found = signatures_of(read_headers(source).signature)
    source.close()
    assert theirs <= {one.key for one in found}
    for line in shown.splitlines():
        if "Key ID" in line:
            assert line.split(",")[0].split("/")[1] in {
                one.algorithm.split("/")[1] for one in found
            }


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0",
        b"\x89",
        b"\x89\x01",
        b"\x89\x00\x05\x03\x05\0",
        b"\x88\x04\x04\0\x01\x08\xff\xff",
        b"\x88\x09\x04\0\x01\x08\0\x02\x00\x00\0\0",
        b"\xff" * 64,
    ],
)
def test_a_signature_without_sense_is_named(raw: bytes) -> None:
    blob = images.header([images.Tag(tags.SIG_RSA, images.BINARY, raw)])
    (found,) = signatures_of(Header(blob[8:], Origin(("x",))))
    assert "makes no sense" in found.algorithm


def test_a_signature_that_is_no_base64_is_named() -> None:
    blob = images.header([images.strings(tags.SIG_OPENPGP, "%%%")])
    (found,) = signatures_of(Header(blob[8:], Origin(("x",))))
    assert "makes no sense" in found.algorithm
