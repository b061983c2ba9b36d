"""Keys, and the numbers in them: which kind of item belongs to which object.

Names are those of ``linux/btrfs_tree.h`` without their prefix.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

# Trees and objects with fixed numbers.
FS_TREE = 5
ROOT_TREE_DIR = 6
CSUM_TREE = 7
FIRST_FREE = 256
"""Number of the first inode of a subvolume, its root folder; and of the first subvolume."""
LAST_FREE = (1 << 64) - 256
EXTENT_CSUM = (1 << 64) - 10
TREE_LOG = (1 << 64) - 6

# Kinds of items, in the order in which an object has them.
INODE_ITEM = 1
INODE_REF = 12
INODE_EXTREF = 13
XATTR_ITEM = 24
VERITY_ITEMS = (36, 37)
"""A descriptor, and a tree of hashes: what fs-verity needs that reads through it."""
DIR_LOG_ITEM = 60
DIR_LOG_INDEX = 72
DIR_ITEM = 84
DIR_INDEX = 96
EXTENT_DATA = 108
CSUM_ITEM = 128
ROOT_ITEM = 132
ROOT_BACKREF = 144
ROOT_REF = 156
DEV_ITEM = 216
CHUNK_ITEM = 228

OF_OTHER_TREES = frozenset({CSUM_ITEM, DEV_ITEM, CHUNK_ITEM, *range(168, 205)})
"""Kinds of items of which the root tree has none: chunks, devices and what is allocated of them."""


MOST = (1 << 64) - 1
"""The largest offset."""


class Key(NamedTuple):
    """What items are sorted by.

    :ivar number: of the object: an inode, a subvolume.
    :ivar kind: of the item.
    :ivar offset: what tells items of one kind apart.
    """

    number: int
    kind: int
    offset: int


class Item(NamedTuple):
    """An item of a leaf: its key, and the bytes of it."""

    number: int
    kind: int
    offset: int
    data: bytes


KEY = struct.Struct("<QBQ")
