"""A reader that somebody else ships is installed with pip and used like a built-in one."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

MODULE = """
from formats.core.reader import Category, ReaderDoc, Signature, Volume, Volumes
from formats.core.source import slice_source


class Toy:
    name = "toy"
    category = Category.DISK
    signatures = (Signature(0, b"TOYDISK1"),)
    supersedes = frozenset()
    doc = ReaderDoc("A toy disk")

    def probe(self, source):
        return True

    def open(self, source, context):
        inner = slice_source(source, 8, source.size - 8, source.origin.child("toy"))
        return Volumes((Volume(inner, "toy:1"),))


READER = Toy()
"""

SCRIPT = """
import sys
from pathlib import Path
from formats.core.opener import open_artifact

with open_artifact([Path(sys.argv[1])]) as artifact:
    for node in artifact.walk():
        print(node.origin, node.reader.name if node.reader else None)
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder that a wheel with one reader was installed into."""
    wheel = tmp_path / "toy_reader-1.0-py3-none-any.whl"
    info = "toy_reader-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("toy_reader.py", MODULE)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: toy-reader\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(
            f"{info}/entry_points.txt", "[oci_convert.readers.v1]\ntoy = toy_reader:READER\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    target = tmp_path / "site"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-index",
            "--no-deps",
            "--disable-pip-version-check",
            "--target",
            target,
            wheel,
        ],
        check=True,
        timeout=120,
    )
    return target


def test_an_installed_reader_opens_its_format(site: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk.toy"
    disk.write_bytes(b"TOYDISK1" + bytes(4096))
    paths = [str(site), str(Path(__file__).parents[3])]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, disk],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.splitlines() == ["disk.toy toy", "disk.toy › toy None"]
