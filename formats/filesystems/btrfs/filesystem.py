"""One Btrfs filesystem: from the superblocks of its devices to its subvolumes."""

from __future__ import annotations

import struct
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable

from formats.core.entry import check_name
from formats.core.errors import ConvertError, CorruptError, UnsupportedError
from formats.core.finding import Finding
from formats.core.limits import MIB, Limits
from formats.core.origin import Origin
from formats.filesystems.btrfs.btree import Tree
from formats.filesystems.btrfs.chunks import Chunk, chunks_of_array, parse_chunk
from formats.filesystems.btrfs.content import ContentReader
from formats.filesystems.btrfs.index import Attributes, InodeIndex, Inodes, first_inode
from formats.filesystems.btrfs.inode import Inode, parse_refs
from formats.filesystems.btrfs.items import (
    CHUNK_ITEM,
    CSUM_TREE,
    DEV_ITEM,
    FIRST_FREE,
    FS_TREE,
    INODE_REF,
    Key,
)
from formats.filesystems.btrfs.log import LogReader, Logs
from formats.filesystems.btrfs.nodes import NodeReader, Pointer
from formats.filesystems.btrfs.replay import ReplayedInodes
from formats.filesystems.btrfs.roots import Root, Roots, read_roots
from formats.filesystems.btrfs.space import Device, Space
from formats.filesystems.btrfs.sums import DataReader

_DEVICE_ITEM = struct.Struct("<Q58x16s16s")  # number; UUID, that of the filesystem
_MOST_INDEX_BYTES = 128 * MIB
"""Of all indices that are kept: those of two million inodes, a limit of their own."""


