"""Relations between packages; clauses of deb-control(5) and Policy 7.1."""

from __future__ import annotations

import pytest

from formats.core.errors import CorruptError
from formats.core.package import Operator, Relation, Requirement
from formats.packages.deb.relations import parse_relations, parse_requirements


def test_alternatives_stay_in_their_order() -> None:
    assert parse_requirements("a|b (>= 1) | c:any", "Depends") == (
        Requirement(
            (
                Relation("a"),
                Relation("b", Operator.AT_LEAST, "1"),
                Relation("c", architecture="any"),
            )
        ),
    )


def test_a_field_may_be_folded_and_have_a_comma_too_many() -> None:
    wanted = parse_requirements("a,\n b (= 1:2-3),\n ,c,", "Recommends")
    assert [str(requirement) for requirement in wanted] == ["a", "b (= 1:2-3)", "c"]
    assert {requirement.when for requirement in wanted} == {"Recommends"}


@pytest.mark.parametrize(
    ("written", "operator"),
    [
        ("<<", Operator.LESS),
        ("<", Operator.AT_MOST),
        ("<=", Operator.AT_MOST),
        ("=", Operator.EQUAL),
        ("", Operator.EQUAL),
        (">=", Operator.AT_LEAST),
        (">", Operator.AT_LEAST),
        (">>", Operator.GREATER),
    ],
)
def test_operators_of_old_packages_mean_what_dpkg_takes_them_for(
    written: str, operator: Operator
) -> None:
    assert parse_relations(f"x({written}1.0)") == (Relation("x", operator, "1.0"),)


def test_relations_are_written_as_they_were() -> None:
    text = "a | b:amd64 (<< 2~)"
    assert str(parse_requirements(text, "Depends")[0]) == text


@pytest.mark.parametrize(
    "text", ["a b", "(>= 1)", "a (1 2)", "a (=> 1)", "a (= )", "a (>= 1", "a:", "../a", "a|", "ä"]
)
def test_what_is_no_relation_is_refused(text: str) -> None:
    with pytest.raises(CorruptError, match="makes no sense"):
        parse_requirements(text, "Depends")


@pytest.mark.timeout(10)
@pytest.mark.parametrize("text", ["a{}!", "a ({}!", "a (={}!", "a (= 1{}!"])
def test_a_long_run_of_blanks_takes_no_longer_than_other_text(text: str) -> None:
    with pytest.raises(CorruptError, match="makes no sense"):
        parse_requirements(text.format(" " * 500_000), "Depends")
