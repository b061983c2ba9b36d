"""A real Debian server with two workloads, split: both run from the same layers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.images.recipes.debian_pair import NGINX_AND_REDIS
from tests.images.recipes.debian_systems import disk_of
from tests.support.command import succeed
from tests.support.containers import podman
from tests.support.programs import need, run
from tests.support.running import Running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass(frozen=True, slots=True)
class Divided:
    """What ``run --split`` wrote: a layout, and a compose file beside it."""

    layout: Path

    @property
    def compose(self) -> dict[str, Any]:
        document: dict[str, Any] = yaml.safe_load(self.compose_file.read_text(encoding="utf-8"))
        return document

    @property
    def compose_file(self) -> Path:
        return self.layout.with_name("compose.yaml")

    def manifest(self, tag: str) -> dict[str, Any]:
        need("skopeo")
        found: dict[str, Any] = json.loads(
            run("skopeo", "inspect", "--raw", f"oci:{self.layout}:{tag}").stdout
        )
        return found


@pytest.fixture(scope="module")
def divided(tmp_path_factory: pytest.TempPathFactory) -> Divided:
    layout = tmp_path_factory.mktemp("split") / "shop"
    succeed("run", "-q", "--split", disk_of(NGINX_AND_REDIS), f"oci:{layout}")
    return Divided(layout)


@pytest.fixture(scope="module")
def started(divided: Divided) -> Iterator[dict[str, Running]]:
    """Start both as the compose file says: the first with a network that the second joins."""
    need("nsenter")
    with podman() as engine:
        for name, service in divided.compose["services"].items():
            mode = service.get("network_mode", "none").replace("service:", "container:")
            engine.start(f"oci:{divided.layout}:{name}", name, network=mode)
        yield {name: Running(engine, name) for name in divided.compose["services"]}


def test_both_images_have_the_same_layers_which_are_there_once(divided: Divided) -> None:
    pages, store = divided.manifest("nginx"), divided.manifest("redis-server")
    assert pages["layers"] == store["layers"]
    assert pages["config"] != store["config"]
    blobs = {path.name for path in divided.layout.glob("blobs/sha256/*")}
    assert len(blobs) == len(pages["layers"]) + 2 + 2


@pytest.mark.parametrize("tag", ["nginx", "redis-server"])
def test_every_claim_of_each_image_holds(divided: Divided, tag: str) -> None:
    disk = disk_of(NGINX_AND_REDIS)
    shown = succeed("verify", "--split", f"oci:{divided.layout}:{tag}", disk)
    assert "every path with the source" in shown


def test_other_tools_list_both_by_the_names_of_their_services(divided: Divided) -> None:
    need("umoci")
    listed = run("umoci", "ls", "--layout", divided.layout).stdout.decode().split()
    assert sorted(listed) == ["nginx", "redis-server"]


def test_both_answer_at_once_each_on_its_own_port(started: dict[str, Running]) -> None:
    assert "forty-two pages" in started["nginx"].got(8084, "/")
    answer = started["redis-server"].asked(6380, "GET greeting\r\nQUIT\r\n")
    assert "forty-two beans" in answer


def test_one_reaches_the_other_where_the_machine_had_it(started: dict[str, Running]) -> None:
    assert "PONG" in started["nginx"].ran("redis-cli", "-h", "127.0.0.1", "-p", "6380", "PING")


def test_each_passes_the_check_that_the_compose_file_has_for_it(
    divided: Divided, started: dict[str, Running]
) -> None:
    for name, service in divided.compose["services"].items():
        how, *command = service["healthcheck"]["test"]
        assert how == "CMD"
        started[name].ran(*command)


def test_the_compose_file_starts_them_in_the_order_of_their_units(divided: Divided) -> None:
    services = divided.compose["services"]
    assert list(services) == ["redis-server", "nginx"]
    assert services["nginx"]["depends_on"] == {"redis-server": {"condition": "service_healthy"}}
    assert services["nginx"]["stop_signal"] == "SIGQUIT"
    assert sorted(services["redis-server"]["ports"]) == ["6380:6380", "8084:8084"]
    assert "var-lib-redis:/var/lib/redis" in services["redis-server"]["volumes"]


def test_podman_compose_reads_the_file_as_it_is_meant(divided: Divided) -> None:
    need("podman")
    command = (sys.executable, "-m", "podman_compose", "--file", divided.compose_file, "config")
    read = yaml.safe_load(run(*command).stdout.decode())
    assert set(read["services"]) == {"nginx", "redis-server"}
    assert read["services"]["nginx"]["network_mode"] == "service:redis-server"
    assert set(read["volumes"]) == set(divided.compose["volumes"])


def test_each_ends_in_order_by_its_own_signal(started: dict[str, Running]) -> None:
    for name in ("nginx", "redis-server"):
        assert started[name].stop().is_in_order
