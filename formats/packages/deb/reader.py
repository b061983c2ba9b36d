"""Debian packages: ``.deb``, ``.udeb`` of the installer, ``.ddeb`` with debugging symbols.

Specification: deb(5) and the pages that it names.

A package is an ar archive of two tar archives, one with control data, one with files. Files are
held against the package's list of MD5 digests while they are read; a file without a digest there
(configuration files, often) is taken as it is. Signatures are named, not verified: they are made
by distributions for their archives, and few packages have one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from formats.archives.ar_index import MAGIC, ArMember
from formats.archives.member_tree import MemberTree
from formats.archives.tally import Tally
from formats.archives.tar_index import TarMember, inner_path, tar_members
from formats.archives.tar_tree import TarContents, tar_tree_members
from formats.core.entry import Kind
from formats.core.errors import quoted
from formats.core.finding import Action, Finding
from formats.core.origin import Origin
from formats.core.package import Package
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature
from formats.core.source import ByteSource, slice_source
from formats.core.tree import TreeInfo
from formats.packages.deb.container import OLD_MAGIC, Container, is_package, read_container
from formats.packages.deb.control_archive import ControlData, read_control
from formats.packages.payload import decompressed
from formats.packages.tree import Owner, PackageTree

_WITH_CONTENT = frozenset({Kind.FILE, Kind.HARDLINK})


class DebReader:
    """Packages, each as a tree of its files."""

    name = "deb"
    category = Category.PACKAGE
    signatures = (Signature(0, MAGIC), Signature(0, OLD_MAGIC))
    supersedes = frozenset({"ar"})
    doc = ReaderDoc(
        "Debian package",
        extensions=(".deb", ".udeb", ".ddeb"),
        specification="deb(5), deb-control(5), deb-md5sums(5), deb-conffiles(5), deb-triggers(5)",
        reads="not compressed, gzip, xz, zstd, bzip2 and lzma; content is verified against md5sums;"
        " scripts are shown and never run; signatures are named, not verified",
        refuses="the format of before 1995 (0.939), parts of split packages",
    )

    def probe(self, source: ByteSource) -> bool:
        """See :class:`~formats.core.reader.Reader`."""
        return is_package(source)

    def open(self, source: ByteSource, context: OpenContext) -> PackageTree:
        """Read the control data and the headers of the files.

        :raises UnsupportedError: for other formats of packages.
        :raises CorruptError: if a part is damaged, or something in it makes no sense.
        :raises LimitError: if it asks for more than the limits allow.
        """
        container = read_container(source, context.limits)
        control_origin = _origin_of(container.control.member, source)
        control = read_control(source, container.control, control_origin, context.limits)
        archive = _payload(source, container, context)
        owners: dict[bytes, Owner] = {}
        members = _noting_owners(tar_members(archive, context.limits), owners)
        facts = {
            "format-version": container.version,
            "compression": container.data.compression,
        }
        files = MemberTree(
            tar_tree_members(members, context.note),
            TarContents(archive),
            TreeInfo("deb", size_bytes=source.size, facts=facts),
            source.origin,
            context.limits,
            context.note,
        )
        tree = PackageTree(files, _with_signatures(control.package, container), owners)
        for finding in (*_odd_members(container, source), *_odd_digests(control, tree)):
            context.note(finding)
        return tree


def _origin_of(member: ArMember, source: ByteSource) -> Origin:
    return source.origin.child(member.name.decode("utf-8", "surrogateescape"))


def _payload(source: ByteSource, container: Container, context: OpenContext) -> ByteSource:
    """Return the archive of files, not compressed."""
    member, decode = container.data.member, container.data.decode
    origin = _origin_of(member, source)
    packed = slice_source(source, member.offset, member.size, origin)
    return packed if decode is None else decompressed(packed, decode, origin, context)


def _noting_owners(members: Iterable[TarMember], owners: dict[bytes, Owner]) -> Iterator[TarMember]:
    """Pass members on, and keep whose owner is not said by its number.

    Numbers are those of the machine that the package was built on. dpkg looks at the name first.
    """
    for member in members:
        user = _name_beside(member.user, member.uid)
        group = _name_beside(member.group, member.gid)
        if user or group:
            path = inner_path(member.path.lstrip(b"/"))
            if path is not None:
                owners[path] = user, group
        yield member


def _name_beside(name: bytes, number: int) -> str:
    """Return a name if it says more than the number."""
    is_root = name == b"root" and number == 0
    return "" if is_root else name.decode("utf-8", "surrogateescape")


def _with_signatures(package: Package, container: Container) -> Package:
    found = [name.decode("ascii", "replace") for name in container.signatures]
    facts = {**package.facts, "signatures": f"{' '.join(found)} (not verified)"}
    return replace(package, facts=facts) if found else package


def _odd_members(container: Container, source: ByteSource) -> Iterator[Finding]:
    where = str(source.origin).encode("utf-8", "surrogateescape")
    for name in container.extras:
        if name in container.signatures:
            evidence = f"is signed ({quoted(name)}); signatures are not verified"
            yield Finding("package-signature", where, Action.REPORTED, evidence)
        else:
            evidence = f"the member {quoted(name)} is not looked at"
            yield Finding("extra-member", where, Action.REPORTED, evidence)
    if container.problem is not None:
        evidence = f"what follows the last member is not looked at: {container.problem.message}"
        yield Finding("trailing-data", where, Action.REPORTED, evidence)


def _odd_digests(control: ControlData, tree: PackageTree) -> Iterator[Finding]:
    """Tell of digests that cannot be held against a file."""
    where = str(tree.origin).encode("utf-8", "surrogateescape")
    if control.unread_digests:
        evidence = f"md5sums has {control.unread_digests:,} lines that make no sense"
        yield Finding("digest-not-read", where, Action.REPORTED, evidence)
    digests = control.package.digests
    if not digests:
        return
    files = {entry.path for entry in tree.entries() if entry.kind in _WITH_CONTENT}
    tally = Tally(
        "digest-without-file", Action.REPORTED, "md5sums has its digest, and no such file is there"
    )
    for path in digests:
        if path not in files:
            tally.add(path)
    finding = tally.finding()
    if finding is not None:
        yield finding


READER = DebReader()
