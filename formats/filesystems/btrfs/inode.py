"""Inodes, names in folders and extended attributes, as their items have them.

"On-disk Format", sections "INODE_ITEM", "DIR_ITEM" and "XATTR_ITEM".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from formats.core.errors import CorruptError

NO_DATA_SUMS = 1 << 0
"""Inode flag: its data has no checksums."""

_INODE = struct.Struct(
    "<16xQ16x"  # generation, transaction; size; bytes, block group
    "4I2Q"  # 0x28 links, uid, gid, mode, device, flags
    "40x24x"  # 0x48 sequence, reserved; access and change time
    "qI12x"  # 0x88 modification time, creation time
)
_GENERATION = struct.Struct("<Q")
_DIR_ITEM = struct.Struct("<QBQ8x2HB")  # location; transaction; length of value and of name, type
_REF = struct.Struct("<QH")  # index in the folder, length of the name
_EXTREF = struct.Struct("<QQH")  # folder, index in it, length of the name
_MINOR_BITS = 20


class Inode(NamedTuple):
    """What an inode item says; as ``stat(2)`` has it."""

    size: int
    links: int
    uid: int
    gid: int
    mode: int
    device_number: int
    flags: int
    seconds: int
    nanoseconds: int

    @property
    def mtime_ns(self) -> int:
        """Modification time."""
        return self.seconds * 1_000_000_000 + self.nanoseconds

    @property
    def device(self) -> tuple[int, int]:
        """Major and minor number, as the kernel keeps them in memory."""
        number = self.device_number
        return number >> _MINOR_BITS, number & (1 << _MINOR_BITS) - 1


INODE_BYTES = _INODE.size


class Name(NamedTuple):
    """A name in a folder, or that of an attribute with its value.

    :ivar number: of the inode or subvolume that it leads to.
    :ivar kind: :data:`~formats.filesystems.btrfs.items.INODE_ITEM`, or ``ROOT_ITEM`` for a
        subvolume.
    """

    number: int
    kind: int
    name: bytes
    value: bytes


class Named(NamedTuple):
    """What is in a folder.

    :ivar position: index of the name, which only grows as names are added.
    """

    name: bytes
    number: int
    kind: int
    position: int


class Ref(NamedTuple):
    """A name as the inode has it that is named."""

    folder: int
    position: int
    name: bytes


def parse_inode(data: bytes) -> Inode:
    """Return what an inode item says.

    :raises CorruptError: if it is cut short, or has an impossible time; without a breadcrumb.
    """
    if len(data) < _INODE.size:
        raise CorruptError("an inode item is cut short")
    inode = Inode(*_INODE.unpack_from(data))
    if inode.nanoseconds >= 1_000_000_000:
        raise CorruptError(f"a time has {inode.nanoseconds:,} nanoseconds")
    return inode


def generation_of(data: bytes) -> int:
    """Return the transaction that an inode item says it was made in."""
    generation: int = _GENERATION.unpack_from(data)[0]
    return generation


def parse_names(data: bytes) -> Iterator[Name]:
    """Yield what a folder or attribute item holds; several with one hash are in one item.

    :raises CorruptError: if they run out of it; without a breadcrumb.
    """
    position, end = 0, len(data)
    while position < end:
        start = position + _DIR_ITEM.size
        if start > end:
            raise CorruptError("an item with names is cut short")
        number, kind, _, value_size, name_size, _ = _DIR_ITEM.unpack_from(data, position)
        middle = start + name_size
        position = middle + value_size
        if position > end:
            raise CorruptError("a name runs out of its item")
        yield Name(number, kind, data[start:middle], data[middle:position])


def parse_refs(folder: int, data: bytes) -> Iterator[Ref]:
    """Yield the names that an inode has in one folder (``INODE_REF``).

    :raises CorruptError: if they run out of the item; without a breadcrumb.
    """
    position, end = 0, len(data)
    while position < end:
        start = position + _REF.size
        if start > end:
            raise CorruptError("an inode's reference is cut short")
        index, size = _REF.unpack_from(data, position)
        position = start + size
        if position > end:
            raise CorruptError("an inode's reference runs out of its item")
        yield Ref(folder, index, data[start:position])


def parse_extrefs(data: bytes) -> Iterator[Ref]:
    """Yield the names of an inode for which there was no room (``INODE_EXTREF``).

    :raises CorruptError: if they run out of the item; without a breadcrumb.
    """
    position, end = 0, len(data)
    while position < end:
        start = position + _EXTREF.size
        if start > end:
            raise CorruptError("an inode's reference is cut short")
        folder, index, size = _EXTREF.unpack_from(data, position)
        position = start + size
        if position > end:
            raise CorruptError("an inode's reference runs out of its item")
        yield Ref(folder, index, data[start:position])
