"""Live media of every layout, and installation media, as folders to be put on an ISO or a stick."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.images.erofs import mkfs_erofs
from tests.images.squashfs import mksquashfs
from tests.images.systems import Files, root_files, write_files
from tests.images.volumes import MIB, blank, sfdisk
from tests.support.programs import need, run

_MTIME = 1_700_000_000
_STICK_MIB = 24

Layout = Callable[[Path, Path, Path], None]
"""Puts a root folder on a medium: (root, medium, a folder to work in)."""

Write = Callable[[Path, Path], Path]
"""Writes the folder of a medium to an image."""


def live_root(folder: Path, more: Files | None = None) -> Path:
    """Make a root folder with whole seconds, as squashfs has them."""
    folder.mkdir()
    write_files(folder, {**root_files("Live"), "usr/share/doc/readme": "x" * 9000, **(more or {})})
    os.link(folder / "bin/sh", folder / "bin/ash")
    (folder / "var/link").symlink_to("../etc/os-release")
    set_times(folder)
    return folder


def set_times(folder: Path) -> None:
    """Give everything in a folder one time."""
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (_MTIME, _MTIME), follow_symlinks=False)


def ext4(tree: Path, image: Path) -> Path:
    """Make an ext4 image of a folder."""
    need("mke2fs")
    blank(image, 2 * MIB)
    run("mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-d", tree, image)
    return image


def squash(tree: Path, image: Path, *options: str) -> Path:
    """Make a squashfs image of a folder, in folders that are made."""
    image.parent.mkdir(parents=True, exist_ok=True)
    return mksquashfs(tree, image, "-comp", "zstd", "-Xcompression-level", "1", *options)


def _with_image(work: Path, name: str, root: Path) -> Path:
    """Return a folder that holds nothing but an ext4 image of the root, below ``name``."""
    folder = work / "outer"
    (folder / name).parent.mkdir(parents=True)
    ext4(root, folder / name)
    return folder


def _liveos(root: Path, medium: Path, work: Path) -> None:
    outer = _with_image(work, "LiveOS/rootfs.img", root)
    squash(outer, medium / "LiveOS/squashfs.img")


def _liveos_erofs(root: Path, medium: Path, work: Path) -> None:
    del work
    (medium / "LiveOS").mkdir()
    mkfs_erofs(root, medium / "LiveOS/squashfs.img", f"-T{_MTIME}", "-zlz4")


def _liveos_plain(root: Path, medium: Path, work: Path) -> None:
    del work
    (medium / "LiveOS").mkdir()
    ext4(root, medium / "LiveOS/rootfs.img")


def _live_boot_ext4(root: Path, medium: Path, work: Path) -> None:
    del work
    (medium / "live").mkdir()
    ext4(root, medium / "live/filesystem.ext4")
    (medium / "live/vmlinuz").write_bytes(b"a kernel")


def _casper(root: Path, medium: Path, work: Path) -> None:
    del work
    squash(root, medium / "casper/filesystem.squashfs")
    (medium / "casper/filesystem.manifest").write_text("base-files\t12\nbash\t5.2\n")
    (medium / "casper/filesystem.size").write_text("9000\n")


def _alpine_like(root: Path, medium: Path, work: Path) -> None:
    modules = work / "modules"
    write_files(modules, {"modules/6.6/kernel.ko": "x"})
    squash(modules, medium / "boot/modloop-lts")
    squash(root, medium / "images/system.squashfs")


def _one(path: str) -> Layout:
    def put(root: Path, medium: Path, work: Path) -> None:
        del work
        squash(root, medium / path)

    return put


def _airootfs_erofs(root: Path, medium: Path, work: Path) -> None:
    del work
    (medium / "arch/x86_64").mkdir(parents=True)
    mkfs_erofs(root, medium / "arch/x86_64/airootfs.erofs", f"-T{_MTIME}", "-zlz4")


def _airootfs_ext4(root: Path, medium: Path, work: Path) -> None:
    squash(_with_image(work, "airootfs.img", root), medium / "arch/x86_64/airootfs.sfs")


LAYOUTS: dict[str, Layout] = {
    "LiveOS, ext4 in squashfs": _liveos,
    "LiveOS, squashfs": _one("LiveOS/squashfs.img"),
    "LiveOS, EROFS": _liveos_erofs,
    "LiveOS, ext4": _liveos_plain,
    "casper": _casper,
    "live-boot": _one("live/filesystem.squashfs"),
    "live-boot, ext4": _live_boot_ext4,
    "archiso": _one("arch/x86_64/airootfs.sfs"),
    "archiso, EROFS": _airootfs_erofs,
    "archiso, ext4 in squashfs": _airootfs_ext4,
    "SystemRescue": _one("sysresccd/x86_64/airootfs.sfs"),
    "Slax": _one("slax/01-core.sb"),
    "Porteus": _one("porteus/base/001-core.xzm"),
    "a lone image beside kernel modules": _alpine_like,
}


def medium_of(layout: Layout, root: Path, work: Path) -> Path:
    """Return the folder of a medium with the root in its layout."""
    medium, inner = work / "medium", work / "inner"
    medium.mkdir(parents=True)
    inner.mkdir()
    layout(root, medium, inner)
    return medium


def iso(medium: Path, image: Path, *options: str) -> Path:
    """Write a medium to an ISO with Rock Ridge and Joliet."""
    need("xorriso")
    run(
        *("xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-V", "LIVE", *options),
        *("-o", image, medium),
    )
    return image


def fat_stick(medium: Path, image: Path) -> Path:
    """Write a medium to a stick with one FAT partition."""
    need("mkfs.vfat", "mcopy")
    part = image.with_suffix(".part")
    blank(part, _STICK_MIB * MIB)
    run("mkfs.vfat", "-F", "16", part)
    run("mcopy", "-s", "-i", part, *sorted(medium.iterdir()), "::")
    return _stick(part, image, "ef")


def ext4_stick(medium: Path, image: Path) -> Path:
    """Write a medium to a stick with one ext4 partition."""
    need("mke2fs")
    part = image.with_suffix(".part")
    blank(part, _STICK_MIB * MIB)
    run("mke2fs", "-q", "-F", "-t", "ext4", "-d", medium, part)
    return _stick(part, image, "83")


def _stick(part: Path, image: Path, kind: str) -> Path:
    table = f"label: dos\nstart=2048, size={_STICK_MIB}MiB, type={kind}\n"
    sfdisk(image, (_STICK_MIB + 2) * MIB, table)
    with image.open("r+b") as whole, part.open("rb") as content:
        whole.seek(MIB)
        shutil.copyfileobj(content, whole)
    return image


DEBIAN_INSTALLER: Files = {
    ".disk/info": 'Debian GNU/Linux 12.9.0 "Bookworm" - Official amd64 NETINST\n',
    "dists/bookworm/Release": "Suite: stable\n",
    "install.amd/initrd.gz": "x",
    "pool/main/b/bash/bash_5.2_amd64.deb": "x",
    "pool/main/d/dash/dash_0.5_amd64.deb": "x",
}
FEDORA_INSTALLER: Files = {
    ".discinfo": "1700000000.0\n40\nx86_64\n",
    ".treeinfo": "[general]\narch = x86_64\nname = Fedora 40\nversion = 40\n",
    "images/install.img": "x",
    "AppStream/repodata/repomd.xml": "<repomd/>",
    "AppStream/Packages/n/nginx-1.24-1.x86_64.rpm": "x",
    "BaseOS/repodata/repomd.xml": "<repomd/>",
    "BaseOS/Packages/b/bash-5.2-1.x86_64.rpm": "x",
}
ALPINE: Files = {
    ".alpine-release": "alpine-standard 3.20.0 240522\n",
    "apks/x86_64/APKINDEX.tar.gz": "x",
    "apks/x86_64/alpine-base-3.20.0-r0.apk": "x",
    "apks/x86_64/busybox-1.36.1-r28.apk": "x",
    "boot/modloop-lts": "hsqs",
}
WINDOWS: Files = {"bootmgr": "x", "sources/install.wim": "MSWIM", "setup.exe": "MZ"}
SUSE: Files = {
    "boot/x86_64/root": "x",
    "media.1/media": "SUSE - openSUSE-Leap-15.6-x86_64-Build710.3\n",
    "repodata/repomd.xml": "<repomd/>",
    "x86_64/bash-4.4-1.x86_64.rpm": "x",
}
KNOPPIX: Files = {"KNOPPIX/KNOPPIX": "#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0\n"}
ANDROID: Files = {"system.sfs": "hsqs", "ramdisk.img": "x", "initrd.img": "x", "kernel": "x"}
