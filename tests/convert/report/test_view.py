from __future__ import annotations

import pytest

from convert.report.html.facts import shown
from formats.core.origin import printable


@pytest.mark.parametrize("text", ["/etc/x:3 (rule)", r"a\x00b", "ü ≠ 漢", "<b>"])
def test_text_that_is_printable_is_shown_as_it_is(text: str) -> None:
    assert shown(text) == text


@pytest.mark.parametrize("text", ["\u202egnp", "a\nb", "\x1b[31m", "\udcff"])
def test_what_is_not_printable_is_escaped_as_everywhere(text: str) -> None:
    assert shown(text) == printable(text)
    assert shown(text).isprintable()


def test_a_path_of_bytes_is_escaped_whatever_it_is() -> None:
    assert shown(b"a\\b") == printable(b"a\\b") == r"a\\b"
    assert shown(b"\xff") == r"\xff"


def test_what_is_longer_than_anything_sensible_keeps_its_ends() -> None:
    found = shown(b"begin/" + b"\xff" * 4000 + b"/end")
    assert len(found) < 650
    assert found.startswith("begin/")
    assert found.endswith("/end")
