"""VMware virtual disks: one reader for descriptors and for all files that carry their own.

Specification: VMware "Virtual Disk Format 5.0" (technical note), and the libyal document "VMware
Virtual Disk (VMDK) format" for what it leaves open. A disk is a list of extents, each in a file
beside the descriptor or, for one sparse extent, in the file that the descriptor is embedded in; a
snapshot is a disk whose sparse extents leave the rest to a parent.

Read: monolithicSparse, streamOptimized, monolithicFlat, twoGbMaxExtentSparse and -Flat, the vmfs
types, vmfsSparse, seSparse and custom disks of these. Refused by name: devices and raw device
mappings, encrypted disks, single parts of a split disk.
"""

from __future__ import annotations

import re
from typing import NoReturn

from formats.core.errors import CorruptError, LimitError, UnsupportedError, quoted
from formats.core.finding import Action, Finding
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature, Volume, Volumes
from formats.core.source import ByteSource, MappedSource, Segment, read_exact
from formats.disks.vmdk import cowd, sesparse, sparse
from formats.disks.vmdk.descriptor import (
    SECTOR_BYTES,
    Descriptor,
    ExtentKind,
    ExtentLine,
    looks_like_descriptor,
    parse_descriptor,
)
from formats.disks.vmdk.grains import GrainMap, GrainSource
from formats.disks.vmdk.tables import GrainTables

NAME = "vmdk"

_PROBE_BYTES = 1024
_BINARY_MAGICS = (sparse.MAGIC, cowd.MAGIC, sesparse.MAGIC)
# A descriptor may start with white space or a byte-order mark; probe() then looks for its title.
_TEXT_STARTS = (b"#", b" ", b"\t", b"\r", b"\n", b"\xef\xbb\xbf")

_PART_NAME = re.compile(
    r"(?P<disk>.+)-(?:s\d{3}|f\d{3}|delta|sesparse)(?P<end>\.vmdk)", re.IGNORECASE
)
_TABLES_OF_CACHE = 8
"""Grain tables get one part of the memory in so many, decoded grains the rest."""
_FLAT_KINDS = frozenset({ExtentKind.FLAT, ExtentKind.VMFS})


class VmdkReader:
    """The reader; see the module's documentation."""

    name = NAME
    category = Category.DISK
    signatures = tuple(Signature(0, magic) for magic in (*_BINARY_MAGICS, *_TEXT_STARTS))
    supersedes: frozenset[str] = frozenset()
    doc = ReaderDoc(
        "VMware disk (VMDK)",
        extensions=(".vmdk",),
        specification="VMware Virtual Disk Format 5.0; libyal: VMware Virtual Disk (VMDK) format",
        reads="monolithic, split, flat, stream-optimised, vmfs, vmfsSparse and seSparse disks;"
        " snapshots with their parents beside them",
        refuses="physical disks and raw device mappings, encrypted disks, single parts of a set,"
        " seSparse with a pending journal",
    )

    def probe(self, source: ByteSource) -> bool:
        """See :class:`~formats.core.reader.Reader`."""
        head = bytes(source.read_at(0, _PROBE_BYTES))
        return head.startswith(_BINARY_MAGICS) or looks_like_descriptor(head)

    def open(self, source: ByteSource, context: OpenContext) -> Volumes:
        """Open a disk by its descriptor, be it the file itself or embedded in it.

        :raises EncryptedError: if the disk is encrypted.
        :raises UnsupportedError: for what is refused by name.
        :raises CorruptError: for damaged headers, and missing extents and parents.
        :raises LimitError: for disks and descriptors that are too large.
        """
        head = bytes(source.read_at(0, 8))
        if head.startswith((cowd.MAGIC, sesparse.MAGIC)):
            _refuse_part(source, context, "is the data of a snapshot without its descriptor")
        if not head.startswith(sparse.MAGIC):
            text = bytes(source.read_at(0, context.limits.descriptor_bytes + 1))
            descriptor = parse_descriptor(text, origin=source.origin, base=0, limits=context.limits)
            return _Disk(source, descriptor, context).open()
        header = sparse.read_header(source)
        descriptor = _embedded_descriptor(source, header, context)
        disk = _Disk(source, descriptor, context)
        return disk.open_embedded(header) if header.capacity else disk.open()


