"""XFS of version 4, and what a kernel that still mounts it shows of each filesystem.

Newer kernels are built without version 4, so these were made once, in the virtual machine of
libguestfs under the kernel of Debian 12 (6.1), and are kept: the images, and beside each the
listing that this kernel gave. To make them again (root, ten minutes without KVM)::

    python -m tests.images.xfs_v4
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import tarfile
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from formats.core.entry import Kind
from tests.images.ext_everything import fill
from tests.images.xfs_everything import LARGEST_DEVICE, fill_forms, mkfs, without_duplicates
from tests.support.listing import Row, loop_mounted_writable
from tests.support.programs import need, run

FOLDER = Path(__file__).parent / "xfs_v4"
MADE = {
    "4k": "-m crc=0",
    "512": "-m crc=0 -n ftype=0 -b size=512 -i attr=1,projid32bit=0 -l lazy-count=0",
}
"""Options of mkfs.xfs(8), by what the blocks are."""

_XATTR = "SCHILY.xattr."
_TAR = "tar --xattrs --xattrs-include=*"
_KINDS = {
    tarfile.REGTYPE: Kind.FILE,
    tarfile.DIRTYPE: Kind.FOLDER,
    tarfile.SYMTYPE: Kind.SYMLINK,
    tarfile.CHRTYPE: Kind.CHARACTER_DEVICE,
    tarfile.BLKTYPE: Kind.BLOCK_DEVICE,
    tarfile.FIFOTYPE: Kind.FIFO,
}


def image(name: str, folder: Path) -> Path:
    """Unpack one of the filesystems."""
    path = folder / f"{name}.img"
    path.write_bytes(lzma.decompress((FOLDER / f"{name}.img.xz").read_bytes()))
    return path


def kernel_rows(name: str) -> dict[bytes, Row]:
    """Return what the kernel showed of it; sockets are not in it."""
    stored = json.loads(lzma.decompress((FOLDER / f"{name}.json.xz").read_bytes()))
    rows = {bytes.fromhex(path): _row(fields) for path, fields in stored["rows"].items()}
    return _linked(rows, [[bytes.fromhex(path) for path in group] for group in stored["links"]])


def _linked(rows: dict[bytes, Row], groups: list[list[bytes]]) -> dict[bytes, Row]:
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


def make_all(folder: Path) -> None:
    """Make all filesystems in one virtual machine, and keep them with their listings."""
    need("guestfish")
    _pack_tree(folder)
    pack, unpack = f"{_TAR} --format=pax -c", f"{_TAR} -x -f /dev/sda -C /m"
    script = [f"add-drive {folder}/tree.tar readonly:true format:raw"]
    for name, options in MADE.items():
        mkfs(folder / f"{name}.img", options, "40M")
        run("truncate", "--size", "400M", folder / f"{name}.tar")
        script += [f"add-drive {folder}/{name}.{end} format:raw" for end in ("img", "tar")]
    script += ["run", 'debug sh "uname -r"', 'debug sh "mkdir /m"']
    for number in range(len(MADE)):
        disk, result = (f"/dev/sd{chr(ord('b') + 2 * number + step)}" for step in range(2))
        script += [
            f'debug sh "mount -t xfs {disk} /m && {unpack}"',
            'debug sh "umount /m"',
            f'debug sh "mount -t xfs -o ro {disk} /m && {pack} -f {result} -C /m ."',
            'debug sh "umount /m"',
        ]
    (folder / "script").write_text("\n".join(script) + "\n")
    settings = ("LIBGUESTFS_BACKEND=direct", "LIBGUESTFS_BACKEND_SETTINGS=force_tcg")
    shown = run("env", *settings, "guestfish", "-f", folder / "script", timeout=1800).stdout
    assert shown.startswith(b"6."), shown
    FOLDER.mkdir(exist_ok=True)
    for name in MADE:
        keep(name, folder)


def keep(name: str, folder: Path) -> None:
    """Keep a filesystem with its listing."""
    rows, groups = _tar_rows(folder / f"{name}.tar")
    stored = {
        "rows": {path.hex(): _fields(row) for path, row in without_duplicates(rows).items()},
        "links": [[path.hex() for path in group] for group in groups],
    }
    for end, data in (
        ("json", json.dumps(stored).encode()),
        ("img", (folder / f"{name}.img").read_bytes()),
    ):
        (FOLDER / f"{name}.{end}.xz").write_bytes(lzma.compress(data))


def _pack_tree(folder: Path) -> None:
    """Pack the tree that is on all of them; a filesystem of version 5 lends its kernel."""
    with loop_mounted_writable(mkfs(folder / "source"), "xfs") as root:
        fill(root, names=300, largest_device=LARGEST_DEVICE, small_inodes=True, has_content=False)
        fill_forms(root)
        os.unlink(root / "special" / "socket")
        options = (*_TAR.split(), "--format=pax", "--sparse")
        run(*options, "-c", "-f", folder / "tree.tar", "-C", root, ".")


def _tar_rows(path: Path) -> tuple[dict[bytes, Row], list[list[bytes]]]:
    """Return the listing that a tar of the kernel's view comes to, and the groups of links."""
    rows: dict[bytes, Row] = {}
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


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        make_all(Path(temporary))
