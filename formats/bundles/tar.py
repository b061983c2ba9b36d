"""Tar archives: which of them are appliances or boxes, which hold disks, and which are a tree.

Three readers share the format, and what is in an archive decides which one it belongs to: see
:func:`classify`. What every one of them reads is read in place; nothing is unpacked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import islice

from formats.archives.layouts import archive_tree
from formats.archives.tar_index import BLOCK_BYTES, TarMember, inner_path, is_tar, tar_members
from formats.archives.tar_tree import TarContents, tar_tree_members
from formats.bundles.disk_names import disks, holds_disks, is_descriptor, is_machine
from formats.bundles.members import Members, MemberSiblings, folder_of, is_junk, text_of
from formats.bundles.parts import machine_label, machine_volume, unreadable
from formats.bundles.vmx.machine import open_machine
from formats.core.entry import Kind
from formats.core.errors import AmbiguousError, ConvertError, UnsupportedError, quoted
from formats.core.finding import Action, Finding
from formats.core.origin import printable
from formats.core.reader import (
    Category,
    OpenContext,
    Opened,
    ReaderDoc,
    Signature,
    Volume,
    Volumes,
)
from formats.core.source import ByteSource
from formats.core.tree import Tree, TreeInfo

_PEEKED_MEMBERS = 512
"""Bundles have few members; a root tree may have a million."""
_METADATA_BYTES = 1 << 16
_SEARCHED_BYTES = 1 << 20
"""Behind the end of an archive, for more than zeros."""


class Content(Enum):
    """What an archive is."""

    BOX = "box"
    APPLIANCE = "appliance"
    OTHER = "other"


def classify(source: ByteSource) -> Content | None:
    """Tell what an archive is by its first members; None if it is no archive.

    A box has ``metadata.json`` with a provider at its top, or is one of the oldest, with
    ``box.ovf``; an appliance has an ``.ovf``, anywhere among its members. Damage behind what is
    looked at is no matter here.
    """
    if not is_tar(source):
        return None
    is_appliance = False
    for path, member in _peek(source).files.items():
        if path == b"box.ovf" or (path == b"metadata.json" and _names_provider(source, member)):
            return Content.BOX
        is_appliance = is_appliance or is_descriptor(path)
    return Content.APPLIANCE if is_appliance else Content.OTHER


@dataclass(slots=True)
class _Head:
    """The first members of an archive.

    :ivar files: by their path.
    :ivar tops: names at the archive's top, of whatever kind.
    """

    files: dict[bytes, TarMember] = field(default_factory=dict)
    tops: set[bytes] = field(default_factory=set)


def _peek(source: ByteSource) -> _Head:
    """Return the first members; damage ends them."""
    head = _Head()
    with suppress(ConvertError):  # it is met again, and told, when all is read
        for member in islice(tar_members(source), _PEEKED_MEMBERS):
            path = inner_path(member.path)
            if not path or is_junk(path):
                continue
            head.tops.add(path.partition(b"/")[0])
            if member.kind is Kind.FILE:
                head.files[path] = member.without_records()
    return head


def _names_provider(source: ByteSource, member: TarMember) -> bool:
    return b'"provider"' in _start(source, member)


def _start(source: ByteSource, member: TarMember) -> bytes:
    length = min(member.stored_bytes, _METADATA_BYTES)
    return bytes(source.read_at(member.offset, length))


def descriptor_path(members: Members) -> bytes | None:
    """Return the path of an archive's OVF descriptor; None if there is none.

    :raises AmbiguousError: if there are several.
    """
    found = [path for path in members.paths() if is_descriptor(path)]
    return only(found, "OVF descriptors", members.archive)


def only(paths: Sequence[bytes], what: str, source: ByteSource) -> bytes | None:
    """Return the one path of its kind; None if there is none.

    :raises AmbiguousError: if there are several.
    """
    if len(paths) > 1:
        raise AmbiguousError(
            f"has several {what}: {', '.join(quoted(path) for path in paths[:8])}",
            origin=source.origin,
            hint="unpack it with 'tar xf' and give the one that is meant",
        )
    return paths[0] if paths else None


def disk_paths(members: Members) -> list[bytes]:
    """Return the disk images among the members; see :func:`~formats.bundles.disk_names.disks`."""
    return disks(members.paths())


def disk_volumes(members: Members, paths: Sequence[bytes]) -> tuple[Volume, ...]:
    """Return disk images as volumes; each sees the files in its own folder."""
    return tuple(_disk_volume(members, path) for path in paths)


def _disk_volume(members: Members, path: bytes) -> Volume:
    siblings = MemberSiblings(members, folder_of(path))
    label = text_of(path)
    try:
        source = siblings.open(label.rpartition("/")[2], members.archive.origin)
    except ConvertError as error:
        return unreadable(label, error, members.archive.origin)
    return Volume(source, printable(label), siblings=siblings)


def vmware_machines(members: Members, paths: Sequence[bytes], context: OpenContext) -> Volumes:
    """Open the machines of an archive: the one, or each as a volume of its own."""
    if len(paths) == 1:
        return _vmware_machine(members, paths[0], context)
    return Volumes(tuple(_machine_volume(members, path, context) for path in paths))


def _vmware_machine(members: Members, path: bytes, context: OpenContext) -> Volumes:
    siblings = MemberSiblings(members, folder_of(path))
    source = siblings.open(text_of(path).rpartition("/")[2], members.archive.origin)
    return open_machine(source, siblings, context, members.archive.origin)


def _machine_volume(members: Members, path: bytes, context: OpenContext) -> Volume:
    """Return one of several machines; its name is its path, as their titles may be the same."""
    name = text_of(path)[: -len(".vmx")]
    try:
        opened = _vmware_machine(members, path, context)
    except ConvertError as error:
        return unreadable(machine_label(name), error, members.archive.origin)
    machine = replace(opened.machine, name=name) if opened.machine else None
    return machine_volume(name, replace(opened, machine=machine), members.archive.origin)


class TarReader:
    """Archives that are no appliance and no box: their disks and VMware machines, or their tree."""

    name = "tar"
    category = Category.ARCHIVE
    signatures: tuple[Signature, ...] = ()  # v7 archives have none
    supersedes: frozenset[str] = frozenset()
    doc = ReaderDoc(
        "tar archive: a tree, disk images, or VMware machines (.vmx)",
        extensions=(".tar",),
        specification="POSIX.1-2017 pax; GNU tar manual; tar(5); star(5)",
        reads="v7, ustar, pax and GNU archives, in place; as a tree with xattrs, ACLs, devices and"
        " sparse files; root trees, images of LXD, bottles of Homebrew; disk images where they"
        " are most of what is in it, and machines",
        refuses="container images (name them with docker-archive: or oci-archive:), archives in"
        " several volumes",
    )

    def probe(self, source: ByteSource) -> bool:
        """See :class:`~formats.core.reader.Reader`."""
        return classify(source) is Content.OTHER

    def open(self, source: ByteSource, context: OpenContext) -> Opened:
        """Open the disk images in the archive, or the VMware machines; else its tree.

        :raises UnsupportedError: for container images.
        :raises CorruptError: for damaged archives.
        """
        head = _peek(source)
        if _holds_container_images(source, head):
            raise UnsupportedError(
                "is an archive of container images",
                origin=source.origin,
                hint="name it as what it is: docker-archive:FILE or oci-archive:FILE",
            )
        if not holds_disks({path: member.size for path, member in head.files.items()}, head.tops):
            return _tree(source, context)
        members = Members(source, context.limits)
        machines = [path for path in members.paths() if is_machine(path)]
        if machines:
            return vmware_machines(members, machines, context)
        return Volumes(disk_volumes(members, disk_paths(members)))


def _tree(source: ByteSource, context: OpenContext) -> Tree:
    members = _noting_the_end(source, tar_members(source, context.limits), context)
    return archive_tree(
        tar_tree_members(members, context.note),
        TarContents(source),
        TreeInfo("tar", size_bytes=source.size),
        source.origin,
        context.limits,
        context.note,
    )


def _noting_the_end(
    source: ByteSource, members: Iterable[TarMember], context: OpenContext
) -> Iterator[TarMember]:
    """Yield the members; tell of an archive without an end mark, or with more behind it.

    Programs take the end of the file as that of the archive, and so would a file be that is cut
    there. Behind the mark they read nothing: of archives that were put together with cat(1), they
    have the first.
    """
    end = 0
    where = str(source.origin).encode()
    for member in members:
        end = member.offset + member.stored_bytes
        yield member
    if end + BLOCK_BYTES > source.size:
        evidence = "ends without the blocks of zeros that end an archive: it may be cut short"
        context.note(Finding("archive-without-end", where, Action.REPORTED, evidence))
    end = -(-end // BLOCK_BYTES) * BLOCK_BYTES
    if bytes(source.read_at(end, _SEARCHED_BYTES)).strip(b"\0"):
        evidence = f"more follows the archive, which ends at byte {end:,}; not read"
        context.note(Finding("trailing-data", where, Action.REPORTED, evidence))


def _holds_container_images(source: ByteSource, head: _Head) -> bool:
    """Tell by ``oci-layout`` (OCI), or the ``manifest.json`` of ``docker save``."""
    if b"oci-layout" in head.files:
        return True
    manifest = head.files.get(b"manifest.json")
    return manifest is not None and b'"Layers"' in _start(source, manifest)


READER = TarReader()