def _embedded_descriptor(
    source: ByteSource, header: sparse.SparseHeader, context: OpenContext
) -> Descriptor:
    offset = header.descriptor * SECTOR_BYTES
    length = header.descriptor_length * SECTOR_BYTES
    limit = context.limits.descriptor_bytes
    if length > limit:
        raise LimitError(
            f"has a descriptor of {length:,} bytes, more than the {limit:,} allowed",
            origin=source.origin,
            offset=36,
        )
    text = b""
    if offset and length:
        text = bytes(read_exact(source, offset, length, "the embedded descriptor"))
    if not text.strip(b"\0 \r\n\t"):
        _refuse_part(source, context, "is one extent of a split disk, without a descriptor")
    return parse_descriptor(text, origin=source.origin, base=offset, limits=context.limits)


def _refuse_part(source: ByteSource, context: OpenContext, what: str) -> NoReturn:
    """Refuse a file that is only a part of a disk, and say which file is the disk."""
    match = _PART_NAME.fullmatch(source.origin.parts[-1])
    whole = match["disk"] + match["end"] if match else ""
    if whole and context.siblings.exists(whole):
        hint = f"give {quoted(whole)} instead"
    else:
        hint = "give the small text file (.vmdk) that describes the disk, beside all its parts"
    raise UnsupportedError(what, origin=source.origin, hint=hint)


