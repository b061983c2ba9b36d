"""Log trees: what fsync(2) wrote since the last commit, by subvolume.

A log tree has copies of the items of inodes that were synced, and of some that these need to have
names: inode items, references, attributes, extents, checksums. For folders it has names, and ranges
of positions for which it is complete: a name there that it does not have was removed.
"""

from __future__ import annotations

import bisect
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.limits import MIB
from formats.filesystems.btrfs.btree import Tree
from formats.filesystems.btrfs.extents import FileExtent, parse_extent
from formats.filesystems.btrfs.inode import (
    NO_DATA_SUMS,
    Inode,
    Named,
    Ref,
    generation_of,
    parse_extrefs,
    parse_inode,
    parse_names,
    parse_refs,
)
from formats.filesystems.btrfs.items import (
    CSUM_ITEM,
    DIR_INDEX,
    DIR_ITEM,
    DIR_LOG_INDEX,
    DIR_LOG_ITEM,
    EXTENT_CSUM,
    EXTENT_DATA,
    INODE_EXTREF,
    INODE_ITEM,
    INODE_REF,
    MOST,
    ROOT_ITEM,
    TREE_LOG,
    VERITY_ITEMS,
    XATTR_ITEM,
    Item,
)
from formats.filesystems.btrfs.nodes import ITEM, NodeReader, Pointer
from formats.filesystems.btrfs.roots import parse_root
from formats.filesystems.btrfs.sums import Sums, parse_sums
from formats.filesystems.btrfs.superblock import Superblock

_MOST_BYTES = 64 * MIB
_END = struct.Struct("<Q")
_HINT = "mount a copy once, and unmount it"

_NOT_REPLAYED = frozenset({DIR_ITEM, DIR_LOG_ITEM, *VERITY_ITEMS})
"""What is said elsewhere too, or cannot be seen."""


@dataclass(slots=True)
class LoggedInode:
    """What a log tree has of one inode.

    :ivar only_exists: whether it is only there so that names can lead to it: what the subvolume
        has of it is newer, or as new.
    :ivar refs: its own names: folder and name, and the position there. An item that did not change
        need not be there, so these are not all of them.
    :ivar ref_folders: folders for which it has the one item that holds as many names as fit.
    :ivar names: of a folder, by position.
    :ivar ranges: first and last positions between which ``names`` are all there are; in order,
        and joined where the log has one in another.
    """

    inode: Inode
    only_exists: bool
    refs: dict[tuple[int, bytes], int] = field(default_factory=dict)
    ref_folders: set[int] = field(default_factory=set)
    attributes: list[tuple[bytes, bytes]] = field(default_factory=list)
    names: dict[int, Named] = field(default_factory=dict)
    ranges: list[tuple[int, int]] = field(default_factory=list)
    extents: list[FileExtent] = field(default_factory=list)

    def add_range(self, first: int, last: int) -> None:
        """Take one more range, which does not begin before any other."""
        if self.ranges and first <= self.ranges[-1][1]:
            first, known = self.ranges.pop()
            last = max(last, known)
        self.ranges.append((first, last))

    def covers(self, position: int) -> bool:
        """Tell whether the names that there are around a position are all known."""
        index = bisect.bisect_right(self.ranges, (position, MOST)) - 1
        return index >= 0 and position <= self.ranges[index][1]


SubvolumeLog = dict[int, LoggedInode]
"""What was logged of a subvolume, by inode number, in ascending order."""


@dataclass(slots=True)
class Logs:
    """All log trees of a filesystem.

    :ivar subvolumes: by number.
    :ivar sums: checksums of the data that was logged.
    """

    subvolumes: dict[int, SubvolumeLog] = field(default_factory=dict)
    sums: list[Sums] = field(default_factory=list)


class LogReader:
    """Reads the log trees.

    :param superblock: with a log.
    """

    def __init__(self, nodes: NodeReader, superblock: Superblock) -> None:
        self._nodes = nodes
        self._superblock = superblock
        self._bytes = 0

    def read(self) -> Logs:
        """Return what was logged.

        :raises UnsupportedError: for an item of unknown kind, or very much of all.
        :raises CorruptError: if a log is damaged.
        """
        superblock, origin = self._superblock, self._nodes.space.origin
        logs = Logs()
        # A log belongs to the transaction that was under way.
        top = Pointer(superblock.log_root, superblock.log_root_level, superblock.generation + 1)
        for number, kind, subvolume, data in Tree(self._nodes, top).items():
            if number == TREE_LOG and kind == ROOT_ITEM:
                pointer = parse_root(number, data, origin).pointer
                logs.subvolumes[subvolume] = self._subvolume(Tree(self._nodes, pointer), logs.sums)
        return logs

    def _subvolume(self, tree: Tree, sums: list[Sums]) -> SubvolumeLog:
        log: SubvolumeLog = {}
        for item in tree.items():
            self._bytes += ITEM.size + len(item.data)
            if self._bytes > _MOST_BYTES:
                raise self._unsupported(f"more than {_MOST_BYTES >> 20} MiB")
            if item.number == EXTENT_CSUM and item.kind == CSUM_ITEM:
                superblock = self._superblock
                checksum, sector_bytes = superblock.checksum, superblock.sector_bytes
                sums.append(parse_sums(item.offset, item.data, checksum, sector_bytes))
                continue
            try:
                self._take(item, log)
            except CorruptError as error:
                raise self._nodes.space.damaged(tree.root.logical, error.message) from error
        return log

    def _take(self, item: Item, log: SubvolumeLog) -> None:
        """Take one item of an inode."""
        number, kind, offset, data = item
        if kind == INODE_ITEM:
            log[number] = LoggedInode(parse_inode(data), only_exists=not generation_of(data))
            return
        logged = log.get(number)
        if logged is None:
            raise self._unsupported(f"items of inode {number:,} and not the inode")
        if kind == INODE_REF:
            logged.refs |= _positions(parse_refs(offset, data))
            logged.ref_folders.add(offset)
        elif kind == INODE_EXTREF:
            logged.refs |= _positions(parse_extrefs(data))
        elif kind == XATTR_ITEM:
            logged.attributes += [(name.name, name.value) for name in parse_names(data)]
        elif kind == DIR_INDEX:
            for target, target_kind, name, _ in parse_names(data):
                logged.names[offset] = Named(name, target, target_kind, offset)
        elif kind == DIR_LOG_INDEX:
            logged.add_range(offset, _range_end(data))
        elif kind == EXTENT_DATA:
            has_sums = not logged.inode.flags & NO_DATA_SUMS
            sector_bytes = self._superblock.sector_bytes
            extent = parse_extent(offset, data, sector_bytes, has_sums=has_sums)
            if logged.extents and sum(logged.extents[-1][:2]) > offset:
                raise self._unsupported("extents that overlap")
            logged.extents.append(extent)
        elif kind not in _NOT_REPLAYED:
            raise self._unsupported(f"items of kind {kind}")

    def _unsupported(self, what: str) -> UnsupportedError:
        return UnsupportedError(
            f"has a log of what was synced since the last commit, with {what}, which is not read",
            origin=self._nodes.space.origin,
            hint=_HINT,
        )


def _positions(refs: Iterable[Ref]) -> dict[tuple[int, bytes], int]:
    return {(ref.folder, ref.name): ref.position for ref in refs}


def _range_end(data: bytes) -> int:
    if len(data) < _END.size:
        raise CorruptError("a range of the log is cut short")
    end: int = _END.unpack_from(data)[0]
    return end
