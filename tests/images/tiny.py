"""The tiny server in all the forms that the docs and the command line's tests use."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path

from tests.images.recipes import tiny_server

FORMS = {
    "server.qcow2": ("-c", "-O", "qcow2"),
    "server.vmdk": ("-O", "vmdk", "-o", "subformat=streamOptimized"),
}


def build_all(folder: Path) -> None:
    """Make ``server.raw``, ``.raw.gz``, ``.qcow2`` and ``.vmdk``, ``split.raw``, and two disks."""
    raw = folder / "server.raw"
    tiny_server.build(raw)
    for name, options in FORMS.items():
        _convert(raw, folder / name, *options)
    (folder / "server.raw.gz").write_bytes(gzip.compress(raw.read_bytes(), 1))
    tiny_server.build(folder / "split.raw", separate_var=True)
    system, data = folder / "system.raw", folder / "data.raw"
    tiny_server.build(system, var_disk=data)
    for disk in (system, data):
        _convert(disk, disk.with_suffix(".qcow2"), "-O", "qcow2")
        disk.unlink()


def _convert(source: Path, target: Path, *options: str) -> None:
    subprocess.run(["qemu-img", "convert", *options, source, target], check=True)
