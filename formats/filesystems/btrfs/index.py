"""All inodes of a subvolume, from one walk over its tree.

An inode's items lie together, in the order of inode numbers; the folders that lead to them do not.
A search for each name would read leaves again and again. So the tree is walked once, and of each
inode is kept what ``stat(2)`` shows, packed, and where its names or extents begin; those are read
when they are wanted, as a folder or file may have any number of them.
"""

from __future__ import annotations

import bisect
import struct
from array import array
from collections.abc import Callable, Iterator
from typing import Protocol

from formats.core.errors import CorruptError, LimitError
from formats.core.limits import Limits
from formats.filesystems.btrfs.btree import LeafOrder, Tree
from formats.filesystems.btrfs.extents import FileExtent, parse_extent
from formats.filesystems.btrfs.inode import (
    INODE_BYTES,
    Inode,
    Named,
    Ref,
    parse_extrefs,
    parse_inode,
    parse_names,
)
from formats.filesystems.btrfs.items import (
    DIR_INDEX,
    EXTENT_DATA,
    FIRST_FREE,
    INODE_EXTREF,
    INODE_ITEM,
    LAST_FREE,
    XATTR_ITEM,
    Item,
    Key,
)
from formats.filesystems.btrfs.nodes import HEADER, ITEM, Node, Pointer

Attributes = tuple[tuple[bytes, bytes], ...]

_Add = Callable[[int, Inode, Attributes, int], None]

_RECORD = struct.Struct("<Q4I2QqI3I")
"""An :class:`Inode`; number of its attributes; leaf and slot where its names or extents begin."""
_NOWHERE = (1 << 32) - 1
_INTERESTING = frozenset({INODE_ITEM, XATTR_ITEM, DIR_INDEX, EXTENT_DATA})


class Inodes(Protocol):
    """What is known of a subvolume's inodes. May be used from several threads."""

    @property
    def bytes_kept(self) -> int:
        """How much memory it takes, about."""
        ...

    def inode(self, number: int) -> Inode | None:
        """Return what an inode item says; None if there is none of that number."""
        ...

    def attributes(self, number: int) -> Attributes:
        """Return an inode's extended attributes, sorted by name."""
        ...

    def names(self, number: int) -> Iterator[Named]:
        """Yield a folder's names in any order, as they are stored.

        :raises CorruptError: if they are damaged; without a breadcrumb.
        """
        ...

    def extents(self, number: int, *, has_sums: bool) -> Iterator[FileExtent]:
        """Yield a file's extents by offset; what is between them is zeros.

        :param has_sums: whether its data has checksums.
        :raises CorruptError: if they are damaged; without a breadcrumb.
        """
        ...


class InodeIndex:
    """What a subvolume's tree says of its inodes; see :class:`Inodes`.

    :raises CorruptError: if the tree is damaged.
    """

    def __init__(self, tree: Tree, sector_bytes: int, limits: Limits) -> None:
        self._tree = tree
        self._sector_bytes = sector_bytes
        self._limits = limits
        self._numbers = array("Q")
        self._records = bytearray()
        self._leaves = array("Q")
        self._generations = array("Q")
        self._attributes: list[Attributes] = [()]
        self._attribute_bytes = 0
        self._attribute_numbers: dict[Attributes, int] = {(): 0}
        _Filling(self._add, limits, tree).fill(self._leaves, self._generations)

    @property
    def bytes_kept(self) -> int:
        """See :attr:`Inodes.bytes_kept`."""
        tables = len(self._records) + 8 * (len(self._numbers) + 2 * len(self._leaves))
        return tables + self._attribute_bytes

    def _add(self, number: int, inode: Inode, attributes: Attributes, place: int) -> None:
        known = self._attribute_numbers.setdefault(attributes, len(self._attributes))
        if known == len(self._attributes):
            self._attributes.append(attributes)
            self._attribute_bytes += sum(len(name) + len(value) for name, value in attributes)
        self._numbers.append(number)
        self._records += _RECORD.pack(*inode, known, place >> 32, place & _NOWHERE)

    def _record(self, number: int) -> tuple[int, ...] | None:
        index = bisect.bisect_left(self._numbers, number)
        if index == len(self._numbers) or self._numbers[index] != number:
            return None
        return _RECORD.unpack_from(self._records, index * _RECORD.size)

    def inode(self, number: int) -> Inode | None:
        """See :meth:`Inodes.inode`."""
        record = self._record(number)
        return Inode(*record[:-3]) if record is not None else None

    def attributes(self, number: int) -> Attributes:
        """See :meth:`Inodes.attributes`."""
        record = self._record(number)
        return self._attributes[record[-3]] if record is not None else ()

    def names(self, number: int) -> Iterator[Named]:
        """See :meth:`Inodes.names`."""
        for item in self._items(number, DIR_INDEX):
            for target, kind, name, _ in parse_names(item.data):
                yield Named(name, target, kind, item.offset)

    def extents(self, number: int, *, has_sums: bool) -> Iterator[FileExtent]:
        """See :meth:`Inodes.extents`."""
        sector_bytes = self._sector_bytes
        for item in self._items(number, EXTENT_DATA):
            yield parse_extent(item.offset, item.data, sector_bytes, has_sums=has_sums)

    def more_refs(self, number: int) -> Iterator[Ref]:
        """Yield the names of an inode that had no room in the items with its other names.

        :raises CorruptError: if they are damaged; without a breadcrumb.
        """
        for item in self._tree.items_from(Key(number, INODE_EXTREF, 0)):
            if item[:2] != (number, INODE_EXTREF):
                return
            yield from parse_extrefs(item.data)

    def _items(self, number: int, kind: int) -> Iterator[Item]:
        record = self._record(number)
        if record is None or record[-2] == _NOWHERE:
            return
        ordinal, slot = record[-2:]
        while ordinal < len(self._leaves):
            for item in self._leaf(ordinal).items(slot):
                if item.number != number or item.kind > kind:
                    return
                if item.kind == kind:
                    yield item
            ordinal, slot = ordinal + 1, 0

    def _leaf(self, ordinal: int) -> Node:
        return self._tree.nodes.read(Pointer(self._leaves[ordinal], 0, self._generations[ordinal]))


