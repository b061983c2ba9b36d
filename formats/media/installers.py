"""Media that are no system themselves, by what is on them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from formats.core.origin import printable
from formats.media.medium import Installer, MediumFiles

_KNOPPIX_MAGIC = b"#!/bin/sh\n#V"
"""A cloop file starts with a script that mounts it."""
_TREEINFO_NAME = re.compile(r"(?m)^[ \t]*name[ \t]*=(.*)$")
_LONGEST_NAME = 120
_USE_POOL = "its packages can be put into an image: give it as --pool, and them as --with"
_LINUX_ONLY = "only Linux systems become containers"


@dataclass(frozen=True, slots=True)
class _Row:
    """A kind of medium.

    :ivar paths: all of them are there, in lower case; each a choice of several.
    :ivar said_by: text file whose first line names it more exactly.
    """

    title: str
    paths: tuple[tuple[bytes, ...], ...]
    hint: str
    said_by: bytes | None = None


_ROWS = (
    _Row(
        "a Windows installation medium",
        ((b"sources/install.wim", b"sources/install.esd", b"sources/install.swm", b"bootmgr"),),
        _LINUX_ONLY,
    ),
    _Row(
        "an Android-x86 medium",
        ((b"system.sfs", b"system.efs", b"system.img"), (b"ramdisk.img",)),
        "Android needs its own kernel features and init: run it as a virtual machine",
    ),
    _Row(
        "an Alpine Linux medium, whose root is put together from packages when it starts",
        ((b"apks",), (b".alpine-release", b"boot/modloop-lts", b"boot/modloop-virt")),
        "start it in a virtual machine, install it with 'setup-alpine' and convert the disk, or"
        " take the distribution's minirootfs archive",
        b".alpine-release",
    ),
    _Row(
        "a Debian or Ubuntu installation medium",
        ((b".disk/info",), (b"dists",), (b"pool",)),
        _USE_POOL,
        b".disk/info",
    ),
    _Row(
        "a Fedora or RHEL-like installation medium",
        ((b".treeinfo", b".discinfo"), (b"images/install.img", b"images/pxeboot", b"packages")),
        _USE_POOL,
    ),
    _Row(
        "a SUSE installation medium",
        ((b"boot/x86_64/root", b"boot/aarch64/root", b"content"), (b"media.1", b"repodata")),
        _USE_POOL,
        b"media.1/media",
    ),
    _Row(
        "a FreeBSD medium",
        ((b"boot/loader.efi", b"boot/cdboot"), (b"usr/freebsd-dist", b"rescue")),
        _LINUX_ONLY,
    ),
    _Row(
        "a GRUB rescue medium",
        ((b"boot/grub/i386-pc/normal.mod", b"boot/grub/x86_64-efi/normal.mod"),),
        "convert the disk that it starts",
    ),
)


def find_installer(files: MediumFiles) -> Installer | None:
    """Return what a medium without a live system is; None if that is not known."""
    knoppix = _knoppix(files)
    if knoppix is not None:
        return knoppix
    for row in _ROWS:
        if all(any(files.has(path) for path in choice) for choice in row.paths):
            said = files.text(row.said_by).strip().splitlines() if row.said_by else []
            name = said[0] if said else _treeinfo_name(files)
            name = printable(name[:_LONGEST_NAME])
            title = f"{row.title} ({name})" if name else row.title
            return Installer(title, row.hint)
    return None


def _treeinfo_name(files: MediumFiles) -> str:
    match = _TREEINFO_NAME.search(files.text(b".treeinfo"))
    return match[1].strip() if match is not None else ""


def _knoppix(files: MediumFiles) -> Installer | None:
    entry = files.file(b"knoppix/knoppix")
    if entry is None or not files.head(entry, len(_KNOPPIX_MAGIC)).startswith(_KNOPPIX_MAGIC):
        return None
    return Installer(
        "a Knoppix medium, whose root is in a cloop file",
        "unpack it with 'extract_compressed_fs KNOPPIX/KNOPPIX root.iso' (cloop-utils) and convert"
        " that",
    )
