"""Tests of how versions of rpm packages compare, against rpm itself."""

from __future__ import annotations

import random

import pytest

from formats.core.package import Operator, Relation
from formats.packages.rpm.version import compare, overlaps, satisfies, version_key
from tests.support.programs import need, run

_PIECES = ("0", "1", "01", "9", "10", "a", "b", "Z", "rc", "~", "^", ".", "_", "+", "..", "é")


def _rpm_compares(pairs: list[tuple[str, str]]) -> list[int]:
    need("rpm")
    calls = "".join(f'print(rpm.vercmp("{one}", "{other}") .. " ")' for one, other in pairs)
    printed = run("rpm", "--eval", f"%{{lua:{calls}}}").stdout.decode()
    return [int(word) for word in printed.split()]


def _some_version(source: random.Random) -> str:
    version = "".join(source.choices(_PIECES, k=source.randint(1, 6))) or "1"
    epoch = source.choice(("", "", "0:", "1:", "12:"))
    release = source.choice(("", "-1", "-2.fc9", "-0~1"))
    return epoch + version + release


def test_versions_compare_as_for_rpm() -> None:
    source = random.Random(5)
    pairs = [(_some_version(source), _some_version(source)) for _ in range(1500)]
    assert [compare(one, other) for one, other in pairs] == _rpm_compares(pairs)


def test_nearly_equal_versions_compare_as_for_rpm() -> None:
    source = random.Random(6)
    pairs = []
    for _ in range(1000):
        one = _some_version(source)
        place = source.randrange(len(one) + 1)
        pairs.append((one, one[:place] + source.choice(_PIECES) + one[place:]))
    pairs = [pair for pair in pairs if "é" not in pair[0] + pair[1]]
    assert [compare(one, other) for one, other in pairs] == _rpm_compares(pairs)


@pytest.mark.parametrize(
    "versions",
    [
        ("1.0~rc1", "1.0", "1.0^git1", "1.0.1"),
        ("1.0", "1.0-1", "1.0-1.1", "1.0-2"),
        ("9.9.9-9", "1:0.1"),
        ("1.0a", "1.0.1"),
        ("5.5", "5.10"),
    ],
)
def test_versions_sort(versions: tuple[str, ...]) -> None:
    moved = [*versions[1:], versions[0]]
    assert sorted(moved, key=version_key) == list(versions)


@pytest.mark.parametrize(
    ("version", "operator", "wanted", "expected"),
    [
        ("2.1-3", Operator.EQUAL, "2.1", True),
        ("2.1-3", Operator.EQUAL, "2.1-4", False),
        ("2.1-3", Operator.LESS, "2.1", False),
        ("2.1-3", Operator.AT_MOST, "2.1", True),
        ("2.1-3", Operator.GREATER, "2.1-2", True),
        ("1:1.0-1", Operator.AT_LEAST, "9.0", True),
        ("1.0-1", Operator.AT_LEAST, "1:0.5", False),
        ("2.1", Operator.AT_LEAST, "2.1-7", True),
    ],
)
def test_a_release_counts_where_both_have_one(
    version: str, operator: Operator, wanted: str, *, expected: bool
) -> None:
    assert satisfies(version, operator, wanted) is expected


@pytest.mark.parametrize(
    ("provided", "wanted", "expected"),
    [
        (Relation("a"), Relation("a", Operator.GREATER, "7"), True),
        (Relation("a", Operator.AT_LEAST, "2"), Relation("a", Operator.EQUAL, "3"), True),
        (Relation("a", Operator.AT_LEAST, "2"), Relation("a", Operator.EQUAL, "1"), False),
        (Relation("a", Operator.LESS, "2"), Relation("a", Operator.AT_LEAST, "2"), False),
        (Relation("a", Operator.LESS, "2"), Relation("a", Operator.LESS, "2"), True),
        (Relation("a", Operator.LESS, "2"), Relation("a", Operator.GREATER, "1"), True),
        (Relation("a", Operator.AT_MOST, "2"), Relation("a", Operator.AT_LEAST, "2"), True),
        (Relation("a", Operator.GREATER, "2"), Relation("a", Operator.EQUAL, "2"), False),
    ],
)
def test_what_is_provided_may_be_a_range(
    provided: Relation, wanted: Relation, *, expected: bool
) -> None:
    assert overlaps(provided, wanted) is expected
    assert overlaps(wanted, provided) is expected
