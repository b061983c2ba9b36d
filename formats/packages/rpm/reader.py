"""The reader of rpm packages.

Files are as the header lists them; the payload only has their content. What the header lists and
the payload does not have by intent (``%ghost``) is no part of the tree.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence

from formats.archives.member import Member
from formats.archives.member_tree import MemberTree
from formats.bundles.streams import Decoder, bunzip2, gunzip, unlzma, unxz, unzstd
from formats.core.entry import MODE_KINDS, Kind
from formats.core.errors import CorruptError, UnsupportedError, quoted
from formats.core.finding import Action, Finding
from formats.core.origin import printable
from formats.core.package import Package
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature
from formats.core.source import ByteSource, slice_source
from formats.core.tree import TreeInfo
from formats.packages import capabilities
from formats.packages.rpm import lead, tags
from formats.packages.rpm.files import PackagedFile, files_of
from formats.packages.rpm.header import Header
from formats.packages.rpm.package import (
    UNREAD_RELATIONS,
    PackageHeaders,
    describe,
    read_headers,
)
from formats.packages.rpm.payload import RpmContents
from formats.packages.rpm.stream import CompressedPayload, Decoded, StoredPayload
from formats.packages.rpm.verify import verify_payload
from formats.packages.tree import Owner, PackageTree

_DELTA_MAGIC = b"drpm"
_NANOSECONDS = 10**9
_ROOT = ("root", "root")
_ARCHIVE_MAGIC = b"0707"
_COMPRESSIONS: tuple[tuple[bytes, str, Decoder], ...] = (
    (b"\x1f\x8b", "gzip", gunzip),
    (b"BZh", "bzip2", bunzip2),
    (b"\xfd7zXZ\0", "xz", unxz),
    (b"\x28\xb5\x2f\xfd", "zstd", unzstd),
)
_LZMA = "lzma"
"""Has no magic: it is what the header says of what is none of the others."""


class RpmReader:
    """Binary and source packages as trees."""

    name = "rpm"
    category = Category.PACKAGE
    signatures = (Signature(0, lead.MAGIC), Signature(0, _DELTA_MAGIC))
    supersedes: frozenset[str] = frozenset()
    doc = ReaderDoc(
        title="RPM packages (v3, v4, v6)",
        extensions=(".rpm",),
        specification="rpm.org: V3, V4 and V6 Package format, Header format, Tag listing",
        reads="binary and source packages; payloads that are stored, gzip, bzip2, lzma, xz or zstd;"
        " hard links, file capabilities, files of 4 GiB and more; digests of header, payload and"
        " files are verified, signatures are shown",
        refuses="delta packages, packages of rpm 2, payloads that are no cpio",
    )

    def probe(self, source: ByteSource) -> bool:
        """See :class:`~formats.core.reader.Reader`."""
        del source
        return True

    def open(self, source: ByteSource, context: OpenContext) -> PackageTree:
        """Read the headers; the payload waits until a file is read.

        :raises CorruptError: if they are damaged, or not what their digests say.
        :raises UnsupportedError: for delta packages and formats that are not read.
        """
        if bytes(source.read_at(0, len(_DELTA_MAGIC))) == _DELTA_MAGIC:
            raise _delta(source)
        headers = read_headers(source)
        files = files_of(headers.header, context.limits)
        package = describe(headers.header, files, headers.signature, is_source=headers.is_source)
        compression, payload = _payload(headers, source, context)
        if len({file.path for file in files}) != len(files):
            raise CorruptError("lists a file twice", origin=source.origin)
        links = _links(files)

        def verify() -> None:
            verify_payload(source, headers.signature, headers.header, headers.payload_start)

        contents = RpmContents(files, links, payload, source.origin, verify)
        _note(package, files, headers.header, context)
        tree = MemberTree(
            _members(files, links, source, context),
            contents,
            _info(headers, files, compression, source),
            source.origin,
            context.limits,
            context.note,
        )
        return PackageTree(tree, package, _owners(files))


def _payload(
    headers: PackageHeaders, source: ByteSource, context: OpenContext
) -> tuple[str, Decoded]:
    """Return the name of the payload's compression, and what gives it without."""
    archive = headers.header.text(tags.PAYLOADFORMAT) or "cpio"
    if archive == "drpm":
        raise _delta(source)
    if archive != "cpio":
        raise UnsupportedError(
            f"has a payload of format {quoted(archive)}; cpio is read",
            origin=source.origin,
            hint="take it apart with 'rpm2archive' and convert the tar file",
        )
    start = headers.payload_start
    packed = slice_source(source, start, source.size - start, source.origin.child("payload"))
    origin = source.origin.child("payload").child("cpio")
    head = bytes(packed.read_at(0, 8))
    said = headers.header.text(tags.PAYLOADCOMPRESSOR)
    if head.startswith(_ARCHIVE_MAGIC):
        return "none", StoredPayload(packed)
    for magic, name, decode in _COMPRESSIONS:
        if head.startswith(magic):
            return name, CompressedPayload(packed, decode, origin, context)
    if said == _LZMA:
        return said, CompressedPayload(packed, unlzma, origin, context)
    if not head:
        raise CorruptError(
            "is cut short: it has no payload",
            origin=source.origin,
            offset=start,
            hint="fetch it again",
        )
    raise UnsupportedError(
        f"has a payload compressed with {quoted(said or 'something unknown')}",
        origin=source.origin,
        offset=start,
        hint="take it apart with 'rpm2archive' and convert the tar file",
    )


