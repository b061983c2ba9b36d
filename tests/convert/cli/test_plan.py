from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import convert, succeed
from tests.support.programs import need, run


def plan(disk: Path, *options: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(succeed("plan", "--json", disk, *options))
    return document


def tree_of(disk: Path, folder: Path, *options: str) -> set[str]:
    """Return what tar lists of the tree that an image would get."""
    archive = folder / f"{len(options)}.tar"
    succeed("export", "-q", disk, f"tar:{archive}", *options)
    listed = run("tar", "-tf", archive).stdout.decode().splitlines()
    return {line.removeprefix("./").rstrip("/") for line in listed}


@pytest.mark.parametrize("profile", ["container", "strict"])
def test_the_paths_that_are_dropped_are_those_that_the_export_lacks(
    disks: Path, tmp_path: Path, profile: str
) -> None:
    disk = disks / "server.raw"
    dropped = {
        item["path"]
        for item in plan(disk, "--profile", profile)["paths"]
        if item["action"] == "dropped"
    }
    every = tree_of(disk, tmp_path, "--raw")
    assert dropped == every - tree_of(disk, tmp_path, "--profile", profile)
    assert "boot/vmlinuz" in dropped


def test_every_path_has_a_rule_and_a_reason(disks: Path) -> None:
    document = plan(disks / "server.vmdk", "--drop", "/var/www/**")
    assert {item["rule"] for item in document["paths"]} >= {"boot", "swap", "drop", "machine-id"}
    for item in document["paths"]:
        assert item["path"]
        assert item["why"]
        assert item["action"] in {"dropped", "emptied", "changed", "added"}
    page = next(item for item in document["paths"] if item["path"] == "var/www/index.html")
    assert (page["rule"], page["kind"], page["size"]) == ("drop", "file", 28)


def test_a_rule_that_is_kept_is_in_no_plan(disks: Path) -> None:
    kept = plan(disks / "server.vmdk", "--keep", "boot")
    assert "boot" not in {item["rule"] for item in kept["paths"]}
    assert plan(disks / "server.vmdk", "--profile", "none")["paths"] == []


def test_the_config_is_the_one_that_skopeo_reads_of_the_image(disks: Path, tmp_path: Path) -> None:
    need("skopeo")
    options = ("--env", "A=b", "--stop-signal", "INT", "--label", "a=b", "--user", "7")
    planned = plan(disks / "server.vmdk", *options)["config"]
    image = f"oci:{tmp_path}/out:x"
    succeed("run", "-q", disks / "server.vmdk", image, *options)
    written = json.loads(run("skopeo", "inspect", "--config", "--raw", image).stdout)
    assert {key: written[key] for key in written if key not in {"rootfs", "history"}} == planned


def test_a_terminal_gets_each_rule_with_its_count_and_the_config(disks: Path) -> None:
    shown = succeed("plan", disks / "server.vmdk")
    assert "boot: dropped 1 path, 9 B\n  a container runs on its host's kernel\n" in shown
    assert "/boot/vmlinuz" in shown
    _, _, config = shown.partition("config, but for rootfs and history\n")
    assert json.loads(config) == plan(disks / "server.vmdk")["config"]


def test_a_folder_stands_for_what_is_in_it_unless_all_is_asked_for(
    disks: Path, tmp_path: Path
) -> None:
    drop = ("--drop", "/usr/bin", "--keep", "swap")
    shown = succeed("plan", disks / "server.raw", *drop)
    count = len(
        [
            path
            for path in tree_of(disks / "server.raw", tmp_path, "--raw")
            if path.startswith("usr/bin/")
        ]
    )
    assert count > 1
    assert f"/usr/bin/ and {count} paths below" in shown
    every = succeed("plan", "--all", disks / "server.raw", *drop)
    assert "/usr/bin/busybox" in every
    assert "/usr/bin/busybox" not in shown


def test_many_paths_are_cut_short_and_counted(tmp_path: Path) -> None:
    folder = tmp_path / "root"
    (folder / "etc").mkdir(parents=True)
    (folder / "etc/os-release").write_text("ID=x\n")
    (folder / "bin").mkdir()
    (folder / "mnt").mkdir()
    for number in range(25):
        (folder / f"mnt/{number:02}").touch()
    options = (f"dir:{folder}", "--platform", "linux/amd64")
    shown = succeed("plan", *options)
    assert "/mnt/09" in shown
    assert "/mnt/10" not in shown
    assert "… and 15 more: --all shows each" in shown
    assert "/mnt/24" in succeed("plan", "--all", *options)


def test_what_cannot_be_converted_has_no_plan(tmp_path: Path) -> None:
    (tmp_path / "empty.raw").write_bytes(bytes(1 << 20))
    done = convert("plan", tmp_path / "empty.raw")
    assert done.code == convert("inspect", tmp_path / "empty.raw").code == 3
    assert done.err.startswith("convert: empty.raw")
