"""Filesystems that are kept with the listing that a kernel gave of them, in a virtual machine.

Each is two files of a folder: the image, and the kernel's view of it, taken from a tar.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from formats.core.entry import Kind
from tests.support.listing import Row

Rows = dict[bytes, Row]

_XATTR = "SCHILY.xattr."
_KINDS = {
    tarfile.REGTYPE: Kind.FILE,
    tarfile.DIRTYPE: Kind.FOLDER,
    tarfile.SYMTYPE: Kind.SYMLINK,
    tarfile.CHRTYPE: Kind.CHARACTER_DEVICE,
    tarfile.BLKTYPE: Kind.BLOCK_DEVICE,
    tarfile.FIFOTYPE: Kind.FIFO,
}


@dataclass(frozen=True, slots=True)
class KeptFilesystems:
    """A folder of them."""

    folder: Path

    def image(self, name: str, folder: Path) -> Path:
        """Unpack one of the filesystems into another folder."""
        path = folder / f"{name}.img"
        path.write_bytes(lzma.decompress((self.folder / f"{name}.img.xz").read_bytes()))
        return path

    def kernel_rows(self, name: str) -> Rows:
        """Return what the kernel showed of it; sockets are not in it."""
        stored = json.loads(lzma.decompress((self.folder / f"{name}.json.xz").read_bytes()))
        rows = {bytes.fromhex(path): _row(fields) for path, fields in stored["rows"].items()}
        return _linked(rows, [[bytes.fromhex(path) for path in group] for group in stored["links"]])

    def keep(
        self, name: str, image: Path, tar: Path, change: Callable[[Rows], Rows] = dict
    ) -> None:
        """Keep a filesystem, and the listing that a tar of the kernel's view comes to."""
        rows, groups = _tar_rows(tar)
        stored = {
            "rows": {path.hex(): _fields(row) for path, row in change(rows).items()},
            "links": [[path.hex() for path in group] for group in groups],
        }
        self.folder.mkdir(exist_ok=True)
        for end, data in (("json", json.dumps(stored).encode()), ("img", image.read_bytes())):
            (self.folder / f"{name}.{end}.xz").write_bytes(lzma.compress(data))


def _linked(rows: Rows, groups: list[list[bytes]]) -> Rows:
    """Return rows with all names of linked files; of each group, the first has a row."""
    found = dict(rows)
    for group in groups:
        links = tuple(sorted(group))
        found |= {path: replace(rows[group[0]], links=links) for path in group}
    return found


def _row(fields: Any) -> Row:
    kind, mode, uid, gid, mtime_ns, size, target, device, xattrs, digest = fields
    return Row(
        Kind(kind),
        mode,
        uid,
        gid,
        mtime_ns,
        size,
        None if target is None else bytes.fromhex(target),
        None if device is None else tuple(device),
        tuple((bytes.fromhex(key), bytes.fromhex(value)) for key, value in xattrs),
        digest,
        links=(),
    )


def _fields(row: Row) -> list[Any]:
    return [
        row.kind.value,
        row.mode,
        row.uid,
        row.gid,
        row.mtime_ns,
        row.size,
        None if row.target is None else row.target.hex(),
        row.device,
        [(name.hex(), value.hex()) for name, value in row.xattrs],
        row.digest,
    ]


def _tar_rows(path: Path) -> tuple[Rows, list[list[bytes]]]:
    """Return the listing that a tar of the kernel's view comes to, and the groups of links."""
    rows: Rows = {}
    groups: dict[bytes, list[bytes]] = {}
    with tarfile.open(path, encoding="utf-8", errors="surrogateescape") as tar:
        for member in tar:
            name = _name(member.name)
            if member.islnk():
                first = _name(member.linkname)
                groups.setdefault(first, [first]).append(name)
            else:
                rows[name] = _tar_row(tar, member)
    return rows, list(groups.values())


def _tar_row(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Row:
    kind = _KINDS[member.type]
    content = tar.extractfile(member) if kind is Kind.FILE else None
    xattrs = sorted(
        (os.fsencode(key.removeprefix(_XATTR)), os.fsencode(value))
        for key, value in member.pax_headers.items()
        if key.startswith(_XATTR)
    )
    seconds, _, fraction = member.pax_headers.get("mtime", str(int(member.mtime))).partition(".")
    nanoseconds = int(fraction.ljust(9, "0")[:9]) if fraction else 0
    is_before = seconds.startswith("-")
    is_device = kind in {Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE}
    return Row(
        kind=kind,
        mode=member.mode & 0o7777,
        uid=member.uid,
        gid=member.gid,
        mtime_ns=int(seconds) * 10**9 + (-nanoseconds if is_before else nanoseconds),
        size=member.size,
        target=os.fsencode(member.linkname) if kind is Kind.SYMLINK else None,
        device=(member.devmajor, member.devminor) if is_device else None,
        xattrs=tuple(xattrs),
        digest=hashlib.sha256(content.read()).hexdigest() if content else None,
        links=(),
    )


def _name(path: str) -> bytes:
    return os.fsencode(path).removeprefix(b"./").removeprefix(b".")
