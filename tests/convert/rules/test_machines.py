"""Rules on whole disks: an init system that stays, and files that only seem to be large."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.command import succeed
from tests.support.programs import need, run

UNITS = "usr/lib/systemd/system"
SERVICE = "[Service]\nExecStart=/usr/bin/app\n"


def disk(place: Path, files: Mapping[str, str], links: Mapping[str, str]) -> Path:
    """Make an ext4 with systemd, or what passes for it, and these files and links."""
    need("mke2fs", "busybox")
    tree = place / "tree"
    for path, text in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    for path in ("usr/lib/systemd/systemd", "usr/bin/app"):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(shutil.which("busybox") or "", tree / path)
    for path, target in {"sbin/init": "/usr/lib/systemd/systemd", **links}.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).symlink_to(target)
    image = place / "disk.img"
    run("truncate", "-s", "24M", image)
    run("mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, image)
    return image


@pytest.fixture(scope="module")
def two_services(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine whose init system has to stay, because it starts two things."""
    wants = "etc/systemd/system/multi-user.target.wants"
    return disk(
        tmp_path_factory.mktemp("two"),
        {
            "etc/os-release": "ID=debian\nPRETTY_NAME=Debian\n",
            "etc/cloud/cloud.cfg": "x\n",
            f"{UNITS}/multi-user.target": "[Unit]\n",
            **{f"{UNITS}/{name}.service": SERVICE for name in ("a", "b", "qemu-guest-agent")},
            **{f"{UNITS}/{name}@.service": SERVICE for name in ("getty", "serial-getty")},
            f"{UNITS}/systemd-udevd.service": SERVICE,
        },
        {f"{wants}/{name}.service": f"/{UNITS}/{name}.service" for name in ("a", "b")},
    )


def links_of(tar: Path) -> dict[str, str]:
    with tarfile.open(tar) as archive:
        return {member.name: member.linkname for member in archive if member.issym()}


def test_an_init_system_that_stays_starts_no_consoles_devices_and_agents(
    two_services: Path, tmp_path: Path
) -> None:
    succeed("export", two_services, f"tar:{tmp_path}/t.tar")
    masked = {name for name, to in links_of(tmp_path / "t.tar").items() if to == "/dev/null"}
    assert masked == {
        f"etc/systemd/system/{unit}.service"
        for unit in ("getty@", "serial-getty@", "qemu-guest-agent", "systemd-udevd")
    }
    with tarfile.open(tmp_path / "t.tar") as archive:
        assert archive.getmember("etc/cloud/cloud-init.disabled").size == 0
        assert f"{UNITS}/qemu-guest-agent.service" in archive.getnames()


def test_each_mask_has_a_finding_and_is_in_the_plan(two_services: Path) -> None:
    plan = json.loads(succeed("plan", "--json", two_services))
    rules = ("console", "device-units", "guest-agents", "cloud-init")
    told = {item["path"] for item in plan["decisions"]["findings"] if item["rule"] in rules}
    planned = {item["path"] for item in plan["paths"] if item["action"] == "added"}
    assert told == planned
    assert len(told) == 5


@pytest.mark.parametrize(
    "options", [("--entrypoint", "/usr/bin/app"), ("--profile", "none"), ("--keep", "console")]
)
def test_no_console_is_masked_where_nobody_asks_for_it(
    options: tuple[str, ...], two_services: Path
) -> None:
    plan = json.loads(succeed("plan", "--json", *options, two_services))
    assert "console" not in {item["rule"] for item in plan["paths"]}


def test_records_of_logins_are_emptied_however_long_they_seem(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "var/log").mkdir(parents=True)
    with (tree / "var/log/lastlog").open("wb") as file:
        file.truncate(300 << 30)
    image = disk(tmp_path, {"etc/os-release": "ID=debian\n"}, {})
    succeed("export", "--keep", "logs", image, f"tar:{tmp_path}/t.tar")
    with tarfile.open(tmp_path / "t.tar") as archive:
        assert archive.getmember("var/log/lastlog").size == 0
