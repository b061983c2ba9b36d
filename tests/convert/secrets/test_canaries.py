"""Nothing that is to be taken out is in an image, and no value of a secret is told anywhere."""

from __future__ import annotations

import io
import itertools
import json
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import zstandard

from convert.options import Profile
from convert.rules.table import all_rules
from tests.convert.rules.test_rules import ACCOUNTS, CASES, EVERY, Case
from tests.convert.secrets.planted import PLANTED, VAGRANT_KEYS, every_file, letters
from tests.support.command import convert, succeed
from tests.support.programs import need, run

SCRUBBED = "Scrubbed7Qx"
"""Begins what rules are to take out; a number after it says of which file."""

APP = (
    "[Service]\nUser=root\nExecStart=/usr/bin/app --password Told7QxWord --url"
    " https://u:Told7QxAddress@db.example/\nEnvironment=DB_PASSWORD=Told7QxUnit\n"
    "EnvironmentFile=/etc/default/app\n[Install]\nWantedBy=multi-user.target\n"
)
ENVIRONMENT = f"API_TOKEN=Told7QxFile\nGH={'gh' + 'p_'}Told7Qx{letters(33)}\nMODE=fast\n"
CRON = "1 1 * * * root mysqldump -uroot -pTold7QxShort db; redis-cli -a Told7QxRedis x\n"
TOLD = (
    *(f"Told7Qx{name}" for name in ("Word", "Address", "Unit", "File", "Short", "Redis")),
    f"{'gh' + 'p_'}Told7Qx",
)
UNITS = "usr/lib/systemd/system"
STRICT_ONLY = {rule.id for rule in all_rules() if Profile.CONTAINER not in rule.profiles}


def taken_by(case: Case) -> Iterator[str]:
    """Yield the plain files of a rule's case that it takes out, or empties."""
    for path in (*case.takes, *case.empties):
        if " -> " not in path and not path.endswith("/"):
            yield path


def scrubbed() -> dict[str, str]:
    """Return what rules are to take out by its path: a canary of its own in each file."""
    paths = [path for rule, case in CASES.items() if case.init is None for path in taken_by(case)]
    paths += taken_by(CASES["cloud-init"])
    own = every_file()
    return {path: f"{SCRUBBED}{at:04}." for at, path in enumerate(paths) if path not in own}


@dataclass(frozen=True, slots=True)
class Source:
    """An ext4 of a machine, and what was planted in it."""

    image: Path
    canaries: dict[str, str]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A machine with one service, every secret, and everything that rules are to take out."""
    need("mke2fs", "busybox")
    place = tmp_path_factory.mktemp("machine")
    tree = place / "tree"
    canaries = scrubbed()
    files = {
        **{path: f"{canary}\n".encode() for path, canary in canaries.items()},
        **every_file(),
        "etc/passwd": ACCOUNTS.partition("etc/passwd ")[2].replace("\\n", "\n").encode(),
        "etc/fstab": b"/dev/sda1 / ext4 defaults 0 1\n/srv/my\\040swap none swap sw 0 0\n",
        "etc/os-release": b'ID=debian\nNAME="Debian"\nPRETTY_NAME="Debian 12"\n',
        f"{UNITS}/server.service": APP.encode(),
        f"{UNITS}/multi-user.target": b"[Unit]\nDescription=x\n",
        "usr/lib/systemd/systemd": Path(shutil.which("busybox") or "").read_bytes(),
        "usr/bin/app": b"#!/bin/sh\n",
        "etc/default/app": ENVIRONMENT.encode(),
        "etc/cron.d/dump": CRON.encode(),
    }
    for path, data in files.items():
        file = tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        file.chmod(0o755 if path.startswith("usr/") else 0o600)
    wants = tree / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    (wants / "server.service").symlink_to(f"/{UNITS}/server.service")
    for name in ("usr/sbin/init", "bin/sh"):
        link = tree / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to("/usr/lib/systemd/systemd")
    (tree / "sbin").symlink_to("usr/sbin")
    image = place / "machine.img"
    run("truncate", "-s", "48M", image)
    run("mke2fs", "-q", "-F", "-t", "ext4", "-E", "root_owner=0:0", "-d", tree, image)
    return Source(image, canaries)


def blobs(layout: Path) -> Iterator[bytes]:
    """Yield everything in a layout, layers as they are unpacked."""
    for file in sorted(path for path in layout.rglob("*") if path.is_file()):
        data = file.read_bytes()
        yield data
        if data.startswith(b"\x28\xb5\x2f\xfd"):
            yield zstandard.ZstdDecompressor().decompressobj().decompress(data)


def layer(layout: Path) -> bytes:
    (data,) = [data for data in blobs(layout) if data[257:262] == b"ustar"]
    return data


def members(tar: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return {member.name.strip("/"): member for member in archive.getmembers()}


def image_config(layout: Path) -> dict[str, Any]:
    index = json.loads((layout / "index.json").read_text())
    manifest = _blob(layout, index["manifests"][0]["digest"])
    config: dict[str, Any] = _blob(layout, manifest["config"]["digest"])["config"]
    return config


def _blob(layout: Path, digest: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((layout / "blobs/sha256" / digest[7:]).read_text())
    return found


@pytest.fixture(scope="module")
def strict(source: Source, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The image of the strict profile, which applies every rule, and all that was told of it."""
    out = tmp_path_factory.mktemp("strict")
    report = out / "report.json"
    image = f"oci:{out}/image:x"
    done = convert("run", "--profile", "strict", "--report", report, source.image, image)
    assert done.code == 0, done.err
    return out / "image", done.out + done.err + report.read_text()


