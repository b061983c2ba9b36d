"""Compose files: what they say of services, and that every reader of YAML reads the same."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from convert.oci.config import ImageConfig
from convert.oci.descriptor import Platform
from convert.services.compose import (
    ComposeService,
    Yaml,
    compose_document,
    compose_name,
    names_of,
    yaml_of,
)
from convert.services.order import Care


def service(
    name: str,
    *behind: str,
    health: tuple[str, ...] | None = None,
    hidden: frozenset[str] = frozenset(),
    config: ImageConfig | None = None,
    care: Care | None = None,
) -> ComposeService:
    return ComposeService(
        name,
        f"localhost/x:{compose_name(name)}",
        config or ImageConfig(Platform("amd64")),
        care or Care(frozenset(behind)),
        health,
        hidden,
    )


def config(**fields: Any) -> ImageConfig:
    return ImageConfig(Platform("amd64"), **fields)


def document(*services: ComposeService) -> Any:
    """Return a compose file as a reader of YAML sees it."""
    return yaml.safe_load(yaml_of(compose_document(services)))


def test_a_service_alone_has_its_own_network_and_run_folder() -> None:
    found = document(service("web", config=config(exposed_ports=("80/tcp", "53/udp"))))
    assert found == {
        "services": {
            "web": {
                "image": "localhost/x:web",
                "ports": ["80:80", "53:53/udp"],
                "stop_grace_period": "90s",
                "restart": "unless-stopped",
            }
        }
    }


def test_services_of_one_machine_share_its_network_and_all_ports_are_at_the_first() -> None:
    web = service("web", "db", config=config(exposed_ports=("80/tcp",)))
    found = document(web, service("db", config=config(exposed_ports=("5432/tcp",))))["services"]
    assert list(found) == ["db", "web"]
    assert found["db"]["ports"] == ["80:80", "5432:5432"]
    assert found["web"]["network_mode"] == "service:db"
    assert found["web"]["volumes"] == found["db"]["volumes"] == ["run:/run"]
    assert "ports" not in found["web"]


def test_a_service_waits_for_the_health_of_what_has_a_check() -> None:
    found = document(
        service("db", health=("pg_isready", "$x")),
        service("web", "db", "log"),
        service("log"),
    )["services"]
    assert found["web"]["depends_on"] == {
        "db": {"condition": "service_healthy"},
        "log": {"condition": "service_started"},
    }
    assert found["db"]["healthcheck"]["test"] == ["CMD", "pg_isready", "$$x"]


def test_circles_are_broken_and_each_service_is_there_once() -> None:
    found = document(service("a", "c"), service("b", "a"), service("c", "b"))["services"]
    assert list(found) == ["a", "b", "c"]
    assert "depends_on" not in found["a"]
    assert list(found["c"]["depends_on"]) == ["a", "b"]


def test_volumes_have_names_that_two_services_with_one_folder_share() -> None:
    both = config(volumes=("/srv/data",))
    found = document(service("a", config=both), service("b", config=both))
    assert found["volumes"] == {"srv-data": None, "run": None}
    assert found["services"]["b"]["volumes"] == ["srv-data:/srv/data", "run:/run"]


def test_variables_are_there_but_for_secrets_and_nothing_is_filled_in_by_compose() -> None:
    own = config(env=("PATH=/bin", "PRICE=5$", "TOKEN=hunter2"))
    text = yaml_of(compose_document([service("a", config=own, hidden=frozenset({"TOKEN"}))]))
    assert yaml.safe_load(text)["services"]["a"]["environment"] == {"PRICE": "5$$"}
    assert "hunter2" not in text
    assert "TOKEN" not in text


def test_how_a_service_is_stopped_and_started_again_is_as_its_manager_did() -> None:
    care = Care(frozenset(), "on-failure", 5)
    found = document(service("a", config=config(stop_signal="SIGQUIT"), care=care))["services"]["a"]
    assert found["stop_signal"] == "SIGQUIT"
    assert found["stop_grace_period"] == "5s"
    assert found["restart"] == "on-failure"


@pytest.mark.parametrize(
    "value",
    [
        "1e3",
        "0o17",
        "017",
        "yes",
        "no",
        "null",
        "~",
        "22:22",
        "2001-01-01",
        ".5",
        "1_000",
        "=",
        "-",
    ],
)
def test_what_yaml_could_take_for_something_else_is_quoted(value: str) -> None:
    fields: dict[str, Yaml] = {"value": value}
    text = yaml_of(fields)
    assert text in {f'value: "{value}"\n', f"value: '{value}'\n"}


@pytest.mark.parametrize(
    "value", ["a\nb: c", "a # b", "\x85", "\u2028", "'", '"', "é", "{}", "- a"]
)
def test_values_come_back_as_they_were(value: str) -> None:
    fields: dict[str, Yaml] = {"value": value}
    assert yaml.safe_load(yaml_of(fields)) == fields


@pytest.mark.parametrize(
    ("name", "shown"),
    [("postgresql@15-main", "postgresql-15-main"), ("Shop.App", "shop-app"), ("é", "service")],
)
def test_services_get_names_that_compose_takes(name: str, shown: str) -> None:
    assert compose_name(name) == shown


def test_no_two_services_get_one_name() -> None:
    assert list(names_of(["a@b", "a-b", "A.b", "a-b-2"]).values()) == [
        "a-b", "a-b-2", "a-b-3", "a-b-2-2",
    ]  # fmt: skip
