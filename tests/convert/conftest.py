"""Disks that tests of the whole way share."""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path

import pytest

from tests.images import tiny
from tests.images.recipes import debian_server
from tests.support.programs import need, refuse

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "images"


@pytest.fixture(scope="session")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the tiny server in all its forms; not to be written to."""
    need("mke2fs", "sfdisk", "qemu-img", "busybox")
    folder = tmp_path_factory.mktemp("disks")
    tiny.build_all(folder)
    return folder


@pytest.fixture(scope="session")
def debian_disks() -> tuple[Path, ...]:
    """A real Debian server as raw, compressed qcow2 and streamOptimized vmdk, built once."""
    need("mmdebstrap", "qemu-img", "sfdisk")
    CACHE.mkdir(parents=True, exist_ok=True)
    raw, *others = (CACHE / f"debian-server.{ending}" for ending in ("raw", "qcow2", "vmdk"))
    forms = (("-c", "-O", "qcow2"), ("-O", "vmdk", "-o", "subformat=streamOptimized"))
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not raw.exists():
            try:
                debian_server.build(raw)
            except subprocess.CalledProcessError as error:
                refuse(f"the Debian server cannot be built here: {error}")
        for target, options in zip(others, forms, strict=True):
            if not target.exists():
                part = target.with_suffix(".part")
                subprocess.run(["qemu-img", "convert", *options, raw, part], check=True)
                part.rename(target)
    return (raw, *others)
