"""External programs that tests use as oracles."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"
"""Third-party artifacts, where they are there."""


_AS_ROOT = frozenset({"mkfs.btrfs"})
"""Programs that only root can use on a file: it looks at all loop devices."""


def need(*programs: str) -> None:
    """Skip the test where a program is missing; fail it in CI, where none may be."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [name for name in programs if shutil.which(name, path=path) is None]
    if missing:
        refuse(f"not installed: {', '.join(missing)} (make system-packages installs them)")
    if not _AS_ROOT.isdisjoint(programs):
        need_root()


def need_root() -> None:
    """Skip the test where loop mounts are not allowed; fail it in CI."""
    if os.geteuid() != 0:
        refuse("loop mounts need root")


def refuse(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def corpus(name: str) -> Path:
    """Return an artifact of the corpus; skip the test where there is none."""
    path = CORPUS / name
    if not path.exists():
        pytest.skip("the corpus is not here")
    return path


def run(
    *command: str | Path, cwd: Path | None = None, timeout: float = 120, check: bool = True
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end and return what it printed; its stderr is in the failure."""
    environment = {
        **os.environ,
        "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin",
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        [os.fspath(part) for part in command],
        cwd=cwd,
        capture_output=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
        env=environment,
    )
    if check and done.returncode:
        raise AssertionError(
            f"{_shown(command)}: exit {done.returncode}: {done.stderr.decode(errors='replace')}"
        )
    return done


def _shown(command: Sequence[str | Path]) -> str:
    return " ".join(os.fspath(part) for part in command)
