"""Recipes for every format that is recognised and not read: made by its tool, or by its marks."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from tests.images.volumes import MIB, blank, patch
from tests.support.programs import need, run


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a format is made, and its two names.

    :ivar blkid: its type for ``blkid``; empty for disk images, which blkid does not look for.
    :ivar size: of the blank image to start with; 0 for none.
    :ivar command: with ``{image}``, ``{tree}`` for a folder with a file in it, and ``{file}`` for
        a file of two pages.
    """

    name: str
    blkid: str
    size: int
    command: tuple[str, ...]


def recipe(name: str, size_mib: int, command: str, blkid: str | None = None) -> Recipe:
    """Return a recipe from a command with blanks; blkid's name is ours unless given."""
    known = name if blkid is None else blkid
    return Recipe(name, known, size_mib * MIB, tuple(command.split()))


TOOLS = (
    recipe("apm", 4, "parted --script {image} mklabel mac", "mac"),
    recipe("bfs", 4, "mkfs.bfs {image}"),
    recipe("cramfs", 0, "mkfs.cramfs {tree} {image}"),
    recipe("dm-verity", 4, "veritysetup format {file} {image}", "DM_verity_hash"),
    recipe("exfat", 4, "mkfs.exfat {image}"),
    recipe("f2fs", 52, "mkfs.f2fs -q -f {image}"),
    recipe("jfs", 16, "mkfs.jfs -q {image}"),
    recipe("minix", 4, "mkfs.minix -1 {image}"),
    recipe("minix", 4, "mkfs.minix -2 {image}"),
    recipe("minix", 4, "mkfs.minix -3 {image}"),
    recipe("ntfs", 4, "mkfs.ntfs --force --quick --quiet {image}"),
    recipe("qed", 0, "qemu-img create -q -f qed {image} 4M", ""),
    recipe("reiserfs", 36, "mkfs.reiserfs -q -f {image}"),
    recipe("sgi-label", 4, "parted --script {image} mklabel dvh", "sgi"),
    recipe("sun-label", 4, "parted --script {image} mklabel sun", "sun"),
    recipe("swap", 1, "mkswap -f {image}"),
    recipe("swap", 4, "mkswap -f -p 16384 {image}"),
    recipe("swap", 4, "mkswap -f -p 65536 {image}"),
    recipe("7z", 0, "7z a -t7z {image}. {file}", ""),
    recipe("lzop", 0, "lzop -q -o {image} {file}", ""),
)


def make(what: Recipe, folder: Path) -> Path:
    """Make the image ``folder/image``."""
    image = folder / "image"
    if what.size:
        blank(image, what.size)
    return make_over(what, image)


def make_over(what: Recipe, image: Path) -> Path:
    """Make it in an image that is there, over what is in it."""
    need(what.command[0])
    tree = image.parent / "tree"
    tree.mkdir(exist_ok=True)
    (tree / "file").write_text("content\n")
    file = image.parent / "file"
    file.write_bytes(b"two pages ".ljust(8192, b"."))
    run(*(part.format(image=image, tree=tree, file=file) for part in what.command))
    return image


FORGED_BYTES = 8 * MIB
_BITLOCKER_GUID = bytes.fromhex("3bd66749292ed84a8399f6a339e3d001")
_APFS_OBJECT = struct.pack("<8xQQHHI", 1, 1, 1, 0x8000, 0)


def _bsd_label() -> bytes:
    """Return a disklabel of one partition, with the sum of half words that makes it one."""
    label = bytearray(148 + 16)
    label[:4] = label[132:136] = bytes.fromhex("57455682")
    struct.pack_into("<H", label, 138, 1)
    total = 0
    for (word,) in struct.iter_unpack("<H", label):
        total ^= word
    struct.pack_into("<H", label, 136, total)
    return bytes(label)


def _nilfs_superblock() -> bytes:
    """Return a NILFS2 superblock with its checksum; every byte that is not checked is zero."""
    seed, size = 0x12345678, 280
    block = bytearray(size)
    struct.pack_into("<IHHHHI", block, 0, 2, 0, 0x3434, size, 0, seed)
    struct.pack_into("<I", block, 16, ~zlib.crc32(block, ~seed & 0xFFFFFFFF) & 0xFFFFFFFF)
    return bytes(block)


