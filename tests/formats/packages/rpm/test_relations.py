"""Tests of relations between rpm packages; examples are those of rpm's "Boolean Dependencies"."""

from __future__ import annotations

import pytest

from formats.core.errors import CorruptError
from formats.packages.rpm.relations import Requirements, Sensed, names_in, requirements


def _boolean(text: str) -> Requirements:
    return requirements([("Requires", Sensed(text, 0, ""))])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(pkgA >= 3.2 or pkgB)", ["pkgA (>= 3.2) | pkgB"]),
        ("(pkgA or pkgB or pkgC)", ["pkgA | pkgB | pkgC"]),
        ("(pkgA or (pkgB and pkgC))", ["pkgA | pkgB", "pkgA | pkgC"]),
        ("(pkgA and pkgB < 1:2-3)", ["pkgA", "pkgB (<< 1:2-3)"]),
        ("((a or b) and (c or d))", ["a | b", "c | d"]),
        (
            "(libc.so.6(GLIBC_2.34)(64bit) or perl(A::B))",
            ["libc.so.6(GLIBC_2.34)(64bit) | perl(A::B)"],
        ),
        ("(/usr/bin/a or b(x86-64) = 1)", ["/usr/bin/a | b(x86-64) (= 1)"]),
        ("( a  or  b )", ["a | b"]),
    ],
)
def test_and_and_or_are_said_exactly(text: str, expected: list[str]) -> None:
    found = _boolean(text)
    assert [str(one) for one in found.met] == expected
    assert not found.unread


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(pkgA if pkgB)", []),
        ("(a-mariadb if mariadb else sqlite)", []),
        ("((a if b) and c)", ["c"]),
        ("((a if b) or c)", []),
        ("(pkgA with capB)", ["pkgA", "capB"]),
        ("(pkgA without capB)", ["pkgA"]),
        ("((pkgA with capB) or (pkgB without capA))", ["pkgA | pkgB", "capB | pkgB"]),
        ("((driverA and driverA-tools) unless driverB)", []),
    ],
)
def test_what_is_not_said_exactly_is_told(text: str, expected: list[str]) -> None:
    found = _boolean(text)
    assert [str(one) for one in found.met] == expected
    assert found.unread == (f"Requires: {text}",)


@pytest.mark.parametrize(
    "text",
    [
        "(",
        "()",
        "(a",
        "(a or)",
        "(a or b))",
        "(a or b and c)",
        "(or a)",
        "(a >=)",
        "(a b)",
        "(a >= 1 2)",
        "(" * 100 + "a" + ")" * 100,
        "(" + " or ".join("a" * 9 for _ in range(4000)) + ")",
    ],
)
def test_nonsense_is_an_error(text: str) -> None:
    with pytest.raises(CorruptError):
        _boolean(text)


def test_nested_dependencies_cannot_grow_without_end() -> None:
    pairs = " or ".join(f"(a{number} and b{number})" for number in range(40))
    found = _boolean(f"({pairs})")
    assert found.met == ()
    assert found.unread


def test_names_of_conditions_are_marked_as_rpm_marks_them() -> None:
    assert names_in("(a if b else c)") == ("a", "b", "c", "!b")
    assert names_in("(a >= 1 unless b)") == ("a", "!b")
