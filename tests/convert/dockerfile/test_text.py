"""What a guest says cannot become an instruction, and what is written is whole and safe."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from convert.dockerfile.bases import base_of
from convert.inspect.evidence import Evidence, OperatingSystem
from formats.core.errors import UnsupportedError
from formats.core.origin import Origin
from tests.convert.dockerfile.support import alpine, apk_row, drafted, escaped
from tests.support.command import convert

_KNOWN = (
    ("debian", "12", "debian:12-slim", "apt"),
    ("debian", None, "debian:testing-slim", "apt"),
    ("ubuntu", "22.04", "ubuntu:22.04", "apt"),
    ("almalinux", "9.4", "almalinux:9", "dnf"),
    ("rocky", "9.3", "rockylinux/rockylinux:9", "dnf"),
    ("centos", "7", "centos:7", "yum"),
    ("centos", "9", "quay.io/centos/centos:stream9", "dnf"),
    ("ol", "8.9", "oraclelinux:8", "dnf"),
    ("amzn", "2", "amazonlinux:2", "yum"),
    ("amzn", "2023", "amazonlinux:2023", "dnf"),
    ("fedora", "40", "fedora:40", "dnf"),
    ("opensuse-leap", "15.6", "opensuse/leap:15.6", "zypper"),
    ("opensuse-tumbleweed", "20240101", "opensuse/tumbleweed:latest", "zypper"),
    ("alpine", "3.20.3", "alpine:3.20", "apk"),
    ("arch", None, "archlinux:latest", "pacman"),
    ("photon", "5.0", "photon:5.0", "tdnf"),
)


def system(identity: str, version: str | None) -> OperatingSystem:
    evidence = Evidence(b"etc/os-release", 1, "os-release")
    return OperatingSystem(identity, identity, identity, evidence, version)


@pytest.mark.parametrize(("identity", "version", "image", "manager"), _KNOWN)
def test_each_distribution_goes_on_its_official_image(
    identity: str, version: str | None, image: str, manager: str
) -> None:
    base = base_of(system(identity, version), Origin(("disk",)))
    assert (base.image, base.manager_name) == (image, manager)


@pytest.mark.parametrize(
    ("identity", "version"),
    [("nixos", "24.05"), ("debian", "12\nRUN id"), ("debian", "${X}"), ("ubuntu", None)],
)
def test_no_image_is_made_up(identity: str, version: str | None) -> None:
    with pytest.raises(UnsupportedError, match="no official image is known"):
        base_of(system(identity, version), Origin(("disk",)))


def instructions(text: str) -> list[str]:
    """Return the instructions of a Dockerfile; lines are joined first, as builders do."""
    lines = re.sub(r"\\\n", " ", text).split("\n")
    return [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]


_EVIL = "\nRUN touch /pwned\n"


def test_names_of_a_guest_add_no_instruction(tmp_path: Path) -> None:
    evil = escaped(_EVIL)
    text = (
        f"f 644 0:0 srv/{evil.replace('/', '_')} x\n"
        f"l 777 0:0 srv/link {evil}\n"
        f"f 644 0:0 srv/<<EOF x\n"
        f"f 644 0:0 srv/trailing\\\\ x\n"
        f"f 644 0:0 srv/#comment x\n"
        f"f 644 7:7 srv/other x\n"
        f"f 644 0:0 usr/lib/os-release PRETTY_NAME=x\n"
        f"f 644 0:0 etc/apk/repositories https://example.org/$(touch\\x20/pwned)\n"
    )
    row = apk_row("a`touch /pwned`")
    source = alpine(tmp_path, text, "a`touch${IFS}/pwned`", row)
    arguments = ("--env", f"A={_EVIL}", "--env", "B=$(id)${PATH}\\", "--label", f"c={_EVIL}")
    drafted(source, tmp_path / "out", *arguments, "--volume", "/a b$c")
    written = (tmp_path / "out/Dockerfile").read_text()
    allowed = {"ARG", "FROM", "RUN", "COPY", "ADD", "ENV", "VOLUME", "CMD"}
    assert set(instructions(written)) <= allowed
    assert not re.search(r"^\s*(RUN )?touch", written, re.MULTILINE)
    assert r'ENV B="\$(id)\${PATH}\\"' in written
    assert "ENV A" not in written


def test_a_secret_is_neither_copied_nor_written(tmp_path: Path) -> None:
    canary = "ghp_" + "c4n4ry" * 6
    text = f"f 644 0:0 srv/app/token.txt {canary}\nf 644 0:0 srv/app/main code\n"
    source = alpine(tmp_path, text, "", apk_row("busybox"))
    document = drafted(source, tmp_path / "out", "--env", f"API_TOKEN={canary}")
    for folder, _, names in os.walk(tmp_path / "out"):
        for name in names:
            assert canary not in (Path(folder) / name).read_text()
    assert canary not in str(document)
    notes = (tmp_path / "out/NOTES.md").read_text()
    assert "`/srv/app/token.txt`: it holds a secret" in notes
    assert "the variable `API_TOKEN`" in notes
    assert document["copied"] == ["srv/app/main"]


def test_a_secret_is_copied_where_the_user_wants_it(tmp_path: Path) -> None:
    text = f"f 644 0:0 srv/app/token.txt ghp_{'c4n4ry' * 6}\n"
    source = alpine(tmp_path, text, "", apk_row("busybox"))
    document = drafted(source, tmp_path / "out", "--secrets", "keep")
    assert document["copied"] == ["srv/app/token.txt"]


def test_links_of_a_guest_are_not_followed_on_this_machine(tmp_path: Path) -> None:
    text = (
        "l 777 0:0 srv/app/out ../../../../../../../../../../tmp\n"
        "f 644 0:0 srv/app/code code\n"
        "f 4755 0:0 srv/app2/elevated code\n"
    )
    source = alpine(tmp_path, text, "", apk_row("busybox"))
    drafted(source, tmp_path / "out")
    copied = tmp_path / "out/rootfs/srv/app"
    assert (copied / "out").is_symlink()
    assert (copied / "code").read_text() == "code"
    modes = [path.lstat().st_mode for path in (tmp_path / "out").rglob("*")]
    assert not any(mode & 0o6000 for mode in modes)


def test_a_folder_that_holds_something_stays_as_it_is(tmp_path: Path) -> None:
    source = alpine(tmp_path, "", "", apk_row("busybox"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").touch()
    done = convert("dockerfile", "--platform", "linux/amd64", source, tmp_path / "out")
    assert done.code == 7
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "system.tar"]


def test_twice_the_same_is_written(tmp_path: Path) -> None:
    text = "f 644 0:0 srv/a x\nf 4755 0:0 srv/b x\nf 644 5:5 etc/c x\n"
    source = alpine(tmp_path, text, "nginx", apk_row("nginx"), apk_row("busybox"))
    for name in ("one", "two"):
        drafted(source, tmp_path / name)
    for file in ("Dockerfile", "NOTES.md", "rootfs.tar"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_too_many_pieces_go_into_one_archive(tmp_path: Path) -> None:
    text = "\n".join(f"f 644 {number}:{number} srv/{number}/file x" for number in range(1000, 1100))
    source = alpine(tmp_path, text, "", apk_row("busybox"))
    drafted(source, tmp_path / "out")
    written = (tmp_path / "out/Dockerfile").read_text()
    assert instructions(written).count("COPY") == 0
    assert "ADD rootfs.tar /" in written
