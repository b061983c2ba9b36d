"""What the docs' examples take beside disks: packages, a pool, an archive, a script, a medium."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

from tests.images.debs import built
from tests.images.media import iso, live_root, squash
from tests.support.programs import need, run

_FIELDS = """\
Package: {name}
Version: {version}
Architecture: all
Maintainer: Someone <someone@example.org>
Description: an example
"""
_BACKUP = "#!/bin/sh\necho saved\n"


def build_packages(folder: Path) -> None:
    """Make ``hello.deb``, ``pool/`` with what it needs, an archive, a script and a live medium.

    They are ``app-1.0.tgz``, ``backup.sh`` and ``live.iso``; of ``busybox-base`` a base image with
    a shell is made.
    """
    need("dpkg-deb", "mksquashfs", "xorriso", "busybox")
    _package(folder, "hello", "2.12", "/usr/bin/hello", "Depends: libgreet (>= 1)\n")
    (folder / "pool").mkdir()
    _package(folder / "pool", "libgreet", "1.4", "/usr/share/greet/text", "")
    _archive(folder)
    script = folder / "backup.sh"
    script.write_text(_BACKUP)
    script.chmod(0o755)
    _busybox(folder / "busybox-base")
    root = live_root(folder / "live-root")
    shutil.copy(folder / "busybox-base/bin/busybox", root / "bin/sh")
    squash(root, folder / "medium/live/filesystem.squashfs")
    iso(folder / "medium", folder / "live.iso")
    for rest in ("live-root", "medium"):
        shutil.rmtree(folder / rest)


def _package(folder: Path, name: str, version: str, path: str, fields: str) -> None:
    tree = folder / f"{name}-tree"
    file = tree / path.lstrip("/")
    file.parent.mkdir(parents=True)
    file.write_text("#!/bin/sh\necho hello\n")
    file.chmod(0o755)
    control = _FIELDS.format(name=name, version=version) + fields
    built(tree, folder / f"{name}.deb", "--root-owner-group", control=control.encode())
    shutil.rmtree(tree)


def _archive(folder: Path) -> None:
    tree = folder / "app-1.0"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin/app").write_text("#!/bin/sh\nexec /bin/sh\n")
    (tree / "bin/app").chmod(0o755)
    (tree / "README").write_text("An application.\n")
    with tarfile.open(folder / "app-1.0.tgz", "w:gz") as archive:
        archive.add(tree, "app-1.0")
    shutil.rmtree(tree)


def _busybox(tree: Path) -> None:
    for name in ("bin", "etc", "usr", "var"):
        (tree / name).mkdir(parents=True)
    program = shutil.which("busybox")
    assert program is not None
    shutil.copy(program, tree / "bin/busybox")
    run("ln", "-s", "busybox", tree / "bin/sh")
    (tree / "etc/os-release").write_text("ID=base\nPRETTY_NAME=Base\n")
