"""Tests of whose a file is, against the package managers that wrote it down."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from convert.images.folder import FolderTree
from convert.packages.owners import file_owners
from formats.core.tree import TreeIndex
from tests.images.rpm import EVERYTHING, rpmbuild
from tests.support.memory_tree import memory_tree
from tests.support.programs import need, run

_INFO = Path("/var/lib/dpkg/info")
_SAMPLE = ("coreutils", "dpkg", "libc6", "mount", "tar", "util-linux")


def _owners(root: Path) -> dict[bytes, str]:
    folder = FolderTree(root)
    try:
        return file_owners(TreeIndex(folder))
    finally:
        folder.close()


def test_files_of_this_machine_belong_to_whom_dpkg_says(tmp_path: Path) -> None:
    """Files stand in as empty ones, at the places where this machine has them."""
    need("dpkg-query")
    info = tmp_path / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    (tmp_path / "usr/lib").mkdir(parents=True)
    for link in ("bin", "sbin", "lib", "lib64"):
        (tmp_path / "usr" / link).mkdir(exist_ok=True)
        (tmp_path / link).symlink_to(f"usr/{link}")
    expected: dict[bytes, str] = {}
    for name in _SAMPLE:
        for listed in [*_INFO.glob(f"{name}.list"), *_INFO.glob(f"{name}:*.list")]:
            shutil.copy(listed, info)
        for line in run("dpkg-query", "-L", name).stdout.decode().splitlines():
            path = Path(line)
            if line.startswith("/") and path.is_file() and not line.startswith("/var/lib/dpkg/"):
                place = tmp_path / line[1:]
                place.parent.mkdir(parents=True, exist_ok=True)
                place.touch()
                expected[bytes(place.parent.resolve() / place.name)] = name
    root = bytes(tmp_path) + b"/"
    assert len(expected) > 300
    assert _owners(tmp_path) == {path.removeprefix(root): name for path, name in expected.items()}


def test_files_of_an_rpm_database_belong_to_whom_rpm_says(tmp_path: Path) -> None:
    need("rpm", "rpmbuild")
    package = rpmbuild(tmp_path / "build", EVERYTHING)
    root = tmp_path / "root"
    options = ("--root", root, "--dbpath", "/var/lib/rpm")
    run("rpm", *options, "-i", "--justdb", "--nodeps", "--noscripts", package, timeout=60)
    form = "[%{FILEMODES:perms} %{FILENAMES}\\n]"
    listed = run("rpm", *options, "-q", "--qf", form, "everything").stdout.splitlines()
    names = {line.partition(b" /")[2] for line in listed if not line.startswith(b"d")}
    for name in names:
        place = root / os.fsdecode(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    assert len(names) > 5
    assert _owners(root) == dict.fromkeys(names, "everything")


def test_files_of_apk_and_pacman_and_distroless_are_found() -> None:
    tree = memory_tree(r"""
        l 777 0:0 lib usr/lib
        f 644 0:0 usr/lib/ld.so
        f 644 0:0 top
        f 644 0:0 usr/bin/bash
        f 644 0:0 usr/bin/own
        f 644 0:0 usr/share/zone
        f 644 0:0 usr/lib/apk/db/installed P:musl\nV:1\nF:lib\nR:ld.so\nF:\nR:top\n\nP:b\n
        f 644 0:0 var/lib/pacman/local/bash-5.2-1/files %FILES%\nusr/\nusr/bin/bash\n\n%BACKUP%\nx\n
        f 644 0:0 var/lib/dpkg/status.d/tz.md5sums 00\x20\x20usr/share/zone\n
    """)
    assert file_owners(TreeIndex(tree)) == {
        b"usr/lib/ld.so": "musl",
        b"top": "musl",
        b"usr/bin/bash": "bash",
        b"usr/share/zone": "tz",
    }
