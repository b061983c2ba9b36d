"""Packages of the distribution, downloaded once and kept: real ones of all sorts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.formats.archives.support import listing
from tests.formats.packages.deb.support import opened_package, unpacked
from tests.support.listing import difference
from tests.support.programs import need, run

KEPT = Path(__file__).resolve().parents[4] / ".cache" / "packages"
NAMES = (
    "adduser",
    "base-passwd",
    "bash",
    "cron",
    "dash",
    "hostname",
    "less",
    "mawk",
    "mount",
    "netbase",
    "passwd",
    "sudo",
    "tzdata",
)
"""With programs as scripts (bash), setuid bits, hard links, conffiles, triggers, odd owners."""


def downloaded(name: str) -> Path:
    """Return a package from the cache, or from where apt gets it; skip where there is no net."""
    need("apt-get")
    KEPT.mkdir(parents=True, exist_ok=True)
    kept = KEPT / f"{name}.deb"
    if kept.exists():
        return kept
    with TemporaryDirectory(dir=KEPT) as folder:
        Path(folder).chmod(0o755)  # apt downloads as another user
        try:
            run("apt-get", "download", name, cwd=Path(folder), timeout=60)
        except (AssertionError, subprocess.TimeoutExpired):
            pytest.skip("no package can be downloaded here")
        (package,) = Path(folder).glob("*.deb")
        os.replace(package, kept)  # another test may have been faster
    return kept


@pytest.mark.parametrize("name", NAMES)
def test_a_downloaded_package_gives_what_dpkg_deb_unpacks(tmp_path: Path, name: str) -> None:
    package = downloaded(name)
    assert difference(unpacked(package, tmp_path / "there"), listing(package)) == []
    with opened_package(package) as (tree, findings):
        assert findings == []
        told = run("dpkg-deb", "-I", package, "control").stdout
        assert tree.package.record == told.rstrip() + b"\n"
        scripts = {script.name: script.text for script in tree.package.scripts}
        for script, text in scripts.items():
            assert text == run("dpkg-deb", "-I", package, script).stdout
