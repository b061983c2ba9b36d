"""Volume managers, encryption and partition tables that are recognised and not read."""

from __future__ import annotations

import struct

from formats.core.reader import Category, Signature
from formats.recognised import probes
from formats.recognised.filesystems import FILESYSTEM_NAMES
from formats.recognised.row import RecognisedFormat

_TABLES = frozenset({"gpt", "mbr"})
# What may be seen on one member of an array, or is left over in front of encrypted data. Reading it
# from there would be right for some RAID levels and silently wrong for the others.
_INNER = frozenset({"lvm", "lvm1", "luks1", "luks2", *FILESYSTEM_NAMES, *_TABLES})

_ACTIVATE = (
    "assemble it on a machine that can and image the result: 'qemu-img convert -O qcow2 /dev/… …'"
)
_UNLOCK = (
    "unlock it on a machine that has the key and image the open device: "
    "'qemu-img convert -O qcow2 /dev/mapper/… …'"
)
_EXPORT_DISK = "copy the files out on a machine that reads it, onto an ext4 disk"
_DRBD_MAGICS = (0x8374026B, 0x8374026C, 0x8374026D)

VOLUMES: tuple[RecognisedFormat, ...] = (
    RecognisedFormat(
        "apm",
        Category.VOLUMES,
        (Signature(512, b"PM\0\0"),),
        "a disk with an Apple partition map",
        _EXPORT_DISK,
        check=probes.is_apple_map,
        supersedes=_TABLES,
        family="macOS",
    ),
    RecognisedFormat(
        "bcache",
        Category.VOLUMES,
        (Signature(4120, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81")),),
        "a bcache device",
        _ACTIVATE,
        supersedes=_INNER,
    ),
    RecognisedFormat(
        "bitlocker",
        Category.VOLUMES,
        (
            Signature(3, b"-FVE-FS-"),
            # BitLocker To Go looks like FAT32 and has its GUID in the boot sector.
            Signature(424, bytes.fromhex("3bd66749292ed84a8399f6a339e3d001")),
        ),
        "a volume encrypted with BitLocker",
        "decrypt it in Windows first",
        supersedes=frozenset({"fat", "ntfs"}),
        is_encrypted=True,
        family="Windows",
    ),
    RecognisedFormat(
        "bluestore",
        Category.VOLUMES,
        (Signature(0, b"bluestore block device\n"),),
        "a Ceph BlueStore device",
        "export the RBD image from the cluster: 'rbd export'",
    ),
    RecognisedFormat(
        "bsd-disklabel",
        Category.VOLUMES,
        (Signature(512, bytes.fromhex("57455682")),),
        "a slice or disk with a BSD disklabel",
        _EXPORT_DISK,
        check=probes.is_bsd_label,
        # The first partition of a label often starts where the label's own slice does.
        supersedes=frozenset({"ufs1", "ufs2"}),
        family="BSD",
    ),
    RecognisedFormat(
        "ddf",
        Category.VOLUMES,
        (Signature(-512, bytes.fromhex("de11de11")),),
        "a member of a firmware RAID (DDF)",
        _ACTIVATE,
        supersedes=_INNER,
    ),
    RecognisedFormat(
        "dm-integrity",
        Category.VOLUMES,
        (Signature(0, b"integrt\0"),),
        "a dm-integrity device",
        _ACTIVATE,
    ),
    RecognisedFormat(
        "dm-snapshot",
        Category.VOLUMES,
        (Signature(0, b"SnAp\1\0\0\0"),),
        "the store of a device-mapper snapshot",
        "activate the snapshot and image that: 'qemu-img convert -O qcow2 /dev/VG/SNAPSHOT …'",
    ),
    RecognisedFormat(
        "dm-verity",
        Category.VOLUMES,
        (Signature(0, b"verity\0\0"),),
        "the hashes of a dm-verity volume",
        "nothing is lost: the data is in the volume beside it",
    ),
    RecognisedFormat(
        "drbd",
        Category.VOLUMES,
        tuple(Signature(-4096 + 60, struct.pack(">I", magic)) for magic in _DRBD_MAGICS),
        "a DRBD device with internal metadata",
        _ACTIVATE,
        check=probes.is_no_partitions_trailer,
        supersedes=_INNER,
    ),
    RecognisedFormat(
        "geli",
        Category.VOLUMES,
        (Signature(-512, b"GEOM::ELI\0"),),
        "a volume encrypted with GELI",
        _UNLOCK,
        check=probes.is_no_partitions_trailer,
        supersedes=_INNER,
        is_encrypted=True,
        family="BSD",
    ),
    RecognisedFormat(
        "geom",
        Category.VOLUMES,
        tuple(
            Signature(-512, b"GEOM::" + name)
            for name in (b"MIRROR\0", b"STRIPE\0", b"RAID3\0", b"CONCAT\0", b"JOURNAL\0")
        ),
        "a member of a GEOM array",
        _ACTIVATE,
        check=probes.is_no_partitions_trailer,
        supersedes=_INNER,
        family="BSD",
    ),
    RecognisedFormat(
        "isw",
        Category.VOLUMES,
        (Signature(-1024, b"Intel Raid ISM Cfg Sig. "),),
        "a member of a firmware RAID (Intel Matrix)",
        _ACTIVATE,
        supersedes=_INNER,
    ),
    RecognisedFormat(
        "ldm",
        Category.VOLUMES,
        (Signature(3072, b"PRIVHEAD"), Signature(-512, b"PRIVHEAD")),
        "a Windows dynamic disk (LDM)",
        "convert it to a basic disk in Windows first",
        supersedes=_TABLES,
        family="Windows",
    ),
    RecognisedFormat(
        "lvm1",
        Category.VOLUMES,
        (Signature(0, b"HM\1\0"), Signature(0, b"HM\2\0")),
        "a physical volume of LVM1",
        "convert it on a copy with 'vgconvert -M2' first",
    ),
    RecognisedFormat(
        "nvraid",
        Category.VOLUMES,
        (Signature(-1024, b"NVIDIA  "),),
        "a member of a firmware RAID (NVIDIA)",
        _ACTIVATE,
        supersedes=_INNER,
    ),
    RecognisedFormat(
        "sgi-label",
        Category.VOLUMES,
        (Signature(0, struct.pack(">I", 0x0BE5A941)),),
        "a disk with an SGI label",
        _EXPORT_DISK,
        check=probes.is_sgi_label,
    ),
    RecognisedFormat(
        "stratis",
        Category.VOLUMES,
        (Signature(516, b"!Stra0tis\x86\xff\x02^\x41rh"),),
        "a Stratis block device",
        _ACTIVATE,
        supersedes=_INNER,
    ),
    RecognisedFormat(
        "sun-label",
        Category.VOLUMES,
        (Signature(508, struct.pack(">H", 0xDABE)),),
        "a disk with a Sun label",
        _EXPORT_DISK,
        check=probes.is_sun_label,
    ),
    RecognisedFormat(
        "vdo",
        Category.VOLUMES,
        (Signature(0, b"dmvdo001"),),
        "a VDO (deduplicated) volume",
        _ACTIVATE,
    ),
)