# Name here, name in blkid, (offset, bytes) …; negative offsets count from the end.
KNOWN_TO_BLKID: tuple[tuple[str, str, tuple[tuple[int, bytes], ...]], ...] = (
    ("apfs", "apfs", ((0, _APFS_OBJECT + b"NXSB" + struct.pack("<I", 4096)),)),
    ("bitlocker", "BitLocker", ((0, b"\xeb\x52\x90-FVE-FS-"),)),
    ("bluestore", "ceph_bluestore", ((0, b"bluestore block device\n"),)),
    ("ddf", "ddf_raid_member", ((-512, bytes.fromhex("de11de11")),)),
    ("dm-integrity", "DM_integrity", ((0, b"integrt\0\1"),)),
    ("dm-snapshot", "DM_snapshot_cow", ((0, b"SnAp\1\0\0\0\1\0\0\0"),)),
    ("drbd", "drbd", ((-4096 + 16, struct.pack(">Q", 7)), (-4036, b"\x83\x74\x02\x6b"))),
    ("hfs", "hfs", ((1024, b"BD" + struct.pack(">12xHHHI", 3, 0, 100, 4096)),)),
    ("isw", "isw_raid_member", ((-1024, b"Intel Raid ISM Cfg Sig. 1.0.00"),)),
    ("lvm1", "LVM1_member", ((0, b"HM\1\0"),)),
    ("nvraid", "nvidia_raid_member", ((-1024, b"NVIDIA  "),)),
    ("refs", "ReFS", ((0, b"\0\0\0ReFS\0\0\0\0"),)),
    ("reiser4", "reiser4", ((0x10000, b"ReIsEr4"),)),
    ("romfs", "romfs", ((0, b"-rom1fs-" + struct.pack(">I", 1024)),)),
    ("swsuspend", "swsuspend", ((4086, b"S1SUSPEND\0"),)),
    ("ubi", "ubi", ((0, b"UBI#\1"),)),
    (
        "ufs1",
        "ufs",
        (
            (8192 + 48, struct.pack("<3I", 8192, 1024, 8)),
            (8192 + 1372, struct.pack("<I", 0x00011954)),
        ),
    ),
    (
        "ufs2",
        "ufs",
        (
            (65536 + 48, struct.pack(">3I", 32768, 4096, 8)),
            (65536 + 1372, struct.pack(">I", 0x19540119)),
        ),
    ),
    ("hfsplus", "hfsplus", ((1024, struct.pack(">2sH36xI", b"H+", 4, 4096)),)),
    ("nilfs2", "nilfs2", ((1024, _nilfs_superblock()),)),
    ("ubifs", "ubifs", ((0, bytes.fromhex("31181006")),)),
    ("vmfs", "VMFS_volume_member", ((0x100000, struct.pack("<I", 0xC001D00D)),)),
    ("vdo", "vdo", ((0, b"dmvdo001"),)),
)

_PE = ((0, b"MZ"), (0x3C, struct.pack("<I", 0x80)), (0x80, b"PE\0\0"))

OTHER_MARKS: tuple[tuple[str, tuple[tuple[int, bytes], ...]], ...] = (
    ("bcache", ((4120, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81")),)),
    ("bcachefs", ((4120, bytes.fromhex("c68573f666ce90a9d96a60cf803df7ef")),)),
    ("bitlocker", ((3, b"MSWIN4.1"), (424, _BITLOCKER_GUID), (510, b"\x55\xaa"))),
    ("bochs", ((0, b"Bochs Virtual HD Image"),)),
    ("bsd-disklabel", ((512, _bsd_label()),)),
    ("compress", ((0, b"\x1f\x9d\x90"),)),
    ("dmg", ((-512, b"koly"),)),
    ("ewf", ((0, b"EVF\x09\x0d\x0a\xff\x00"),)),
    ("geli", ((-512, b"GEOM::ELI\0"),)),
    ("geom", ((-512, b"GEOM::MIRROR\0"),)),
    ("gfs2", ((65536, bytes.fromhex("01161970")),)),
    ("inno-setup", (*_PE, (70_000, "built with Inno Setup.".encode("utf-16-le")))),
    ("installshield", (*_PE, (70_000, "InstallShield".encode("utf-16-le")))),
    ("ldm", ((3072, b"PRIVHEAD"),)),
    ("nsis", (*_PE, (70_000, b"\xef\xbe\xad\xdeNullsoftInst"))),
    ("ocfs2", ((2048, b"OCFSV2"),)),
    ("parallels-bundle", ((0, b'<?xml version="1.0"?>\n<Parallels_disk_image Version="1.0">'),)),
    ("pe", _PE),
    ("rar", ((0, b"Rar!\x1a\x07\x01\0"),)),
    ("shar", ((0, b"#!/bin/sh\n# This is a shell archive (produced by GNU sharutils"),)),
    ("stratis", ((516, b"!Stra0tis\x86\xff\x02^\x41rh"),)),
    ("wim", ((0, b"MSWIM\0\0\0"),)),
    ("zfs", ((0x4018, b"version\0"),)),
)


# Marks that are short, or lie where other formats have free bytes: alone they prove nothing.
TOO_LITTLE: tuple[tuple[str, tuple[tuple[int, bytes], ...]], ...] = (
    ("apm", ((512, b"PM\0\0"),)),
    ("compress", ((0, b"\x1f\x9d\xff"),)),
    ("bsd-disklabel", ((512, bytes.fromhex("57455682")),)),
    ("cramfs", ((0, struct.pack("<I", 0x28CD3D45)),)),
    ("fat", ((54, b"FAT16   "), (510, b"\x55\xaa"))),
    ("hfs", ((1024, b"BD"),)),
    ("hfsplus", ((1024, b"H+"),)),
    ("md 1.2", ((4096, struct.pack("<II", 0xA92B4EFC, 1)),)),
    ("md 0.90", ((-65536, struct.pack("<III", 0xA92B4EFC, 7, 7)),)),
    ("minix", ((1040, struct.pack("<H", 0x137F)),)),
    ("nilfs2", ((1030, struct.pack("<H", 0x3434)),)),
    ("ntfs", ((3, b"NTFS    "),)),
    ("parallels-bundle", ((0, b"<?xml version='1.0'?><plist>"),)),
    ("pe", ((0, b"MZ"), (0x3C, struct.pack("<I", 0x80)))),
    ("sun-label", ((508, b"\xda\xbe"),)),
    ("udf", ((0x8001, b"BEA01"),)),
    ("ufs2", ((65536 + 1372, struct.pack("<I", 0x19540119)),)),
)


def forged(folder: Path, marks: tuple[tuple[int, bytes], ...]) -> Path:
    image = blank(folder / "image", FORGED_BYTES)
    for offset, data in marks:
        patch(image, offset, data)
    return image


def blkid_type(image: Path) -> str:
    """Return the type that ``blkid`` finds, or else that of the partition table."""
    for tag in ("TYPE", "PTTYPE"):
        done = run("blkid", "-p", "-o", "value", "-s", tag, image, check=False)
        if found := done.stdout.decode().strip():
            return found
    return ""
