"""The reader of FAT12, FAT16 and FAT32.

Specification: Microsoft "FAT: General Overview of On-Disk Format" 1.03 (December 2000). Owners and
permissions are not stored: all is root's, 0755, and read-only files 0555, as mount(8) has it by
default. Times are taken as UTC. exFAT is another filesystem.
"""

from __future__ import annotations

from formats.core.finding import Action, Finding
from formats.core.origin import printable
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature
from formats.core.source import ByteSource
from formats.core.tree import TreeInfo
from formats.filesystems.fat.boot import (
    BootSector,
    FatType,
    free_clusters,
    is_fat,
    read_boot_sector,
)
from formats.filesystems.fat.nodes import ROOT, FatNodes
from formats.filesystems.run_tree import RunTree

_UNCLEAN = (
    "it was in use when the image was taken, and there is no journal: the last changes may be"
    " missing or half done"
)
_ERRORS = "disk errors were met in it: run 'fsck.fat' on a copy"
_NO_LABEL = b"NO NAME    "


class FatReader:
    """FAT as a tree."""

    name = "fat"
    category = Category.FILESYSTEM
    signatures = (Signature(54, b"FAT"), Signature(82, b"FAT"), Signature(510, b"\x55\xaa"))
    # They clear the first sector when they are made. A boot sector in front of them is newer.
    supersedes = frozenset({"btrfs", "reiserfs"})
    doc = ReaderDoc(
        title="FAT12, FAT16 and FAT32 filesystems",
        extensions=(".img", ".fat"),
        specification='Microsoft "FAT: General Overview of On-Disk Format" 1.03',
        reads="long and short names (code page 437), all sizes of sectors and clusters",
        refuses="exFAT (by a name of its own), versions of FAT32 that are not known",
    )

    def probe(self, source: ByteSource) -> bool:
        """Check the parameters in the boot sector: the signatures alone prove little."""
        return is_fat(source)

    def open(self, source: ByteSource, context: OpenContext) -> RunTree:
        """Read the boot sector, the state of the table, and the label in the root folder.

        :raises UnsupportedError: for versions of FAT32 that are not known.
        :raises CorruptError: if they are damaged, or the volume is smaller than the filesystem.
        """
        boot = read_boot_sector(source)
        nodes = FatNodes(source, boot, context.limits)
        place = str(source.origin).encode("utf-8", "surrogateescape")
        if boot.is_dirty or not nodes.table.is_clean:
            context.note(Finding("filesystem-unclean", place, Action.REPORTED, _UNCLEAN))
        if boot.has_errors or not nodes.table.is_without_errors:
            context.note(Finding("filesystem-errors", place, Action.REPORTED, _ERRORS))
        return RunTree(nodes, _info(source, boot, nodes))


def _info(source: ByteSource, boot: BootSector, nodes: FatNodes) -> TreeInfo:
    """Return what is said of the filesystem's identity; the serial number as blkid(8) has it."""
    is_large = boot.kind is FatType.FAT32
    free = free_clusters(source, boot) if is_large else nodes.table.count_free()
    used = (boot.clusters - free) * boot.cluster_bytes if free is not None else None
    serial = f"{boot.serial >> 16:04X}-{boot.serial & 0xFFFF:04X}" if boot.serial else None
    return TreeInfo(
        format=f"fat{int(boot.kind)}",
        uuid=serial,
        label=_label(boot, nodes),
        size_bytes=boot.size,
        used_bytes=used,
        facts={
            "sector size": str(boot.sector_bytes),
            "cluster size": str(boot.cluster_bytes),
        },
    )


def _label(boot: BootSector, nodes: FatNodes) -> str | None:
    """Return the label in the root folder, which is what programs change, or the boot sector's."""
    label = next((entry.short for _, _, entry in nodes.entries(ROOT) if entry.is_label), boot.label)
    if label is None or label == _NO_LABEL or not label.strip(b" \0"):
        return None
    return printable(label.decode("cp437").rstrip(" \0"))


READER = FatReader()
