"""Which files of an archive are disks or machines, by their names, and when it is for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

_DEEPEST = 1
"""Folders that a bundle's files may be packed in together."""
DISK_ENDINGS = tuple(
    b"." + ending
    for ending in (b"img", b"qcow", b"qcow2", b"qed", b"raw", b"vdi", b"vhd", b"vhdx", b"vmdk")
)
_ROOT_FOLDERS = frozenset(
    {b"bin", b"boot", b"dev", b"etc", b"home", b"lib", b"opt", b"root", b"sbin", b"usr", b"var"}
)
"""An archive with two of them at its top is a root tree; images in it are not to be opened."""
_PART = re.compile(
    rb"(?P<disk>.+)-(?:flat|delta|sesparse|rdmp?|s\d{3}|f\d{3})\.vmdk", re.IGNORECASE
)


def is_descriptor(path: bytes) -> bool:
    """Tell whether a file is the descriptor of an appliance."""
    return path.count(b"/") <= _DEEPEST and path.lower().endswith(b".ovf")


def is_machine(path: bytes) -> bool:
    """Tell whether a file is the description of a VMware machine."""
    return path.count(b"/") <= _DEEPEST and path.lower().endswith(b".vmx")


def disks(paths: Iterable[bytes]) -> list[bytes]:
    """Return the disk images among files, in their order.

    Parts of split disks are left out where the disk that they belong to is there.
    """
    found = [path for path in paths if _is_disk(path)]
    names = {path.lower() for path in found}
    return [path for path in found if not _is_part(path, names)]


def _is_disk(path: bytes) -> bool:
    return path.lower().endswith(DISK_ENDINGS)


def _is_part(path: bytes, names: set[bytes]) -> bool:
    match = _PART.fullmatch(path)
    return match is not None and match["disk"].lower() + b".vmdk" in names


def holds_disks(files: Mapping[bytes, int], tops: AbstractSet[bytes]) -> bool:
    """Tell whether an archive is for its machines or disks: half of its files, or of its bytes.

    An image among the files of an application is one of them.

    :param files: path → size.
    :param tops: all names at the archive's top.
    """
    if len(tops & _ROOT_FOLDERS) > 1:
        return False
    if any(is_machine(path) for path in files):
        return True
    found = [size for path, size in files.items() if _is_disk(path)]
    return bool(found) and (2 * len(found) >= len(files) or 2 * sum(found) >= sum(files.values()))
