from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import convert, process, succeed
from tests.support.containers import podman
from tests.support.programs import need, run

FORMS = ("server.raw", "server.raw.gz", "server.qcow2", "server.vmdk")


def config_of(layout: Path, tag: str) -> dict[str, Any]:
    """Return the image's config, as skopeo reads it."""
    need("skopeo")
    document = run("skopeo", "inspect", "--config", f"oci:{layout}:{tag}").stdout
    config: dict[str, Any] = json.loads(document)
    return config


def digests(layout: Path) -> dict[str, str]:
    index = json.loads((layout / "index.json").read_text())
    return {
        item["annotations"]["org.opencontainers.image.ref.name"]: item["digest"]
        for item in index["manifests"]
    }


def test_the_form_of_the_disk_does_not_change_the_digest(disks: Path, tmp_path: Path) -> None:
    for form in FORMS:
        succeed("run", disks / form, f"oci:{tmp_path}/out:{form}")
    found = digests(tmp_path / "out")
    assert set(found) == set(FORMS)
    assert len(set(found.values())) == 1


def test_the_environment_does_not_change_the_digest(disks: Path, tmp_path: Path) -> None:
    surroundings = {
        "plain": {},
        "odd": {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONHASHSEED": "7", "LANG": "de_DE"},
    }
    for tag, environment in surroundings.items():
        done = process(
            "run", disks / "server.vmdk", f"oci:{tmp_path}/out:{tag}", environment=environment
        )
        assert done.code == 0, done.err
    succeed("run", "--jobs", "1", disks / "server.vmdk", f"oci:{tmp_path}/out:one-job")
    assert len(set(digests(tmp_path / "out").values())) == 1


def test_the_config_is_what_the_machine_says(disks: Path, tmp_path: Path) -> None:
    succeed("run", disks / "server.vmdk", f"oci:{tmp_path}/out:x")
    config = config_of(tmp_path / "out", "x")
    assert config["os"] == "linux"
    assert config["config"]["Entrypoint"] == ["/usr/bin/httpd"]
    assert config["config"]["Cmd"] == ["-f", "-p", "8080", "-h", "/var/www"]
    assert config["config"]["WorkingDir"] == "/var/www"
    assert config["config"]["Env"][0].startswith("PATH=/")
    assert "GREETING=hello" in config["config"]["Env"]
    assert config["config"]["Labels"]["org.opencontainers.image.title"] == "Tiny Linux 1.2"
    assert config["created"] == "2023-11-14T22:13:20Z"


def test_the_architecture_is_that_of_the_guests_programs(disks: Path, tmp_path: Path) -> None:
    need("readelf", "busybox")
    succeed("run", disks / "server.vmdk", f"oci:{tmp_path}/out:x")
    (tmp_path / "busybox").write_bytes(
        process_bytes("cat", disks / "server.vmdk", "/usr/bin/busybox")
    )
    machine = run("readelf", "-h", tmp_path / "busybox").stdout.decode()
    known = {"X86-64": "amd64", "AArch64": "arm64", "PowerPC64": "ppc64le", "S/390": "s390x"}
    (expected,) = [name for word, name in known.items() if word in machine]
    assert config_of(tmp_path / "out", "x")["architecture"] == expected


def process_bytes(*arguments: str | Path) -> bytes:
    return run(sys.executable, "-m", "convert", *arguments).stdout


def test_options_win_over_what_was_decided(disks: Path, tmp_path: Path) -> None:
    succeed(
        *("run", disks / "server.vmdk", f"oci:{tmp_path}/out:x"),
        *("--entrypoint", "/bin/sh -c", "--cmd", "'echo hi'", "--env", "A=b=c", "--port", "53/udp"),
        *("--port", "80", "--user", "33:33", "--workdir", "/srv", "--label", "team=web"),
        *("--platform", "linux/arm/v7"),
    )
    config = config_of(tmp_path / "out", "x")
    assert config["config"]["Entrypoint"] == ["/bin/sh", "-c"]
    assert config["config"]["Cmd"] == ["echo hi"]
    assert "A=b=c" in config["config"]["Env"]
    assert set(config["config"]["ExposedPorts"]) == {"53/udp", "80/tcp"}
    assert config["config"]["User"] == "33:33"
    assert config["config"]["WorkingDir"] == "/srv"
    assert config["config"]["Labels"]["team"] == "web"
    assert (config["architecture"], config["variant"]) == ("arm", "v7")


def test_volumes_that_fstab_mounts_are_in_their_places(disks: Path, tmp_path: Path) -> None:
    for tag, sources in {
        "one": ["server.raw"],
        "split": ["split.raw"],
        "two": ["system.qcow2", "data.qcow2"],
    }.items():
        archive = tmp_path / f"{tag}.tar"
        succeed("export", "-q", *(disks / name for name in sources), f"tar:{archive}")
        listed = run("tar", "-tf", archive).stdout.decode().split()
        assert {"var/www/index.html", "etc/os-release"} <= set(listed)


def test_what_a_machine_needs_is_taken_out_and_told(disks: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    image = f"oci-archive:{tmp_path}/a.tar:x"
    succeed("run", "-q", disks / "server.vmdk", image, "--report", report)
    document = json.loads(report.read_text())
    told = {(item["rule"], item["path"]) for item in document["decisions"]["findings"]}
    assert {
        ("boot", "boot/vmlinuz"),
        ("ssh-host-keys", "etc/ssh/ssh_host_ed25519_key"),
        ("machine-id", "etc/machine-id"),
        ("swap", "swapfile"),
    } <= told
    succeed("export", "-q", disks / "server.vmdk", f"tar:{tmp_path}/tree.tar")
    listed = run("tar", "-tf", tmp_path / "tree.tar").stdout.decode().split()
    gone = {"boot/vmlinuz", "etc/ssh/ssh_host_ed25519_key", "swapfile"}
    assert not gone & set(listed)
    assert "boot/" in listed
    assert run("tar", "-xOf", tmp_path / "tree.tar", "etc/machine-id").stdout == b""


def test_every_path_is_in_the_image_or_in_a_finding(disks: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    succeed("run", "-q", disks / "split.raw", f"oci:{tmp_path}/out:x", "--report", report)
    named = {item["path"] for item in json.loads(report.read_text())["decisions"]["findings"]}
    succeed("export", "-q", disks / "split.raw", f"tar:{tmp_path}/tree.tar")
    kept = {
        line.rstrip("/").removeprefix("./")
        for line in run("tar", "-tf", tmp_path / "tree.tar").stdout.decode().splitlines()
    }
    every = {
        item["path"].removeprefix("/")
        for item in json.loads(succeed("ls", "--json", "-R", disks / "split.raw"))
    }
    assert every
    missing = {
        path
        for path in every - kept
        if not any(path == name or path.startswith(f"{name}/") for name in named)
    }
    assert missing == set()


def test_a_rule_that_is_kept_is_not_applied(disks: Path, tmp_path: Path) -> None:
    succeed(
        *("export", "-q", "--keep", "boot", "--drop", "/var/www/**"),
        *(disks / "server.vmdk", f"tar:{tmp_path}/tree.tar"),
    )
    listed = run("tar", "-tf", tmp_path / "tree.tar").stdout.decode().split()
    assert "boot/vmlinuz" in listed
    assert "var/www/index.html" not in listed


@pytest.mark.parametrize("codec", ["zstd", "gzip", "none"])
def test_all_codecs_hold_the_same_tree(disks: Path, tmp_path: Path, codec: str) -> None:
    document = json.loads(
        succeed(
            *("run", "--json", "--compression", codec),
            *(disks / "server.vmdk", f"oci:{tmp_path}/out:x"),
        )
    )
    (layer,) = document["image"]["layers"]
    assert layer["media_type"].rpartition(".tar")[2] == {"none": ""}.get(codec, f"+{codec}")
    assert succeed("verify", f"oci:{tmp_path}/out:x", disks / "server.vmdk")
    other = json.loads(
        succeed("run", "--json", disks / "server.vmdk", f"docker-archive:{tmp_path}/d.tar:a/b:1")
    )
    assert layer["diff_id"] == other["image"]["layers"][0]["diff_id"]


def test_a_container_has_the_machines_files(disks: Path, tmp_path: Path) -> None:
    succeed("run", "-q", disks / "server.vmdk", f"oci:{tmp_path}/out:x")
    command = json.dumps(["/usr/bin/busybox", "cat", "/var/www/index.html"])
    with podman() as engine:
        shown = engine.run(f"oci:{tmp_path}/out:x", "--entrypoint", command)
    assert shown == b"hello from a converted disk\n"


@pytest.mark.parametrize("form", ["server.raw", "server.raw.gz", "server.qcow2", "server.vmdk"])
def test_a_cut_disk_gives_one_error_and_leaves_nothing(
    disks: Path, tmp_path: Path, form: str
) -> None:
    """Where all that the tree needs is in the part that is left, the image is the whole one's."""
    whole, cut = disks / form, tmp_path / f"cut{form}"
    succeed("run", whole, f"oci:{tmp_path}/whole:x")
    sound = digests(tmp_path / "whole")
    shutil.rmtree(tmp_path / "whole")
    shutil.copy(whole, cut)
    codes = set()
    for twentieths in range(19, 0, -1):
        with cut.open("r+b") as file:
            file.truncate(whole.stat().st_size * twentieths // 20)
        done = convert("run", cut, f"oci:{tmp_path}/out:x")
        codes.add(done.code)
        if done.code == 0:
            assert digests(tmp_path / "out") == sound
            shutil.rmtree(tmp_path / "out")
            continue
        assert done.code in {3, 4}, (twentieths, done)
        assert done.err.startswith(f"convert: {cut.name}")
        assert done.err.count("\n") == 1
        assert list(tmp_path.iterdir()) == [cut]
    assert codes & {3, 4}


def test_no_time_is_later_than_source_date_epoch(disks: Path, tmp_path: Path) -> None:
    epoch = ("--source-date-epoch", "1600000000", disks / "server.vmdk")
    succeed("run", "-q", *epoch, f"oci:{tmp_path}/out:x")
    assert config_of(tmp_path / "out", "x")["created"] == "2020-09-13T12:26:40Z"
    succeed("export", "-q", *epoch, f"dir:{tmp_path}/tree")
    succeed("export", "-q", *epoch, f"tar:{tmp_path}/tree.tar")
    listed = run("tar", "--full-time", "--utc", "-tvf", tmp_path / "tree.tar").stdout.decode()
    assert listed.count("2020-09-13 12:26:40") == listed.count("\n") > 30
    times = {path.lstat().st_mtime for path in (tmp_path / "tree").rglob("*")}
    assert times == {1_600_000_000}


def test_an_image_for_standard_output_is_one_that_podman_loads(disks: Path, tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    with archive.open("wb") as file:
        subprocess.run(
            [sys.executable, "-m", "convert", "run", disks / "server.vmdk", "oci-archive:-:x"],
            stdout=file,
            check=True,
            stderr=subprocess.DEVNULL,
        )
    with podman() as engine:
        assert b"x:latest" in engine("load", "-i", archive)


def test_a_tree_for_no_known_processor_can_be_exported_and_not_run(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for folder in ("etc", "bin", "usr", "var"):
        (root / folder).mkdir(parents=True)
    (root / "etc/os-release").write_text("ID=small\n")
    (root / "bin/app").write_text("#!/bin/sh\n")
    succeed("export", f"dir:{root}", f"tar:{tmp_path}/out.tar")
    assert b"bin/app" in run("tar", "-tf", tmp_path / "out.tar").stdout
    done = convert("run", f"dir:{root}", f"oci:{tmp_path}/out")
    assert done.code == 3
    assert "--platform linux/amd64" in done.err
