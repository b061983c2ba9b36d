"""Real Debian systems, each with one workload: the distribution's packages on an ext4 disk.

mmdebstrap makes what all have in common once; each system is a copy of it with packages installed
by its own apt, files of its own, and data that its own programs wrote. Needs root. Nothing is
booted, and what is mounted is seen by the building process alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.images.recipes.debian_server import suite
from tests.images.systems import write_files
from tests.support.programs import need, need_root, refuse, run

CACHE = Path(__file__).resolve().parents[3] / ".cache" / "images"

_DISK_SIZE = "1200M"
_BUILD_SECONDS = 400

_BASE_PACKAGES = "systemd-sysv"
_NOT_INSTALLED = ("doc", "locale", "man")
"""Below ``/usr/share``: what nobody reads here."""

# "$1" is the root, "$2" the base, "$3" a folder with files, "$4" the disk, "$5" its size; what is
# to be installed and what is to be run in the end are in the environment. A service that a package
# starts when it is installed would run on the machine that builds: policy-rc.d says no.
_BUILD = """\
set -eu
tar --extract --file="$2" --directory="$1" --xattrs --xattrs-include='*'
mount -t proc proc "$1/proc"
mkdir -p "$1/dev/shm"
mount -t tmpfs tmpfs "$1/dev/shm"
printf '#!/bin/sh\\nexit 101\\n' > "$1/usr/sbin/policy-rc.d"
chmod 755 "$1/usr/sbin/policy-rc.d"
if [ -n "$PACKAGES" ]; then
    chroot "$1" apt-get --quiet --yes --no-install-recommends \
        -o Dpkg::Options::=--force-unsafe-io install $PACKAGES
fi
cp --recursive "$3/." "$1"
chroot "$1" /bin/sh -eux -c "$FINISH"
chroot "$1" apt-get clean
rm -r "$1/usr/sbin/policy-rc.d" "$1/var/lib/apt/lists"
umount "$1/dev/shm" "$1/proc"
mke2fs -q -t ext4 -E lazy_itable_init=1,lazy_journal_init=1 -d "$1" "$4" "$5"
"""


@dataclass(frozen=True, slots=True)
class System:
    """What makes one system different from the others.

    :ivar packages: installed with what they need, without what they recommend.
    :ivar files: as :func:`tests.images.systems.write_files` takes them.
    :ivar finish: shell, run in the system as its root when all files are there.
    """

    name: str
    packages: tuple[str, ...]
    files: Mapping[str, str]
    finish: str = ":"

    @property
    def disk(self) -> Path:
        """Where its disk is kept; another recipe is another file."""
        recipe = repr((self.packages, sorted(self.files.items()), self.finish, _BUILD, suite()))
        digest = hashlib.sha256(recipe.encode()).hexdigest()
        return CACHE / f"system-{self.name}-{digest[:12]}.raw"


def disk_of(system: System) -> Path:
    """Return a system's disk, an ext4 filesystem in a sparse file; it is built once and kept."""
    need("mke2fs", "unshare", "tar")
    base = base_root()
    try:
        return _kept(system.disk, lambda target: _build(system, base, target))
    except (AssertionError, subprocess.TimeoutExpired) as error:
        refuse(f"the Debian system {system.name} cannot be built here: {error}")
        raise


def base_root() -> Path:
    """Return a tar with what all systems have in common; it is built once and kept."""
    need("mmdebstrap")
    need_root()
    try:
        return _kept(CACHE / f"systems-base-{suite()}.tar", _build_base)
    except (AssertionError, subprocess.TimeoutExpired) as error:
        refuse(f"what all Debian systems have in common cannot be built here: {error}")
        raise


def _kept(target: Path, build: Callable[[Path], None]) -> Path:
    """Return a file of the cache; others that want the same one wait until it is there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            part = target.with_suffix(".part")
            part.unlink(missing_ok=True)
            build(part)
            part.rename(target)
    return target


def _build_base(target: Path) -> None:
    run(
        "mmdebstrap",
        "--quiet",
        "--variant=apt",
        f"--include={_BASE_PACKAGES}",
        "--skip=cleanup/apt/lists",
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _NOT_INSTALLED),
        '--setup-hook=mkdir -p "$1/usr/share/man/man1"',  # a package of Java fails without it
        "--format=tar",
        suite(),
        target,
        timeout=_BUILD_SECONDS,
    )


def _build(system: System, base: Path, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        root, files = Path(name) / "root", Path(name) / "files"
        root.mkdir()
        files.mkdir()
        write_files(files, system.files)
        environment = {
            "PACKAGES": " ".join(system.packages),
            "FINISH": system.finish,
            "DEBIAN_FRONTEND": "noninteractive",
        }
        settings = [f"{key}={value}" for key, value in environment.items()]
        run(
            *("env", *settings, "unshare", "--mount", "/bin/sh", "-c", _BUILD, "sh"),
            *(root, base, files, target, _DISK_SIZE),
            timeout=_BUILD_SECONDS,
        )
