"""The reader of UDF.

Specification: ECMA-167 (3rd edition) and OSTA's "Universal Disk Format Specification" 1.02 to 2.60.
Descriptors are decoded by pycdlib, one at a time (:mod:`.structures`); partitions, extents and the
walk are own code. Owners that are "not specified" are root.
"""

from __future__ import annotations

from formats.core.finding import Action, Finding
from formats.core.origin import printable
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature
from formats.core.source import ByteSource
from formats.core.tree import TreeInfo
from formats.filesystems.run_tree import RunTree
from formats.filesystems.seen_tree import SeenTree
from formats.filesystems.udf.filesystem import UdfFilesystem
from formats.filesystems.udf.signature import has_signature
from formats.filesystems.udf.volume import UdfVolume, read_volume

_SIGNATURES = (b"BEA01", b"NSR02", b"NSR03")
"""Behind CD001 it lies beside an ISO 9660, whose reader decides which of the two is read."""
_UUID_CHARACTERS = 16
_OPEN = "it was in use when the image was taken: the last changes may be missing or half done"


class UdfReader:
    """UDF as a tree."""

    name = "udf"
    category = Category.FILESYSTEM
    signatures = tuple(Signature(0x8001, magic) for magic in _SIGNATURES)
    supersedes: frozenset[str] = frozenset()
    doc = ReaderDoc(
        title="UDF 1.02 to 2.60 (DVD, Blu-ray, hard disks)",
        extensions=(".iso", ".udf", ".img"),
        specification="http://www.osta.org/specs/pdf/udf260.pdf",
        reads="all block sizes; plain, virtual, sparable and metadata partitions; hard links,"
        " symlinks, devices, holes; beside an ISO 9660 that has no Rock Ridge it is preferred",
        refuses="ICB strategy 4096 (write-once disks), extended allocation descriptors; named"
        " streams are told and left out",
    )

    def probe(self, source: ByteSource) -> bool:
        """Look for NSR02 or NSR03 in the volume recognition sequence."""
        return has_signature(source)

    def open(self, source: ByteSource, context: OpenContext) -> SeenTree:
        """Read what leads to the root folder.

        :raises UnsupportedError: for partition maps and media that are not known, by name.
        :raises CorruptError: if it is damaged, or the image is cut short.
        """
        return open_udf(source, context)


def open_udf(source: ByteSource, context: OpenContext, first_sector: int = 0) -> SeenTree:
    """Return the tree of a UDF volume.

    :param first_sector: of 2,048 bytes, where the session begins that is meant.
    """
    volume = read_volume(source, first_sector)
    filesystem = UdfFilesystem(volume, context.limits)
    filesystem.node(filesystem.root)
    place = str(source.origin).encode("utf-8", "surrogateescape")
    if volume.is_open:
        context.note(Finding("filesystem-unclean", place, Action.REPORTED, _OPEN))

    def when_seen() -> None:
        count = len(filesystem.with_streams)
        if count:
            evidence = f"named streams of {count:,} files are not part of the tree"
            context.note(Finding("udf-named-streams", place, Action.DROPPED, evidence))

    return SeenTree(RunTree(filesystem, _info(volume)), when_seen)


def _info(volume: UdfVolume) -> TreeInfo:
    mapper = volume.mapper
    identity = volume.set_id[:_UUID_CHARACTERS].decode("utf-8", "replace").lower()
    return TreeInfo(
        format="udf",
        uuid=printable(identity) or None,
        label=printable(volume.label) or None,
        size_bytes=mapper.source.size,
        facts={"block size": str(mapper.block_bytes), "partitions": ", ".join(volume.kinds)},
    )


READER = UdfReader()
