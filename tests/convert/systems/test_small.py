"""Alpine with OpenRC, and a system installed by rpm: converted, started, asked, and stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.images.recipes.small_systems import (
    ALPINE_PORTS,
    PAGE,
    RPM_PORT,
    alpine,
    installed_by_rpm,
)
from tests.support.command import succeed
from tests.support.programs import run
from tests.support.running import Image, converted, running, user_of_disk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def image_of(disk: Path, folder: Path) -> Image:
    return converted(disk, folder / "out", "--compression=none")


def test_the_one_service_of_openrc_is_started_itself(tmp_path: Path) -> None:
    disk = alpine(tmp_path, "shop")
    image = image_of(disk, tmp_path)
    port = ALPINE_PORTS["shop"]
    assert image.config["Entrypoint"] == ["/usr/bin/nc"]
    assert image.ports == [port]
    with running(image, "alpine") as container:
        assert f"{PAGE} of shop" in container.got(port, "/")
        (process,) = container.processes()
    assert process.user_id == image.user == user_of_disk(disk, "nobody")


def test_of_several_services_openrc_starts_all_and_stops_all(tmp_path: Path) -> None:
    disk = alpine(tmp_path, *ALPINE_PORTS)
    image = image_of(disk, tmp_path)
    assert "container=lxc" in image.config["Env"]
    assert image.ports == sorted(ALPINE_PORTS.values())
    with running(image, "alpine-two") as container:
        for name, port in ALPINE_PORTS.items():
            assert f"{PAGE} of {name}" in container.got(port, "/")
        owners = {item.user_id for item in container.processes() if "/answer" in item.command}
        stop = container.stop()
        log = container.engine.log(container.name)
    assert owners == {user_of_disk(disk, "nobody")}
    assert stop.is_in_order, log
    assert "failed to start" not in log


def test_a_system_of_rpms_serves_as_its_unit_and_its_sysconfig_say(tmp_path: Path) -> None:
    disk = installed_by_rpm(tmp_path)
    image = image_of(disk, tmp_path)
    assert image.ports == [RPM_PORT]
    assert image.config["StopSignal"] == "SIGINT"
    with running(image, "rocky") as container:
        assert PAGE in container.got(RPM_PORT, "/")
        assert container.processes()[0].user_id == image.user == user_of_disk(disk, "shop")


def test_what_rpm_says_is_installed_is_what_is_found(tmp_path: Path) -> None:
    disk = installed_by_rpm(tmp_path)
    theirs = run("rpm", "--root", tmp_path / "root", "--define", "_dbpath /var/lib/rpm", "-qa")
    found = json.loads(succeed("inspect", "--json", disk))["decisions"]["found"]["installed"]
    assert sorted(theirs.stdout.decode().split()) == sorted(
        f"{item['name']}-{item['version']}.{item['architecture']}" for item in found
    )
