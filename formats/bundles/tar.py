"""Tar archives as containers: which of them are appliances, boxes, or simply hold disks.

Three readers share the format, and what is in an archive decides which one it belongs to: see
:func:`classify`. What every one of them reads is read in place; nothing is unpacked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from itertools import islice

from formats.bundles.members import Members, MemberSiblings, is_junk, text_of
from formats.bundles.tar_index import TarMember, inner_path, is_tar, tar_members
from formats.core.entry import Kind
from formats.core.errors import AmbiguousError, ConvertError, UnsupportedError, quoted
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature, Volume, Volumes
from formats.core.source import ByteSource

_PEEKED_MEMBERS = 4096
"""Bundles have few members; a root tree may have a million."""
_METADATA_BYTES = 1 << 16
_DEEPEST = 1
"""Folders that a bundle's files may be packed in together."""

DISK_ENDINGS = (
    ".img",
    ".qcow",
    ".qcow2",
    ".qed",
    ".raw",
    ".vdi",
    ".vhd",
    ".vhdx",
    ".vmdk",
)
_PART = re.compile(
    rb"(?P<disk>.+)-(?:flat|delta|sesparse|rdmp?|s\d{3}|f\d{3})\.vmdk", re.IGNORECASE
)


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
    try:
        for member in islice(tar_members(source), _PEEKED_MEMBERS):
            path = inner_path(member.path)
            if not path or member.kind is not Kind.FILE:
                continue
            if path == b"box.ovf" or (path == b"metadata.json" and _names_provider(source, member)):
                return Content.BOX
            is_appliance = is_appliance or _is_descriptor(path)
    except ConvertError:
        pass
    return Content.APPLIANCE if is_appliance else Content.OTHER


def _names_provider(source: ByteSource, member: TarMember) -> bool:
    length = min(member.stored_bytes, _METADATA_BYTES)
    return b'"provider"' in bytes(source.read_at(member.offset, length))


def _is_descriptor(path: bytes) -> bool:
    is_near = path.count(b"/") <= _DEEPEST and not is_junk(path)
    return is_near and path.lower().endswith(b".ovf")


def descriptor_path(members: Members) -> bytes:
    """Return the path of an archive's OVF descriptor.

    :raises AmbiguousError: if there are several.
    """
    found = [path for path in members.paths() if _is_descriptor(path)]
    return only(found, "OVF descriptors", members.archive)


def only(paths: Sequence[bytes], what: str, source: ByteSource) -> bytes:
    """Return the one path of its kind.

    :raises AmbiguousError: if there are several.
    """
    if len(paths) > 1:
        raise AmbiguousError(
            f"has several {what}: {', '.join(quoted(path) for path in paths[:8])}",
            origin=source.origin,
            hint="unpack it with 'tar xf' and give the one that is meant",
        )
    return paths[0]


def folder_of(path: bytes) -> bytes:
    """Return the folder that a path is in; ``b""`` is the archive's top."""
    return path.rpartition(b"/")[0]


def disk_paths(members: Members) -> list[bytes]:
    """Return the disk images among the members, by their names, in the order of the archive.

    Parts of split disks are left out where the disk that they belong to is there.
    """
    endings = tuple(ending.encode() for ending in DISK_ENDINGS)
    found = [path for path in members.paths() if path.lower().endswith(endings)]
    names = {path.lower() for path in found}
    return [path for path in found if not _is_part(path, names)]


def _is_part(path: bytes, names: set[bytes]) -> bool:
    match = _PART.fullmatch(path)
    return match is not None and match["disk"].lower() + b".vmdk" in names


def disk_volumes(
    members: Members, paths: Sequence[bytes], source: ByteSource
) -> tuple[Volume, ...]:
    """Return disk images as volumes; each sees the files in its own folder."""
    return tuple(_disk_volume(members, path, source) for path in paths)


def _disk_volume(members: Members, path: bytes, source: ByteSource) -> Volume:
    siblings = MemberSiblings(members, folder_of(path))
    name = text_of(path)
    disk = siblings.open(name.rpartition("/")[2], source.origin)
    return Volume(disk, name, siblings=siblings)


class TarReader:
    """Archives that are no appliance and no box: the disk images in them are read in place."""

    name = "tar"
    category = Category.BUNDLE
    signatures: tuple[Signature, ...] = ()  # v7 archives have none
    supersedes: frozenset[str] = frozenset()
    doc = ReaderDoc(
        "tar archive with disk images",
        extensions=(".tar",),
        specification="POSIX.1-2017 pax; GNU tar manual; tar(5)",
        reads="disk images at the top or in folders, sparse members too, in place; v7, ustar, pax"
        " and GNU archives",
        refuses="archives without disk images: a root tree",
    )

    def probe(self, source: ByteSource) -> bool:
        """See :class:`~formats.core.reader.Reader`."""
        return classify(source) is Content.OTHER

    def open(self, source: ByteSource, context: OpenContext) -> Volumes:
        """Open the disk images in the archive.

        :raises UnsupportedError: if there are none.
        :raises CorruptError: for damaged archives.
        """
        members = Members(source, context.limits)
        paths = disk_paths(members)
        if not paths:
            raise UnsupportedError(
                "is a tar archive without a disk image in it, which is not read",
                origin=source.origin,
                hint="unpack it with 'tar xf' and give the disk image that is in it",
            )
        return Volumes(disk_volumes(members, paths, source))


READER = TarReader()