def test_every_rule_that_takes_files_has_a_canary(source: Source) -> None:
    with_canaries = {
        rule for rule, case in CASES.items() if set(taken_by(case)) & set(source.canaries)
    }
    with_tests_of_their_own = {"vagrant-key", "guest-agents", "console", "device-units"}
    assert with_canaries | with_tests_of_their_own == set(EVERY)


def test_nothing_that_rules_take_out_is_in_any_blob_or_told(
    source: Source, strict: tuple[Path, str]
) -> None:
    layout, told = strict
    assert SCRUBBED.encode() in source.image.read_bytes()
    for data in blobs(layout):
        assert SCRUBBED.encode() not in data
    assert SCRUBBED not in told
    assert members(layer(layout)).keys() >= {"usr/bin/app", "var/log/syslog", "etc/machine-id"}


def test_the_container_profile_leaves_only_what_strict_takes(
    source: Source, tmp_path: Path
) -> None:
    succeed("run", source.image, f"oci:{tmp_path}/image:x")
    tar = layer(tmp_path / "image")
    left = {path for path, canary in source.canaries.items() if canary.encode() in tar}
    strict_only = {path for rule in STRICT_ONLY for path in taken_by(CASES[rule])}
    assert left == strict_only & source.canaries.keys()


def test_every_path_that_is_gone_or_changed_has_a_finding(
    source: Source, strict: tuple[Path, str], tmp_path: Path
) -> None:
    succeed("export", "--raw", source.image, f"tar:{tmp_path}/raw.tar")
    raw = (tmp_path / "raw.tar").read_bytes()
    plan = json.loads(succeed("plan", "--profile", "strict", "--json", source.image))
    treated = {item["path"] for item in plan["paths"]}
    before, after = members(raw), members(layer(strict[0]))
    changed = {
        path
        for path, member in before.items()
        if path not in after or (after[path].size, after[path].type) != (member.size, member.type)
    }
    assert changed == treated
    tops = {item["path"] for item in plan["decisions"]["findings"]}
    assert all(any(f"{path}/".startswith(f"{top}/") for top in tops) for path in changed)


def test_profile_none_is_the_tree_as_it_is_byte_by_byte(source: Source, tmp_path: Path) -> None:
    succeed("export", "--raw", source.image, f"tar:{tmp_path}/raw.tar")
    succeed("export", "--profile", "none", source.image, f"tar:{tmp_path}/none.tar")
    succeed("run", "--profile", "none", source.image, f"oci:{tmp_path}/image:x")
    raw = (tmp_path / "raw.tar").read_bytes()
    assert (tmp_path / "none.tar").read_bytes() == raw
    assert layer(tmp_path / "image") == raw
    assert all(canary.encode() in raw for canary in source.canaries.values())


@pytest.mark.parametrize(
    "command",
    [
        ("inspect",),
        ("inspect", "--json"),
        ("plan", "--all"),
        ("plan", "--json"),
        ("run", "--json"),
        ("run", "--secrets", "report", "--profile", "none"),
        ("run", "--secrets", "keep"),
        ("run", "--secrets", "fail"),
        ("export", "--json"),
        ("inspect", "--env", "MY_SECRET=Told7QxOption", "--cmd", "--token Told7QxOption"),
    ],
    ids=" ".join,
)
def test_no_value_of_a_secret_is_told(
    command: tuple[str, ...], source: Source, tmp_path: Path
) -> None:
    destination = {"run": [f"oci:{tmp_path}/image:x"], "export": [f"tar:{tmp_path}/t.tar"]}
    done = convert(*command, source.image, *destination.get(command[0], []))
    assert done.code == (10 if "fail" in command else 0), done.err
    said = done.out + done.err
    assert len(said) > 100
    planted = {item.value for items in PLANTED.values() for item in items if item.value}
    for value in (*TOLD, *planted, "Told7QxOption"):
        assert value not in said


