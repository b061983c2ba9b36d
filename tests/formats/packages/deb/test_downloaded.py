"""Packages of the distribution: real ones of all sorts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.formats.archives.support import listing
from tests.formats.packages.deb.support import unpacked
from tests.formats.packages.support import opened_package
from tests.support.downloads import downloaded
from tests.support.listing import difference
from tests.support.programs import run

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
