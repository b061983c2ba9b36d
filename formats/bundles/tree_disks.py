"""Disks and machines among the files of a tree: what a zip archive of a virtual machine is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from formats.archives.tar_index import inner_path
from formats.bundles.disk_names import disks, holds_disks, is_descriptor, is_machine
from formats.bundles.members import folder_of, path_of, text_of
from formats.core.entry import Entry, Kind, join
from formats.core.errors import CorruptError, UnsupportedError, quoted
from formats.core.inner import file_source
from formats.core.origin import Origin, printable
from formats.core.reader import OpenContext, Volume, Volumes
from formats.core.source import ByteSource
from formats.core.tree import Tree

_APPLIANCE = b".ova"


def tree_disks(tree: Tree, context: OpenContext) -> Volumes | None:
    """Return what a tree is for of appliances, machines or disks; None if it is a tree of files.

    Each is opened with the files that are beside it.
    """
    files = {entry.path: entry for entry in tree.entries() if entry.kind is Kind.FILE}
    sizes = {path: entry.size for path, entry in files.items()}
    tops = {entry.path.partition(b"/")[0] for entry in tree.entries() if entry.path}
    appliances = [path for path in files if path.lower().endswith(_APPLIANCE)]
    descriptors = [path for path in files if is_descriptor(path)]
    machines = [path for path in files if is_machine(path)]
    if len(appliances) == 1 and 2 * sizes[appliances[0]] >= sum(sizes.values()):
        wanted: Sequence[bytes] = appliances
    elif descriptors:
        wanted = descriptors
    elif holds_disks(sizes, tops):
        wanted = machines or disks(files)
    else:
        return None
    return Volumes(tuple(_volume(tree, files, path, context) for path in wanted))


def _volume(tree: Tree, files: Mapping[bytes, Entry], path: bytes, context: OpenContext) -> Volume:
    siblings = TreeSiblings(tree, files, context, folder_of(path))
    return Volume(
        file_source(tree, files[path], context), printable(text_of(path)), siblings=siblings
    )


class TreeSiblings:
    """The files in one folder of a tree, and below it.

    :param files: all files of the tree, by path.
    :param folder: path of the folder; ``b""`` is the tree's top.
    """

    def __init__(
        self, tree: Tree, files: Mapping[bytes, Entry], context: OpenContext, folder: bytes
    ) -> None:
        self._tree = tree
        self._files = files
        self._context = context
        self._folder = folder

    def exists(self, name: str) -> bool:
        """See :class:`~formats.core.reader.Siblings`."""
        return self._path(name) in self._files

    def open(self, name: str, origin: Origin) -> ByteSource:
        """See :class:`~formats.core.reader.Siblings`."""
        path = self._path(name)
        if path is None:
            raise UnsupportedError(
                f"refers to {quoted(name)}, which is no file of the archive", origin=origin
            )
        if path not in self._files:
            raise CorruptError(
                f"needs {quoted(name)}, which is missing",
                origin=origin,
                hint="pack the bundle again with all of its files",
            )
        return file_source(self._tree, self._files[path], self._context)

    def beside(self, name: str) -> TreeSiblings:
        """Return the files beside one of these, which may be in a folder further down."""
        path = self._path(name)
        if path is None:
            return self
        return TreeSiblings(self._tree, self._files, self._context, folder_of(path))

    def _path(self, name: str) -> bytes | None:
        path = inner_path(path_of(name))
        return join(self._folder, path) if path else None
