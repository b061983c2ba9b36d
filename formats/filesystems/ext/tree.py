"""The tree of an ext filesystem: paths, in order, with everything that is known of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from formats.core.entry import Entry, Kind, join
from formats.core.errors import ConvertError, CorruptError, EncryptedError, LimitError, quoted
from formats.core.origin import Origin
from formats.core.source import BytesLike
from formats.core.tree import TreeInfo
from formats.filesystems.ext.attributes import AttributeReader
from formats.filesystems.ext.directory import Names
from formats.filesystems.ext.filesystem import ExtFilesystem
from formats.filesystems.ext.inode import (
    COMPRESSED,
    EA_INODE,
    ENCRYPTED,
    Inode,
)
from formats.filesystems.ext.runs import Run, read_runs
from formats.filesystems.ext.superblock import ROOT_INODE

_KINDS = {
    0x1000: Kind.FIFO,
    0x2000: Kind.CHARACTER_DEVICE,
    0x4000: Kind.FOLDER,
    0x6000: Kind.BLOCK_DEVICE,
    0x8000: Kind.FILE,
    0xA000: Kind.SYMLINK,
    0xC000: Kind.SOCKET,
}
_DEVICES = frozenset({Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE})
_ANNOUNCED = 16_384
_ENCRYPTED_HINT = "decrypt or remove it on the running machine, then take the image again"


class _Walk:
    """What one pass over all paths has to remember."""

    def __init__(self) -> None:
        self.entries = 0
        self.folders: set[int] = set()
        self.folder_bytes = 0
        self.first_names: dict[int, bytes] = {}


class ExtTree:
    """The tree of one filesystem; see :class:`formats.core.tree.Tree`."""

    def __init__(self, filesystem: ExtFilesystem, info: TreeInfo) -> None:
        self._filesystem = filesystem
        self._attributes = AttributeReader(filesystem)
        self._info = info
        self._announced: dict[int, list[Run]] = {}
        """Where the content of announced files is, by inode, until it is read."""

    @property
    def origin(self) -> Origin:
        """See :attr:`formats.core.tree.Tree.origin`."""
        return self._filesystem.source.origin

    @property
    def info(self) -> TreeInfo:
        """See :attr:`formats.core.tree.Tree.info`."""
        return self._info

    def entries(self) -> Iterator[Entry]:
        """See :meth:`formats.core.tree.Tree.entries`.

        :raises CorruptError: where an inode or folder is damaged.
        :raises EncryptedError: at the first encrypted inode.
        :raises LimitError: for too many or too long paths.
        """
        walk = _Walk()
        root = self._entry(b"", ROOT_INODE, walk)
        if root.kind is not Kind.FOLDER:
            raise CorruptError("its root is no folder", origin=self.origin)
        yield root
        pending = [self._below(root, walk)]
        while pending:
            entry = next(pending[-1], None)
            if entry is None:
                pending.pop()
                continue
            yield entry
            if entry.kind is Kind.FOLDER:
                if len(pending) >= self._filesystem.limits.depth:
                    raise self._too_much("is nested too deep", entry.path)
                pending.append(self._below(entry, walk))

    def _below(self, folder: Entry, walk: _Walk) -> Iterator[Entry]:
        """Yield what is directly in a folder."""
        for name, number in self._sorted_names(folder, walk):
            yield self._entry(join(folder.path, name), number, walk)

    def _sorted_names(self, folder: Entry, walk: _Walk) -> Names:
        filesystem = self._filesystem
        try:
            inode = filesystem.inodes.in_use(folder.node)
            walk.folder_bytes += filesystem.folder_bytes(inode)
            if walk.folder_bytes > filesystem.superblock.size_bytes:
                raise filesystem.damaged("shares its blocks with another folder", inode)
            names = filesystem.names(inode)
            names.sort()
            for (first, _), (second, _) in pairwise(names):
                if first == second:
                    raise filesystem.damaged(f"has two entries {quoted(first)}", inode)
        except ConvertError as error:
            raise _naming(folder.path, error) from error
        return names

    def _entry(self, path: bytes, number: int, walk: _Walk) -> Entry:
        limits = self._filesystem.limits
        walk.entries += 1
        if walk.entries > limits.entries:
            raise self._too_much(f"is one more than {limits.entries:,} paths", path)
        if len(path) > limits.path_bytes:
            raise self._too_much(f"is a path of more than {limits.path_bytes:,} bytes", path)
        try:
            inode = self._filesystem.inodes.in_use(number)
            return self._entry_of(path, inode, walk)
        except ConvertError as error:
            raise _naming(path, error) from error

    def _entry_of(self, path: bytes, inode: Inode, walk: _Walk) -> Entry:
        filesystem = self._filesystem
        kind = _KINDS.get(inode.mode & 0xF000)
        number = inode.number
        if kind is None or inode.flags & EA_INODE or _is_reserved(number, filesystem):
            raise filesystem.damaged("is not one that can have a name", inode)
        self._refuse_unreadable(inode)
        target = device = None
        size = 0
        link = walk.first_names.get(number) if inode.links > 1 else None
        if kind is Kind.FILE:
            size = inode.file_bytes
        elif kind is Kind.FOLDER:
            if number in walk.folders:
                raise filesystem.damaged("is a folder with two names", inode)
            walk.folders.add(number)
        elif kind is Kind.SYMLINK:
            target = filesystem.symlink_target(inode)
        elif kind in _DEVICES:
            device = inode.device
        if link is not None:
            kind, target = Kind.HARDLINK, link
        elif inode.links > 1 and kind is not Kind.FOLDER:
            walk.first_names[number] = path
        return Entry(
            path,
            kind,
            inode.mode & 0o7777,
            inode.uid_low | inode.uid_high << 16,
            inode.gid_low | inode.gid_high << 16,
            inode.mtime_ns,
            size,
            target,
            device,
            self._attributes.of(inode),
            number,
        )

    def _refuse_unreadable(self, inode: Inode) -> None:
        if inode.flags & ENCRYPTED:
            raise EncryptedError("is encrypted", origin=self.origin, hint=_ENCRYPTED_HINT)
        if inode.flags & COMPRESSED:
            raise self._filesystem.damaged("is compressed, which this filesystem cannot be", inode)

    def read(self, entry: Entry) -> Iterator[BytesLike]:
        """See :meth:`formats.core.tree.Tree.read`.

        :raises CorruptError: if the content cannot be read whole.
        :raises LimitError: if the file is larger than a file may be.
        """
        limits = self._filesystem.limits
        if entry.size > limits.file_bytes:
            raise self._too_much(
                f"has {entry.size:,} bytes, holes included, more than the"
                f" {limits.file_bytes:,} that a file may have",
                entry.path,
            )
        if not entry.size:
            return
        filesystem = self._filesystem
        try:
            runs = self._announced.pop(entry.node, None)
            if runs:
                block_bytes = filesystem.superblock.block_bytes
                yield from read_runs(filesystem.source, runs, block_bytes, entry.size)
                return
            inode = filesystem.inodes.in_use(entry.node)
            yield from filesystem.content(inode, entry.size)
        except ConvertError as error:
            raise _naming(entry.path, error) from error

    def will_read(self, entries: Sequence[Entry]) -> None:
        """See :meth:`formats.core.tree.Tree.will_read`."""
        ranges: list[tuple[int, int]] = []
        if len(self._announced) + len(entries) > _ANNOUNCED:
            self._announced.clear()  # of a walk that was given up
        block_bytes = self._filesystem.superblock.block_bytes
        for entry in entries:
            if not 0 < entry.size <= self._filesystem.limits.file_bytes:
                continue
            try:
                inode = self._filesystem.inodes.in_use(entry.node)
                runs = self._filesystem.runs(inode, entry.size)
            except ConvertError:  # a hint never fails: read() says what is wrong
                continue
            self._announced[entry.node] = runs
            for _, count, start in runs:
                _append_range(ranges, start * block_bytes, count * block_bytes)
        self._filesystem.source.will_need(ranges)

    def _too_much(self, what: str, path: bytes) -> LimitError:
        return LimitError(f"{quoted(path)} {what}", origin=self.origin)


def _append_range(ranges: list[tuple[int, int]], offset: int, length: int) -> None:
    """Add a range, or lengthen the last one that it continues."""
    if ranges and sum(ranges[-1]) == offset:
        offset, length = ranges[-1][0], ranges.pop()[1] + length
    ranges.append((offset, length))


def _is_reserved(number: int, filesystem: ExtFilesystem) -> bool:
    return number < filesystem.superblock.first_inode and number != ROOT_INODE


def _naming(path: bytes, error: ConvertError) -> ConvertError:
    """Return the same error with the path that it is about in front."""
    message = f"{quoted(path or b'/')}: {error.message}"
    return type(error)(message, origin=error.origin, offset=error.offset, hint=error.hint)