class _Filling:
    """The walk over the tree, and what it knows of the inode that it is at."""

    def __init__(self, add: _Add, limits: Limits, tree: Tree) -> None:
        self._add = add
        self._limits = limits
        self._tree = tree
        self._count = 0
        self._number = -1
        self._inode: Inode | None = None
        self._attributes: list[tuple[bytes, bytes]] = []
        self._place = 0

    def fill(self, leaves: array[int], generations: array[int]) -> None:
        order = LeafOrder(self._tree.nodes)
        for pointer in self._tree.leaf_pointers():
            leaf = self._tree.nodes.read(pointer)
            order.check(leaf)
            try:
                self._take(leaf, len(leaves))
            except CorruptError as error:
                raise self._tree.nodes.space.damaged(leaf.logical, error.message) from error
            leaves.append(pointer.logical)
            generations.append(pointer.generation)
        self._finish()

    def _take(self, leaf: Node, ordinal: int) -> None:
        """Take the items of one leaf."""
        data, base = leaf.data, HEADER.size
        table = memoryview(data)[base : base + leaf.count * ITEM.size]
        for slot, (number, kind, _, start, size) in enumerate(ITEM.iter_unpack(table)):
            if kind not in _INTERESTING:
                continue
            if kind == INODE_ITEM:
                self._finish()
                if FIRST_FREE <= number <= LAST_FREE:
                    self._begin(number, data[base + start : base + start + min(size, INODE_BYTES)])
            elif number != self._number:
                continue
            elif kind == XATTR_ITEM:
                for _, _, name, value in parse_names(data[base + start : base + start + size]):
                    self._attributes.append((name, value))
            elif self._place < 0:
                self._place = ordinal << 32 | slot

    def _begin(self, number: int, data: bytes) -> None:
        self._count += 1
        if self._count > self._limits.entries:
            raise LimitError(
                f"has more than {self._limits.entries:,} inodes",
                origin=self._tree.nodes.space.origin,
            )
        self._number, self._inode, self._place = number, parse_inode(data), -1
        self._attributes = []

    def _finish(self) -> None:
        """Hand over the inode whose items are all seen."""
        if self._inode is None:
            return
        attributes = checked_attributes(self._attributes, self._number, self._limits)
        place = self._place if self._place >= 0 else _NOWHERE << 32
        self._add(self._number, self._inode, attributes, place)
        self._inode, self._number = None, -1


def first_inode(tree: Tree, limits: Limits) -> tuple[Inode | None, Attributes]:
    """Return the root folder of a subvolume and its attributes, and read nothing else.

    :raises CorruptError: if it is damaged.
    """
    inode: Inode | None = None
    found: list[tuple[bytes, bytes]] = []
    for item in tree.items_from(Key(FIRST_FREE, INODE_ITEM, 0)):
        if item.number != FIRST_FREE or item.kind > XATTR_ITEM:
            break
        if item.kind == INODE_ITEM:
            inode = parse_inode(item.data)
        elif item.kind == XATTR_ITEM:
            found += [(name.name, name.value) for name in parse_names(item.data)]
    return inode, checked_attributes(found, FIRST_FREE, limits)


def checked_attributes(found: list[tuple[bytes, bytes]], number: int, limits: Limits) -> Attributes:
    """Return attributes by name.

    :raises CorruptError: for a name that is there twice or is none, without a breadcrumb.
    :raises LimitError: for too many of them, or too long a value.
    """
    if not found:
        return ()
    attributes = tuple(sorted(found))
    names = [name for name, _ in attributes]
    if len(set(names)) != len(names) or any(not name or b"\0" in name for name in names):
        raise CorruptError(f"inode {number:,} has attributes that no system allows")
    if len(names) > limits.xattrs_per_file:
        raise LimitError(
            f"inode {number:,} has {len(names)} extended attributes, more than"
            f" {limits.xattrs_per_file}"
        )
    longest = max(len(value) for _, value in attributes)
    if longest > limits.xattr_value_bytes:
        raise LimitError(
            f"inode {number:,} has an extended attribute of {longest:,} bytes, more than"
            f" {limits.xattr_value_bytes:,}"
        )
    return attributes
