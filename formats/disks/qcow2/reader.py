"""QEMU copy-on-write disks, qcow2 version 2 and 3, with their backing images.

Specification: QEMU, docs/interop/qcow2.txt. Internal snapshots are ignored: the active state is
what is read. Refused by name: encryption, external data files, features that are not known, and
images that QEMU has marked as corrupt.

An image whose dirty bit is set is read: the bit is about reference counts, which only a writer
needs, and said in a finding.

A backing image is only opened by the name and the format that the image states. Without a stated
format QEMU would guess it from content that a guest can write (CVE-2010-3851).
"""

from __future__ import annotations

from formats.core.errors import CorruptError, UnsupportedError, quoted
from formats.core.finding import Action, Finding
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature, Volume, Volumes
from formats.core.source import ByteSource
from formats.disks.clusters import ClusterSource
from formats.disks.qcow2.header import MAGIC, Header, Incompatible, read_header
from formats.disks.qcow2.tables import Qcow2Map

_BACKING_READERS = {
    "parallels": "parallels",
    "qcow2": "qcow2",
    "vmdk": "vmdk",
    "vpc": "vhd",
    "vhdx": "vhdx",
    "vdi": "vdi",
}
"""QEMU's word for a format, and the reader's."""


class Qcow2Reader:
    """The reader "qcow2"; see :class:`~formats.core.reader.Reader`."""

    name = "qcow2"
    category = Category.DISK
    signatures = (Signature(0, MAGIC),)
    supersedes: frozenset[str] = frozenset()
    doc = ReaderDoc(
        title="QEMU copy-on-write disk (qcow2 v2, v3)",
        extensions=(".qcow2", ".qcow", ".img"),
        specification="https://www.qemu.org/docs/master/interop/qcow2.html",
        reads="zlib and zstd clusters, zero clusters, subclusters, backing images beside it",
        refuses="qcow version 1, encryption, external data files, images marked as corrupt",
    )

    def probe(self, source: ByteSource) -> bool:
        """Tell whether it starts as a qcow image of any version."""
        return bytes(source.read_at(0, len(MAGIC))) == MAGIC

    def open(self, source: ByteSource, context: OpenContext) -> Volumes:
        """Read header, L1 table and backing images; see :class:`~formats.core.reader.Reader`."""
        header = read_header(source, context.limits)
        if header.features & Incompatible.DIRTY:
            context.note(
                Finding(
                    "qcow2-dirty",
                    str(source.origin).encode(),
                    Action.REPORTED,
                    "was not closed by QEMU; only its reference counts may be stale",
                )
            )
        backing = None
        if header.backing_name is not None:
            backing = _open_backing(header.backing_name, header.backing_format, source, context)
        disk = ClusterSource(
            Qcow2Map(source, header, backing),
            source.origin,
            unit_bytes=header.cluster_bytes,
            cache_bytes=context.limits.cache_bytes,
        )
        context.on_close(disk.close)
        return Volumes((Volume(disk, "disk"),), _facts(header))


def _facts(header: Header) -> dict[str, str]:
    facts = {
        "version": str(header.version),
        "virtual size": f"{header.size:,} bytes",
        "cluster size": f"{header.cluster_bytes:,} bytes",
        "compression": header.compression.name.lower(),
    }
    if header.backing_name is not None:
        facts["backing image"] = f"{quoted(header.backing_name)} ({header.backing_format})"
    if header.snapshots:
        facts["internal snapshots"] = f"{header.snapshots:,}, ignored"
    return facts


def _open_backing(
    name: str, stated_format: str | None, source: ByteSource, context: OpenContext
) -> ByteSource:
    """Return the disk that unallocated clusters are read from.

    :raises UnsupportedError: for a name that leads elsewhere, and a format not stated or not read.
    """
    if stated_format is None:
        raise UnsupportedError(
            f"stands on {quoted(name)} and does not state its format, which is not guessed",
            origin=source.origin,
            hint=f"state it: qemu-img rebase -u -b {quoted(name)} -F FORMAT IMAGE",
        )
    if stated_format != "raw" and stated_format not in _BACKING_READERS:
        raise UnsupportedError(
            f"stands on {quoted(name)} of the format {quoted(stated_format)}, which is not read",
            origin=source.origin,
            hint="make one file of both: qemu-img convert -O qcow2",
        )
    backing = context.siblings.open(name, source.origin)
    if stated_format == "raw":
        return backing
    opened = context.open_as(_BACKING_READERS[stated_format], backing)
    if not isinstance(opened, Volumes) or len(opened.volumes) != 1:
        raise CorruptError(f"stands on {quoted(name)}, which is not one disk", origin=source.origin)
    (volume,) = opened.volumes
    if volume.problem is not None:
        raise volume.problem
    return volume.source


READER = Qcow2Reader()
