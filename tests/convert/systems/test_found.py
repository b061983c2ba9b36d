"""What inspection says of real Debian systems, beside what it starts."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.images.recipes.debian_systems import System, disk_of
from tests.images.recipes.debian_workloads import (
    APACHE_WITH_PHP,
    NODE_APPLICATION,
    PYTHON_APPLICATION,
    TOMCAT,
)
from tests.support.command import succeed
from tests.support.programs import need, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

APPLICATIONS: dict[str, tuple[System, str, str, str]] = {
    # kind, path, and the package whose version the runtime has
    "PHP": (APACHE_WITH_PHP, "php-site", "/srv/shop", "php8.2-common"),
    "Tomcat": (TOMCAT, "tomcat-webapp", "/var/lib/tomcat10/webapps/shop", "tomcat10"),
    "Python": (PYTHON_APPLICATION, "python-venv", "/opt/shop/venv", "python3.11-minimal"),
    "Node": (NODE_APPLICATION, "node", "/srv/notes", "nodejs"),
}


@cache
def _found(disk: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(succeed("inspect", "--json", disk))
    found: dict[str, Any] = document["decisions"]["found"]
    return found


@pytest.mark.parametrize("language", APPLICATIONS)
def test_its_application_is_the_only_one_found(language: str) -> None:
    system, kind, path, package = APPLICATIONS[language]
    found = _found(disk_of(system))
    (application,) = found["applications"]
    assert (application["kind"], application["path"]) == (kind, path)
    versions = {item["name"]: item["version"] for item in found["installed"]}
    name, stated = application["runtime"].split()[:2]
    assert name in {"php", "tomcat", "python", "node"}
    assert versions[package].startswith(stated)


@pytest.mark.parametrize("language", APPLICATIONS)
def test_what_the_distribution_brings_is_no_obstacle(language: str) -> None:
    assert _found(disk_of(APPLICATIONS[language][0]))["obstacles"] == []


def test_its_packages_are_those_that_its_own_dpkg_lists() -> None:
    need("debugfs")
    disk = disk_of(TOMCAT)
    found = _found(disk)["installed"]
    status = run("debugfs", "-R", "cat /var/lib/dpkg/status", disk).stdout
    listed = sorted(
        line.removeprefix(b"Package: ").decode()
        for line in status.splitlines()
        if line.startswith(b"Package: ")
    )
    assert sorted(item["name"] for item in found) == listed
