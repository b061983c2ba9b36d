"""The tree of an image: what its layers leave when they are applied to each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from convert.images.applied import AppliedLayers, File
from convert.oci.config import ImageConfig
from formats.core.entry import Entry, Kind
from formats.core.errors import LimitError, quoted
from formats.core.finding import Finding
from formats.core.limits import MIB, Limits
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource, slice_source
from formats.core.tree import TreeInfo

_BLOCK_BYTES: Final = MIB


class ImageTree:
    """What an image holds; see :class:`formats.core.tree.OpenableTree`.

    :param tars: its layers, unpacked and verified, lowest first.
    :ivar config: what it is run with.
    :ivar findings: what of the layers is not as it should be.
    :raises CorruptError: if one is damaged, or cannot be applied.
    :raises LimitError: if the image is larger than ``limits`` allow.
    """

    def __init__(
        self,
        tars: Sequence[ByteSource],
        config: ImageConfig,
        info: TreeInfo,
        origin: Origin,
        limits: Limits,
    ) -> None:
        self.config = config
        self.origin = origin
        self.info = info
        self._tars = tuple(tars)
        self._limits = limits
        applied = AppliedLayers(limits)
        for tar in self._tars:
            applied.add_layer(tar)
        self.findings: tuple[Finding, ...] = tuple(applied.findings())
        self._entries: list[Entry] = []
        self._files: list[File] = []
        """By the node of an entry."""
        self._collect(applied)

    def _collect(self, applied: AppliedLayers) -> None:
        nodes: dict[int, int] = {}
        first_paths: list[bytes] = []
        for path, file in applied.walk():
            node = nodes.setdefault(id(file), len(self._files))
            if node == len(self._files):
                self._files.append(file)
                first_paths.append(path)
            self._entries.append(_entry(path, file, node, first_paths[node]))

    def entries(self) -> Iterator[Entry]:
        """See :class:`~formats.core.tree.Tree`."""
        return iter(self._entries)

    def read(self, entry: Entry) -> Iterator[BytesLike]:
        """See :class:`~formats.core.tree.Tree`.

        :raises LimitError: if the file is larger than one may be; holes count.
        """
        source = self.open(entry)
        for offset in range(0, source.size, _BLOCK_BYTES):
            yield source.read_at(offset, min(_BLOCK_BYTES, source.size - offset))

    def open(self, entry: Entry) -> ByteSource:
        """See :class:`~formats.core.tree.OpenableTree`."""
        origin = self.origin.child(entry.path.decode("utf-8", "surrogateescape"))
        if entry.size > self._limits.file_bytes:
            raise LimitError(
                f"{quoted(entry.path)} has {entry.size:,} bytes, more than the"
                f" {self._limits.file_bytes:,} that a file may have; holes count",
                origin=self.origin,
            )
        file = self._files[entry.node]
        tar = self._tars[file.layer]
        if file.sparse is not None:
            return file.sparse.source(tar, origin)
        return slice_source(tar, file.offset, file.size, origin)

    def will_read(self, entries: Sequence[Entry]) -> None:
        """See :class:`~formats.core.tree.Tree`."""
        ranges: dict[int, list[tuple[int, int]]] = {}
        for entry in entries:
            file = self._files[entry.node]
            if file.size and file.sparse is None:
                ranges.setdefault(file.layer, []).append((file.offset, file.size))
        for layer, wanted_of_it in ranges.items():
            self._tars[layer].will_need(wanted_of_it)


def _entry(path: bytes, file: File, node: int, first_path: bytes) -> Entry:
    is_link = path != first_path
    return Entry(
        path=path,
        kind=Kind.HARDLINK if is_link else file.kind,
        mode=file.mode,
        uid=file.uid,
        gid=file.gid,
        mtime_ns=file.mtime_ns,
        size=file.size,
        target=first_path if is_link else file.target,
        device=file.device,
        xattrs=file.xattrs,
        node=node,
    )