def test_no_value_is_in_the_report_for_people(source: Source, tmp_path: Path) -> None:
    succeed("report", source.image, "-o", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "secret-private-key" in page
    for value in TOLD:
        assert value not in page


def test_no_value_is_in_a_dockerfile_and_its_notes(source: Source, tmp_path: Path) -> None:
    said = succeed("dockerfile", source.image, tmp_path / "out")
    texts = [path.read_text() for path in (tmp_path / "out").iterdir() if path.is_file()]
    assert len(texts) >= 2
    for value, text in itertools.product(TOLD, (said, *texts)):
        assert value not in text


def test_no_value_is_in_a_compose_file(source: Source, tmp_path: Path) -> None:
    said = succeed("run", "--split", source.image, f"oci:{tmp_path}/image")
    (compose,) = tmp_path.rglob("*compose.yaml")
    for value, text in itertools.product(TOLD, (said, compose.read_text())):
        assert value not in text


def test_the_image_gets_its_config_with_values(source: Source, tmp_path: Path) -> None:
    succeed("run", source.image, f"oci:{tmp_path}/image:x")
    config = image_config(tmp_path / "image")
    assert "DB_PASSWORD=Told7QxUnit" in config["Env"]
    assert config["Cmd"][:2] == ["--password", "Told7QxWord"]


def test_what_is_secret_in_the_config_is_told(source: Source) -> None:
    findings = json.loads(succeed("inspect", "--json", source.image))["decisions"]["findings"]
    told = [item["evidence"] for item in findings if item["rule"] == "secret-in-config"]
    assert {text.partition(" of the image's")[0] for text in told} == {
        "the command line",
        "the variable API_TOKEN",
        "the variable DB_PASSWORD",
        "the variable GH",
    }


def test_fail_stops_before_anything_is_written(source: Source, tmp_path: Path) -> None:
    for command, destination in (("run", f"oci:{tmp_path}/x:y"), ("export", f"tar:{tmp_path}/x")):
        done = convert(command, "--secrets", "fail", source.image, destination)
        assert done.code == 10
        assert "the image would hold a secret" in done.err
        assert list(tmp_path.iterdir()) == []


def test_fail_lets_pass_what_is_dropped_or_accepted(tmp_path: Path) -> None:
    need("mke2fs", "busybox")
    tree = tmp_path / "tree"
    (tree / "etc/ssh").mkdir(parents=True)
    (tree / "bin").mkdir()
    shutil.copy(shutil.which("busybox") or "", tree / "bin/sh")
    (tree / "etc/os-release").write_text("ID=debian\n")
    (tree / "etc/shadow").write_text(f"root:$6$salt${letters(86)}:1::::::\n")
    (tree / "etc/ssh/ssh_host_rsa_key").write_bytes(PLANTED["private-key"][1].data)
    (tree / "etc/own.key").write_bytes(PLANTED["private-key"][0].data)
    run("truncate", "-s", "8M", tmp_path / "d.img")
    run("mke2fs", "-q", "-F", "-d", tree, tmp_path / "d.img")
    arguments = ("run", "--secrets", "fail", tmp_path / "d.img", f"oci:{tmp_path}/o:x")
    assert "etc/own.key:1" in convert(*arguments).err
    assert "etc/shadow:1" in convert(*arguments, "--drop", "/etc/own.key").err
    succeed(*arguments, "--drop", "/etc/own.key", "--keep", "secret-password-hash")


@pytest.mark.parametrize(("mode", "stays"), [("scrub", False), ("report", True), ("keep", True)])
def test_secrets_of_the_machine_are_taken_out_only_by_scrub(
    mode: str, stays: bool, source: Source, tmp_path: Path
) -> None:
    done = succeed("run", "--json", "--secrets", mode, source.image, f"oci:{tmp_path}/image:x")
    tar = layer(tmp_path / "image")
    secret = [rule.id for rule in all_rules() if rule.is_secret]
    identity = {path for rule in secret for path in taken_by(CASES[rule])} & source.canaries.keys()
    assert len(identity) > 10
    for path in identity:
        assert (source.canaries[path].encode() in tar) is stays
    assert (VAGRANT_KEYS[0].encode() in tar) is stays
    findings = json.loads(done)["decisions"]["findings"]
    assert any(item["rule"] == "secret-private-key" for item in findings) is (mode != "keep")
    reported = [item["path"] for item in findings if item["rule"] == "secret-vagrant-key"]
    assert ("home/a/.ssh/authorized_keys" in reported) is (mode == "report")
