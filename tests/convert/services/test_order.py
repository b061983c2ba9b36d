"""In which order services start, and how their managers treat them."""

from __future__ import annotations

import pytest

from convert.inspect.guest import Guest
from convert.inspect.tree import inspect_tree
from convert.services.health import health_check
from convert.services.order import Care, care_of, in_order, seconds
from formats.core.tree import TreeIndex
from tests.support.guests import SYSTEM, guest_index, service
from tests.support.memory_tree import memory_tree


def cares(units: dict[str, str]) -> dict[str, Care]:
    index = guest_index(units, None, SYSTEM)
    return care_of(inspect_tree(index).services, Guest(index))


def unit(*lines: str, more: tuple[str, ...] = ()) -> str:
    return "\n".join(["[Unit]", *lines, service("/usr/bin/app", *more)])


@pytest.mark.parametrize("key", ["After", "Requires", "Wants", "BindsTo"])
def test_a_unit_starts_behind_those_that_it_names(key: str) -> None:
    found = cares(
        {"a.service": unit(f"{key}=network.target b.service x.service"), "b.service": unit()}
    )
    assert found["a"].behind == {"b"}
    assert found["b"].behind == frozenset()


def test_an_empty_setting_forgets_what_was_named_before() -> None:
    found = cares({"a.service": unit("After=b.service", "After="), "b.service": unit()})
    assert found["a"].behind == frozenset()


def test_the_name_of_a_template_stands_for_its_instances() -> None:
    found = cares({"a.service": unit("After=db.service"), "db@1.service": unit()})
    assert found["a"].behind == {"db@1"}


@pytest.mark.parametrize(
    ("stated", "restart"),
    [("always", "always"), ("on-failure", "on-failure"), ("on-abort", "on-failure"), ("no", None)],
)
def test_a_service_is_started_again_as_its_unit_says(stated: str, restart: str | None) -> None:
    found = cares({"a.service": unit(more=(f"Restart={stated}", "TimeoutStopSec=1min 5s"))})
    assert found["a"] == Care(frozenset(), restart, 65)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", 5),
        ("5min 20s", 320),
        ("1h", 3600),
        ("200ms", 1),
        ("infinity", None),
        ("0", None),
        ("5 parsecs", None),
        ("", None),
        ("9" * 400, 3600),
    ],
)
def test_time_spans_are_whole_seconds_within_an_hour(text: str, expected: int | None) -> None:
    assert seconds(text) == expected


def test_services_that_wait_for_nobody_come_first_and_circles_end() -> None:
    found = {"a": Care(frozenset({"b"})), "b": Care(frozenset({"a"})), "c": Care()}
    assert in_order(found) == ["c", "a", "b"]


def test_a_check_needs_its_program_in_the_image_and_a_port_where_it_asks_one() -> None:
    index = TreeIndex(memory_tree("f 755 0:0 usr/bin/redis-cli x\nf 644 0:0 usr/bin/curl x\n"))
    assert health_check("redis@cache", [6380, 1], index) == ("redis-cli", "-p", "6380", "ping")
    assert health_check("redis", [], index) is None
    assert health_check("nginx", [80], index) is None
    assert health_check("unheard-of", [80], index) is None
