"""What this machine has, what is missing, what it would be used for and how to get it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from formats.core.errors import ConvertError

_PROBE_SECONDS = 10
_SPOOL_WANTED_BYTES = 10 << 30


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked for.

    :ivar found: version or other detail, where it is there.
    :ivar is_required: without it nothing can be converted.
    """

    name: str
    is_ok: bool
    is_required: bool
    found: str
    used_for: str
    remedy: str

    def as_dict(self) -> dict[str, str | bool]:
        """Return the check as a JSON-ready object."""
        return {
            "name": self.name,
            "ok": self.is_ok,
            "required": self.is_required,
            "found": self.found,
            "used_for": self.used_for,
            "remedy": self.remedy,
        }


_PACKAGES: tuple[tuple[str, str], ...] = (
    ("click", "the command line"),
    ("jinja2", "reports"),
    ("pydantic", "options"),
    ("tqdm", "progress"),
    ("zstandard", "zstd layers and clusters"),
)
"""Distributions that are always needed, and for what."""

_EXTRAS: tuple[tuple[str, str, str], ...] = (
    ("argon2-cffi", "argon2", "luks"),
    ("boto3", "boto3", "aws"),
    ("cryptography", "cryptography", "luks"),
    ("numpy", "numpy", "luks"),
)
"""Distribution, module, and the extra that brings it."""
_EXTRA_USES = {"aws": "ami: and snap: sources", "luks": "LUKS volumes"}

_LIBGUESTFS_USE = "NTFS, JFS, thin volumes and all else that own readers do not read"

_PROGRAMS: tuple[tuple[str, str, str], ...] = (
    ("skopeo", "copying an image to a registry or a Docker daemon", "apt install skopeo"),
    ("podman", "running an image", "apt install podman"),
    ("docker", "running an image", "apt install docker.io"),
    ("umoci", "unpacking an image", "apt install umoci"),
    ("qemu-img", "turning disks of other formats into qcow2", "apt install qemu-utils"),
)
"""Optional programs: name, what users need it for, how to get it. None is needed to convert."""


def examine(
    environment: Mapping[str, str], spool: Path | None = None, *, boot: bool = False
) -> list[Check]:
    """Look at everything.

    :param environment: what libguestfs takes its settings from.
    :param spool: where decompressed copies would go.
    :param boot: start libguestfs, which takes from seconds to minutes, and do not only look at it.
    """
    checks = [_python()]
    checks += [_package(name, used_for) for name, used_for in _PACKAGES]
    checks += [_extra(*row) for row in _EXTRAS]
    checks.append(_libguestfs(environment, boot=boot))
    checks.append(_readers())
    checks.append(_spool(spool))
    checks += [_program(*row) for row in _PROGRAMS]
    return checks


def _python() -> Check:
    return Check(
        "python",
        is_ok=sys.version_info >= (3, 11),
        is_required=True,
        found=f"{platform.python_version()} ({platform.machine()}, {os.cpu_count()} processors)",
        used_for="everything",
        remedy="install Python 3.11 or newer",
    )


def _package(name: str, used_for: str) -> Check:
    found = _installed(name, name)
    return Check(
        name,
        is_ok=bool(found),
        is_required=True,
        found=found,
        used_for=used_for,
        remedy=f"pip install {name}",
    )


def _installed(name: str, module: str) -> str:
    """Return the version of a distribution; empty if it is not there."""
    try:
        return version(name) if importlib.util.find_spec(module) else ""
    except PackageNotFoundError:
        return "version unknown"


def _extra(name: str, module: str, extra: str) -> Check:
    found = _installed(name, module)
    return Check(
        name,
        is_ok=bool(found),
        is_required=False,
        found=found,
        used_for=_EXTRA_USES[extra],
        remedy=f"pip install 'oci-convert[{extra}]'",
    )


def _libguestfs(environment: Mapping[str, str], *, boot: bool) -> Check:
    from formats.guestfs.diagnosis import diagnose  # noqa: PLC0415 - the engine is seldom needed
    from formats.guestfs.settings import EngineSettings  # noqa: PLC0415 - the same

    seen = diagnose(EngineSettings(environment), boot=boot)
    details = ", ".join(f"{name} {value}" for name, value in seen.details.items())
    reason = f"{seen.reason}; " if seen.reason else ""
    return Check(
        "libguestfs",
        is_ok=seen.works,
        is_required=False,
        found=details,
        used_for=_LIBGUESTFS_USE,
        remedy=f"{reason}{seen.remedy or ''}",
    )


def _readers() -> Check:
    from formats.core.registry import default_registry  # noqa: PLC0415 - imports every reader

    try:
        names = [reader.name for reader in default_registry() if reader.doc.reads]
        found, problem = f"{len(names)} formats", ""
    except ConvertError as error:
        found, problem = "", str(error)
    return Check(
        "readers",
        is_ok=bool(found),
        is_required=True,
        found=found,
        used_for="reading artifacts",
        remedy=problem or "see 'convert formats'",
    )


def _spool(spool: Path | None) -> Check:
    folder = spool or Path(tempfile.gettempdir())
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Check(
            "spool",
            is_ok=False,
            is_required=False,
            found="",
            used_for="decompressed copies of .gz, .xz, .bz2 and .zst disks",
            remedy=f"{folder}: {error.strerror}; name another folder with --spool",
        )
    return Check(
        "spool",
        is_ok=free >= _SPOOL_WANTED_BYTES,
        is_required=False,
        found=f"{free / 1e9:.0f} GB free in {folder}",
        used_for=f"decompressed copies of disks; only {free / 1e9:.1f} GB are free in {folder}",
        remedy="name a larger folder with --spool",
    )


def _program(name: str, used_for: str, remedy: str) -> Check:
    path = shutil.which(name)
    return Check(
        name,
        is_ok=path is not None,
        is_required=False,
        found=_first_line(path) if path else "",
        used_for=used_for,
        remedy=remedy,
    )


def _first_line(program: str) -> str:
    try:
        done = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return program
    return (done.stdout.strip().splitlines() or [program])[0]
