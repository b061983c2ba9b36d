"""JSON documents: one canonical form out, nothing ambiguous in."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert.oci.documents import DOCUMENT_BYTES, Document, JsonValue, decode, decode_list, encode
from formats.core.errors import CorruptError, LimitError
from formats.core.origin import Origin

ORIGIN = Origin(("x",))
_NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
_LEAVES = st.none() | st.booleans() | st.text() | _NUMBERS
VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def read(data: bytes) -> Document:
    return decode(data, "the index", ORIGIN)


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


def test_the_canonical_form_is_sorted_without_spaces_and_in_utf8() -> None:
    assert encode({"b": [1, None], "a": "é\n"}) == b'{"a":"\xc3\xa9\\n","b":[1,null]}'


@given(st.dictionaries(st.text(), VALUES, max_size=3))
def test_what_was_written_reads_the_same(value: dict[str, JsonValue]) -> None:
    data = encode(value)
    assert read(data).values == value
    assert encode(read(data).values) == data


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b"null", "is not a JSON object"),
        (b'{"a":1}x', "is not JSON"),
        (b'\xef\xbb\xbf{"a":1}', "is not JSON"),
        (b'{"a":"\xff"}', "is not JSON"),
        (b'{"a":1,"a":2}', "a key twice"),
        (b'{"b":{"a":1,"\\u0061":2}}', "a key twice"),
        (b'{"a":NaN}', "is not a JSON number"),
        (b'{"a":-Infinity}', "is not a JSON number"),
        (b'{"a":1e999}', "cannot be written again"),
        (b'{"a":"\\ud800"}', "cannot be written again"),
        (b'{"a":' + b"1" * 5000 + b"}", "is not JSON"),
        (nested(65), "nested deeper"),
        (nested(200_000), "is not JSON|nested deeper"),
        (b'{"a":' + b"[" * 500_000, "is not JSON"),
    ],
)
def test_a_document_that_two_clients_could_read_differently_is_refused(
    data: bytes, problem: str
) -> None:
    with pytest.raises(CorruptError, match=problem):
        read(data)


def test_a_document_may_be_64_levels_deep() -> None:
    assert json.loads(nested(64)) == read(nested(64)).values


def test_a_document_has_four_mebibytes_at_the_most() -> None:
    filling = b" " * (DOCUMENT_BYTES - 2)
    assert read(b"{" + filling + b"}").values == {}
    with pytest.raises(LimitError, match="more than 4,194,304"):
        read(b"{ " + filling + b"}")


@given(st.binary())
def test_bytes_are_a_document_or_corrupt(data: bytes) -> None:
    try:
        read(data)
    except CorruptError:
        return
    assert isinstance(json.loads(data), dict)


FIELDS = read(
    b'{"t":"x","n":7,"b":true,"o":{"i":1},"l":["x"],"ol":[{}],"null":null,"neg":-1,"f":1.5}'
)


def test_members_are_given_as_what_they_are() -> None:
    assert FIELDS.text("t") == "x"
    assert FIELDS.integer("n") == 7
    assert FIELDS.flag("b") is True
    assert FIELDS.object("o").integer("i") == 1
    assert FIELDS.texts("l") == ["x"]
    assert [item.values for item in FIELDS.objects("ol")] == [{}]


@pytest.mark.parametrize("key", ["null", "absent"])
def test_null_counts_as_absent(key: str) -> None:
    assert FIELDS.optional_text(key) is None
    assert FIELDS.optional_object(key) is None
    assert FIELDS.flag(key) is False
    assert FIELDS.texts(key) == []
    assert FIELDS.mapping(key) == {}


@pytest.mark.parametrize(
    ("method", "key"),
    [("text", key) for key in ("n", "o", "l", "null", "absent")]
    + [("integer", key) for key in ("t", "b", "f", "neg", "null", "absent")]
    + [("flag", key) for key in ("t", "n")]
    + [("object", key) for key in ("t", "l", "null", "absent")]
    + [("objects", key) for key in ("t", "l", "o", "null", "absent")]
    + [("texts", key) for key in ("t", "ol", "o")]
    + [("mapping", key) for key in ("t", "o")],
)
def test_a_member_that_is_something_else_is_named(method: str, key: str) -> None:
    with pytest.raises(CorruptError, match=r"the index.*: '"):
        getattr(FIELDS, method)(key)


def test_an_integer_has_63_bits_at_the_most() -> None:
    assert read(b'{"n":9223372036854775807}').integer("n") == 2**63 - 1
    with pytest.raises(CorruptError, match="out of range"):
        read(b'{"n":9223372036854775808}').integer("n")


def test_a_list_of_objects_is_read_as_strictly() -> None:
    assert [item.values for item in decode_list(b'[{"a":1}]', "the list", ORIGIN)] == [{"a": 1}]
    for data in (b"{}", b"[1]", b'[{"a":1,"a":1}]', b'[],"items":[]'):
        with pytest.raises(CorruptError):
            decode_list(data, "the list", ORIGIN)
