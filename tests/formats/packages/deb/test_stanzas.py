"""Stanzas of fields; clauses of deb822(5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.core.errors import CorruptError, LimitError
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.packages.deb.stanzas import parse_stanza, read_stanzas

ORIGIN = Origin(("index",))


def test_names_of_fields_are_not_case_sensitive_and_blanks_do_not_count() -> None:
    assert parse_stanza(b"PackAge:\t x \nversion:1\n") == {"package": "x", "version": "1"}


def test_lines_that_continue_keep_their_blank() -> None:
    fields = parse_stanza(b"Description: short\n long\n .\n\tmore: yes")
    assert fields == {"description": "short\n long\n .\n\tmore: yes"}


def test_bytes_that_are_no_text_are_kept() -> None:
    assert parse_stanza(b"A: \xff")["a"].encode("utf-8", "surrogateescape") == b"\xff"


@pytest.mark.parametrize("text", [b"x", b": x", b"-a: x", b"#a: x", b" a: x", b"a: x\n\nb: y"])
def test_what_is_no_field_is_refused(text: bytes) -> None:
    with pytest.raises(CorruptError):
        parse_stanza(text)


@pytest.mark.parametrize(
    "between", [b"\n\n", b"\n \t\n", b"\n\n\n\n", b"\r\n\r\n", b"\n\n \n", b"\n \n\n\t\n"]
)
def test_empty_lines_are_between_stanzas(between: bytes) -> None:
    text = b"\n \nA: 1\nB: 2" + between + b"A: 3" + between
    assert [parse_stanza(stanza) for stanza in read_stanzas([text], ORIGIN)] == [
        {"a": "1", "b": "2"},
        {"a": "3"},
    ]


@given(st.lists(st.sampled_from([b"A: 1", b" x", b"\n", b"\n\n", b"\t", b"B: 2"])), st.data())
def test_where_blocks_end_does_not_matter(parts: list[bytes], data: st.DataObject) -> None:
    text = b"".join(parts)
    cut = data.draw(st.integers(0, len(text)))
    whole = list(read_stanzas([text], ORIGIN))
    assert list(read_stanzas([text[:cut], text[cut:]], ORIGIN)) == whole
    assert list(read_stanzas([bytes([byte]) for byte in text], ORIGIN)) == whole


def test_a_stanza_without_end_is_refused() -> None:
    endless = (b"A: " + b"x" * 1000 for _ in range(1 << 20))
    with pytest.raises(LimitError, match="a stanza of more than 10,000 bytes"):
        list(read_stanzas(endless, ORIGIN, Limits(descriptor_bytes=10_000)))
