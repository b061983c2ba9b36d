"""One UDF volume as what can be walked and read.

The number of a file is that of the partition and logical block that its file entry is in.
"""

from __future__ import annotations

from collections.abc import Iterator

from formats.core.entry import Kind, check_name
from formats.core.errors import ConvertError, CorruptError, LimitError, quoted
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.core.source import BytesLike
from formats.filesystems.runs import Run, read_runs
from formats.filesystems.udf.allocation import INLINE
from formats.filesystems.udf.entries import FileEntry, parse_entry, parse_folder
from formats.filesystems.udf.names import decoded
from formats.filesystems.udf.structures import Place
from formats.filesystems.udf.volume import UdfVolume
from formats.filesystems.walk import Names, Node

_BLOCK_BITS = 32
_KNOWN_ENTRIES = 1 << 16
_LARGEST_IDENTIFIER_BYTES = 1024
_COMPONENT_BYTES = 4
_UNUSABLE = b"Non-Allocatable Space"
"""A file of the root folder that only keeps bad blocks from being used (UDF 2.60, 2.3.13.1)."""
# Kinds of path components (ECMA-167 4/14.16.1).
_ROOT, _NAME = (1, 2), 5
_FIXED = {3: b"..", 4: b"."}


class UdfFilesystem:
    """See :class:`formats.filesystems.run_tree.RunFilesystem`; runs count single bytes.

    :ivar with_streams: numbers of files that have named streams, which are not read.
    """

    block_bytes = 1

    def __init__(self, volume: UdfVolume, limits: Limits) -> None:
        self.source = volume.mapper.source
        self.limits = limits
        self.size_bytes = self.source.size
        self.root = _number(volume.root)
        self.with_streams: set[int] = set()
        self._mapper = volume.mapper
        self._entries: dict[int, FileEntry] = {}
        self._known_bytes = 0

    @property
    def origin(self) -> Origin:
        """Breadcrumb for messages."""
        return self.source.origin

    def entry(self, number: int) -> FileEntry:
        """Return a file entry.

        :raises CorruptError: if it is damaged.
        """
        known = self._entries.get(number)
        if known is not None:
            return known
        place = Place(number >> _BLOCK_BITS, number & (1 << _BLOCK_BITS) - 1)
        block, offset = self._mapper.block(place)
        entry = parse_entry(block, place, self.source, offset)
        if entry.has_streams:
            self.with_streams.add(number)
        self._known_bytes += len(entry.allocation.data)
        if len(self._entries) >= _KNOWN_ENTRIES or self._known_bytes > self.limits.cache_bytes:
            self._entries.clear()
            self._known_bytes = 0
        self._entries[number] = entry
        return entry

    def node(self, number: int) -> Node:
        """See :meth:`formats.filesystems.walk.Walkable.node`."""
        entry = self.entry(number)
        kind = entry.kind
        return Node(
            kind,
            entry.mode,
            entry.uid,
            entry.gid,
            entry.mtime_ns,
            entry.size if kind is Kind.FILE else 0,
            entry.links,
            self._target(number, entry) if kind is Kind.SYMLINK else None,
            entry.device,
        )

    def _target(self, number: int, entry: FileEntry) -> bytes:
        """Return what a symlink holds: components, each with its kind and name."""
        if entry.size > self.limits.symlink_target_bytes * _COMPONENT_BYTES:
            raise LimitError(f"is a symlink of {entry.size:,} bytes", origin=self.origin)
        data = b"".join(self.content(number, entry.size))
        parts: list[bytes] = []
        position = 0
        while position + _COMPONENT_BYTES <= len(data):
            kind, length = data[position], data[position + 1]
            end = position + _COMPONENT_BYTES + length
            if end > len(data):
                raise self.damaged("is a symlink that is cut short", number)
            if kind in _ROOT:
                parts = [b""]
            elif kind == _NAME:
                parts.append(decoded(data[position + _COMPONENT_BYTES : end]))
            elif kind in _FIXED:
                parts.append(_FIXED[kind])
            else:
                raise self.damaged(f"is a symlink with a component of the kind {kind}", number)
            position = end
        target = b"/" if parts == [b""] else b"/".join(parts)
        if not target or b"\0" in target:
            raise self.damaged("is a symlink to nowhere", number)
        if len(target) > self.limits.symlink_target_bytes:
            raise LimitError(f"is a symlink of {len(target):,} bytes", origin=self.origin)
        return target

    def names(self, number: int) -> Names:
        """See :meth:`formats.filesystems.walk.Walkable.names`."""
        size = self.entry(number).size
        if size > self.limits.folder_entries * _LARGEST_IDENTIFIER_BYTES:
            raise LimitError(f"is a folder of {size:,} bytes", origin=self.origin)
        found: Names = []
        for name, place in parse_folder(self.content(number, size), self.source):
            if number == self.root and name == _UNUSABLE:
                continue
            check_name(name, self.origin)
            if len(name) > self.limits.name_bytes:
                raise LimitError(
                    f"{quoted(name)} has more than {self.limits.name_bytes} bytes",
                    origin=self.origin,
                )
            found.append((name, _number(place)))
            if len(found) > self.limits.folder_entries:
                raise LimitError(
                    f"has more than {self.limits.folder_entries:,} names in it", origin=self.origin
                )
        return found

    def folder_bytes(self, number: int) -> int:
        """See :meth:`formats.filesystems.walk.Walkable.folder_bytes`."""
        return self.entry(number).size

    def runs(self, number: int, size: int) -> list[Run]:
        """See :meth:`formats.filesystems.run_tree.RunFilesystem.runs`."""
        entry = self.entry(number)
        if entry.allocation.form == INLINE:
            return []
        try:
            return self._mapper.runs(entry.allocation, size)
        except ConvertError as error:
            raise error.at(self.origin) from None

    def content(self, number: int, size: int) -> Iterator[BytesLike]:
        """See :meth:`formats.filesystems.run_tree.RunFilesystem.content`."""
        entry = self.entry(number)
        if entry.allocation.form == INLINE:
            yield entry.allocation.data[:size]
        else:
            yield from read_runs(self.source, self.runs(number, size), self.block_bytes, size)

    def damaged(self, what: str, number: int) -> CorruptError:
        """See :meth:`formats.filesystems.walk.Walkable.damaged`."""
        return CorruptError(
            f"the file at block {number & (1 << _BLOCK_BITS) - 1:,} of partition"
            f" {number >> _BLOCK_BITS} {what}",
            origin=self.origin,
        )


def _number(place: Place) -> int:
    return place.partition << _BLOCK_BITS | place.block
