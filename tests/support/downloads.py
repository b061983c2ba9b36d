"""Packages of the distribution, downloaded once and kept."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.programs import need, run

KEPT = Path(__file__).resolve().parents[2] / ".cache" / "packages"


def downloaded(name: str) -> Path:
    """Return a package from the cache, or from where apt gets it; skip where there is no net."""
    return all_downloaded([name])[0]


def all_downloaded(names: Sequence[str]) -> list[Path]:
    """Return several packages, those that are missing downloaded at once."""
    need("apt-get")
    KEPT.mkdir(parents=True, exist_ok=True)
    kept = [KEPT / f"{name}.deb" for name in names]
    missing = [path.stem for path in kept if not path.exists()]
    if missing:
        with TemporaryDirectory(dir=KEPT) as folder:
            Path(folder).chmod(0o755)  # apt downloads as another user
            try:
                run("apt-get", "download", *missing, cwd=Path(folder), timeout=120)
            except (AssertionError, subprocess.TimeoutExpired):
                pytest.skip("no package can be downloaded here")
            for package in Path(folder).glob("*.deb"):
                name = package.name.partition("_")[0]
                os.replace(package, KEPT / f"{name}.deb")  # another test may have been faster
    return kept