class _Disk:
    """Puts one disk together."""

    def __init__(self, source: ByteSource, descriptor: Descriptor, context: OpenContext) -> None:
        self._source = source
        self._origin = source.origin
        self._descriptor = descriptor
        self._context = context
        self._files: dict[str, ByteSource] = {}
        self._facts = descriptor.facts()
        # All extents together keep to the limit, however many there are.
        self._cache_bytes = context.limits.cache_bytes // max(1, len(descriptor.extents))

    def open_embedded(self, header: sparse.SparseHeader) -> Volumes:
        """Return the disk whose one extent is in the descriptor's own file.

        The name in the descriptor is not looked at: files get renamed.
        """
        if len(self._descriptor.extents) > 1:
            raise CorruptError(
                f"describes {len(self._descriptor.extents):,} extents, and its header only one",
                origin=self._origin,
                offset=header.descriptor * SECTOR_BYTES,
            )
        size = header.geometry.size
        self._check_size(size)
        parent = self._parent()
        backing = self._below(parent, 0, size)
        return self._volumes(self._hosted(self._source, header, backing))

    def open(self) -> Volumes:
        """Return the disk whose extents are in the files that the descriptor names."""
        extents = self._descriptor.extents
        if not extents:
            raise CorruptError("describes a disk without extents", origin=self._origin)
        self._check_size(self._descriptor.sectors * SECTOR_BYTES)
        parent = self._parent()
        segments: list[Segment] = []
        position = 0
        for line in extents:
            segment = self._segment(line, parent, position)
            segments.append(segment)
            position += segment.length
        self._facts["extents"] = str(len(extents))
        return self._volumes(MappedSource(segments, self._origin))

    def _volumes(self, disk: ByteSource) -> Volumes:
        return Volumes((Volume(disk, NAME),), self._facts)

    def _check_size(self, size: int) -> None:
        limit = self._context.limits.disk_virtual_bytes
        if size > limit:
            raise LimitError(
                f"is a disk of {size:,} bytes, more than the {limit:,} allowed",
                origin=self._origin,
            )

    def _segment(self, line: ExtentLine, parent: ByteSource | None, position: int) -> Segment:
        length = line.sectors * SECTOR_BYTES
        if line.kind is ExtentKind.ZERO:
            return Segment(position, length, None)
        if not line.is_accessible:
            self._note(
                "vmdk-no-access",
                f"{length:,} bytes at {position:,} are marked NOACCESS and read as zeros,"
                f" as the machine cannot read them either ({quoted(line.name)})",
            )
            return Segment(position, length, None)
        file = self._open_file(line.name)
        if line.kind in _FLAT_KINDS:
            return Segment(position, length, file, line.offset_sectors * SECTOR_BYTES)
        backing = self._below(parent, position, length)
        return Segment(position, length, self._sparse(file, line, backing))

    def _open_file(self, name: str) -> ByteSource:
        """Return an extent's file; only a sibling, and only once for all extents in it."""
        if name not in self._files:
            self._files[name] = self._context.siblings.open(name, self._origin)
        return self._files[name]

    def _sparse(self, file: ByteSource, line: ExtentLine, backing: ByteSource | None) -> ByteSource:
        magic = bytes(file.read_at(0, 8))
        if magic.startswith(sparse.MAGIC):
            header = sparse.read_header(file)
            self._check_extent(file, header.capacity, line)
            return self._hosted(file, header, backing)
        tables: GrainTables
        if magic.startswith(cowd.MAGIC):
            tables = cowd.CowdTables(file, self._cache_bytes)
        elif magic == sesparse.MAGIC:
            tables = sesparse.SeSparseTables(file, self._cache_bytes)
        else:
            raise CorruptError(
                f"is not a sparse extent, as {self._origin} says", origin=file.origin, offset=0
            )
        self._check_extent(file, tables.geometry.capacity, line)
        return self._grains(file, tables, backing, is_compressed=False)

    @staticmethod
    def _check_extent(file: ByteSource, capacity: int, line: ExtentLine) -> None:
        if capacity < line.sectors:
            raise CorruptError(
                f"holds {capacity:,} sectors, where the descriptor says {line.sectors:,}",
                origin=file.origin,
            )

    def _hosted(
        self, file: ByteSource, header: sparse.SparseHeader, backing: ByteSource | None
    ) -> ByteSource:
        if header.is_dirty:
            self._note("vmdk-unclean", f"{file.origin} was not closed cleanly by its machine")
        tables = sparse.HostedTables(
            file,
            header,
            self._cache_bytes,
            lambda problem: self._note(
                "vmdk-redundant-tables",
                f"the redundant grain tables were used, because the file {problem.message}",
            ),
        )
        return self._grains(file, tables, backing, is_compressed=header.is_compressed)

    def _grains(
        self,
        file: ByteSource,
        tables: GrainTables,
        backing: ByteSource | None,
        *,
        is_compressed: bool,
    ) -> ByteSource:
        table_bytes = self._cache_bytes // _TABLES_OF_CACHE
        grains = GrainMap(
            file, tables, backing, table_bytes=table_bytes, is_compressed=is_compressed
        )
        disk = GrainSource(grains, file.origin, self._cache_bytes - table_bytes)
        self._context.on_close(disk.close)
        return disk

    def _parent(self) -> ByteSource | None:
        """Return the disk that this one is a snapshot of, None for a base.

        :raises CorruptError: if it is missing, or was changed after the snapshot.
        """
        expected = self._descriptor.parent_cid
        hint = self._descriptor.parent_hint
        if expected is None:
            if hint:
                raise CorruptError(
                    f"names the parent {quoted(hint)} and says that it has none",
                    origin=self._origin,
                )
            return None
        if not hint:
            raise CorruptError(
                f"is a snapshot of a disk with CID {expected:08x} and does not name it",
                origin=self._origin,
            )
        try:
            file = self._context.siblings.open(self._parent_name(hint), self._origin)
        except CorruptError as error:
            raise CorruptError(
                f"is a snapshot of {quoted(hint)}, which is missing",
                origin=self._origin,
                hint="put the parent, with all its parts, beside the snapshot,"
                " or allow its folder with --allow-backing DIR",
            ) from error
        opened = self._context.open_as(NAME, file)
        if not isinstance(opened, Volumes):
            raise CorruptError(f"has a parent {quoted(hint)} that is no disk", origin=self._origin)
        found = opened.facts.get("cid", "none")
        if found != f"{expected:08x}":
            raise CorruptError(
                f"is a snapshot of {quoted(hint)} with CID {expected:08x}, which now has CID"
                f" {found}: it was changed after the snapshot, and together they are garbage",
                origin=self._origin,
                hint="use the parent as it was when the snapshot was taken",
            )
        self._facts["parent"] = file.origin.parts[-1]
        return opened.volumes[0].source

    def _parent_name(self, hint: str) -> str:
        """Return the sibling that the hint means.

        It is a hint: where the parent was on the host, often with its path there. The parent is
        told by its CID, so that its last component beside the snapshot is safe to take.
        """
        if self._context.siblings.exists(hint):
            return hint
        return re.split(r"[/\\]", hint)[-1]

    def _below(self, parent: ByteSource | None, position: int, length: int) -> ByteSource | None:
        """Return the parent's bytes at ``position``; zeros where the parent was smaller."""
        if parent is None:
            return None
        there = max(0, min(length, parent.size - position))
        return MappedSource(
            [Segment(0, there, parent, position), Segment(there, length - there, None)],
            parent.origin,
        )

    def _note(self, rule: str, evidence: str) -> None:
        self._context.note(Finding(rule, str(self._origin).encode(), Action.REPORTED, evidence))


READER = VmdkReader()
