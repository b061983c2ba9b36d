"""The reader of ISO 9660.

Specification: ECMA-119 (4th edition), IEEE P1281 (SUSP) and P1282 (Rock Ridge) 1.12, Microsoft's
"Joliet Specification", "El Torito" 1.0, and libburnia's descriptions of zisofs2 and AAIP.

Directory records and Rock Ridge are read by own code; boot catalogs, hybrid partition tables and
UDF by pycdlib, a structure at a time. See docs/dependencies.md for why.
"""

from __future__ import annotations

from formats.core.errors import ConvertError, CorruptError
from formats.core.finding import Action, Finding
from formats.core.origin import printable
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature
from formats.core.source import ByteSource
from formats.core.tree import TreeInfo
from formats.filesystems.iso.descriptors import (
    SECTOR_BYTES,
    Session,
    VolumeDescriptor,
    read_sessions,
)
from formats.filesystems.iso.filesystem import IsoFilesystem
from formats.filesystems.iso.hybrid import partition_tables
from formats.filesystems.iso.omissions import listed
from formats.filesystems.iso.other_views import names_elsewhere
from formats.filesystems.iso.path_table import folder_places
from formats.filesystems.iso.tree import IsoTree
from formats.filesystems.iso.view import View, views
from formats.filesystems.seen_tree import SeenTree
from formats.filesystems.udf.signature import has_signature
from formats.volumes.gpt import partition_owns

MAGIC = Signature(0x8001, b"CD001")
_DATE_DIGITS = 16


class Iso9660Reader:
    """ISO 9660 as a tree."""

    name = "iso9660"
    category = Category.FILESYSTEM
    signatures = (MAGIC,)
    # Hybrid images carry these around the ISO, for booting from USB sticks and for Macs.
    supersedes = frozenset({"apm", "gpt", "hfs", "hfsplus", "mbr"})
    doc = ReaderDoc(
        title="ISO 9660 images (CD, DVD, live and installation media)",
        extensions=(".iso", ".img"),
        specification="https://ecma-international.org/publications-and-standards/standards/ecma-119/",
        reads="Rock Ridge with relocated folders, hard links, devices, ACLs and extended"
        " attributes (AAIP), zisofs; Joliet; plain names as mount(8) shows them; files of several"
        " extents; the last of several sessions; boot entries and hybrid partition tables are told",
        refuses="sparse (entry SF) and interleaved files, and those on other discs of a set, when"
        " they are read",
    )

    def probe(self, source: ByteSource) -> bool:
        """Check that a partition table, if there is one, covers the volume descriptor.

        Hybrid images have a table around the ISO. On a disk that once was such an image and was
        partitioned since, the first partition starts behind it.
        """
        return partition_owns(source, 0x8000) is not False

    def open(self, source: ByteSource, context: OpenContext) -> SeenTree:
        """Read the volume descriptors and the record of the root folder.

        Where there is no Rock Ridge and a UDF volume of the same files, that is read.

        :raises CorruptError: if they are damaged, or the image is cut short.
        """
        sessions = read_sessions(source)
        session = sessions[-1]
        choice = views(source, session)
        view = choice[0]
        if has_signature(source):
            udf = _udf_beside(source, session, view, context)
            if udf is not None:
                return udf
        filesystem = IsoFilesystem(source, view, context.limits)
        place = str(source.origin).encode("utf-8", "surrogateescape")
        for finding in _findings(source, sessions, place):
            context.note(finding)

        def when_seen() -> None:
            for finding in filesystem.omissions.findings(place):
                context.note(finding)
            _compare_path_table(filesystem, view.volume, place, context)
            for other in choice[1:]:
                if other.volume is not view.volume:
                    _compare_view(filesystem, other, place, context)

        facts = _boot_facts(source, session, place, context)
        tree = IsoTree(filesystem, _info(sessions, choice, facts))
        return SeenTree(tree, when_seen)


def _udf_beside(
    source: ByteSource, session: Session, view: View, context: OpenContext
) -> SeenTree | None:
    """Return the UDF tree of the same medium; None where Rock Ridge is better, or it is damaged."""
    if view.name == "rock-ridge":
        return None
    # imported only where there is UDF, as pycdlib takes its time
    from formats.filesystems.udf.reader import open_udf  # noqa: PLC0415

    try:
        return open_udf(source, context, session.start)
    except ConvertError as error:
        place = str(source.origin).encode("utf-8", "surrogateescape")
        evidence = f"its UDF tree cannot be read, the {view.name} one is: {error.message}"
        context.note(Finding("iso-other-tree", place, Action.REPORTED, evidence))
        return None


