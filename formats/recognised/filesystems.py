"""Filesystems that are recognised and not read."""

from __future__ import annotations

import struct
from collections.abc import Callable

from formats.core.reader import Category, Signature
from formats.core.source import ByteSource
from formats.recognised import probes
from formats.recognised.row import RecognisedFormat, signature_suffices

_COPY = "copy the files on a machine that mounts it onto an ext4 disk, and convert that"
_WINDOWS = "Windows does not run in a Linux container; data alone can be copied onto an ext4 disk"
# What clears the first sector when it is made. A boot sector in front of it is newer.
_CLEARING = frozenset({"btrfs", "reiserfs"})


def _filesystem(
    name: str,
    title: str,
    *signatures: Signature,
    hint: str = _COPY,
    check: Callable[[ByteSource], bool] = signature_suffices,
    supersedes: frozenset[str] = frozenset(),
    family: str | None = None,
) -> RecognisedFormat:
    return RecognisedFormat(
        name,
        Category.FILESYSTEM,
        signatures,
        title,
        hint,
        check=check,
        supersedes=supersedes,
        family=family,
    )


def _ufs_signatures(magic: int) -> tuple[Signature, ...]:
    return tuple(
        Signature(offset + probes.UFS_MAGIC_OFFSET, struct.pack(order, magic))
        for offset in probes.UFS_SUPERBLOCKS
        for order in ("<I", ">I")
    )


FILESYSTEMS: tuple[RecognisedFormat, ...] = (
    _filesystem("apfs", "an APFS container", Signature(32, b"NXSB"), family="macOS"),
    _filesystem(
        "bcachefs",
        "a bcachefs filesystem",
        Signature(4120, bytes.fromhex("c68573f666ce90a9d96a60cf803df7ef")),
    ),
    _filesystem(
        "bfs",
        "an SCO boot filesystem",
        Signature(0, struct.pack("<I", 0x1BADFACE)),
        supersedes=_CLEARING,
    ),
    _filesystem(
        "cramfs",
        "a cramfs filesystem",
        Signature(0, struct.pack("<I", 0x28CD3D45)),
        Signature(0, struct.pack(">I", 0x28CD3D45)),
        check=probes.is_cramfs,
    ),
    _filesystem("exfat", "an exFAT filesystem", Signature(3, b"EXFAT   "), supersedes=_CLEARING),
    _filesystem("f2fs", "an F2FS filesystem", Signature(1024, b"\x10\x20\xf5\xf2")),
    _filesystem("gfs2", "a GFS2 filesystem", Signature(65536, bytes.fromhex("01161970"))),
    _filesystem(
        "hfs", "an HFS filesystem", Signature(1024, b"BD"), check=probes.is_hfs, family="macOS"
    ),
    _filesystem(
        "hfsplus",
        "an HFS+ filesystem",
        Signature(1024, b"H+"),
        Signature(1024, b"HX"),
        check=probes.is_hfs_plus,
        family="macOS",
    ),
    _filesystem("jfs", "a JFS filesystem", Signature(0x8000, b"JFS1")),
    _filesystem(
        "minix",
        "a Minix filesystem",
        *(Signature(1040, struct.pack("<H", magic)) for magic in (0x137F, 0x138F, 0x2468, 0x2478)),
        Signature(1048, struct.pack("<H", 0x4D5A)),
        check=probes.is_minix,
    ),
    _filesystem(
        "nilfs2",
        "a NILFS2 filesystem",
        Signature(1030, struct.pack("<H", 0x3434)),
        check=probes.is_nilfs,
    ),
    _filesystem(
        "ntfs",
        "an NTFS filesystem",
        Signature(3, b"NTFS    "),
        hint=_WINDOWS,
        check=probes.is_ntfs,
        supersedes=_CLEARING,
        family="Windows",
    ),
    _filesystem(
        "ocfs2",
        "an OCFS2 filesystem",
        *(Signature(1024 << shift, b"OCFSV2") for shift in range(4)),
    ),
    _filesystem(
        "refs",
        "a ReFS filesystem",
        Signature(3, b"ReFS\0\0\0\0"),
        hint=_WINDOWS,
        family="Windows",
    ),
    _filesystem("reiser4", "a Reiser4 filesystem", Signature(0x10000, b"ReIsEr4")),
    _filesystem(
        "reiserfs",
        "a ReiserFS filesystem",
        *(
            Signature(place, magic)
            for place in (0x10034, 0x2034)
            for magic in (b"ReIsErFs", b"ReIsEr2Fs", b"ReIsEr3Fs")
        ),
    ),
    _filesystem("romfs", "a romfs image", Signature(0, b"-rom1fs-")),
    _filesystem("ubi", "a UBI flash image", Signature(0, b"UBI#\1")),
    _filesystem("ubifs", "a UBIFS image", Signature(0, bytes.fromhex("31181006"))),
    _filesystem(
        "ufs1",
        "a UFS1 filesystem",
        *_ufs_signatures(probes.UFS1_MAGIC),
        check=probes.is_ufs1,
        family="BSD",
    ),
    _filesystem(
        "ufs2",
        "a UFS2 filesystem",
        *_ufs_signatures(probes.UFS2_MAGIC),
        check=probes.is_ufs2,
        family="BSD",
    ),
    _filesystem(
        "vmfs",
        "a VMware datastore (VMFS)",
        Signature(0x100000, struct.pack("<I", 0xC001D00D)),
        Signature(0x200000, struct.pack("<I", 0x2FABF15E)),
        hint="export the machine on it: 'ovftool', or copy its .vmdk files out",
        family="VMware",
    ),
    _filesystem(
        "zfs",
        "a member of a ZFS pool",
        # The name of the first pair in a label's list; the label is there twice at the front.
        Signature(0x4018, b"version\0"),
        Signature(0x44018, b"version\0"),
        hint="copy the files out of the imported pool onto an ext4 disk",
    ),
)

FILESYSTEM_NAMES = frozenset(
    {
        "btrfs",
        "erofs",
        "ext",
        "fat",
        "iso9660",
        "squashfs",
        "swap",
        "swsuspend",
        "udf",
        "xfs",
        *(row.name for row in FILESYSTEMS),
    }
)
"""Everything that a volume manager in front of it takes the place of, read here or not."""