def _delta(source: ByteSource) -> UnsupportedError:
    return UnsupportedError(
        "is a delta package: what changes between two versions of a package",
        origin=source.origin,
        hint="make the whole package of it with 'applydeltarpm'",
    )


def _links(files: Sequence[PackagedFile]) -> dict[int, int]:
    """Return the first of its links for each file that has several.

    Some programs that make packages give one inode to all files: links have equal content.
    """
    groups: dict[tuple[tuple[int, int], int, str], list[int]] = {}
    for number, file in enumerate(files):
        if file.is_regular and not file.is_ghost:
            groups.setdefault((file.inode, file.size, file.digest), []).append(number)
    return {number: group[0] for group in groups.values() if len(group) > 1 for number in group}


def _members(
    files: Sequence[PackagedFile],
    links: dict[int, int],
    source: ByteSource,
    context: OpenContext,
) -> Iterator[Member[int]]:
    for number, file in enumerate(files):
        if file.is_ghost:
            continue
        kind = MODE_KINDS.get(stat.S_IFMT(file.mode))
        if kind is None:
            raise CorruptError(
                f"lists {quoted(file.path)} with mode {file.mode:o}, which no file has",
                origin=source.origin,
            )
        first = links.get(number, number)
        is_device = kind in {Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE}
        target = file.target if kind is Kind.SYMLINK else None
        if first != number:
            kind, target = Kind.HARDLINK, files[first].path
        yield Member(
            file.path,
            kind,
            stat.S_IMODE(file.mode),
            number,
            mtime_ns=file.mtime * _NANOSECONDS,
            size=file.size if kind is Kind.FILE else 0,
            target=target,
            device=file.device if is_device else None,
            xattrs=_xattrs(file, context) if file.capabilities else (),
        )


def _xattrs(file: PackagedFile, context: OpenContext) -> tuple[tuple[bytes, bytes], ...]:
    try:
        value = capabilities.capability_xattr(file.capabilities)
    except CorruptError as error:
        context.note(Finding("file-capabilities", file.path, Action.DROPPED, error.message))
        return ()
    return () if value is None else ((capabilities.XATTR, value),)


def _owners(files: Sequence[PackagedFile]) -> dict[bytes, Owner]:
    return {
        file.path: (file.user, file.group)
        for file in files
        if not file.is_ghost and (file.user, file.group) != _ROOT
    }


def _note(
    package: Package, files: Sequence[PackagedFile], header: Header, context: OpenContext
) -> None:
    """Say what is not in the tree, and what was not looked at."""
    where = str(header.origin).encode("utf-8", "surrogateescape")
    for file in files:
        if file.is_ghost:
            evidence = "the package owns it and does not bring it (%ghost)"
            context.note(Finding("ghost-file", file.path, Action.REPORTED, evidence))
    algorithm = header.number(tags.FILEDIGESTALGO)
    if algorithm and algorithm not in tags.DIGESTS:
        evidence = f"its files have digests of the unknown kind {algorithm}; not verified"
        context.note(Finding("digest-not-read", where, Action.REPORTED, evidence))
    for rule, fact in (
        ("package-signature", "signatures"),
        ("boolean-dependency", UNREAD_RELATIONS),
        ("file-signatures", "file signatures"),
    ):
        text = package.facts.get(fact, "none")
        if text != "none":
            context.note(Finding(rule, where, Action.REPORTED, printable(text)))


def _info(
    headers: PackageHeaders, files: Sequence[PackagedFile], compression: str, source: ByteSource
) -> TreeInfo:
    header = headers.header
    facts = {"package format": _version(header), "payload": f"cpio, compression: {compression}"}
    for what, flag in (
        ("configuration files", tags.FILE_CONFIG),
        ("documentation files", tags.FILE_DOC),
        ("licence files", tags.FILE_LICENSE),
        ("ghost files", tags.FILE_GHOST),
    ):
        count = sum(1 for file in files if file.flags & flag)
        if count:
            facts[what] = f"{count:,}"
    if headers.is_source:
        facts["source-tree"] = "a source package: what its spec file builds is not in it"
    kind = "source rpm" if headers.is_source else "rpm"
    used = header.number(tags.LONGSIZE, tags.SIZE)
    return TreeInfo(kind, size_bytes=source.size, used_bytes=used, facts=facts)


def _version(header: Header) -> str:
    number = header.number(tags.RPMFORMAT)
    if number is not None:
        return f"v{number}"
    return "v4" if tags.HEADERIMMUTABLE in header else "v3"


READER = RpmReader()
