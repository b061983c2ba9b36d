"""The tree of a package: its files, held against what its header says of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from formats.core.entry import Entry, Kind
from formats.core.errors import CorruptError, quoted
from formats.core.origin import Origin
from formats.core.package import Package
from formats.core.source import BytesLike, ByteSource
from formats.core.tree import OpenableTree, TreeInfo

Owner = tuple[str, str]
"""Names of a user and a group; "" where the number in the tree is right as it is."""


class PackageTree:
    """The files of one package; see :class:`formats.core.tree.OpenableTree`.

    Content is verified while it is read, where the package has a digest of it. Numbers of owners
    are the package's own; of an rpm, which has names only, they are zero.

    :param files: what the payload holds; its ``info`` becomes this tree's, with ``package``.
    :ivar package: what the package says of itself; its paths are those of ``files``.
    :ivar owners: who owns what, by path, where numbers alone do not say it: whoever puts packages
        together looks names up there.
    """

    def __init__(
        self, files: OpenableTree, package: Package, owners: Mapping[bytes, Owner]
    ) -> None:
        self._files = files
        self._info = replace(files.info, package=package)
        self.package = package
        self.owners = owners

    @property
    def origin(self) -> Origin:
        """See :attr:`formats.core.tree.Tree.origin`."""
        return self._files.origin

    @property
    def info(self) -> TreeInfo:
        """See :attr:`formats.core.tree.Tree.info`."""
        return self._info

    def entries(self) -> Iterator[Entry]:
        """See :meth:`formats.core.tree.Tree.entries`."""
        return self._files.entries()

    def read(self, entry: Entry) -> Iterator[BytesLike]:
        """See :meth:`formats.core.tree.Tree.read`.

        :raises CorruptError: behind the last byte, if the content is not what the package says.
        """
        known = self._digest(entry)
        if known is None:
            yield from self._files.read(entry)
            return
        algorithm, expected = known
        digest = hashlib.new(algorithm, usedforsecurity=False)
        for chunk in self._files.read(entry):
            digest.update(chunk)
            yield chunk
        if digest.hexdigest() != expected:
            raise CorruptError(
                f"{quoted(entry.path)} has the {algorithm} digest {digest.hexdigest()}, and the"
                f" package says {expected}",
                origin=self.origin,
                hint="the package was damaged or changed after it was built: fetch it again",
            )

    def open(self, entry: Entry) -> ByteSource:
        """See :meth:`formats.core.tree.OpenableTree.open`; all of the file is verified first."""
        if self._digest(entry) is not None:
            for _ in self.read(entry):
                pass
        return self._files.open(entry)

    def will_read(self, entries: Sequence[Entry]) -> None:
        """See :meth:`formats.core.tree.Tree.will_read`."""
        self._files.will_read(entries)

    def _digest(self, entry: Entry) -> tuple[str, str] | None:
        """Return what is known of an entry's content; links of one file may be listed by one."""
        digests = self.package.digests
        known = digests.get(entry.path)
        if known is None and entry.kind is Kind.HARDLINK:
            known = digests.get(entry.target or b"")
        return known