class BtrfsFilesystem:
    """A filesystem whose devices are there, or enough of them.

    :param devices: by number.
    :param note: told of what the user should know.
    :raises UnsupportedError: if devices are missing that it cannot be read without.
    :raises CorruptError: if its trees of chunks and roots are damaged.
    """

    def __init__(
        self,
        devices: dict[int, Device],
        origin: Origin,
        limits: Limits,
        note: Callable[[Finding], None],
    ) -> None:
        self.origin = origin
        self.limits = limits
        self.superblock = max(
            (device.superblock for device in devices.values()), key=lambda one: one.generation
        )
        self.space = self._space(devices, note)
        self.nodes = NodeReader(self.space, self.superblock, limits.cache_bytes)
        superblock = self.superblock
        root = Pointer(superblock.root, superblock.root_level, superblock.generation)
        self.roots: Roots = read_roots(Tree(self.nodes, root), limits)
        logs = LogReader(self.nodes, superblock).read() if superblock.log_root else Logs()
        self.logs = logs.subvolumes
        data = DataReader(
            self.space,
            self.tree(CSUM_TREE),
            superblock.checksum,
            superblock.sector_bytes,
            logs.sums,
        )
        self.content = ContentReader(data, self.space, superblock.sector_bytes, limits.cache_bytes)
        self._inodes: OrderedDict[int, Inodes] = OrderedDict()
        self._last: tuple[int, Inodes | None] = (0, None)
        """What was asked for last, for who asks again."""
        self._lock = threading.Lock()
        self._folder_names: dict[tuple[int, int], tuple[int, bytes]] = {}

    def _space(self, devices: dict[int, Device], note: Callable[[Finding], None]) -> Space:
        """Return the space of all chunks, which is read through that of the system chunks."""
        superblock, origin = self.superblock, self.origin
        system = list(chunks_of_array(superblock.chunk_array, origin))
        self._check_missing(system, devices)
        nodes = NodeReader(
            Space(devices, system, origin, note), superblock, self.limits.cache_bytes
        )
        root = Pointer(
            superblock.chunk_root, superblock.chunk_root_level, superblock.chunk_root_generation
        )
        chunks: list[Chunk] = []
        for _, kind, offset, data in Tree(nodes, root).items():
            if kind == CHUNK_ITEM:
                chunks.append(parse_chunk(offset, data, origin))
            elif kind == DEV_ITEM:
                self._check_device(data, devices)
        self._check_missing(chunks, devices)
        return Space(devices, chunks, origin, note)

    def _check_device(self, data: bytes, devices: dict[int, Device]) -> None:
        if len(data) < _DEVICE_ITEM.size:
            raise CorruptError("the item of a device is cut short", origin=self.origin)
        number, identity, filesystem = _DEVICE_ITEM.unpack_from(data)
        if uuid.UUID(bytes=filesystem) != self.superblock.metadata_uuid:
            raise UnsupportedError(
                f"stands on a seed device: number {number} of the filesystem"
                f" {uuid.UUID(bytes=filesystem)}",
                origin=self.origin,
                hint="move it onto its own devices: 'btrfs device remove' of the seed, on a copy",
            )
        device = devices.get(number)
        if device is not None and device.superblock.device_uuid.bytes != identity:
            raise CorruptError(
                f"is not the device {number} of its filesystem, which is"
                f" {uuid.UUID(bytes=identity)}",
                origin=device.source.origin,
            )

    def _check_missing(self, chunks: list[Chunk], devices: dict[int, Device]) -> None:
        """Refuse a filesystem of which something is on no device that is there."""
        for chunk in chunks:
            if chunk.is_readable(devices.__contains__):
                continue
            missing = {
                stripe.device_id: f"{stripe.device_id} ({stripe.device_uuid})"
                for stripe in chunk.stripes
                if stripe.device_id not in devices
            }
            names = ", ".join(name for _, name in sorted(missing.items()))
            raise UnsupportedError(
                f"of its {self.superblock.device_count} devices, these are missing and have what"
                f" is nowhere else ({chunk.profile.name}): {names}",
                origin=self.origin,
                hint="give all disks of the filesystem together",
            )

    def tree(self, number: int) -> Tree:
        """Return a tree.

        :raises CorruptError: if there is none of that number.
        """
        return Tree(self.nodes, self.root(number).pointer)

    def root(self, number: int) -> Root:
        """Return what the root item of a tree says.

        :raises CorruptError: if there is none of that number.
        """
        root = self.roots.trees.get(number)
        if root is None:
            raise CorruptError(f"has no tree {number:,}", origin=self.origin)
        return root

    def inodes(self, number: int) -> Inodes:
        """Return the inodes of a subvolume; those that were asked for last are kept.

        :raises CorruptError: if its tree is damaged.
        """
        last, inodes = self._last
        if last == number and inodes is not None:
            return inodes
        with self._lock:
            inodes = self._inodes.pop(number, None) or self._read_inodes(number)
            self._inodes[number] = inodes
            while len(self._inodes) > 1 and self._bytes_kept() > _MOST_INDEX_BYTES:
                self._inodes.popitem(last=False)
            self._last = (number, inodes)
        return inodes

    def _read_inodes(self, number: int) -> Inodes:
        try:
            index = InodeIndex(self.tree(number), self.superblock.sector_bytes, self.limits)
            log = self.logs.get(number)
            if log is None:
                return index
            return ReplayedInodes(index, log, self.superblock.sector_bytes, self.limits)
        except ConvertError as error:
            error.at(self.origin)
            raise

    def _bytes_kept(self) -> int:
        return sum(inodes.bytes_kept for inodes in self._inodes.values())

    def root_folder(self, number: int) -> tuple[Inode, Attributes]:
        """Return the root folder of a subvolume and its attributes, without reading the rest.

        :raises CorruptError: if it is not there, or damaged.
        """
        if number in self.logs:
            inodes = self.inodes(number)
            root, attributes = inodes.inode(FIRST_FREE), inodes.attributes(FIRST_FREE)
        else:
            try:
                root, attributes = first_inode(self.tree(number), self.limits)
            except ConvertError as error:
                error.at(self.origin)
                raise
        if root is None:
            raise CorruptError(f"subvolume {number:,} has no root folder", origin=self.origin)
        return root, attributes

    def path(self, number: int) -> bytes:
        """Return the path of a subvolume from the top of the filesystem.

        :raises CorruptError: if it leads nowhere.
        """
        parts: list[bytes] = []
        length, start = 0, number
        while number != FS_TREE:
            link = self.roots.links.get(number)
            if link is None:
                raise CorruptError(f"subvolume {number:,} has no path", origin=self.origin)
            number, folder, name = link.parent, link.folder, link.name
            while True:
                parts.append(name)
                length += len(name) + 1
                if length > self.limits.path_bytes:  # or the way leads to itself
                    raise CorruptError(f"subvolume {start:,} has no path", origin=self.origin)
                if folder == FIRST_FREE:
                    break
                folder, name = self._folder_name(number, folder)
        return b"/".join(reversed(parts))

    def _folder_name(self, subvolume: int, folder: int) -> tuple[int, bytes]:
        """Return which folder of its subvolume a folder is in, and its name there."""
        known = self._folder_names.get((subvolume, folder))
        if known is None:
            known = self._folder_names[subvolume, folder] = self._read_name(subvolume, folder)
        return known

    def _read_name(self, subvolume: int, folder: int) -> tuple[int, bytes]:
        if subvolume in self.logs:
            inodes = self.inodes(subvolume)
            moved = inodes.moved.get(folder) if isinstance(inodes, ReplayedInodes) else None
            if moved is not None:
                return moved
        item = next(self.tree(subvolume).items_from(Key(folder, INODE_REF, 0)), None)
        if item is not None and item[:2] == (folder, INODE_REF):
            for ref in parse_refs(item.offset, item.data):
                check_name(ref.name, self.origin)
                return ref.folder, ref.name
        raise CorruptError(
            f"folder {folder:,} of subvolume {subvolume:,} has no name", origin=self.origin
        )
