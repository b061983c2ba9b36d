"""Versions, against what dpkg says of them."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.core.package import Operator
from formats.packages.deb.version import compare, is_version, satisfies, version_key
from tests.support.programs import need, run

ASCENDING = [
    "0",
    "1.0~~",
    "1.0~~a",
    "1.0~",
    "1.0",
    "1.0-1~bpo1",
    "1.0-1",
    "1.0-1+b1",
    "1.0a",
    "1.0+",
    "1.0.1",
    "1.00002",
    "1.9",
    "1.10",
    "2:0.1",
    "10:0",
]


def made_up(chance: random.Random) -> str:
    epoch = chance.choice(["", "", "", "0:", "1:"])
    return epoch + "1" + "".join(chance.choices("0012ab~+.-Z", k=chance.randint(0, 6)))


def test_versions_sort_as_the_specification_has_them() -> None:
    keys = list(map(version_key, ASCENDING))
    assert all(one < other for one, other in itertools.pairwise(keys))


def test_made_up_versions_compare_as_dpkg_has_it() -> None:
    need("dpkg")
    chance = random.Random(20)
    pairs: list[tuple[str, str]] = []
    while len(pairs) < 250:
        one = made_up(chance)
        other = made_up(chance) if chance.random() < 0.6 else one + chance.choice("0~a+.")
        if is_version(one) and is_version(other):
            pairs.append((one, other))
    words = {-1: "lt", 0: "eq", 1: "gt"}
    lines = [f"{one} {words[compare(one, other)]} {other}" for one, other in pairs]
    checks = "\n".join(f"dpkg --compare-versions {line} || echo '{line}'" for line in lines)
    assert run("sh", "-c", checks).stdout.decode() == ""


@pytest.mark.parametrize(
    ("operator", "holds"),
    [
        (Operator.ANY, [True, True, True]),
        (Operator.LESS, [True, False, False]),
        (Operator.AT_MOST, [True, True, False]),
        (Operator.EQUAL, [False, True, False]),
        (Operator.AT_LEAST, [False, True, True]),
        (Operator.GREATER, [False, False, True]),
    ],
)
def test_operators_mean_what_they_say(operator: Operator, holds: list[bool]) -> None:
    assert [satisfies(version, operator, "1.5") for version in ("1.4", "1.5", "1.6")] == holds


@pytest.mark.parametrize("pair", [("1", "0:1"), ("1.0", "1.00"), ("1", "1-0"), ("1a", "1a0")])
def test_some_versions_are_written_in_several_ways(pair: tuple[str, str]) -> None:
    assert compare(*pair) == 0


@pytest.mark.parametrize(
    "text", ["", "a b", "1/2", "1_2", ":1", "x:1", "-1", "1-", "12345678901:1", "1" * 2000, "1\n"]
)
def test_what_is_no_version_is_told(text: str) -> None:
    assert not is_version(text)


def test_numbers_of_any_length_compare() -> None:
    assert compare("1" * 9000, "1" * 8999 + "2") == -1


@given(st.text(), st.text())
def test_any_texts_compare(one: str, other: str) -> None:
    assert compare(one, other) == -compare(other, one)
