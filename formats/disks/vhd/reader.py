"""Virtual PC, Virtual Server and Hyper-V disks: fixed, dynamic and differencing VHDs.

Specification: Microsoft "Virtual Hard Disk Image Format Specification" 1.0 (October 2006), and
libyal "Virtual Hard Disk (VHD) image format" for what it leaves open.

A footer whose checksum is wrong is read if what it says fits the file, with a finding: programs
that patch a field and not the sum exist. Refused by name: disks split into several files, disk
types and versions that are not known.
"""

from __future__ import annotations

from formats.core.errors import CorruptError, UnsupportedError, quoted
from formats.core.finding import Action, Finding
from formats.core.origin import printable
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature, Volume, Volumes
from formats.core.registry import SUPERSEDES_ALL
from formats.core.source import ByteSource, slice_source
from formats.disks.blocks import TRUNCATED, block_source, check_disk_size
from formats.disks.parents import open_parent
from formats.disks.vhd.dynamic import DynamicHeader, VhdBlocks, read_header
from formats.disks.vhd.footer import (
    COOKIE,
    FOOTER_BYTES,
    SHORT_FOOTER_BYTES,
    DiskType,
    Footer,
    find_footer,
)

NAME = "vhd"
_UUID_FACT = "uuid"
_SIZE_PLACE = 48


class VhdReader:
    """The reader "vhd"; see :class:`~formats.core.reader.Reader`."""

    name = NAME
    category = Category.DISK
    signatures = (
        Signature(0, COOKIE),
        Signature(-FOOTER_BYTES, COOKIE),
        Signature(-SHORT_FOOTER_BYTES, COOKIE),
    )
    # A fixed disk starts with the guest's own bytes: partition table, filesystem.
    supersedes = frozenset({SUPERSEDES_ALL})
    doc = ReaderDoc(
        title="Virtual PC or Hyper-V disk (VHD)",
        extensions=(".vhd", ".avhd", ".vud"),
        specification="Microsoft Virtual Hard Disk Image Format Specification 1.0",
        reads="fixed, dynamic and differencing disks, with their parents beside them; footers that"
        " are damaged, where the copy at the front or the file itself bears them out",
        refuses="disks split into several files",
    )

    def probe(self, source: ByteSource) -> bool:
        """See :class:`~formats.core.reader.Reader`."""
        return source.size >= SHORT_FOOTER_BYTES

    def open(self, source: ByteSource, context: OpenContext) -> Volumes:
        """Read footer and header, and open the parent.

        :raises UnsupportedError: for what is refused by name.
        :raises CorruptError: if they contradict each other or the file, or the parent is missing.
        :raises LimitError: if the disk is larger than allowed.
        """
        found = find_footer(source)
        footer = found.footer
        if found.doubts:
            _refuse_split(source, context)
            _note(context, source, "vhd-footer", found.doubts)
        if footer.is_saved_state:
            _note(
                context,
                source,
                "saved-state",
                "its machine was saved while running: what it had in memory is not in the disk",
            )
        facts = {
            "type": footer.disk_type.name.lower(),
            "creator": printable(footer.creator.rstrip(b"\0 ")),
            "created": footer.created,
            _UUID_FACT: str(footer.uuid),
        }
        if footer.disk_type is DiskType.FIXED:
            disk = _fixed(source, footer, context)
        else:
            disk = _dynamic(source, footer, context, facts)
        facts["virtual size"] = f"{disk.size:,} bytes"
        return Volumes((Volume(disk, NAME),), facts)


def _fixed(source: ByteSource, footer: Footer, context: OpenContext) -> ByteSource:
    size = footer.size_within(footer.offset)
    check_disk_size(size, context.limits, source.origin, footer.offset + _SIZE_PLACE)
    if size > footer.offset:
        raise CorruptError(
            f"states a disk of {size:,} bytes, and has {footer.offset:,} in front of its footer",
            origin=source.origin,
            offset=footer.offset + _SIZE_PLACE,
            hint=TRUNCATED,
        )
    return slice_source(source, 0, size, source.origin)


def _dynamic(
    source: ByteSource, footer: Footer, context: OpenContext, facts: dict[str, str]
) -> ByteSource:
    if bytes(source.read_at(0, len(COOKIE))) != COOKIE:
        # Whatever a machine writes to the end of a raw disk must not make it another format.
        raise CorruptError(
            f"ends with the footer of a {footer.disk_type.name.lower()} disk, and does not start"
            " with the copy of it",
            origin=source.origin,
            offset=0,
            hint="the front of the file may be damaged: compare it with the original",
        )
    is_differencing = footer.disk_type is DiskType.DIFFERENCING
    header = read_header(source, footer.data_offset, is_differencing=is_differencing)
    if not header.has_sound_checksum:
        _note(context, source, "vhd-header", "the checksum of its dynamic header is wrong")
    capacity = header.entries * header.block_bytes
    size = footer.size_within(capacity)
    check_disk_size(size, context.limits, source.origin, footer.offset + _SIZE_PLACE)
    if size > capacity:
        raise CorruptError(
            f"states a disk of {size:,} bytes, and its table has blocks for {capacity:,}",
            origin=source.origin,
            offset=footer.data_offset + 28,
        )
    parent = _parent(source, header, context, facts) if is_differencing else None
    facts["block size"] = f"{header.block_bytes:,} bytes"
    blocks = VhdBlocks(source, header, is_differencing=is_differencing)
    return block_source(source, blocks, size, parent)


def _parent(
    source: ByteSource, header: DynamicHeader, context: OpenContext, facts: dict[str, str]
) -> ByteSource:
    """Return the disk that a differencing disk stands on, told by its UUID.

    Its time of change is noted too; but copying changes that. What can be held against it is when
    the parent was made.
    """
    expected = str(header.parent_uuid)
    disk, file = open_parent(
        NAME,
        header.parent_paths,
        context,
        source.origin,
        lambda found: found[_UUID_FACT] == expected,
    )
    name = file.origin.parts[-1]
    made = find_footer(file).footer.timestamp
    if 0 < header.parent_timestamp < made:
        _note(
            context,
            source,
            "vhd-parent-newer",
            f"its parent {quoted(name)} was made after the state that it stands on",
        )
    facts["parent"] = name
    return disk


def _refuse_split(source: ByteSource, context: OpenContext) -> None:
    """Refuse a disk in several files ("Splitting Hard Disk Images"), whose first has no footer.

    :raises UnsupportedError: if the second file, named .v01, is beside it.
    """
    stem, _, _ = source.origin.parts[-1].rpartition(".")
    if any(context.siblings.exists(f"{stem}.{end}") for end in ("v01", "V01")):
        raise UnsupportedError(
            "is split into several files, which is not read",
            origin=source.origin,
            hint=f"put them together first: cat {stem}.vhd {stem}.v* > whole.vhd",
        )


def _note(context: OpenContext, source: ByteSource, rule: str, evidence: str) -> None:
    place = str(source.origin).encode("utf-8", "surrogateescape")
    context.note(Finding(rule, place, Action.REPORTED, evidence))


READER = VhdReader()
