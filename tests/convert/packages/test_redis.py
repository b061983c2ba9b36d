"""Redis with what it needs, from a pool: alone, and on a Debian disk that was converted before."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import succeed
from tests.support.containers import Podman, podman
from tests.support.downloads import all_downloaded

_CLOSURE = (
    *("redis-server", "redis-tools", "base-files", "base-passwd", "adduser", "debconf", "dpkg"),
    *("gcc-12-base", "init-system-helpers", "libacl1", "libatomic1", "libaudit-common"),
    *("libaudit1", "libbz2-1.0", "libc6", "libcap-ng0", "libcap2", "libcrypt1", "libdb5.3"),
    *("libgcc-s1", "libgcrypt20", "libgpg-error0", "libjemalloc2", "liblz4-1", "liblzf1"),
    *("liblzma5", "libmd0", "libpam-modules", "libpam-modules-bin", "libpam0g", "libpcre2-8-0"),
    *("libselinux1", "libsemanage-common", "libsemanage2", "libsepol2", "libssl3", "libstdc++6"),
    *("libsystemd0", "libzstd1", "lsb-base", "passwd", "perl-base", "sysvinit-utils", "tar"),
    *("usr-is-merged", "zlib1g"),
)
_OWN = {"redis-server", "redis-tools", "libatomic1", "libjemalloc2", "liblzf1"}
"""What a server with systemd, nginx and openssh lacks."""


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    for package in all_downloaded(_CLOSURE):
        shutil.copy(package, folder)
    return folder


@pytest.fixture(scope="module")
def engine() -> Iterator[Podman]:
    with podman() as started:
        yield started


def _converted(layout: Path, pool: Path, *options: str | Path) -> set[str]:
    """Convert; return which packages were put into the image."""
    asked = ("--pool", pool, "--with", "redis-server")
    report = json.loads(succeed("run", "--json", *asked, *options, f"oci:{layout}:redis"))
    return {item["name"] for item in report["decisions"]["packages"]}


def _answer(engine: Podman, layout: Path, name: str) -> bytes:
    """Return what Redis answers in a container with nothing but the generated config."""
    image = engine("pull", "-q", f"oci:{layout}:redis").decode().strip()
    engine.start(image, name, network="none")
    for _ in range(40):
        answer = engine("exec", name, "/usr/bin/redis-cli", "PING", check=False).strip()
        if answer == b"PONG":
            break
        time.sleep(0.25)
    return answer


@pytest.mark.slow
def test_redis_and_what_it_needs_start_without_a_base(
    tmp_path: Path, pool: Path, engine: Podman
) -> None:
    packages = _converted(tmp_path / "out", pool)
    assert _OWN | {"libc6", "libssl3", "lsb-base"} <= packages
    assert "base-files" not in packages
    assert _answer(engine, tmp_path / "out", "alone") == b"PONG"


@pytest.mark.slow
def test_redis_starts_on_a_converted_disk_that_has_most_of_what_it_needs(
    tmp_path: Path, pool: Path, engine: Podman, debian_disks: tuple[Path, ...]
) -> None:
    base, layout = tmp_path / "base", tmp_path / "out"
    succeed("run", "-q", debian_disks[0], f"oci:{base}:server")
    assert _converted(layout, pool, "--base", f"oci:{base}:server") == _OWN
    assert _answer(engine, layout, "based") == b"PONG"
    processes = engine("top", "based", "args").decode()
    assert "redis-server" in processes
    assert "nginx" not in processes
    seen = json.loads(succeed("inspect", "--json", f"oci:{layout}:redis"))
    ports = [item["value"] for item in seen["decisions"]["config"] if item["field"] == "port"]
    assert ports == []  # nginx of the base, which serves port 80, is not what is started
