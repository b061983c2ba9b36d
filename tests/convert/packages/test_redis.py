"""Redis from its packages alone: an image without a base that starts, and answers."""

from __future__ import annotations

import time
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
_PORT = "7399"


@pytest.mark.slow
def test_redis_and_what_it_needs_start_without_a_base(tmp_path: Path) -> None:
    packages = all_downloaded(_CLOSURE)
    layout = tmp_path / "out"
    port = ("--cmd", f"/etc/redis/redis.conf --daemonize no --port {_PORT}")
    succeed("run", "-q", *packages, f"oci:{layout}:x", *port)
    with podman() as engine:
        image = engine("pull", "-q", f"oci:{layout}:x").decode().strip()
        engine.start(image, "redis")
        assert _answer(engine) == b"PONG"
        told = engine("exec", "redis", "/usr/bin/redis-cli", "-p", _PORT, "INFO", "server")
        assert b"redis_mode:standalone" in told


def _answer(engine: Podman) -> bytes:
    ping = ("exec", "redis", "/usr/bin/redis-cli", "-p", _PORT, "PING")
    for _ in range(20):
        answer = engine(*ping, check=False).strip()
        if answer == b"PONG":
            break
        time.sleep(0.25)
    return answer
