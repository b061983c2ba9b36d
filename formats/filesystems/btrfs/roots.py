"""The root tree: all other trees, and which of them are subvolumes.

"On-disk Format", sections "ROOT_ITEM" and "ROOT_REF"; btrfs-subvolume(8).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from formats.core.entry import check_name
from formats.core.errors import CorruptError, LimitError
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.filesystems.btrfs.btree import Tree
from formats.filesystems.btrfs.inode import parse_names
from formats.filesystems.btrfs.items import (
    DIR_ITEM,
    FIRST_FREE,
    FS_TREE,
    LAST_FREE,
    OF_OTHER_TREES,
    ROOT_BACKREF,
    ROOT_ITEM,
    ROOT_TREE_DIR,
)
from formats.filesystems.btrfs.nodes import Pointer

MOST_SUBVOLUMES = 4096

_ROOT = struct.Struct(
    "<160x3Q24xQI18xB"
)  # inode; generation, folder, address …, flags, refs, level
_ROOT_UUIDS = struct.Struct("<239xQ16s16s")  # generation again, own UUID, that of the origin
_ROOT_REF = struct.Struct("<QQH")  # folder, index in it, length of the name
_READ_ONLY = 1 << 0
_DEAD = 1 << 48
_MOST_LEVEL = 7
_DEFAULT = b"default"


@dataclass(frozen=True, slots=True)
class Root:
    """A tree, as its root item says.

    :ivar is_snapshot: whether it was made as a copy of another subvolume.
    :ivar is_dead: whether it was deleted, and is being taken apart.
    """

    pointer: Pointer
    generation: int
    is_read_only: bool
    is_snapshot: bool
    is_dead: bool


@dataclass(frozen=True, slots=True)
class Link:
    """Where a subvolume is: the folder of another that its name is in."""

    parent: int
    folder: int
    name: bytes


@dataclass(slots=True)
class Roots:
    """What the root tree says.

    :ivar trees: by number, subvolumes among them.
    :ivar links: of subvolumes, by number.
    :ivar default: number of the subvolume that is mounted where nothing says which.
    """

    trees: dict[int, Root] = field(default_factory=dict)
    links: dict[int, Link] = field(default_factory=dict)
    default: int = FS_TREE

    def subvolumes(self) -> list[int]:
        """Return the numbers of all subvolumes that were not deleted, in order."""
        return [
            number
            for number, root in sorted(self.trees.items())
            if number == FS_TREE or (number in self.links and not root.is_dead)
        ]


def read_roots(tree: Tree, limits: Limits) -> Roots:
    """Return what the root tree says.

    :raises CorruptError: if it is damaged.
    :raises LimitError: if there are too many subvolumes.
    """
    roots = Roots()
    origin = tree.nodes.space.origin
    count = 0
    for number, kind, offset, data in tree.items():
        if kind == ROOT_ITEM:
            is_subvolume = FIRST_FREE <= number <= LAST_FREE
            count += is_subvolume
            if count > MOST_SUBVOLUMES:
                raise LimitError(f"has more than {MOST_SUBVOLUMES:,} subvolumes", origin=origin)
            roots.trees[number] = parse_root(number, data, origin)
        elif kind == ROOT_BACKREF and FIRST_FREE <= number <= LAST_FREE:
            roots.links[number] = _parse_link(offset, data, limits, origin)
        elif kind in OF_OTHER_TREES:
            raise CorruptError(f"its root tree has an item of kind {kind}", origin=origin)
        elif kind == DIR_ITEM and number == ROOT_TREE_DIR:
            for name in parse_names(data):
                if name.name == _DEFAULT and name.kind == ROOT_ITEM:
                    roots.default = name.number
    if FS_TREE not in roots.trees:
        raise CorruptError("has no tree of files", origin=origin)
    return roots


def parse_root(number: int, data: bytes, origin: Origin) -> Root:
    """Return what a root item says.

    :raises CorruptError: if it is damaged.
    """
    if len(data) < _ROOT.size:
        raise CorruptError(f"the root item of tree {number:,} is cut short", origin=origin)
    generation, _, logical, flags, links, level = _ROOT.unpack_from(data)
    if level > _MOST_LEVEL:
        raise CorruptError(f"the tree {number:,} has {level} levels", origin=origin)
    copied_from = bytes(16)
    if len(data) >= _ROOT_UUIDS.size:
        again, _, copied_from = _ROOT_UUIDS.unpack_from(data)
        if again != generation:  # a kernel wrote it last that does not know the UUIDs
            copied_from = bytes(16)
    return Root(
        Pointer(logical, level, generation),
        generation,
        is_read_only=bool(flags & _READ_ONLY),
        is_snapshot=any(copied_from),
        is_dead=bool(flags & _DEAD) or not links,
    )


def _parse_link(parent: int, data: bytes, limits: Limits, origin: Origin) -> Link:
    if len(data) < _ROOT_REF.size:
        raise CorruptError("the reference to a subvolume is cut short", origin=origin)
    folder, _, size = _ROOT_REF.unpack_from(data)
    name = data[_ROOT_REF.size :]
    if len(name) != size or size > limits.name_bytes:
        raise CorruptError("the name of a subvolume does not fill its item", origin=origin)
    check_name(name, origin)
    return Link(parent, folder, name)
