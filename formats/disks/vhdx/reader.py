"""Hyper-V disks: fixed, dynamic and differencing VHDX.

Specification: [MS-VHDX] "Virtual Hard Disk v2 (VHDX) File Format". A disk that was not closed has
its log replayed in memory. Regions and metadata that must be understood and are not known, other
versions, and parents that are no VHDX are refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping

from formats.core.errors import CorruptError
from formats.core.finding import Action, Finding
from formats.core.origin import printable
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature, Volume, Volumes
from formats.core.source import ByteSource
from formats.disks.blocks import block_source, check_disk_size
from formats.disks.parents import open_parent
from formats.disks.vhdx.bat import VhdxBlocks
from formats.disks.vhdx.log import replay
from formats.disks.vhdx.metadata import LINKAGE_KEYS, PATH_KEYS, Metadata, read_metadata
from formats.disks.vhdx.structures import (
    BAT_REGION,
    MAGIC,
    METADATA_REGION,
    creator,
    read_header,
    read_regions,
)

NAME = "vhdx"
_IDENTITY_FACT = "content uuid"


class VhdxReader:
    """The reader "vhdx"; see :class:`~formats.core.reader.Reader`."""

    name = NAME
    category = Category.DISK
    signatures = (Signature(0, MAGIC),)
    supersedes: frozenset[str] = frozenset()
    doc = ReaderDoc(
        title="Hyper-V disk (VHDX)",
        extensions=(".vhdx", ".avhdx"),
        specification="[MS-VHDX]: Virtual Hard Disk v2 (VHDX) File Format",
        reads="fixed, dynamic and differencing disks, with their parents beside them; sectors of"
        " 512 and 4096 bytes; logs of disks that were not closed are replayed in memory",
        refuses="regions and metadata that must be understood and are not known; parents that are"
        " no VHDX",
    )

    def probe(self, source: ByteSource) -> bool:
        """See :class:`~formats.core.reader.Reader`."""
        return bytes(source.read_at(0, len(MAGIC))) == MAGIC

    def open(self, source: ByteSource, context: OpenContext) -> Volumes:
        """Read the header, replay the log, read the metadata, and open the parent.

        :raises UnsupportedError: for what is refused by name.
        :raises CorruptError: if the structures contradict each other or the file.
        :raises LimitError: if the disk or its log is larger than allowed.
        """
        header = read_header(source)
        replayed = replay(source, header)
        file = replayed.file if replayed is not None else source
        regions = read_regions(file)
        metadata = read_metadata(file, regions[METADATA_REGION])
        check_disk_size(metadata.size, context.limits, source.origin, metadata.size_place)
        facts = _facts(metadata)
        facts["creator"] = printable(creator(source))
        facts[_IDENTITY_FACT] = str(header.data_write_uuid)
        if replayed is not None:
            facts["log"] = (
                f"{replayed.entries:,} entries with {replayed.sectors:,} sectors, replayed"
            )
            context.note(
                Finding(
                    "journal-replayed",
                    str(source.origin).encode("utf-8", "surrogateescape"),
                    Action.REPORTED,
                    f"it was not closed: {replayed.entries:,} entries of its log with"
                    f" {replayed.sectors:,} sectors were replayed in memory",
                )
            )
        blocks = VhdxBlocks(file, regions[BAT_REGION], metadata)
        parent = None
        if metadata.parent is not None:
            parent = _parent(source, metadata.parent, context, facts)
        disk = block_source(file, blocks, metadata.size, parent)
        return Volumes((Volume(disk, NAME),), facts)


def _facts(metadata: Metadata) -> dict[str, str]:
    kind = "fixed" if metadata.is_fixed else "dynamic"
    return {
        "type": kind if metadata.parent is None else "differencing",
        "virtual size": f"{metadata.size:,} bytes",
        "block size": f"{metadata.block_bytes:,} bytes",
        "sector size": f"{metadata.sector_bytes:,} bytes"
        f" ({metadata.physical_sector_bytes:,} physical)",
        "disk uuid": str(metadata.disk_id),
    }


def _parent(
    source: ByteSource, locator: Mapping[str, str], context: OpenContext, facts: dict[str, str]
) -> ByteSource:
    """Return the disk that a differencing disk stands on, told by what its content's UUID was."""
    expected = {locator[key].strip("{}").lower() for key in LINKAGE_KEYS if locator.get(key)}
    if not expected:
        raise CorruptError(
            "does not say which state of its parent it stands on", origin=source.origin
        )
    paths = [locator[key].removeprefix(".\\") for key in PATH_KEYS if locator.get(key)]
    disk, file = open_parent(
        NAME, paths, context, source.origin, lambda found: found[_IDENTITY_FACT] in expected
    )
    facts["parent"] = file.origin.parts[-1]
    return disk


READER = VhdxReader()
