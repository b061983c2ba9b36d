"""Cpio archives as trees.

Of several links of one file, archives in the new form hold the content with the last, and those in
the older forms with each. Devices and inode numbers tell them, inside of one archive.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

from formats.archives.cpio.headers import MAGICS, is_header
from formats.archives.cpio.segments import Found, Segments
from formats.archives.layouts import archive_tree
from formats.archives.member import Member
from formats.archives.stored import read_blocks
from formats.core.entry import Entry, Kind
from formats.core.errors import CorruptError, LimitError, quoted
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature
from formats.core.source import BytesLike, ByteSource, read_exact, slice_source
from formats.core.tree import Tree, TreeInfo

_DEVICES = frozenset({Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE})
_FileKey: TypeAlias = tuple[int, tuple[int, ...]]
_MICROCODE = b"kernel/x86/microcode/"


class CpioContent(NamedTuple):
    """Where the content of a file is; ``checksum`` as in the header."""

    source: ByteSource
    offset: int
    size: int
    checksum: int | None


class CpioContents:
    """See :class:`~formats.archives.member_tree.Contents`.

    Checksums are verified of what is read from its start to its end.
    """

    def read(self, content: CpioContent, entry: Entry) -> Iterator[BytesLike]:
        """Yield what is in a file."""
        del entry
        source, offset, size, checksum = content
        if checksum is None:
            return read_blocks(source, offset, size)
        return _summed(content)

    def open(self, content: CpioContent, origin: Origin) -> ByteSource:
        """Return what is in a file, in place."""
        return slice_source(content.source, content.offset, content.size, origin)

    def will_read(self, contents: Sequence[CpioContent]) -> None:
        """Pass the hint on."""
        for source in dict.fromkeys(content.source for content in contents):
            source.will_need(
                [(item.offset, item.size) for item in contents if item.source is source]
            )


def _summed(content: CpioContent) -> Iterator[BytesLike]:
    """Yield the content; its bytes, added up, must give the checksum."""
    total = 0
    for block in read_blocks(content.source, content.offset, content.size):
        total += sum(block)
        yield block
    if total & 0xFFFFFFFF != content.checksum:
        raise CorruptError(
            "has a wrong checksum", origin=content.source.origin, offset=content.offset
        )


class CpioReader:
    """Cpio archives of every form, and several in a row."""

    name = "cpio"
    category = Category.ARCHIVE
    signatures = tuple(Signature(0, magic) for magic in MAGICS)
    supersedes: frozenset[str] = frozenset()
    doc = ReaderDoc(
        "cpio archive, initramfs",
        extensions=(".cpio", ".img"),
        specification="cpio(5); Linux initramfs buffer format",
        reads="newc, newc with checksums, odc and binary archives; several in a row, each"
        " compressed or not, as in an initramfs",
        refuses="archives in lzop or the old frames of lz4 behind others",
    )

    def probe(self, source: ByteSource) -> bool:
        """See :class:`~formats.core.reader.Reader`."""
        return is_header(source)

    def open(self, source: ByteSource, context: OpenContext) -> Tree:
        """Return the tree of all archives in the file.

        :raises CorruptError: for damaged archives.
        """
        segments = Segments(source, context)
        members = list(_members(segments.members(), context.limits))
        facts = {"archives": f"{segments.count}"} if segments.count > 1 else {}
        if any(member.path.startswith(_MICROCODE) for member in members):
            facts["microcode"] = "for early loading"
        return archive_tree(
            members,
            CpioContents(),
            TreeInfo("cpio", size_bytes=source.size, facts=facts),
            source.origin,
            context.limits,
            context.note,
        )


def _members(found: Iterator[Found], limits: Limits) -> Iterator[Member[CpioContent]]:
    """Yield the members; of those that are one file, first the one that has the content."""
    everything = list(found)
    holders = _holders(everything)
    placed: set[_FileKey] = set()
    for item in everything:
        if not _is_linked(item):
            yield _member(item, limits)
            continue
        key = _file_key(item)
        holder = holders[key]
        if key not in placed:
            placed.add(key)
            yield _member(holder, limits)
        if item is not holder and item.header.path != holder.header.path:
            yield _member(item, limits)._replace(kind=Kind.HARDLINK, target=holder.header.path)


def _member(item: Found, limits: Limits) -> Member[CpioContent]:
    header = item.header
    kind = header.kind or Kind.FILE  # only the trailer has none, and is no member
    return Member(
        path=header.path,
        kind=kind,
        mode=header.mode,
        content=CpioContent(item.source, header.start, header.size, header.checksum),
        uid=header.uid,
        gid=header.gid,
        mtime_ns=header.mtime * 10**9,
        size=header.size,
        target=_target(item, limits) if kind is Kind.SYMLINK else None,
        device=header.device if kind in _DEVICES else None,
    )


def _is_linked(item: Found) -> bool:
    return item.header.links > 1 and item.header.kind is Kind.FILE


def _file_key(item: Found) -> _FileKey:
    return item.segment, item.header.inode


def _holders(found: Sequence[Found]) -> dict[_FileKey, Found]:
    """Return, of each file with several links, the member that has the content."""
    holders: dict[_FileKey, Found] = {}
    for item in filter(_is_linked, found):
        key = _file_key(item)
        known = holders.get(key)
        if known is None or (item.header.size and not known.header.size):
            holders[key] = item
    return holders


def _target(item: Found, limits: Limits) -> bytes:
    header, most = item.header, limits.symlink_target_bytes
    if header.size > most:
        raise LimitError(
            f"{quoted(header.path)} is a symlink with a target of more than {most:,} bytes",
            origin=item.source.origin,
            offset=header.offset,
        )
    return bytes(read_exact(item.source, header.start, header.size, "a symlink's target"))


READER = CpioReader()