def _findings(source: ByteSource, sessions: list[Session], place: bytes) -> list[Finding]:
    found = []
    if len(sessions) > 1:
        starts = ", ".join(f"{session.start:,}" for session in sessions)
        found.append(
            Finding(
                "iso-sessions",
                place,
                Action.REPORTED,
                f"has {len(sessions)} sessions, from sectors {starts}; the last one is read",
            )
        )
    expected = sessions[-1].ends[0] * SECTOR_BYTES
    if expected > source.size:
        found.append(
            Finding(
                "iso-truncated",
                place,
                Action.REPORTED,
                f"should have {expected:,} bytes and has {source.size:,}: files may be cut off",
            )
        )
    return found


def _compare_path_table(
    filesystem: IsoFilesystem, volume: VolumeDescriptor, place: bytes, context: OpenContext
) -> None:
    """Report folders that are in the path table and not in the tree."""
    known = {number // volume.block_bytes for number in filesystem.folders}
    try:
        places = folder_places(filesystem.source, volume, context.limits)
        missing = len({block for block in places if block not in known})
    except ConvertError as error:
        evidence = f"cannot be read, and is not needed: {error.message}"
        context.note(Finding("iso-path-table", place, Action.REPORTED, evidence))
        return
    if missing:
        evidence = f"{missing:,} folders are in the path table and not in the tree"
        context.note(Finding("iso-unlisted-folders", place, Action.REPORTED, evidence))


def _compare_view(
    filesystem: IsoFilesystem, other: View, place: bytes, context: OpenContext
) -> None:
    """Report files that are only in a tree that is not read."""
    try:
        names = names_elsewhere(filesystem.source, other, filesystem.content_places, context.limits)
    except ConvertError as error:
        evidence = f"its {other.name} tree cannot be read, and is not needed: {error.message}"
        context.note(Finding("iso-other-tree", place, Action.REPORTED, evidence))
        return
    if names:
        evidence = f"files that only its {other.name} tree has: {listed(list(names))}"
        context.note(Finding("iso-other-tree", place, Action.DROPPED, evidence))


def _boot_facts(
    source: ByteSource, session: Session, place: bytes, context: OpenContext
) -> dict[str, str]:
    """Return how the medium boots; of that, nothing becomes part of the tree."""
    facts = partition_tables(source)
    if session.boot_catalog is not None:
        # imported only for bootable images, as pycdlib takes its time
        from formats.filesystems.iso.el_torito import boot_entries  # noqa: PLC0415

        try:
            entries = boot_entries(source, session.boot_catalog)
        except CorruptError as error:
            evidence = f"{error.message}; nothing else depends on it"
            context.note(Finding("iso-boot-catalog", place, Action.REPORTED, evidence))
        else:
            facts["boot"] = "; ".join(map(str, entries))
    if facts:
        evidence = "; ".join(f"{what}: {text}" for what, text in facts.items())
        context.note(Finding("iso-boot", place, Action.REPORTED, evidence))
    return facts


def _info(sessions: list[Session], choice: list[View], boot: dict[str, str]) -> TreeInfo:
    """Return what the image says of itself; label and UUID as blkid(8) has them."""
    primary, volume = sessions[-1].primary, choice[0].volume
    facts = {"read as": choice[0].name}
    if len(choice) > 1:
        facts["also has"] = ", ".join(view.name for view in choice[1:])
    for what in ("system", "volume set", "publisher", "preparer", "application"):
        if text := _text(primary, what):
            facts[what] = text
    facts |= boot
    return TreeInfo(
        format="iso9660",
        uuid=_uuid(primary),
        label=_text(volume, "volume") or None,
        size_bytes=primary.size_bytes,
        used_bytes=primary.size_bytes,
        facts=facts,
    )


def _text(volume: VolumeDescriptor, what: str) -> str:
    raw = volume.identifiers[what]
    if not volume.joliet_level:
        return printable(raw.rstrip(b" \0"))
    return printable(raw.decode("utf-16-be", "replace").rstrip(" \0"))


def _uuid(primary: VolumeDescriptor) -> str | None:
    """Return the date of the last change, or else of creation, which stands for a UUID."""
    for date in (primary.modified, primary.created):
        digits = date[:_DATE_DIGITS]
        if digits.isdigit() and digits.strip(b"0"):
            text = digits.decode("ascii")
            return "-".join([text[:4], *(text[at : at + 2] for at in range(4, _DATE_DIGITS, 2))])
    return None


READER = Iso9660Reader()
