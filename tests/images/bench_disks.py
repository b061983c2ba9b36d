"""The disks that ``make bench`` reads: one Debian server with compilers, in every form measured."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.images.debs import deb as deb_of
from tests.images.lived_in import make as make_lived_in
from tests.images.recipes import debian_server
from tests.images.rpm import rpmbuild

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "images"
EXTRA_PACKAGES = ("gcc", "git", "perl", "python3", "vim", "locales", "manpages-dev")
_VOLUME_BYTES = 1500 << 20


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk, and how the kernel mounts the root on it.

    :ivar filesystem: as ``mount -t`` takes it; empty for what the kernel cannot mount as it is.
    """

    path: Path
    filesystem: str = ""
    offset: int = 0
    size: int = 0

    @contextlib.contextmanager
    def mounted(self) -> Iterator[Path]:
        """Mount the root read-only through a loop device."""
        options = f"ro,loop,offset={self.offset}"
        options += f",sizelimit={self.size}" if self.size else ""
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(
                ["mount", "-t", self.filesystem, "-o", options, self.path, folder], check=True
            )
            try:
                yield Path(folder)
            finally:
                subprocess.run(["umount", folder], check=True)


def raw() -> Disk:
    """Return the disk as it was made: GPT with ext4."""
    path = _made("bench-server.raw", _build)
    size = debian_server.root_bytes(path)
    return Disk(path, "ext4", debian_server.ROOT_OFFSET, size)


def converted(ending: str, *options: str) -> Disk:
    """Return the disk in another form, made by ``qemu-img convert``."""
    source = raw().path

    def make(path: Path) -> None:
        subprocess.run(["qemu-img", "convert", *options, source, path], check=True)

    return Disk(_made(f"bench-server.{ending}", make))


def copied(filesystem: str, *mkfs: str, options: str = "") -> Disk:
    """Return the root on another filesystem, copied there through the kernel."""

    def make(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(_VOLUME_BYTES)
        command: list[str | Path] = [*mkfs, path]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        flags = ",".join(filter(None, ["loop", options]))
        with raw().mounted() as source, tempfile.TemporaryDirectory() as folder:
            subprocess.run(["mount", "-t", filesystem, "-o", flags, path, folder], check=True)
            try:
                subprocess.run(["cp", "-a", f"{source}/.", folder], check=True)
            finally:
                subprocess.run(["umount", folder], check=True)

    return Disk(_made(f"bench-server.{filesystem}", make), filesystem)


def squashed(compressor: str) -> Disk:
    """Return the root as a squashfs."""

    def make(path: Path) -> None:
        with raw().mounted() as source:
            options = ("-comp", compressor, "-noappend", "-quiet", "-no-progress")
            subprocess.run(
                ["mksquashfs", source, path, *options], check=True, stdout=subprocess.DEVNULL
            )

    return Disk(_made(f"bench-server.{compressor}.squashfs", make), "squashfs")


def live_medium() -> Disk:
    """Return an ISO of 660 MB with two live systems, laid out as archiso does."""

    def make(path: Path) -> None:
        systems = {"x86_64": squashed("gzip"), "aarch64": squashed("zstd")}
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            for architecture, system in systems.items():
                place = Path(folder, "arch", architecture)
                place.mkdir(parents=True)
                (place / "airootfs.sfs").hardlink_to(system.path)
            command = ["xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-o"]
            subprocess.run([*command, path, folder], check=True, stderr=subprocess.DEVNULL)

    return Disk(_made("bench-live.iso", make))


def lived_in() -> Disk:
    """Return an ext4 with 100,000 files that inspection has much to look at."""
    return Disk(_made("bench-lived-in.raw", make_lived_in), "ext4")


_PACKAGED = "usr/lib"
"""Folder of the root that the packages are made of."""


def deb() -> Disk:
    """Return a package of some hundred megabytes, compressed with xz as Debian's are."""

    def make(path: Path) -> None:
        with raw().mounted() as source, tempfile.TemporaryDirectory(dir=CACHE) as folder:
            _copy_packaged(source, folder)
            control = Path(folder, "DEBIAN/control")
            control.parent.mkdir()
            control.write_text(
                "Package: bench\nVersion: 1\nArchitecture: amd64\nDescription: large\n"
                "Maintainer: Bench <bench@example.org>\n"
            )
            command: list[str | Path] = ["dpkg-deb", "-Zxz", "-z1", "--build", folder, path]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    return Disk(_made("bench-package.deb", make))


def small_deb() -> Disk:
    """Return a package of some 60 kB, which says how long starting takes."""

    def make(path: Path) -> None:
        content = random.Random(1).randbytes(56_000)
        deb_of(
            path,
            control_files={"postinst": b"#!/bin/sh\nset -e\nadduser --system small\n"},
            files={"usr/bin/small": b"\x7fELF" + content, "etc/small.conf": b"answer=42\n"},
        )

    return Disk(_made("bench-small.deb", make))


def rpm() -> Disk:
    """Return the same as an rpm, compressed with zstd as Fedora's are."""

    def make(path: Path) -> None:
        with raw().mounted() as source, tempfile.TemporaryDirectory(dir=CACHE) as folder:
            _copy_packaged(source, f"{folder}/tree")
            spec = (
                "Name: bench\nVersion: 1\nRelease: 1\nSummary: large\nLicense: MIT\n"
                "AutoReqProv: no\n%description\nlarge\n"
                f"%install\nmkdir -p %{{buildroot}}\ncp -a {folder}/tree/. %{{buildroot}}\n"
                f"%files\n/{_PACKAGED}/*\n"
            )
            rpmbuild(Path(folder, "build"), spec, payload="zstd", timeout=600).rename(path)

    return Disk(_made("bench-package.rpm", make))


def _copy_packaged(source: Path, folder: str) -> None:
    target = Path(folder, _PACKAGED)
    target.parent.mkdir(parents=True)
    subprocess.run(["cp", "-a", source / _PACKAGED, target], check=True)


def _build(path: Path) -> None:
    debian_server.build(path, extra_packages=EXTRA_PACKAGES, root_mib=1500)


def _made(name: str, make: Callable[[Path], None]) -> Path:
    """Return a cached image; what is half made is never taken for one."""
    path = CACHE / name
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        print(f"building {path.relative_to(ROOT)} …", flush=True)
        unfinished = path.with_name(f"making-{os.getpid()}-{name}")
        try:
            make(unfinished)
            unfinished.rename(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return path
