from __future__ import annotations

import pytest

from convert.report.severity import Severity, severity_of
from convert.secrets.kinds import all_kinds
from formats.core.finding import Action, Finding


@pytest.mark.parametrize("action", list(Action))
def test_what_a_rule_of_the_profile_does_is_routine(action: Action) -> None:
    assert severity_of(Finding("boot", b"x", action, "why"), by_rule=True) is Severity.LOW


@pytest.mark.parametrize("action", [Action.DROPPED, Action.EMPTIED])
def test_content_that_is_lost_by_no_rule_is_urgent(action: Action) -> None:
    finding = Finding("whiteout-name", b"x", action, "why")
    assert severity_of(finding, by_rule=False) is Severity.HIGH
    socket = Finding("socket", b"x", action, "why")
    assert severity_of(socket, by_rule=False) is Severity.LOW


def test_secrets_that_stay_are_urgent_unless_only_their_name_says_so() -> None:
    found = {
        kind.confidence: severity_of(
            Finding(kind.rule, b"x", Action.REPORTED, "why"), by_rule=False
        )
        for kind in all_kinds()
    }
    assert found == {"high": Severity.HIGH, "medium": Severity.HIGH, "low": Severity.MEDIUM}


def test_what_was_noticed_is_between_and_what_was_added_is_routine() -> None:
    noticed = Finding("volume-not-mounted", b"x", Action.REPORTED, "why")
    assert severity_of(noticed, by_rule=False) is Severity.MEDIUM
    added = Finding("runtime-folder", b"x", Action.ADDED, "why")
    assert severity_of(added, by_rule=False) is Severity.LOW
