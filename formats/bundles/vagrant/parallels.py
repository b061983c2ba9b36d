"""Disks of Parallels: a folder ``NAME.hdd`` with a description and the image files.

Specification: QEMU's ``docs/interop/parallels.txt``; ``prl_disk_tool(8)``. A disk of one image,
without snapshots, is what that file is; its own reader reads it.
"""

from __future__ import annotations

from formats.bundles.members import Members, MemberSiblings, folder_of
from formats.bundles.xml import child_text, children, parse_xml
from formats.core.errors import CorruptError, UnsupportedError, quoted
from formats.core.limits import Limits
from formats.core.source import ByteSource

_DESCRIPTION = b"/DiskDescriptor.xml"


def parallels_disks(members: Members) -> list[bytes]:
    """Return the paths of all disk descriptions, in order of name."""
    return sorted(path for path in members.paths() if path.endswith(_DESCRIPTION))


def image_of(members: Members, description: bytes, limits: Limits) -> ByteSource:
    """Return the one image of a disk.

    :raises UnsupportedError: if it has snapshots or is split.
    :raises CorruptError: if it names no file, or one that is missing.
    """
    source = members.source(description)
    if source is None:
        raise CorruptError("has no disk description", origin=members.archive.origin)
    root = parse_xml(source, limits)
    storages = [
        item for data in children(root, "StorageData") for item in children(data, "Storage")
    ]
    images = [image for storage in storages for image in children(storage, "Image")]
    if len(images) != 1:
        kind = "is split into several files" if len(storages) > 1 else "has snapshots"
        raise UnsupportedError(
            f"is a Parallels disk that {kind}" if images else "is a Parallels disk without images",
            origin=source.origin,
            hint="merge it with 'prl_disk_tool merge --hdd NAME.hdd', and pack the box again",
        )
    name = child_text(images[0], "File")
    if not name:
        raise CorruptError("names no file of its image", origin=source.origin)
    siblings = MemberSiblings(members, folder_of(description))
    if "/" in name or not siblings.exists(name):
        raise CorruptError(f"needs {quoted(name)}, which is missing", origin=source.origin)
    return siblings.open(name, source.origin)
