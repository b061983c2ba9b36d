"""One tree of an ISO 9660 image as what can be walked and read.

There are no inodes. The number of a folder is where its extent begins, which is where its own
record is; that of all else is where its directory record is. All names of a hard-linked file have
the number of the one that was met first.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial
from typing import NamedTuple

from formats.core.entry import MODE_KINDS, Kind, check_name
from formats.core.errors import ConvertError, CorruptError, LimitError, UnsupportedError, quoted
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource, MappedSource, Segment
from formats.filesystems.iso import records
from formats.filesystems.iso.attributes import NamesAndValues, extended_attributes
from formats.filesystems.iso.components import symlink_target
from formats.filesystems.iso.omissions import Omissions
from formats.filesystems.iso.records import Record, first_record, read_records
from formats.filesystems.iso.system_use import SystemUse, Zisofs
from formats.filesystems.iso.times import short_time
from formats.filesystems.iso.view import View
from formats.filesystems.iso.zisofs import ZisofsSource
from formats.filesystems.runs import Run, read_runs
from formats.filesystems.walk import Names, Node

_PLAIN_MODE = 0o555
"""Without Rock Ridge: read and execute for everybody, as mount(8) has it."""
_KNOWN_FILES = 1 << 16
_KNOWN_FOLDERS = 1 << 12
_PASSES = 4
"""How often a record may be read in one walk, with room to spare."""
_RELOCATIONS = frozenset({b"rr_moved", b".rr_moved"})

Identity = tuple[Node, tuple[tuple[int, int], ...], int | None]


class IsoFile(NamedTuple):
    """All that is not a folder.

    :ivar extents: byte offset and length of each, in order.
    :ivar zisofs: how it is compressed, if it is.
    :ivar refusal: why its content cannot be read, if it cannot.
    """

    node: Node
    extents: tuple[tuple[int, int], ...]
    zisofs: Zisofs | None = None
    refusal: str | None = None


_NO_USE = SystemUse()

# looked up here once, as looking a Kind up takes longer than parsing a record
_FILE, _FOLDER, _SYMLINK = Kind.FILE, Kind.FOLDER, Kind.SYMLINK
_DEVICES = frozenset({Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE})


class IsoFilesystem:
    """See :class:`formats.filesystems.run_tree.RunFilesystem`; runs count single bytes.

    :ivar omissions: what was met that is not in the tree, or is hidden there.
    :ivar folders: numbers of all folders that were listed.
    :ivar content_places: where the extents of all files that were listed begin, in bytes.
    """

    block_bytes = 1

    def __init__(self, source: ByteSource, view: View, limits: Limits) -> None:
        self.source = source
        self.limits = limits
        self.size_bytes = source.size
        self.root = view.volume.root_offset
        self.omissions = Omissions()
        self.folders: set[int] = set()
        self.content_places: set[int] = set()
        self._view = view
        self._files: dict[int, IsoFile] = {}
        """Those met last, by number."""
        self._first_names: dict[Identity, int] = {}
        self._places = {self.root}
        self._own_record = lru_cache(_KNOWN_FOLDERS)(partial(first_record, source))

    @property
    def origin(self) -> Origin:
        """Breadcrumb for messages."""
        return self.source.origin

    def folder_bytes(self, number: int) -> int:
        """See :meth:`formats.filesystems.walk.Walkable.folder_bytes`."""
        return self._own_record(number).size

    def node(self, number: int) -> Node:
        """See :meth:`formats.filesystems.walk.Walkable.node`."""
        if number not in self._places:
            return self.file(number).node
        # like the kernel: a folder is what its own first record says, not the one that leads to it
        record = self._own_record(number)
        use = self._view.root_use if number == self.root else None
        return self._node(record, use or self._use(record), 0)

    def names(self, number: int) -> Names:
        """See :meth:`formats.filesystems.walk.Walkable.names`."""
        self.folders.add(number)
        if number == self.root and self._view.system_use is not None:
            self._view.system_use.continued_bytes = 0  # a walk begins
        found: Names = []
        for name, child in self._children(number):
            is_candidate = number == self.root and child in self._places
            if is_candidate and name.lower() in _RELOCATIONS and self._is_emptied(child):
                self.folders.add(child)
                self.omissions.note("iso-relocation-folder", name)
                continue
            found.append((name, child))
            if len(found) > self.limits.folder_entries:
                raise LimitError(
                    f"has more than {self.limits.folder_entries:,} names in it", origin=self.origin
                )
        return found

    def _check_continuations(self, number: int) -> None:
        """Hold to what sound records can take: their continuations do not overlap."""
        reader = self._view.system_use
        if reader is not None and reader.continued_bytes > _PASSES * self.size_bytes:
            raise self.damaged("has records that are continued in the same places", number)

    def _is_emptied(self, number: int) -> bool:
        """Tell whether a folder was only made to put relocated folders into."""
        has_any = False
        for group in self._groups(number):
            has_any = True
            if not self._use(group[0]).is_relocated:
                return False
            self._check_continuations(number)
        return has_any

    def _children(self, number: int) -> Iterator[tuple[bytes, int]]:
        """Yield name and number of what is in a folder."""
        block_bytes = self._view.volume.block_bytes
        for group in self._groups(number):
            record = group[0]
            use = self._use(record)
            self._check_continuations(number)
            name = use.name if use.name is not None else self._view.naming(record.name)
            if use.is_relocated:
                continue
            if record.flags & records.ASSOCIATED:
                self.content_places.add(record.block * block_bytes)
                self.omissions.note("iso-associated-file", name)
                continue
            if record.flags & records.HIDDEN:
                self.omissions.note("iso-hidden-file", name)
            self._check_name(name)
            if use.relocated_to is not None or record.flags & records.FOLDER:
                block = record.block if use.relocated_to is None else use.relocated_to
                self._places.add(block * block_bytes)
                yield name, block * block_bytes
            else:
                yield name, self._remember(record.offset, self._parsed(group, use), use.serial)

    def _check_name(self, name: bytes) -> None:
        check_name(name, self.origin)
        if len(name) > self.limits.name_bytes:
            raise LimitError(
                f"{quoted(name)} has more than {self.limits.name_bytes} bytes", origin=self.origin
            )

    def _groups(self, number: int) -> Iterator[list[Record]]:
        """Yield the records of a folder but for its own and its parent's, one list for each name.

        A file of several extents has a record for each (ECMA-119, 6.5.1).
        """
        own = self._own_record(number)
        if own.flags & records.MULTI_EXTENT:
            raise UnsupportedError(
                "a folder has several extents", origin=self.origin, offset=number
            )
        return _grouped(self.source, number, own.size)

    def file(self, number: int) -> IsoFile:
        """Return what is not a folder.

        :raises CorruptError: if its record is damaged.
        """
        known = self._files.get(number)
        if known is not None:
            return known
        group = next(_grouped(self.source, number, self.source.size - number))
        file = self._parsed(group, self._use(group[0]))
        self._keep(number, file)
        return file

    def _remember(self, number: int, file: IsoFile, serial: int | None) -> int:
        """Keep a file for when it is asked for, and return the number that it goes by."""
        self.content_places.update(place for place, _ in file.extents)
        # without a serial number, only an extent can tell that two names are one file
        if file.node.links > 1 and (serial is not None or file.extents):
            identity = file.node, file.extents, serial
            number = self._first_names.setdefault(identity, number)
        self._keep(number, file)
        return number

    def _keep(self, number: int, file: IsoFile) -> None:
        if len(self._files) >= _KNOWN_FILES:
            self._files.clear()
        self._files[number] = file

    def _use(self, record: Record) -> SystemUse:
        reader = self._view.system_use
        return reader.read(record.use, record.offset) if reader is not None else _NO_USE

    def _parsed(self, group: list[Record], use: SystemUse) -> IsoFile:
        record = group[0]
        block_bytes = self._view.volume.block_bytes
        extents = tuple([(part.block * block_bytes, part.size) for part in group if part.size])
        size = sum([part.size for part in group]) if use.zisofs is None else use.zisofs.size
        node = self._node(record, use, size)
        return IsoFile(node, extents, use.zisofs, self._refusal(group, use))

    def _refusal(self, group: list[Record], use: SystemUse) -> str | None:
        if use.is_sparse:
            return "is a sparse file (entry SF)"
        volume = self._view.volume
        for part in group:
            if part.unit or part.gap:
                return "is interleaved"
            if part.volume != volume.sequence and volume.set_size > 1:
                return "is on another disc of the set"
        return None

    def _node(self, record: Record, use: SystemUse, size: int) -> Node:
        is_folder = bool(record.flags & records.FOLDER)
        kind, mode = _FOLDER if is_folder else _FILE, _PLAIN_MODE
        target: bytes | None = None
        xattrs: NamesAndValues = ()
        try:
            if use.mode is not None:
                kind = MODE_KINDS.get(use.mode & 0xF000, kind)
                mode = use.mode & 0o7777
            if is_folder is not (kind is _FOLDER):
                raise CorruptError(f"is a {kind.value} by its mode, and not by its record")
            if kind is _SYMLINK:
                target = symlink_target(use.target_area, self.limits)
                if not target:
                    raise CorruptError("is a symlink to nowhere")
            if use.attribute_parts is not None:
                xattrs = extended_attributes(b"".join(use.attribute_parts), self.limits)
        except ConvertError as error:
            error.offset = record.offset
            raise error.at(self.origin) from None
        device = None
        if kind is not _FILE and kind in _DEVICES:
            device = use.device or (0, 0)
        return Node(
            kind,
            mode,
            use.uid,
            use.gid,
            short_time(record.date) if use.mtime_ns is None else use.mtime_ns,
            size if kind is _FILE else 0,
            use.links,
            target,
            device,
            xattrs,
        )

    def runs(self, number: int, size: int) -> list[Run]:
        """See :meth:`formats.filesystems.run_tree.RunFilesystem.runs`."""
        file = self.file(number)
        self._check_readable(file)
        if file.zisofs is not None:
            return []
        runs: list[Run] = []
        position = 0
        for offset, length in file.extents:
            runs.append(Run(position, min(length, size - position), offset))
            position += length
        return runs

    def content(self, number: int, size: int) -> Iterator[BytesLike]:
        """See :meth:`formats.filesystems.run_tree.RunFilesystem.content`."""
        compressed = self.compressed(number, self.origin)
        if compressed is not None:
            yield from compressed.chunks()
        else:
            yield from read_runs(self.source, self.runs(number, size), self.block_bytes, size)

    def compressed(self, number: int, origin: Origin) -> ZisofsSource | None:
        """Return the content of a compressed file; None for all others.

        :raises CorruptError: if its header is damaged.
        """
        file = self.file(number)
        self._check_readable(file)
        if file.zisofs is None:
            return None
        segments = []
        position = 0
        for offset, length in file.extents:
            segments.append(Segment(position, length, self.source, offset))
            position += length
        stored = MappedSource(segments, origin)
        return ZisofsSource(stored, file.zisofs, origin, self.limits)

    def _check_readable(self, file: IsoFile) -> None:
        if file.refusal is not None:
            raise UnsupportedError(file.refusal, origin=self.origin)

    def damaged(self, what: str, number: int) -> CorruptError:
        """See :meth:`formats.filesystems.walk.Walkable.damaged`."""
        return CorruptError(what, origin=self.origin, offset=number)


def _grouped(source: ByteSource, start: int, size: int) -> Iterator[list[Record]]:
    group: list[Record] = []
    for record in read_records(source, start, size):
        if record.name in records.OWN_NAMES:
            continue
        if group and record.name != group[0].name:
            raise records.damaged_record(source, "is missing: its file goes on", record.offset)
        group.append(record)
        if not record.flags & records.MULTI_EXTENT:
            yield group
            group = []
    if group:
        raise records.damaged_record(source, "is missing: its file goes on", start + size)
