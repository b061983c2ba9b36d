"""Texts of descriptors are safe to show, and secrets among them are not shown."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.bundles.texts import clean, clean_facts, clean_line, clean_machine, looks_secret
from formats.core.machine import Machine


@given(st.text(st.characters()))
def test_cleaned_texts_are_printable_and_can_be_written(text: str) -> None:
    for character in clean(text):
        assert character.isprintable() or character in "\n\t"
    assert clean_line(text).isprintable()
    clean(text).encode("utf-8")


@given(st.text(st.characters()), st.text(st.characters()))
def test_machines_can_be_written_whatever_they_say(first: str, second: str) -> None:
    machine = clean_machine(Machine(first, second, first, second, first, {first: second}))
    texts = [machine.name, machine.title, machine.licence, dict(machine.properties)]
    json.dumps(texts, ensure_ascii=False).encode("utf-8")


def test_text_that_is_plain_stays_as_it_is() -> None:
    assert clean("Größe\n\tC:\\x\r\n服务器") == "Größe\n\tC:\\x\n服务器"


def test_facts_without_a_value_are_none() -> None:
    assert clean_facts({"a": "x\ny", "b": " ", "c": ""}) == {"a": "x y"}


@pytest.mark.parametrize(
    ("key", "is_secret"),
    [
        ("admin_password", True),
        ("vm.passwd", True),
        ("API-Key", True),
        ("guestinfo.token", True),
        ("license_key", True),
        ("hostname", False),
        ("key", False),
    ],
)
def test_settings_named_like_secrets_are_known(key: str, *, is_secret: bool) -> None:
    assert looks_secret(key) is is_secret
