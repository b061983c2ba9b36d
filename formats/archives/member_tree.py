"""The tree of an archive: from its members to what trees promise.

What every archive has to be held to is done in one place, :mod:`formats.archives.arrangement`:
paths stay inside the tree, folders that no member describes are made, of two members with one
path the later counts, hard links follow their target. Nothing is left out without a finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Generic, Protocol, TypeVar

from formats.archives.arrangement import NOT_A_MEMBER, Arrangement
from formats.archives.member import Content, Member
from formats.core.entry import Entry
from formats.core.errors import ConvertError, CorruptError, LimitError, quoted
from formats.core.finding import Finding
from formats.core.limits import Limits
from formats.core.origin import Origin, file_origin
from formats.core.source import BytesLike, ByteSource
from formats.core.tree import TreeInfo
from formats.filesystems.walk import naming

Content_contra = TypeVar("Content_contra", contravariant=True)


class Contents(Protocol[Content_contra]):
    """How a reader gives the content of its members."""

    def read(self, content: Content_contra, entry: Entry) -> Iterator[BytesLike]:
        """Yield the content, which has ``entry.size`` bytes and is not empty.

        :raises CorruptError: if it cannot be read whole.
        """
        ...

    def open(self, content: Content_contra, origin: Origin) -> ByteSource:
        """Return the content as a source of that origin."""
        ...

    def will_read(self, contents: Sequence[Content_contra]) -> None:
        """Take the hint that these will be read next, in this order; never fail."""
        ...


class MemberTree(Generic[Content]):
    """A tree of members; see :class:`formats.core.tree.OpenableTree`.

    All members are taken at once, their content is not looked at.

    :param note: takes findings: what was made, changed or left out.
    :param forward_links: whether a hard link may come before its target, as in cpio, or is refused
        then, as programs do that unpack tar.
    :raises CorruptError: for a path that leads out of the tree, through a symlink or a file; for
        links to nothing.
    :raises LimitError: for too many, too long or too deep paths.
    """

    def __init__(
        self,
        members: Iterable[Member[Content]],
        contents: Contents[Content],
        info: TreeInfo,
        origin: Origin,
        limits: Limits,
        note: Callable[[Finding], None],
        *,
        forward_links: bool = False,
    ) -> None:
        self._origin = origin
        self._info = info
        self._limits = limits
        self._contents = contents
        arranged = Arrangement[Content](origin, limits, forward_links=forward_links)
        for member in members:
            arranged.add(member)
        self._entries = arranged.entries()
        self._handles = [member.content for member in arranged.members]
        for finding in arranged.findings():
            note(finding)

    @property
    def origin(self) -> Origin:
        """See :attr:`formats.core.tree.Tree.origin`."""
        return self._origin

    @property
    def info(self) -> TreeInfo:
        """See :attr:`formats.core.tree.Tree.info`."""
        return self._info

    def add_facts(self, facts: Mapping[str, str]) -> None:
        """Add what only a look at the tree could tell; for the reader that makes it."""
        self._info = replace(self._info, facts={**self._info.facts, **facts})

    @property
    def implied(self) -> AbstractSet[bytes]:
        """See :attr:`formats.core.stacked.ImplyingTree.implied`."""
        return frozenset(entry.path for entry in self._entries if entry.node == NOT_A_MEMBER)

    def entries(self) -> Iterator[Entry]:
        """See :meth:`formats.core.tree.Tree.entries`."""
        return iter(self._entries)

    def content(self, entry: Entry) -> Content:
        """Return the handle of the member that an entry is made of.

        :raises CorruptError: for a folder that no member describes.
        """
        if entry.node == NOT_A_MEMBER:
            raise CorruptError(f"{quoted(entry.path)} is no member", origin=self._origin)
        return self._handles[entry.node]

    def read(self, entry: Entry) -> Iterator[BytesLike]:
        """See :meth:`formats.core.tree.Tree.read`.

        :raises CorruptError: if the content cannot be read whole.
        :raises LimitError: if the file is larger than a file may be.
        """
        self._check_size(entry)
        if not entry.size:
            return
        given = 0
        try:
            for block in self._contents.read(self._handles[entry.node], entry):
                given += len(block)
                yield block
            if given != entry.size:
                raise CorruptError(
                    f"has {given:,} bytes and not {entry.size:,} as it says", origin=self._origin
                )
        except ConvertError as error:
            raise naming(entry.path, error) from error

    def open(self, entry: Entry) -> ByteSource:
        """See :meth:`formats.core.tree.OpenableTree.open`."""
        self._check_size(entry)
        return self._contents.open(self.content(entry), file_origin(self._origin, entry.path))

    def will_read(self, entries: Sequence[Entry]) -> None:
        """See :meth:`formats.core.tree.Tree.will_read`."""
        most = self._limits.file_bytes
        handles = [self._handles[entry.node] for entry in entries if 0 < entry.size <= most]
        self._contents.will_read(handles)

    def _check_size(self, entry: Entry) -> None:
        most = self._limits.file_bytes
        if entry.size > most:
            raise LimitError(
                f"{quoted(entry.path)} has {entry.size:,} bytes, holes included, more than the"
                f" {most:,} that a file may have",
                origin=self._origin,
            )
