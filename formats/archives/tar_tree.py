"""Tar archives as trees, read in place.

Specification: that of :mod:`formats.archives.tar_index`. Of two members with one path the later
counts, as for programs that unpack; hard links are only taken to earlier members. Owners are the
numbers that the archive has: names are for the system that it is unpacked on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from formats.archives.acl_text import ACCESS, acl_mode
from formats.archives.member import Member
from formats.archives.stored import read_blocks
from formats.archives.tally import Tally
from formats.archives.tar_index import TarMember
from formats.archives.tar_sparse import Regions, sparse_source
from formats.archives.tar_xattrs import Xattrs, xattrs_of
from formats.core.entry import Entry
from formats.core.finding import Action, Finding
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource, slice_source

_NONE: Xattrs = ()


class TarContent(NamedTuple):
    """Where an archive holds what is in a file; fields as in ``TarMember``."""

    offset: int
    stored_bytes: int
    size: int
    regions: Regions | None


class TarContents:
    """See :class:`~formats.archives.member_tree.Contents`."""

    def __init__(self, archive: ByteSource) -> None:
        self._archive = archive

    def read(self, content: TarContent, entry: Entry) -> Iterator[BytesLike]:
        """Yield what is in a file; its holes as zeros."""
        del entry
        if content.regions is None:
            return read_blocks(self._archive, content.offset, content.stored_bytes)
        return read_blocks(self.open(content, self._archive.origin), 0, content.size)

    def open(self, content: TarContent, origin: Origin) -> ByteSource:
        """Return what is in a file, in place."""
        offset, stored, size, regions = content
        if regions is None:
            return slice_source(self._archive, offset, stored, origin)
        return sparse_source(self._archive, offset, stored, size, regions, origin)

    def will_read(self, contents: Sequence[TarContent]) -> None:
        """Pass the hint on to the archive."""
        self._archive.will_need([(content.offset, content.stored_bytes) for content in contents])


def tar_tree_members(
    members: Iterable[TarMember], note: Callable[[Finding], None]
) -> Iterator[Member[TarContent]]:
    """Yield members for a tree whose contents are :class:`TarContents`.

    :param members: from :func:`~formats.archives.tar_index.tar_members`, whose errors come through.
    """
    left_out = Tally("archive-attribute", Action.DROPPED, "has an ACL or xattr in a form not read")
    for member in members:
        mode, xattrs = member.mode, _NONE
        if member.records:
            xattrs, is_whole = xattrs_of(member.records)
            mode = _mode_with(xattrs, mode)
            if not is_whole:
                left_out.add(member.path)
        yield Member(
            path=member.path,
            kind=member.kind,
            mode=mode,
            content=TarContent(member.offset, member.stored_bytes, member.size, member.regions),
            uid=member.uid,
            gid=member.gid,
            mtime_ns=member.mtime_ns,
            size=member.size,
            target=member.target,
            device=member.device,
            xattrs=xattrs,
        )
    finding = left_out.finding()
    if finding is not None:
        note(finding)


def _mode_with(xattrs: Xattrs, mode: int) -> int:
    """Return the mode that a file has once its ACL is set: libarchive leaves the mask out of it."""
    for name, value in xattrs:
        if name == ACCESS and (bits := acl_mode(value)) is not None:
            return mode & 0o7000 | bits
    return mode
