"""A FAT filesystem as what can be walked and read.

There are no inodes. The number of a file or folder is where its short entry is on the volume, and 0
for the root folder, which has none.
"""

from __future__ import annotations

from collections.abc import Iterator

from formats.core.entry import Kind
from formats.core.errors import CorruptError, LimitError, quoted
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource, read_exact, slice_source
from formats.filesystems.fat.boot import BootSector, FatType
from formats.filesystems.fat.directory import (
    ENTRY_BYTES,
    DirectoryEntry,
    parse_entry,
    parse_folder,
)
from formats.filesystems.fat.table import AllocationTable
from formats.filesystems.runs import Run, read_runs
from formats.filesystems.walk import Names, Node

ROOT = 0
_ROOT_MODE = 0o755
_MOST_FOLDER_BYTES = 65_536 * ENTRY_BYTES  # "not more than 65,536 directory entries"


class FatNodes:
    """See :class:`formats.filesystems.run_tree.RunFilesystem`.

    :ivar source: the heap of clusters; runs count its clusters.
    """

    root = ROOT

    def __init__(self, volume: ByteSource, boot: BootSector, limits: Limits) -> None:
        self.limits = limits
        self.size_bytes = boot.size
        self.block_bytes = boot.cluster_bytes
        self.table = AllocationTable(volume, boot)
        self.source: ByteSource = slice_source(
            volume, boot.heap_offset, boot.clusters * boot.cluster_bytes, volume.origin
        )
        self._volume = volume
        self._boot = boot

    @property
    def origin(self) -> Origin:
        """Breadcrumb for messages."""
        return self._volume.origin

    def node(self, number: int) -> Node:
        """See :meth:`formats.filesystems.walk.Walkable.node`."""
        if number == ROOT:
            return Node(Kind.FOLDER, _ROOT_MODE, 0, 0, 0, 0, 1)
        entry = self._entry(number)
        kind = Kind.FOLDER if entry.is_folder else Kind.FILE
        size = 0 if entry.is_folder else entry.size
        return Node(kind, entry.mode, 0, 0, entry.mtime_ns, size, 1)

    def names(self, number: int) -> Names:
        """See :meth:`formats.filesystems.walk.Walkable.names`."""
        found: Names = []
        for name, place, entry in self.entries(number):
            if entry.is_label or entry.is_dots:
                continue
            found.append((name, place))
            if len(found) > self.limits.folder_entries:
                raise LimitError(
                    f"has more than {self.limits.folder_entries:,} names in it", origin=self.origin
                )
        return found

    def entries(self, number: int) -> Iterator[tuple[bytes, int, DirectoryEntry]]:
        """Yield name, number and entry of all that is in a folder, volume labels too."""
        data, places = self._folder(number)
        for name, entry in parse_folder(data, self.origin):
            index, skip = divmod(entry.offset, self.block_bytes)
            place = places[index] + skip if places else self._boot.root_offset + entry.offset
            yield name, place, entry

    def folder_bytes(self, number: int) -> int:
        """See :meth:`formats.filesystems.walk.Walkable.folder_bytes`."""
        if self._is_fixed_root(number):
            return self._boot.root_entries * ENTRY_BYTES
        return sum(run.blocks for run in self._folder_runs(number)) * self.block_bytes

    def runs(self, number: int, size: int) -> list[Run]:
        """See :meth:`formats.filesystems.run_tree.RunFilesystem.runs`.

        A chain may be longer than its file, where room was made in advance, and not shorter.
        """
        clusters = -(-size // self.block_bytes)
        if clusters == 0:
            return []
        runs = self.table.chain(self._first_cluster(number), clusters)
        found = sum(run.blocks for run in runs)
        if found < clusters:
            raise self.damaged(
                f"has {found:,} clusters, where its {size:,} bytes need {clusters:,}", number
            )
        return runs

    def content(self, number: int, size: int) -> Iterator[BytesLike]:
        """See :meth:`formats.filesystems.run_tree.RunFilesystem.content`."""
        yield from read_runs(self.source, self.runs(number, size), self.block_bytes, size)

    def damaged(self, what: str, number: int) -> CorruptError:
        """See :meth:`formats.filesystems.walk.Walkable.damaged`."""
        whose = quoted(self._entry(number).short_name) if number != ROOT else "the root folder"
        return CorruptError(
            f"{whose} {what}", origin=self.origin, offset=number, hint="run 'fsck.fat' on a copy"
        )

    def _entry(self, number: int) -> DirectoryEntry:
        raw = read_exact(self._volume, number, ENTRY_BYTES, "a directory entry")
        return parse_entry(bytes(raw), number)

    def _first_cluster(self, number: int) -> int:
        """Return where a file or folder starts. Before FAT32, OS/2 uses the upper half itself."""
        cluster = self._entry(number).cluster
        return cluster if self._boot.kind is FatType.FAT32 else cluster & 0xFFFF

    def _is_fixed_root(self, number: int) -> bool:
        return number == ROOT and self._boot.root_entries > 0

    def _folder_runs(self, number: int) -> list[Run]:
        first = self._boot.root_cluster if number == ROOT else self._first_cluster(number)
        most = _MOST_FOLDER_BYTES // self.block_bytes + 1
        runs = self.table.chain(first, most)
        if sum(run.blocks for run in runs) >= most:
            raise self.damaged("is a folder of more than 65,536 entries", number)
        return runs

    def _folder(self, number: int) -> tuple[bytes, list[int]]:
        """Return a folder's bytes, and where each of its clusters is; none for a fixed root."""
        if self._is_fixed_root(number):
            length = self._boot.root_entries * ENTRY_BYTES
            data = read_exact(self._volume, self._boot.root_offset, length, "the root folder")
            return bytes(data), []
        runs = self._folder_runs(number)
        size = sum(run.blocks for run in runs) * self.block_bytes
        data = b"".join(read_runs(self.source, runs, self.block_bytes, size))
        places = [
            self._boot.heap_offset + (run.start + index) * self.block_bytes
            for run in runs
            for index in range(run.blocks)
        ]
        return data, places
