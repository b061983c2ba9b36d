"""Ar archives that are no package: static libraries, mostly. Their members are files of one folder.

Specification: that of :mod:`formats.archives.ar_index`. Tables of symbols are the linker's, and
left out with a finding. Libraries may have several members of one name; the last one counts.
"""

from __future__ import annotations

from collections.abc import Iterator

from formats.archives.ar_index import MAGIC, THIN_MAGIC, ar_members
from formats.archives.member import Member
from formats.archives.member_tree import MemberTree
from formats.archives.stored import Place, StoredContents
from formats.core.entry import Kind
from formats.core.finding import Action, Finding
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature
from formats.core.source import ByteSource
from formats.core.tree import TreeInfo

_PERMISSIONS = 0o7777
_NS = 10**9


class ArReader:
    """See the module's text."""

    name = "ar"
    category = Category.ARCHIVE
    signatures = (Signature(0, MAGIC), Signature(0, THIN_MAGIC))
    supersedes: frozenset[str] = frozenset()
    doc = ReaderDoc(
        "ar archive",
        extensions=(".a", ".ar"),
        specification="ar(5)",
        reads="long names of BSD and of System V and GNU; symbol tables are left out",
        refuses="thin archives, which hold no files",
    )

    def probe(self, source: ByteSource) -> bool:
        """See :class:`~formats.core.reader.Reader`."""
        del source
        return True

    def open(self, source: ByteSource, context: OpenContext) -> MemberTree[Place]:
        """Read the headers.

        :raises UnsupportedError: for thin archives.
        :raises CorruptError: for headers that make no sense, and names that are paths.
        """
        return MemberTree(
            _files(source, context),
            StoredContents(source),
            TreeInfo("ar", size_bytes=source.size),
            source.origin,
            context.limits,
            context.note,
        )


def _files(source: ByteSource, context: OpenContext) -> Iterator[Member[Place]]:
    for member in ar_members(source, context.limits):
        if member.is_symbol_table:
            evidence = f"a table of symbols of {member.size:,} bytes, for linkers only"
            context.note(Finding("symbol-table", member.name, Action.DROPPED, evidence))
            continue
        yield Member(
            path=member.name,
            kind=Kind.FILE,
            mode=member.mode & _PERMISSIONS,
            content=(member.offset, member.size),
            uid=member.uid,
            gid=member.gid,
            mtime_ns=member.mtime * _NS,
            size=member.size,
        )


READER = ArReader()
